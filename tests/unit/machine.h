/* The machine that driver tests run on: tests/model/pci_bus.h, and what boot would say of it. */
#ifndef TESTS_UNIT_MACHINE_H
#define TESTS_UNIT_MACHINE_H

#include "drivers/pci.h"
#include "tests/model/pci_bus.h"

static inline struct pci_fn *machine_init(void) {
    pci_bus_init();
    return pci_bus_add(NULL, 0, 0, 0x8086, 0x29c0, PCI_CLASS_BRIDGE_HOST, 0);
}

static inline struct pci_windows machine_windows(void) {
    return (struct pci_windows){
        .ecam = pci_bus.ecam,
        .ecam_buses = pci_bus.ecam_buses,
        .mem_start = 0x80000000,
        .mem_end = 0xe0000000,
        .assign_start = 0xc0000000,
        .assign_end = 0xe0000000,
        .io_start = 0xc000,
        .io_end = 0xd000,
    };
}

#endif
