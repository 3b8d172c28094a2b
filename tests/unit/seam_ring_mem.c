#include "tests/unit/seam_ring_mem.h"

#include <stddef.h>
#include <stdlib.h>

/* The tests poison ring memory, so that an access which does not come through here stops them. */
#define UNPOISONED __attribute__((no_sanitize("address"), noinline))

struct ring_access ring_log[RING_LOG_MAX];
unsigned ring_log_count;
void (*ring_after_load)(void *at, unsigned bits);

static void note(enum ring_access_kind kind, const void *at, unsigned bits, uint64_t value) {
    if (ring_log_count == RING_LOG_MAX) {
        abort();
    }
    ring_log[ring_log_count++] =
        (struct ring_access){.kind = kind, .at = at, .bits = bits, .value = value};
}

static void after_load(const void *at, unsigned bits) {
    if (ring_after_load != NULL) {
        ring_after_load((void *)(uintptr_t)at, bits);
    }
}

#define DEFINE_STORE(name, bits, kind)                                                             \
    UNPOISONED void name(uint##bits##_t *p, uint##bits##_t value) {                                \
        note(kind, p, bits, value);                                                                \
        *(volatile uint##bits##_t *)p = value;                                                     \
    }
#define DEFINE_LOAD(name, bits, kind)                                                              \
    UNPOISONED uint##bits##_t name(const uint##bits##_t *p) {                                      \
        const uint##bits##_t value = *(const volatile uint##bits##_t *)p;                          \
        note(kind, p, bits, value);                                                                \
        after_load(p, bits);                                                                       \
        return value;                                                                              \
    }

DEFINE_STORE(rm_store_release16, 16, RING_STORE_RELEASE)
DEFINE_STORE(rm_store16, 16, RING_STORE)
DEFINE_STORE(rm_store32, 32, RING_STORE)
DEFINE_STORE(rm_store64, 64, RING_STORE)
DEFINE_LOAD(rm_load_acquire16, 16, RING_LOAD_ACQUIRE)
DEFINE_LOAD(rm_load16, 16, RING_LOAD)
DEFINE_LOAD(rm_load32, 32, RING_LOAD)
DEFINE_LOAD(rm_load64, 64, RING_LOAD)

void rm_fence_full(void) {
    note(RING_FENCE, NULL, 0, 0);
}
