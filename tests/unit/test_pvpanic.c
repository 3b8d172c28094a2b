/* pvpanic behind PCI: found, given an address, told of a panic. The one on the ISA bus: test_power.c. */
#include "tests/unit/pci_rig.h"

#include "drivers/pvpanic.h"

static uint8_t known; /* events that the device knows */
static unsigned reads, told;

/* Nothing is at the port of the ISA device, where it may be looked for. */
static bool no_isa(uintptr_t addr, unsigned width, bool write, uint32_t *value) {
    if (addr != PVPANIC_PORT) {
        return false;
    }
    assert_true(width == 1 && !write);
    *value = UINT8_MAX;
    return true;
}

static uint32_t device_read(void *context, unsigned bar, uint64_t off, unsigned width) {
    (void)context;
    assert_true(bar == 0 && off == 0 && width == 1);
    reads++;
    return known;
}

static void device_write(void *context, unsigned bar, uint64_t off, unsigned width,
                         uint32_t value) {
    (void)context;
    assert_true(bar == 0 && off == 0 && width == 1);
    assert_int_equal(value, PVPANIC_PANICKED);
    told++;
}

static struct pci_fn *add_pvpanic(struct pci_fn *parent, uint16_t device) {
    struct pci_fn *f = pci_bus_add(parent, 3, 0, PVPANIC_PCI_VENDOR, device, 0x0880, 0);
    f->read = device_read;
    f->write = device_write;
    return f;
}

static int set_up_device(void **state) {
    set_up(state);
    add_host();
    pci_bus.platform = no_isa;
    known = 3;
    reads = told = 0;
    return 0;
}

static void panic_after_init(void) {
    assert_int_equal(init(), ERR_OK);
    pvpanic_init();
    pvpanic_tell();
    assert_null(pci_bus.violation);
}

/* Unassigned as with qboot, assigned as with SeaBIOS. */
static void test_told(void **state) {
    for (uint64_t addr = 0; addr <= 0xd0000000; addr += 0xd0000000) {
        set_up_device(state);
        struct pci_fn *f = add_pvpanic(NULL, PVPANIC_PCI_DEVICE);
        pci_bus_set_bar(f, 0, 0, 16, addr);
        panic_after_init();
        assert_int_equal(told, 1);
        assert_true(addr == 0 || pci_bus_bar(f, 0) == addr);
    }
}

static void test_behind_bridge(void **state) {
    (void)state;
    struct pci_fn *f = add_pvpanic(pci_bus_add_bridge(NULL, 2), PVPANIC_PCI_DEVICE);
    pci_bus_set_bar(f, 0, 0, 16, 0);
    panic_after_init();
    assert_int_equal(told, 1);
}

/* It does not know the event, or does not answer. */
static void test_unable(void **state) {
    static const uint8_t values[] = {0, 2, 0xfe, 0xff};
    (void)state;
    pci_bus_set_bar(add_pvpanic(NULL, PVPANIC_PCI_DEVICE), 0, 0, 16, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(values); i++) {
        known = values[i];
        panic_after_init();
        assert_int_equal(reads, i + 1);
        assert_int_equal(told, 0);
    }
}

/* Without its register, or another device of the same maker. */
static void test_none(void **state) {
    (void)state;
    panic_after_init();
    add_pvpanic(NULL, PVPANIC_PCI_DEVICE);
    panic_after_init();
    set_up_device(state);
    pci_bus_set_bar(add_pvpanic(NULL, PVPANIC_PCI_DEVICE), 0, BAR_IO, 16, 0);
    panic_after_init();
    set_up_device(state);
    struct pci_fn *other = add_pvpanic(NULL, 0x0008);
    pci_bus_set_bar(other, 0, 0, 16, 0);
    panic_after_init();
    assert_int_equal(pci_bus_bar(other, 0), 0); /* nor was it given an address */
    assert_int_equal(reads + told, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_told),
        cmocka_unit_test_setup(test_behind_bridge, set_up_device),
        cmocka_unit_test_setup(test_unable, set_up_device),
        cmocka_unit_test_setup(test_none, set_up_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
