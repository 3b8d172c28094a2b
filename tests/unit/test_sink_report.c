/* What a sink measures and reports: delays, rates, the JSON of both. */
#include "tests/unit/unit.h"

#include "net/sink_report.h"
#include "tests/unit/sink_rig.h"

#include <stdlib.h>
#include <string.h>

enum { NOW = 1000000000 };

static struct sink sink;
static struct unit_random rnd = {.state = 31};
static const struct rig_shape plain;

static int open_sink(void **state) {
    (void)state;
    rig_open(&sink, 16, false);
    return 0;
}

static int close_sink(void **state) {
    (void)state;
    rig_close();
    return 0;
}

static void test_clocks(void **state) {
    const uint64_t most = (uint64_t)SINK_AGE_MAX_US * 1000 * RIG_TICKS_PER_NS;
    (void)state;
    const uint64_t now = 3 * most;
    const uint64_t stamps[] = {now, now - most, now - most - 1, now + 1, UINT64_MAX, 0};
    for (uint64_t i = 0; i < 6; i++) {
        rig_build(&plain, &(struct rig_stamp){.seq = i, .tsc = stamps[i]});
        assert_true(rig_give(&sink, now));
    }
    assert_int_equal(sink.latency.count, 2);
    assert_int_equal(sink.latency.min, 0);
    assert_int_equal(sink.latency.max, (uint64_t)SINK_AGE_MAX_US * 1000);
    assert_int_equal(sink.clock_skewed, 4);
}

static int by_value(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Against the sorted list of all delays. */
static void test_latency(void **state) {
    enum { COUNT = 100000 };
    static const uint32_t ppm[] = {500000, 900000, 990000, 999000, 999900, 999990};
    static uint64_t ns[COUNT];
    uint64_t sum = 0;
    (void)state;
    for (uint64_t i = 0; i < COUNT; i++) {
        const uint64_t now = UINT64_C(1) << 40;
        const uint64_t ticks = (uint64_t)unit_random(&rnd) >> unit_below(&rnd, 30);
        rig_build(&plain, &(struct rig_stamp){.seq = i, .tsc = now - ticks});
        assert_true(rig_give(&sink, now));
        ns[i] = ticks / RIG_TICKS_PER_NS;
        sum += ns[i];
    }
    qsort(ns, COUNT, sizeof(ns[0]), by_value);
    assert_int_equal(sink.latency.count, COUNT);
    assert_int_equal(sink.latency.min, ns[0]);
    assert_int_equal(sink.latency.max, ns[COUNT - 1]);
    assert_int_equal(histogram_mean(&sink.latency), sum / COUNT);
    for (size_t i = 0; i < sizeof(ppm) / sizeof(ppm[0]); i++) {
        const uint64_t want = ns[(uint64_t)COUNT * ppm[i] / 1000000 - 1];
        const uint64_t got = histogram_quantile(&sink.latency, ppm[i]);
        assert_true(got <= want + want / 64 && want <= got + want / 64);
    }
}

/* Stands in for net/stats.c. */
uint64_t stats_read_u64(const void *source) {
    return *(const uint64_t *)source;
}

static uint64_t read_item(const char *name) {
    static const struct stats_item items[] = {SINK_STATS_ITEMS(sink)};
    uint64_t value = UINT64_MAX;
    for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
        if (strcmp(items[i].name, name) == 0) {
            assert_int_equal(value, UINT64_MAX);
            value = items[i].read(items[i].source);
        }
    }
    return value;
}

static void test_rates(void **state) {
    (void)state;
    assert_int_equal(read_item("rate_pps"), 0);
    for (uint64_t i = 0; i <= 1000; i++) { /* one each 500 ns */
        const uint64_t now = NOW + i * 500 * RIG_TICKS_PER_NS;
        rig_build(&plain, &(struct rig_stamp){.session = 7, .seq = i, .tsc = now});
        assert_true(rig_give(&sink, now));
        if (i == 0) {
            assert_int_equal(read_item("duration_ns"), 0);
            assert_int_equal(read_item("rate_pps"), 0);
        }
    }
    assert_int_equal(read_item("frames"), 1001);
    assert_int_equal(read_item("received"), 1001);
    assert_int_equal(read_item("session"), 7);
    assert_int_equal(read_item("duration_ns"), 500000);
    assert_int_equal(read_item("rate_pps"), 2000000);
    assert_int_equal(read_item("rate_bps"), 2000000 * 64 * 8);
    sink.session.frames = sink.session.bytes = UINT64_C(1) << 55; /* no product is too large */
    sink.session.last_tsc = NOW + (UINT64_C(1) << 55) * RIG_TICKS_PER_NS;
    assert_in_range(read_item("rate_pps"), 999999999, 1000000000);
}

static void test_report(void **state) {
    char text[512];
    struct json j;
    (void)state;
    for (uint64_t i = 0; i < 100; i++) {
        rig_build(&plain, &(struct rig_stamp){.seq = i, .tsc = NOW - i * RIG_TICKS_PER_NS});
        assert_true(rig_give(&sink, NOW));
    }
    json_begin(&j, text, sizeof(text));
    json_object(&j, NULL);
    sink_write(&sink, &j);
    json_close(&j);
    assert_true(json_finish(&j) > 0);
    /* From 64 on two numbers share a bucket. */
    assert_string_equal(text, "{\"one_clock\":true,\"latency_ns\":{\"count\":100,\"min\":0,"
                              "\"mean\":49,\"max\":99,\"p50\":49,\"p90\":88,\"p99\":98,"
                              "\"p999\":98,\"p9999\":98,\"p99999\":98}}");
    rig_build(&plain, &(struct rig_stamp){.seq = 100, .tsc = NOW + 1});
    assert_true(rig_give(&sink, NOW));
    json_begin(&j, text, sizeof(text));
    json_object(&j, NULL);
    sink_write(&sink, &j);
    json_close(&j);
    assert_true(json_finish(&j) > 0);
    assert_non_null(strstr(text, "\"one_clock\":false"));
    assert_non_null(strstr(text, "\"count\":100"));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_sink, close_sink)
    const struct CMUnitTest tests[] = {
        TEST(test_clocks),
        TEST(test_latency),
        TEST(test_rates),
        TEST(test_report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
