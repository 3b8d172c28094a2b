/* Which memory becomes the arena, and ranges joined: maps as firmware and hypervisors have them. */
#include "tests/unit/unit.h"

#include "boot/memory.h"

#include <string.h>

#define KIB ((uint64_t)1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)

#define IMAGE_END (5 * MIB + 388 * KIB) /* in the middle of a 2 MiB page */

static struct boot_info info;

static int empty(void **state) {
    (void)state;
    memset(&info, 0, sizeof(info));
    return 0;
}

static void add(uint64_t start, uint64_t end, uint64_t granule) {
    memory_add(&info, (struct memory_range){start, end}, IMAGE_END, granule);
}

static void expect_arena(uint64_t start, uint64_t end) {
    assert_int_equal(info.arena_base, start);
    assert_int_equal(info.arena_base + info.arena_size, end);
}

/* QEMU's q35 with 64 MiB: the arena is what follows the image, to the last page. */
static void test_behind_image(void **state) {
    (void)state;
    add(0, 636 * KIB, 4096);
    add(1 * MIB, 64 * MIB - 132 * KIB, 4096);
    expect_arena(IMAGE_END, 64 * MIB - 132 * KIB);
    assert_int_equal(info.ram_bytes, 64 * MIB - 132 * KIB - 1 * MIB + 636 * KIB);
    assert_int_equal(info.low_ram_end, 64 * MIB - 132 * KIB);
}

static void test_ends_at_limit(void **state) {
    (void)state;
    add(1 * MIB, 3 * GIB, 4096);
    add(4 * GIB, 8 * GIB, 4096);
    expect_arena(IMAGE_END, MEMORY_ARENA_END_MAX);
    assert_int_equal(info.ram_bytes, 7 * GIB - 1 * MIB);
    assert_int_equal(info.low_ram_end, 3 * GIB);
}

/* A range up to 4 GiB exactly is below it; one across it is not. */
static void test_four_gib(void **state) {
    (void)state;
    add(3 * GIB, 4 * GIB, 4096);
    assert_int_equal(info.low_ram_end, 4 * GIB);
    empty(NULL);
    add(3 * GIB, 5 * GIB, 4096);
    assert_int_equal(info.low_ram_end, 0);
    assert_int_equal(info.arena_size, 0);
}

/* OVMF: firmware keeps pages at 8 MiB, so the largest piece lies away from the image. */
static void test_away_from_image(void **state) {
    (void)state;
    add(1 * MIB, 8 * MIB, 2 * MIB);
    expect_arena(IMAGE_END, 8 * MIB);
    add(9 * MIB, 61 * MIB + 4 * KIB, 2 * MIB);
    expect_arena(10 * MIB, 60 * MIB);
    add(62 * MIB, 64 * MIB, 2 * MIB);
    expect_arena(10 * MIB, 60 * MIB);
    assert_int_equal(info.low_ram_end, 64 * MIB);
}

/* Rounding inwards: what firmware keeps shares no large page with the arena, and nothing is left of a
 * range without a whole one. */
static void test_granule(void **state) {
    (void)state;
    add(20 * MIB + 4 * KIB, 24 * MIB - 4 * KIB, 2 * MIB);
    assert_int_equal(info.arena_size, 0);
    add(20 * MIB - 4 * KIB, 22 * MIB + 4 * KIB, 2 * MIB);
    expect_arena(20 * MIB, 22 * MIB);
}

static void test_below_image(void **state) {
    (void)state;
    add(1 * MIB, IMAGE_END, 4096);
    assert_int_equal(info.arena_size, 0);
    add(1 * MIB, IMAGE_END - 4096, 4096);
    assert_int_equal(info.arena_size, 0);
    add(1 * MIB, IMAGE_END + 4096, 4096);
    expect_arena(IMAGE_END, IMAGE_END + 4096);
}

static void test_order_does_not_matter(void **state) {
    (void)state;
    add(100 * MIB, 200 * MIB, 4096);
    add(1 * MIB, 90 * MIB, 4096);
    expect_arena(100 * MIB, 200 * MIB);
}

/* 16 MiB of which firmware keeps a little are enough, whatever the place; 15 MiB are the limit. */
static void test_enough(void **state) {
    (void)state;
    assert_false(memory_is_enough(&info, IMAGE_END));
    add(1 * MIB, 15 * MIB - 4 * KIB, 4096);
    assert_false(memory_is_enough(&info, IMAGE_END));
    add(1 * MIB, 15 * MIB, 4096);
    assert_true(memory_is_enough(&info, IMAGE_END));
    empty(NULL);
    add(600 * MIB, 600 * MIB + 15 * MIB - IMAGE_END, 4096);
    assert_true(memory_is_enough(&info, IMAGE_END));
}

static void expect_ranges(const struct memory_range *got, const struct memory_range *want,
                          unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(got[i].start, want[i].start);
        assert_int_equal(got[i].end, want[i].end);
    }
}

static void test_merge(void **state) {
    (void)state;
    struct memory_range ranges[] = {{9, 12}, {40, 50}, {1, 4}, {4, 9}, {20, 20}, {41, 45},
                                    {14, 16}, {44, 60}, {3, 3}};
    const struct memory_range want[] = {{1, 12}, {14, 16}, {40, 60}};
    assert_int_equal(memory_merge(ranges, 9), 3);
    expect_ranges(ranges, want, 3);
    assert_int_equal(memory_merge(ranges, 3), 3);
    expect_ranges(ranges, want, 3);
    assert_int_equal(memory_merge(ranges, 0), 0);
}

/* Against a map of single units: the same units are covered, and the ranges are apart and in order. */
static void test_merge_random(void **state) {
    (void)state;
    enum { UNITS = 64, RANGES = 10 };
    struct unit_random random = {.state = 7};
    for (unsigned round = 0; round < 2000; round++) {
        struct memory_range ranges[RANGES];
        bool want[UNITS] = {false}, got[UNITS] = {false};
        for (unsigned i = 0; i < RANGES; i++) {
            ranges[i].start = unit_below(&random, UNITS);
            ranges[i].end = ranges[i].start + unit_below(&random, UNITS - (uint32_t)ranges[i].start);
            memset(want + ranges[i].start, 1, ranges[i].end - ranges[i].start);
        }
        const unsigned count = memory_merge(ranges, RANGES);
        for (unsigned i = 0; i < count; i++) {
            assert_true(ranges[i].start < ranges[i].end);
            assert_true(i == 0 || ranges[i - 1].end < ranges[i].start);
            memset(got + ranges[i].start, 1, ranges[i].end - ranges[i].start);
        }
        assert_memory_equal(want, got, sizeof(want));
    }
}

static void test_contains(void **state) {
    (void)state;
    const struct memory_range ranges[] = {{10, 20}, {30, 40}};
    assert_true(memory_contains(ranges, 2, (struct memory_range){10, 20}));
    assert_true(memory_contains(ranges, 2, (struct memory_range){39, 40}));
    assert_false(memory_contains(ranges, 2, (struct memory_range){9, 20}));
    assert_false(memory_contains(ranges, 2, (struct memory_range){10, 21}));
    assert_false(memory_contains(ranges, 2, (struct memory_range){15, 35}));
    assert_false(memory_contains(ranges, 0, (struct memory_range){10, 20}));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_behind_image, empty),
        cmocka_unit_test_setup(test_ends_at_limit, empty),
        cmocka_unit_test_setup(test_four_gib, empty),
        cmocka_unit_test_setup(test_away_from_image, empty),
        cmocka_unit_test_setup(test_granule, empty),
        cmocka_unit_test_setup(test_below_image, empty),
        cmocka_unit_test_setup(test_order_does_not_matter, empty),
        cmocka_unit_test_setup(test_enough, empty),
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_merge_random),
        cmocka_unit_test(test_contains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
