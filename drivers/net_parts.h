/* What the parts of the virtio-net driver share among themselves: features (net_features.c), control
 * queue (net_ctrl.c), interrupts (net_irq.c). Others include virtio_net.h. */
#ifndef DRIVERS_NET_PARTS_H
#define DRIVERS_NET_PARTS_H

#include "drivers/virtio_net.h"
#include "lib/log.h"

#define NET_ERROR(nd, format, ...)                                                                 \
    log_error("net%u %s: " format, (nd)->index, (nd)->dev.address, ##__VA_ARGS__)

/* --- net_features.c ---------------------------------------------------------------------------- */

/* Features that may be accepted: supported, not masked by cfg, of the ring layout that cfg wants.
 * ERR_CONFIG for a bad features=; the reason was logged. */
int net_features_wanted(const struct config *cfg, struct virtio_features *wanted,
                        struct virtio_features *kept);

/* Initialisation steps 1 to 6 of 3.1.1, and what the features say about MTU and headers. ERR_TIMEOUT
 * when the device does not finish a reset (it must not be touched then), ERR_CONFIG when it cannot do
 * what the user wants, ERR_DEVICE; the reason was logged. */
int net_negotiate(struct net_dev *nd);

ALWAYS_INLINE bool net_has(const struct net_dev *nd, enum virtio_feature bit) {
    return virtio_feature_get(&nd->features, bit);
}

/* Whether the device may deliver frames that nobody cut to the MTU (GUEST_TSO4 and the like). */
bool net_takes_long_frames(const struct net_dev *nd);

/* The ring layout that was negotiated. */
enum vq_layout net_layout(const struct net_dev *nd);

/* Fields of the device's configuration, as virtio_dev_config(); an error is logged. */
int net_read_config(struct net_dev *nd, size_t off, unsigned width, unsigned count, void *out);

/* --- virtio_net.c ------------------------------------------------------------------------------ */

/* The device's MAC address, or a made-up one when it gives none, into nd->mac. */
int net_read_mac(struct net_dev *nd);

/* VIRTIO_NET_S_* into *status. */
int net_read_status(struct net_dev *nd, uint16_t *status);

/* Speed and duplex into nd. */
int net_read_speed(struct net_dev *nd);

/* Sets one queue up anew and enables it. ERR_RESOURCE when the device has no room for its MSI-X
 * entry, ERR_DEVICE. */
int net_queue_start(struct net_dev *nd, struct net_queue *queue);

/* Steps 7 and 8 of 3.1.1 and the commands of the control queue; errors of net_queue_start() and
 * net_ctrl_start(). */
int net_start(struct net_dev *nd);

/* Initialisation of a device whose transport is found (3.1.1); prints its event. `budget` is its share of the
 * memory, in bytes. ERR_CONFIG or ERR_RESOURCE when what the user asked for cannot be had, others when
 * the device cannot be driven; the reason was logged. */
int net_bring_up(struct net_dev *nd, const struct config *cfg, size_t budget);

/* After an error: no use of the rings from here on. A device that does not finish a reset
 * (ERR_TIMEOUT) is not touched (4.1.4.3.2). */
void net_give_up(struct net_dev *nd, int err);

/* --- net_recover.c ----------------------------------------------------------------------------- */

/* Notes that the time without link or device begins or ends, as nd has it now. */
void net_track_outage(struct net_dev *nd, uint64_t now_ms);

/* --- net_ctrl.c -------------------------------------------------------------------------------- */

/* Reads the keys of the control queue (mac, vlan, guest_offloads, coalesce) into nd, once, after the first
 * negotiation. ERR_CONFIG when one is malformed or the device has no feature for it; the reason was
 * logged. */
int net_ctrl_config(struct net_dev *nd, const struct config *cfg);

/* Whether the features that these keys need are negotiated, as they were then. */
bool net_ctrl_serves_keys(const struct net_dev *nd);

/* Memory of the commands. */
int net_ctrl_allocate(struct net_dev *nd);

/* After DRIVER_OK: tells the device the MAC address, which frames to deliver and in which form, VLAN and
 * coalescing (5.1.6.5). ERR_CONFIG when the device refuses what the user asked for, ERR_DEVICE when it does not
 * answer. Does nothing without CTRL_VQ. */
int net_ctrl_start(struct net_dev *nd);

/* --- net_irq.c --------------------------------------------------------------------------------- */

/* Decides how the device interrupts, by nd->mode and what device and machine have; in poll mode not at
 * all. ERR_CONFIG when there is no way; the reason was logged. */
int net_irq_init(struct net_dev *nd, const struct config *cfg);

/* The device had no room for all its MSI-X entries (4.1.5.1.2): changes to a way with fewer. False
 * when there is none. The device must be reset before it is tried. */
bool net_irq_fewer(struct net_dev *nd);

/* For a device that is given up before it ran: it must not interrupt any more. */
void net_irq_stop(struct net_dev *nd);

/* After the features are settled: gives the device the entry of configuration changes. */
int net_irq_start(struct net_dev *nd);

#endif
