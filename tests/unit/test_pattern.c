/* Test data: whatever happens to it on the way shows. */
#include "tests/unit/unit.h"

#include "lib/pattern.h"

#include <string.h>

enum { LEN = 1000, SEED = 77 };

static uint8_t data[LEN];

static void test_itself(void **state) {
    (void)state;
    for (uint64_t seq = 0; seq < 50; seq++) {
        for (size_t len = 0; len < 40; len++) {
            uint8_t room[40];
            memset(room, 0xee, sizeof(room));
            pattern_write(SEED, seq, room, len);
            assert_true(pattern_matches(SEED, seq, 0, room, len));
            for (size_t i = len; i < sizeof(room); i++) {
                assert_int_equal(room[i], 0xee);
            }
        }
    }
}

static void test_begins_with_the_number(void **state) {
    (void)state;
    pattern_write(SEED, UINT64_C(0x0807060504030201), data, LEN);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(data[i], i + 1);
    }
}

/* In pieces of any length, at any offset. */
static void test_pieces(void **state) {
    struct unit_random random = {.state = 5};
    (void)state;
    pattern_write(SEED, 9, data, LEN);
    for (unsigned round = 0; round < 300; round++) {
        for (size_t off = 0; off < LEN;) {
            const size_t len = 1 + unit_below(&random, 40);
            const size_t n = len < LEN - off ? len : LEN - off;
            assert_true(pattern_matches(SEED, 9, off, data + off, n));
            off += n;
        }
    }
}

static void test_each_wrong_byte(void **state) {
    (void)state;
    pattern_write(SEED, 9, data, LEN);
    for (size_t i = 0; i < LEN; i++) {
        data[i] ^= 0x10;
        assert_false(pattern_matches(SEED, 9, 0, data, LEN));
        data[i] ^= 0x10;
    }
    assert_true(pattern_matches(SEED, 9, 0, data, LEN));
}

static void test_other_place_number_or_seed(void **state) {
    (void)state;
    pattern_write(SEED, 9, data, LEN);
    for (size_t off = 0; off + 8 < LEN; off += 8) {
        for (size_t other = 8; other + 8 < LEN; other += 8) {
            assert_true(off == other || !pattern_matches(SEED, 9, other, data + off, 8));
        }
    }
    for (uint64_t seq = 0; seq < 1000; seq++) {
        assert_true(seq == 9 || !pattern_matches(SEED, seq, 8, data + 8, 16));
    }
    assert_false(pattern_matches(SEED + 1, 9, 8, data + 8, 16));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_itself),
        cmocka_unit_test(test_begins_with_the_number),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_each_wrong_byte),
        cmocka_unit_test(test_other_place_number_or_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
