/* What a forwarder does to frames: addresses and ports, and whatever the bytes are. */
#include "tests/unit/fwd_frames.h"

static void swap(uint8_t *bytes, uint32_t x, uint32_t y, uint32_t len) {
    for (uint32_t i = 0; i < len; i++) {
        const uint8_t kept = bytes[x + i];
        bytes[x + i] = bytes[y + i];
        bytes[y + i] = kept;
    }
}

static void test_ethernet_alone(void **state) {
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
        struct frame f, expected;
        build(&f, &shapes[i], &a, &b);
        expected = f;
        expect(shapes[i].name, CONFIG_FWD_IO, &f, FWD_UNCHANGED, &expected);
        memcpy(expected.bytes, next_mac, MAC_LEN);
        memcpy(expected.bytes + MAC_LEN, own_mac, MAC_LEN);
        expect(shapes[i].name, CONFIG_FWD_MAC, &f, FWD_CHANGED, &expected);
        swap(expected.bytes, 0, MAC_LEN, MAC_LEN);
        expect(shapes[i].name, CONFIG_FWD_MACSWAP, &f, FWD_CHANGED, &expected);
    }
}

/* The ports of a shape are in it, and may change places. */
static bool has_ports(const struct shape *shape) {
    return (shape->proto == UDP || shape->proto == TCP) && (shape->fragment & 0x1fff) == 0;
}

/* As if the other end had sent it, all checksums included. */
static void test_5tswap(void **state) {
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
        struct end from = b, to = a;
        struct frame f, expected;
        build(&f, &shapes[i], &a, &b);
        if (!has_ports(&shapes[i])) { /* what stands in their place stays */
            from.port = a.port;
            to.port = b.port;
        }
        build(&expected, &shapes[i], &from, &to);
        expect(shapes[i].name, CONFIG_FWD_5TSWAP, &f, FWD_CHANGED, &expected);
    }
}

/* Cut anywhere: what is whole changes, nothing else does. */
static void test_cut_frames(void **state) {
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
        const struct shape *shape = &shapes[i];
        const uint32_t addr_len = shape->ip6 ? 16 : 4;
        for (uint32_t len = LEN_MIN; len <= LEN_MAX; len++) {
            struct frame whole, expected;
            build(&whole, shape, &a, &b);
            if (len > whole.len) {
                break;
            }
            expected = whole;
            swap(expected.bytes, 0, MAC_LEN, MAC_LEN);
            struct frame f = {.len = len};
            memcpy(f.bytes, whole.bytes, len);
            expect(shape->name, CONFIG_FWD_MACSWAP, &f, FWD_CHANGED, &expected);
            if (len >= whole.ip + (shape->ip6 ? 40 : 20)) {
                const uint32_t at = whole.ip + (shape->ip6 ? 8 : 12);
                swap(expected.bytes, at, at + addr_len, addr_len);
            }
            if (has_ports(shape) && len >= whole.l4 + 4) {
                swap(expected.bytes, whole.l4, whole.l4 + 2, 2);
            }
            memcpy(f.bytes, whole.bytes, len);
            expect(shape->name, CONFIG_FWD_5TSWAP, &f, FWD_CHANGED, &expected);
        }
    }
}

/* A header's length that cannot be: the addresses lie where they always do, the ports nowhere. */
static void test_bad_header_length(void **state) {
    (void)state;
    for (unsigned words = 0; words < 16; words++) {
        struct frame f, expected;
        build(&f, &shapes[0], &a, &b);
        f.bytes[f.ip] = (uint8_t)(0x40 | words);
        f.len = f.ip + 40; /* shorter than the longest header */
        expected = f;
        swap(expected.bytes, 0, MAC_LEN, MAC_LEN);
        swap(expected.bytes, f.ip + 12, f.ip + 16, 4);
        if (words >= 5 && words * 4 + 4 <= 40) {
            swap(expected.bytes, f.ip + words * 4, f.ip + words * 4 + 2, 2);
        }
        expect("header length", CONFIG_FWD_5TSWAP, &f, FWD_CHANGED, &expected);
    }
}

static void test_not_ip(void **state) {
    static const uint16_t types[] = {0, 46, 0x0806, 0x0801, 0x88cc, 0x9100, 0xffff};
    static const uint16_t no_tags[] = {0};
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
        struct frame f, expected;
        put_ethernet(&f, &a, &b, no_tags, types[i]);
        put_data(&f);
        put_ethernet(&expected, &b, &a, no_tags, types[i]);
        put_data(&expected);
        expect("not IP", CONFIG_FWD_5TSWAP, &f, FWD_CHANGED, &expected);
    }
}

/* Tags up to the frame's end, at every length. */
static void test_tags_only(void **state) {
    (void)state;
    FOR_KINDS(what) {
        for (uint32_t len = LEN_MIN; len <= LEN_MAX; len++) {
            struct frame f = {.len = len};
            for (uint32_t at = 12; at < len; at += 2) {
                const uint8_t tag[2] = {at % 8 == 4 ? 0x81 : 0x88, at % 8 == 4 ? 0 : 0xa8};
                memcpy(f.bytes + at, tag, 2);
            }
            const enum fwd_result result = change(what, f.bytes, len);
            assert_int_equal(result, what == CONFIG_FWD_IO         ? FWD_UNCHANGED
                                     : what == CONFIG_FWD_ICMPECHO ? FWD_DROP
                                                                   : FWD_CHANGED);
        }
    }
}

/* --- all kinds -------------------------------------------------------------------------------- */

/* A device that cuts a frame within Ethernet's header. */
static void test_short_first_buffer(void **state) {
    (void)state;
    FOR_KINDS(what) {
        for (uint32_t len = 0; len < ETH; len++) {
            uint8_t *first = malloc(len + !len), *second = malloc(50);
            struct pktbuf rest = {.data = second, .len = 50};
            struct pktbuf buf = {.data = first, .len = len, .frame_len = len + 50, .next = &rest};
            memset(first, 0x5a, len + !len);
            memset(second, 0xa5, 50);
            assert_int_equal(fwd_change(what, &buf, own_mac, next_mac), FWD_UNCHANGED);
            for (uint32_t i = 0; i < 50; i++) {
                assert_true(second[i] == 0xa5 && (i >= len || first[i] == 0x5a));
            }
            assert_ptr_equal(buf.next, &rest);
            free(first);
            free(second);
        }
    }
}

/* Whatever the bytes: nothing outside of them is touched, and what swaps, swaps back. */
static void test_random_frames(void **state) {
    struct unit_random rnd = {1};
    (void)state;
    for (unsigned round = 0; round < 200000; round++) {
        struct frame f, before;
        const struct shape *shape = &shapes[unit_below(&rnd, ARRAY_SIZE(shapes))];
        const enum config_fwd what = unit_below(&rnd, CONFIG_FWD_ICMPECHO + 1);
        if (round % 2 == 0) {
            build(&f, shape, &a, &b);
        } else {
            put_right_ping(&f, shape, &a, &b, 8);
        }
        for (unsigned spoilt = unit_below(&rnd, 6); spoilt > 0; spoilt--) {
            f.bytes[unit_below(&rnd, 64)] = (uint8_t)unit_random(&rnd);
        }
        f.len = LEN_MIN + unit_below(&rnd, f.len - LEN_MIN + 1);
        before = f;
        (void)change(what, f.bytes, f.len);
        if (what == CONFIG_FWD_IO || what == CONFIG_FWD_MACSWAP || what == CONFIG_FWD_5TSWAP) {
            (void)change(what, f.bytes, f.len);
            assert_memory_equal(f.bytes, before.bytes, f.len);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ethernet_alone),
        cmocka_unit_test(test_5tswap),
        cmocka_unit_test(test_cut_frames),
        cmocka_unit_test(test_bad_header_length),
        cmocka_unit_test(test_not_ip),
        cmocka_unit_test(test_tags_only),
        cmocka_unit_test(test_short_first_buffer),
        cmocka_unit_test(test_random_frames),
    };
    return cmocka_run_group_tests_name("forwarder", tests, NULL, NULL);
}
