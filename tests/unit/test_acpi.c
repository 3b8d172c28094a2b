/* ACPI tables as firmware writes them, cut short, and hostile: what is found, and that nothing outside of
 * the memory that may be read is touched. */
#include "tests/unit/capture.h"

#include "drivers/acpi.h"

#include <stdio.h>
#include <sys/mman.h>

enum {
    MEMORY = 4096,
    GUARD = 4096,
    RSDP = 64,
    LIST = 128,
    MCFG = 256,
    FADT = 512,
    HEADER = 36,
    FADT_LEN = 268,
    FADT_LEN_ACPI_1 = 116,
    DSDT_POINTER = 40,
    PM1A_EVENT = 56,
    PM1A_CONTROL = 64,
    PM1_EVENT_LEN = 88,
    FLAGS = 112,
    SLEEP_CONTROL = 244,
    FLAG_PWR_BUTTON = 1 << 4,
    FLAG_HW_REDUCED = 1 << 20,
};

/* Below 4 GiB, as the DSDT's address has 32 bits, with a page behind it that cannot be read. */
static uint8_t *memory;

static void put(unsigned at, uint64_t value, unsigned len) {
    memcpy(memory + at, &value, len);
}

static void put_header(unsigned at, const char *signature, uint32_t len) {
    memcpy(memory + at, signature, 4);
    put(at + 4, len, 4);
}

static uint64_t address(unsigned at) {
    return (uintptr_t)memory + at;
}

/* The byte code ends with the readable memory. */
static void put_dsdt(const void *code, unsigned len) {
    const unsigned at = MEMORY - HEADER - len;
    put_header(at, "DSDT", HEADER + len);
    memcpy(memory + at + HEADER, code, len);
    put(FADT + DSDT_POINTER, address(at), 4);
}

/* As on QEMU's pc: ACPI 1.0, fixed hardware. */
static int set_up(void **state) {
    const struct acpi_window windows[ACPI_WINDOW_COUNT] = {{address(0), address(MEMORY)}};
    (void)state;
    memset(memory, 0, MEMORY);
    memcpy(memory + RSDP, "RSD PTR ", 8);
    put(RSDP + 16, address(LIST), 4);
    put_header(LIST, "RSDT", HEADER + 4);
    put(LIST + HEADER, address(FADT), 4);
    put_header(FADT, "FACP", FADT_LEN_ACPI_1);
    put(FADT + PM1A_EVENT, 0x600, 4);
    put(FADT + PM1A_CONTROL, 0x604, 4);
    put(FADT + PM1_EVENT_LEN, 4, 1);
    put(FADT + FLAGS, 0x80a5, 4);
    put_dsdt("\x08_S5_\x12\x06\x04\x05\x00\x00\x00", 12); /* 5 without BytePrefix */
    acpi_init(address(RSDP), windows);
    capture_begin();
    return 0;
}

/* As on microvm: ACPI 2.0 or later with an XSDT, hardware reduced. */
static void reduce_hardware(const void *code, unsigned len) {
    memory[RSDP + 15] = 2;
    put(RSDP + 24, address(LIST), 8);
    put_header(LIST, "XSDT", HEADER + 8);
    put(LIST + HEADER, address(FADT), 8);
    put_header(FADT, "FACP", FADT_LEN);
    put(FADT + PM1A_EVENT, 0, 4);
    put(FADT + PM1A_CONTROL, 0, 4);
    put(FADT + FLAGS, FLAG_HW_REDUCED, 4);
    put(FADT + SLEEP_CONTROL + 4, 0xfea00200, 8);
    put_dsdt(code, len);
}

static void expect_none(const char *why) {
    struct acpi_power_button button;
    assert_false(acpi_power_button(&button));
    if (why == NULL ? capture_len != 0 : strstr(capture_text, why) == NULL) {
        fail_msg("logged: '%s'", capture_text);
    }
    capture_begin();
}

/* --- the fixed button ------------------------------------------------------------------------- */

static void test_fixed(void **state) {
    static const struct {
        uint32_t port;
        uint8_t len;
        uint16_t enable;
    } good[] = {{0x600, 4, 0x602}, {0xb000, 4, 0xb002}, {0x604, 4, 0x606}, {0x600, 8, 0x604}};
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
        struct acpi_power_button button;
        put(FADT + PM1A_EVENT, good[i].port, 4);
        put(FADT + PM1_EVENT_LEN, good[i].len, 1);
        assert_true(acpi_power_button(&button));
        assert_true(button.is_fixed);
        assert_int_equal(button.status_port, good[i].port);
        assert_int_equal(button.enable_port, good[i].enable);
    }
    assert_int_equal(capture_len, 0);
    put(FADT + FLAGS, FLAG_PWR_BUTTON, 4); /* a control method, or none at all */
    expect_none(NULL);
}

/* Registers at ports that are not for ring 3 would end in a fault there. */
static void test_fixed_out_of_reach(void **state) {
    static const uint32_t ports[] = {0, 1, 0x64, 0x5ff, 0x605, 0x607, 0x608, 0xcf8, 0xafff, 0xb005,
                                     0xb008, 0xfffe, 0x10600, 0x1b000, 0xfffffffe, 0xffffffff};
    static const uint8_t lens[] = {0, 1, 2, 3, 14, 16, 255};
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(ports); i++) {
        put(FADT + PM1A_EVENT, ports[i], 4);
        expect_none("out of reach");
    }
    put(FADT + PM1A_EVENT, 0x600, 4);
    for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
        put(FADT + PM1_EVENT_LEN, lens[i], 1);
        expect_none("out of reach");
    }
}

static void test_broken_tables(void **state) {
    (void)state;
    put(FADT + 4, FADT_LEN_ACPI_1 - 1, 4);
    expect_none(NULL);
    put(FADT + 4, MEMORY, 4); /* ends outside */
    expect_none(NULL);
    put(FADT + 4, UINT32_MAX, 4);
    expect_none(NULL);
    put(LIST + HEADER, address(MEMORY - HEADER + 1), 4);
    expect_none(NULL);
    put(LIST + 4, 0, 4);
    expect_none(NULL);
    memory[RSDP] = 'r';
    expect_none(NULL);
    acpi_init(0, (struct acpi_window[ACPI_WINDOW_COUNT]){{0, UINT64_MAX}});
    expect_none(NULL);
}

/* --- the event device ------------------------------------------------------------------------- */

#define REGION "\x5b\x80" "EREG"
#define DWORD REGION "\x00\x0c"
#define QWORD REGION "\x00\x0e"

static void test_event_device(void **state) {
    static const char dword[] = "\x08_HID" DWORD "\x00\x00\xa0\xfe\x0a\x04\x5b\x81\x0b" "EREG";
    static const char qword[] = "EREG" QWORD "\x00\x00\xa0\xfe\x00\x00\x00\x00\x0a\x04";
    struct acpi_power_button button;
    (void)state;
    reduce_hardware(dword, sizeof(dword) - 1);
    assert_true(acpi_power_button(&button));
    assert_false(button.is_fixed);
    assert_int_equal(button.selector, 0xfea00000);
    put_dsdt(qword, sizeof(qword) - 1);
    assert_true(acpi_power_button(&button));
    assert_int_equal(button.selector, 0xfea00000);
    assert_int_equal(capture_len, 0);
}

static void test_event_device_out_of_reach(void **state) {
    static const uint64_t addresses[] = {0, 0x1000, 0xbffffffc, 0xfea00001, 0xfea00002, 0xfffffffd,
                                         0xffffffff, 0x100000000, UINT64_MAX - 3, UINT64_MAX};
    char code[] = QWORD "01234567" "\x0a\x04";
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(addresses); i++) {
        memcpy(code + sizeof(QWORD) - 1, &addresses[i], 8);
        reduce_hardware(code, sizeof(code) - 1);
        expect_none("out of reach");
    }
}

static void test_no_event_device(void **state) {
    static const char port[] = REGION "\x01\x0c\x00\x06\x00\x00\x0a\x04\x00\x00\x00\x00";
    static const char word[] = REGION "\x00\x0b\x00\xfe\x0a\x04\x00\x00\x00\x00\x00\x00";
    static const char name[] = REGION "\x00" "BASE\x0a\x04\x00\x00\x00\x00\x00\x00";
    (void)state;
    reduce_hardware("", 0);
    expect_none(NULL);
    reduce_hardware(port, sizeof(port) - 1);
    expect_none(NULL);
    reduce_hardware(word, sizeof(word) - 1);
    expect_none(NULL);
    reduce_hardware(name, sizeof(name) - 1);
    expect_none(NULL);
    put(FADT + DSDT_POINTER, address(MEMORY), 4);
    expect_none(NULL);
}

/* The memory ends where the byte code was cut off; a look beyond it would be a fault. */
static void test_cut_off(void **state) {
    static const char code[] = "_S5_\x12\x06\x04\x0a\x05\x0a\x05\x00\x00" "_CBA\x00\xa4\x0c...."
                               "\x00\x00\x00\x00" QWORD "\x00\x00\xa0\xfe\x00\x00\x00\x00";
    struct acpi_power_button button;
    struct acpi_power_off how;
    uint64_t base;
    uint32_t buses;
    (void)state;
    for (unsigned len = 0; len < sizeof(code) - 1; len++) {
        reduce_hardware(code, len);
        assert_false(acpi_power_button(&button));
        (void)acpi_power_off(&how);
        (void)acpi_ecam(&base, &buses);
    }
    reduce_hardware(code, sizeof(code) - 1);
    assert_true(acpi_power_button(&button));
    assert_true(acpi_power_off(&how));
    assert_true(acpi_ecam(&base, &buses));
}

/* --- power off and configuration space -------------------------------------------------------- */

static void test_power_off(void **state) {
    static const char s5[] = "_S5_\x12\x07\x04\x0a\x05\x00\x00\x00";
    static const uint32_t bad_ports[] = {0, 0x5ff, 0x607, 0x608, 0xb007, 0x10604};
    struct acpi_power_off how;
    (void)state;
    assert_false(acpi_power_off(&how)); /* neither a byte nor 0 or 1 */
    put_dsdt("_S5_\x12\x06\x04\x01\x00\x00\x00", 11);
    assert_true(acpi_power_off(&how));
    assert_int_equal(how.value, 1 << 10 | 1 << 13);
    put_dsdt(s5, sizeof(s5) - 1);
    for (unsigned port = 0x604; port != 0; port = port == 0x604 ? 0xb004 : 0) {
        put(FADT + PM1A_CONTROL, port, 4);
        assert_true(acpi_power_off(&how));
        assert_true(how.is_io && how.addr == port && how.width == 2);
        assert_int_equal(how.value, 5 << 10 | 1 << 13);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(bad_ports); i++) {
        put(FADT + PM1A_CONTROL, bad_ports[i], 4);
        assert_false(acpi_power_off(&how));
    }
}

static void test_power_off_reduced(void **state) {
    static const char s5[] = "_S5_\x12\x07\x04\x0a\x05\x00\x00\x00";
    static const uint64_t bad[] = {0, 0xbfffffff, 0x100000000, UINT64_MAX};
    struct acpi_power_off how;
    (void)state;
    reduce_hardware(s5, sizeof(s5) - 1);
    assert_true(acpi_power_off(&how));
    assert_true(!how.is_io && how.addr == 0xfea00200 && how.width == 1);
    assert_int_equal(how.value, 5 << 2 | 1 << 5);
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        put(FADT + SLEEP_CONTROL + 4, bad[i], 8);
        assert_false(acpi_power_off(&how));
    }
    memory[FADT + SLEEP_CONTROL] = 1; /* in I/O space */
    put(FADT + SLEEP_CONTROL + 4, 0x604, 8);
    assert_true(acpi_power_off(&how));
    assert_true(how.is_io && how.addr == 0x604 && how.width == 1);
    put(FADT + 4, SLEEP_CONTROL + 11, 4);
    assert_false(acpi_power_off(&how));
}

static void test_ecam(void **state) {
    static const char dword[] = "_CBA\x00\xa4\x0c\x00\x00\x00\xe0....";
    static const char qword[] = "_CBA\x00\xa4\x0e\x00\x00\x00\x00\x40\x00\x00\x00";
    static const char word[] = "_CBA\x00\xa4\x0b\x00\xe0......";
    uint64_t base = 0;
    uint32_t buses = 0;
    (void)state;
    reduce_hardware(dword, sizeof(dword) - 1);
    assert_true(acpi_ecam(&base, &buses));
    assert_true(base == 0xe0000000 && buses == 256);
    put_dsdt(qword, sizeof(qword) - 1);
    assert_true(acpi_ecam(&base, &buses));
    assert_true(base == 0x4000000000);
    put_dsdt(word, sizeof(word) - 1);
    assert_false(acpi_ecam(&base, &buses));

    put_header(MCFG, "MCFG", 44 + 16);
    put(MCFG + 44, 0xb0000000, 8);
    memory[MCFG + 44 + 11] = 255;
    put(LIST + HEADER, address(MCFG), 8);
    assert_true(acpi_ecam(&base, &buses));
    assert_true(base == 0xb0000000 && buses == 256);
    put(MCFG + 4, 44 + 15, 4);
    assert_false(acpi_ecam(&base, &buses));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_fixed, set_up),
        cmocka_unit_test_setup(test_fixed_out_of_reach, set_up),
        cmocka_unit_test_setup(test_broken_tables, set_up),
        cmocka_unit_test_setup(test_event_device, set_up),
        cmocka_unit_test_setup(test_event_device_out_of_reach, set_up),
        cmocka_unit_test_setup(test_no_event_device, set_up),
        cmocka_unit_test_setup(test_cut_off, set_up),
        cmocka_unit_test_setup(test_power_off, set_up),
        cmocka_unit_test_setup(test_power_off_reduced, set_up),
        cmocka_unit_test_setup(test_ecam, set_up),
    };
    memory = mmap(NULL, MEMORY + GUARD, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory + MEMORY, GUARD, PROT_NONE) != 0) {
        perror("mmap");
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
