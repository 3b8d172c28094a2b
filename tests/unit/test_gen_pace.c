/* When frames of app=gen are due. The time stamp counter runs at 1 GHz where nothing else is
 * said, so that ticks are nanoseconds. */
#include "tests/unit/unit.h"

#include "drivers/clock.h"
#include "net/gen_pace.h"

#include <math.h>
#include <string.h>

#define GHZ UINT64_C(1000000000)

uint64_t clock_ns_of_ticks(uint64_t ticks) {
    return ticks;
}

static struct gen_pace pace;
static struct gen_spec spec;

static void set(enum gen_rate_kind kind, uint64_t per_second, uint32_t bunch, uint32_t catchup,
                uint64_t hz) {
    spec = (struct gen_spec){
        .rate = {.kind = kind, .per_second = per_second, .bunch = bunch},
        .size_count = 2,
        .sizes = {{.len = 64, .weight = 3}, {.len = 1518, .weight = 1}},
        .seed = 1,
    };
    gen_pace_init(&pace, &spec, catchup, hz);
    gen_pace_start(&pace, 1000);
}

/* Sends n frames of that class, each when it is due. */
static void send(uint64_t n, unsigned class) {
    for (uint64_t i = 0; i < n; i++) {
        gen_pace_sent(&pace, class, gen_pace_due(&pace));
    }
}

static void expect_near(uint64_t a, uint64_t b, uint64_t most) {
    const uint64_t distance = a > b ? a - b : b - a;
    if (distance > most) {
        fail_msg("%llu instead of %llu", (unsigned long long)a, (unsigned long long)b);
    }
}

static void test_rates(void **state) {
    static const uint64_t rates[] = {1, 3, 7, 1000, 999983, 14880952, 50000000};
    static const uint64_t clocks[] = {GHZ, 2595655000, 4999999000};
    (void)state;
    for (unsigned c = 0; c < ARRAY_SIZE(clocks); c++) {
        for (unsigned i = 0; i < ARRAY_SIZE(rates); i++) {
            set(GEN_RATE_PPS, rates[i], 1, 0, clocks[c]);
            assert_int_equal(gen_pace_due(&pace), 1000);
            send(100000, 0);
            const unsigned __int128 exact = (unsigned __int128)clocks[c] * 100000 / rates[i];
            expect_near(gen_pace_due(&pace) - 1000, (uint64_t)exact, 1);
        }
    }
}

/* After 1e9 frames the time is still right to the tick. */
static void test_no_drift(void **state) {
    (void)state;
    set(GEN_RATE_PPS, 14880952, 1, 0, 2595655000);
    const gen_ticks step = pace.intervals[0];
    pace.due += step * (1000000000 - 1);
    send(1, 0);
    const uint64_t exact = (uint64_t)((unsigned __int128)2595655000 * 1000000000 / 14880952);
    expect_near(gen_pace_due(&pace) - 1000, exact, 1);
}

static void test_bits_per_second(void **state) {
    (void)state;
    set(GEN_RATE_BPS, 10 * GHZ, 1, 0, GHZ);
    send(10000, 0);
    expect_near(gen_pace_due(&pace) - 1000, 10000 * 64 * 8 / 10, 1);
    send(10000, 1);
    expect_near(gen_pace_due(&pace) - 1000, 10000 * (64 + 1518) * 8 / 10, 1);
}

/* A full link of 10 Gbit/s carries 14.2 million frames of 64 bytes without check sequence. */
static void test_wire(void **state) {
    (void)state;
    set(GEN_RATE_L1, 10 * GHZ, 1, 0, GHZ);
    send(10000, 0);
    expect_near(gen_pace_due(&pace) - 1000, 10000 * (64 + 24) * 8 / 10, 1);
    send(10000, 1);
    expect_near(gen_pace_due(&pace) - 1000, 10000 * (64 + 1518 + 48) * 8 / 10, 1);
}

static void test_max(void **state) {
    (void)state;
    set(GEN_RATE_MAX, 0, 1, 0, GHZ);
    for (unsigned i = 0; i < 1000; i++) {
        gen_pace_catch_up(&pace, 1000 + i * GHZ);
        assert_true(gen_pace_is_due(&pace, 1000 + i * GHZ));
        gen_pace_sent(&pace, i % 2, 1000 + i * GHZ);
    }
    assert_int_equal(pace.deficit, 0);
    assert_int_equal(pace.late_max, 0);
    assert_int_equal(pace.gap_error.count, 0);
}

/* burst:5 at 1 Mpps: five at once every 5 us. */
static void test_bunches(void **state) {
    (void)state;
    set(GEN_RATE_PPS, 1000000, 5, 0, GHZ);
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(gen_pace_due(&pace), 1000 + i / 5 * 5000);
        assert_true(gen_pace_is_due(&pace, gen_pace_due(&pace)));
        assert_false(gen_pace_is_due(&pace, gen_pace_due(&pace) - 1));
        send(1, i % 2);
    }
}

/* With sizes of their own intervals, a bunch takes the time of all of its frames. */
static void test_bunches_of_sizes(void **state) {
    (void)state;
    set(GEN_RATE_BPS, 8 * GHZ, 3, 0, GHZ);
    send(1, 0);
    send(1, 1);
    assert_int_equal(gen_pace_due(&pace), 1000);
    send(1, 0);
    assert_int_equal(gen_pace_due(&pace), 1000 + 64 + 1518 + 64);
}

/* Frames that are late are made up for, and their lateness shows. */
static void test_catches_up(void **state) {
    uint64_t sent = 0;
    (void)state;
    set(GEN_RATE_PPS, 1000000, 1, 100, GHZ);
    const uint64_t now = 1000 + 50 * 1000;
    gen_pace_catch_up(&pace, now);
    for (; gen_pace_is_due(&pace, now); sent++) {
        gen_pace_sent(&pace, 0, now);
    }
    assert_int_equal(sent, 51);
    assert_int_equal(pace.deficit, 0);
    assert_int_equal(pace.late_max, 50000);
    assert_int_equal(gen_pace_due(&pace), now + 1000);
}

/* Frames in excess are given up, in whole intervals: sent and given up are together what was
 * planned. */
static void test_gives_up(void **state) {
    static const uint32_t bounds[] = {0, 1, 100, 1000000};
    static const uint64_t pauses[] = {1500, 999, 1000, 123456789, 3 * GHZ};
    (void)state;
    for (unsigned b = 0; b < ARRAY_SIZE(bounds); b++) {
        uint64_t now = 1000;
        uint64_t sent = 0;
        set(GEN_RATE_PPS, 1000000, 1, bounds[b], GHZ);
        for (unsigned i = 0; i < ARRAY_SIZE(pauses); i++) {
            uint64_t at_once = 0;
            now += pauses[i];
            gen_pace_catch_up(&pace, now);
            for (; gen_pace_is_due(&pace, now); at_once++) {
                gen_pace_sent(&pace, 0, now);
            }
            assert_true(at_once <= bounds[b] + 2);
            sent += at_once;
            assert_int_equal(sent + pace.deficit, (now - 1000) / 1000 + 1);
            assert_int_equal((gen_pace_due(&pace) - 1000) % 1000, 0);
        }
    }
}

/* Slow and fast clocks and rates: nothing overflows after a day's pause. */
static void test_long_pause(void **state) {
    static const uint64_t rates[] = {1, 1000000, 50000000, GEN_PPS_MAX};
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rates); i++) {
        set(GEN_RATE_PPS, rates[i], 1, 1024, 5 * GHZ);
        const uint64_t now = 1000 + 3600 * 5 * GHZ;
        gen_pace_catch_up(&pace, now);
        const uint64_t late = now - gen_pace_due(&pace);
        expect_near(late, 1024 * 5 * GHZ / rates[i] < 3600 * 5 * GHZ ? 1024 * 5 * GHZ / rates[i]
                                                                    : 3600 * 5 * GHZ,
                    5 * GHZ / rates[i] + 3600 * 5 * GHZ / 1000000);
    }
}

/* The planned gap is 1000; the actual ones are 1300, 700, then a pause with frames given up. */
static void test_gap_errors(void **state) {
    (void)state;
    set(GEN_RATE_PPS, 1000000, 1, 0, GHZ);
    gen_pace_sent(&pace, 0, 1000);
    assert_int_equal(pace.gap_error.count, 0);
    gen_pace_sent(&pace, 0, 2300);
    assert_int_equal(pace.gap_error.count, 1);
    assert_int_equal(pace.gap_error.max, 300);
    gen_pace_sent(&pace, 0, 3000);
    assert_int_equal(pace.gap_error.min, 300);
    gen_pace_sent(&pace, 0, 4000);
    assert_int_equal(pace.gap_error.min, 0);
    gen_pace_catch_up(&pace, 104000);
    gen_pace_sent(&pace, 0, 104000);
    assert_int_equal(pace.deficit, 99);
    assert_int_equal(pace.gap_error.max, 99000);
    assert_int_equal(pace.late_max, 300);
}

/* Mean and variance of the exponential distribution, and that half of it lies below ln 2. */
static void test_poisson(void **state) {
    enum { DRAWS = 10000000 };
    double sum = 0, squares = 0;
    uint64_t short_ones = 0, none = 0;
    (void)state;
    set(GEN_RATE_PPS, 1000, 1, 0, GHZ);
    pace.poisson = true;
    for (unsigned i = 0; i < DRAWS; i++) {
        const uint64_t before = gen_pace_due(&pace);
        gen_pace_sent(&pace, 0, before);
        const double gap = (double)(gen_pace_due(&pace) - before) / 1e6;
        sum += gap;
        squares += gap * gap;
        short_ones += gap < 0.6931471805599453;
        none += gap == 0;
    }
    const double mean = sum / DRAWS;
    assert_true(fabs(mean - 1) < 0.001);
    assert_true(fabs(squares / DRAWS - mean * mean - 1) < 0.005);
    assert_true(fabs((double)short_ones / DRAWS - 0.5) < 0.001);
    assert_true(none < DRAWS / 100000);
}

/* The table and the lines between its points, against the C library. */
static void test_logarithm(void **state) {
    (void)state;
    set(GEN_RATE_PPS, 1000, 1, 0, GHZ);
    for (unsigned i = 0; i <= 256; i++) {
        const double exact = log2(1 + i / 256.0) * 2147483648.0;
        assert_true(fabs(exact - pace.log2_table[i]) < 64);
    }
}

/* Each one, against the C library. */
static void test_exponential(void **state) {
    (void)state;
    set(GEN_RATE_PPS, 1, 1, 0, GHZ);
    pace.poisson = true;
    for (unsigned i = 0; i < 100000; i++) {
        struct prng prng = pace.prng;
        const double exact = -log((double)(prng_next(&prng) | 1) / 18446744073709551616.0);
        const uint64_t before = gen_pace_due(&pace);
        send(1, 0);
        assert_true(fabs((double)(gen_pace_due(&pace) - before) / 1e9 - exact) < 4e-6);
    }
}

static void test_poisson_repeats(void **state) {
    static struct gen_pace other;
    (void)state;
    set(GEN_RATE_PPS, 1000, 1, 0, GHZ);
    pace.poisson = true;
    other = pace;
    send(1000, 0);
    for (unsigned i = 0; i < 1000; i++) {
        gen_pace_sent(&other, 0, gen_pace_due(&other));
    }
    assert_true(other.due == pace.due);
    spec.seed = 2;
    gen_pace_init(&other, &spec, 0, GHZ);
    other.poisson = true;
    gen_pace_start(&other, 1000);
    for (unsigned i = 0; i < 1000; i++) {
        gen_pace_sent(&other, 0, gen_pace_due(&other));
    }
    assert_true(other.due != pace.due);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_no_drift),
        cmocka_unit_test(test_bits_per_second),
        cmocka_unit_test(test_wire),
        cmocka_unit_test(test_max),
        cmocka_unit_test(test_bunches),
        cmocka_unit_test(test_bunches_of_sizes),
        cmocka_unit_test(test_catches_up),
        cmocka_unit_test(test_gives_up),
        cmocka_unit_test(test_long_pause),
        cmocka_unit_test(test_gap_errors),
        cmocka_unit_test(test_logarithm),
        cmocka_unit_test(test_poisson),
        cmocka_unit_test(test_exponential),
        cmocka_unit_test(test_poisson_repeats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
