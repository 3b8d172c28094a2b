/* What a forwarder answers: echo requests and ARP (fwd=icmpecho). */
#include "tests/unit/fwd_frames.h"

static const struct end own = {{0x52, 0x54, 0, 0xaa, 0xbb, 0xcc}, {0}, {0}, 0};

static void test_ping(void **state) {
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
        struct frame f, expected;
        if (shapes[i].ip6 || (shapes[i].fragment & 0x1fff) != 0) {
            continue;
        }
        put_right_ping(&f, &shapes[i], &a, &b, 8);
        put_right_ping(&expected, &shapes[i], &b, &a, 0);
        expect(shapes[i].name, CONFIG_FWD_ICMPECHO, &f, FWD_CHANGED, &expected);
    }
}

/* Every checksum that a question can have: the answer's is right, a wrong one stays wrong. */
static void test_ping_checksums(void **state) {
    (void)state;
    for (uint32_t sum = 0; sum <= 0xffff; sum++) {
        for (unsigned wrong = 0; wrong <= 1; wrong++) {
            struct frame f;
            const uint8_t rest[6] = {(uint8_t)(sum >> 8), (uint8_t)sum, 0, 0, 0, (uint8_t)wrong};
            put_ping(&f, &shapes[0], &a, &b, 8, rest);
            f.bytes[f.len - 1] = 0; /* then the identifier makes up for all the rest */
            const uint16_t due = sum_of(f.bytes + f.l4, f.len - f.l4, (uint16_t)(0xffff - wrong));
            put_sum(&f, f.l4 + 4, due);
            const uint16_t before = sum_of(f.bytes + f.l4, f.len - f.l4, 0);
            assert_int_equal(before == 0xffff, !wrong);
            assert_int_equal(change(CONFIG_FWD_ICMPECHO, f.bytes, f.len), FWD_CHANGED);
            assert_int_equal(f.bytes[f.l4], 0);
            assert_int_equal(sum_of(f.bytes + f.l4, f.len - f.l4, 0), before);
        }
    }
}

/* Nothing but the echo requests of one station to one other, all of it in the first buffer. */
static void test_no_ping(void **state) {
    static const struct {
        uint32_t at;
        uint8_t value;
        const char *name;
    } spoilt[] = {
        {0, 0x01, "Ethernet group"},
        {0, 0xff, "Ethernet broadcast"},
        {MAC_LEN, 0x03, "from an Ethernet group"},
        {12, 0x09, "other type"},
        {ETH, 0x44, "short header"},
        {ETH, 0x4f, "long header"},
        {ETH + 7, 1, "later fragment"},
        {ETH + 9, UDP, "no ICMP"},
        {ETH + 12, 224, "from a group"},
        {ETH + 12, 255, "from all"},
        {ETH + 16, 224, "group"},
        {ETH + 16, 239, "last group"},
        {ETH + 16, 255, "all"},
        {ETH + 20, 0, "echo reply"},
        {ETH + 20, 13, "other question"},
        {ETH + 21, 1, "code"},
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(spoilt); i++) {
        struct frame f;
        put_right_ping(&f, &shapes[0], &a, &b, 8);
        f.len = ETH + 20 + 16;
        f.bytes[spoilt[i].at] = spoilt[i].value;
        expect(spoilt[i].name, CONFIG_FWD_ICMPECHO, &f, FWD_DROP, &f);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) { /* none of these is a ping */
        struct frame f;
        build(&f, &shapes[i], &a, &b);
        expect(shapes[i].name, CONFIG_FWD_ICMPECHO, &f, FWD_DROP, &f);
    }
}

static void test_cut_ping(void **state) {
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
        if (shapes[i].ip6 || (shapes[i].fragment & 0x1fff) != 0) {
            continue;
        }
        for (uint32_t len = LEN_MIN; len <= LEN_MAX; len++) {
            struct frame f, expected;
            put_right_ping(&f, &shapes[i], &a, &b, 8);
            put_right_ping(&expected, &shapes[i], &b, &a, 0);
            if (len > f.len) {
                break;
            }
            const bool whole = len >= f.l4 + 8;
            f.len = len;
            expect(shapes[i].name, CONFIG_FWD_ICMPECHO, &f, whole ? FWD_CHANGED : FWD_DROP,
                   &expected);
        }
    }
}

static void put_arp(struct frame *f, const uint16_t *tags, const struct end *to,
                    const struct end *sender, const uint8_t sender_ip[4], uint8_t operation,
                    const uint8_t target_mac[MAC_LEN], const uint8_t target_ip[4]) {
    put_ethernet(f, sender, to, tags, 0x0806);
    put(f, (uint8_t[]){0, 1, 8, 0, 6, 4, 0, operation}, 8);
    put(f, sender->mac, MAC_LEN);
    put(f, sender_ip, 4);
    put(f, target_mac, MAC_LEN);
    put(f, target_ip, 4);
    put(f, (uint8_t[18]){0}, 18); /* Ethernet's padding */
}

static const struct end everybody = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {0}, {0}, 0};
static const uint8_t nobody[MAC_LEN];

static void test_arp(void **state) {
    static const uint16_t tags[][3] = {{0}, {0x8100}, {0x88a8, 0x8100}};
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(tags); i++) {
        struct frame whole, expected;
        put_arp(&expected, tags[i], &a, &own, b.ip4, 2, a.mac, a.ip4);
        put_arp(&whole, tags[i], &everybody, &a, a.ip4, 1, nobody, b.ip4);
        for (uint32_t len = LEN_MIN; len <= whole.len; len++) {
            struct frame f = whole;
            f.len = len;
            expect("ARP", CONFIG_FWD_ICMPECHO, &f, len >= whole.len - 18 ? FWD_CHANGED : FWD_DROP,
                   &expected);
        }
    }
}

static void test_no_arp(void **state) {
    static const uint16_t no_tags[] = {0};
    struct frame whole;
    (void)state;
    put_arp(&whole, no_tags, &everybody, &a, a.ip4, 1, nobody, b.ip4);
    for (unsigned at = ETH; at < ETH + 8; at++) { /* other kinds of address, an answer */
        struct frame f = whole;
        f.bytes[at] ^= 2;
        expect("other ARP", CONFIG_FWD_ICMPECHO, &f, FWD_DROP, &f);
    }
    struct frame f = whole;
    f.bytes[ETH + 8] |= 1; /* the answer would go to a group */
    expect("sender is a group", CONFIG_FWD_ICMPECHO, &f, FWD_DROP, &f);
    put_arp(&f, no_tags, &everybody, &a, a.ip4, 1, nobody, a.ip4);
    expect("announcement, no question", CONFIG_FWD_ICMPECHO, &f, FWD_DROP, &f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ping),
        cmocka_unit_test(test_ping_checksums),
        cmocka_unit_test(test_no_ping),
        cmocka_unit_test(test_cut_ping),
        cmocka_unit_test(test_arp),
        cmocka_unit_test(test_no_arp),
    };
    return cmocka_run_group_tests_name("forwarder's answers", tests, NULL, NULL);
}
