/* Lists of Ethernet addresses. */
#include "tests/unit/unit.h"

#include "lib/mac.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In memory of just its size, so that the address sanitizer sees each byte too many. */
static enum mac_entry entry(const char *list, unsigned index, uint8_t mac[MAC_LEN]) {
    char *copy = malloc(strlen(list) + 1);
    assert_non_null(copy);
    strcpy(copy, list);
    const enum mac_entry result = mac_parse_entry(copy, index, mac);
    free(copy);
    return result;
}

static void expect(const char *list, unsigned index, enum mac_entry result, uint8_t last) {
    uint8_t mac[MAC_LEN] = {0};
    const enum mac_entry got = entry(list, index, mac);
    if (got != result || (result == MAC_GIVEN && mac[MAC_LEN - 1] != last)) {
        fail_msg("entry %u of '%s': %d with %#x, not %d with %#x", index, list, got,
                 mac[MAC_LEN - 1], result, last);
    }
}

static void test_one(void **state) {
    static const uint8_t expected[MAC_LEN] = {0x02, 0x1f, 0xa0, 0x09, 0xfe, 0xdc};
    uint8_t mac[MAC_LEN];
    (void)state;
    assert_int_equal(entry("02:1f:a0:09:fe:dc", 0, mac), MAC_GIVEN);
    assert_memory_equal(mac, expected, MAC_LEN);
    memset(mac, 0, MAC_LEN);
    assert_int_equal(entry("02:1F:A0:09:Fe:dC", 0, mac), MAC_GIVEN);
    assert_memory_equal(mac, expected, MAC_LEN);
}

static void test_lists(void **state) {
    const char *const list = "02:00:00:00:00:01,02:00:00:00:00:02,,02:00:00:00:00:04";
    (void)state;
    expect(list, 0, MAC_GIVEN, 1);
    expect(list, 1, MAC_GIVEN, 2);
    expect(list, 2, MAC_NONE, 0);
    expect(list, 3, MAC_GIVEN, 4);
    for (unsigned index = 4; index < 20; index++) {
        expect(list, index, MAC_NONE, 0);
    }
}

static void test_empty_entries(void **state) {
    (void)state;
    expect("", 0, MAC_NONE, 0);
    expect("", 1, MAC_NONE, 0);
    expect(",", 0, MAC_NONE, 0);
    expect(",", 1, MAC_NONE, 0);
    expect(",", 2, MAC_NONE, 0);
    expect(",02:00:00:00:00:02", 0, MAC_NONE, 0);
    expect(",02:00:00:00:00:02", 1, MAC_GIVEN, 2);
    expect("02:00:00:00:00:01,", 0, MAC_GIVEN, 1);
    expect("02:00:00:00:00:01,", 1, MAC_NONE, 0);
}

/* Each is bad as the only one, as the first of two, and as the last. The good one is found. */
static void test_bad(void **state) {
    static const char *const bad[] = {
        "0",
        "02",
        "02:",
        "02:00:00:00:00",
        "02:00:00:00:00:",
        "02:00:00:00:00:0",
        "02:00:00:00:00:012",
        "02:00:00:00:00:01:",
        "02:00:00:00:00:01:02",
        "02:00:00:00:00:0g",
        "02:00:00:00:00:0G",
        "02:00:00:00:00:/:",
        "02:00:00:00:00:0@",
        "02:00:00:00:00:0`",
        "02-00-00-00-00-01",
        "020000000001",
        " 02:00:00:00:00:01",
        "02:00:00:00:00:01 ",
        "2:0:0:0:0:1",
        "0x2:00:00:00:00:01",
        "00:00:00:00:00:00",
        "01:00:00:00:00:01",
        "ff:ff:ff:ff:ff:ff",
        "02:00:00:00:00:01;02:00:00:00:00:02",
        "mac",
    };
    char list[128];
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        expect(bad[i], 0, MAC_BAD, 0);
        expect(bad[i], 1, MAC_NONE, 0);
        snprintf(list, sizeof(list), "%s,02:00:00:00:00:05", bad[i]);
        expect(list, 0, MAC_BAD, 0);
        expect(list, 1, MAC_GIVEN, 5);
        snprintf(list, sizeof(list), "02:00:00:00:00:05,%s", bad[i]);
        expect(list, 0, MAC_GIVEN, 5);
        expect(list, 1, MAC_BAD, 0);
    }
}

/* A good one, cut anywhere. */
static void test_cut(void **state) {
    const char *const whole = "02:00:00:00:00:01";
    char text[18];
    (void)state;
    for (size_t len = 0; len <= strlen(whole); len++) {
        memcpy(text, whole, len);
        text[len] = '\0';
        expect(text, 0, len == 0 ? MAC_NONE : len < strlen(whole) ? MAC_BAD : MAC_GIVEN, 1);
    }
}

/* Any character in any place: no more than 22 digits are accepted there, or one colon. */
static void test_each_character(void **state) {
    (void)state;
    for (size_t at = 0; at < 17; at++) {
        unsigned accepted = 0;
        for (unsigned c = 1; c < 256; c++) {
            char text[] = "02:44:44:44:44:44";
            uint8_t mac[MAC_LEN];
            text[at] = (char)c;
            accepted += c != ',' && entry(text, 0, mac) == MAC_GIVEN;
        }
        /* An odd digit in the second place makes a group of it. */
        assert_int_equal(accepted, at % 3 == 2 ? 1 : at == 1 ? 11 : 22);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one),           cmocka_unit_test(test_lists),
        cmocka_unit_test(test_empty_entries), cmocka_unit_test(test_bad),
        cmocka_unit_test(test_cut),           cmocka_unit_test(test_each_character),
    };
    return cmocka_run_group_tests_name("mac", tests, NULL, NULL);
}
