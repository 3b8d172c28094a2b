/* The local APIC (Intel SDM volume 3, chapter 11), as far as a wake-up needs it. Interrupts are
 * acknowledged by ring 0 (boot/trap.c). */
#ifndef DRIVERS_LAPIC_H
#define DRIVERS_LAPIC_H

#include "lib/util.h"

/* Switches the local APIC on, all of its own sources masked. */
void lapic_init(void);

/* One interrupt of WAIT_VECTOR_TIMER after `count` ticks of the APIC's bus clock (1 GHz in QEMU and
 * KVM). 0 stops it. */
void lapic_timer_once(uint32_t count);

#endif
