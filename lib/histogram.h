/* A histogram of times, or of any whole numbers: log-linear buckets in fixed memory (9 KiB).
 *
 * Each power of two is cut into 32 equal buckets, numbers below 32 have one each. A number read
 * back is the middle of its bucket, so it is wrong by at most 1/64 (1.6 %) of the true one.
 * Minimum, maximum, count and sum are exact. Adding takes a few instructions and no division.
 *
 * Programs with memory to spare may define more HISTOGRAM_SUB_BITS; each halves the error. */
#ifndef LIB_HISTOGRAM_H
#define LIB_HISTOGRAM_H

#include "lib/util.h"

#ifndef HISTOGRAM_SUB_BITS
#define HISTOGRAM_SUB_BITS 5
#endif

enum {
    HISTOGRAM_SUB = 1 << HISTOGRAM_SUB_BITS, /* buckets in a power of two */
    HISTOGRAM_VALUE_BITS = 40,               /* 2^40 ns are 18 minutes */
    HISTOGRAM_BUCKETS = (HISTOGRAM_VALUE_BITS - HISTOGRAM_SUB_BITS + 1) * HISTOGRAM_SUB,
};

#define HISTOGRAM_VALUE_MAX ((UINT64_C(1) << HISTOGRAM_VALUE_BITS) - 1)

/* Static memory is an empty one. */
struct histogram {
    uint64_t count;
    uint64_t sum; /* modulo 2^64 */
    uint64_t min; /* of what was added; any value while count is 0 */
    uint64_t max;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

ALWAYS_INLINE unsigned histogram_bucket(uint64_t value) {
    if (value < HISTOGRAM_SUB) {
        return (unsigned)value;
    }
    const unsigned shift = 63 - HISTOGRAM_SUB_BITS - (unsigned)__builtin_clzll(value);
    return (shift + 1) * HISTOGRAM_SUB + ((unsigned)(value >> shift) & (HISTOGRAM_SUB - 1));
}

/* A value above HISTOGRAM_VALUE_MAX counts as that. */
ALWAYS_INLINE void histogram_add(struct histogram *h, uint64_t value) {
    value = min_u64(value, HISTOGRAM_VALUE_MAX);
    h->min = h->count == 0 ? value : min_u64(h->min, value);
    h->max = max_u64(h->max, value);
    h->sum += value;
    h->count++;
    h->buckets[histogram_bucket(value)]++;
}

/* Rounded down; 0 when empty. */
uint64_t histogram_mean(const struct histogram *h);

/* The smallest value that at least ppm millionths of all values do not exceed (500000: the median,
 * 0: the minimum, 1000000: the maximum), within 1/64 of it; 0 when empty. */
uint64_t histogram_quantile(const struct histogram *h, uint32_t ppm);

#endif
