/* Bursts of frames in both directions, with a device that keeps the rules and one that does not. */
#include "tests/unit/net_rig.h"

static void test_frames_come_in(void **state) {
    struct pktbuf *bufs[NET_BURST_MAX];
    uint64_t packets = 0, bytes = 0;
    (void)state;
    bring_up();
    for (unsigned round = 0; round < 200; round++) {
        const unsigned count = unit_below(&rnd, 64);
        uint32_t lens[64];
        for (unsigned i = 0; i < count; i++) {
            lens[i] = 14 + unit_below(&rnd, FRAME_MAX - 13);
            assert_true(receive(HDR + lens[i], (uint8_t)(round + i), HDR + lens[i]));
        }
        show(RX);
        assert_int_equal(net_rx_burst(nd, bufs, NET_BURST_MAX), count);
        for (unsigned i = 0; i < count; i++) {
            assert_int_equal(bufs[i]->len, lens[i]);
            assert_int_equal(bufs[i]->data[0], (uint8_t)(round + i));
            assert_int_equal(bufs[i]->data[lens[i] - 1], (uint8_t)(round + i));
            packets++;
            bytes += lens[i];
        }
        check_pool(count);
        for (unsigned i = 0; i < count; i++) {
            pktbuf_put(bufs[i]);
        }
        check_pool(0);
    }
    assert_int_equal(nd->rx.stats.packets, packets);
    assert_int_equal(nd->rx.stats.bytes, bytes);
    assert_int_equal(nd->rx.stats.polls, 200);
    assert_int_equal(nd->rx.stats.drop_short, 0);
}

/* Lengths below the headers are counted and dropped, and the buffer is not lost. */
static void test_short_frames(void **state) {
    static const uint32_t lens[] = {0, 1, 11, 12, 13, 25};
    struct pktbuf *bufs[4];
    (void)state;
    bring_up();
    for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
        receive(26, 0xee, lens[i]);
    }
    receive(26, 0xcc, 26);
    show(RX);
    unsigned count = 0;
    for (unsigned i = 0; i < 3; i++) {
        count += net_rx_burst(nd, bufs + count, 4);
    }
    assert_int_equal(count, 1);
    assert_int_equal(bufs[0]->len, 14);
    assert_int_equal(bufs[0]->data[0], 0xcc);
    assert_int_equal(nd->rx.stats.drop_short, ARRAY_SIZE(lens));
    assert_false(nd->rx.vq.broken);
    check_pool(1);
}

/* What was not negotiated is not looked at: the header's flags, offsets, num_buffers. 5.1.6.4.2 */
static void test_header_garbage(void **state) {
    struct pktbuf *bufs[4];
    (void)state;
    bring_up();
    for (unsigned byte = 0; byte < 256; byte += 51) {
        assert_true(receive(HDR + 60, (uint8_t)byte, HDR + 60));
        show(RX);
        assert_int_equal(net_rx_burst(nd, bufs, 4), 1);
        assert_int_equal(bufs[0]->len, 60);
        pktbuf_put(bufs[0]);
    }
    check_pool(0);
}

/* However slowly buffers come back, receiving goes on as soon as there are some. */
static void test_starved_receiver(void **state) {
    static struct pktbuf *held[8192];
    uint32_t count = 0;
    (void)state;
    bring_up();
    const uint32_t total = nd->pool.total;
    assert_true(total <= ARRAY_SIZE(held));
    while (receive(HDR + 60, 1, HDR + 60)) {
        show(RX);
        count += net_rx_burst(nd, held + count, NET_BURST_MAX);
        check_pool(count);
    }
    assert_true(count > total - nd->rx.vq.num); /* all but what waits for a batch */
    for (uint32_t i = 0; i < count; i++) {
        pktbuf_put(held[i]);
    }
    assert_int_equal(net_rx_burst(nd, held, NET_BURST_MAX), 0);
    assert_true(receive(HDR + 60, 2, HDR + 60));
    show(RX);
    assert_int_equal(net_rx_burst(nd, held, NET_BURST_MAX), 1);
    check_pool(1);
}

/* A ring that has lost its last buffer is filled again even though the batch is not full. */
static void test_small_rings(void **state) {
    for (uint16_t num = 1; num <= 8; num *= 2) {
        struct pktbuf *bufs[NET_BURST_MAX];
        tear_down(state);
        set_up(state);
        cfg.queue = num;
        bring_up();
        for (unsigned i = 0; i < 50; i++) {
            assert_true(receive(HDR + 60, (uint8_t)i, HDR + 60));
            show(RX);
            assert_int_equal(net_rx_burst(nd, bufs, NET_BURST_MAX), 1);
            assert_int_equal(bufs[0]->data[0], (uint8_t)i);
            pktbuf_put(bufs[0]);
            check_pool(0);
        }
    }
}

static void test_frames_go_out(void **state) {
    static const uint8_t zero[HDR];
    uint8_t bytes[2048];
    void *tokens[NET_BURST_MAX];
    (void)state;
    tx_begin();
    for (unsigned round = 0; round < 100; round++) {
        const unsigned count = 1 + round % 20;
        for (unsigned i = 0; i < count; i++) {
            assert_true(send_frame(i, 60 + 7 * i, 1 + i % NET_TX_SEG_MAX));
        }
        assert_int_equal(transmit(bytes, sizeof(bytes)), 0); /* not before the flush */
        net_tx_flush(nd);
        for (unsigned i = 0; i < count; i++) {
            assert_int_equal(transmit(bytes, sizeof(bytes)), HDR + 60 + 7 * i);
            assert_memory_equal(bytes, zero, HDR);
            assert_int_equal(bytes[HDR], i + 1);
            assert_int_equal(bytes[HDR + 59 + 7 * i], i + 1);
        }
        assert_int_equal(net_tx_done(nd, tokens, NET_BURST_MAX), 0);
        show(TX);
        assert_int_equal(net_tx_done(nd, tokens, NET_BURST_MAX), count);
        for (unsigned i = 0; i < count; i++) {
            assert_ptr_equal(tokens[i], tx_frames + 2048 * i);
        }
        check_pool(0);
    }
    assert_int_equal(net_tx_room(nd), nd->tx.vq.num);
}

/* A doorbell for each flush that brings something, as long as the device wants them. */
static void test_doorbells(void **state) {
    void *tokens[NET_BURST_MAX];
    uint8_t bytes[2048];
    (void)state;
    tx_begin();
    for (unsigned round = 0; round < 20; round++) {
        const bool wanted = round % 3 != 0;
        const unsigned before = dev.queue[TX].doorbells;
        vq_device_want_notify(&dev.queue[TX].ring, wanted);
        net_tx_flush(nd);
        assert_int_equal(dev.queue[TX].doorbells, before);
        assert_true(send_frame(0, 60, 1));
        assert_true(send_frame(1, 60, 1));
        net_tx_flush(nd);
        net_tx_flush(nd);
        assert_int_equal(dev.queue[TX].doorbells, before + wanted);
        assert_int_equal(dev.queue[TX].doorbells, nd->tx.stats.kicks);
        while (transmit(bytes, sizeof(bytes)) > 0) {
        }
        show(TX);
        assert_int_equal(net_tx_done(nd, tokens, NET_BURST_MAX), 2);
    }
}

/* What is not accepted is counted under its cause, and nothing of it stays in the ring. */
static void test_refused_frames(void **state) {
    (void)state;
    tx_begin();
    assert_false(send_frame(0, 1515, 1));
    assert_false(send_frame(0, 100, NET_TX_SEG_MAX + 1));
    assert_int_equal(nd->tx.stats.drop_too_long, 2);
    nd->link_up = false;
    assert_false(send_frame(0, 100, 1));
    assert_int_equal(nd->tx.stats.drop_link_down, 1);
    nd->link_up = true;
    unsigned count = 0;
    while (net_tx_room(nd) > 1) {
        assert_true(send_frame(count++, FRAME_MAX, 1));
    }
    assert_false(send_frame(count, 100, 2)); /* one descriptor is left */
    assert_true(send_frame(count++, 100, 1));
    assert_false(send_frame(count, 100, 1));
    assert_int_equal(nd->tx.stats.drop_ring_full, 2);
    assert_int_equal(nd->tx.stats.packets, count);
    assert_int_equal(count, nd->tx.vq.num);
    check_pool(0);
}

static uint64_t sum(const uint64_t counts[NET_OCCUPANCY]) {
    uint64_t all = 0;
    for (unsigned i = 0; i < NET_OCCUPANCY; i++) {
        all += counts[i];
    }
    return all;
}

/* Each look is in one class of how much it found, and of how much the device lacked after it. */
static void test_occupancy(void **state) {
    static const struct {
        unsigned frames, class;
    } looks[] = {{0, 0}, {1, 1}, {2, 2}, {3, 2}, {4, 3}, {7, 3}, {8, 4}, {31, 5}, {32, 6}};
    const struct net_occupancy *seen;
    struct pktbuf *bufs[NET_BURST_MAX];
    (void)state;
    bring_up();
    seen = &nd->rx.occupancy;
    for (unsigned i = 0; i < ARRAY_SIZE(looks); i++) {
        const uint64_t before = seen->used[looks[i].class];
        for (unsigned k = 0; k < looks[i].frames; k++) {
            assert_true(receive(HDR + 60, 1, HDR + 60));
        }
        show(RX);
        assert_int_equal(net_rx_burst(nd, bufs, NET_BURST_MAX), looks[i].frames);
        for (unsigned k = 0; k < looks[i].frames; k++) {
            pktbuf_put(bufs[k]);
        }
        assert_true(seen->used[looks[i].class] == before + 1);
        assert_true(sum(seen->used) == i + 1 && sum(seen->free) == i + 1);
        assert_true(nd->rx.stats.polls == i + 1);
    }
    assert_int_equal(nd->rx.stats.empty_polls, 1);
    assert_true(seen->free[0] >= 1);
}

/* The device used all it had: it was dry for as long as nobody looked, at most. A ring that has room
 * again ends the wait of frames for it. */
static void test_times_of_want(void **state) {
    struct pktbuf *bufs[NET_BURST_MAX];
    uint8_t bytes[2048];
    void *tokens[NET_BURST_MAX];
    (void)state;
    cfg.queue = 4;
    tx_begin();
    assert_int_equal(net_rx_burst(nd, bufs, NET_BURST_MAX), 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(receive(HDR + 60, 1, HDR + 60));
    }
    show(RX);
    assert_int_equal(net_rx_burst(nd, bufs, NET_BURST_MAX), 3);
    assert_int_equal(nd->rx.stats.ring_empty, 0);
    assert_true(nd->rx.stats.dry_ns == 0);
    for (unsigned i = 0; i < 3; i++) {
        pktbuf_put(bufs[i]);
    }
    const unsigned had = nd->rx.vq.num - nd->rx.vq.free_count;
    for (unsigned i = 0; i < had; i++) {
        assert_true(receive(HDR + 60, 1, HDR + 60));
    }
    show(RX);
    assert_int_equal(net_rx_burst(nd, bufs, NET_BURST_MAX), had);
    assert_int_equal(nd->rx.stats.ring_empty, 1);
    assert_true(nd->rx.stats.dry_ns > 0);
    for (unsigned i = 0; i < had; i++) {
        pktbuf_put(bufs[i]);
    }

    for (unsigned i = 0; i < 4; i++) {
        assert_true(send_frame(i, 60, 1));
    }
    net_tx_flush(nd);
    assert_true(nd->tx.since_tsc == 0);
    net_tx_full(nd);
    net_tx_full(nd);
    assert_int_equal(nd->tx.stats.ring_full, 2);
    assert_int_equal(net_tx_done(nd, tokens, NET_BURST_MAX), 0);
    assert_true(nd->tx.stats.full_ns == 0 && nd->tx.since_tsc != 0);
    assert_true(transmit(bytes, sizeof(bytes)) > 0);
    show(TX);
    assert_int_equal(net_tx_done(nd, tokens, NET_BURST_MAX), 1);
    assert_true(nd->tx.stats.full_ns > 0 && nd->tx.since_tsc == 0);
    check_pool(0);
}

int main(void) {
#define NET_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        NET_CASE(test_frames_come_in), NET_CASE(test_short_frames),
        NET_CASE(test_header_garbage), NET_CASE(test_starved_receiver),
        NET_CASE(test_small_rings),    NET_CASE(test_frames_go_out),
        NET_CASE(test_doorbells),      NET_CASE(test_refused_frames),
        NET_CASE(test_occupancy),      NET_CASE(test_times_of_want),
    };
    return RUN_ON_EACH_BUS("net bursts", tests);
}
