/* Pseudo-random numbers for test traffic: splitmix64 (Steele, Lea, Flood 2014). The same seed
 * gives the same numbers. Not for secrets; those come from net/rand.h. */
#ifndef LIB_PRNG_H
#define LIB_PRNG_H

#include "lib/util.h"

struct prng {
    uint64_t state;
};

/* Mixes all bits of x into all bits of the result; a bijection. */
ALWAYS_INLINE uint64_t prng_mix(uint64_t x) {
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

ALWAYS_INLINE uint64_t prng_next(struct prng *prng) {
    prng->state += UINT64_C(0x9e3779b97f4a7c15);
    return prng_mix(prng->state);
}

#endif
