/* idle_pause=, yield_us=, idle_us= and trace=: what they may say, and what holds when they say nothing. */
#include "tests/unit/config_line.h"
#include "tests/unit/unit.h"

#include "lib/err.h"

#include <stdio.h>
#include <string.h>

static struct config cfg;
static char error[160];

static void accept(const char *cmdline) {
    memset(&cfg, 0x5a, sizeof(cfg));
    if (config_parse(&cfg, cmdline, error, sizeof(error)) != ERR_OK) {
        fail_msg("'%s' was refused: %s", cmdline, error);
    }
}

static void refuse(const char *cmdline, const char *sentence) {
    assert_int_equal(config_parse(&cfg, cmdline, error, sizeof(error)), ERR_CONFIG);
    assert_string_equal(error, sentence);
}

static const char *const stack_apps[] = {"app=echo", "app=ping dst=10.0.0.1"};
static const char *const raw_apps[] = {"app=fwd", "app=gen", "app=sink"};

/* Workloads on the protocol stack yield, raw ones spin. */
static void test_defaults(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(stack_apps); i++) {
        accept(stack_apps[i]);
        assert_int_equal(cfg.idle_pause, CONFIG_IDLE_YIELD);
        assert_int_equal(cfg.trace, CONFIG_TRACE_NONE);
        assert_true(config_may_halt(&cfg));
    }
    for (size_t i = 0; i < ARRAY_SIZE(raw_apps); i++) {
        accept(raw_apps[i]);
        assert_int_equal(cfg.idle_pause, CONFIG_IDLE_SPIN);
        assert_false(config_may_halt(&cfg));
    }
    accept("idle_pause=auto trace=none");
    assert_int_equal(cfg.idle_pause, CONFIG_IDLE_YIELD);
    assert_int_equal(cfg.idle_us, 2);
    assert_int_equal(cfg.yield_us, 250);
}

static void test_values(void **state) {
    (void)state;
    accept("idle_pause=spin mode=poll");
    assert_int_equal(cfg.idle_pause, CONFIG_IDLE_SPIN);
    assert_false(config_may_halt(&cfg));
    accept("idle_pause=pause");
    assert_int_equal(cfg.idle_pause, CONFIG_IDLE_PAUSE);
    assert_false(config_may_halt(&cfg));
    accept("app=sink idle_pause=yield idle_us=0 yield_us=1");
    assert_int_equal(cfg.idle_pause, CONFIG_IDLE_YIELD);
    assert_int_equal(cfg.idle_us, 0);
    assert_int_equal(cfg.yield_us, 1);
    assert_true(config_may_halt(&cfg));
    accept("app=ping dst=10.0.0.1 trace=latency idle_us=1000000 yield_us=100000");
    assert_int_equal(cfg.trace, CONFIG_TRACE_LATENCY);
    assert_int_equal(cfg.idle_us, 1000000);
    assert_int_equal(cfg.yield_us, 100000);
}

/* Modes that sleep have no policy, and an idle_us= of their own. */
static void test_modes_that_sleep(void **state) {
    (void)state;
    accept("mode=adaptive");
    assert_int_equal(cfg.idle_us, 100);
    assert_true(config_may_halt(&cfg));
    accept("mode=irq idle_pause=auto");
    assert_true(config_may_halt(&cfg));
    accept("mode=adaptive idle_us=7");
    assert_int_equal(cfg.idle_us, 7);
    refuse("mode=irq idle_pause=spin", "idle_pause=spin: is for mode=poll, mode=irq sleeps by itself");
    refuse("idle_pause=yield mode=adaptive",
           "idle_pause=yield: is for mode=poll, mode=adaptive sleeps by itself");
}

static void test_bad_values(void **state) {
    (void)state;
    refuse("idle_pause=nap", "idle_pause=nap: unknown value; known are: auto spin pause yield");
    refuse("yield_us=0", "yield_us=0: must be a whole number from 1 to 100000");
    refuse("yield_us=100001", "yield_us=100001: must be a whole number from 1 to 100000");
    refuse("trace=all", "trace=all: unknown value; known are: none latency");
    refuse("app=gen trace=latency", "trace: not a key of app=gen");
    refuse("app=sink trace=none", "trace: not a key of app=sink");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_modes_that_sleep),
        cmocka_unit_test(test_bad_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
