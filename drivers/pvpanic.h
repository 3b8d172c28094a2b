/* pvpanic, QEMU's device that is told of a panic (QEMU's docs/specs/pvpanic), on the ISA bus at its usual
 * port. The management software gets the event GUEST_PANICKED, and what becomes of the machine is up to
 * `-action panic=`. All inline: ring 0 has to tell, too, when nothing else works any more. */
#ifndef DRIVERS_PVPANIC_H
#define DRIVERS_PVPANIC_H

#include "lib/io.h"

enum {
    PVPANIC_PORT = 0x505,
    PVPANIC_PANICKED = 1 << 0, /* read: the device knows this event; written: it happened */
};

/* Does nothing where there is no such device: a port that nobody answers reads as all ones. */
ALWAYS_INLINE void pvpanic_tell(void) {
    const uint8_t events = io_read8(PVPANIC_PORT);
    if (events != UINT8_MAX && (events & PVPANIC_PANICKED) != 0) {
        io_write8(PVPANIC_PORT, PVPANIC_PANICKED);
    }
}

#endif
