/* The MMIO transport of a virtio device (4.2): registers at an address that the platform tells, and one
 * interrupt line. What can be done with the device is in virtio_dev.h. */
#ifndef DRIVERS_VIRTIO_MMIO_H
#define DRIVERS_VIRTIO_MMIO_H

#include "drivers/irq.h"
#include "drivers/virtio_dev.h"

/* Where a device may be; which one it is, if any, only its registers say. */
struct virtio_mmio_slot {
    uintptr_t base;
    uint32_t size; /* bytes, VIRTIO_MMIO_CONFIG at least */
    struct irq_line line;
};

struct virtio_mmio {
    struct virtio_dev dev;
    struct virtio_mmio_slot slot;
};

extern const struct virtio_transport virtio_mmio_transport;

/* Whether the slot holds a modern network device. An empty slot and devices of other types are passed
 * over silently (4.2.2.2, 4.2.3.1); what is no virtio device, or a legacy network device, is logged. */
bool virtio_mmio_holds_net(const struct virtio_mmio_slot *slot);

/* For a slot of which virtio_mmio_holds_net() said so. */
void virtio_mmio_init(struct virtio_mmio *v, const struct virtio_mmio_slot *slot);

#endif
