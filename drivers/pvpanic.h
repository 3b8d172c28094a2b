/* pvpanic, QEMU's device that is told of a panic (QEMU's docs/specs/pvpanic): one register, on the ISA bus at
 * its usual port, or behind BAR 0 of a PCI function. The management software gets the event
 * GUEST_PANICKED; what becomes of the machine is up to QEMU's `-action panic=`. */
#ifndef DRIVERS_PVPANIC_H
#define DRIVERS_PVPANIC_H

#include "lib/io.h"
#include "lib/util.h"

enum {
    PVPANIC_PORT = 0x505,
    PVPANIC_PCI_VENDOR = 0x1b36,
    PVPANIC_PCI_DEVICE = 0x0011,
    PVPANIC_PANICKED = 1 << 0, /* read: the device knows this event; written: it happened */
};

/* Whether the register's value is that of the device: where nobody answers, all bits are ones. */
ALWAYS_INLINE bool pvpanic_knows(uint8_t events) {
    return events != UINT8_MAX && (events & PVPANIC_PANICKED) != 0;
}

/* Tells the ISA device, if there is one. Inline, since ring 0 has to tell when nothing of ring 3 works. */
ALWAYS_INLINE void pvpanic_tell_isa(void) {
    if (pvpanic_knows(io_read8(PVPANIC_PORT))) {
        io_write8(PVPANIC_PORT, PVPANIC_PANICKED);
    }
}

/* Finds the PCI device and lets it decode its address. Call after pci_init(); without, or without such a
 * device, only the one on the ISA bus is told. */
void pvpanic_init(void);

/* Tells all that there are. The machine may be paused or ended before this returns. */
void pvpanic_tell(void);

#endif
