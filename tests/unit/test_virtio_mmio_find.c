/* Where devices without PCI are: words of the command line, and the ACPI tables. */
#include "tests/unit/unit.h"

#include "drivers/acpi.h"
#include "drivers/acpi_mmio.h"
#include "drivers/virtio_mmio_find.h"
#include "lib/err.h"
#include "tests/unit/capture.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    HEADER = 36,
    FADT_LEN = 148,
    FADT_DSDT = 40,
    FADT_X_DSDT = 140,
    DSDT_MAX = 4096,
    EDGE = 2,
    LOW = 4,
};

#define START UINT64_C(0xc0000000)
#define END UINT64_C(0x100000000)

static int find(const char *words) {
    capture_begin();
    return virtio_mmio_find(words, START, END);
}

static void expect_slot(unsigned i, uint64_t base, uint32_t size, uint32_t gsi) {
    assert_true(i < virtio_mmio_slot_count);
    assert_int_equal(virtio_mmio_slots[i].base, base);
    assert_int_equal(virtio_mmio_slots[i].size, size);
    assert_int_equal(virtio_mmio_slots[i].line.gsi, gsi);
}

static int no_acpi(void **state) {
    const struct acpi_window none = {0, 0};
    (void)state;
    acpi_init(0, &none, 1);
    return 0;
}

/* --- the command line ------------------------------------------------------------------------- */

static void test_words(void **state) {
    static const struct {
        const char *word;
        uint64_t base;
        uint32_t size, gsi;
    } good[] = {
        {"512@0xfeb00e00:12", 0xfeb00e00, 512, 12}, /* QEMU */
        {"4K@0xd0000000:5", 0xd0000000, 4096, 5},   /* Firecracker */
        {"4k@0xD0000000:5", 0xd0000000, 4096, 5},
        {"1M@0xffF00000:0:3", 0xfff00000, 1 << 20, 0},
        {"0x200@3489660928:255:0", 0xd0000000, 512, 255},
        {"256@0xffffff00:7", 0xffffff00, 256, 7},
        {"256@0xc0000000:7", 0xc0000000, 256, 7},
    };
    (void)state;
    assert_int_equal(find(""), ERR_OK);
    assert_int_equal(virtio_mmio_slot_count, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
        assert_int_equal(find(good[i].word), ERR_OK);
        expect_no_error();
        assert_int_equal(virtio_mmio_slot_count, 1);
        expect_slot(0, good[i].base, good[i].size, good[i].gsi);
        assert_false(virtio_mmio_slots[0].line.edge || virtio_mmio_slots[0].line.active_low);
    }
}

static void test_bad_words(void **state) {
    static const struct {
        const char *word, *reason;
    } bad[] = {
        {"4K", "must be SIZE@BASE:IRQ"},
        {"4K@0xd0000000", "must be SIZE@BASE:IRQ"},
        {"4K@0xd0000000:", "must be SIZE@BASE:IRQ"},
        {"@0xd0000000:5", "must be SIZE@BASE:IRQ"},
        {"4K@:5", "must be SIZE@BASE:IRQ"},
        {"4K@0x:5", "must be SIZE@BASE:IRQ"},
        {"4G@0xd0000000:5", "must be SIZE@BASE:IRQ"},
        {"4K@d0000000:5", "must be SIZE@BASE:IRQ"},
        {"4K@0xd0000000:0x5g", "must be SIZE@BASE:IRQ"},
        {"4K@0xd0000000:256", "must be SIZE@BASE:IRQ"},
        {"4K@0xd0000000:-1", "must be SIZE@BASE:IRQ"},
        {"4K@0xd0000000:5:", "must be SIZE@BASE:IRQ"},
        {"4K@0xd0000000:5:x", "must be SIZE@BASE:IRQ"},
        {"4K@0xd0000000:5:1:1", "must be SIZE@BASE:IRQ"},
        {"4K@0xd0000000:5 ", "must be SIZE@BASE:IRQ"},
        {"-4K@0xd0000000:5", "must be SIZE@BASE:IRQ"},
        {"4K@0x1ffffffffffffffffffff:5", "must be SIZE@BASE:IRQ"},
        {"99999999999@0xd0000000:5", "must be SIZE@BASE:IRQ"},
        {"4K@0xd0000000:5,", "must be SIZE@BASE:IRQ"},
        {",4K@0xd0000000:5", "must be SIZE@BASE:IRQ"},
        {"0@0xd0000000:5", "the registers of a device take 256 bytes"},
        {"255@0xd0000000:5", "the registers of a device take 256 bytes"},
        {"512@0xd0000002:5", "the address is not a multiple of 4"},
        {"4K@0:5", "the address is not among those of device registers"},
        {"4K@0x100000:5", "the address is not among those of device registers"},
        {"4K@0xbffffffc:5", "the address is not among those of device registers"},
        {"4K@0xfffff004:5", "the address is not among those of device registers"},
        {"4K@0x100000000:5", "the address is not among those of device registers"},
        {"4095M@0xd0000000:5", "the address is not among those of device registers"},
        {"4194304K@0xd0000000:5", "the address is not among those of device registers"},
        {"4K@0xd0000000:5,4K@0xd0000000:6", "the address is used by another device"},
        {"4K@0xd0000000:5,512@0xd0000e00:6", "the address is used by another device"},
        {"4K@0xd0000000:5,8K@0xcffff000:6", "the address is used by another device"},
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        if (find(bad[i].word) != ERR_CONFIG) {
            fail_msg("taken: %s", bad[i].word);
        }
        expect_logged("config: virtio_mmio.device=");
        expect_logged(bad[i].reason);
    }
}

static void test_order_and_number(void **state) {
    char words[64 * 24] = "";
    (void)state;
    assert_int_equal(find("512@0xfeb00e00:12,4K@0xd0001000:6,4K@0xd0000000:5"), ERR_OK);
    assert_int_equal(virtio_mmio_slot_count, 3);
    expect_slot(0, 0xd0000000, 4096, 5);
    expect_slot(1, 0xd0001000, 4096, 6);
    expect_slot(2, 0xfeb00e00, 512, 12);
    for (unsigned i = 0; i <= VIRTIO_MMIO_SLOT_MAX; i++) {
        const size_t used = strlen(words);
        assert_int_equal(find(words), ERR_OK);
        assert_int_equal(virtio_mmio_slot_count, i);
        snprintf(words + used, sizeof(words) - used, "%s512@0x%x:5", i == 0 ? "" : ",",
                 0xd0000000u + 512 * ((i * 37) % 64 + i / 64 * 64));
    }
    assert_int_equal(find(words), ERR_CONFIG);
    expect_logged("there are too many devices");
}

/* --- the tables of ACPI ----------------------------------------------------------------------- */

/* RSDP, XSDT, FADT and DSDT, which end where the window ends. */
static struct {
    uint8_t *bytes; /* exactly as many as there are: the sanitizer sees a read outside */
    size_t len, dsdt;
} tables;

static uint8_t dsdt[DSDT_MAX];
static size_t dsdt_len;

static void put(const void *bytes, size_t len) {
    assert_true(dsdt_len + len <= sizeof(dsdt));
    memcpy(dsdt + dsdt_len, bytes, len);
    dsdt_len += len;
}

static void put_byte(uint8_t byte) {
    put(&byte, 1);
}

/* A device as QEMU writes it: name and id, then two names in between, then the resources. */
static void put_device(const char *id, const uint8_t *resources, uint8_t len) {
    put("VR00\x08_HID\x0d", 10);
    put(id, strlen(id) + 1);
    put("\x08_UID\x01\x08_CCA\x01\x08_CRS", 17);
    put_byte(0x11);
    put_byte((uint8_t)(len + 3));
    put_byte(0x0a);
    put_byte(len);
    put(resources, len);
}

enum { RESOURCES = 12 + 9 + 2 };

static const uint8_t *resources(uint32_t base, uint32_t size, uint32_t gsi, uint8_t flags) {
    static uint8_t bytes[RESOURCES];
    memcpy(bytes, "\x86\x09\x00\x01", 4);
    memcpy(bytes + 4, &base, 4);
    memcpy(bytes + 8, &size, 4);
    memcpy(bytes + 12, "\x89\x06\x00", 3);
    bytes[15] = flags;
    bytes[16] = 1;
    memcpy(bytes + 17, &gsi, 4);
    memcpy(bytes + 21, "\x79", 2);
    return bytes;
}

static void begin_dsdt(void) {
    dsdt_len = 0;
    put((const uint8_t[HEADER]){'D', 'S', 'D', 'T'}, HEADER);
}

/* Builds the tables around what dsdt holds. */
static void publish(void) {
    enum { RSDP_LEN = 36, XSDT_LEN = HEADER + 8 };
    const uint32_t xsdt_len = XSDT_LEN, fadt_len = FADT_LEN, len = (uint32_t)dsdt_len;
    free(tables.bytes);
    tables.dsdt = RSDP_LEN + XSDT_LEN + FADT_LEN;
    tables.len = tables.dsdt + dsdt_len;
    tables.bytes = calloc(1, tables.len);
    assert_non_null(tables.bytes);
    uint8_t *const xsdt = tables.bytes + RSDP_LEN, *const fadt = xsdt + XSDT_LEN;
    const uint64_t at[] = {(uintptr_t)xsdt, (uintptr_t)fadt, (uintptr_t)fadt + FADT_LEN};
    memcpy(tables.bytes, "RSD PTR ", 8);
    tables.bytes[15] = 2;
    memcpy(tables.bytes + 24, &at[0], 8);
    memcpy(xsdt, "XSDT", 4);
    memcpy(xsdt + 4, &xsdt_len, 4);
    memcpy(xsdt + HEADER, &at[1], 8);
    memcpy(fadt, "FACP", 4);
    memcpy(fadt + 4, &fadt_len, 4);
    memcpy(fadt + FADT_X_DSDT, &at[2], 8);
    memcpy(dsdt + 4, &len, 4);
    memcpy(tables.bytes + tables.dsdt, dsdt, dsdt_len);
    const struct acpi_window all = {(uintptr_t)tables.bytes, (uintptr_t)tables.bytes + tables.len};
    acpi_init((uintptr_t)tables.bytes, &all, 1);
}

static int free_tables(void **state) {
    free(tables.bytes);
    tables.bytes = NULL;
    return no_acpi(state);
}

static void test_tables(void **state) {
    static const uint8_t flags[] = {0x01, 0x01 | EDGE, 0x01 | LOW, 0x09 | EDGE | LOW};
    (void)state;
    begin_dsdt();
    for (unsigned i = 0; i < 4; i++) {
        put_device("PNP0501", (const uint8_t *)"\x47\x01\xf8\x03\xf8\x03\x00\x08\x79", 10);
        put_device("LNRO0005", resources(0xfeb02e00 - 512 * i, 512, 47 - i, flags[i]), RESOURCES);
    }
    publish();
    assert_int_equal(find(""), ERR_OK);
    expect_no_error();
    assert_int_equal(virtio_mmio_slot_count, 4);
    for (unsigned i = 0; i < 4; i++) {
        expect_slot(3 - i, 0xfeb02e00 - 512 * i, 512, 47 - i);
        assert_int_equal(virtio_mmio_slots[3 - i].line.edge, i & 1);
        assert_int_equal(virtio_mmio_slots[3 - i].line.active_low, i >= 2);
    }
}

/* A device of both sources is used once; how its line signals, only the tables say. */
static void test_both_sources(void **state) {
    (void)state;
    begin_dsdt();
    put_device("LNRO0005", resources(0xd0000000, 4096, 5, EDGE), RESOURCES);
    put_device("LNRO0005", resources(0xd0001000, 4096, 6, EDGE), RESOURCES);
    put_device("LNRO0005", resources(0xd0002000, 4096, 7, EDGE), RESOURCES);
    publish();
    assert_int_equal(find("4K@0xd0001000:9,4K@0xd0000000:5"), ERR_OK);
    expect_no_error();
    assert_int_equal(virtio_mmio_slot_count, 3);
    expect_slot(0, 0xd0000000, 4096, 5);
    expect_slot(1, 0xd0001000, 4096, 9); /* what was said to us counts more */
    expect_slot(2, 0xd0002000, 4096, 7);
    assert_true(virtio_mmio_slots[0].line.edge);
    assert_false(virtio_mmio_slots[1].line.edge);
    assert_true(virtio_mmio_slots[2].line.edge);
}

/* Devices that cannot be used are told of and passed over; the next one is found. */
static void test_bad_tables(void **state) {
    static const struct {
        uint32_t base, size;
        const char *reason;
    } bad[] = {
        {0x1000, 512, "0x1000: the address is not among those of device registers"},
        {0xfffff000, 0x2000, "the address is not among those of device registers"},
        {0xd0000001, 512, "the address is not a multiple of 4"},
        {0xd0000000, 0, "the registers of a device take 256 bytes"},
        {0xe0000100, 512, "the address is used by another device"},
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        begin_dsdt();
        put_device("LNRO0005", resources(0xe0000000, 512, 5, 1), RESOURCES);
        put_device("LNRO0005", resources(bad[i].base, bad[i].size, 6, 1), RESOURCES);
        put_device("LNRO0005", resources(0xf0000000, 512, 7, 1), RESOURCES);
        publish();
        assert_int_equal(find(""), ERR_OK);
        expect_logged(bad[i].reason);
        assert_int_equal(virtio_mmio_slot_count, 2);
        expect_slot(0, 0xe0000000, 512, 5);
        expect_slot(1, 0xf0000000, 512, 7);
    }
}

/* Resources in another form, or missing: those of the next device are not taken for them. */
static void test_other_forms(void **state) {
    static const struct {
        const char *bytes;
        uint8_t len;
    } forms[] = {
        {"\x79", 2},                                                        /* none */
        {"\x86\x09\x00\x01\x00\x00\x00\xd0\x00\x02\x00\x00\x79", 14},       /* no interrupt */
        {"\x89\x06\x00\x01\x01\x05\x00\x00\x00\x79", 11},                   /* no memory */
        {"\x86\x09", 2},                                                    /* cut off */
        {"\x86\xff\xff\x01\x00\x00\x00\xd0\x00\x02\x00\x00", 12},           /* longer than the buffer */
        {"\x86\x08\x00\x01\x00\x00\x00\xd0\x00\x02\x00\x79", 13},           /* too short */
        {"\x86\x09\x00\x01\x00\x00\x00\xd0\x00\x02\x00\x00\x89\x02\x00\x01\x00\x79", 19}, /* no number */
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(forms); i++) {
        begin_dsdt();
        put_device("LNRO0005", (const uint8_t *)forms[i].bytes, forms[i].len);
        put_device("LNRO0005", resources(0xf0000000, 512, 7, 1), RESOURCES);
        publish();
        assert_int_equal(find(""), ERR_OK);
        expect_logged("acpi: the resources of a virtio device");
        assert_int_equal(virtio_mmio_slot_count, 1);
        expect_slot(0, 0xf0000000, 512, 7);
    }
}

/* Tables that end anywhere, and tables of random bytes in which a device was: nothing is read outside (the
 * sanitizer sees to that), and it ends. */
static void test_garbage(void **state) {
    struct unit_random rnd = {.state = 7};
    unsigned found = 0;
    (void)state;
    for (unsigned round = 0; round < 4000; round++) {
        begin_dsdt();
        put_device("LNRO0005", resources(0xe0000000, 512, 5, 1), RESOURCES);
        put_device("LNRO0005", resources(0xf0000000, 512, 7, 1), RESOURCES);
        const size_t all = dsdt_len;
        for (unsigned n = unit_below(&rnd, 5); n > 0; n--) {
            dsdt[HEADER + unit_below(&rnd, (uint32_t)all - HEADER)] = (uint8_t)unit_random(&rnd);
        }
        dsdt_len = round % 2 ? all : HEADER + unit_below(&rnd, (uint32_t)all - HEADER);
        publish();
        assert_int_equal(find(""), ERR_OK);
        assert_true(virtio_mmio_slot_count <= 2);
        found += virtio_mmio_slot_count == 2;
    }
    assert_true(found > 100 && found < 3900);
}

/* No table at all, or one in unreadable memory. */
static void test_no_tables(void **state) {
    begin_dsdt();
    put_device("LNRO0005", resources(0xe0000000, 512, 5, 1), RESOURCES);
    publish();
    memset(tables.bytes + tables.dsdt - FADT_LEN + FADT_X_DSDT, 0x11, 8);
    assert_int_equal(find(""), ERR_OK);
    assert_int_equal(virtio_mmio_slot_count, 0);
    no_acpi(state);
    assert_int_equal(find(""), ERR_OK);
    assert_int_equal(virtio_mmio_slot_count, 0);
    expect_no_error();
}

int main(void) {
#define FIND_CASE(name) cmocka_unit_test_setup_teardown(name, no_acpi, free_tables)
    const struct CMUnitTest tests[] = {
        FIND_CASE(test_words),       FIND_CASE(test_bad_words),    FIND_CASE(test_order_and_number),
        FIND_CASE(test_tables),      FIND_CASE(test_both_sources), FIND_CASE(test_bad_tables),
        FIND_CASE(test_other_forms), FIND_CASE(test_garbage),      FIND_CASE(test_no_tables),
    };
    return cmocka_run_group_tests_name("devices without PCI", tests, NULL, NULL);
}
