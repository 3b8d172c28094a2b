/* OEM strings and entry points of SMBIOS, sound and hostile. Tables are given in memory of exactly their
 * length, so that the sanitizer sees a byte that is read behind it. */
#include "tests/unit/unit.h"

#include "lib/smbios.h"
#include "tests/unit/smbios_rig.h"

#include <stdlib.h>

static struct smbios_rig rig;
static char words[64];

static int set_up(void **state) {
    (void)state;
    rig.len = 0;
    return 0;
}

static enum smbios_result words_of(const void *bytes, size_t len, size_t size) {
    uint8_t *exact = malloc(len + (len == 0));
    char *out = malloc(size);
    memcpy(exact, bytes, len);
    memset(out, 'x', size);
    const enum smbios_result result = smbios_words(exact, len, out, size);
    assert_non_null(memchr(out, '\0', size));
    strcpy(words, out);
    free(exact);
    free(out);
    return result;
}

static void expect_words(const char *expected, enum smbios_result result) {
    assert_int_equal(words_of(rig.bytes, rig.len, sizeof(words)), result);
    assert_string_equal(words, expected);
}

static void oem(uint8_t count, const char *strings) {
    rig_structure(&rig, RIG_OEM_STRINGS, 5, count, strings);
}

static void others(void) {
    rig_structure(&rig, 0, 24, 1, "SeaBIOS|ringlet:bios=1|");
    rig_structure(&rig, 1, 27, 2, "");
    rig_structure(&rig, 4, 48, 11, "ringlet:processor=1|");
}

static void test_words(void **state) {
    (void)state;
    others();
    oem(1, "ringlet:app=echo seconds=5|");
    rig_structure(&rig, RIG_END, 4, 0, "");
    expect_words("app=echo seconds=5", SMBIOS_OK);
}

static void test_several_strings(void **state) {
    (void)state;
    oem(4, "ringlet:a=1|for another|ringlet:b=2\tc=3|ringlet:|");
    others();
    oem(1, "ringlet:d=4|");
    rig_structure(&rig, RIG_END, 4, 0, "");
    expect_words("a=1 b=2\tc=3  d=4", SMBIOS_OK);
}

static void test_no_words(void **state) {
    (void)state;
    expect_words("", SMBIOS_OK); /* not even a table */
    others();
    expect_words("", SMBIOS_OK); /* no end mark: the length says it */
    oem(6, "ringlet|Ringlet:a=1| ringlet:a=1|xringlet:a=1|ringlet=a=1|ringle|");
    oem(0, "");
    oem(1, "");
    rig_structure(&rig, RIG_OEM_STRINGS, 4, 0, "ringlet:no=count|");
    rig_structure(&rig, RIG_END, 4, 0, "");
    expect_words("", SMBIOS_OK);
}

static void test_end(void **state) {
    (void)state;
    oem(1, "ringlet:a=1|");
    rig_structure(&rig, RIG_END, 4, 0, "");
    oem(1, "ringlet:b=2|");
    expect_words("a=1", SMBIOS_OK);
    /* As cloud-hypervisor had it before version 26: the end mark is longer than the table. */
    rig.len = 0;
    oem(1, "ringlet:a=1|");
    rig_structure(&rig, RIG_END, 4, 0, "");
    rig.bytes[rig.len - 5] = 27;
    expect_words("a=1", SMBIOS_OK);
}

/* The structure says how many strings it has; what it has not does not count. */
static void test_count(void **state) {
    (void)state;
    oem(2, "ringlet:a=1|ringlet:b=2|ringlet:c=3|");
    expect_words("a=1 b=2", SMBIOS_OK);
    rig.len = 0;
    oem(255, "ringlet:a=1|");
    oem(255, "");
    oem(1, "ringlet:b=2|");
    expect_words("a=1 b=2", SMBIOS_OK);
}

static void test_room(void **state) {
    (void)state;
    oem(1, "ringlet:1234|");
    oem(1, "ringlet:789|");
    assert_int_equal(words_of(rig.bytes, rig.len, 9), SMBIOS_OK);
    assert_string_equal(words, "1234 789");
    for (size_t size = 1; size < 9; size++) {
        assert_int_equal(words_of(rig.bytes, rig.len, size), SMBIOS_TOO_LONG);
    }
    assert_int_equal(words_of(rig.bytes, 15, 5), SMBIOS_DAMAGED); /* a string's own zero is missing */
}

static void test_damaged(void **state) {
    (void)state;
    for (uint8_t len = 0; len < 4; len++) { /* shorter than the header that says it */
        rig.len = 0;
        oem(1, "ringlet:a=1|");
        const size_t second = rig.len;
        oem(1, "ringlet:b=2|");
        rig.bytes[second + 1] = len;
        expect_words("a=1", SMBIOS_DAMAGED);
    }
    rig.bytes[1] = 255; /* longer than the table */
    expect_words("", SMBIOS_DAMAGED);
    memset(rig.bytes, 0, rig.len);
    expect_words("", SMBIOS_DAMAGED);
    memset(rig.bytes, 0xff, rig.len);
    expect_words("", SMBIOS_DAMAGED);
}

/* Cut off anywhere: what was whole before counts, nothing is read behind. */
static void test_truncated(void **state) {
    size_t ends[4];
    unsigned whole = 0;
    (void)state;
    others();
    ends[0] = rig.len;
    oem(1, "ringlet:a=1|");
    ends[1] = rig.len;
    oem(2, "ringlet:b=2|ringlet:c=3|");
    ends[2] = rig.len;
    rig_structure(&rig, RIG_END, 4, 0, "");
    ends[3] = rig.len;
    for (size_t len = ends[0] + 1; len < ends[3]; len++) {
        const char *const expected = len < ends[1] ? "" : len < ends[2] ? "a=1" : "a=1 b=2 c=3";
        const enum smbios_result result = words_of(rig.bytes, len, sizeof(words));
        const bool is_whole = len == ends[1] || len >= ends[2]; /* of the end mark its type is enough */
        assert_int_equal(result, is_whole ? SMBIOS_OK : SMBIOS_DAMAGED);
        assert_string_equal(words, expected);
        whole += is_whole;
    }
    assert_int_equal(whole, 1 + ends[3] - ends[2]);
}

/* Random damage to a sound table: whatever comes out is text that fits. */
static void test_random_damage(void **state) {
    struct unit_random random = {.state = 11};
    unsigned damaged = 0, sound = 0;
    (void)state;
    others();
    oem(3, "ringlet:a=1|ringlet:b=2|other|");
    rig_structure(&rig, RIG_END, 4, 0, "");
    const struct smbios_rig good = rig;
    for (unsigned i = 0; i < 20000; i++) {
        memcpy(rig.bytes, good.bytes, good.len);
        for (unsigned n = unit_below(&random, 4) + 1; n > 0; n--) {
            const uint32_t value = unit_random(&random);
            rig.bytes[unit_below(&random, (uint32_t)good.len)] = (uint8_t)(value % 3 ? value >> 8 : 0);
        }
        const size_t size = unit_below(&random, sizeof(words)) + 1;
        const size_t cut = i % 2 ? unit_below(&random, (uint32_t)good.len + 1) : 0;
        const enum smbios_result result = words_of(rig.bytes, good.len - cut, size);
        damaged += result == SMBIOS_DAMAGED;
        sound += result == SMBIOS_OK;
    }
    assert_true(damaged > 1000 && sound > 1000);
}

/* --- entry points ------------------------------------------------------------------------------ */

static bool entry_of(const uint8_t *entry, size_t len, struct smbios_table *table) {
    uint8_t *exact = malloc(len + (len == 0));
    memcpy(exact, entry, len);
    const bool found = smbios_entry_point(exact, len, table);
    free(exact);
    return found;
}

static void test_entry_points(void **state) {
    uint8_t entry[0x40];
    struct smbios_table table;
    (void)state;
    rig_entry_32(entry, 0xfedcba98, 0xfedc);
    assert_true(entry_of(entry, 0x1f, &table));
    assert_int_equal(table.addr, 0xfedcba98);
    assert_int_equal(table.len, 0xfedc);
    rig_entry_64(entry, UINT64_C(0xfedcba9876543210), 0x89abcdef);
    assert_true(entry_of(entry, 0x18, &table));
    assert_int_equal(table.addr, UINT64_C(0xfedcba9876543210));
    assert_int_equal(table.len, 0x89abcdef);
}

/* Version 2.1 of the specification gave a wrong length, see DSP0134 5.2.1. */
static void test_entry_point_of_version_2_1(void **state) {
    uint8_t entry[0x20];
    struct smbios_table table;
    (void)state;
    rig_entry_32(entry, 0x1000, 100);
    entry[5] = 0x1e;
    rig_checksum(entry, entry + 4, 0x1e);
    assert_true(entry_of(entry, 0x1f, &table));
    assert_int_equal(table.addr, 0x1000);
}

/* One wrong bit anywhere that is summed up, one byte less to read: no entry point. */
static void test_unsound_entry_points(void **state) {
    uint8_t entry[0x20];
    struct smbios_table table;
    (void)state;
    for (unsigned bit = 0; bit < 0x1f * 8; bit++) {
        rig_entry_32(entry, 0x1000, 100);
        entry[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(entry_of(entry, 0x1f, &table));
    }
    for (unsigned bit = 0; bit < 0x18 * 8; bit++) {
        rig_entry_64(entry, 0x1000, 100);
        entry[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(entry_of(entry, 0x18, &table));
    }
    rig_entry_32(entry, 0x1000, 100);
    entry[0x15]++; /* the second sum is checked, too */
    rig_checksum(entry, entry + 4, 0x1f);
    assert_false(entry_of(entry, 0x1f, &table));
    for (size_t len = 0; len < 0x18; len++) {
        rig_entry_64(entry, 0x1000, 100);
        assert_false(entry_of(entry, len, &table));
        rig_entry_32(entry, 0x1000, 100);
        assert_false(entry_of(entry, len + 7, &table));
    }
}

static void test_claimed_entry_length(void **state) {
    uint8_t entry[0x100] = {0};
    struct smbios_table table;
    (void)state;
    for (unsigned len = 0; len < 0x100; len++) {
        rig_entry_64(entry, 0x1000, 100);
        entry[6] = (uint8_t)len;
        rig_checksum(entry, entry + 5, len < 0x18 ? 0x18 : len);
        assert_int_equal(entry_of(entry, 0x40, &table), len >= 0x18 && len <= 0x40);
        rig_entry_32(entry, 0x1000, 100);
        entry[5] = (uint8_t)len;
        rig_checksum(entry, entry + 4, len < 0x1e ? 0x1f : len);
        assert_int_equal(entry_of(entry, 0x40, &table), len >= 0x1e && len <= 0x40);
    }
}

static void test_find(void **state) {
    enum { AREA_LEN = 0x200 };
    uint8_t *area = calloc(1, AREA_LEN);
    struct smbios_table table;
    (void)state;
    assert_false(smbios_find(area, AREA_LEN, &table));
    rig_entry_32(area + 0x48, 0x1000, 1); /* not on a step */
    assert_false(smbios_find(area, AREA_LEN, &table));
    rig_entry_32(area + AREA_LEN - 0x20, 0x2000, 2); /* the last that fits */
    assert_true(smbios_find(area, AREA_LEN, &table));
    assert_int_equal(table.addr, 0x2000);
    rig_entry_32(area + 0x20, 0x3000, 3); /* the first one counts */
    assert_true(smbios_find(area, AREA_LEN, &table));
    assert_int_equal(table.addr, 0x3000);
    rig_entry_64(area + 0x100, 0x4000, 4); /* but 64-bit ones come before */
    assert_true(smbios_find(area, AREA_LEN, &table));
    assert_int_equal(table.addr, 0x4000);
    area[0x105]++;
    assert_true(smbios_find(area, AREA_LEN, &table));
    assert_int_equal(table.addr, 0x3000);
    area[0x24]++;
    memcpy(area + AREA_LEN - 0x10, "_SM3_\0\x18", 7); /* cut off by the area's end, in the last one */
    assert_false(smbios_find(area, AREA_LEN, &table));
    free(area);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_words, set_up),
        cmocka_unit_test_setup(test_several_strings, set_up),
        cmocka_unit_test_setup(test_no_words, set_up),
        cmocka_unit_test_setup(test_end, set_up),
        cmocka_unit_test_setup(test_count, set_up),
        cmocka_unit_test_setup(test_room, set_up),
        cmocka_unit_test_setup(test_damaged, set_up),
        cmocka_unit_test_setup(test_truncated, set_up),
        cmocka_unit_test_setup(test_random_damage, set_up),
        cmocka_unit_test_setup(test_entry_points, set_up),
        cmocka_unit_test_setup(test_entry_point_of_version_2_1, set_up),
        cmocka_unit_test_setup(test_unsound_entry_points, set_up),
        cmocka_unit_test_setup(test_claimed_entry_length, set_up),
        cmocka_unit_test_setup(test_find, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
