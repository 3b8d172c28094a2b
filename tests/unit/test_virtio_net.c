/* virtio-net from probe to running: features, sizes, memory, and each step that can fail. */
#include "tests/unit/net_rig.h"

#include <limits.h>

static void test_bring_up(void **state) {
    static const uint8_t statuses[] = {0, 0x01, 0x03, 0x0b, 0x0f};
    struct vq_device_buffer b;
    (void)state;
    bring_up();
    expect_statuses(0, statuses, sizeof(statuses));
    assert_true(nd->running && nd->link_up);
    assert_memory_equal(nd->mac, dev.config, 6);
    assert_int_equal(nd->mtu, 1500);
    assert_int_equal(nd->hdr_len, HDR);
    assert_true(dev.queue[RX].enabled && dev.queue[TX].enabled && !dev.queue[2].enabled);
    assert_int_equal(dev.queue[RX].size, 256);
    /* One doorbell for the receive buffers, after DRIVER_OK (the device checks that). */
    assert_int_equal(dev.queue[RX].doorbells, 1);
    assert_int_equal(dev.queue[TX].doorbells, 0);
    for (unsigned i = 0; i < 256; i++) {
        assert_true(vq_device_fetch(&dev.queue[RX].ring, &b));
        assert_int_equal(b.n_out, 0);
        assert_true(b.in_len >= 1526); /* 5.1.6.3.1 */
        assert_true(b.in_len <= HDR + nd->pool.room);
    }
    assert_false(vq_device_fetch(&dev.queue[RX].ring, &b));
    assert_non_null(strstr(capture_text, on_mmio ? "\"nic\":0,\"mmio\":\"0xc1000000\",\"mac\":"
                                                 : "\"nic\":0,\"pci\":\"00:02.0\",\"mac\":"));
    assert_non_null(strstr(capture_text, "{\"event\":\"device\",\"nic\":0,"));
    assert_non_null(strstr(capture_text, "\"mac\":\"52:54:00:12:34:02\",\"mtu\":1500,"
                                         "\"link\":true,\"features\":["));
    expect_no_violation();
}

/* ring=packed is kept or refused, never silently something else; ring=split and a mask prevail. */
static void test_ring_wish(void **state) {
    (void)state;
    cfg.ring = CONFIG_RING_PACKED;
    assert_int_equal(probe(), ERR_CONFIG);
    expect_logged("ring=packed: feature ring_packed is not offered");
    tear_down(state);
    set_up(state);
    virtio_device_offer(&dev, VIRTIO_F_RING_PACKED, true);
    cfg.ring = CONFIG_RING_PACKED;
    strcpy(cfg.features, "-ring_packed");
    assert_int_equal(probe(), ERR_CONFIG);
    expect_logged("ring=packed: feature ring_packed is masked");
    tear_down(state);
    set_up(state);
    virtio_device_offer(&dev, VIRTIO_F_RING_PACKED, true);
    cfg.ring = CONFIG_RING_SPLIT;
    bring_up();
    assert_false(virtio_feature_get(&nd->features, VIRTIO_F_RING_PACKED));
    assert_int_equal(nd->rx.vq.layout, VQ_SPLIT);
}

static void test_version_1_is_needed(void **state) {
    (void)state;
    virtio_device_offer(&dev, VIRTIO_F_VERSION_1, false);
    assert_int_not_equal(probe(), ERR_OK);
    expect_logged("version_1 is not offered");
    assert_int_equal(dev.status & (VIRTIO_STATUS_FAILED | VIRTIO_STATUS_FEATURES_OK),
                     VIRTIO_STATUS_FAILED);
    assert_false(dev.queue[RX].enabled);
}

static void test_masked_features(void **state) {
    (void)state;
    strcpy(cfg.features, "-mac,-status");
    bring_up();
    assert_false(virtio_device_accepted(&dev, VIRTIO_NET_F_MAC));
    assert_false(virtio_device_accepted(&dev, VIRTIO_NET_F_STATUS));
    assert_true(nd->link_up);
    assert_int_equal(nd->mac[0] & 3, 2); /* unicast, locally administered */
    tear_down(state);

    set_up(state);
    strcpy(cfg.features, "-version_1");
    assert_int_equal(probe(), ERR_CONFIG);
    expect_logged("version_1 is masked");
    tear_down(state);

    set_up(state);
    strcpy(cfg.features, "-nonsense");
    assert_int_equal(probe(), ERR_CONFIG);
    expect_logged("nonsense");
    assert_int_equal(dev.status_count, 0);
}

/* Each step can fail; then FAILED is set and no later step is made. */
static void test_failures(void **state) {
    for (unsigned which = 0; which < 6; which++) {
        tear_down(state);
        set_up(state);
        switch (which) {
        case 0:
            dev.refuse_features = true;
            break;
        case 1:
            dev.queue[RX].max = 0;
            break;
        case 2:
            dev.queue[TX].max = 0;
            break;
        case 3:
            break_set_up(TX, true);
            break;
        case 4: /* no room for the status field: mac only */
            if (on_mmio) {
                strcpy(mmio_words, "262@0xc1000000:5");
            } else {
                dev.fn->cfg[dev.fn->cap_last + 12] = 6;
            }
            break;
        case 5:
            dev.reset_reads = UINT_MAX;
            break;
        }
        assert_int_equal(probe(), ERR_ABSENT);
        if (strstr(capture_text, on_mmio ? "error: net0 0xc1000000: " : "error: net0 00:02.0: ") == NULL) {
            fail_msg("failure %u gives no reason: %s", which, capture_text);
        }
        assert_int_equal(net_dev_count, 0);
        assert_false(dev.status & VIRTIO_STATUS_DRIVER_OK);
        assert_true((dev.status & VIRTIO_STATUS_FAILED) || which == 5);
        assert_int_equal(dev.queue[RX].doorbells, 0);
        dev.reset_reads = 0;
    }
}

static void test_queue_sizes(void **state) {
    static const struct {
        uint16_t rx_max, tx_max, wish;
        int err;
        uint16_t rx, tx;
    } cases[] = {
        {1024, 512, 0, ERR_OK, 1024, 512}, {1024, 512, 256, ERR_OK, 256, 256},
        {256, 256, 256, ERR_OK, 256, 256}, {256, 256, 1, ERR_OK, 1, 1},
        {256, 256, 2, ERR_OK, 2, 2},       {100, 7, 0, ERR_OK, 64, 4}, /* not powers of two */
        {1, 1, 0, ERR_OK, 1, 1},           {256, 256, 512, ERR_CONFIG, 0, 0},
        {512, 256, 512, ERR_CONFIG, 0, 0}, {256, 256, 100, ERR_CONFIG, 0, 0},
        {40000, 256, 0, ERR_ABSENT, 0, 0},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        tear_down(state);
        set_up(state);
        dev.queue[RX].max = dev.queue[RX].size = cases[i].rx_max;
        dev.queue[TX].max = dev.queue[TX].size = cases[i].tx_max;
        cfg.queue = cases[i].wish;
        assert_int_equal(probe(), cases[i].err);
        if (cases[i].err == ERR_OK) {
            assert_int_equal(dev.queue[RX].size, cases[i].rx);
            assert_int_equal(dev.queue[TX].size, cases[i].tx);
        } else if (cases[i].err == ERR_CONFIG) {
            expect_logged("queue=");
        }
    }
}

static void test_mtu(void **state) {
    static const struct {
        uint16_t offered, used;
    } cases[] = {{1500, 1500}, {68, 68},     {9216, 9216}, {1280, 1280},
                 {67, 1500},   {9217, 1500}, {0, 1500},    {65535, 1500}};
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        tear_down(state);
        set_up(state);
        virtio_device_offer(&dev, VIRTIO_NET_F_MTU, true);
        dev.config[10] = (uint8_t)cases[i].offered;
        dev.config[11] = (uint8_t)(cases[i].offered >> 8);
        assert_int_equal(probe(), ERR_OK);
        assert_int_equal(nd->mtu, cases[i].used);
        assert_int_equal(virtio_device_accepted(&dev, VIRTIO_NET_F_MTU),
                         cases[i].used == cases[i].offered);
        assert_true(nd->pool.room >= nd->mtu + 14u + 4u);
    }
}

static void test_not_enough_memory(void **state) {
    (void)state;
    dma_init((uintptr_t)memory, 64 * 1024);
    assert_int_equal(probe(), ERR_RESOURCE);
    assert_true(dev.status & VIRTIO_STATUS_FAILED);
    assert_non_null(strstr(capture_text, "error: "));
}

/* Several devices; one that cannot be driven does not keep the others from running. */
static void test_two_devices(void **state) {
    for (unsigned broken = 0; broken < 3; broken++) {
        tear_down(state);
        set_up(state);
        add_second_device(broken == 1);
        dev.refuse_features = broken == 2;
        assert_int_equal(probe(), ERR_OK);
        assert_int_equal(net_dev_count, broken == 0 ? 2 : 1);
        assert_int_equal(net_devs[0].mac[5], broken == 2 ? 3 : 2);
        for (unsigned i = 0; i < net_dev_count; i++) {
            assert_int_equal(net_devs[i].index, i);
            assert_true(net_devs[i].running);
        }
        if (broken == 1) {
            expect_logged(on_mmio ? "a legacy device" : "legacy-only");
        }
    }
    net_stop_all();
    assert_int_equal(dev2.status, 0);
    expect_no_violation();
}

static void test_old_device_beside_a_good_one(void **state) {
    (void)state;
    virtio_device_offer(&dev, VIRTIO_F_VERSION_1, false);
    add_second_device(false);
    assert_int_equal(probe(), ERR_OK);
    assert_int_equal(net_dev_count, 1);
    assert_int_equal(nd->mac[5], 3);
}

/* Counters and their names: each counts in its own place. */
static void test_counters(void **state) {
    (void)state;
    assert_int_equal(net_counter_count * sizeof(uint64_t), sizeof(struct net_stats));
    for (size_t i = 0; i < net_counter_count; i++) {
        assert_int_equal(net_counters[i].offset % sizeof(uint64_t), 0);
        assert_true(net_counters[i].offset < sizeof(struct net_stats));
        assert_true(strlen(net_counters[i].help) > 5);
        for (size_t k = 0; k < i; k++) {
            assert_int_not_equal(net_counters[i].offset, net_counters[k].offset);
            assert_string_not_equal(net_counters[i].name, net_counters[k].name);
        }
    }
}

int main(void) {
#define NET_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        NET_CASE(test_bring_up),
        NET_CASE(test_ring_wish),
        NET_CASE(test_version_1_is_needed),
        NET_CASE(test_masked_features),
        NET_CASE(test_failures),
        NET_CASE(test_queue_sizes),
        NET_CASE(test_mtu),
        NET_CASE(test_not_enough_memory),
        NET_CASE(test_two_devices),
        NET_CASE(test_old_device_beside_a_good_one),
        NET_CASE(test_counters),
    };
    return RUN_ON_EACH_BUS("virtio net", tests);
}
