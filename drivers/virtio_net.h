/* virtio-net (5.1): one receive and one transmit queue of a network device, driven by bursts.
 *
 * Frames go in and out without a copy: received ones arrive in packet buffers of the device's pool,
 * sent ones are lists of segments that belong to the caller until their token comes back.
 *
 * What this does not do: protocols, checksums, several queue pairs, interrupts. */
#ifndef DRIVERS_VIRTIO_NET_H
#define DRIVERS_VIRTIO_NET_H

#include "drivers/virtio_pci.h"
#include "drivers/vq.h"
#include "lib/config.h"
#include "lib/pktbuf.h"

enum {
    NET_DEV_MAX = 8,
    NET_BURST_MAX = 64,     /* the most that one burst call handles */
    NET_TX_SEG_MAX = 16,    /* segments of one frame */
    NET_ETH_HDR_LEN = 14,
    NET_FRAME_MIN = 14,     /* shorter received frames are dropped */
    NET_MTU_DEFAULT = 1500,
    NET_MTU_MIN = 68,       /* RFC 791; a device that offers less is lying */
    NET_MTU_MAX = 9216,     /* a larger offer is not accepted */
};

/* Counters of one queue. All count from boot; a restart of the device does not clear them. Every
 * frame that was accepted is in `packets` or in one of the drops. */
struct net_stats {
    uint64_t packets;
    uint64_t bytes; /* of frames, without the virtio header */
    uint64_t drop_short;      /* rx: shorter than headers, or than Ethernet's header */
    uint64_t drop_no_memory;  /* the stack had no memory for it */
    uint64_t drop_ring_full;  /* tx: no descriptors left */
    uint64_t drop_link_down;  /* tx: the link is down or the device is being restarted */
    uint64_t drop_too_long;   /* tx: over the MTU, or too many segments */
    uint64_t drop_reset;      /* frames that the device held when it had to be reset */
    uint64_t copies;          /* rx: frames copied out because packet buffers ran low */
    uint64_t kicks;           /* doorbell writes */
    uint64_t interrupts;
    uint64_t polls;           /* times the used ring was looked at */
    uint64_t empty_polls;     /* ... and nothing was there */
    uint64_t ring_full;       /* tx: an add found no room */
    uint64_t ring_empty;      /* rx: a poll found that the device had used every buffer it had */
    uint64_t refills;         /* rx: batches of buffers made available */
    uint64_t wakeups;
    uint64_t rechecks_hit;
};

/* Name and meaning of each counter of struct net_stats, in the order of printing. device_errors is
 * part of the ring (vq.device_errors) and printed beside them. */
struct net_counter {
    const char *name;
    const char *help;
    size_t offset; /* in struct net_stats, of a uint64_t */
};

extern const struct net_counter net_counters[];
extern const size_t net_counter_count;

struct net_queue {
    struct vq vq;
    struct virtio_pci_doorbell doorbell;
    uint16_t index; /* of the virtqueue in the device */
    uint16_t num_max;   /* what the device offered */
    uint16_t refill_at; /* rx: free descriptors at which buffers are posted again */
    void *memory;
    struct vq_slot *slots;
    struct net_stats stats;
};

struct net_dev {
    struct virtio_pci pci;
    struct net_queue rx;
    struct net_queue tx;
    struct pktbuf_pool pool;
    struct virtio_features features;
    struct virtio_features wanted; /* what may be accepted: supported and not masked by the user */
    uint8_t mac[6];
    uint16_t mtu; /* payload of the largest frame that is sent */
    uint8_t hdr_len; /* bytes of the virtio header in front of each frame */
    bool need_packed; /* the user asked for ring=packed */
    bool link_up;
    bool running; /* between DRIVER_OK and a reset */
    uint32_t restarts; /* times the device had to be reset and brought up again */
    unsigned index; /* 0 for the first device found */
};

/* All devices that are driven, in PCI order. */
extern struct net_dev net_devs[NET_DEV_MAX];
extern unsigned net_dev_count;

/* Finds every virtio-net device on PCI and brings it up as cfg asks. Prints a device event for
 * each. Returns ERR_OK, ERR_ABSENT when there is no device that can be driven, or another error;
 * the reason was logged. */
int net_probe(const struct config *cfg);

/* Takes up to max received frames (at most NET_BURST_MAX). A frame is frame_len bytes in one buffer
 * or, with MRG_RXBUF, in several that hang together by `next`; data and len tell where they lie in
 * each. The caller owns all of them and gives each back with pktbuf_put(). Posts free buffers again
 * in batches. */
unsigned net_rx_burst(struct net_dev *nd, struct pktbuf **out, unsigned max);

/* The virtio header of a received frame, by its first buffer (5.1.6.4). The device wrote it: read each
 * field once. Flags are meaningful with GUEST_CSUM only. */
ALWAYS_INLINE const struct virtio_net_hdr *net_rx_header(const struct net_dev *nd,
                                                         struct pktbuf *buf) {
    return (const struct virtio_net_hdr *)(const void *)(pktbuf_room(buf) - nd->hdr_len);
}

/* Posts every free buffer that the receive ring has room for, whatever the batch. */
void net_rx_refill(struct net_dev *nd);

/* Whether a received buffer can be kept without starving the receive ring: enough others are free to
 * fill it. If not, the caller copies the frame out and gives the buffer back. */
ALWAYS_INLINE bool net_rx_can_keep(const struct net_dev *nd) {
    return nd->pool.free_count > nd->rx.vq.free_count;
}

/* Queues one frame of n segments (1 to NET_TX_SEG_MAX) that together are len bytes of frame. seg[0]
 * starts with nd->hdr_len bytes of virtio header followed by the frame. The header is all zero, but
 * with CSUM negotiated it may ask for one checksum (5.1.6.2).
 * Returns true when the frame was accepted: the memory then stays untouched until token comes back
 * from net_tx_done(). False: it was not, and counted under its cause. The device sees it after
 * net_tx_flush(). */
bool net_tx_add(struct net_dev *nd, const struct vq_seg *seg, unsigned n, uint32_t len,
                void *token);

/* Publishes what net_tx_add() queued, rings the doorbell when the device asks for it. */
void net_tx_flush(struct net_dev *nd);

/* Takes back the tokens of up to max frames (at most NET_BURST_MAX) that were sent. */
unsigned net_tx_done(struct net_dev *nd, void **tokens, unsigned max);

/* Descriptors free for net_tx_add(). */
ALWAYS_INLINE unsigned net_tx_room(const struct net_dev *nd) {
    return nd->tx.vq.free_count;
}

/* Looks after the device; call it about once a second, since it reads device registers. Follows the
 * link state. When the device broke the protocol or asks for a reset, it is reset and brought up
 * again: `lost` is called with the token of each frame that was still in the transmit ring. Returns
 * true when link state or device changed. */
bool net_service(struct net_dev *nd, void (*lost)(struct net_dev *nd, void *token));

/* Names of the negotiated features; see virtio_feature_names(). */
unsigned net_feature_names(const struct net_dev *nd, const char *names[VIRTIO_FEATURE_NAMES_MAX]);

const char *net_layout_name(const struct net_queue *queue);

enum { NET_MAC_TEXT_MAX = 18 };
const char *net_mac_text(const struct net_dev *nd, char text[NET_MAC_TEXT_MAX]);

/* Prints the device event. */
void net_print_device(const struct net_dev *nd, const struct config *cfg);

/* Resets all devices, so that none writes to memory any more. */
void net_stop_all(void);

#endif
