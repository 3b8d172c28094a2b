/* The PCI transport: status, features, queues, device configuration (4.1.4.3 to 4.1.4.6). */
#include "tests/unit/virtio_rig.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

/* --- status and features ---------------------------------------------------------------------- */

static void test_reset_waits_for_zero(void **state) {
    static const unsigned delays[] = {0, 1, 2, 100};
    for (unsigned i = 0; i < ARRAY_SIZE(delays); i++) {
        set_up(state);
        virtio_device_add_caps(&dev);
        assert_int_equal(find_areas(), ERR_OK);
        dev.reset_reads = delays[i];
        assert_int_equal(virtio_dev_reset(&pci.dev), ERR_OK);
        assert_int_equal(dev.reset_reads, 0);
        assert_int_equal(virtio_dev_status(&pci.dev), 0);
        expect_no_violation(); /* no other access meanwhile */
    }
    dev.reset_reads = UINT_MAX;
    const uint64_t before = now_us;
    assert_int_equal(virtio_dev_reset(&pci.dev), ERR_TIMEOUT);
    assert_true(now_us - before >= 1000 * 1000 && now_us - before < 1500 * 1000);
    dev.reset_reads = 0;
}

static void test_status_only_grows(void **state) {
    static const uint8_t expected[] = {0, 0x01, 0x03, 0x0b, 0x0f, 0x8f};
    (void)state;
    negotiate();
    virtio_dev_add_status(&pci.dev, VIRTIO_STATUS_DRIVER_OK);
    virtio_dev_add_status(&pci.dev, VIRTIO_STATUS_FAILED);
    assert_int_equal(dev.status_count, ARRAY_SIZE(expected));
    assert_memory_equal(dev.status_log, expected, sizeof(expected));
    expect_no_violation();
}

static void test_features_in_all_words(void **state) {
    struct virtio_features accepted = {.word = {0x80000001, 0x00000101, 0x00000044}};
    (void)state;
    dev.any_features = true;
    dev.offered[0] = 0xf000000f;
    dev.offered[1] = 0x12340301;
    dev.offered[2] = 0x8765437e;
    virtio_device_add_caps(&dev);
    assert_int_equal(find_areas(), ERR_OK);
    assert_int_equal(virtio_dev_reset(&pci.dev), ERR_OK);
    virtio_dev_add_status(&pci.dev, VIRTIO_STATUS_ACKNOWLEDGE);
    virtio_dev_add_status(&pci.dev, VIRTIO_STATUS_DRIVER);
    virtio_dev_read_offer(&pci.dev);
    assert_memory_equal(pci.dev.offered.word, dev.offered, sizeof(dev.offered));
    assert_int_equal(virtio_dev_accept(&pci.dev, &accepted), ERR_OK);
    assert_memory_equal(dev.accepted, accepted.word, sizeof(accepted.word));
    assert_int_equal(dev.status, 0x0b);
    expect_no_violation();
}

static void test_features_refused(void **state) {
    const struct virtio_features accepted = {.word = {[1] = 1}};
    (void)state;
    virtio_device_add_caps(&dev);
    assert_int_equal(find_areas(), ERR_OK);
    assert_int_equal(virtio_dev_reset(&pci.dev), ERR_OK);
    virtio_dev_add_status(&pci.dev, VIRTIO_STATUS_ACKNOWLEDGE);
    virtio_dev_add_status(&pci.dev, VIRTIO_STATUS_DRIVER);
    dev.refuse_features = true;
    assert_int_equal(virtio_dev_accept(&pci.dev, &accepted), ERR_DEVICE);
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
    static const char *const bad[] = {"mac",       "-",     "-nonsense", "-mac,", "-mac,,-mtu",
                                      "-mac -mtu", "-MAC",  "-ma",       "-macs", "mac+",
                                      "-mac,mtu",  ",-mac", "--mac",     "-mac,+mac", "+mac,+mac"};
    struct virtio_wishes wishes;
    const char *names[VIRTIO_FEATURE_NAMES_MAX];
    char error[80];
    (void)state;
    assert_int_equal(virtio_feature_wishes("", &wishes, error, sizeof(error)), ERR_OK);
    assert_int_equal(virtio_feature_names(&wishes.masked, names), 0);
    assert_int_equal(
        virtio_feature_wishes("-mrg_rxbuf,-event_idx,+csum,-mac", &wishes, error, sizeof(error)), ERR_OK);
    assert_int_equal(wishes.masked.word[0], 1u << 15 | 1u << 29 | 1u << 5);
    assert_int_equal(wishes.masked.word[1] | wishes.masked.word[2], 0);
    assert_int_equal(wishes.kept.word[0], 1);
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        memset(error, 0x5a, sizeof(error));
        if (virtio_feature_wishes(bad[i], &wishes, error, sizeof(error)) != ERR_CONFIG) {
            fail_msg("features=%s was accepted", bad[i]);
        }
        assert_non_null(memchr(error, '\0', sizeof(error)));
        assert_non_null(strstr(error, "features="));
    }
    /* A name can be said for each bit that has one, and means that bit alone. */
    memset(&wishes, 0xff, sizeof(wishes));
    const unsigned count = virtio_feature_names(&wishes.masked, names);
    assert_true(count > 40 && count <= VIRTIO_FEATURE_NAMES_MAX);
    for (unsigned i = 0; i < count; i++) {
        const char *again[VIRTIO_FEATURE_NAMES_MAX];
        char list[40];
        snprintf(list, sizeof(list), "-%s", names[i]);
        assert_int_equal(virtio_feature_wishes(list, &wishes, error, sizeof(error)), ERR_OK);
        assert_int_equal(virtio_feature_names(&wishes.masked, again), 1);
        assert_string_equal(again[0], names[i]);
    }
}

/* --- queues ----------------------------------------------------------------------------------- */

static void init_queue(struct vq *q, uint16_t num, void **memory, struct vq_slot **slots) {
    *memory = aligned_alloc(VQ_AREA_ALIGN, vq_areas(VQ_SPLIT, num).size);
    *slots = calloc(num, sizeof(**slots));
    *q = (struct vq){0};
    vq_init(q, &(struct vq_setup){
                   .layout = VQ_SPLIT, .num = num, .memory = *memory, .slots = *slots});
}

static int enable(uint16_t index, uint16_t num, struct virtio_doorbell *doorbell) {
    void *memory;
    struct vq_slot *slots;
    struct vq q;
    init_queue(&q, num, &memory, &slots);
    const struct vq_areas areas = vq_areas(VQ_SPLIT, num);
    const int err = virtio_dev_queue_enable(&pci.dev, index, &q, memory, VIRTIO_MSI_NO_VECTOR, doorbell);
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
    assert_int_equal(virtio_dev_queue_max(&pci.dev, 0), 256);
    assert_int_equal(virtio_dev_queue_max(&pci.dev, 1), 1024);
    assert_int_equal(virtio_dev_queue_max(&pci.dev, 2), 0);  /* not available */
    assert_int_equal(virtio_dev_queue_max(&pci.dev, 77), 0); /* beyond num_queues */
    expect_no_violation();
}

static void test_queue_enable(void **state) {
    struct virtio_doorbell doorbell;
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
        struct virtio_doorbell doorbell[2];
        set_up(state);
        dev.notify_multiplier = multipliers[i];
        dev.queue[0].notify_off = 3;
        dev.queue[1].notify_off = 1;
        negotiate();
        for (uint16_t n = 0; n < 2; n++) {
            assert_int_equal(enable(n, 4, &doorbell[n]), ERR_OK);
            assert_int_equal(doorbell[n].addr,
                             BAR_ADDR + 0x3000 + dev.queue[n].notify_off * multipliers[i]);
        }
        virtio_dev_add_status(&pci.dev, VIRTIO_STATUS_DRIVER_OK);
        virtio_dev_ring(&doorbell[1], 0);
        virtio_dev_ring(&doorbell[1], 0);
        virtio_dev_ring(&doorbell[0], 0);
        assert_int_equal(dev.queue[0].doorbells, 1);
        assert_int_equal(dev.queue[1].doorbells, 2);
        expect_no_violation();
    }
}

static void test_doorbell_in_ports(void **state) {
    struct virtio_doorbell doorbell;
    (void)state;
    pci_bus_set_bar(dev.fn, 0, 1, 64, 0xc100);
    dev.area[2] = (struct virtio_device_area){.bar = 0, .off = 8, .len = 56};
    negotiate();
    assert_int_equal(enable(1, 4, &doorbell), ERR_OK);
    virtio_dev_add_status(&pci.dev, VIRTIO_STATUS_DRIVER_OK);
    virtio_dev_ring(&doorbell, 0);
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
        {1, 0x3fff, 0x4000, ERR_DEVICE},       /* the second byte is outside */
        {0x8000, 0x20000, 0x4000, ERR_DEVICE}, /* 2^32 */
        {0xffff, 0xffffffff, 0x4000, ERR_DEVICE},
        {0, 0xffffffff, 2, ERR_OK},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        struct virtio_doorbell doorbell;
        set_up(state);
        dev.queue[1].notify_off = cases[i].off;
        dev.notify_multiplier = cases[i].multiplier;
        dev.area[2].len = cases[i].len;
        negotiate();
        assert_int_equal(enable(1, 4, &doorbell), cases[i].err);
        expect_no_violation();
    }
}

/* --- device configuration --------------------------------------------------------------------- */

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
    assert_int_equal(virtio_dev_config(&pci.dev, 0, 1, 6, mac), ERR_OK);
    assert_memory_equal(mac, dev.config, 6);
    assert_int_equal(virtio_dev_config(&pci.dev, 6, 2, 1, &status), ERR_OK);
    assert_int_equal(status, 0x1234);
    assert_int_equal(virtio_dev_config(&pci.dev, 10, 2, 1, &mtu), ERR_OK);
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
        assert_int_equal(virtio_dev_config(&pci.dev, 0, 1, 6, mac), lens[i] < 6 ? ERR_DEVICE : ERR_OK);
        assert_int_equal(virtio_dev_config(&pci.dev, 6, 2, 1, &status),
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
        assert_int_equal(virtio_dev_config(&pci.dev, 0, 1, 6, mac), ERR_OK);
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
    assert_int_equal(virtio_dev_config(&pci.dev, 0, 1, 6, mac), ERR_DEVICE);
    assert_true(UINT_MAX - changes_left < 1000); /* it gave up in reasonable time */
    expect_no_violation();
}

int main(void) {
#define PCI_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        PCI_CASE(test_reset_waits_for_zero),  PCI_CASE(test_status_only_grows),
        PCI_CASE(test_features_in_all_words), PCI_CASE(test_features_refused),
        PCI_CASE(test_feature_bits),          PCI_CASE(test_feature_list),
        PCI_CASE(test_queue_sizes),           PCI_CASE(test_queue_enable),
        PCI_CASE(test_doorbell_address),      PCI_CASE(test_doorbell_in_ports),
        PCI_CASE(test_doorbell_out_of_area),  PCI_CASE(test_config_widths),
        PCI_CASE(test_config_too_small),      PCI_CASE(test_config_is_of_one_generation),
        PCI_CASE(test_config_never_settles),
    };
    return cmocka_run_group_tests_name("virtio pci", tests, NULL, NULL);
}
