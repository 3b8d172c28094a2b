/* The PCI transport of a modern virtio device (4.1): finds its four register areas. What can be done with
 * the device then is in virtio_dev.h. */
#ifndef DRIVERS_VIRTIO_PCI_H
#define DRIVERS_VIRTIO_PCI_H

#include "drivers/pci.h"
#include "drivers/virtio_dev.h"

/* A register area of the device: a window in memory or in I/O ports. */
struct virtio_pci_region {
    uintptr_t base; /* address or port; 0: the device does not have the area */
    uint32_t len;
    bool is_io;
};

struct virtio_pci {
    struct virtio_dev dev;
    struct pci_dev pci;
    struct virtio_pci_region common, notify, isr, device;
    uint32_t notify_multiplier;
};

extern const struct virtio_transport virtio_pci_transport;

/* Finds the register areas of the function by its capability list and makes it decode them. Returns
 * ERR_OK, ERR_ABSENT for a legacy-only device, ERR_DEVICE for one whose capabilities are unusable;
 * the reason was logged. */
int virtio_pci_init(struct virtio_pci *v, const struct pci_dev *pci);

#endif
