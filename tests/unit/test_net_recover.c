/* Queues that broke, a device that stands still, links that come and go (2.6, 2.1.2, 5.1.4). */
#include "tests/unit/net_life.h"

#include <limits.h>

enum { ALONE = VIRTIO_F_RING_RESET, LOOKS = 5 };

static void begin(void **state, enum vq_layout layout, bool alone) {
    again(state);
    offer_ctrl();
    offer_layout(layout);
    virtio_device_offer(&dev, ALONE, alone);
    virtio_device_add_msix(&dev, 3);
    cfg.mode = CONFIG_MODE_IRQ;
    strcpy(cfg.coalesce, "rx:10,20;tx:30,40");
    tx_begin();
    lost_count = 0;
}

static void send(unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        assert_true(send_frame(i, 60, 1 + i % 3));
    }
    net_tx_flush(nd);
}

/* The device gives something back that it never had; the driver sees it. */
static void break_queue(unsigned queue) {
    struct pktbuf *bufs[4];
    void *tokens[4];
    virtio_device_lie(&dev, queue, 0xffff, 0);
    assert_int_equal(queue == RX ? net_rx_burst(nd, bufs, 4) : net_tx_done(nd, tokens, 4), 0);
    assert_true(queue == RX ? nd->rx.vq.broken : nd->tx.vq.broken);
}

static void expect_coalesce(void) {
    assert_int_equal(dev.ctrl.coalesce[RX].usecs, 10);
    assert_int_equal(dev.ctrl.coalesce[TX].packets, 40);
}

/* --- one queue alone -------------------------------------------------------------------------- */

/* 2.6.1: the other queue goes on as if nothing had been; the one that was reset is set up anew, with size,
 * addresses, vector (the device checks these) and coalescing. */
static void test_queue_reset(void **state) {
    static const unsigned reads[] = {0, 1, 2, 100};
    for (unsigned i = 0; i < 2 * 4 * ARRAY_SIZE(reads); i++) {
        const unsigned queue = i % 2;
        begin(state, i / 2 % 4, true);
        dev.queue_reset_reads = reads[i / 8];
        send(20);
        assert_true(send_frame(20, 60, 1)); /* not flushed */
        break_queue(queue);
        assert_int_equal(service(), NET_CHANGED);
        assert_int_equal(nd->restarts, 0);
        assert_int_equal(nd->rx.stats.resets, queue == RX);
        assert_int_equal(nd->tx.stats.resets, queue == TX);
        assert_int_equal(dev.queue[queue].resets, 1);
        assert_int_equal(dev.queue[!queue].resets, 0);
        assert_int_equal(dev.queue[queue].vector, on_mmio ? VIRTIO_DEVICE_NO_VECTOR : queue);
        assert_int_equal(lost_count, queue == TX ? 21 : 0);
        assert_int_equal(nd->tx.stats.drop_reset, lost_count);
        assert_int_equal(nd->rx.vq.device_errors + nd->tx.vq.device_errors, 1);
        expect_coalesce();
        assert_int_equal(service(), 0);
        if (queue == RX) { /* what was to be sent still is */
            void *tokens[NET_BURST_MAX];
            uint8_t bytes[2048];
            net_tx_flush(nd);
            for (unsigned k = 0; k < 21; k++) {
                assert_int_equal(transmit(bytes, sizeof(bytes)), HDR + 60);
                assert_int_equal(bytes[HDR], k + 1);
            }
            vq_device_show(&dev.queue[TX].ring);
            assert_int_equal(net_tx_done(nd, tokens, NET_BURST_MAX), 21);
        }
        for (unsigned k = 0; k < 100; k++) {
            expect_traffic();
        }
    }
}

/* Again and again, both at once, and then all of the device. */
static void test_many_queue_resets(void **state) {
    FOR_LAYOUTS(layout) {
        begin(state, layout, true);
        for (unsigned i = 1; i <= 20; i++) {
            send(3);
            break_queue(RX);
            break_queue(TX);
            assert_int_equal(service(), NET_CHANGED);
            assert_int_equal(nd->rx.stats.resets, i);
            assert_int_equal(nd->tx.stats.resets, i);
            assert_int_equal(lost_count, 3);
            lost_count = 0;
            expect_traffic();
            if (i % 5 == 0) {
                restart();
                expect_traffic();
            }
        }
        assert_int_equal(nd->restarts, 4);
    }
}

/* Without RING_RESET there is only the device to reset. */
static void test_no_ring_reset(void **state) {
    for (unsigned queue = RX; queue <= TX; queue++) {
        begin(state, VQ_PACKED, false);
        send(7);
        break_queue(queue);
        assert_int_equal(service(), NET_CHANGED);
        assert_int_equal(nd->restarts, 1);
        assert_int_equal(nd->rx.stats.resets + nd->tx.stats.resets, 0);
        assert_int_equal(lost_count, 7);
        expect_coalesce();
        expect_traffic();
    }
}

/* A reset of a queue that never ends, or a queue that cannot be set up afterwards: all of the device, within
 * a second, and its memory is not touched before. */
static void test_queue_reset_fails(void **state) {
    for (unsigned i = 0; i < 2 * 4 * 3; i++) {
        const unsigned queue = i % 2, which = i / 8;
        begin(state, i / 2 % 4, true);
        send(5);
        break_queue(queue);
        switch (which) {
        case 0:
            dev.queue_reset_reads = UINT_MAX;
            break;
        case 1:
            break_set_up(queue, true);
            break;
        default:
            dev.vectors_refused = (uint8_t)(1u << queue);
            dev.mmio.ready_stuck = true;
        }
        const uint64_t before = now_us;
        assert_int_equal(service(), NET_CHANGED);
        assert_true(now_us - before < 1200 * 1000);
        assert_int_equal(nd->restarts, 1);
        assert_int_equal(nd->running, which == 0);
        assert_int_equal(lost_count, 5);
        expect_no_violation();
        dev.queue_reset_reads = 0;
        break_set_up(queue, false);
        dev.vectors_refused = 0;
        next_service();
        expect_traffic();
    }
}

/* DEVICE_NEEDS_RESET is about the whole device (2.1.2), whatever else is broken. */
static void test_needs_reset_comes_first(void **state) {
    begin(state, VQ_SPLIT, true);
    send(5);
    break_queue(RX);
    restart();
    assert_int_equal(dev.queue[RX].resets + dev.queue[TX].resets, 0);
    assert_int_equal(lost_count, 5);
    expect_traffic();
}

/* --- standing still --------------------------------------------------------------------------- */

static void test_no_frame_comes_back(void **state) {
    begin(state, VQ_SPLIT, true);
    for (unsigned round = 0; round < 2; round++) {
        send(4);
        assert_int_equal(next_service(), 0); /* no progress yet, but it was sent just now */
        for (unsigned i = 1; i < LOOKS - 1; i++) {
            assert_int_equal(next_service(), 0);
        }
        assert_int_equal(nd->restarts, round);
        while (nd->restarts == round) {
            assert_true(nd->tx_stalled <= LOOKS);
            next_service();
        }
        expect_logged("the device has not returned a frame for 5 s");
        assert_int_equal(lost_count, 4);
        lost_count = 0;
        expect_traffic();
    }
}

/* A device that missed a notification gets another one at each look. */
static void test_doorbell_again(void **state) {
    begin(state, VQ_SPLIT, true);
    send(4);
    const unsigned before = dev.queue[TX].doorbells;
    const uint64_t kicks = nd->tx.stats.kicks;
    for (unsigned i = 1; i < LOOKS - 1; i++) {
        (void)next_service();
        assert_int_equal(dev.queue[TX].doorbells, before + nd->tx_stalled);
    }
    assert_true(dev.queue[TX].doorbells > before);
    assert_true(nd->tx.stats.kicks == kicks + nd->tx_stalled);
    assert_int_equal(nd->restarts, 0);

    begin(state, VQ_SPLIT, true); /* but not one that says that it wants none */
    virtio_device_offer(&dev, VIRTIO_F_EVENT_IDX, false);
    send(4);
    vq_device_want_notify(&dev.queue[TX].ring, false);
    const unsigned quiet = dev.queue[TX].doorbells;
    for (unsigned i = 0; i < LOOKS - 1; i++) {
        (void)next_service();
    }
    assert_true(nd->tx_stalled > 0);
    assert_int_equal(dev.queue[TX].doorbells, quiet);
}

/* As long as something moves, or nothing has to, it is well. */
static void test_slow_is_not_dead(void **state) {
    uint8_t bytes[2048];
    void *tokens[4];
    begin(state, VQ_SPLIT, false);
    for (unsigned i = 0; i < 50; i++) { /* idle */
        assert_int_equal(next_service(), 0);
    }
    send(30);
    for (unsigned i = 0; i < 30; i++) { /* one frame in four seconds */
        for (unsigned k = 0; k < LOOKS - 1; k++) {
            assert_int_equal(next_service(), 0);
        }
        assert_true(transmit(bytes, sizeof(bytes)) > 0);
        vq_device_show(&dev.queue[TX].ring);
        assert_int_equal(net_tx_done(nd, tokens, 4), 1);
    }
    send(3);
    virtio_device_configure(&dev, STATUS_OFF, 0); /* without a link nothing can be sent */
    assert_int_equal(next_service(), NET_CHANGED);
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(next_service(), 0);
    }
    assert_int_equal(nd->restarts, 0);
}

/* Looks that come close together, since interrupts asked for them, say nothing about a device that was given
 * a frame just now. */
static void test_many_looks_at_once(void **state) {
    begin(state, VQ_SPLIT, false);
    send(1);
    for (unsigned i = 0; i < 100; i++) {
        virtio_device_interrupt(&dev, VIRTIO_DEVICE_CONFIG);
        assert_int_equal(net_interrupts_take(true), 1);
        assert_int_equal(service(), 0);
    }
    assert_int_equal(nd->restarts, 0);
    for (unsigned i = 0; i < 2 * LOOKS && nd->restarts == 0; i++) {
        next_service();
        service();
        service();
    }
    assert_int_equal(nd->restarts, 1); /* which does not hide one that is dead */
}

/* --- outages ---------------------------------------------------------------------------------- */

static void pass_ms(uint64_t ms) {
    now_us += 1000 * ms;
}

static uint64_t outage(void) {
    return net_outage_ms(nd, clock_ms());
}

/* The clock itself moves a little with each look. */
static void expect_about(uint64_t value, uint64_t expected) {
    if (value + 2 < expected || value > expected + 20) {
        fail_msg("%lu ms instead of %lu", (unsigned long)value, (unsigned long)expected);
    }
}

static void test_outage_of_the_link(void **state) {
    begin(state, VQ_SPLIT, false);
    pass_ms(5000);
    (void)service();
    assert_int_equal(outage(), 0);
    for (unsigned i = 1; i <= 3; i++) {
        virtio_device_configure(&dev, STATUS_OFF, 0);
        assert_int_equal(service(), NET_CHANGED);
        assert_int_equal(nd->link_downs, i);
        assert_false(send_frame(0, 60, 1));
        assert_int_equal(nd->tx.stats.drop_link_down, i);
        expect_about(outage(), 700 * (i - 1));
        pass_ms(300);
        assert_int_equal(service(), 0);
        expect_about(outage(), 700 * (i - 1) + 300); /* the current one is in it */
        pass_ms(400);
        virtio_device_configure(&dev, STATUS_OFF, LINK_UP);
        assert_int_equal(service(), NET_CHANGED);
        pass_ms(1000);
        expect_about(outage(), 700 * i);
        expect_traffic();
    }
    assert_int_equal(nd->link_downs, 3);
    assert_int_equal(nd->restarts, 0);
}

/* A device that takes its time to come back. */
static void test_outage_of_the_device(void **state) {
    begin(state, VQ_SPLIT, false);
    virtio_device_need_reset(&dev);
    dev.refuse_features = true;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(service(), NET_CHANGED);
        expect_about(outage(), 1000 * i);
        pass_ms(1000);
    }
    dev.refuse_features = false;
    assert_int_equal(service(), NET_CHANGED);
    pass_ms(1000);
    expect_about(outage(), 3000);
    assert_int_equal(nd->restarts, 4);
    assert_int_equal(nd->link_downs, 0);
    expect_traffic();
}

/* A device that never had a link since boot, which it had at time 0. */
static void test_no_link_at_boot(void **state) {
    again(state);
    dev.config[STATUS_OFF] = 0;
    tx_begin();
    assert_false(nd->link_up);
    expect_about(outage(), 0);
    pass_ms(1500);
    expect_about(outage(), 1500);
    assert_false(send_frame(0, 60, 1));
    virtio_device_configure(&dev, STATUS_OFF, LINK_UP);
    assert_int_equal(service(), NET_CHANGED);
    pass_ms(1500);
    expect_about(outage(), 1500);
    assert_int_equal(nd->link_downs, 0);
    expect_traffic();
}

/* A link that came back can have another back end behind it, which does not know where a packed ring
 * stands: that begins anew, also when the link went and came between two looks. */
static void test_link_comes_back(void **state) {
    FOR_LAYOUTS(layout) {
        for (unsigned unseen = 0; unseen < 2; unseen++) {
            begin(state, layout, true);
            expect_traffic();
            send(7);
            virtio_device_configure(&dev, STATUS_OFF, 0);
            if (!unseen) {
                assert_int_equal(service(), NET_CHANGED);
            }
            virtio_device_configure(&dev, STATUS_OFF, LINK_UP);
            (void)service();
            assert_int_equal(nd->restarts, vq_is_packed(layout));
            assert_int_equal(lost_count, vq_is_packed(layout) ? 7 : 0);
            assert_int_equal(service(), 0);
        }
        begin(state, layout, true); /* other changes are none of the link */
        virtio_device_configure(&dev, STATUS_OFF, LINK_UP | ANNOUNCE);
        assert_int_equal(service(), NET_ANNOUNCE);
        virtio_device_configure(&dev, STATUS_OFF, LINK_UP);
        assert_int_equal(service(), 0);
        assert_int_equal(nd->restarts, 0);
        expect_traffic();
    }
}

int main(void) {
#define NET_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        NET_CASE(test_queue_reset),
        NET_CASE(test_many_queue_resets),
        NET_CASE(test_no_ring_reset),
        NET_CASE(test_queue_reset_fails),
        NET_CASE(test_needs_reset_comes_first),
        NET_CASE(test_no_frame_comes_back), NET_CASE(test_doorbell_again),
        NET_CASE(test_slow_is_not_dead),
        NET_CASE(test_many_looks_at_once),
        NET_CASE(test_outage_of_the_link),
        NET_CASE(test_outage_of_the_device),
        NET_CASE(test_no_link_at_boot),
        NET_CASE(test_link_comes_back),
    };
    return RUN_ON_EACH_BUS("net recovery", tests);
}
