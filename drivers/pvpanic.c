#include "drivers/pvpanic.h"

#include "drivers/pci.h"
#include "lib/mmio.h"

static uintptr_t pci_register; /* 0: there is none */

void pvpanic_init(void) {
    pci_register = 0;
    for (unsigned i = 0; i < pci_dev_count; i++) {
        const struct pci_dev *d = &pci_devs[i];
        const struct pci_bar *bar = &d->bar[0];
        if (d->vendor == PVPANIC_PCI_VENDOR && d->device == PVPANIC_PCI_DEVICE && bar->size != 0 &&
            bar->addr != 0 && !bar->is_io) {
            pci_write16(d, PCI_COMMAND, pci_read16(d, PCI_COMMAND) | PCI_COMMAND_MEMORY);
            pci_register = bar->addr;
        }
    }
}

void pvpanic_tell(void) {
    pvpanic_tell_isa();
    if (pci_register != 0 && pvpanic_knows(mmio_read8(pci_register))) {
        mmio_write8(pci_register, PVPANIC_PANICKED);
    }
}
