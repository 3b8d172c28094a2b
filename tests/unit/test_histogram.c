/* The histogram: exact where it says so, and within 1/64 everywhere else. */
#include "tests/unit/unit.h"

#include "lib/histogram.h"

#include <stdlib.h>
#include <string.h>

static struct histogram h;

static int empty(void **state) {
    (void)state;
    memset(&h, 0, sizeof(h));
    return 0;
}

static void expect_close(uint64_t got, uint64_t want) {
    const uint64_t apart = got > want ? got - want : want - got;
    if (apart > want / 64) {
        fail_msg("%llu instead of %llu", (unsigned long long)got, (unsigned long long)want);
    }
}

static void test_empty(void **state) {
    (void)state;
    assert_int_equal(histogram_mean(&h), 0);
    assert_int_equal(histogram_quantile(&h, 0), 0);
    assert_int_equal(histogram_quantile(&h, 500000), 0);
    assert_int_equal(histogram_quantile(&h, 1000000), 0);
    assert_true(sizeof(h) < 10 * 1024);
}

/* One value alone comes back exactly, since minimum and maximum bound it. */
static void test_single_values(void **state) {
    (void)state;
    for (unsigned bit = 0; bit < 40; bit++) {
        for (int d = -1; d <= 1; d++) {
            const uint64_t value = (UINT64_C(1) << bit) + (uint64_t)(int64_t)d;
            empty(NULL);
            histogram_add(&h, value);
            assert_int_equal(h.min, value);
            assert_int_equal(h.max, value);
            assert_int_equal(histogram_mean(&h), value);
            for (uint32_t ppm = 0; ppm <= 1000000; ppm += 250000) {
                assert_int_equal(histogram_quantile(&h, ppm), value);
            }
        }
    }
}

/* Buckets follow each other without a gap, and the middle of each is close to its ends. */
static void test_buckets(void **state) {
    unsigned last = 0;
    (void)state;
    for (uint64_t value = 0; value < 1 << 20; value++) {
        const unsigned bucket = histogram_bucket(value);
        assert_true(bucket == last || bucket == last + 1);
        last = bucket;
    }
    assert_int_equal(histogram_bucket(HISTOGRAM_VALUE_MAX), HISTOGRAM_BUCKETS - 1);
    for (unsigned bit = 0; bit < 40; bit++) {
        for (unsigned sub = 0; sub < 64; sub++) {
            const uint64_t value = (UINT64_C(1) << bit) + (sub * (UINT64_C(1) << bit) >> 6);
            empty(NULL);
            histogram_add(&h, 0); /* so that minimum and maximum do not help */
            histogram_add(&h, value);
            histogram_add(&h, HISTOGRAM_VALUE_MAX);
            expect_close(histogram_quantile(&h, 500000), value);
        }
    }
}

static void test_too_large(void **state) {
    (void)state;
    histogram_add(&h, UINT64_MAX);
    histogram_add(&h, HISTOGRAM_VALUE_MAX + 1);
    assert_int_equal(h.min, HISTOGRAM_VALUE_MAX);
    assert_int_equal(h.max, HISTOGRAM_VALUE_MAX);
    assert_int_equal(histogram_quantile(&h, 999000), HISTOGRAM_VALUE_MAX);
}

/* Small numbers have a bucket each: exact quantiles. */
static void test_ranks(void **state) {
    (void)state;
    for (unsigned value = 1; value <= 10; value++) {
        histogram_add(&h, value);
    }
    assert_int_equal(histogram_quantile(&h, 0), 1);
    assert_int_equal(histogram_quantile(&h, 100000), 1);
    assert_int_equal(histogram_quantile(&h, 100001), 2);
    assert_int_equal(histogram_quantile(&h, 500000), 5);
    assert_int_equal(histogram_quantile(&h, 900000), 9);
    assert_int_equal(histogram_quantile(&h, 999000), 10);
    assert_int_equal(histogram_quantile(&h, 1000000), 10);
    assert_int_equal(histogram_mean(&h), 5);
}

static int by_value(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Against the sorted list, for times spread over all powers of two. */
static void test_against_sorted(void **state) {
    enum { COUNT = 20000 };
    static uint64_t values[COUNT];
    struct unit_random random = {.state = 20240607};
    uint64_t sum = 0;
    (void)state;
    for (unsigned i = 0; i < COUNT; i++) {
        const uint64_t bits = (uint64_t)unit_random(&random) << 32 | unit_random(&random);
        values[i] = bits >> (24 + unit_below(&random, 40));
        sum += values[i];
        histogram_add(&h, values[i]);
    }
    qsort(values, COUNT, sizeof(values[0]), by_value);
    assert_int_equal(h.count, COUNT);
    assert_int_equal(h.min, values[0]);
    assert_int_equal(h.max, values[COUNT - 1]);
    assert_int_equal(histogram_mean(&h), sum / COUNT);
    for (uint32_t ppm = 50; ppm <= 1000000; ppm += 50) {
        expect_close(histogram_quantile(&h, ppm), values[(uint64_t)COUNT * ppm / 1000000 - 1]);
    }
}

/* Counts whose product with the millionths exceeds 64 bits. */
static void test_huge_counts(void **state) {
    (void)state;
    histogram_add(&h, 3);
    histogram_add(&h, 7);
    h.buckets[3] = h.buckets[7] = UINT64_C(1) << 60;
    h.count = UINT64_C(1) << 61;
    assert_int_equal(histogram_quantile(&h, 500000), 3);
    assert_int_equal(histogram_quantile(&h, 500001), 7);
    assert_int_equal(histogram_quantile(&h, 1000000), 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_empty, empty),
        cmocka_unit_test_setup(test_single_values, empty),
        cmocka_unit_test_setup(test_buckets, empty),
        cmocka_unit_test_setup(test_too_large, empty),
        cmocka_unit_test_setup(test_ranks, empty),
        cmocka_unit_test_setup(test_against_sorted, empty),
        cmocka_unit_test_setup(test_huge_counts, empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
