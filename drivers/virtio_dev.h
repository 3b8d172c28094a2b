/* A virtio device on whatever bus (chapter 4): status, features, queue set-up, configuration. The
 * drivers of devices use this interface alone; what differs from bus to bus is in a table of functions
 * (virtio_pci.c, virtio_mmio.c). Cold code. The one thing that the data path uses, the doorbell, is
 * plain data. */
#ifndef DRIVERS_VIRTIO_DEV_H
#define DRIVERS_VIRTIO_DEV_H

#include "drivers/virtio_features.h"
#include "drivers/virtio_spec.h"
#include "drivers/vq.h"
#include "lib/io.h"
#include "lib/mmio.h"
#include "lib/util.h"

/* Where and how to tell the device of available buffers; computed once (4.1.4.4, 4.1.5.2, 4.2.3.3). */
struct virtio_doorbell {
    uintptr_t addr;
    uint16_t value; /* the queue's index, or what the device wants instead (NOTIF_CONFIG_DATA) */
    uint16_t position_mask; /* all ones with NOTIFICATION_DATA: the ring's position goes above `value` */
    bool is_io;
    bool is_wide; /* 32 bits: on MMIO, and with NOTIFICATION_DATA */
};

struct virtio_dev;

/* The registers of a bus. Reads and writes are what chapter 4 calls so; what needs several of them, and
 * is the same on each bus, is in virtio_dev.c. */
struct virtio_transport {
    const char *name; /* "pci", "mmio" */
    uint8_t (*status)(const struct virtio_dev *v);
    void (*set_status)(struct virtio_dev *v, uint8_t status);
    uint32_t (*offered)(struct virtio_dev *v, uint32_t word);
    void (*accept)(struct virtio_dev *v, uint32_t word, uint32_t bits);
    void (*limit)(const struct virtio_dev *v, struct virtio_features *features);
    uint16_t (*queue_max)(struct virtio_dev *v, uint16_t index);
    int (*queue_enable)(struct virtio_dev *v, uint16_t index, const struct vq *q,
                        const void *memory, uint16_t msix_entry, struct virtio_doorbell *doorbell);
    void (*queue_reset)(struct virtio_dev *v, uint16_t index);
    /* After queue_reset(): ERR_OK when it is over, ERR_TIMEOUT while it goes on, ERR_DEVICE. */
    int (*queue_reset_state)(struct virtio_dev *v, uint16_t index);
    int (*config_vector)(struct virtio_dev *v, uint16_t msix_entry);
    uint8_t (*take_isr)(const struct virtio_dev *v);
    uint32_t (*generation)(const struct virtio_dev *v);
    uint32_t (*config_read)(const struct virtio_dev *v, uint32_t off, unsigned width);
};

enum { VIRTIO_DEV_ADDRESS_MAX = 12 };

/* What all buses have in common: the first member of struct virtio_pci and struct virtio_mmio. */
struct virtio_dev {
    const struct virtio_transport *transport;
    char address[VIRTIO_DEV_ADDRESS_MAX]; /* on its bus, for people: "00:02.0", "0xfeb00e00" */
    uint32_t config_len; /* bytes of device configuration that can be reached */
    struct virtio_features offered;
    struct virtio_features accepted;
};

/* Writes 0 to the status and waits until it reads back 0 (4.1.4.3.2). ERR_TIMEOUT after a second. */
int virtio_dev_reset(struct virtio_dev *v);

uint8_t virtio_dev_status(const struct virtio_dev *v);

/* Adds a bit to the device status; bits set before stay set (2.1.1). */
void virtio_dev_add_status(struct virtio_dev *v, uint8_t bit);

/* Reads all feature words that the device offers into v->offered. */
void virtio_dev_read_offer(struct virtio_dev *v);

/* Takes the transport's features out of *features that this device has no registers for
 * (NOTIF_CONFIG_DATA, RING_RESET), whatever it offers. */
void virtio_dev_limit(const struct virtio_dev *v, struct virtio_features *features);

/* Writes the accepted set, sets FEATURES_OK and reads it back. ERR_DEVICE when it was refused. */
int virtio_dev_accept(struct virtio_dev *v, const struct virtio_features *accepted);

/* The device's maximum size of a queue, 0 when it does not exist. */
uint16_t virtio_dev_queue_max(struct virtio_dev *v, uint16_t index);

/* Gives the device size, addresses and MSI-X entry (VIRTIO_MSI_NO_VECTOR: none) of a queue and enables
 * it; fills *doorbell. `memory` is what vq_init() was given. ERR_DEVICE when the doorbell would lie
 * outside of its area or the queue is in use already, ERR_RESOURCE when the device has no room for the
 * MSI-X entry (4.1.5.1.2). */
int virtio_dev_queue_enable(struct virtio_dev *v, uint16_t index, const struct vq *q,
                            const void *memory, uint16_t msix_entry,
                            struct virtio_doorbell *doorbell);

/* Takes one queue out of use (2.6.1, needs RING_RESET) and waits until the device says so; then its
 * memory is ours, and virtio_dev_queue_enable() may follow. ERR_TIMEOUT after a second, ERR_DEVICE when
 * the device says that it is over and has the queue still in use. */
int virtio_dev_queue_reset(struct virtio_dev *v, uint16_t index);

/* The MSI-X entry of configuration changes. ERR_RESOURCE when the device has no room for it. */
int virtio_dev_config_vector(struct virtio_dev *v, uint16_t msix_entry);

/* What the device has interrupted for by its line, VIRTIO_ISR_*; acknowledges it, so that the device
 * takes the line back (4.1.4.5, 4.2.3.4). 0 when the device does not have the register. */
uint8_t virtio_dev_take_isr(const struct virtio_dev *v);

/* Reads `count` fields of `width` bytes (1, 2 or 4) from offset off of the device's configuration, all
 * of one generation (2.5.1). ERR_DEVICE when the area is too small or never settles. */
int virtio_dev_config(struct virtio_dev *v, uint32_t off, unsigned width, unsigned count, void *out);

/* Changes with the device's configuration (2.5.1); on PCI it has 8 bits. */
uint32_t virtio_dev_generation(const struct virtio_dev *v);

/* `position` is vq_notify_position() of the queue; it counts with NOTIFICATION_DATA only. */
ALWAYS_INLINE void virtio_dev_ring(const struct virtio_doorbell *doorbell, uint16_t position) {
    const uint32_t wide = (uint32_t)(position & doorbell->position_mask) << 16 | doorbell->value;
    if (LIKELY(!doorbell->is_io && !doorbell->is_wide)) {
        mmio_write16(doorbell->addr, doorbell->value);
    } else if (!doorbell->is_io) {
        mmio_write32(doorbell->addr, wide);
    } else if (!doorbell->is_wide) {
        io_write16((uint16_t)doorbell->addr, doorbell->value);
    } else {
        io_write32((uint16_t)doorbell->addr, wide);
    }
}

#endif
