/* The values of app=gen. Whatever is wrong with them gives one line that names the key. */
#include "tests/unit/capture.h"
#include "tests/unit/config_line.h"

#include "lib/err.h"
#include "net/gen_spec.h"
#include "net/gen_text.h"

#include <stdio.h>
#include <string.h>

static struct gen_spec spec;
static struct gen_device device = {
    .mac = {0x52, 0x54, 0, 1, 2, 3}, .frame_max = 1518, .speed_mbps = 0};

static bool parse(const char *words) {
    struct config cfg;
    char line[512], error[256];
    snprintf(line, sizeof(line), "app=gen %s", words);
    if (config_parse(&cfg, line, error, sizeof(error)) != ERR_OK) {
        fail_msg("%s: %s", line, error);
    }
    capture_begin();
    memset(&spec, 0x5a, sizeof(spec));
    return gen_spec_parse(&spec, &cfg, &device);
}

static void accept(const char *words) {
    if (!parse(words)) {
        fail_msg("'%s' was refused: %s", words, capture_text);
    }
    expect_no_error();
}

/* The line begins with the first word, as it was given. */
static void refuse(const char *words) {
    char start[160];
    if (parse(words)) {
        fail_msg("'%s' was accepted", words);
    }
    snprintf(start, sizeof(start), "config: %.*s: ", (int)strcspn(words, " "), words);
    expect_logged(start);
    assert_ptr_equal(strchr(capture_text, '\n'), capture_text + capture_len - 1);
}

static void test_defaults(void **state) {
    (void)state;
    accept("");
    assert_false(spec.v6 || spec.tcp || spec.has_src || spec.has_dst_mac || spec.fixed);
    assert_memory_equal(spec.src_mac, device.mac, MAC_LEN);
    assert_int_equal(spec.src.first, 0xc6120001);
    assert_int_equal(spec.dst.first, 0xc6130001);
    assert_int_equal(spec.sport.first, 49152);
    assert_int_equal(spec.dport.first, 9);
    assert_int_equal(spec.flows, 1);
    assert_int_equal(spec.header_len, 42);
    assert_int_equal(spec.size_count, 1);
    assert_int_equal(spec.size_max, 64);
    assert_int_equal(spec.rate.kind, GEN_RATE_MAX);
    assert_int_equal(spec.rate.bunch, 1);
    assert_int_equal(spec.rate.linerate_bps, 10000000000);
    assert_int_equal(spec.seed, 1);
}

static void expect_rate(const char *words, enum gen_rate_kind kind, uint64_t per_second) {
    accept(words);
    assert_int_equal(spec.rate.kind, kind);
    assert_int_equal(spec.rate.per_second, per_second);
}

static void test_rates(void **state) {
    (void)state;
    expect_rate("rate=max", GEN_RATE_MAX, 0);
    expect_rate("rate=1pps", GEN_RATE_PPS, 1);
    expect_rate("rate=1000000pps", GEN_RATE_PPS, 1000000);
    expect_rate("rate=1.5Mpps", GEN_RATE_PPS, 1500000);
    expect_rate("rate=14.880952Mpps", GEN_RATE_PPS, 14880952);
    expect_rate("rate=1Gpps", GEN_RATE_PPS, GEN_PPS_MAX);
    expect_rate("rate=10Gbps", GEN_RATE_BPS, 10000000000);
    expect_rate("rate=500kbps", GEN_RATE_BPS, 500000);
    expect_rate("rate=10000Gbps", GEN_RATE_BPS, GEN_BPS_MAX);
    expect_rate("rate=50%", GEN_RATE_L1, 5000000000);
    expect_rate("rate=100% linerate=25G", GEN_RATE_L1, 25000000000);
    expect_rate("rate=100% linerate=10000G", GEN_RATE_L1, GEN_BPS_MAX);
    expect_rate("rate=0.5% linerate=1000M", GEN_RATE_L1, 5000000);
    expect_rate("rate=33.333333% linerate=9999999999", GEN_RATE_L1, 3333333299);
    device.speed_mbps = 40000;
    expect_rate("rate=10%", GEN_RATE_L1, 4000000000);
    expect_rate("rate=10% linerate=2.5G", GEN_RATE_L1, 250000000);
    device.speed_mbps = 0;
}

static void test_bad_rates(void **state) {
    static const char *const bad[] = {
        "0pps", "0.9pps", "-1pps", "1", "pps", "Mpps", "1mpps", "1Mppsx", "1.pps", ".5pps",
        "1.1.1pps",
        "1Gppss", "2Gpps", "1000000001pps", "999bps", "0bps", "10001Gbps", "101%", "100.1%", "0%",
        "0.000001%x", "50", "maximum", "max1", "99999999999999999999pps", "1e6pps", "1k%",
        "18446744073709551617pps",
    };
    static const char *const bad_lines[] = {"0", "10Gbps", "G", "x", "999", "10001G", "-1"};
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        char words[64];
        snprintf(words, sizeof(words), "rate=%s", bad[i]);
        refuse(words);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(bad_lines); i++) {
        char words[64];
        snprintf(words, sizeof(words), "linerate=%s", bad_lines[i]);
        refuse(words);
    }
    refuse("rate=0.000001% linerate=1k");
}

static void test_paces(void **state) {
    (void)state;
    accept("pace=cbr");
    assert_false(spec.rate.poisson);
    accept("pace=poisson");
    assert_true(spec.rate.poisson);
    assert_int_equal(spec.rate.bunch, 1);
    accept("pace=burst:4096");
    assert_int_equal(spec.rate.bunch, 4096);
    accept("pace=burst:1");
    refuse("pace=burst");
    refuse("pace=burst:");
    refuse("pace=burst:0");
    refuse("pace=burst:4097");
    refuse("pace=burst:5x");
    refuse("pace=cbrx");
    refuse("pace=poisson:3");
    refuse("pace=even");
}

static void expect_sizes(const char *words, const struct gen_size *sizes, unsigned count) {
    accept(words);
    assert_int_equal(spec.size_count, count);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(spec.sizes[i].len, sizes[i].len);
        assert_int_equal(spec.sizes[i].weight, sizes[i].weight);
    }
}

static void test_sizes(void **state) {
    const struct gen_size imix[] = {{64, 7}, {594, 4}, {1518, 1}};
    const struct gen_size list[] = {{128, 1}, {64, 1}, {128, 255}};
    (void)state;
    expect_sizes("size=imix", imix, 3);
    expect_sizes("size=64:7,594:4,1518:1", imix, 3);
    expect_sizes("size=128,64,128:255", list, 3);
    assert_int_equal(spec.size_max, 128);
    device.frame_max = 1514;
    accept("size=imix");
    assert_int_equal(spec.sizes[2].len, 1514);
    assert_int_equal(spec.size_max, 1514);
    device.frame_max = 500;
    refuse("size=imix");
    device.frame_max = 1518;
    accept("size=42");
    accept("size=1518");
    refuse("size=41");
    expect_logged("41 bytes: must be from 42 (the headers) to 1518 (the MTU)");
    refuse("size=1519");
    refuse("size=64,41");
    accept("size=62 dst=fd00::1 src=fd00::2");
    refuse("size=61 dst=fd00::1 src=fd00::2");
    accept("size=74 dst=fd00::1 src=fd00::2 proto=tcp");
    refuse("size=73 dst=fd00::1 src=fd00::2 proto=tcp");
    accept("size=82 dst=fd00::1 src=fd00::2 proto=tcp qinq=5 vlan=6");
    refuse("size=81 dst=fd00::1 src=fd00::2 proto=tcp qinq=5 vlan=6");
    accept("size=46 vlan=6");
    refuse("size=45 vlan=6");
    accept("size=54 proto=tcp");
    refuse("size=53 proto=tcp");
}

static void test_bad_sizes(void **state) {
    static const char *const bad[] = {
        "size=x",     "size=64,",   "size=,64",    "size=64,,65",  "size=64:0",  "size=64:256",
        "size=64:",   "size=64:1:2", "size=64:255,65:255,66:255,67:255,68:5", "size=imix,64",
        "size=imixx", "size=70000", "size=99999999999999999999", "size=-64", "size=64;65",
        "size=64:1.5"};
    char many[160] = "size=64";
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        refuse(bad[i]);
    }
    accept("size=64:255,65:255,66:255,67:255,68:4");
    for (unsigned i = 0; i < 39; i++) {
        strcat(many, ",64");
    }
    accept(many);
}

static void expect_range(const struct gen_range *range, uint64_t first, uint64_t span,
                         bool random) {
    assert_true(range->first == first);
    assert_true(range->span == span);
    assert_int_equal(range->random, random);
}

static void test_ranges(void **state) {
    (void)state;
    accept("src=10.0.0.1-10.0.1.0 dst=random:1.2.3.4-1.2.3.4 sport=0-65535 dport=random:5-6");
    assert_true(spec.has_src);
    expect_range(&spec.src, 0x0a000001, 256, false);
    expect_range(&spec.dst, 0x01020304, 1, true);
    expect_range(&spec.sport, 0, 65536, false);
    expect_range(&spec.dport, 5, 2, true);
    assert_int_equal(spec.flows, 65536);
    accept("dst=0.0.0.0-255.255.255.255");
    expect_range(&spec.dst, 0, UINT64_C(1) << 32, false);
    assert_int_equal(spec.flows, 1 << 20);
    accept("dst=random:10.0.0.0-10.0.0.9 flows=77");
    assert_int_equal(spec.flows, 77);
    accept("src=fd00::1 dst=fd00::ffff:fff0-fd00::1:0000:0010");
    assert_true(spec.v6);
    assert_true(spec.dst_high == UINT64_C(0xfd00000000000000));
    expect_range(&spec.dst, 0xfffffff0, 0x21, false);
    accept("dst=fd00::-fd00::ffff:ffff src=fd00::9");
    expect_range(&spec.dst, 0, UINT64_C(1) << 32, false);
}

static void test_bad_ranges(void **state) {
    static const char *const bad[] = {
        "dst=10.0.0", "dst=10.0.0.256", "dst=10.0.0.1-", "dst=10.0.0.2-10.0.0.1", "dst=10.0.0.01",
        "dst=10.0.0.1-10.0.0.2-10.0.0.3", "dst=random:", "dst=random", "dst=10.0.0.1/24",
        "dst=host",
        "dst=10.0.0.1,10.0.0.2", "dst=1.2.3.4.5",
        "src=x",
        "dst=fd00::1-fd00::1:0:1 src=fd00::1", "dst=fd00::1-fd00:0:0:1::1 src=fd00::1",
        "dst=fd00::1::2 src=fd00::1", "dst=fd00: src=fd00::1", "dst=:fd00::1 src=fd00::1",
        "dst=fd00::12345 src=fd00::1", "dst=1:2:3:4:5:6:7 src=fd00::1",
        "dst=1:2:3:4:5:6:7:8:9 src=fd00::1", "dst=1:2:3:4:5:6:7:8:: src=fd00::1",
        "dst=::1-10.0.0.1 src=fd00::1", "dst=fd00::g src=fd00::1", "dst=fd00:::1 src=fd00::1",
        "sport=65536", "sport=5-4", "sport=-5", "sport=x", "sport=1-2-3", "dport=random:9-1",
        "dport=0x10", "dport=70000-80000", "dport=5,6",
        "src=fd00::1", "src=fd00::1 dst=10.0.0.1", "src=10.0.0.1 dst=fd00::1",
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        refuse(bad[i]);
    }
    assert_false(parse("dst=fd00::1"));
    expect_logged("config: src=: must be of the same family as dst=fd00::1");
}

static void test_ip6_texts(void **state) {
    static const struct {
        const char *text;
        uint64_t high, low;
    } good[] = {
        {"::", 0, 0},
        {"::1", 0, 1},
        {"1::", UINT64_C(1) << 48, 0},
        {"1:2:3:4:5:6:7:8", UINT64_C(0x0001000200030004), UINT64_C(0x0005000600070008)},
        {"::2:3:4:5:6:7:8", UINT64_C(0x0000000200030004), UINT64_C(0x0005000600070008)},
        {"1:2:3:4:5:6:7::", UINT64_C(0x0001000200030004), UINT64_C(0x0005000600070000)},
        {"1:2:3::6:7:8", UINT64_C(0x0001000200030000), UINT64_C(0x0000000600070008)},
        {"fD00:0:0:1::aBcD", UINT64_C(0xfd00000000000001), 0xabcd},
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
        const char *text = good[i].text;
        uint64_t high, low;
        assert_true(gen_text_ip6(&text, &high, &low));
        assert_int_equal(*text, '\0');
        assert_true(high == good[i].high);
        assert_true(low == good[i].low);
    }
}

static void test_numbers(void **state) {
    const char *largest = "18446744073709551615", *larger = "18446744073709551616";
    const char *much_larger = "99999999999999999999", *octet = "255.", *none = "";
    uint64_t number;
    (void)state;
    assert_true(gen_text_number(&largest, UINT64_MAX, &number));
    assert_true(number == UINT64_MAX);
    assert_false(gen_text_number(&larger, UINT64_MAX, &number));
    assert_false(gen_text_number(&much_larger, UINT64_MAX, &number));
    assert_false(gen_text_number(&none, UINT64_MAX, &number));
    assert_true(gen_text_number(&octet, 255, &number));
    assert_string_equal(octet, ".");
}

static void test_macs(void **state) {
    const uint8_t dst[MAC_LEN] = {2, 0, 0, 0, 0, 1}, src[MAC_LEN] = {2, 0, 0, 0, 0, 0xfe};
    (void)state;
    accept("dst_mac=02:00:00:00:00:01 src_mac=02:00:00:00:00:fe");
    assert_true(spec.has_dst_mac);
    assert_memory_equal(spec.dst_mac, dst, MAC_LEN);
    assert_memory_equal(spec.src_mac, src, MAC_LEN);
    refuse("dst_mac=02:00:00:00:00");
    refuse("dst_mac=03:00:00:00:00:01");
    refuse("dst_mac=02:00:00:00:00:01,02:00:00:00:00:02");
    refuse("src_mac=00:00:00:00:00:00");
    refuse("src_mac=x");
}

/* Random texts: whatever they are, the answer is yes or one line. */
static void test_any_text(void **state) {
    static const char *const keys[] = {"rate", "pace", "size", "src", "dst", "sport", "linerate"};
    static const char letters[] = "0123456789:.,-kMGpsb%randomfimxtcburst";
    struct unit_random rnd = {.state = 99};
    (void)state;
    for (unsigned round = 0; round < 100000; round++) {
        char words[32];
        int len = snprintf(words, sizeof(words), "%s=", keys[unit_below(&rnd, ARRAY_SIZE(keys))]);
        const int end = len + 1 + (int)unit_below(&rnd, 12);
        for (; len < end; len++) {
            words[len] = letters[unit_below(&rnd, sizeof(letters) - 1)];
        }
        words[len] = '\0';
        if (parse(words)) {
            expect_no_error();
        } else {
            expect_logged("config: ");
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_bad_rates),
        cmocka_unit_test(test_paces),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_bad_sizes),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_bad_ranges),
        cmocka_unit_test(test_ip6_texts),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_macs),
        cmocka_unit_test(test_any_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
