/* What generator frames carry. */
#include "tests/unit/unit.h"

#include "net/stamp.h"

#include <string.h>

enum { LEN = 100, SEED = 77, FLOW = 5 };

static uint8_t room[LEN + STAMP_BLOCK];

/* RFC 1071, without any cleverness. */
static uint32_t sum_of(const uint8_t *p, size_t len) {
    uint32_t sum = 0;
    for (size_t i = 0; i < len; i++) {
        sum += i % 2 == 0 ? (uint32_t)p[i] << 8 : p[i];
    }
    while (sum > 0xffff) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

static void test_fields(void **state) {
    const uint8_t wire[STAMP_LEN] = {0x52, 0x51, 0x45, 0x23, 0xc1, 0xab, 8, 7, 6, 5, 4, 3, 2, 1,
                                     0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11};
    struct stamp stamp;
    (void)state;
    memcpy(&stamp, wire, sizeof(stamp));
    assert_int_equal(stamp.magic, STAMP_MAGIC);
    assert_int_equal(stamp_flow(&stamp), 0x12345);
    assert_int_equal(stamp_session(&stamp), 0xabc);
    assert_true(stamp.seq == UINT64_C(0x0102030405060708));
    assert_true(stamp.tsc == UINT64_C(0x1112131415161718));
}

static void test_itself_and_nothing_behind(void **state) {
    (void)state;
    for (uint64_t seq = 0; seq < 20; seq++) {
        const uint64_t base = stamp_payload_base(SEED, FLOW, seq);
        for (size_t len = 0; len <= LEN; len++) {
            memset(room, 0xee, sizeof(room));
            stamp_payload_write(base, room, len);
            assert_true(stamp_payload_matches(base, room, len));
            for (size_t i = len; i < sizeof(room); i++) {
                assert_int_equal(room[i], 0xee);
            }
        }
    }
}

/* A shorter payload is the beginning of a longer one. */
static void test_prefix(void **state) {
    uint8_t whole[LEN];
    const uint64_t base = stamp_payload_base(SEED, FLOW, 9);
    (void)state;
    stamp_payload_write(base, whole, LEN);
    for (size_t len = 0; len <= LEN; len++) {
        stamp_payload_write(base, room, len);
        assert_memory_equal(room, whole, len);
    }
}

/* Word by word: data that grows by the step, and its complement. */
static void test_blocks(void **state) {
    const uint64_t base = stamp_payload_base(SEED, FLOW, 3);
    (void)state;
    stamp_payload_write(base, room, LEN);
    for (unsigned block = 0; block < LEN / STAMP_BLOCK; block++) {
        uint64_t low, high;
        memcpy(&low, room + block * STAMP_BLOCK, 8);
        memcpy(&high, room + block * STAMP_BLOCK + 8, 8);
        assert_true(low == base + block * STAMP_STEP);
        assert_true(high == ~low);
    }
}

/* Whole blocks leave a checksum as it is: 0xffff is the other zero. */
static void test_checksum_neutral(void **state) {
    (void)state;
    for (uint64_t seq = 0; seq < 1000; seq++) {
        for (size_t len = 0; len <= LEN; len += STAMP_BLOCK) {
            stamp_payload_write(stamp_payload_base(SEED, FLOW, seq), room, len);
            assert_int_equal(sum_of(room, len) % 0xffff, 0);
        }
    }
}

static void test_each_wrong_bit(void **state) {
    const uint64_t base = stamp_payload_base(SEED, FLOW, 9);
    (void)state;
    stamp_payload_write(base, room, LEN);
    for (size_t bit = 0; bit < LEN * 8; bit++) {
        room[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(stamp_payload_matches(base, room, LEN));
        room[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(stamp_payload_matches(base, room, LEN));
}

static void test_other_seed_flow_or_number(void **state) {
    const uint64_t base = stamp_payload_base(SEED, FLOW, 9);
    (void)state;
    assert_true(base != stamp_payload_base(SEED + 1, FLOW, 9));
    for (uint32_t i = 0; i < 10000; i++) {
        assert_true(i == 9 || base != stamp_payload_base(SEED, FLOW, i));
        assert_true(i == FLOW || base != stamp_payload_base(SEED, i, 9));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_itself_and_nothing_behind),
        cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_checksum_neutral),
        cmocka_unit_test(test_each_wrong_bit),
        cmocka_unit_test(test_other_seed_flow_or_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
