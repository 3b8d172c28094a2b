/* trace=latency: which times between the points of a pass count, and how they are shown. */
#include "tests/unit/unit.h"

#include "drivers/clock.h"
#include "net/latency.h"

#include <string.h>

enum { TICKS_PER_NS = 2 };

uint64_t clock_ns_of_ticks(uint64_t ticks) {
    return ticks / TICKS_PER_NS;
}

static uint64_t now_ns;

/* The point is passed so much later than the one before. */
static void at(enum latency_point point, uint64_t later_ns) {
    now_ns += later_ns;
    latency_note(point, now_ns * TICKS_PER_NS);
}

static void empty_pass(uint64_t later_ns) {
    at(LATENCY_LOOK, later_ns);
    at(LATENCY_ANSWERED, 1);
    at(LATENCY_FLUSHED, 1);
}

static void pass_with_frames(uint64_t later_ns, uint64_t stack_ns, uint64_t doorbell_ns) {
    at(LATENCY_LOOK, later_ns);
    at(LATENCY_SEEN, 3);
    at(LATENCY_ANSWERED, stack_ns);
    at(LATENCY_FLUSHED, doorbell_ns);
}

static int forget(void **state) {
    (void)state;
    memset(latency_ns, 0, sizeof(latency_ns));
    now_ns = 1000;
    latency_note(LATENCY_WOKEN, now_ns);
    return 0;
}

static void expect(enum latency_part part, uint64_t count, uint64_t min, uint64_t max) {
    assert_int_equal(latency_ns[part].count, count);
    assert_int_equal(latency_ns[part].min, min);
    assert_int_equal(latency_ns[part].max, max);
}

static void test_parts(void **state) {
    (void)state;
    pass_with_frames(0, 100, 20);
    pass_with_frames(5, 300, 10);
    expect(LATENCY_SEEN_TO_STACK, 2, 100, 300);
    expect(LATENCY_STACK_TO_DOORBELL, 2, 10, 20);
    expect(LATENCY_PASS, 0, 0, 0);
}

/* Of several NICs with frames the first one counts: its frames wait for the others'. */
static void test_two_bursts(void **state) {
    (void)state;
    at(LATENCY_LOOK, 0);
    at(LATENCY_SEEN, 1);
    at(LATENCY_SEEN, 50);
    at(LATENCY_ANSWERED, 30);
    at(LATENCY_FLUSHED, 5);
    expect(LATENCY_SEEN_TO_STACK, 1, 80, 80);
    expect(LATENCY_STACK_TO_DOORBELL, 1, 5, 5);
}

/* An empty look counts from look to look, whatever the next one finds; what a pass with frames takes is
 * no lateness. */
static void test_passes(void **state) {
    (void)state;
    empty_pass(0);
    empty_pass(40); /* 2 ns passed in the first one */
    pass_with_frames(68, 500, 10);
    empty_pass(1000);
    expect(LATENCY_PASS, 2, 42, 70);
    expect(LATENCY_SEEN_TO_STACK, 1, 500, 500);
    empty_pass(1);
    expect(LATENCY_PASS, 3, 3, 70);
}

static void test_device_ends_sleep(void **state) {
    (void)state;
    empty_pass(0);
    at(LATENCY_WOKEN, 1000000);
    pass_with_frames(1, 10, 10);
    expect(LATENCY_PASS, 0, 0, 0);
}

static void test_json(void **state) {
    char text[1024];
    struct json j;
    (void)state;
    pass_with_frames(0, 7, 5);
    json_begin(&j, text, sizeof(text));
    json_object(&j, NULL);
    latency_write(&j);
    latency_on = true;
    latency_write(&j);
    latency_on = false;
    json_close(&j);
    assert_true(json_finish(&j) > 0);
    assert_string_equal(text,
        "{\"latency\":{"
        "\"seen_to_stack\":{\"count\":1,\"min\":7,\"mean\":7,\"max\":7,\"p50\":7,\"p90\":7,\"p99\":7,"
        "\"p999\":7,\"p9999\":7,\"p99999\":7},"
        "\"stack_to_doorbell\":{\"count\":1,\"min\":5,\"mean\":5,\"max\":5,\"p50\":5,\"p90\":5,\"p99\":5,"
        "\"p999\":5,\"p9999\":5,\"p99999\":5},"
        "\"pass\":{\"count\":0,\"min\":0,\"mean\":0,\"max\":0,\"p50\":0,\"p90\":0,\"p99\":0,"
        "\"p999\":0,\"p9999\":0,\"p99999\":0}}}");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_parts, forget),
        cmocka_unit_test_setup(test_two_bursts, forget),
        cmocka_unit_test_setup(test_passes, forget),
        cmocka_unit_test_setup(test_device_ends_sleep, forget),
        cmocka_unit_test_setup(test_json, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
