#include "net/gen_pace.h"

#include "drivers/clock.h"
#include "lib/assert.h"

enum { BITS_OF_BYTE = 8, LOG2_BITS = 31, LOG2_STEPS = 256, EXP_BITS = 32, MEAN_BITS = 24 };

#define LN2_Q32 UINT64_C(2977044472) /* of 2^32 */

/* number * hz / per_second; the quotient is below 2^64, per_second below 2^63. */
static gen_ticks pace_interval(uint64_t number, uint64_t hz, uint64_t per_second) {
    ASSERT(per_second > 0 && per_second < UINT64_C(1) << 63 && number <= UINT64_MAX / hz);
    uint64_t rest = number * hz % per_second;
    gen_ticks ticks = number * hz / per_second;
    for (unsigned bit = 0; bit < 64; bit++) { /* long division, for what is behind the point */
        rest *= 2;
        ticks = ticks << 1 | (rest >= per_second);
        rest -= rest >= per_second ? per_second : 0;
    }
    return ticks;
}

static gen_ticks pace_interval_of(const struct gen_rate *rate, uint32_t len, uint64_t hz) {
    switch (rate->kind) {
    case GEN_RATE_MAX:
        return 0;
    case GEN_RATE_PPS:
        return pace_interval(1, hz, rate->per_second);
    case GEN_RATE_BPS:
        return pace_interval((uint64_t)len * BITS_OF_BYTE, hz, rate->per_second);
    case GEN_RATE_L1:
        return pace_interval((uint64_t)(len + GEN_WIRE_OVERHEAD) * BITS_OF_BYTE, hz,
                             rate->per_second);
    }
    return 0;
}

/* Bit by bit: the square of a number has twice its logarithm. */
static uint32_t pace_log2(unsigned i) {
    uint64_t x = (uint64_t)(LOG2_STEPS + i) << (LOG2_BITS - 8); /* 1 to 2, times 2^31 */
    uint32_t log = 0;
    if (i == LOG2_STEPS) {
        return UINT32_C(1) << LOG2_BITS;
    }
    for (unsigned bit = 0; bit < LOG2_BITS; bit++) {
        x = x * x >> LOG2_BITS;
        const bool carry = x >> LOG2_BITS > 1;
        log = log << 1 | carry;
        x >>= carry;
    }
    return log;
}

static void pace_init_mean(struct gen_pace *pace, const struct gen_spec *spec) {
    uint32_t weights = 0;
    uint64_t whole = 0; /* times 2^MEAN_BITS */
    for (unsigned i = 0; i < spec->size_count; i++) {
        weights += spec->sizes[i].weight;
        whole += (uint64_t)(pace->intervals[i] >> (64 - MEAN_BITS)) * spec->sizes[i].weight;
    }
    pace->mean = (gen_ticks)(whole / weights) << (64 - MEAN_BITS);
}

void gen_pace_init(struct gen_pace *pace, const struct gen_spec *spec, uint32_t catchup,
                   uint64_t hz) {
    const struct gen_rate *rate = &spec->rate;
    *pace = (struct gen_pace){
        .max = rate->kind == GEN_RATE_MAX,
        .poisson = rate->poisson,
        .bunch = rate->bunch,
        .bunch_left = rate->bunch,
        .prng = {.state = spec->seed},
    };
    for (unsigned i = 0; i < spec->size_count; i++) {
        pace->intervals[i] = pace_interval_of(rate, spec->sizes[i].len, hz);
    }
    pace_init_mean(pace, spec);
    pace->catchup_ticks = (uint64_t)(pace->mean >> 64) * catchup +
                          ((uint64_t)(pace->mean >> 32 & UINT32_MAX) * catchup >> 32);
    for (unsigned i = 0; i <= LOG2_STEPS; i++) {
        pace->log2_table[i] = pace_log2(i);
    }
}

void gen_pace_start(struct gen_pace *pace, uint64_t now) {
    pace->due = (gen_ticks)now << 64;
}

/* Cold: it divides. */
static void pace_give_up(struct gen_pace *pace, uint64_t excess_ticks) {
    enum { EXCESS_BITS = 46 };
    const uint64_t mean = (uint64_t)(pace->mean >> (64 - MEAN_BITS));
    const uint64_t excess = min_u64(excess_ticks, (UINT64_C(1) << EXCESS_BITS) - 1);
    const uint64_t frames =
        (excess << (64 - EXCESS_BITS)) / (mean >> (MEAN_BITS + EXCESS_BITS - 64));
    const gen_ticks shift = frames * pace->mean;
    pace->deficit += frames;
    pace->due += shift;
    pace->last_late -= (int64_t)(shift >> 64);
}

void gen_pace_catch_up(struct gen_pace *pace, uint64_t now) {
    const uint64_t due = gen_pace_due(pace);
    if (UNLIKELY(now > due && now - due > pace->catchup_ticks && !pace->max)) {
        pace_give_up(pace, now - due - pace->catchup_ticks);
    }
}

/* The interval times an exponentially distributed number with mean 1, -ln of an evenly
 * distributed one. The logarithm to base 2: leading zeros, then a table with lines between its
 * points, wrong by less than 3 millionths. */
static gen_ticks pace_exponential(struct gen_pace *pace, gen_ticks interval) {
    const uint64_t x = prng_next(&pace->prng) | 1;
    const unsigned zeros = (unsigned)__builtin_clzll(x);
    const uint64_t fraction = x << zeros << 1; /* behind the leading one */
    const unsigned i = (unsigned)(fraction >> 56);
    const uint64_t low = pace->log2_table[i];
    const uint64_t step = pace->log2_table[i + 1] - low;
    const uint64_t log2 = low + (step * (fraction >> 24 & UINT32_MAX) >> 32);
    /* At most 2^38. */
    const uint64_t ln = ((((uint64_t)(zeros + 1) << LOG2_BITS) - log2) * (LN2_Q32 >> 7)) >> 24;
    return (gen_ticks)(uint64_t)(interval >> (64 - MEAN_BITS)) * ln << (64 - MEAN_BITS - EXP_BITS);
}

void gen_pace_sent(struct gen_pace *pace, unsigned class, uint64_t now) {
    if (pace->max) {
        return;
    }
    const int64_t late = (int64_t)(now - gen_pace_due(pace));
    if (LIKELY(pace->has_last)) {
        const int64_t error = late - pace->last_late;
        histogram_add(&pace->gap_error, clock_ns_of_ticks((uint64_t)(error < 0 ? -error : error)));
    }
    pace->has_last = true;
    pace->last_late = late;
    pace->late_max = max_u64(pace->late_max, (uint64_t)late);

    const gen_ticks interval = pace->intervals[class];
    pace->bunch_ticks += UNLIKELY(pace->poisson) ? pace_exponential(pace, interval) : interval;
    if (--pace->bunch_left == 0) {
        pace->due += pace->bunch_ticks;
        pace->bunch_ticks = 0;
        pace->bunch_left = pace->bunch;
    }
}
