/* The device breaks its rules, asks for a reset, changes: service and restart. */
#include "tests/unit/net_rig.h"

#include <limits.h>

static void *lost[600];
static unsigned lost_count;

static void count_lost(struct net_dev *which, void *token) {
    assert_ptr_equal(which, nd);
    assert_false(dev.queue[TX].enabled || dev.reset_pending); /* the device has let go of it */
    assert_true(lost_count < ARRAY_SIZE(lost));
    for (unsigned i = 0; i < lost_count; i++) {
        assert_ptr_not_equal(lost[i], token);
    }
    lost[lost_count++] = token;
}

/* After each lie of the ring: no frame of it, no crash; the device is reset and works again, every
 * frame that it held comes back once, every receive buffer is there. */
static void test_ring_lies(void **state) {
    static const uint8_t statuses[] = {0x8f, 0, 0x01, 0x03, 0x0b, 0x0f};
    (void)state;
    tx_begin();
    for (enum vq_fault fault = 0; fault < VQ_FAULT_COUNT; fault++) {
        for (unsigned queue = RX; queue <= TX; queue++) {
            struct pktbuf *bufs[NET_BURST_MAX];
            void *tokens[NET_BURST_MAX];
            struct vq_device_buffer b;
            struct vq_device *ring = &dev.queue[queue].ring;
            const uint64_t errors = nd->rx.vq.device_errors + nd->tx.vq.device_errors;
            const uint64_t drops = nd->tx.stats.drop_reset;
            const unsigned restarts = nd->restarts;
            for (unsigned i = 0; i < 10; i++) {
                assert_true(send_frame(i, 60, fault == VQ_FAULT_NOT_HEAD ? 2 : 1));
            }
            net_tx_flush(nd);
            for (unsigned i = 0; i < 4; i++) {
                assert_true(vq_device_fetch(ring, &b));
            }
            vq_device_use(ring, b.id, queue == RX ? HDR + 60 : 0);
            vq_device_show(ring);
            const unsigned good = queue == RX ? net_rx_burst(nd, bufs, NET_BURST_MAX)
                                              : net_tx_done(nd, tokens, NET_BURST_MAX);
            assert_int_equal(good, 1);
            if (queue == RX) {
                pktbuf_put(bufs[0]);
            }
            if (!vq_device_fault(ring, fault)) {
                assert_true(fault == VQ_FAULT_LONG_BATCH || /* this ring is not in order */
                            (fault == VQ_FAULT_NOT_HEAD && queue == RX));
                vq_device_fetch(ring, &b);
                vq_device_fault(ring, VQ_FAULT_HUGE_ID);
            }
            assert_int_equal(queue == RX ? net_rx_burst(nd, bufs, NET_BURST_MAX)
                                         : net_tx_done(nd, tokens, NET_BURST_MAX),
                             0);
            assert_int_equal(nd->rx.vq.device_errors + nd->tx.vq.device_errors, errors + 1);
            assert_false(send_frame(20, 60, 1) && queue == TX);
            const unsigned log = dev.status_count % VIRTIO_DEVICE_LOG;
            dev.status_count = log + sizeof(statuses) > VIRTIO_DEVICE_LOG ? 0 : log;
            const unsigned from = dev.status_count;
            lost_count = 0;
            assert_true(net_service(nd, clock_ms(), count_lost));
            expect_statuses(from, statuses, sizeof(statuses));
            assert_int_equal(lost_count, queue == TX ? 9 : 11);
            assert_int_equal(nd->tx.stats.drop_reset, drops + lost_count);
            assert_int_equal(nd->restarts, restarts + 1);
            assert_false(net_service(nd, clock_ms(), count_lost));
            expect_traffic();
        }
    }
}

static void test_link_follows_the_device(void **state) {
    (void)state;
    tx_begin();
    assert_false(net_service(nd, clock_ms(), count_lost));
    dev.config[6] = 0;
    assert_true(net_service(nd, clock_ms(), count_lost));
    assert_false(nd->link_up);
    assert_false(net_service(nd, clock_ms(), count_lost));
    assert_false(send_frame(0, 60, 1));
    dev.config[6] = 0xff; /* other bits mean other things */
    assert_true(net_service(nd, clock_ms(), count_lost));
    assert_int_equal(nd->restarts, 0);
    expect_traffic();
}

/* Whatever is under way: sent frames come back as lost, received ones stay with their owner. */
static void test_needs_reset(void **state) {
    struct pktbuf *held[20];
    (void)state;
    tx_begin();
    lost_count = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(held); i++) {
        assert_true(receive(HDR + 60, (uint8_t)i, HDR + 60));
    }
    show(RX);
    assert_int_equal(net_rx_burst(nd, held, 20), 20);
    for (unsigned i = 0; i < 30; i++) {
        assert_true(send_frame(i, 60, 1 + i % 3));
    }
    net_tx_flush(nd);
    assert_true(send_frame(30, 60, 1)); /* not flushed */
    dev.status |= VIRTIO_STATUS_NEEDS_RESET;
    assert_true(net_service(nd, clock_ms(), count_lost));
    assert_int_equal(lost_count, 31);
    assert_int_equal(nd->restarts, 1);
    check_pool(20);
    for (unsigned i = 0; i < ARRAY_SIZE(held); i++) {
        assert_int_equal(held[i]->data[59], i);
        pktbuf_put(held[i]);
    }
    expect_traffic();
}

/* A restart that fails, for whatever reason, is tried again, and nothing is lost meanwhile. */
static void test_restart_is_tried_again(void **state) {
    for (unsigned which = 0; which < 4; which++) {
        const uint32_t offered = dev.offered[1];
        tear_down(state);
        set_up(state);
        tx_begin();
        lost_count = 0;
        assert_true(send_frame(3, 60, 1));
        net_tx_flush(nd);
        dev.status |= VIRTIO_STATUS_NEEDS_RESET;
        dev.refuse_features = which == 0;
        dev.reset_reads = which == 1 ? UINT_MAX : 0;
        dev.queue[TX].notify_off = which == 2 ? 0xffff : TX;
        dev.offered[1] = which == 3 ? 0 : dev.offered[1];
        for (unsigned i = 0; i < 3; i++) {
            struct pktbuf *bufs[4];
            net_service(nd, clock_ms(), count_lost);
            assert_false(nd->running);
            assert_false(send_frame(5, 60, 1));
            assert_int_equal(net_rx_burst(nd, bufs, 4), 0);
        }
        dev.refuse_features = false;
        dev.reset_reads = 0;
        dev.queue[TX].notify_off = TX;
        dev.offered[1] = which == 3 ? offered : dev.offered[1];
        assert_true(net_service(nd, clock_ms(), count_lost));
        assert_int_equal(lost_count, 1);
        expect_traffic();
    }
}

/* Nothing rings while the device is not live, whoever asks: neither what was added before it went
 * down, nor buffers that come back meanwhile. */
static void go_down(void) {
    tx_begin();
    assert_true(send_frame(0, 60, 1)); /* not flushed */
    dev.status |= VIRTIO_STATUS_NEEDS_RESET;
    dev.refuse_features = true;
    net_service(nd, clock_ms(), count_lost);
    assert_false(nd->running);
}

static void test_flush_while_down(void **state) {
    (void)state;
    go_down();
    net_tx_flush(nd);
    expect_no_violation();
}

static void test_refill_while_down(void **state) {
    struct pktbuf *bufs[NET_BURST_MAX];
    (void)state;
    tx_begin();
    assert_true(receive(HDR + 60, 1, HDR + 60)); /* a free descriptor, too few for a batch */
    show(RX);
    assert_int_equal(net_rx_burst(nd, bufs, NET_BURST_MAX), 1);
    dev.status |= VIRTIO_STATUS_NEEDS_RESET;
    dev.refuse_features = true;
    net_service(nd, clock_ms(), count_lost);
    assert_false(nd->running);
    pktbuf_put(bufs[0]);
    net_rx_refill(nd);
    expect_no_violation();
}

/* The device comes back with a smaller queue, or a larger MTU than the buffers were made for: the
 * driver may use it as it is now or leave it, but must not write a size above the maximum. */
static void test_device_changes_over_a_restart(void **state) {
    (void)state;
    virtio_device_offer(&dev, VIRTIO_NET_F_MTU, true);
    dev.config[10] = 0xdc;
    dev.config[11] = 0x05;
    tx_begin();
    dev.config[11] = 0x20; /* 8412 bytes */
    dev.status |= VIRTIO_STATUS_NEEDS_RESET;
    net_service(nd, clock_ms(), count_lost);
    assert_true(!nd->running || nd->mtu <= 1500);
    net_service(nd, clock_ms(), count_lost); /* a first refusal is not forgotten by the second try */
    assert_true(!nd->running || nd->mtu <= 1500);
    dev.config[11] = 0x05;
    net_service(nd, clock_ms(), count_lost);
    expect_traffic();
    dev.queue[RX].max = 16;
    dev.status |= VIRTIO_STATUS_NEEDS_RESET;
    net_service(nd, clock_ms(), count_lost);
    expect_no_violation();
}

int main(void) {
#define NET_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        NET_CASE(test_ring_lies),
        NET_CASE(test_link_follows_the_device),
        NET_CASE(test_needs_reset),
        NET_CASE(test_restart_is_tried_again),
        NET_CASE(test_flush_while_down),
        NET_CASE(test_refill_while_down),
        NET_CASE(test_device_changes_over_a_restart),
    };
    return cmocka_run_group_tests_name("net restart", tests, NULL, NULL);
}
