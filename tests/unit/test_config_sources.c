/* Which texts become sources of the configuration, in which order, and what is refused. Firmware's
 * memory below 1 MiB is mapped at its real address. */
#define _GNU_SOURCE /* MAP_FIXED_NOREPLACE */
#include "tests/unit/unit.h"

#include "boot/boot_info.h"
#include "boot/config_sources.h"
#include "drivers/acpi.h"
#include "lib/err.h"
#include "tests/model/fw_cfg.h"
#include "tests/unit/smbios_rig.h"

#include <stdio.h>
#include <sys/mman.h>

enum { LONGEST = BOOT_CONFIG_MAX - 1, AREA = 0xf0000, AREA_LEN = 0x10000 };

struct boot_info boot_info;

static struct config_source sources[CONFIG_SOURCES_MAX];
static char error[320];
static struct smbios_rig rig;
static uint8_t *area; /* 0xf0000 to 0xfffff */

static int map_area(void **state) {
    (void)state;
    area = mmap((void *)AREA, AREA_LEN, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    return area == (void *)AREA ? 0 : -1;
}

static int unmap_area(void **state) {
    (void)state;
    return munmap(area, AREA_LEN);
}

/* A machine whose fw_cfg device has no files, and without SMBIOS. */
static int set_up(void **state) {
    const struct acpi_window windows[ACPI_WINDOW_COUNT] = {{BOOT_ROM_START, BOOT_ROM_END}};
    (void)state;
    memset(&boot_info, 0, sizeof(boot_info));
    memset(area, 0xff, AREA_LEN);
    acpi_init(0, windows);
    fw_cfg_model_init();
    rig.len = 0;
    return 0;
}

static int gather(void) {
    unsigned count = 0;
    error[0] = '\0';
    const int err = config_sources(sources, &count, error, sizeof(error));
    assert_null(fw_cfg_model.violation);
    if (err == ERR_OK) {
        assert_int_equal(count, 5);
        assert_string_equal(error, "");
    }
    return err;
}

static void expect_texts(const char *file, const char *words, const char *config, const char *cmdline,
                         const char *loader) {
    assert_int_equal(gather(), ERR_OK);
    assert_string_equal(sources[0].text, file);
    assert_string_equal(sources[1].text, words);
    assert_string_equal(sources[2].text, config);
    assert_string_equal(sources[3].text, cmdline);
    assert_string_equal(sources[4].text, loader);
}

static void expect_error(const char *sentence) {
    assert_int_equal(gather(), ERR_CONFIG);
    assert_string_equal(error, sentence);
}

static void add(const char *name, const char *text) {
    fw_cfg_model_add(name, text, (uint32_t)strlen(text));
}

static void oem(const char *strings) {
    rig_structure(&rig, RIG_OEM_STRINGS, 5, 255, strings);
}

static void add_smbios(void) {
    rig_structure(&rig, RIG_END, 4, 0, "");
    fw_cfg_model_add("etc/smbios/smbios-tables", rig.bytes, (uint32_t)rig.len);
}

static void test_nothing(void **state) {
    (void)state;
    expect_texts("", "", "", "", "");
    fw_cfg_model.present = false;
    expect_texts("", "", "", "", "");
}

static void test_all(void **state) {
    (void)state;
    strcpy(boot_info.config_file, "stats=1");
    oem("ringlet:stats=2|");
    add_smbios();
    add("opt/ringlet/config", "stats=3");
    add("opt/ringlet/cmdline", "stats=4");
    strcpy(boot_info.cmdline, "stats=5");
    expect_texts("stats=1", "stats=2", "stats=3", "stats=4", "stats=5");
    assert_string_equal(sources[0].name, "ringlet.cfg");
    assert_string_equal(sources[1].name, "SMBIOS");
    assert_string_equal(sources[2].name, "opt/ringlet/config");
    assert_string_equal(sources[3].name, "opt/ringlet/cmdline");
    assert_null(sources[4].name);
}

/* Texts of an earlier call are gone when the next one finds none, or a shorter one. */
static void test_again(void **state) {
    test_all(state);
    set_up(state);
    add("opt/ringlet/config", "a=1");
    expect_texts("", "", "a=1", "", "");
}

static void test_words_of_the_loader(void **state) {
    (void)state;
    oem("ringlet:stats=2|");
    add_smbios();
    strcpy(boot_info.oem_strings, "stats=7");
    expect_texts("", "stats=7", "", "", "");
    assert_int_equal(fw_cfg_model.operations, 1); /* the directory; the table was not even read */
}

static void test_longest_texts(void **state) {
    static char text[LONGEST + 2];
    static const char *const names[] = {"opt/ringlet/config", "opt/ringlet/cmdline"};
    char expected[80];
    memset(text, ' ', LONGEST + 1);
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        set_up(state);
        fw_cfg_model_add(names[i], text, LONGEST);
        assert_int_equal(gather(), ERR_OK);
        assert_int_equal(strlen(sources[2 + i].text), LONGEST);

        snprintf(expected, sizeof(expected), "%s: longer than 4095 bytes", names[i]);
        fw_cfg_model.file[0].size = LONGEST + 1;
        expect_error(expected);
        fw_cfg_model.file[0].size = UINT32_MAX;
        expect_error(expected);
        assert_int_equal(fw_cfg_model.operations, 2 + 1 + 1); /* neither was read */
    }
}

static void test_no_text(void **state) {
    (void)state;
    fw_cfg_model_add("opt/ringlet/config", "a=1\0b=2", 7);
    expect_error("opt/ringlet/config: no text, byte 3 is a zero");
    set_up(state);
    fw_cfg_model_add("opt/ringlet/cmdline", "a=1", 4); /* nor at its end */
    expect_error("opt/ringlet/cmdline: no text, byte 3 is a zero");
    set_up(state);
    fw_cfg_model_add("opt/ringlet/cmdline", "a=1", 3)->size = 5; /* shorter than the directory says */
    expect_error("opt/ringlet/cmdline: no text, byte 3 is a zero");
    set_up(state);
    add("opt/ringlet/config", "");
    expect_texts("", "", "", "", "");
}

static void test_device_trouble(void **state) {
    static const char *const sentences[] = {
        "fw_cfg: the directory of files cannot be read",
        "opt/ringlet/config: cannot be read",
        "opt/ringlet/cmdline: cannot be read",
        "SMBIOS: etc/smbios/smbios-tables: cannot be read",
    };
    for (unsigned i = 0; i < ARRAY_SIZE(sentences); i++) {
        set_up(state);
        add_smbios();
        add("opt/ringlet/cmdline", "a=1");
        add("opt/ringlet/config", "a=1");
        fw_cfg_model.refuse = i + 1;
        expect_error(sentences[i]);
    }
    set_up(state);
    fw_cfg_model.delay_ms = FW_CFG_MODEL_NEVER;
    expect_error("fw_cfg: the directory of files cannot be read");
}

static void test_long_words(void **state) {
    static char strings[LONGEST + 16];
    (void)state;
    memset(strings, 'x', sizeof(strings) - 1);
    memcpy(strings, "ringlet:", 8);
    strings[8 + LONGEST] = '|';
    strings[8 + LONGEST + 1] = '\0';
    oem(strings);
    add_smbios();
    assert_int_equal(gather(), ERR_OK);
    assert_int_equal(strlen(sources[1].text), LONGEST);

    set_up(state);
    oem("ringlet:x|");
    oem(strings);
    add_smbios();
    expect_error("SMBIOS: the strings for Ringlet are longer than 4095 bytes");
}

/* A table that is longer than what is read of it: words in its first 64 KiB count. */
static void test_long_table(void **state) {
    (void)state;
    oem("ringlet:a=1|");
    while (rig.len < 65536) {
        rig_structure(&rig, 17, 40, 0, "a memory module|");
    }
    oem("ringlet:b=2|");
    add_smbios();
    expect_texts("", "a=1", "", "", "");
}

static void test_damaged_table(void **state) {
    (void)state;
    oem("ringlet:a=1|");
    rig.bytes[rig.len + 1] = 3;
    fw_cfg_model_add("etc/smbios/smbios-tables", rig.bytes, (uint32_t)rig.len + 20);
    expect_texts("", "a=1", "", "", "");
}

/* --- SMBIOS in firmware's memory -------------------------------------------------------------- */

static void put_table(uint32_t off) {
    rig_structure(&rig, RIG_END, 4, 0, "");
    memcpy(area + off, rig.bytes, rig.len);
}

static void test_table_in_memory(void **state) {
    (void)state;
    oem("ringlet:a=1|");
    put_table(0x200);
    rig_entry_64(area, AREA + 0x200, (uint32_t)rig.len);
    expect_texts("", "a=1", "", "", "");
    memset(area, 0, 0x18);
    rig_entry_32(area + 0xff00, AREA + 0x200, (uint16_t)rig.len);
    expect_texts("", "a=1", "", "", "");
    fw_cfg_model.present = false;
    expect_texts("", "a=1", "", "", "");
}

/* QEMU's file is what the user asked for; SeaBIOS leaves a copy, which might be changed. */
static void test_file_before_memory(void **state) {
    (void)state;
    oem("ringlet:a=1|");
    put_table(0x200);
    rig_entry_64(area, AREA + 0x200, (uint32_t)rig.len);
    rig.len = 0;
    oem("ringlet:b=2|");
    add_smbios();
    expect_texts("", "b=2", "", "", "");
}

static void test_table_out_of_reach(void **state) {
    static const struct {
        uint64_t addr;
        uint32_t len;
    } tables[] = {
        {0, 100},
        {0x1000, 100},
        {AREA + AREA_LEN - 99, 100},
        {AREA + 0x200, AREA_LEN},
        {UINT64_MAX - 50, 100},
        {AREA + 0x200, UINT32_MAX},
        {UINT64_C(0x7fffffffff00), 100},
    };
    (void)state;
    oem("ringlet:a=1|");
    put_table(0x200);
    for (unsigned i = 0; i < ARRAY_SIZE(tables); i++) {
        rig_entry_64(area, tables[i].addr, tables[i].len);
        expect_texts("", "", "", "", "");
    }
    rig_entry_64(area, AREA + 0x200, 0);
    expect_texts("", "", "", "", "");
}

/* Where firmware's memory is not mapped for ring 3, nothing is looked for. */
static void test_memory_not_mapped(void **state) {
    const struct acpi_window none[ACPI_WINDOW_COUNT] = {{0, 0}};
    (void)state;
    oem("ringlet:a=1|");
    put_table(0x200);
    rig_entry_64(area, AREA + 0x200, (uint32_t)rig.len);
    acpi_init(0, none);
    expect_texts("", "", "", "", "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_nothing, set_up),
        cmocka_unit_test_setup(test_all, set_up),
        cmocka_unit_test_setup(test_again, set_up),
        cmocka_unit_test_setup(test_words_of_the_loader, set_up),
        cmocka_unit_test_setup(test_longest_texts, set_up),
        cmocka_unit_test_setup(test_no_text, set_up),
        cmocka_unit_test_setup(test_device_trouble, set_up),
        cmocka_unit_test_setup(test_long_words, set_up),
        cmocka_unit_test_setup(test_long_table, set_up),
        cmocka_unit_test_setup(test_damaged_table, set_up),
        cmocka_unit_test_setup(test_table_in_memory, set_up),
        cmocka_unit_test_setup(test_file_before_memory, set_up),
        cmocka_unit_test_setup(test_table_out_of_reach, set_up),
        cmocka_unit_test_setup(test_memory_not_mapped, set_up),
    };
    return cmocka_run_group_tests(tests, map_area, unmap_area);
}
