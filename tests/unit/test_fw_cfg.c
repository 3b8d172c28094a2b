/* Files of QEMU's fw_cfg device: found, read, absent, and every lie of the device. */
#include "tests/unit/unit.h"

#include "drivers/fw_cfg.h"
#include "lib/err.h"
#include "tests/model/fw_cfg.h"

#include <stdio.h>
#include <string.h>

enum {
    ADDRESS_WRITES = 2, /* hosted addresses have an upper half, the image's have none */
    AT_ONCE = 63,       /* directory entries in one operation */
};

static struct fw_cfg_file wanted[2];

static int set_up(void **state) {
    (void)state;
    fw_cfg_model_init();
    wanted[0] = (struct fw_cfg_file){.name = "opt/ringlet/config"};
    wanted[1] = (struct fw_cfg_file){.name = "opt/ringlet/cmdline"};
    return 0;
}

static int find(void) {
    const int err = fw_cfg_find(wanted, ARRAY_SIZE(wanted));
    assert_null(fw_cfg_model.violation);
    return err;
}

/* Files with other names, as QEMU has a few of. */
static void add_others(unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof(name), "etc/other-%u", i);
        fw_cfg_model_add(name, "?", 1);
    }
}

static void test_find_and_read(void **state) {
    char text[16];
    (void)state;
    add_others(3);
    fw_cfg_model_add("opt/ringlet/cmdline", "stats=1", 7);
    add_others(2);
    assert_int_equal(find(), ERR_OK);
    assert_int_equal(wanted[0].select, 0);
    assert_int_equal(wanted[1].select, 0x23);
    assert_int_equal(wanted[1].size, 7);
    assert_int_equal(fw_cfg_model.accesses, 1 + ADDRESS_WRITES); /* the boot cost in the manual */

    memset(text, 'x', sizeof(text));
    assert_int_equal(fw_cfg_read(&wanted[1], text, 7), ERR_OK);
    assert_memory_equal(text, "stats=1xxxxxxxxx", sizeof(text));
    assert_int_equal(fw_cfg_model.accesses, 1 + 2 * ADDRESS_WRITES);
    assert_int_equal(fw_cfg_read(&wanted[1], text, 3), ERR_OK); /* from its start again */
    assert_memory_equal(text, "stats=1xxxxxxxxx", sizeof(text));
    assert_int_equal(fw_cfg_read(&wanted[1], text, 9), ERR_OK);
    assert_memory_equal(text, "stats=1\0\0xxxxxxx", sizeof(text));
    assert_null(fw_cfg_model.violation);
}

static void test_absent(void **state) {
    (void)state;
    fw_cfg_model.present = false;
    wanted[0].select = 0x20; /* whatever stood there */
    assert_int_equal(find(), ERR_ABSENT);
    assert_int_equal(wanted[0].select, 0);
    assert_int_equal(fw_cfg_model.accesses, 1);
}

static void test_empty_directory(void **state) {
    (void)state;
    assert_int_equal(find(), ERR_OK);
    assert_int_equal(wanted[0].select, 0);
}

static void test_names_are_exact(void **state) {
    static const char *const near[] = {
        "opt/ringlet/confi", "opt/ringlet/config2", "opt/ringlet/Config", "opt/ringlet/", "",
        "opt/ringlet/config ",
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(near); i++) {
        fw_cfg_model_add(near[i], "?", 1);
    }
    memset(fw_cfg_model_add("", "?", 1)->name, 'x', 56); /* no zero at the end */
    assert_int_equal(find(), ERR_OK);
    assert_int_equal(wanted[0].select, 0);
    fw_cfg_model_add("opt/ringlet/config", "!", 1);
    fw_cfg_model_add("opt/ringlet/config", "second", 6); /* QEMU refuses to; the first one counts */
    assert_int_equal(find(), ERR_OK);
    assert_int_equal(wanted[0].select, 0x20 + ARRAY_SIZE(near) + 1);
    assert_int_equal(wanted[0].size, 1);
}

/* A directory of any length is read, in pieces; the edges of the pieces are where mistakes would be. */
static void test_long_directory(void **state) {
    static const unsigned before[] = {AT_ONCE - 2, AT_ONCE - 1,     AT_ONCE, AT_ONCE + 1,
                                      2 * AT_ONCE, 2 * AT_ONCE - 1, 190};
    for (unsigned i = 0; i < ARRAY_SIZE(before); i++) {
        set_up(state);
        add_others(before[i]);
        fw_cfg_model_add("opt/ringlet/config", "!", 1);
        assert_int_equal(find(), ERR_OK);
        assert_int_equal(wanted[0].select, 0x20 + before[i]);
        assert_int_equal(fw_cfg_model.operations, before[i] / AT_ONCE + 1);
    }
}

static void test_false_count(void **state) {
    static const uint32_t too_many[] = {0x4000 - 0x20, 0x4000, 0x80000000, UINT32_MAX - 1};
    for (unsigned i = 0; i < ARRAY_SIZE(too_many); i++) {
        set_up(state);
        fw_cfg_model_add("opt/ringlet/config", "!", 1);
        fw_cfg_model.claimed = too_many[i];
        assert_int_equal(find(), ERR_DEVICE);
        assert_int_equal(wanted[0].select, 0);
        assert_int_equal(fw_cfg_model.operations, 1);
    }
    /* The most that can be, of which there is one: the rest reads as zeroes. */
    set_up(state);
    fw_cfg_model_add("opt/ringlet/config", "!", 1);
    fw_cfg_model.claimed = 0x4000 - 0x20 - 1;
    assert_int_equal(find(), ERR_OK);
    assert_int_equal(wanted[0].select, 0x20);
    assert_int_equal(fw_cfg_model.operations, (0x4000 - 0x20 + AT_ONCE - 1) / AT_ONCE);
}

/* Keys below the files' belong to other items: a file with one is none. */
static void test_false_key(void **state) {
    static const uint16_t keys[] = {0, 1, 0x19, 0x1f};
    for (unsigned i = 0; i < ARRAY_SIZE(keys); i++) {
        set_up(state);
        fw_cfg_model_add("opt/ringlet/cmdline", "!", 1);
        fw_cfg_model_add("opt/ringlet/config", "!", 1)->key = keys[i];
        assert_int_equal(find(), ERR_DEVICE);
        assert_int_equal(wanted[0].select, 0);
        assert_int_equal(wanted[1].select, 0);
    }
}

static void test_refusal(void **state) {
    char text[4];
    add_others(AT_ONCE);
    fw_cfg_model_add("opt/ringlet/config", "!", 1);
    for (unsigned refused = 1; refused <= 2; refused++) { /* the first piece of the directory, the second */
        fw_cfg_model.operations = 0;
        fw_cfg_model.refuse = refused;
        assert_int_equal(find(), ERR_DEVICE);
        assert_int_equal(fw_cfg_model.operations, refused);
        assert_int_equal(wanted[0].select, 0);
    }
    set_up(state);
    fw_cfg_model_add("opt/ringlet/config", "!", 1);
    fw_cfg_model.refuse = 2;
    assert_int_equal(find(), ERR_OK);
    assert_int_equal(fw_cfg_read(&wanted[0], text, 1), ERR_DEVICE);
}

static void test_slow_device(void **state) {
    char text[4] = "";
    (void)state;
    fw_cfg_model_add("opt/ringlet/config", "abc", 3);
    fw_cfg_model.delay_ms = 900;
    assert_int_equal(find(), ERR_OK);
    assert_int_equal(fw_cfg_read(&wanted[0], text, 3), ERR_OK);
    assert_string_equal(text, "abc");
    fw_cfg_model.delay_ms = FW_CFG_MODEL_NEVER;
    assert_int_equal(fw_cfg_read(&wanted[0], text, 3), ERR_TIMEOUT);
}

static void test_no_answer(void **state) {
    (void)state;
    fw_cfg_model_add("opt/ringlet/config", "abc", 3);
    fw_cfg_model.delay_ms = FW_CFG_MODEL_NEVER;
    assert_int_equal(find(), ERR_TIMEOUT);
    assert_int_equal(wanted[0].select, 0);
}

static void test_wrong_calls(void **state) {
    char name[57] = "", text[4];
    (void)state;
    memset(name, 'x', 56);
    wanted[0] = (struct fw_cfg_file){.name = name};
    expect_assert_failure(fw_cfg_find(wanted, 1));
    expect_assert_failure(fw_cfg_read(&wanted[1], text, 1)); /* not found before */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_find_and_read, set_up),
        cmocka_unit_test_setup(test_absent, set_up),
        cmocka_unit_test_setup(test_empty_directory, set_up),
        cmocka_unit_test_setup(test_names_are_exact, set_up),
        cmocka_unit_test_setup(test_long_directory, set_up),
        cmocka_unit_test_setup(test_false_count, set_up),
        cmocka_unit_test_setup(test_false_key, set_up),
        cmocka_unit_test_setup(test_refusal, set_up),
        cmocka_unit_test_setup(test_slow_device, set_up),
        cmocka_unit_test_setup(test_no_answer, set_up),
        cmocka_unit_test_setup(test_wrong_calls, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
