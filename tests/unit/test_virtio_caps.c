/* The capabilities of a virtio device on PCI: which areas are used (4.1.4). */
#include "tests/unit/virtio_rig.h"

static void expect_usual_areas(void) {
    assert_int_equal(pci.common.base, BAR_ADDR);
    assert_true(pci.common.len >= offsetof(struct virtio_pci_common_cfg, queue_notif_config_data));
    assert_int_equal(pci.notify.base, BAR_ADDR + 0x3000);
    assert_int_equal(pci.notify.len, 0x4000);
    assert_int_equal(pci.notify_multiplier, 4);
    assert_int_equal(pci.device.base, BAR_ADDR + 0x2000);
    assert_false(pci.common.is_io || pci.notify.is_io || pci.device.is_io);
    /* Everything is decoded now, by what the registers say. */
    assert_int_equal(pci_bus_get16(dev.fn, PCI_COMMAND) & 7,
                     PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    assert_true(pci_bus_get16(dev.fn, PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE);
    expect_no_violation();
    expect_no_error();
}

/* A capability with free choice of every field; returns its offset. */
static uint8_t add_raw(uint8_t id, uint8_t cap_len, uint8_t type, uint8_t bar, uint32_t off,
                       uint32_t len) {
    uint8_t body[30] = {cap_len, type, bar};
    memcpy(body + 6, &off, 4);
    memcpy(body + 10, &len, 4);
    memset(body + 14, 0x77, 4);
    return pci_bus_add_cap(dev.fn, id, body, cap_len < 16 ? 16 : cap_len);
}

static void test_usual_caps(void **state) {
    (void)state;
    virtio_device_add_caps(&dev);
    assert_int_equal(find_areas(), ERR_OK);
    expect_usual_areas();
}

static void test_caps_in_any_order(void **state) {
    static const uint8_t order[] = {4, 2, 1, 3};
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        add_raw(0x11, 12, 1, 4, 0, 0x1000); /* MSI-X, whose bytes look like one of ours */
        virtio_device_add_cap(&dev, order[i]);
    }
    assert_int_equal(find_areas(), ERR_OK);
    expect_usual_areas();
}

/* Each of these stands in front of the real ones and must be passed over. */
static void test_unusable_caps_are_ignored(void **state) {
    static const struct {
        uint8_t id, cap_len, type, bar;
        uint32_t off, len;
    } caps[] = {
        {9, 16, 0x00, 4, 0x8000, 0x1000},     /* types that mean nothing, or nothing to us */
        {9, 16, 0x7f, 4, 0x8000, 0x1000},     /* ... */
        {9, 16, 0xff, 4, 0x8000, 0x1000},     /* ... */
        {9, 20, 0x05, 4, 0x8000, 0x1000},     /* ... PCI configuration access */
        {9, 24, 0x08, 4, 0x8000, 0x1000},     /* ... shared memory */
        {5, 16, 0x01, 4, 0x8000, 0x1000},     /* not a vendor's capability */
        {9, 16, 0x01, 6, 0x8000, 0x1000},     /* reserved BAR numbers */
        {9, 16, 0x01, 0xff, 0x8000, 0x1000},  /* ... */
        {9, 16, 0x01, 0, 0x8000, 0x1000},     /* a BAR that is not there */
        {9, 16, 0x01, 5, 0x8000, 0x1000},     /* ... the upper half of a 64-bit one */
        {9, 15, 0x01, 4, 0x8000, 0x1000},     /* too short for the structure */
        {9, 0, 0x01, 4, 0x8000, 0x1000},      /* ... */
        {9, 19, 0x02, 4, 0x8000, 0x1000},     /* ... */
        {9, 16, 0x01, 4, 0x8000, 55},         /* an area too small for its registers */
        {9, 16, 0x01, 4, 0xffd0, 0x1000},     /* ... because the BAR ends */
        {9, 20, 0x02, 4, 0x8000, 1},          /* ... */
        {9, 16, 0x04, 4, 0x8000, 0},          /* ... */
        {9, 16, 0x01, 4, 0x10000, 0x1000},    /* outside of the BAR */
        {9, 16, 0x01, 4, 0xfffffff0, 0x38},   /* ... offset + length wraps around */
        {9, 16, 0x01, 4, 0xffffffc8, 0x1000}, /* ... */
        {9, 16, 0x01, 4, 0x8002, 0x1000},     /* misaligned: 4.1.4.3.1, 4.1.4.6.1 */
        {9, 16, 0x04, 4, 0x8001, 0x1000},     /* ... */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(caps); i++) {
        set_up(state);
        add_raw(caps[i].id, caps[i].cap_len, caps[i].type, caps[i].bar, caps[i].off, caps[i].len);
        virtio_device_add_caps(&dev);
        assert_int_equal(find_areas(), ERR_OK);
        if (pci.common.base != BAR_ADDR || pci.notify.base != BAR_ADDR + 0x3000 ||
            pci.device.base != BAR_ADDR + 0x2000) {
            fail_msg("capability %u was used", i);
        }
        expect_usual_areas();
    }
}

/* A reserved BAR number behind a good capability: what lies behind the last BAR is not one. */
static void test_no_bar_behind_the_last(void **state) {
    for (uint8_t bar = PCI_BAR_COUNT; bar < 12; bar++) {
        set_up(state);
        virtio_device_add_cap(&dev, VIRTIO_PCI_CAP_COMMON_CFG);
        add_raw(9, 20, VIRTIO_PCI_CAP_NOTIFY_CFG, bar, 0, 0x4000);
        add_raw(9, 16, VIRTIO_PCI_CAP_DEVICE_CFG, bar, 0, 0x40);
        virtio_device_add_caps(&dev);
        assert_int_equal(find_areas(), ERR_OK);
        expect_usual_areas();
    }
}

/* Larger than expected is no reason to refuse; only what is inside of the BAR counts. */
static void test_large_caps(void **state) {
    (void)state;
    add_raw(9, 24, 1, 4, 0, UINT32_MAX);
    add_raw(9, 28, 2, 4, 0x3000, UINT32_MAX);
    add_raw(9, 16, 4, 4, 0x2000, UINT32_MAX - 0x2000 + 1);
    assert_int_equal(find_areas(), ERR_OK);
    assert_int_equal(pci.common.base, BAR_ADDR);
    assert_int_equal(pci.notify.len, VIRTIO_DEVICE_BAR_SIZE - 0x3000);
    assert_int_equal(pci.notify_multiplier, 0x77777777);
    assert_int_equal(pci.device.len, VIRTIO_DEVICE_BAR_SIZE - 0x2000);
    expect_no_violation();
}

static void test_first_cap_wins(void **state) {
    (void)state;
    virtio_device_add_caps(&dev);
    for (uint8_t type = 1; type < 5; type++) {
        add_raw(9, type == 2 ? 20 : 16, type, 4, 0x8000, 0x1000);
    }
    assert_int_equal(find_areas(), ERR_OK);
    expect_usual_areas();
}

static void test_missing_caps(void **state) {
    static const char *const names[] = {
        [1] = "common configuration", [2] = "notification", [4] = "device configuration"};
    for (uint8_t missing = 1; missing < 5; missing++) {
        set_up(state);
        for (uint8_t type = 1; type < 5; type++) {
            if (type != missing) {
                virtio_device_add_cap(&dev, type);
            }
        }
        if (missing == VIRTIO_PCI_CAP_ISR_CFG) { /* polled: not needed */
            assert_int_equal(find_areas(), ERR_OK);
            continue;
        }
        assert_int_equal(find_areas(), ERR_DEVICE);
        expect_logged("00:02.0");
        expect_logged(names[missing]);
        expect_no_violation();
    }
}

static void test_legacy_only(void **state) {
    (void)state;
    assert_int_equal(find_areas(), ERR_ABSENT);
    expect_logged("legacy-only");
    set_up(state);
    add_raw(0x11, 12, 1, 4, 0, 0x1000); /* MSI-X alone does not make it modern */
    assert_int_equal(find_areas(), ERR_ABSENT);
    expect_logged("legacy-only");
    assert_int_equal(dev.status_count, 0);
    expect_no_violation();
}

/* A list that never ends, and one whose last capability is cut by the end of the space. */
static void test_odd_lists(void **state) {
    (void)state;
    virtio_device_add_caps(&dev);
    dev.fn->cfg[dev.fn->cap_last + 1] = 0x40;
    assert_int_equal(find_areas(), ERR_OK);
    expect_usual_areas();

    set_up(state);
    const uint8_t first = add_raw(9, 16, 0x7f, 4, 0, 0);
    for (unsigned at = 0xf0; at < 256; at += 4) {
        /* From each of these the capability would reach beyond the end. */
        memset(dev.fn->cfg + 0xf0, 0, 16);
        dev.fn->cfg[first + 1] = (uint8_t)at;
        dev.fn->cfg[at] = 9;
        dev.fn->cfg[at + 2] = 20;
        dev.fn->cfg[at + 3] = at == 0xf0 ? 2 : 1;
        assert_int_equal(find_areas(), ERR_DEVICE);
        expect_no_violation();
    }
}

/* The areas may lie in different BARs, in ports, and above 4 GiB; then the command register says so
 * too. Notification areas need an alignment of just 2 (4.1.4.4.1). */
static void test_notify_in_ports(void **state) {
    (void)state;
    pci_bus_set_bar(dev.fn, 0, 1, 64, 0xc100);
    dev.area[2] = (struct virtio_device_area){.bar = 0, .off = 0, .len = 64};
    negotiate();
    assert_true(pci.notify.is_io);
    assert_int_equal(pci.notify.base, 0xc100);
    assert_int_equal(pci_bus_get16(dev.fn, PCI_COMMAND) & 7,
                     PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    expect_no_violation();
}

static void test_notify_at_even_offset(void **state) {
    (void)state;
    dev.area[2].off = 0x3002;
    virtio_device_add_caps(&dev);
    assert_int_equal(find_areas(), ERR_OK);
    assert_int_equal(pci.notify.base, BAR_ADDR + 0x3002);
}

int main(void) {
#define CAPS_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CAPS_CASE(test_usual_caps),
        CAPS_CASE(test_caps_in_any_order),
        CAPS_CASE(test_unusable_caps_are_ignored),
        CAPS_CASE(test_no_bar_behind_the_last),
        CAPS_CASE(test_large_caps),
        CAPS_CASE(test_first_cap_wins),
        CAPS_CASE(test_missing_caps),
        CAPS_CASE(test_legacy_only),
        CAPS_CASE(test_odd_lists),
        CAPS_CASE(test_notify_in_ports),
        CAPS_CASE(test_notify_at_even_offset),
    };
    return cmocka_run_group_tests_name("virtio capabilities", tests, NULL, NULL);
}
