/* The PCI transport against a device that watches every register access. */
#include "tests/unit/unit.h"

#include "drivers/clock.h"
#include "drivers/virtio_pci.h"
#include "lib/err.h"
#include "tests/model/virtio_device.h"
#include "tests/unit/capture.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

enum { BAR_ADDR = 0xc0000000 };

static struct virtio_device dev;
static struct virtio_pci pci;
static uint64_t now_us;

/* Time passes as the driver looks at it. */
uint64_t clock_us(void) {
    return now_us += 100;
}

uint64_t clock_ms(void) {
    return clock_us() / 1000;
}

static int set_up(void **state) {
    (void)state;
    pci_bus_init();
    pci_bus_add(NULL, 0, 0, 0x8086, 0x29c0, PCI_CLASS_BRIDGE_HOST, 0);
    virtio_device_add(&dev, 2, BAR_ADDR);
    now_us = 0;
    capture_begin();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    virtio_device_fini(&dev);
    return 0;
}

/* Finds the function as the kernel does, then its areas. */
static int find_areas(void) {
    const struct pci_windows windows = {
        .ecam = pci_bus.ecam,
        .ecam_buses = 256,
        .mem_start = 0x80000000,
        .mem_end = 0xe0000000,
        .assign_start = 0xc0000000,
        .assign_end = 0xe0000000,
        .io_start = 0xc000,
        .io_end = 0xd000,
    };
    assert_int_equal(pci_init(&windows), ERR_OK);
    assert_int_equal(pci_dev_count, 2);
    return virtio_pci_init(&pci, &pci_devs[1]);
}

static void expect_no_violation(void) {
    if (pci_bus.violation != NULL || dev.violation != NULL) {
        fail_msg("%s", pci_bus.violation != NULL ? pci_bus.violation : dev.violation);
    }
}

/* Up to the point where features are settled. */
static void negotiate(void) {
    const struct virtio_features accepted = {.word = {[1] = 1}};
    virtio_device_add_caps(&dev);
    assert_int_equal(find_areas(), ERR_OK);
    assert_int_equal(virtio_pci_reset(&pci), ERR_OK);
    virtio_pci_add_status(&pci, VIRTIO_STATUS_ACKNOWLEDGE);
    virtio_pci_add_status(&pci, VIRTIO_STATUS_DRIVER);
    assert_int_equal(virtio_pci_accept(&pci, &accepted), ERR_OK);
}

/* --- capabilities ------------------------------------------------------------------------------ */

static void expect_usual_areas(void) {
    assert_int_equal(pci.common.base, BAR_ADDR);
    assert_true(pci.common.len >= sizeof(struct virtio_pci_common_cfg));
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
    static const char *const names[] = {[1] = "common configuration",
                                        [2] = "notification",
                                        [4] = "device configuration"};
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

/* --- status and features ----------------------------------------------------------------------- */

static void test_reset_waits_for_zero(void **state) {
    static const unsigned delays[] = {0, 1, 2, 100};
    for (unsigned i = 0; i < ARRAY_SIZE(delays); i++) {
        set_up(state);
        virtio_device_add_caps(&dev);
        assert_int_equal(find_areas(), ERR_OK);
        dev.reset_reads = delays[i];
        assert_int_equal(virtio_pci_reset(&pci), ERR_OK);
        assert_int_equal(dev.reset_reads, 0);
        assert_int_equal(virtio_pci_status(&pci), 0);
        expect_no_violation(); /* no other access meanwhile */
    }
    dev.reset_reads = UINT_MAX;
    const uint64_t before = now_us;
    assert_int_equal(virtio_pci_reset(&pci), ERR_TIMEOUT);
    assert_true(now_us - before >= 1000 * 1000 && now_us - before < 1500 * 1000);
    dev.reset_reads = 0;
}

static void test_status_only_grows(void **state) {
    static const uint8_t expected[] = {0, 0x01, 0x03, 0x0b, 0x0f, 0x8f};
    (void)state;
    negotiate();
    virtio_pci_add_status(&pci, VIRTIO_STATUS_DRIVER_OK);
    virtio_pci_add_status(&pci, VIRTIO_STATUS_FAILED);
    assert_int_equal(dev.status_count, ARRAY_SIZE(expected));
    assert_memory_equal(dev.status_log, expected, sizeof(expected));
    expect_no_violation();
}

static void test_features_in_all_words(void **state) {
    struct virtio_features accepted = {.word = {0x80000001, 0x00000101, 0x00000044}};
    (void)state;
    dev.offered[0] = 0xf000000f;
    dev.offered[1] = 0x12340301;
    dev.offered[2] = 0x8765437e;
    virtio_device_add_caps(&dev);
    assert_int_equal(find_areas(), ERR_OK);
    assert_int_equal(virtio_pci_reset(&pci), ERR_OK);
    virtio_pci_add_status(&pci, VIRTIO_STATUS_ACKNOWLEDGE);
    virtio_pci_add_status(&pci, VIRTIO_STATUS_DRIVER);
    virtio_pci_read_offer(&pci);
    assert_memory_equal(pci.offered.word, dev.offered, sizeof(dev.offered));
    assert_int_equal(virtio_pci_accept(&pci, &accepted), ERR_OK);
    assert_memory_equal(dev.accepted, accepted.word, sizeof(accepted.word));
    assert_int_equal(dev.status, 0x0b);
    expect_no_violation();
}

static void test_features_refused(void **state) {
    const struct virtio_features accepted = {.word = {[1] = 1}};
    (void)state;
    virtio_device_add_caps(&dev);
    assert_int_equal(find_areas(), ERR_OK);
    assert_int_equal(virtio_pci_reset(&pci), ERR_OK);
    virtio_pci_add_status(&pci, VIRTIO_STATUS_ACKNOWLEDGE);
    virtio_pci_add_status(&pci, VIRTIO_STATUS_DRIVER);
    dev.refuse_features = true;
    assert_int_equal(virtio_pci_accept(&pci, &accepted), ERR_DEVICE);
    expect_no_violation();
}

static void test_feature_bits(void **state) {
    (void)state;
    for (unsigned bit = 0; bit < 96; bit++) {
        struct virtio_features f = {0};
        virtio_feature_set(&f, bit);
        for (unsigned other = 0; other < 96; other++) {
            assert_int_equal(virtio_feature_get(&f, other), other == bit);
        }
        assert_int_equal(f.word[bit / 32], 1u << bit % 32);
        virtio_feature_clear(&f, bit);
        assert_true(f.word[0] == 0 && f.word[1] == 0 && f.word[2] == 0);
    }
}

static void test_feature_list(void **state) {
    static const char *const bad[] = {"mac", "-", "-nonsense", "-mac,", "-mac,,-mtu", "-mac -mtu",
                                      "-MAC", "-ma", "-macs", "+mac", "-mac,mtu", ",-mac", "--mac"};
    struct virtio_features masked;
    const char *names[VIRTIO_FEATURE_NAMES_MAX];
    char error[80];
    (void)state;
    assert_int_equal(virtio_feature_mask("", &masked, error, sizeof(error)), ERR_OK);
    assert_int_equal(virtio_feature_names(&masked, names), 0);
    assert_int_equal(virtio_feature_mask("-mrg_rxbuf,-event_idx,-mac", &masked, error,
                                         sizeof(error)), ERR_OK);
    assert_int_equal(masked.word[0], 1u << 15 | 1u << 29 | 1u << 5);
    assert_int_equal(masked.word[1] | masked.word[2], 0);
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        memset(error, 0x5a, sizeof(error));
        if (virtio_feature_mask(bad[i], &masked, error, sizeof(error)) != ERR_CONFIG) {
            fail_msg("features=%s was accepted", bad[i]);
        }
        assert_non_null(memchr(error, '\0', sizeof(error)));
        assert_non_null(strstr(error, "features="));
    }
    /* A name can be said for each bit that has one, and means that bit alone. */
    memset(&masked, 0xff, sizeof(masked));
    const unsigned count = virtio_feature_names(&masked, names);
    assert_true(count > 40 && count <= VIRTIO_FEATURE_NAMES_MAX);
    for (unsigned i = 0; i < count; i++) {
        const char *again[VIRTIO_FEATURE_NAMES_MAX];
        char list[40];
        snprintf(list, sizeof(list), "-%s", names[i]);
        assert_int_equal(virtio_feature_mask(list, &masked, error, sizeof(error)), ERR_OK);
        assert_int_equal(virtio_feature_names(&masked, again), 1);
        assert_string_equal(again[0], names[i]);
    }
}

/* --- queues ------------------------------------------------------------------------------------ */

static void init_queue(struct vq *q, uint16_t num, void **memory, struct vq_slot **slots) {
    *memory = aligned_alloc(VQ_AREA_ALIGN, vq_areas(VQ_SPLIT, num).size);
    *slots = calloc(num, sizeof(**slots));
    *q = (struct vq){0};
    vq_init(q, VQ_SPLIT, num, false, *memory, *slots);
}

static int enable(uint16_t index, uint16_t num, struct virtio_pci_doorbell *doorbell) {
    void *memory;
    struct vq_slot *slots;
    struct vq q;
    init_queue(&q, num, &memory, &slots);
    const struct vq_areas areas = vq_areas(VQ_SPLIT, num);
    const int err = virtio_pci_queue_enable(&pci, index, &q, memory, doorbell);
    const struct virtio_device_queue *dq = &dev.queue[index];
    if (err == ERR_OK) {
        const uint64_t base = (uintptr_t)memory;
        assert_true(dq->enabled);
        assert_int_equal(dq->size, num);
        assert_int_equal(dq->half[0] | (uint64_t)dq->half[1] << 32, base + areas.desc_off);
        assert_int_equal(dq->half[2] | (uint64_t)dq->half[3] << 32, base + areas.driver_off);
        assert_int_equal(dq->half[4] | (uint64_t)dq->half[5] << 32, base + areas.device_off);
    } else {
        assert_false(dq->enabled);
    }
    free(memory);
    free(slots);
    return err;
}

static void test_queue_sizes(void **state) {
    (void)state;
    dev.queue[1].max = 1024;
    dev.queue[2].max = 0;
    negotiate();
    assert_int_equal(virtio_pci_queue_max(&pci, 0), 256);
    assert_int_equal(virtio_pci_queue_max(&pci, 1), 1024);
    assert_int_equal(virtio_pci_queue_max(&pci, 2), 0);  /* not available */
    assert_int_equal(virtio_pci_queue_max(&pci, 77), 0); /* beyond num_queues */
    expect_no_violation();
}

static void test_queue_enable(void **state) {
    struct virtio_pci_doorbell doorbell;
    (void)state;
    negotiate();
    assert_int_equal(enable(0, 256, &doorbell), ERR_OK);
    assert_int_equal(enable(1, 16, &doorbell), ERR_OK); /* smaller than offered */
    assert_int_equal(dev.queue[0].doorbells + dev.queue[1].doorbells, 0);
    expect_no_violation();
}

/* The address is notify_off * multiplier behind the start of the area; 0 means one for all. */
static void test_doorbell_address(void **state) {
    static const uint32_t multipliers[] = {0, 2, 4, 4096};
    for (unsigned i = 0; i < ARRAY_SIZE(multipliers); i++) {
        struct virtio_pci_doorbell doorbell[2];
        set_up(state);
        dev.notify_multiplier = multipliers[i];
        dev.queue[0].notify_off = 3;
        dev.queue[1].notify_off = 1;
        negotiate();
        for (uint16_t n = 0; n < 2; n++) {
            assert_int_equal(enable(n, 4, &doorbell[n]), ERR_OK);
            assert_int_equal(doorbell[n].addr, BAR_ADDR + 0x3000 +
                                                   dev.queue[n].notify_off * multipliers[i]);
        }
        virtio_pci_add_status(&pci, VIRTIO_STATUS_DRIVER_OK);
        virtio_pci_ring(&doorbell[1]);
        virtio_pci_ring(&doorbell[1]);
        virtio_pci_ring(&doorbell[0]);
        assert_int_equal(dev.queue[0].doorbells, 1);
        assert_int_equal(dev.queue[1].doorbells, 2);
        expect_no_violation();
    }
}

static void test_doorbell_in_ports(void **state) {
    struct virtio_pci_doorbell doorbell;
    (void)state;
    pci_bus_set_bar(dev.fn, 0, 1, 64, 0xc100);
    dev.area[2] = (struct virtio_device_area){.bar = 0, .off = 8, .len = 56};
    negotiate();
    assert_int_equal(enable(1, 4, &doorbell), ERR_OK);
    virtio_pci_add_status(&pci, VIRTIO_STATUS_DRIVER_OK);
    virtio_pci_ring(&doorbell);
    assert_int_equal(dev.queue[1].doorbells, 1);
    expect_no_violation();
}

/* A doorbell that would not lie within the area is refused, without a wrap of the product. */
static void test_doorbell_out_of_area(void **state) {
    static const struct {
        uint16_t off;
        uint32_t multiplier, len;
        int err;
    } cases[] = {
        {4095, 4, 0x4000, ERR_OK},
        {4096, 4, 0x4000, ERR_DEVICE},
        {0x1fff, 2, 0x4000, ERR_OK},
        {0x2000, 2, 0x4000, ERR_DEVICE},
        {1, 0x3fff, 0x4000, ERR_DEVICE}, /* the second byte is outside */
        {0x8000, 0x20000, 0x4000, ERR_DEVICE}, /* 2^32 */
        {0xffff, 0xffffffff, 0x4000, ERR_DEVICE},
        {0, 0xffffffff, 2, ERR_OK},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        struct virtio_pci_doorbell doorbell;
        set_up(state);
        dev.queue[1].notify_off = cases[i].off;
        dev.notify_multiplier = cases[i].multiplier;
        dev.area[2].len = cases[i].len;
        negotiate();
        assert_int_equal(enable(1, 4, &doorbell), cases[i].err);
        expect_no_violation();
    }
}

/* --- device configuration ---------------------------------------------------------------------- */

static void test_config_widths(void **state) {
    uint8_t mac[6];
    uint16_t status = 0, mtu = 0;
    (void)state;
    virtio_device_offer(&dev, VIRTIO_NET_F_MTU, true);
    dev.config[6] = 0x34;
    dev.config[7] = 0x12;
    dev.config[10] = 0x05;
    dev.config[11] = 0xdc;
    negotiate();
    assert_int_equal(virtio_pci_config(&pci, 0, 1, 6, mac), ERR_OK);
    assert_memory_equal(mac, dev.config, 6);
    assert_int_equal(virtio_pci_config(&pci, 6, 2, 1, &status), ERR_OK);
    assert_int_equal(status, 0x1234);
    assert_int_equal(virtio_pci_config(&pci, 10, 2, 1, &mtu), ERR_OK);
    assert_int_equal(mtu, 0xdc05);
    expect_no_violation();
}

static void test_config_too_small(void **state) {
    static const uint32_t lens[] = {1, 5, 6, 7, 8};
    for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
        uint8_t mac[6];
        uint16_t status;
        set_up(state);
        dev.area[4].len = lens[i];
        negotiate();
        assert_int_equal(virtio_pci_config(&pci, 0, 1, 6, mac), lens[i] < 6 ? ERR_DEVICE : ERR_OK);
        assert_int_equal(virtio_pci_config(&pci, 6, 2, 1, &status),
                         lens[i] < 8 ? ERR_DEVICE : ERR_OK);
        expect_no_violation();
    }
}

static unsigned changes_left;

/* The device changes its address in the middle of being read. */
static void change_mac(struct virtio_device *d, uint32_t off) {
    if (off == 3 && changes_left > 0) {
        changes_left--;
        d->generation++;
        memset(d->config, 0x10 + (int)changes_left, 6);
    }
}

static void test_config_is_of_one_generation(void **state) {
    static const unsigned changes[] = {0, 1, 2, 5};
    for (unsigned i = 0; i < ARRAY_SIZE(changes); i++) {
        uint8_t mac[6];
        set_up(state);
        dev.generation = 0xfe; /* wraps */
        dev.on_config_read = change_mac;
        changes_left = changes[i];
        negotiate();
        assert_int_equal(virtio_pci_config(&pci, 0, 1, 6, mac), ERR_OK);
        assert_int_equal(changes_left, 0);
        assert_memory_equal(mac, dev.config, 6);
        expect_no_violation();
    }
}

static void test_config_never_settles(void **state) {
    uint8_t mac[6];
    (void)state;
    dev.on_config_read = change_mac;
    changes_left = UINT_MAX;
    negotiate();
    assert_int_equal(virtio_pci_config(&pci, 0, 1, 6, mac), ERR_DEVICE);
    assert_true(UINT_MAX - changes_left < 1000); /* it gave up in reasonable time */
    expect_no_violation();
}

int main(void) {
#define PCI_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        PCI_CASE(test_usual_caps),
        PCI_CASE(test_caps_in_any_order),
        PCI_CASE(test_unusable_caps_are_ignored),
        PCI_CASE(test_large_caps),
        PCI_CASE(test_first_cap_wins),
        PCI_CASE(test_missing_caps),
        PCI_CASE(test_legacy_only),
        PCI_CASE(test_odd_lists),
        PCI_CASE(test_notify_in_ports),
        PCI_CASE(test_notify_at_even_offset),
        PCI_CASE(test_reset_waits_for_zero),
        PCI_CASE(test_status_only_grows),
        PCI_CASE(test_features_in_all_words),
        PCI_CASE(test_features_refused),
        PCI_CASE(test_feature_bits),
        PCI_CASE(test_feature_list),
        PCI_CASE(test_queue_sizes),
        PCI_CASE(test_queue_enable),
        PCI_CASE(test_doorbell_address),
        PCI_CASE(test_doorbell_in_ports),
        PCI_CASE(test_doorbell_out_of_area),
        PCI_CASE(test_config_widths),
        PCI_CASE(test_config_too_small),
        PCI_CASE(test_config_is_of_one_generation),
        PCI_CASE(test_config_never_settles),
    };
    return cmocka_run_group_tests_name("virtio pci", tests, NULL, NULL);
}
