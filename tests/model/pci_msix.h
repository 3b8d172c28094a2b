/* MSI-X tables of functions on the machine of pci_bus.h (PCI Local Bus 3.0, 6.8.2). */
#ifndef TESTS_MODEL_PCI_MSIX_H
#define TESTS_MODEL_PCI_MSIX_H

#include "tests/model/pci_bus.h"

enum { PCI_MSIX_MAX = 2048 };

struct pci_msix {
    uint8_t cap; /* offset of the capability */
    uint8_t bar;
    uint32_t off; /* in the BAR */
    uint16_t count;
    uint32_t entry[PCI_MSIX_MAX][4]; /* address low, address high, data, control */
    unsigned writes;                 /* to the table */
};

/* Appends the capability of a table of `count` entries at offset off of a BAR. The table is as
 * after a reset: everything masked, nothing else defined. */
void pci_msix_add(struct pci_fn *f, struct pci_msix *table, uint8_t bar, uint32_t off,
                  uint16_t count);

/* The function has something to tell: true, and the message, when one goes out. */
bool pci_msix_fire(const struct pci_fn *f, uint16_t entry, uint64_t *addr, uint32_t *data);

/* For pci_bus.c: an access within a BAR. False when the table does not lie there. */
bool pci_msix_access(struct pci_fn *f, unsigned bar, uint64_t off, unsigned width, bool write,
                     uint32_t *value);

#endif
