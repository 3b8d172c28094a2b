/* Stands in for lib/ring_mem.h: between any two accesses to ring memory somebody else may act, and, as
 * on x86 at worst, a store stays in the CPU's store buffer until a full fence. */
#ifndef TESTS_UNIT_SEAM_RING_STEP_H
#define TESTS_UNIT_SEAM_RING_STEP_H

#include <stdint.h>

/* Called before each access. NULL: stores are visible at once. */
extern void (*ring_step)(void);

/* The store buffer is written to memory, as it is in the end. */
void ring_drain(void);

void rm_store_release16(uint16_t *p, uint16_t value);
uint16_t rm_load_acquire16(const uint16_t *p);
void rm_fence_full(void);
uint16_t rm_load16(const uint16_t *p);
uint32_t rm_load32(const uint32_t *p);
uint64_t rm_load64(const uint64_t *p);
void rm_store16(uint16_t *p, uint16_t value);
void rm_store32(uint32_t *p, uint32_t value);
void rm_store64(uint64_t *p, uint64_t value);

#endif
