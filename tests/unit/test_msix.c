/* MSI-X: the capability and the table, on functions that tell the truth and on others. */
#include "tests/unit/pci_rig.h"

#include "drivers/lapic.h"
#include "drivers/msix.h"
#include "lib/wait.h"
#include "tests/model/apic.h"
#include "tests/model/pci_msix.h"

enum {
    TABLE_BAR = 1,
    CONTROL_HIGH = 3,
    ENABLE = 0x80,
    MASK_ALL = 0x40,
    VECTOR = WAIT_VECTOR_DEVICE_FIRST,
    APIC_ID = 5,
};

static struct pci_msix table;
static struct msix msix;

static int set_up_msix(void **state) {
    set_up(state);
    apic_init();
    apic.id = APIC_ID;
    lapic_init();
    add_host();
    return 0;
}

static struct pci_fn *add_function(uint16_t count, uint32_t off, uint64_t bar_size) {
    struct pci_fn *f = add_net(NULL, 2);
    pci_bus_set_bar(f, TABLE_BAR, 0, bar_size, 0);
    pci_msix_add(f, &table, TABLE_BAR, off, count);
    return f;
}

/* Finds the function as the kernel does, and its table. */
static int find_table(struct pci_fn *f) {
    assert_int_equal(init(), ERR_OK);
    const struct pci_dev *d = find(f);
    pci_write16(d, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    capture_begin();
    return msix_init(&msix, d);
}

static void expect_message(const struct pci_fn *f, uint16_t entry, uint8_t vector) {
    uint64_t addr;
    uint32_t data;
    assert_true(pci_msix_fire(f, entry, &addr, &data));
    assert_int_equal(addr, 0xfee00000 | APIC_ID << 12);
    assert_int_equal(data, vector);
}

static bool silent(const struct pci_fn *f, uint16_t entry) {
    uint64_t addr;
    uint32_t data;
    return !pci_msix_fire(f, entry, &addr, &data);
}

static void expect_no_violation(void) {
    if (pci_bus.violation != NULL) {
        fail_msg("%s", pci_bus.violation);
    }
}

/* Every size that a table can have, up to the very end of its BAR; entries not set are not
 * touched. */
static void test_sizes(void **state) {
    static const uint16_t counts[] = {1, 2, 3, 255, 256, 2048};
    for (unsigned i = 0; i < ARRAY_SIZE(counts); i++) {
        const uint16_t count = counts[i], last = (uint16_t)(count - 1);
        set_up_msix(state);
        struct pci_fn *f = add_function(count, 0x10000 - count * 16u, 0x10000);
        assert_int_equal(find_table(f), ERR_OK);
        assert_int_equal(msix.count, count);
        msix_set(&msix, 0, VECTOR);
        msix_set(&msix, last, VECTOR + 1);
        assert_true(silent(f, 0));
        msix_enable(&msix);
        expect_message(f, last, VECTOR + 1);
        if (last != 0) {
            expect_message(f, 0, VECTOR);
            assert_int_equal(table.writes, 8);
        }
        for (uint16_t entry = 1; entry < last; entry++) {
            assert_int_equal(table.entry[entry][0], 0xa5a5a5a5);
            assert_true(silent(f, entry));
        }
        expect_no_violation();
    }
}

/* On and off again, and a new vector while it is on: masked meanwhile, as the model demands. */
static void test_enable(void **state) {
    (void)state;
    struct pci_fn *f = add_function(4, 0x800, 0x1000);
    assert_int_equal(find_table(f), ERR_OK);
    msix_enable(&msix);
    msix_set(&msix, 2, VECTOR);
    expect_message(f, 2, VECTOR);
    msix_set(&msix, 2, WAIT_VECTOR_LAST);
    expect_message(f, 2, WAIT_VECTOR_LAST);
    msix_disable(&msix);
    assert_true(silent(f, 2));
    const unsigned writes = table.writes;
    msix_set(&msix, 2, VECTOR);
    assert_int_equal(table.writes, writes + 4); /* nothing to mask */
    msix_enable(&msix);
    expect_message(f, 2, VECTOR);
    expect_no_violation();
}

/* Firmware may have used it: off, and no mask over all entries. */
static void test_used_by_firmware(void **state) {
    static const uint8_t left[] = {ENABLE, MASK_ALL, ENABLE | MASK_ALL};
    for (unsigned i = 0; i < ARRAY_SIZE(left); i++) {
        set_up_msix(state);
        struct pci_fn *f = add_function(4, 0, 0x1000);
        memset(table.entry, 0, sizeof(table.entry)); /* all unmasked */
        f->cfg[table.cap + CONTROL_HIGH] |= left[i];
        assert_int_equal(find_table(f), ERR_OK);
        assert_int_equal(f->cfg[table.cap + CONTROL_HIGH], 0);
        msix_set(&msix, 1, VECTOR);
        msix_enable(&msix);
        expect_message(f, 1, VECTOR);
        expect_no_violation();
    }
}

static void test_behind_bridge(void **state) {
    (void)state;
    struct pci_fn *bridge = pci_bus_add_bridge(NULL, 3);
    struct pci_fn *f = add_net(bridge, 0);
    pci_bus_set_bar(f, 4, BAR_64 | BAR_PREFETCH, 0x4000, 0);
    pci_msix_add(f, &table, 4, 0x2000, 64);
    assert_int_equal(find_table(f), ERR_OK);
    msix_set(&msix, 63, VECTOR);
    msix_enable(&msix);
    expect_message(f, 63, VECTOR);
    expect_no_violation();
}

/* --- none, or none that can be used ----------------------------------------------------------- */

static void test_no_capability(void **state) {
    (void)state;
    assert_int_equal(find_table(add_net(NULL, 2)), ERR_ABSENT);
    expect_no_error();
    expect_no_violation();
}

/* What the function says of its table, with BARs 1 (4 KiB of memory), 2 (I/O) and 4 with 5 (64
 * bits). */
static void test_lies(void **state) {
    static const struct {
        uint16_t count;
        uint32_t where;
    } lies[] = {
        {4, 6},              /* reserved BARs */
        {4, 7},
        {4, 0},              /* a BAR that does not exist */
        {4, 2},              /* in ports */
        {4, 5},              /* the upper half of a BAR */
        {1, 0x1000 | 1},     /* behind the end */
        {1, 0xfffffff8 | 1}, /* far behind it */
        {2, 0xff0 | 1},      /* over the end, by one entry */
        {257, 0 | 1},
        {2048, 0 | 1},
        {1, 0xff8 | 1},      /* over the end, by half an entry */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
        set_up_msix(state);
        struct pci_fn *f = add_function(lies[i].count, 0, 0x1000);
        pci_bus_set_bar(f, 2, BAR_IO, 0x80, 0);
        pci_bus_set_bar(f, 4, BAR_64 | BAR_PREFETCH, 0x4000, 0);
        for (unsigned byte = 0; byte < 4; byte++) {
            f->cfg[table.cap + 4 + byte] = (uint8_t)(lies[i].where >> 8 * byte);
        }
        f->cfg[table.cap + CONTROL_HIGH] |= ENABLE;
        assert_int_equal(find_table(f), ERR_ABSENT);
        expect_logged("not in memory of the function");
        assert_int_equal(table.writes, 0);
        expect_no_violation();
    }
}

/* The last four bytes of configuration space hold the start of a capability, not all of it. */
static void test_cut_off(void **state) {
    (void)state;
    struct pci_fn *f = add_net(NULL, 2);
    f->cfg[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
    for (unsigned at = 0xf8; at <= 0xfc; at += 4) {
        f->cfg[PCI_CAP_POINTER] = (uint8_t)at;
        f->cfg[at] = PCI_CAP_ID_MSIX;
        assert_int_equal(find_table(f), ERR_ABSENT);
        expect_logged("not in memory of the function");
        expect_no_violation();
    }
}

int main(void) {
#define MSIX_CASE(name) cmocka_unit_test_setup(name, set_up_msix)
    const struct CMUnitTest tests[] = {
        MSIX_CASE(test_sizes),         MSIX_CASE(test_enable), MSIX_CASE(test_used_by_firmware),
        MSIX_CASE(test_behind_bridge), MSIX_CASE(test_lies),   MSIX_CASE(test_no_capability),
        MSIX_CASE(test_cut_off),
    };
    return cmocka_run_group_tests_name("msix", tests, NULL, NULL);
}
