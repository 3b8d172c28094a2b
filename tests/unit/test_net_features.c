/* Which features of virtio-net are negotiated, and the transport as they shape it: layouts, doorbells. */
#include "tests/unit/net_life.h"

#include <stdio.h>

static const uint8_t supported[] = {
    VIRTIO_F_VERSION_1,          VIRTIO_F_ACCESS_PLATFORM,    VIRTIO_F_ORDER_PLATFORM,
    VIRTIO_F_RING_PACKED,        VIRTIO_F_IN_ORDER,           VIRTIO_F_INDIRECT_DESC,
    VIRTIO_F_EVENT_IDX,          VIRTIO_F_NOTIFICATION_DATA,  VIRTIO_F_NOTIF_CONFIG_DATA,
    VIRTIO_F_RING_RESET,         VIRTIO_NET_F_MAC,            VIRTIO_NET_F_STATUS,
    VIRTIO_NET_F_MTU,            VIRTIO_NET_F_SPEED_DUPLEX,   VIRTIO_NET_F_MRG_RXBUF,
    VIRTIO_NET_F_CSUM,           VIRTIO_NET_F_GUEST_CSUM,
    VIRTIO_NET_F_CTRL_VQ,        VIRTIO_NET_F_CTRL_RX,        VIRTIO_NET_F_CTRL_VLAN,
    VIRTIO_NET_F_CTRL_MAC_ADDR,  VIRTIO_NET_F_GUEST_ANNOUNCE, VIRTIO_NET_F_NOTF_COAL,
    VIRTIO_NET_F_VQ_NOTF_COAL,   VIRTIO_NET_F_HOST_TSO4,      VIRTIO_NET_F_HOST_TSO6,
    VIRTIO_NET_F_HOST_USO,       VIRTIO_NET_F_GUEST_HDRLEN,   VIRTIO_NET_F_GUEST_TSO4,
    VIRTIO_NET_F_GUEST_TSO6,     VIRTIO_NET_F_GUEST_USO4,     VIRTIO_NET_F_GUEST_USO6,
    VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
};

static bool offered(unsigned bit) {
    return dev.offered[bit / 32] >> bit % 32 & 1;
}

static void set_mtu(uint16_t mtu) {
    dev.config[10] = (uint8_t)mtu;
    dev.config[11] = (uint8_t)(mtu >> 8);
}

static void offer_all(void) {
    memset(dev.offered, 0xff, sizeof(dev.offered));
    set_mtu(1500);
}

/* What is to be accepted of the offer: all that is supported and has what it needs: by 5.1.3.1, and long
 * frames only into several buffers. */
static bool is_due(unsigned bit, unsigned masked) {
#define HAS(feature) (offered(feature) && masked != (feature))
    const bool ctrl = HAS(VIRTIO_NET_F_CTRL_VQ);
    const bool ctrl_rx = ctrl && HAS(VIRTIO_NET_F_CTRL_RX);
    const bool status = HAS(VIRTIO_NET_F_STATUS);
    const bool long_frames = HAS(VIRTIO_NET_F_GUEST_CSUM) && HAS(VIRTIO_NET_F_MRG_RXBUF);
    bool due = false;
    for (unsigned i = 0; i < ARRAY_SIZE(supported); i++) {
        due = due || supported[i] == bit;
    }
    switch (bit) {
    case VIRTIO_NET_F_HOST_TSO4:
    case VIRTIO_NET_F_HOST_TSO6:
    case VIRTIO_NET_F_HOST_USO:
        due = due && HAS(VIRTIO_NET_F_CSUM);
        break;
    case VIRTIO_NET_F_GUEST_TSO4:
    case VIRTIO_NET_F_GUEST_TSO6:
    case VIRTIO_NET_F_GUEST_USO4:
    case VIRTIO_NET_F_GUEST_USO6:
        due = due && long_frames;
        break;
    case VIRTIO_NET_F_CTRL_GUEST_OFFLOADS:
    case VIRTIO_NET_F_CTRL_RX:
    case VIRTIO_NET_F_CTRL_VLAN:
    case VIRTIO_NET_F_NOTF_COAL:
    case VIRTIO_NET_F_VQ_NOTF_COAL:
        due = due && ctrl;
        break;
    case VIRTIO_NET_F_CTRL_MAC_ADDR:
        due = due && ctrl_rx;
        break;
    case VIRTIO_NET_F_GUEST_ANNOUNCE:
        due = due && ctrl && status;
        break;
    case VIRTIO_F_NOTIF_CONFIG_DATA:
        due = due && !on_mmio; /* there is no register for it */
        break;
    }
    return due && offered(bit) && bit != masked;
}

static void expect_accepted(unsigned masked) {
    for (unsigned bit = 0; bit < 96; bit++) {
        if (virtio_device_accepted(&dev, bit) != is_due(bit, masked)) {
            fail_msg("feature %u was%s accepted", bit, is_due(bit, masked) ? " not" : "");
        }
        assert_int_equal(virtio_feature_get(&nd->features, bit), is_due(bit, masked));
    }
}

enum { NONE = 96 };

/* Whatever is offered, accepted is what the driver knows how to use; the rest is ignored (2.2.1). */
static void test_any_offer(void **state) {
    for (unsigned round = 0; round < 100; round++) {
        const struct unit_random kept = rnd;
        again(state);
        rnd = kept;
        offer_all();
        for (unsigned i = 0; i < 3 && round > 0; i++) {
            dev.offered[i] = unit_random(&rnd);
        }
        offer(VIRTIO_F_VERSION_1);
        bring_up();
        expect_accepted(NONE);
    }
}

/* One feature is missing, by the device or by the user: a reduced mode (2.2.1, 3.1.1), never an error. */
static void test_each_feature_missing(void **state) {
    const char *names[VIRTIO_FEATURE_NAMES_MAX];
    for (unsigned i = 1; i < 2 * ARRAY_SIZE(supported); i++) {
        const uint8_t bit = supported[i % ARRAY_SIZE(supported)];
        const bool by_user = i >= ARRAY_SIZE(supported);
        if (bit == VIRTIO_F_VERSION_1) {
            continue;
        }
        again(state);
        offer_all();
        if (by_user) {
            struct virtio_features one = {0};
            virtio_feature_set(&one, bit);
            assert_int_equal(virtio_feature_names(&one, names), 1);
            snprintf(cfg.features, sizeof(cfg.features), "-%s", names[0]);
        } else {
            virtio_device_offer(&dev, bit, false);
        }
        tx_begin();
        expect_accepted(by_user ? bit : NONE);
        expect_traffic();
    }
}

/* One feature alone: without what it needs it is left. */
static void test_each_feature_alone(void **state) {
    for (unsigned bit = 0; bit < 96; bit++) {
        again(state);
        memset(dev.offered, 0, sizeof(dev.offered));
        set_mtu(1500);
        offer(VIRTIO_F_VERSION_1);
        offer(bit);
        tx_begin();
        expect_accepted(NONE);
        expect_traffic();
    }
}

/* 4.1.4.3: fields at the end of the common configuration that the device does not have. */
static void test_features_without_registers(void **state) {
    PCI_ONLY();
    static const struct {
        uint32_t len;
        bool data, reset;
    } cases[] = {{56, false, false}, {57, false, false}, {58, true, false},
                 {59, true, false},  {60, true, true},   {64, true, true}};
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        again(state);
        machine_init();
        virtio_device_add(&dev, 2, BAR_ADDR);
        give_memory(&dev);
        dev.area[1].len = cases[i].len;
        virtio_device_add_caps(&dev);
        offer(VIRTIO_F_NOTIF_CONFIG_DATA);
        offer(VIRTIO_F_RING_RESET);
        tx_begin();
        assert_int_equal(virtio_device_accepted(&dev, VIRTIO_F_NOTIF_CONFIG_DATA), cases[i].data);
        assert_int_equal(virtio_device_accepted(&dev, VIRTIO_F_RING_RESET), cases[i].reset);
        expect_traffic();
    }
}

static void test_layouts(void **state) {
    FOR_LAYOUTS(layout) {
        again(state);
        offer_layout(layout);
        offer(VIRTIO_F_INDIRECT_DESC);
        tx_begin();
        assert_int_equal(nd->rx.vq.layout, layout);
        assert_int_equal(nd->tx.vq.layout, layout);
        assert_non_null(nd->tx.vq.indirect);
        assert_null(nd->rx.vq.indirect);
        assert_string_equal(net_layout_name(&nd->rx), vq_is_packed(layout) ? "packed" : "split");
        for (unsigned i = 0; i < 200; i++) { /* around the ring */
            expect_traffic();
        }
    }
}

/* --- speed ------------------------------------------------------------------------------------ */

/* 5.1.4.2: what is neither a speed nor a duplex is unknown, and not printed. */
static void test_speed(void **state) {
    static const struct {
        uint32_t speed;
        uint8_t duplex;
        const char *printed;
    } cases[] = {
        {0, 0, "\"speed_mbps\":0,\"duplex\":\"half\""},
        {10000, 1, "\"speed_mbps\":10000,\"duplex\":\"full\""},
        {0x7fffffff, 1, "\"speed_mbps\":2147483647,\"duplex\":\"full\""},
        {0x80000000, 1, ",\"duplex\":\"full\""},
        {UINT32_MAX, 0xff, ",\"mode\":\"poll\""},
        {25000, 2, "\"speed_mbps\":25000,\"mode\""},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        again(state);
        offer(VIRTIO_NET_F_SPEED_DUPLEX);
        memcpy(dev.config + 12, &cases[i].speed, 4);
        dev.config[16] = cases[i].duplex;
        tx_begin();
        assert_int_equal(nd->speed, cases[i].speed);
        assert_int_equal(nd->duplex, cases[i].duplex);
        const char *text = strstr(capture_text, "\"buffers\"");
        assert_non_null(text);
        if (strstr(text, cases[i].printed) == NULL) {
            fail_msg("no %s in %s", cases[i].printed, text);
        }
        assert_int_equal(strstr(text, "speed") != NULL, cases[i].speed <= 0x7fffffff);
        assert_int_equal(strstr(text, "duplex") != NULL, cases[i].duplex <= 1);
        /* Not told any more. */
        virtio_device_offer(&dev, VIRTIO_NET_F_SPEED_DUPLEX, false);
        restart();
        assert_true(nd->speed > VIRTIO_NET_SPEED_MAX && nd->duplex > VIRTIO_NET_DUPLEX_FULL);
        expect_traffic();
    }
}

/* --- doorbells -------------------------------------------------------------------------------- */

/* The device's own names for queues: large, and none of them a number of a queue. */
static void name_queues(void) {
    for (unsigned i = 0; i < VIRTIO_DEVICE_QUEUES; i++) {
        dev.queue[i].notify_data = (uint16_t)(0xa500 + 7 * i);
    }
}

static void build(uint32_t multiplier, bool ports) {
    machine_init();
    virtio_device_add(&dev, 2, BAR_ADDR);
    give_memory(&dev);
    dev.notify_multiplier = multiplier;
    if (ports) {
        pci_bus_set_bar(dev.fn, 0, 1, 64, 0xc100);
        dev.area[2] = (struct virtio_device_area){.bar = 0, .off = 8, .len = 56};
    }
    virtio_device_add_caps(&dev);
    name_queues();
}

/* 4.1.5.2.1 and 2.9: width, name and position, which the device checks at each one. */
static void test_doorbell_forms(void **state) {
    PCI_ONLY();
    static const uint32_t multipliers[] = {0, 4, 4096};
    for (unsigned i = 0; i < 16 * 4 * ARRAY_SIZE(multipliers); i++) {
        const enum vq_layout layout = i / 16 % 4;
        const uint32_t multiplier = multipliers[i / 64];
        const bool ports = (i & 4) != 0;
        if (ports && multiplier > 4) {
            continue; /* there are not that many ports */
        }
        again(state);
        build(multiplier, ports);
        offer_layout(layout);
        virtio_device_offer(&dev, VIRTIO_F_NOTIFICATION_DATA, i & 1);
        virtio_device_offer(&dev, VIRTIO_F_NOTIF_CONFIG_DATA, i & 2);
        offer(VIRTIO_NET_F_CTRL_VQ);
        offer(VIRTIO_NET_F_CTRL_RX);
        virtio_device_offer(&dev, VIRTIO_F_EVENT_IDX, i & 8);
        dev.queue[RX].max = dev.queue[TX].max = vq_is_packed(layout) ? 7 : 8;
        tx_begin();
        for (unsigned n = 0; n < 30; n++) {
            vq_device_want_notify(&dev.queue[RX].ring, true);
            vq_device_want_notify(&dev.queue[TX].ring, true);
            expect_traffic();
        }
        assert_true(dev.queue[RX].doorbells > 10);
        assert_true(dev.queue[TX].doorbells >= 30);
        assert_int_equal(dev.queue[CTRL].doorbells, dev.ctrl.count);
        assert_true(dev.ctrl.count > 0);
        assert_int_equal(nd->tx.stats.kicks, dev.queue[TX].doorbells);
    }
}

/* Indices past 2^15, where next_wrap of a split ring is set, and past 2^16 (2.9). */
static void test_position_wraps(void **state) {
    FOR_LAYOUTS(layout) {
        struct pktbuf *bufs[NET_BURST_MAX];
        again(state);
        offer_layout(layout);
        offer(VIRTIO_F_NOTIFICATION_DATA);
        cfg.queue = 64;
        bring_up();
        for (unsigned i = 0; i < 70000 / 32; i++) {
            for (unsigned k = 0; k < 32; k++) {
                assert_true(receive(HDR + 60, (uint8_t)i, HDR + 60));
            }
            show(RX);
            const unsigned count = net_rx_burst(nd, bufs, NET_BURST_MAX);
            assert_int_equal(count, 32);
            for (unsigned k = 0; k < count; k++) {
                pktbuf_put(bufs[k]);
            }
        }
        assert_true(dev.queue[RX].doorbells > 1000);
        check_pool(0);
    }
}

/* A device that offers NOTIFICATION_DATA and has no room, or no aligned place, for 32 bits there. */
static void test_doorbell_cannot_hold_position(void **state) {
    PCI_ONLY();
    static const struct {
        uint32_t multiplier, off, len;
        bool good;
    } cases[] = {{4, 0x3000, 12, true}, {4, 0x3000, 7, false}, {2, 0x3000, 0x100, false},
                 {4, 0x3002, 0x100, false}, {0, 0x3000, 4, true}, {0, 0x3000, 3, false}};
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        again(state);
        machine_init();
        virtio_device_add(&dev, 2, BAR_ADDR);
        give_memory(&dev);
        dev.notify_multiplier = cases[i].multiplier;
        dev.area[2].off = cases[i].off;
        dev.area[2].len = cases[i].len;
        virtio_device_add_caps(&dev);
        offer(VIRTIO_F_NOTIFICATION_DATA);
        assert_int_equal(probe(), cases[i].good ? ERR_OK : ERR_ABSENT);
        if (!cases[i].good) {
            expect_logged("cannot be set up");
            assert_true(dev.status & VIRTIO_STATUS_FAILED);
        }
    }
}

static bool has(unsigned bit) {
    return virtio_feature_get(&nd->features, bit);
}

/* Raw workloads leave out what has costs and no use for them; +name brings it back. */
static void test_raw_workloads(void **state) {
    static const uint32_t apps[] = {CONFIG_APP_ECHO, CONFIG_APP_FWD, CONFIG_APP_GEN,
                                    CONFIG_APP_SINK};
    for (unsigned i = 0; i < ARRAY_SIZE(apps); i++) {
        const bool raw = apps[i] != CONFIG_APP_ECHO;
        for (unsigned packed = 0; packed < 2; packed++) {
            for (unsigned irq = 0; irq < 2; irq++) {
                for (unsigned plus = 0; plus < 2; plus++) {
                    again(state);
                    offer_all();
                    virtio_device_offer(&dev, VIRTIO_F_RING_PACKED, packed);
                    virtio_device_add_msix(&dev, 3);
                    cfg.app = apps[i];
                    cfg.mode = irq ? CONFIG_MODE_IRQ : CONFIG_MODE_POLL;
                    strcpy(cfg.features, plus ? "+mrg_rxbuf,+event_idx" : "");
                    bring_up();
                    assert_int_equal(has(VIRTIO_NET_F_MRG_RXBUF), plus || !raw);
                    assert_int_equal(has(VIRTIO_F_EVENT_IDX), plus || !raw || packed || irq);
                    assert_int_equal(has(VIRTIO_NET_F_CSUM), !raw);
                    assert_int_equal(has(VIRTIO_NET_F_GUEST_CSUM), !raw);
                    assert_int_equal(dev.ctrl.promisc, raw);
                }
            }
        }
    }
    static const char *const bad[] = {"+guest_csum", "+host_ecn", "+mac,-mac"};
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        again(state);
        offer_all();
        cfg.app = CONFIG_APP_FWD;
        strcpy(cfg.features, bad[i]);
        assert_int_equal(net_probe(&cfg), ERR_CONFIG);
    }
}

int main(void) {
#define NET_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        NET_CASE(test_any_offer),
        NET_CASE(test_each_feature_missing),
        NET_CASE(test_each_feature_alone),
        NET_CASE(test_features_without_registers),
        NET_CASE(test_layouts),
        NET_CASE(test_speed),
        NET_CASE(test_doorbell_forms),
        NET_CASE(test_position_wraps),
        NET_CASE(test_doorbell_cannot_hold_position), NET_CASE(test_raw_workloads),
    };
    return RUN_ON_EACH_BUS("net features", tests);
}
