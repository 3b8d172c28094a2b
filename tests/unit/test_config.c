/* The command line. Whatever is wrong with it gives one clear sentence, never a silent default. */
#include "tests/unit/config_line.h"
#include "tests/unit/unit.h"

#include "lib/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct config cfg;
static char error[160];

static int parse(const char *cmdline) {
    memset(&cfg, 0x5a, sizeof(cfg));
    memset(error, 0x5a, sizeof(error));
    const int err = config_parse(&cfg, cmdline, error, sizeof(error));
    assert_non_null(memchr(error, '\0', sizeof(error)));
    assert_int_equal(err == ERR_OK, error[0] == '\0');
    assert_true(err == ERR_OK || err == ERR_CONFIG);
    return err;
}

static void accept(const char *cmdline) {
    if (parse(cmdline) != ERR_OK) {
        fail_msg("'%s' was refused: %s", cmdline, error);
    }
}

/* Refused, and the sentence holds all of `words`, separated by '|'. */
static void refuse(const char *cmdline, const char *words) {
    char wanted[160];
    if (parse(cmdline) == ERR_OK) {
        fail_msg("'%s' was accepted", cmdline);
    }
    snprintf(wanted, sizeof(wanted), "%s", words);
    for (char *word = strtok(wanted, "|"); word != NULL; word = strtok(NULL, "|")) {
        if (strstr(error, word) == NULL) {
            fail_msg("'%s': the error '%s' does not say '%s'", cmdline, error, word);
        }
    }
}

static void test_defaults(void **state) {
    static const char *const nothing[] = {"",         " ",       "\n",
                                          " \t\r\n ", "ip=dhcp", "ip6=auto app=echo"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(nothing); i++) {
        accept(nothing[i]);
        assert_int_equal(cfg.app, CONFIG_APP_ECHO);
        assert_int_equal(cfg.ring, CONFIG_RING_AUTO);
        assert_int_equal(cfg.mode, CONFIG_MODE_POLL);
        assert_int_equal(cfg.queue, 0);
        assert_int_equal(cfg.seconds, 0);
        assert_int_equal(cfg.stats, 0);
        assert_string_equal(cfg.ip, "dhcp");
        assert_string_equal(cfg.gw, "");
        assert_string_equal(cfg.ip6, "auto");
        assert_string_equal(cfg.features, "");
        assert_string_equal(cfg.kind, "");
    }
}

static void test_every_key(void **state) {
    (void)state;
    accept("app=echo ip=10.0.0.2/24 gw=10.0.0.1 ip6=fd00::2/64 ring=split mode=poll "
           "features=-mrg_rxbuf,-event_idx queue=256 seconds=30 stats=5");
    assert_int_equal(cfg.app, CONFIG_APP_ECHO);
    assert_int_equal(cfg.ring, CONFIG_RING_SPLIT);
    assert_int_equal(cfg.mode, CONFIG_MODE_POLL);
    assert_int_equal(cfg.queue, 256);
    assert_int_equal(cfg.seconds, 30);
    assert_int_equal(cfg.stats, 5);
    assert_string_equal(cfg.ip, "10.0.0.2/24");
    assert_string_equal(cfg.gw, "10.0.0.1");
    assert_string_equal(cfg.ip6, "fd00::2/64");
    assert_string_equal(cfg.features, "-mrg_rxbuf,-event_idx");
    accept("ring=auto app=crash-test kind=null-write");
    assert_int_equal(cfg.ring, CONFIG_RING_AUTO);
    assert_int_equal(cfg.app, CONFIG_APP_CRASH_TEST);
    assert_string_equal(cfg.kind, "null-write");
    accept("features=a=b=c"); /* the first '=' counts */
    assert_string_equal(cfg.features, "a=b=c");
}

static void test_whitespace(void **state) {
    (void)state;
    accept("  queue=2\t\tseconds=3\r\nstats=4  ");
    assert_int_equal(cfg.queue, 2);
    assert_int_equal(cfg.seconds, 3);
    assert_int_equal(cfg.stats, 4);
    refuse("queue= 2", "queue");
    refuse("queue =2", "queue|key=value");
}

static void test_numbers(void **state) {
    static const char *const bad[] = {
        "queue=0",
        "queue=32769",
        "queue=65536",
        "queue=4294967296",
        "queue=-1",
        "queue=+1",
        "queue=0x10",
        "queue=1k",
        "queue=",
        "queue=1.0",
        "queue=4294967297",
        "queue=18446744073709551617",
        "seconds=1000001",
        "stats=86401",
        "seconds=4294967295",
        "seconds=99999999999999999999",
        "stats=-0",
        "seconds=18446744073709551616",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        refuse(bad[i], "whole number|from|to");
        assert_memory_equal(error, bad[i], strlen(bad[i])); /* repeats what was wrong */
    }
    accept("queue=1 seconds=0 stats=0");
    assert_int_equal(cfg.queue, 1);
    accept("queue=32768 seconds=1000000 stats=86400");
    assert_int_equal(cfg.queue, 32768);
    assert_int_equal(cfg.seconds, 1000000);
    assert_int_equal(cfg.stats, 86400);
    accept("queue=0000000000000000000000000000064");
    assert_int_equal(cfg.queue, 64);
}

static void test_choices(void **state) {
    (void)state;
    refuse("app=web", "app=web|unknown value|echo|crash-test");
    refuse("app=", "app=|unknown value");
    refuse("app=ech", "unknown value");
    refuse("app=echoo", "unknown value");
    refuse("app=Echo", "unknown value");
    refuse("ring=both", "ring=both|unknown value|auto|split|packed");
    refuse("mode=fast", "mode=fast|unknown value|poll");
    refuse("app=fwd fwd=route", "fwd=route|unknown value|io|mac|macswap|5tswap|icmpecho");
    refuse("app=gen proto=icmp", "proto=icmp|unknown value|udp|tcp");
    refuse("app=gen payload=none", "payload=none|unknown value|pattern|fixed");
}

static void test_words(void **state) {
    (void)state;
    refuse("quiet", "quiet|key=value");
    refuse("colour=blue", "colour|unknown key");
    refuse("Queue=2", "Queue|unknown key");
    refuse("queu=2", "queu|unknown key");
    refuse("queues=2", "queues|unknown key");
    refuse("=2", "unknown key");
    refuse("=", "unknown key");
    refuse("queue=2 ring=split queue=2", "queue|twice");
    refuse("ip=dhcp ip=off", "ip|twice");
    refuse("ip=", "ip|needs a value");
    refuse("features=", "features|needs a value");
    /* The first mistake is the one that is told, wherever it stands. */
    refuse("queue=4 nonsense=1 stats=x", "nonsense");
}

/* A key of one workload beside another is a mistake in whatever order they come. */
static void test_keys_of_one_app(void **state) {
    (void)state;
    refuse("kind=null-write", "kind|app=echo");
    refuse("app=echo kind=null-write", "kind|app=echo");
    refuse("kind=null-write app=echo", "kind|app=echo");
    accept("kind=divide app=crash-test");
    refuse("app=crash-test", "app=crash-test|kind");
    refuse("rate=1pps", "rate|app=echo");
    refuse("app=sink rate=1pps", "rate|app=sink");
    refuse("rate=1pps app=fwd", "rate|app=fwd");
    accept("guest_offloads=csum,tso4");
    assert_string_equal(cfg.guest_offloads, "csum,tso4");
    accept("app=ping dst=10.0.0.1 guest_offloads=none");
    refuse("app=fwd guest_offloads=none", "guest_offloads|app=fwd");
    refuse("app=gen guest_offloads=none", "guest_offloads|app=gen");
    refuse("guest_offloads=", "guest_offloads=|needs a value");
    refuse("app=gen qinq=7", "qinq=7|vlan=");
    accept("app=gen qinq=7 vlan=8");
    /* The workload is looked at first, so that a wrong one is the mistake that is told. */
    refuse("dst=10.0.0.1 app=pong", "app=pong|unknown value");
}

/* One name may be the key of two workloads, with another meaning. */
static void test_keys_with_two_meanings(void **state) {
    (void)state;
    accept("size=100 app=ping dst=10.0.0.1 proto=icmp");
    assert_int_equal(cfg.size, 100);
    refuse("app=ping dst=10.0.0.1 size=imix", "size=imix|whole number");
    accept("size=imix app=gen proto=tcp");
    assert_string_equal(cfg.sizes, "imix");
    assert_int_equal(cfg.proto, CONFIG_PROTO_TCP);
    refuse("app=gen size=64 size=64", "size|twice");
}

/* Defaults depend on the workload, wherever it stands; given words win. */
static void test_defaults_of_raw_apps(void **state) {
    static const char *const apps[] = {"app=fwd", "app=gen", "app=sink"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(apps); i++) {
        char line[64];
        accept(apps[i]);
        assert_true(config_is_raw(&cfg));
        assert_string_equal(cfg.ip, "off");
        assert_string_equal(cfg.ip6, "off");
        assert_int_equal(cfg.burst, 32);
        snprintf(line, sizeof(line), "ip=dhcp %s ip6=auto burst=64", apps[i]);
        accept(line);
        assert_string_equal(cfg.ip, "dhcp");
        assert_string_equal(cfg.ip6, "auto");
        assert_int_equal(cfg.burst, 64);
    }
    accept("app=gen");
    assert_string_equal(cfg.rate, "max");
    assert_string_equal(cfg.sizes, "64");
    assert_int_equal(cfg.proto, CONFIG_PROTO_UDP);
    accept("");
    assert_false(config_is_raw(&cfg));
}

/* Frames are counted in 64 bits. */
static void test_long_numbers(void **state) {
    (void)state;
    accept("app=gen frames=1000000000000");
    assert_true(cfg.frames == 1000000000000);
    accept("app=gen frames=1844674407370955160");
    refuse("app=gen frames=1844674407370955161", "frames|whole number|1844674407370955160");
    refuse("app=gen frames=18446744073709551616", "frames|whole number");
    refuse("app=gen frames=99999999999999999999999", "frames|whole number");
}

/* Each text fits up to its last byte, and one more is refused. */
static void test_long_texts(void **state) {
    static const struct {
        const char *key;
        size_t offset, size;
    } texts[] = {
        {"ip", offsetof(struct config, ip), sizeof(cfg.ip)},
        {"gw", offsetof(struct config, gw), sizeof(cfg.gw)},
        {"ip6", offsetof(struct config, ip6), sizeof(cfg.ip6)},
        {"features", offsetof(struct config, features), sizeof(cfg.features)},
        {"kind", offsetof(struct config, kind), sizeof(cfg.kind)},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        for (size_t len = texts[i].size - 2; len <= texts[i].size; len++) {
            char value[300];
            char line[2 * sizeof(value)];
            memset(value, 'x', len);
            value[len] = '\0';
            snprintf(line, sizeof(line), "app=crash-test %s %s=%s", i == 4 ? "" : "kind=divide",
                     texts[i].key, value);
            if (len < texts[i].size) {
                accept(line);
                assert_string_equal((char *)&cfg + texts[i].offset, value);
            } else {
                refuse(line, texts[i].key);
                assert_non_null(strstr(error, "longer than"));
            }
        }
    }
}

/* Words of any length: no memory error, and an error for those that cannot be right. */
static void test_long_words(void **state) {
    (void)state;
    for (size_t len = 1; len < 2000; len++) {
        char *line = malloc(len + 1); /* exactly as long, for the address sanitizer */
        memset(line, 'q', len);
        line[len] = '\0';
        assert_int_equal(parse(line), ERR_CONFIG);
        if (len > 10) {
            line[5] = '=';
            assert_int_equal(parse(line), ERR_CONFIG);
            memcpy(line, "queue=", 6);
            memset(line + 6, '0', len - 6);
            assert_int_equal(parse(line), ERR_CONFIG);
        }
        free(line);
    }
    refuse(
        "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq"
        "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq"
        "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq"
        "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq",
        "too long");
}

/* The sentence is cut to the caller's buffer, of any size. */
static void test_small_error_buffers(void **state) {
    char whole[160];
    (void)state;
    refuse("app=web", "unknown value");
    strcpy(whole, error);
    for (size_t size = 1; size <= sizeof(whole); size++) {
        char *small = malloc(size);
        assert_int_equal(config_parse(&cfg, "app=web", small, size), ERR_CONFIG);
        assert_int_equal(strlen(small), min_u64(size - 1, strlen(whole)));
        assert_memory_equal(small, whole, strlen(small));
        free(small);
    }
    expect_assert_failure(config_parse(&cfg, "", error, 0));
}

static void test_names(void **state) {
    (void)state;
    assert_string_equal(config_app_name(CONFIG_APP_ECHO), "echo");
    assert_string_equal(config_app_name(CONFIG_APP_CRASH_TEST), "crash-test");
    assert_string_equal(config_app_name(77), "?");
    assert_string_equal(config_mode_name(CONFIG_MODE_POLL), "poll");
    assert_string_equal(config_mode_name(77), "?");
}

/* Random lines made of good and bad pieces: no memory error, and parse() checks the rest. */
static void test_garbage(void **state) {
    static const char *const pieces[] = {
        "app=",    "echo",  "crash-test", "kind=", "ring=",    "split", "=", " ",  "\t",
        "queue=",  "12",    "99999999",   "ip=",   "dhcp",     "ip6=",  ",", "\n", "mode=poll",
        "seconds", "stats", "features=-", "gw=",   "\x80\xff", "%s%n",  "\\"};
    struct unit_random random = {.state = 42};
    unsigned good = 0;
    (void)state;
    for (unsigned n = 0; n < 60000; n++) {
        char line[700] = "";
        size_t len = 0;
        for (unsigned left = unit_below(&random, 12); left > 0; left--) {
            if (unit_below(&random, 16) == 0) {
                line[len++] = (char)(1 + unit_below(&random, 255));
            } else {
                const char *piece = pieces[unit_below(&random, ARRAY_SIZE(pieces))];
                strcpy(line + len, piece);
                len += strlen(piece);
            }
            line[len] = '\0';
        }
        char *exact = strdup(line);
        good += parse(exact) == ERR_OK;
        free(exact);
    }
    assert_true(good > 100); /* both kinds were met */
    assert_true(good < 59900);
}

/* A later source wins, an error names its source, and comments are no words. */
static void test_sources(void **state) {
    const struct config_source good[] = {
        {"ringlet.cfg", "# of the image\nseconds=5\r\nqueue=64 # not rate=9\n#\napp=gen rate=1pps"},
        {"fw_cfg", ""},
        {NULL, "seconds=7 app=gen"},
    };
    const struct config_source unknown[] = {{"ringlet.cfg", "seconds=5 wrong=1"}, {NULL, "seconds=7"}};
    const struct config_source twice[] = {{"ringlet.cfg", "seconds=5"}, {"fw_cfg", "stats=1 stats=1"}};
    const struct config_source other[] = {{"ringlet.cfg", "app=gen rate=1pps"}, {NULL, "app=echo"}};
    (void)state;
    assert_int_equal(config_parse_sources(&cfg, good, 3, error, sizeof(error)), ERR_OK);
    assert_int_equal(cfg.app, CONFIG_APP_GEN);
    assert_int_equal(cfg.seconds, 7);
    assert_int_equal(cfg.queue, 64);
    assert_string_equal(cfg.rate, "1pps");
    assert_int_equal(config_parse_sources(&cfg, good, 0, error, sizeof(error)), ERR_OK);
    assert_int_equal(cfg.app, CONFIG_APP_ECHO);

    assert_int_equal(config_parse_sources(&cfg, unknown, 2, error, sizeof(error)), ERR_CONFIG);
    assert_string_equal(error, "ringlet.cfg: wrong: unknown key");
    assert_int_equal(config_parse_sources(&cfg, twice, 2, error, sizeof(error)), ERR_CONFIG);
    assert_string_equal(error, "fw_cfg: stats: given twice");
    assert_int_equal(config_parse_sources(&cfg, other, 2, error, sizeof(error)), ERR_CONFIG);
    assert_string_equal(error, "ringlet.cfg: rate: not a key of app=echo");
    accept("#seconds=1");
    assert_int_equal(cfg.seconds, 0);
}

/* The one key that may be given several times. A later source begins a new list. */
static void test_list(void **state) {
    const struct config_source sources[] = {{"ringlet.cfg", "virtio_mmio.device=1 virtio_mmio.device=2"},
                                            {NULL, "virtio_mmio.device=3 virtio_mmio.device=4"}};
    char line[2048] = "";
    (void)state;
    assert_int_equal(config_parse_sources(&cfg, sources, 2, error, sizeof(error)), ERR_OK);
    assert_string_equal(cfg.mmio_devices, "3,4");
    for (unsigned i = 0; i < 32; i++) { /* 16 bytes each, with comma or zero: just fits */
        strcat(line, " virtio_mmio.device=1M@0xfeb00000:1");
    }
    accept(line);
    refuse(strcat(line, " virtio_mmio.device=1"), "virtio_mmio.device: longer than 511 characters");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_sources),         cmocka_unit_test(test_list),
        cmocka_unit_test(test_every_key),
        cmocka_unit_test(test_whitespace),      cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_choices),         cmocka_unit_test(test_words),
        cmocka_unit_test(test_keys_of_one_app), cmocka_unit_test(test_keys_with_two_meanings),
        cmocka_unit_test(test_defaults_of_raw_apps), cmocka_unit_test(test_long_numbers),
        cmocka_unit_test(test_long_texts),
        cmocka_unit_test(test_long_words),      cmocka_unit_test(test_small_error_buffers),
        cmocka_unit_test(test_names),           cmocka_unit_test(test_garbage),
    };
    return cmocka_run_group_tests_name("command line", tests, NULL, NULL);
}
