/* Time, counted with the CPU's time stamp counter. */
#ifndef DRIVERS_CLOCK_H
#define DRIVERS_CLOCK_H

#include "lib/cpu.h"
#include "lib/util.h"

/* Finds the frequency: from CPUID, from the hypervisor's clock, else by calibration against the PIT.
 * tsc_start is the counter at the first instruction; pvclock is KVM's clock page, NULL: none. */
void clock_init(uint64_t tsc_start, const void *pvclock);

uint64_t clock_khz(void);
const char *clock_source(void); /* "cpuid", "kvmclock", "pit" or "assumed" */

/* Since the first instruction. Never goes back. */
uint64_t clock_us(void);
uint64_t clock_ms(void);

/* Ticks of cpu_tsc() in so many microseconds. */
uint64_t clock_ticks_of_us(uint64_t us);

/* Nanoseconds in so many ticks of cpu_tsc(), up to some centuries. A multiplication, for use with
 * every packet. */
uint64_t clock_ns_of_ticks(uint64_t ticks);

#endif
