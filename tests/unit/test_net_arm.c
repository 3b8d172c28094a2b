/* Asking for interrupts before a sleep, and no more of them afterwards, while the device acts at every
 * moment in between (2.7.7, 2.7.14, 2.8.9, 2.8.22). */
#include "tests/unit/net_life.h"

enum { STEPS = 24, FRAMES = 12 };

static struct {
    unsigned left;     /* accesses of the driver until the device acts, 0: it has */
    unsigned queue;
    bool interrupted; /* it was asked to interrupt when it did */
} device;

/* The device uses one buffer and looks whether that is worth an interrupt. */
static void use_one(unsigned queue) {
    struct vq_device_buffer b;
    struct vq_device *ring = &dev.queue[queue].ring;
    const uint8_t frame[HDR + 60] = {[offsetof(struct virtio_net_hdr, num_buffers)] = 1};
    assert_true(vq_device_fetch(ring, &b));
    if (queue == RX) {
        vq_device_write(ring, b.id, frame, sizeof(frame));
    }
    vq_device_use(ring, b.id, queue == RX ? sizeof(frame) : 0);
}

static void act(void) {
    if (device.left > 0 && --device.left == 0) {
        ring_step = NULL; /* what the device does is no access of the driver */
        use_one(device.queue);
        device.interrupted = vq_device_show(&dev.queue[device.queue].ring);
        ring_step = act;
    }
}

static bool arm(bool tx_waits) {
    ring_step = act;
    const bool work = net_arm(nd, !tx_waits, tx_waits);
    ring_step = NULL;
    ring_drain();
    return work;
}

static void begin(void **state, enum vq_layout layout, bool event_idx) {
    again(state);
    offer_layout(layout);
    virtio_device_offer(&dev, VIRTIO_F_EVENT_IDX, event_idx);
    virtio_device_add_msix(&dev, 3);
    cfg.mode = CONFIG_MODE_IRQ;
    tx_begin();
    device.left = 0;
}

static void send(unsigned count, unsigned pieces) {
    for (unsigned i = 0; i < count; i++) {
        assert_true(send_frame(i, 60, pieces));
    }
    net_tx_flush(nd);
}

static unsigned take(void) {
    struct pktbuf *bufs[NET_BURST_MAX];
    const unsigned count = net_rx_burst(nd, bufs, NET_BURST_MAX);
    for (unsigned i = 0; i < count; i++) {
        pktbuf_put(bufs[i]);
    }
    return count;
}

#define FOR_RINGS(layout, event_idx)                                                               \
    FOR_LAYOUTS(layout) for (unsigned event_idx = 0; event_idx < 2; event_idx++)

/* Whenever the device uses a buffer, either it interrupts or net_arm() says that there is work. Without
 * the fence, or with the last look before the request, there is a moment where neither is true. */
static void test_no_wakeup_is_lost(void **state) {
    FOR_RINGS(layout, event_idx) {
        unsigned seen = 0, woken = 0;
        for (unsigned i = 0; i < 2 * STEPS; i++) {
            begin(state, layout, event_idx);
            send(1, 1);
            device.queue = i % 2;
            device.left = 1 + i / 2;
            const bool work = arm(device.queue == TX);
            if (device.left > 0) { /* after all accesses: while the driver sleeps */
                device.left = 1;
                act();
                ring_step = NULL;
                assert_true(device.interrupted);
                assert_false(work);
            }
            if (!work && !device.interrupted) {
                fail_msg("layout %u, EVENT_IDX %u: lost at access %u", layout, event_idx, i / 2);
            }
            seen += work;
            woken += device.interrupted;
            assert_int_equal(nd->rx.stats.rechecks_hit, work && device.queue == RX);
            assert_int_equal(nd->tx.stats.rechecks_hit, work && device.queue == TX);
            expect_no_violation();
        }
        assert_true(seen > 0 && woken > 0);
    }
}

/* Work that was there before is found by the look, and the interrupt may not come. */
static void test_work_is_there_already(void **state) {
    FOR_RINGS(layout, event_idx) {
        begin(state, layout, event_idx);
        send(2, 1);
        assert_false(arm(true));
        net_disarm(nd);
        assert_false(arm(false));
        net_disarm(nd);
        use_one(RX);
        assert_false(vq_device_show(&dev.queue[RX].ring));
        assert_true(arm(false));
        assert_int_equal(nd->rx.stats.rechecks_hit, 1);
        assert_int_equal(take(), 1);
        assert_false(arm(false));
        net_disarm(nd);
        use_one(TX);
        assert_false(vq_device_show(&dev.queue[TX].ring));
        assert_false(arm(false)); /* nobody waits for that */
        assert_true(arm(true));
        assert_int_equal(nd->tx.stats.rechecks_hit, 1);
        check_pool(0);
    }
}

/* Before the first sleep and after each, nothing interrupts: neither queue, nor the control queue. */
static void test_disarmed(void **state) {
    FOR_RINGS(layout, event_idx) {
        begin(state, layout, event_idx);
        send(60, 1);
        for (unsigned i = 0; i < 30; i++) {
            use_one(RX);
            use_one(TX);
            assert_false(vq_device_show(&dev.queue[RX].ring));
            assert_false(vq_device_show(&dev.queue[TX].ring));
            if (i % 3 == 0) {
                void *tokens[4];
                assert_int_equal(take(), i == 0 ? 1 : 3);
                (void)net_tx_done(nd, tokens, 4);
                assert_false(arm(i % 2));
                net_disarm(nd);
            }
        }
        check_pool(0);
    }
}

/* Frames wait for the transmit ring, so none are received: those that come are no reason not to sleep,
 * and do not interrupt. */
static void test_received_frames_wait(void **state) {
    FOR_RINGS(layout, event_idx) {
        begin(state, layout, event_idx);
        send(FRAMES, 1);
        use_one(RX);
        assert_false(vq_device_show(&dev.queue[RX].ring));
        assert_false(arm(true));
        assert_int_equal(nd->rx.stats.rechecks_hit, 0);
        use_one(RX);
        assert_false(vq_device_show(&dev.queue[RX].ring));
        for (unsigned i = 0; i < FRAMES / 2; i++) {
            use_one(TX);
        }
        assert_true(vq_device_show(&dev.queue[TX].ring));
        net_disarm(nd);
        assert_true(arm(false));
        assert_int_equal(take(), 2);
        check_pool(0);
    }
}

/* A workload may wait for both, or for neither. */
static void test_both_queues(void **state) {
    FOR_RINGS(layout, event_idx) {
        for (unsigned queue = 0; queue < 2; queue++) {
            begin(state, layout, event_idx);
            send(2, 1);
            assert_false(net_arm(nd, false, false));
            ring_drain();
            use_one(queue);
            assert_false(vq_device_show(&dev.queue[queue].ring));
            assert_true(net_arm(nd, true, true));
            assert_int_equal(nd->rx.stats.rechecks_hit, queue == RX);
            assert_int_equal(nd->tx.stats.rechecks_hit, queue == TX);
            net_disarm(nd);

            begin(state, layout, event_idx);
            send(2, 1);
            assert_false(net_arm(nd, true, true));
            ring_drain();
            use_one(queue);
            assert_true(vq_device_show(&dev.queue[queue].ring));
        }
    }
}

/* Receive: at the next frame. Transmit: when half of what is under way was sent, as the device counts it:
 * split by buffers, packed by ring descriptors; without EVENT_IDX it cannot count. */
static void test_thresholds(void **state) {
    for (unsigned pieces = 1; pieces <= 3; pieces++) {
        FOR_RINGS(layout, event_idx) {
            begin(state, layout, event_idx);
            send(FRAMES, pieces);
            assert_false(arm(false));
            use_one(RX);
            assert_true(vq_device_show(&dev.queue[RX].ring));
            use_one(RX);
            assert_int_equal(vq_device_show(&dev.queue[RX].ring), !event_idx);
            net_disarm(nd);
            assert_false(arm(true));
            for (unsigned i = 1; i <= FRAMES; i++) {
                use_one(TX);
                const bool due = vq_device_show(&dev.queue[TX].ring);
                assert_int_equal(due, event_idx ? i == FRAMES / 2 : true);
            }
        }
    }
}

/* A few frames: the last one is never waited for in vain. */
static void test_small_thresholds(void **state) {
    for (unsigned frames = 0; frames <= 3; frames++) {
        FOR_RINGS(layout, event_idx) {
            bool due = false;
            begin(state, layout, event_idx);
            send(frames, 2);
            assert_true(send_frame(100, 60, 1)); /* not flushed: the device will not return it */
            assert_false(arm(true));
            for (unsigned i = 0; i < frames; i++) {
                use_one(TX);
                due = vq_device_show(&dev.queue[TX].ring) || due;
            }
            assert_int_equal(due, frames > 0);
        }
    }
}

/* A queue that is broken never says that there is work: a caller would not sleep any more. */
static void test_broken_queues(void **state) {
    FOR_RINGS(layout, event_idx) {
        begin(state, layout, event_idx);
        send(2, 1);
        use_one(RX);
        vq_device_show(&dev.queue[RX].ring);
        virtio_device_lie(&dev, RX, 0xffff, 0);
        virtio_device_lie(&dev, TX, 0xffff, 0);
        void *tokens[4];
        assert_int_equal(take(), 1);
        assert_int_equal(take() + net_tx_done(nd, tokens, 4), 0);
        assert_true(nd->rx.vq.broken && nd->tx.vq.broken);
        assert_false(arm(true));
        net_disarm(nd);
    }
}

/* The loop of net/stack.c with interrupts: random traffic, and from each sleep something wakes it up. */
static void test_sleeping_loop(void **state) {
    FOR_RINGS(layout, event_idx) {
        unsigned received = 0, sent = 0, sleeps = 0, in = 0, out = 0, gone = 0;
        begin(state, layout, event_idx);
        while (received < 500 || sent < 500) {
            void *tokens[NET_BURST_MAX];
            received += take();
            sent += net_tx_done(nd, tokens, NET_BURST_MAX);
            if (out < sent + 100) {
                const unsigned count = unit_below(&rnd, 8);
                send(count, 1);
                out += count;
            }
            device.interrupted = false;
            device.queue = unit_below(&rnd, 2);
            device.left = device.queue == RX || gone < out ? unit_below(&rnd, 12) : 0;
            const bool will = device.left > 0;
            /* As the stack does: what waits for room comes first. */
            const bool tx_waits = gone < out && unit_below(&rnd, 2) != 0;
            const bool work = arm(tx_waits);
            if (will && device.left == 0) {
                in += device.queue == RX;
                gone += device.queue == TX;
            }
            device.left = 0;
            if (!work && !device.interrupted) {
                bool woken = false;
                sleeps++;
                /* At the next received frame; or when half of the frames was sent. */
                const unsigned queue = tx_waits ? TX : RX;
                while (!woken) {
                    use_one(queue);
                    woken = vq_device_show(&dev.queue[queue].ring);
                    in += queue == RX;
                    gone += queue == TX;
                    assert_true(woken || (tx_waits && gone < out));
                }
            }
            net_disarm(nd);
        }
        assert_true(sleeps > 10);
        assert_true(in >= received && gone >= sent && received >= 500);
        expect_no_violation();
    }
}

int main(void) {
#define NET_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        NET_CASE(test_no_wakeup_is_lost), NET_CASE(test_work_is_there_already),
        NET_CASE(test_disarmed),          NET_CASE(test_received_frames_wait),
        NET_CASE(test_both_queues),
        NET_CASE(test_thresholds),
        NET_CASE(test_small_thresholds),  NET_CASE(test_broken_queues),
        NET_CASE(test_sleeping_loop),
    };
    return RUN_ON_EACH_BUS("net arm", tests);
}
