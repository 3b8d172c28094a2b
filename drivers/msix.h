/* MSI-X (PCI Local Bus 3.0, 6.8.2): interrupts as messages, memory writes of the function to the
 * local APIC. Only the table entries in use are touched, since a register costs an exit. The
 * pending bits are not used. */
#ifndef DRIVERS_MSIX_H
#define DRIVERS_MSIX_H

#include "drivers/pci.h"

struct msix {
    struct pci_dev pci;
    uintptr_t table; /* address of its first entry */
    uint16_t count;  /* entries: 1 to 2048 */
    uint8_t cap;     /* offset of the capability */
    bool enabled;
};

/* Finds the capability and the table, and switches MSI-X off in case that firmware has used it.
 * Returns ERR_OK; ERR_ABSENT when the function has no MSI-X, or, logged, when its table is not
 * where the function decodes memory. The function's BARs must be assigned. */
int msix_init(struct msix *m, const struct pci_dev *pci);

/* Switches MSI-X on or off, for all entries. While it is on, the function does not use INTx
 * (6.8.2.3). On: set the entries in use before, or while it is on; an entry that was never set
 * must not be used, whatever firmware has left in it. */
void msix_enable(struct msix *m);
void msix_disable(struct msix *m);

/* Table entry `entry` (below m->count) sends `vector` to this CPU from now on. The function must
 * decode memory and be a bus master (virtio_pci_init() sees to it). Stays as it is over a reset
 * of a virtio device, which only forgets its own use of entries (VIRTIO 1.2, 4.1.5.1.2). */
void msix_set(struct msix *m, uint16_t entry, uint8_t vector);

#endif
