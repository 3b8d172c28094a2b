/* The device asks for a reset, fails, changes: service and restart. */
#include "tests/unit/net_life.h"

#include <limits.h>

static void test_link_follows_the_device(void **state) {
    (void)state;
    tx_begin();
    assert_false(service());
    dev.config[6] = 0;
    assert_true(service());
    assert_false(nd->link_up);
    assert_false(service());
    assert_false(send_frame(0, 60, 1));
    dev.config[6] = 0xff; /* other bits mean other things */
    assert_true(service());
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
    assert_true(service());
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
        break_set_up(TX, which == 2);
        dev.offered[1] = which == 3 ? 0 : dev.offered[1];
        for (unsigned i = 0; i < 3; i++) {
            struct pktbuf *bufs[4];
            service();
            assert_false(nd->running);
            assert_false(send_frame(5, 60, 1));
            assert_int_equal(net_rx_burst(nd, bufs, 4), 0);
        }
        dev.refuse_features = false;
        dev.reset_reads = 0;
        break_set_up(TX, false);
        dev.offered[1] = which == 3 ? offered : dev.offered[1];
        assert_true(service());
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
    service();
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
    service();
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
    service();
    assert_true(!nd->running || nd->mtu <= 1500);
    service(); /* a first refusal is not forgotten by the second try */
    assert_true(!nd->running || nd->mtu <= 1500);
    dev.config[11] = 0x05;
    service();
    expect_traffic();
    dev.queue[RX].max = 16;
    dev.status |= VIRTIO_STATUS_NEEDS_RESET;
    service();
    expect_no_violation();
}

int main(void) {
#define NET_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        NET_CASE(test_link_follows_the_device),
        NET_CASE(test_needs_reset),
        NET_CASE(test_restart_is_tried_again),
        NET_CASE(test_flush_while_down),
        NET_CASE(test_refill_while_down),
        NET_CASE(test_device_changes_over_a_restart),
    };
    return RUN_ON_EACH_BUS("net restart", tests);
}
