#include "lib/histogram.h"

#include "lib/assert.h"

enum { PPM_ALL = 1000000 };

static uint64_t histogram_middle(unsigned bucket) {
    if (bucket < HISTOGRAM_SUB) {
        return bucket;
    }
    const unsigned shift = bucket / HISTOGRAM_SUB - 1;
    const uint64_t low = (uint64_t)(HISTOGRAM_SUB + bucket % HISTOGRAM_SUB) << shift;
    return low + ((UINT64_C(1) << shift) - 1) / 2;
}

uint64_t histogram_mean(const struct histogram *h) {
    return h->count == 0 ? 0 : h->sum / h->count;
}

uint64_t histogram_quantile(const struct histogram *h, uint32_t ppm) {
    uint64_t seen = 0;
    ASSERT(ppm <= PPM_ALL);
    if (h->count == 0) {
        return 0;
    }
    /* ceil(count * ppm / 1000000) in two parts, since the product can exceed 64 bits. */
    const uint64_t part = h->count % PPM_ALL * ppm;
    const uint64_t rank = max_u64(1, h->count / PPM_ALL * ppm + (part + PPM_ALL - 1) / PPM_ALL);
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= rank) {
            return min_u64(max_u64(histogram_middle(i), h->min), h->max);
        }
    }
    return h->max;
}
