/* The local APIC (Intel SDM volume 3, chapter 11), as far as interrupts of one CPU need it. Ring 0
 * acknowledges all of them (boot/trap.c) but INTx (drivers/irq.h). */
#ifndef DRIVERS_LAPIC_H
#define DRIVERS_LAPIC_H

#include "lib/util.h"

/* Switches the local APIC on, with the timer stopped and its other sources masked. Before anything
 * else here or in irq.h. */
void lapic_init(void);

/* One interrupt of WAIT_VECTOR_TIMER after `count` ticks of the APIC's bus clock; 0 stops the timer.
 * Replaces the one that was running. */
void lapic_timer_once(uint32_t count);

/* The same after `us` microseconds, as exact as the bus clock is known: the hypervisor tells it in
 * CPUID, or it is 1 GHz as in QEMU and KVM. At least one tick, so that a caller who has no time left
 * wakes up too; at most what 32 bits hold, 4.29 s at 1 GHz. */
void lapic_timer_us(uint64_t us);

/* The APIC id of this CPU, where messages and lines are sent to. */
uint8_t lapic_id(void);

/* Acknowledges the interrupt of the highest priority that is in service; without effect when none
 * is. */
void lapic_eoi(void);

#endif
