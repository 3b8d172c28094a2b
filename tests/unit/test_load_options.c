/* Load options of a UEFI image: what shells and boot managers hand over, and what they get wrong. */
#include "tests/unit/unit.h"

#include "boot/load_options.h"

#include <stdlib.h>
#include <string.h>

static char text[64];

/* Calls it with `options` as UCS-2 in memory of just that size, at an odd address, so that the sanitizer
 * sees each byte read too much. `extra` bytes are added, or taken off when negative. */
static bool convert(const char *options, int extra) {
    const size_t size = (size_t)((int)(2 * strlen(options)) + extra);
    uint8_t *memory = malloc(size + 1), *bytes = memory + 1;
    assert_non_null(memory);
    memset(memory, 0, size + 1);
    for (size_t i = 0; i < size; i += 2) {
        bytes[i] = (uint8_t)options[i / 2];
    }
    memset(text, 'x', sizeof(text));
    const bool fits = load_options_text(bytes, size, text, sizeof(text));
    free(memory);
    return fits;
}

static void expect(const char *options, const char *want) {
    assert_true(convert(options, 0)); /* ends with its size */
    assert_string_equal(text, want);
    assert_true(convert(options, 2)); /* with a zero */
    assert_string_equal(text, want);
    assert_true(convert(options, 1)); /* odd: half a character too many */
    assert_string_equal(text, want);
}

static void test_absent(void **state) {
    (void)state;
    memset(text, 'x', sizeof(text));
    assert_true(load_options_text(NULL, 0, text, sizeof(text)));
    assert_string_equal(text, "");
    memset(text, 'x', sizeof(text));
    assert_true(load_options_text(NULL, 100, text, sizeof(text)));
    assert_string_equal(text, "");
    expect("", "");
}

static void test_words(void **state) {
    (void)state;
    expect("app=echo", "app=echo");
    expect("app=echo ip=10.0.0.1/24", "app=echo ip=10.0.0.1/24");
    expect("  app=echo\tseconds=1\r\n", "app=echo seconds=1  ");
    expect("app=echo verbose", "app=echo verbose"); /* an error later, not here */
}

static void test_image_name(void **state) {
    (void)state;
    expect("BOOTX64.EFI", "");
    expect("BOOTX64.EFI ", "");
    expect("fs0:\\EFI\\BOOT\\BOOTX64.EFI app=echo", "app=echo");
    expect(" BOOTX64.EFI   app=echo ", "app=echo ");
    expect("BOOTX64.EFI verbose app=echo", "verbose app=echo"); /* the first word only */
    expect("\"my disk\\ringlet 2.efi\" app=echo", "app=echo");
    expect("\"my disk", "");
    expect("fs0:\\\"my disk\"\\x.efi app=echo", "app=echo");
}

static void test_odd_size(void **state) {
    (void)state;
    assert_true(convert("app=echo", -1));
    assert_string_equal(text, "app=ech");
    assert_true(load_options_text("a", 1, text, sizeof(text)));
    assert_string_equal(text, "");
}

static void test_not_ascii(void **state) {
    (void)state;
    static const uint16_t options[] = {'a', '=', 0xe4, 0x20ac, 0x7f, 1, 'b', 0, 'c'};
    assert_true(load_options_text(options, sizeof(options), text, sizeof(text)));
    assert_string_equal(text, "a=????b");
    static const uint16_t high_zero[] = {'a', '=', 0x100, 'b'}; /* its low byte is a zero */
    assert_true(load_options_text(high_zero, sizeof(high_zero), text, sizeof(text)));
    assert_string_equal(text, "a=?b");
}

static void test_too_long(void **state) {
    (void)state;
    char options[80] = "name.efi a=";
    memset(options + 11, 'b', 61);
    expect(options, options + 9); /* 63 characters and the zero */
    strcat(options, "b");
    assert_false(convert(options, 0));
    assert_int_equal(strlen(text), sizeof(text) - 1);
    assert_memory_equal(text, options + 9, sizeof(text) - 1);
    char one[1] = {'x'};
    assert_true(load_options_text("", 0, one, 1));
    assert_int_equal(one[0], 0);
    assert_false(load_options_text("a\0=", 4, one, 1));
    assert_int_equal(one[0], 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_absent),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_image_name),
        cmocka_unit_test(test_odd_size),
        cmocka_unit_test(test_not_ascii),
        cmocka_unit_test(test_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
