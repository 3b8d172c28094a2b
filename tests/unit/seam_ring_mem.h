/* Stands in for lib/ring_mem.h: every access to ring memory is written down in order, and a hook
 * can change what the device owns right after a load, to find values that are read twice. */
#ifndef TESTS_UNIT_SEAM_RING_MEM_H
#define TESTS_UNIT_SEAM_RING_MEM_H

#include <stdint.h>

enum ring_access_kind {
    RING_STORE,
    RING_STORE_RELEASE,
    RING_LOAD,
    RING_LOAD_ACQUIRE,
    RING_FENCE,
};

struct ring_access {
    enum ring_access_kind kind;
    const void *at;
    unsigned bits;
    uint64_t value;
};

enum { RING_LOG_MAX = 256 };

extern struct ring_access ring_log[RING_LOG_MAX];
extern unsigned ring_log_count;
extern void (*ring_after_load)(void *at, unsigned bits); /* may be NULL */

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
