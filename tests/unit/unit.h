/* What every unit test includes first: cmocka and the headers that it wants in front of it. */
#ifndef TESTS_UNIT_UNIT_H
#define TESTS_UNIT_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Random numbers that are the same in every run: xorshift64*. */
struct unit_random {
    uint64_t state; /* not 0 */
};

static inline uint32_t unit_random(struct unit_random *r) {
    r->state ^= r->state >> 12;
    r->state ^= r->state << 25;
    r->state ^= r->state >> 27;
    return (uint32_t)(r->state * UINT64_C(0x2545f4914f6cdd1d) >> 32);
}

/* 0 to limit - 1 */
static inline uint32_t unit_below(struct unit_random *r, uint32_t limit) {
    return (uint32_t)((uint64_t)unit_random(r) * limit >> 32);
}

#endif
