/* Configuration space, enumeration and capabilities, on a machine that answers as hardware does. */
#include "tests/unit/pci_rig.h"

static void test_no_host(void **state) {
    (void)state;
    windows.ecam = 0;
    pci_bus.ports = false;
    assert_int_equal(init(), ERR_ABSENT);
    expect_no_error(); /* the caller knows whether it needs one */
    assert_int_equal(pci_dev_count, 0);
}

/* Both ways to configuration space give the same, in every width and at every offset. */
static void test_config_access(void **state) {
    (void)state;
    add_host();
    struct pci_fn *f = add_net(NULL, 31);
    for (unsigned i = 0x40; i < 256; i++) {
        f->cfg[i] = (uint8_t)(i * 7 + 1);
    }
    for (unsigned ecam = 0; ecam < 2; ecam++) {
        windows.ecam = ecam ? pci_bus.ecam : 0;
        assert_int_equal(init(), ERR_OK);
        const struct pci_dev *d = find(f);
        for (unsigned off = 0; off < 256; off++) {
            assert_int_equal(pci_read8(d, off), f->cfg[off]);
            if (off % 2 == 0) {
                assert_int_equal(pci_read16(d, off), pci_bus_get16(f, off));
            }
            if (off % 4 == 0) {
                const uint32_t low = pci_bus_get16(f, off);
                const uint32_t high = pci_bus_get16(f, off + 2);
                assert_int_equal(pci_read32(d, off), low | high << 16);
            }
        }
        memset(f->writable + 0x28, 0xff, 4); /* scratch */
        pci_write32(d, 0x28, 0x11223344);
        assert_int_equal(pci_read32(d, 0x28), 0x11223344);
        pci_write16(d, 0x28, 0xaabb);
        pci_write16(d, 0x2a, 0xccdd);
        assert_int_equal(pci_read32(d, 0x28), 0xccddaabb);
        assert_null(pci_bus.violation);
    }
}

/* Buses beyond those that ECAM covers are reached through the ports. */
static void test_ecam_of_few_buses(void **state) {
    (void)state;
    add_host();
    struct pci_fn *bridge = pci_bus_add_bridge(NULL, 2);
    struct pci_fn *f = add_net(bridge, 0);
    windows.ecam_buses = pci_bus.ecam_buses = 1;
    assert_int_equal(init(), ERR_OK);
    assert_int_equal(find(f)->vendor, 0x1af4);
}

static void test_functions(void **state) {
    (void)state;
    add_host();
    /* Several functions with a gap, one function with something behind it, and none at 0. */
    pci_bus_add(NULL, 3, 0, 0x1af4, 0x1000, NET, 0x80);
    pci_bus_add(NULL, 3, 1, 0x1af4, 0x1041, NET, 0);
    pci_bus_add(NULL, 3, 7, 0x8086, 0x100e, NET, 0);
    pci_bus_add(NULL, 4, 0, 0x1234, 0x1111, DISK, 0);
    pci_bus_add(NULL, 4, 1, 0x1af4, 0x1041, NET, 0);
    pci_bus_add(NULL, 5, 2, 0x1af4, 0x1041, NET, 0);
    for (unsigned ecam = 0; ecam < 2; ecam++) {
        static const uint8_t expected[][2] = {{0, 0}, {3, 0}, {3, 1}, {3, 7}, {4, 0}};
        windows.ecam = ecam ? pci_bus.ecam : 0;
        assert_int_equal(init(), ERR_OK);
        assert_int_equal(pci_dev_count, ARRAY_SIZE(expected));
        for (unsigned i = 0; i < ARRAY_SIZE(expected); i++) {
            assert_int_equal(pci_devs[i].bus, 0);
            assert_int_equal(pci_devs[i].dev, expected[i][0]);
            assert_int_equal(pci_devs[i].fn, expected[i][1]);
            assert_int_equal(pci_devs[i].header_type, 0);
        }
        assert_int_equal(pci_devs[3].vendor, 0x8086);
        assert_int_equal(pci_devs[3].device, 0x100e);
        assert_int_equal(pci_devs[3].class, NET);
        assert_int_equal(pci_devs[4].class, DISK);
    }
}

static void test_machine_names(void **state) {
    static const struct {
        uint16_t vendor, device;
        const char *name;
    } hosts[] = {{0x8086, 0x1237, "pc"},
                 {0x8086, 0x29c0, "q35"},
                 {0x1b36, 0x0008, "microvm"},
                 {0x8086, 0x0008, "unknown"}};
    for (unsigned i = 0; i < ARRAY_SIZE(hosts); i++) {
        set_up(state);
        pci_bus_add(NULL, 0, 0, hosts[i].vendor, hosts[i].device, PCI_CLASS_BRIDGE_HOST, 0);
        assert_int_equal(init(), ERR_OK);
        assert_string_equal(pci_machine(), hosts[i].name);
    }
    set_up(state);
    assert_int_equal(init(), ERR_OK);
    assert_string_equal(pci_machine(), "unknown");
}

static void test_too_many_functions(void **state) {
    (void)state;
    add_host();
    for (uint8_t i = 0; i < PCI_FN_MAX - 1; i++) {
        pci_bus_add(NULL, (uint8_t)(1 + i / 8), i % 8, 0x1af4, 0x1041, NET, 0x80);
    }
    assert_int_equal(init(), ERR_OK);
    assert_int_equal(pci_dev_count, PCI_DEV_MAX);
}

/* --- capabilities ----------------------------------------------------------------------------- */

static struct pci_fn *with_caps(void) {
    add_host();
    return add_net(NULL, 2);
}

static void test_cap_list(void **state) {
    const uint8_t body[6] = {0};
    struct pci_fn *f = with_caps();
    (void)state;
    const unsigned power = pci_bus_add_cap(f, 0x01, body, 8);
    const unsigned vendor1 = pci_bus_add_cap(f, PCI_CAP_ID_VENDOR, body, 8);
    const unsigned msix = pci_bus_add_cap(f, 0x11, body, 8);
    const unsigned vendor2 = pci_bus_add_cap(f, PCI_CAP_ID_VENDOR, body, 8);
    assert_int_equal(init(), ERR_OK);
    const struct pci_dev *d = find(f);
    assert_int_equal(pci_cap_find(d, 0x01, 0), power);
    assert_int_equal(pci_cap_find(d, 0x11, 0), msix);
    assert_int_equal(pci_cap_find(d, PCI_CAP_ID_VENDOR, 0), vendor1);
    assert_int_equal(pci_cap_find(d, PCI_CAP_ID_VENDOR, vendor1), vendor2);
    assert_int_equal(pci_cap_find(d, PCI_CAP_ID_VENDOR, vendor2), 0);
    assert_int_equal(pci_cap_find(d, 0x01, power), 0);
    assert_int_equal(pci_cap_find(d, 0x05, 0), 0);
    f->cfg[PCI_STATUS] &= (uint8_t)~PCI_STATUS_CAP_LIST; /* the pointer means nothing then */
    assert_int_equal(pci_cap_find(d, 0x01, 0), 0);
}

/* Lists that a broken or hostile device may show: found or not, but always an end and an offset
 * behind the header. */
static void test_bad_cap_lists(void **state) {
    struct pci_fn *f = with_caps();
    (void)state;
    f->cfg[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
    assert_int_equal(init(), ERR_OK);
    const struct pci_dev *d = find(f);

    f->cfg[PCI_CAP_POINTER] = 0; /* an empty list */
    assert_int_equal(pci_cap_find(d, PCI_CAP_ID_VENDOR, 0), 0);
    f->cfg[PCI_CAP_POINTER] = 0x3c; /* into the header, where an id could be read */
    f->cfg[0x3c] = PCI_CAP_ID_VENDOR;
    assert_int_equal(pci_cap_find(d, PCI_CAP_ID_VENDOR, 0), 0);
    f->cfg[PCI_CAP_POINTER] = 0x53; /* the low two bits are reserved */
    f->cfg[0x50] = PCI_CAP_ID_VENDOR;
    assert_int_equal(pci_cap_find(d, PCI_CAP_ID_VENDOR, 0), 0x50);
    f->cfg[0x51] = 0x04; /* the next one in the header */
    assert_int_equal(pci_cap_find(d, PCI_CAP_ID_VENDOR, 0x50), 0);
    f->cfg[0x51] = 0xff; /* at the very end */
    f->cfg[0xfc] = PCI_CAP_ID_VENDOR;
    assert_int_equal(pci_cap_find(d, PCI_CAP_ID_VENDOR, 0x50), 0xfc);
    assert_int_equal(pci_cap_find(d, 0x11, 0), 0);

    f->cfg[0x51] = 0x50; /* a loop of one, and one of two */
    assert_int_equal(pci_cap_find(d, 0x11, 0), 0);
    f->cfg[0x51] = 0x60;
    f->cfg[0x61] = 0x50;
    assert_int_equal(pci_cap_find(d, 0x11, 0), 0);
    memset(f->cfg + 0x40, 0xff, 0xc0); /* a function that went away */
    assert_int_equal(pci_cap_find(d, PCI_CAP_ID_VENDOR, 0), 0);
    assert_null(pci_bus.violation);
}

/* The longest list that there is room for is walked to its end. */
static void test_long_cap_list(void **state) {
    struct pci_fn *f = with_caps();
    (void)state;
    for (unsigned i = 0; i < 47; i++) {
        pci_bus_add_cap(f, 0x01, (uint8_t[2]){0}, 4);
    }
    const unsigned last = pci_bus_add_cap(f, PCI_CAP_ID_VENDOR, (uint8_t[2]){0}, 4);
    assert_int_equal(last, 0xfc);
    assert_int_equal(init(), ERR_OK);
    assert_int_equal(pci_cap_find(find(f), PCI_CAP_ID_VENDOR, 0), last);
}

int main(void) {
#define PCI_CASE(name) cmocka_unit_test_setup(name, set_up)
    const struct CMUnitTest tests[] = {
        PCI_CASE(test_no_host),   PCI_CASE(test_config_access), PCI_CASE(test_ecam_of_few_buses),
        PCI_CASE(test_functions), PCI_CASE(test_machine_names), PCI_CASE(test_too_many_functions),
        PCI_CASE(test_cap_list),  PCI_CASE(test_bad_cap_lists), PCI_CASE(test_long_cap_list),
    };
    return cmocka_run_group_tests_name("pci", tests, NULL, NULL);
}
