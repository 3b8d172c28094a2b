/* The PCI transport of a modern virtio device (4.1): its four register areas, status, features and
 * queue set-up. Cold code; the only thing that the data path uses is the doorbell. */
#ifndef DRIVERS_VIRTIO_PCI_H
#define DRIVERS_VIRTIO_PCI_H

#include "drivers/pci.h"
#include "drivers/virtio_features.h"
#include "drivers/virtio_spec.h"
#include "drivers/vq.h"
#include "lib/io.h"
#include "lib/mmio.h"
#include "lib/util.h"

/* A register area of the device: a window in memory or in I/O ports. */
struct virtio_pci_region {
    uintptr_t base; /* address or port; 0: the device does not have the area */
    uint32_t len;
    bool is_io;
};

/* Where and how to tell the device of available buffers; computed once (4.1.4.4). */
struct virtio_pci_doorbell {
    uintptr_t addr;
    uint16_t value; /* the queue's index */
    bool is_io;
};

struct virtio_pci {
    struct pci_dev pci;
    struct virtio_pci_region common, notify, isr, device;
    uint32_t notify_multiplier;
    struct virtio_features offered;
};

/* Finds the register areas of the function by its capability list and makes it decode them. Returns
 * ERR_OK, ERR_ABSENT for a legacy-only device, ERR_DEVICE for one whose capabilities are unusable;
 * the reason was logged. */
int virtio_pci_init(struct virtio_pci *v, const struct pci_dev *pci);

/* Writes 0 to the status and waits until it reads back 0 (4.1.4.3.2). ERR_TIMEOUT after a second. */
int virtio_pci_reset(struct virtio_pci *v);

uint8_t virtio_pci_status(const struct virtio_pci *v);

/* Adds a bit to the device status; bits set before stay set (2.1.1). */
void virtio_pci_add_status(struct virtio_pci *v, uint8_t bit);

/* Reads all feature words that the device offers into v->offered. */
void virtio_pci_read_offer(struct virtio_pci *v);

/* Writes the accepted set, sets FEATURES_OK and reads it back. ERR_DEVICE when it was refused. */
int virtio_pci_accept(struct virtio_pci *v, const struct virtio_features *accepted);

/* The device's maximum size of a queue, 0 when it does not exist. */
uint16_t virtio_pci_queue_max(struct virtio_pci *v, uint16_t index);

/* Gives the device size and addresses of a queue and enables it; fills *doorbell. `memory` is what
 * vq_init() was given. */
int virtio_pci_queue_enable(struct virtio_pci *v, uint16_t index, const struct vq *q,
                            const void *memory, struct virtio_pci_doorbell *doorbell);

/* Reads `count` fields of `width` bytes (1, 2 or 4) from offset off of the device's configuration, all
 * of one generation (2.5.1). ERR_DEVICE when the area is too small or never settles. */
int virtio_pci_config(struct virtio_pci *v, uint32_t off, unsigned width, unsigned count, void *out);

ALWAYS_INLINE void virtio_pci_ring(const struct virtio_pci_doorbell *doorbell) {
    if (LIKELY(!doorbell->is_io)) {
        mmio_write16(doorbell->addr, doorbell->value);
    } else {
        io_write16((uint16_t)doorbell->addr, doorbell->value);
    }
}

#endif
