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

/* Where and how to tell the device of available buffers; computed once (4.1.4.4, 4.1.5.2). */
struct virtio_pci_doorbell {
    uintptr_t addr;
    uint16_t value; /* the queue's index, or what the device wants instead (NOTIF_CONFIG_DATA) */
    bool is_io;
    bool has_position; /* NOTIFICATION_DATA: 32 bits, the ring's position above `value` */
};

struct virtio_pci {
    struct pci_dev pci;
    struct virtio_pci_region common, notify, isr, device;
    uint32_t notify_multiplier;
    struct virtio_features offered;
    struct virtio_features accepted;
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

/* Takes the transport's features out of *features that this device has no registers for
 * (NOTIF_CONFIG_DATA, RING_RESET), whatever it offers. */
void virtio_pci_limit(const struct virtio_pci *v, struct virtio_features *features);

/* Writes the accepted set, sets FEATURES_OK and reads it back. ERR_DEVICE when it was refused. */
int virtio_pci_accept(struct virtio_pci *v, const struct virtio_features *accepted);

/* The device's maximum size of a queue, 0 when it does not exist. */
uint16_t virtio_pci_queue_max(struct virtio_pci *v, uint16_t index);

/* Gives the device size, addresses and MSI-X entry (VIRTIO_MSI_NO_VECTOR: none) of a queue and enables
 * it; fills *doorbell. `memory` is what vq_init() was given. ERR_DEVICE when the doorbell would lie
 * outside of its area, ERR_RESOURCE when the device has no room for the MSI-X entry (4.1.5.1.2). */
int virtio_pci_queue_enable(struct virtio_pci *v, uint16_t index, const struct vq *q,
                            const void *memory, uint16_t msix_entry,
                            struct virtio_pci_doorbell *doorbell);

/* Takes one queue out of use (2.6.1, needs RING_RESET) and waits until the device says so; then its
 * memory is ours, and virtio_pci_queue_enable() may follow. ERR_TIMEOUT after a second. */
int virtio_pci_queue_reset(struct virtio_pci *v, uint16_t index);

/* The MSI-X entry of configuration changes. ERR_RESOURCE when the device has no room for it. */
int virtio_pci_config_vector(struct virtio_pci *v, uint16_t msix_entry);

/* Reads the ISR status, which clears it and takes the INTx line back (4.1.4.5). 0 when the device
 * does not have the register. */
uint8_t virtio_pci_isr(const struct virtio_pci *v);

/* Reads `count` fields of `width` bytes (1, 2 or 4) from offset off of the device's configuration, all
 * of one generation (2.5.1). ERR_DEVICE when the area is too small or never settles. */
int virtio_pci_config(struct virtio_pci *v, uint32_t off, unsigned width, unsigned count, void *out);

/* Changes with the device's configuration (2.5.1). */
uint8_t virtio_pci_generation(const struct virtio_pci *v);

/* `position` is vq_notify_position() of the queue; it counts with NOTIFICATION_DATA only. */
ALWAYS_INLINE void virtio_pci_ring(const struct virtio_pci_doorbell *doorbell, uint16_t position) {
    const uint32_t both = (uint32_t)position << 16 | doorbell->value;
    if (LIKELY(!doorbell->is_io && !doorbell->has_position)) {
        mmio_write16(doorbell->addr, doorbell->value);
    } else if (!doorbell->is_io) {
        mmio_write32(doorbell->addr, both);
    } else if (!doorbell->has_position) {
        io_write16((uint16_t)doorbell->addr, doorbell->value);
    } else {
        io_write32((uint16_t)doorbell->addr, both);
    }
}

#endif
