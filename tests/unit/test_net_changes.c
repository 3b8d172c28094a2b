/* A device that comes back from a reset as another one: features, sizes, MTU, address. */
#include "tests/unit/net_life.h"

#include <stdio.h>

static const uint8_t optional[] = {
    VIRTIO_F_ACCESS_PLATFORM,   VIRTIO_F_ORDER_PLATFORM,     VIRTIO_F_IN_ORDER,
    VIRTIO_F_INDIRECT_DESC,     VIRTIO_F_EVENT_IDX,          VIRTIO_F_NOTIFICATION_DATA,
    VIRTIO_F_NOTIF_CONFIG_DATA, VIRTIO_F_RING_RESET,         VIRTIO_NET_F_MAC,
    VIRTIO_NET_F_STATUS,        VIRTIO_NET_F_MTU,            VIRTIO_NET_F_SPEED_DUPLEX,
    VIRTIO_NET_F_MRG_RXBUF,     VIRTIO_NET_F_GUEST_ANNOUNCE, VIRTIO_NET_F_NOTF_COAL,
    VIRTIO_NET_F_VQ_NOTF_COAL,  VIRTIO_NET_F_CTRL_VLAN,      VIRTIO_NET_F_CTRL_RX,
    VIRTIO_NET_F_CTRL_MAC_ADDR, VIRTIO_NET_F_CTRL_VQ,        VIRTIO_F_RING_PACKED,
};

static void set_mtu(uint16_t mtu) {
    memcpy(dev.config + 10, &mtu, 2);
}

static void offer_optional(bool on) {
    for (unsigned i = 0; i < ARRAY_SIZE(optional); i++) {
        virtio_device_offer(&dev, optional[i], on);
    }
    set_mtu(1500);
}

/* The next service resets the device; whatever the outcome, nothing is lost and no rule broken. */
static void reset_device(void) {
    virtio_device_need_reset(&dev);
    (void)next_service();
    check_pool(0);
}

/* It comes back as it was before, and works. */
static void expect_recovery(void) {
    reset_device();
    if (!nd->running) {
        fail_msg("it did not come back: %s", capture_text);
    }
    expect_traffic();
    assert_int_equal(next_service(), 0); /* and stays */
}

/* --- features --------------------------------------------------------------------------------- */

/* Each feature vanishes, and comes back. Without keys that need it, all but the ring layout can be done
 * without. */
static void test_each_feature_vanishes(void **state) {
    for (unsigned i = 0; i < ARRAY_SIZE(optional); i++) {
        if (optional[i] == VIRTIO_F_NOTIF_CONFIG_DATA && on_mmio) {
            continue;
        }
        again(state);
        offer_optional(true);
        tx_begin();
        virtio_device_offer(&dev, optional[i], false);
        if (optional[i] == VIRTIO_F_RING_PACKED) {
            reset_device();
            assert_false(nd->running);
            expect_logged("another MTU or ring layout");
        } else {
            expect_recovery();
        }
        virtio_device_offer(&dev, optional[i], true);
        expect_recovery();
        assert_true(virtio_feature_get(&nd->features, optional[i]));
    }
}

/* Features that were not there at first are left alone: memory and keys were settled without them. */
static void test_each_feature_appears(void **state) {
    for (unsigned i = 0; i <= ARRAY_SIZE(optional); i++) {
        again(state);
        offer_optional(false);
        tx_begin();
        const struct virtio_features before = nd->features;
        if (i < ARRAY_SIZE(optional)) {
            offer(optional[i]);
        } else {
            offer_optional(true);
        }
        offer(VIRTIO_NET_F_CTRL_VQ);
        expect_recovery();
        assert_memory_equal(&nd->features, &before, sizeof(before));
        assert_int_equal(dev.ctrl.count, 0);
    }
}

/* Masked by the user stays masked. */
static void test_masked_stays_masked(void **state) {
    (void)state;
    offer_optional(true);
    strcpy(cfg.features, "-ring_packed,-mrg_rxbuf,-ctrl_vq");
    tx_begin();
    for (unsigned i = 0; i < 3; i++) {
        expect_recovery();
        assert_false(virtio_device_accepted(&dev, VIRTIO_F_RING_PACKED));
        assert_false(virtio_device_accepted(&dev, VIRTIO_NET_F_MRG_RXBUF));
        assert_false(virtio_device_accepted(&dev, VIRTIO_NET_F_CTRL_VQ));
    }
}

static void test_random_offers(void **state) {
    for (unsigned round = 0; round < 40; round++) {
        const struct unit_random kept = rnd;
        again(state);
        rnd = kept;
        for (unsigned i = 0; i < ARRAY_SIZE(optional); i++) {
            virtio_device_offer(&dev, optional[i], unit_below(&rnd, 2));
        }
        set_mtu(1500);
        tx_begin();
        uint32_t offered[3];
        memcpy(offered, dev.offered, sizeof(offered));
        for (unsigned n = 0; n < 8; n++) {
            for (unsigned i = 0; i < 3; i++) {
                dev.offered[i] = unit_random(&rnd);
            }
            reset_device();
            if (nd->running) {
                assert_true(virtio_device_accepted(&dev, VIRTIO_F_VERSION_1));
            }
        }
        memcpy(dev.offered, offered, sizeof(offered));
        expect_recovery();
    }
}

/* --- features that keys need ------------------------------------------------------------------ */

/* What the user insisted on at start is not given up silently later. Back again, it is set again. */
static void test_keys_keep_their_features(void **state) {
    static const struct {
        uint8_t missing;
        const char *mac, *coalesce;
    } cases[] = {
        {VIRTIO_NET_F_CTRL_MAC_ADDR, "02:00:00:00:00:07", ""},
        {VIRTIO_NET_F_CTRL_RX, "02:00:00:00:00:07", ""},
        {VIRTIO_NET_F_CTRL_VQ, "02:00:00:00:00:07", ""},
        {VIRTIO_NET_F_NOTF_COAL, "", "rx:1,2"},
        {VIRTIO_NET_F_NOTF_COAL, "", "tx:1,2"},
        {VIRTIO_NET_F_CTRL_VQ, "", "tx:1,2"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        again(state);
        offer_ctrl();
        strcpy(cfg.mac, cases[i].mac);
        strcpy(cfg.coalesce, cases[i].coalesce);
        tx_begin();
        virtio_device_offer(&dev, cases[i].missing, false);
        for (unsigned n = 0; n < 3; n++) {
            capture_begin();
            reset_device();
            assert_false(nd->running);
            expect_logged("came back without");
        }
        virtio_device_offer(&dev, cases[i].missing, true);
        expect_recovery();
        assert_int_equal(dev.ctrl.has_mac, cases[i].mac[0] != '\0');
        assert_int_equal(dev.ctrl.coalesce[RX].usecs + dev.ctrl.coalesce[TX].usecs,
                         cases[i].coalesce[0] != '\0');
    }
}

/* One of the two kinds of coalescing is enough, whichever. */
static void test_other_coalescing(void **state) {
    (void)state;
    offer_ctrl();
    offer(VIRTIO_NET_F_VQ_NOTF_COAL);
    strcpy(cfg.coalesce, "rx:1,2;tx:3,4");
    tx_begin();
    virtio_device_offer(&dev, VIRTIO_NET_F_NOTF_COAL, false);
    expect_recovery();
    assert_int_equal(dev.ctrl.coalesce[TX].usecs, 3);
    offer(VIRTIO_NET_F_NOTF_COAL);
    virtio_device_offer(&dev, VIRTIO_NET_F_VQ_NOTF_COAL, false);
    expect_recovery();
    assert_int_equal(dev.ctrl.coalesce[TX].packets, 4);
}

/* The control queue broke and is not there any more: the device runs without it, and is not reset again and
 * again for a queue that it does not have. */
static void test_broken_control_queue_vanishes(void **state) {
    (void)state;
    offer_ctrl();
    tx_begin();
    virtio_device_configure(&dev, STATUS_OFF, LINK_UP | ANNOUNCE);
    dev.ctrl.answer = ANSWER_NOTHING;
    assert_int_equal(service(), NET_ANNOUNCE);
    net_announced(nd);
    assert_true(nd->ctrl.queue.vq.broken);
    virtio_device_offer(&dev, VIRTIO_NET_F_CTRL_VQ, false);
    assert_int_equal(next_service(), NET_CHANGED);
    assert_int_equal(nd->restarts, 1);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(next_service(), 0);
    }
    assert_int_equal(nd->restarts, 1);
    expect_traffic();
}

/* --- sizes, address --------------------------------------------------------------------------- */

static void test_queue_maximum(void **state) {
    static const uint16_t maxima[] = {0, 1, 128, 255, 256, 257, 1024, 40000};
    for (unsigned i = 0; i < 3 * 2 * ARRAY_SIZE(maxima); i++) {
        const unsigned queue = i % 3;
        const uint16_t max = maxima[i / 6];
        again(state);
        offer_ctrl();
        offer_layout(i / 3 % 2 ? VQ_PACKED : VQ_SPLIT);
        tx_begin();
        const uint16_t num = dev.queue[queue].size;
        dev.queue[queue].max = max;
        reset_device();
        assert_int_equal(nd->running, max >= num);
        if (max < num) {
            expect_logged("the device came back with a smaller one");
        } else {
            assert_int_equal(dev.queue[queue].size, num);
            expect_traffic();
        }
        dev.queue[queue].max = 256;
        expect_recovery();
    }
}

static void test_mtu(void **state) {
    static const struct {
        uint16_t first, then;
        bool good;
    } cases[] = {{1500, 1400, true},  {1400, 1500, false}, {1500, 9000, false}, {9000, 1500, true},
                 {1500, 67, true},    {1280, 1281, true /* in the same room */}, {9000, 9216, false},
                 {1500, 65535, true}, {9000, 0, true},     {68, 0, false}};
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        again(state);
        offer(VIRTIO_NET_F_MTU);
        set_mtu(cases[i].first);
        tx_begin();
        set_mtu(cases[i].then);
        for (unsigned n = 0; n < 2; n++) {
            reset_device();
            const bool fits = nd->mtu + 14u + 4u <= nd->pool.room;
            assert_int_equal(nd->running, fits);
            assert_true(fits == cases[i].good || nd->pool.room > cases[i].first + 18u);
            assert_true(!nd->running || nd->tx_len_max == nd->mtu + 14u);
        }
        set_mtu(cases[i].first);
        reset_device();
        assert_int_equal(nd->mtu, cases[i].first);
        assert_true(nd->running);
    }
}

static void test_mac(void **state) {
    (void)state;
    tx_begin();
    dev.config[5] = 0x77;
    expect_recovery();
    assert_int_equal(nd->mac[5], 0x77);
    virtio_device_offer(&dev, VIRTIO_NET_F_MAC, false);
    expect_recovery();
    assert_int_equal(nd->mac[5], 0x77); /* none is told: the last one */
}

/* --- doorbells -------------------------------------------------------------------------------- */

static void test_doorbells_move(void **state) {
    (void)state;
    PCI_ONLY();
    offer_ctrl();
    offer(VIRTIO_F_NOTIF_CONFIG_DATA);
    tx_begin();
    for (unsigned i = 1; i < 5; i++) {
        for (unsigned q = 0; q < VIRTIO_DEVICE_QUEUES; q++) {
            dev.queue[q].notify_off = (uint16_t)(7 * i + q);
            dev.queue[q].notify_data = (uint16_t)(0xf000 + i * 16 + q);
        }
        virtio_device_offer(&dev, VIRTIO_F_NOTIF_CONFIG_DATA, i % 2);
        const unsigned before = dev.queue[CTRL].doorbells;
        expect_recovery();
        assert_true(dev.queue[CTRL].doorbells > before);
    }
}

int main(void) {
#define NET_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        NET_CASE(test_each_feature_vanishes),
        NET_CASE(test_each_feature_appears),
        NET_CASE(test_masked_stays_masked),
        NET_CASE(test_random_offers),
        NET_CASE(test_keys_keep_their_features),
        NET_CASE(test_other_coalescing),
        NET_CASE(test_broken_control_queue_vanishes),
        NET_CASE(test_queue_maximum),
        NET_CASE(test_mtu),
        NET_CASE(test_mac),
        NET_CASE(test_doorbells_move),
    };
    return RUN_ON_EACH_BUS("net changes", tests);
}
