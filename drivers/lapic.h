/* The local APIC (Intel SDM volume 3, chapter 11), as far as interrupts of one CPU need it. Ring 0
 * acknowledges all of them (boot/trap.c) but INTx (drivers/irq.h). */
#ifndef DRIVERS_LAPIC_H
#define DRIVERS_LAPIC_H

#include "lib/util.h"

/* Switches the local APIC on, with the timer stopped and its other sources masked. Before anything
 * else here or in irq.h. */
void lapic_init(void);

/* One interrupt of WAIT_VECTOR_TIMER after `count` ticks of the APIC's bus clock, instead of the
 * one that was under way; 0 stops the timer. One that was due just before may still come. */
void lapic_timer_once(uint32_t count);

/* The same after `us` microseconds, taking the bus clock for 1 GHz, as it is in QEMU and KVM:
 * elsewhere the time is another. At least one tick, so that a caller who has no time left wakes
 * up too; at most what 32 bits hold, 4.29 s. */
void lapic_timer_us(uint64_t us);

/* The id of this CPU's APIC, where messages and lines are sent to. From its register, not from
 * CPUID: a hypervisor that runs ring 3 natively may show the host's there. */
uint8_t lapic_id(void);

/* Acknowledges the INTx interrupt that ring 0 left in service, and lets the next one come. For
 * irq_intx_ack(). */
void lapic_ack_intx(void);

#endif
