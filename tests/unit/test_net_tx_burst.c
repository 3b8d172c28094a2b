/* Bursts of packet buffers that are sent: what a workload that drives the rings itself does. */
#include "tests/unit/net_rig.h"

enum { LEN = 60 };

static const uint8_t zero[HDR];

/* A frame of len bytes in one buffer. The header in front of it is dirty, as a device leaves it. */
static struct pktbuf *frame_of(uint8_t byte, uint32_t len) {
    struct pktbuf *buf = pktbuf_get(&nd->pool);
    assert_non_null(buf);
    assert_true(len <= nd->pool.room);
    memset(buf->data - HDR, byte % 2 == 0 ? 0xff : byte, HDR);
    memset(buf->data, byte, len);
    buf->len = buf->frame_len = len;
    buf->next = NULL;
    return buf;
}

/* One more buffer for a frame. */
static void add_piece(struct pktbuf *frame, uint8_t byte, uint32_t len) {
    struct pktbuf *last = frame, *buf = frame_of(byte, len);
    while (last->next != NULL) {
        last = last->next;
    }
    last->next = buf;
    frame->frame_len += len;
}

static void begin(void **state, enum vq_layout layout, uint16_t num) {
    again(state);
    offer_layout(layout);
    cfg.queue = num;
    cfg.app = CONFIG_APP_FWD;
    bring_up();
    assert_int_equal(nd->tx.vq.layout, layout);
}

/* The device sends what there is and gives it back; returns how many came back, all in the pool. */
static unsigned complete(void) {
    uint8_t bytes[2048];
    void *tokens[NET_BURST_MAX];
    unsigned count = 0, got;
    while (transmit(bytes, sizeof(bytes)) > 0) {
    }
    show(TX);
    do {
        got = net_tx_done(nd, tokens, NET_BURST_MAX);
        for (unsigned i = 0; i < got; i++) {
            pktbuf_put_frame(tokens[i]);
        }
        count += got;
    } while (got > 0);
    check_pool(0);
    return count;
}

/* The device finds a frame of that byte, its header all zero. */
static void expect_sent(uint8_t byte, uint32_t len) {
    uint8_t bytes[2048], expected[2048];
    assert_int_equal(transmit(bytes, sizeof(bytes)), HDR + len);
    assert_memory_equal(bytes, zero, HDR);
    memset(expected, byte, len);
    assert_memory_equal(bytes + HDR, expected, len);
}

static void test_frames(void **state) {
    FOR_LAYOUTS(layout) {
        struct pktbuf *frames[NET_BURST_MAX];
        begin(state, layout, 256);
        uint64_t packets = 0, bytes = 0;
        for (unsigned round = 0; round < 50; round++) {
            const unsigned count = round * 7 % (NET_BURST_MAX + 1);
            for (unsigned i = 0; i < count; i++) {
                frames[i] = frame_of((uint8_t)(round + i), LEN + i);
                bytes += LEN + i;
            }
            packets += count;
            assert_int_equal(net_tx_burst(nd, frames, count), count);
            check_pool(count);
            for (unsigned i = 0; i < count; i++) { /* without a flush */
                expect_sent((uint8_t)(round + i), LEN + i);
            }
            assert_int_equal(complete(), count);
        }
        assert_int_equal(nd->tx.stats.packets, packets);
        assert_int_equal(nd->tx.stats.bytes, bytes);
        assert_int_equal(nd->tx.stats.ring_full, 0);
    }
}

/* What there is no room for stays the caller's, untouched, and goes with the next burst. */
static void test_room(void **state) {
    FOR_LAYOUTS(layout) {
        for (uint16_t num = 1; num <= 64; num *= 4) {
            struct pktbuf *frames[NET_BURST_MAX];
            begin(state, layout, num);
            const unsigned count = num < NET_BURST_MAX ? num + 1u : NET_BURST_MAX;
            for (unsigned i = 0; i < count; i++) {
                frames[i] = frame_of((uint8_t)i, LEN);
            }
            const unsigned taken = net_tx_burst(nd, frames, count);
            assert_int_equal(taken, count <= num ? count : num);
            assert_int_equal(nd->tx.stats.ring_full, taken < count);
            assert_int_equal(nd->tx.stats.drop_ring_full, 0);
            check_pool(count);
            if (taken < count) {
                assert_int_equal(net_tx_burst(nd, frames + taken, 1), 0);
                assert_int_equal(frames[taken]->len, LEN);
                assert_int_equal(frames[taken]->data[LEN - 1], taken);
            }
            for (unsigned i = 0; i < taken; i++) {
                expect_sent((uint8_t)i, LEN);
            }
            for (unsigned i = taken; i < count; i++) {
                void *token;
                show(TX);
                assert_int_equal(net_tx_done(nd, &token, 1), 1);
                assert_ptr_equal(token, frames[0]);
                pktbuf_put_frame(token);
                assert_int_equal(net_tx_burst(nd, frames + i, 1), 1);
                expect_sent((uint8_t)i, LEN);
            }
            (void)complete();
        }
    }
}

/* The buffers of a frame become one chain, of as many segments as are not empty. */
static void test_pieces(void **state) {
    FOR_LAYOUTS(layout) {
        begin(state, layout, 256);
        for (unsigned pieces = 1; pieces <= NET_TX_SEG_MAX; pieces++) {
            for (unsigned empty = 0; empty < pieces; empty++) {
                struct vq_device_buffer b;
                uint8_t bytes[1024];
                struct pktbuf *frame = frame_of(1, LEN);
                for (unsigned i = 1; i < pieces; i++) {
                    add_piece(frame, (uint8_t)(i + 1), i == empty ? 0 : 10);
                }
                const uint32_t len = frame->frame_len;
                const unsigned segs = pieces - (empty > 0);
                assert_int_equal(net_tx_burst(nd, &frame, 1), 1);
                assert_true(vq_device_fetch(&dev.queue[TX].ring, &b));
                assert_int_equal(b.n_out, segs);
                assert_int_equal(b.n_in, 0);
                assert_int_equal(b.out_len, HDR + len);
                assert_int_equal(vq_device_read(&dev.queue[TX].ring, b.id, bytes, 1024), HDR + len);
                assert_memory_equal(bytes, zero, HDR);
                uint32_t at = HDR + LEN;
                assert_true(bytes[HDR] == 1 && bytes[at - 1] == 1);
                for (unsigned i = 1; i < pieces; i++) {
                    for (unsigned k = 0; i != empty && k < 10; k++) {
                        assert_int_equal(bytes[at++], i + 1);
                    }
                }
                assert_int_equal(at, HDR + len);
                vq_device_use(&dev.queue[TX].ring, b.id, 0);
                assert_int_equal(complete(), 1);
            }
        }
        assert_int_equal(nd->tx.stats.drop_too_long, 0);
    }
}

/* Empty pieces count for nothing, however many. */
static void test_many_empty_pieces(void **state) {
    FOR_LAYOUTS(layout) {
        begin(state, layout, 256);
        struct pktbuf *frame = frame_of(7, LEN);
        for (unsigned i = 1; i < NET_TX_SEG_MAX; i++) {
            add_piece(frame, 7, 0);
        }
        assert_int_equal(net_tx_burst(nd, &frame, 1), 1);
        expect_sent(7, LEN);
        assert_int_equal(complete(), 1);
    }
}

/* What the device cannot be given is counted and put back; those before and after it are sent. */
static void test_too_long(void **state) {
    FOR_LAYOUTS(layout) {
        struct pktbuf *frames[4];
        begin(state, layout, 256);
        for (unsigned kind = 0; kind < 2; kind++) {
            frames[0] = frame_of(1, LEN);
            frames[1] = frame_of(2, LEN);
            frames[2] = frame_of(3, nd->tx_len_max);
            frames[3] = frame_of(4, LEN);
            if (kind == 0) {
                add_piece(frames[1], 2, nd->tx_len_max + 1 - LEN);
            }
            for (unsigned i = 0; kind == 1 && i < NET_TX_SEG_MAX; i++) {
                add_piece(frames[1], 2, 1);
            }
            assert_int_equal(net_tx_burst(nd, frames, 4), 4);
            assert_int_equal(nd->tx.stats.drop_too_long, kind + 1);
            assert_int_equal(nd->tx.stats.packets, 3 * (kind + 1));
            check_pool(3);
            expect_sent(1, LEN);
            expect_sent(3, nd->tx_len_max);
            expect_sent(4, LEN);
            assert_int_equal(complete(), 3);
        }
    }
}

/* More pieces than a small ring has descriptors can never be sent, so they do not wait. */
static void test_more_pieces_than_the_ring(void **state) {
    FOR_LAYOUTS(layout) {
        begin(state, layout, 2);
        struct pktbuf *frame = frame_of(1, LEN);
        add_piece(frame, 1, 5);
        assert_int_equal(net_tx_burst(nd, &frame, 1), 1);
        expect_sent(1, LEN + 5);
        assert_int_equal(complete(), 1);
        frame = frame_of(1, LEN);
        add_piece(frame, 1, 5);
        add_piece(frame, 1, 5);
        assert_int_equal(net_tx_burst(nd, &frame, 1), 1);
        assert_int_equal(nd->tx.stats.drop_too_long, 1);
        assert_int_equal(complete(), 0);
    }
}

static void test_link_down(void **state) {
    FOR_LAYOUTS(layout) {
        struct pktbuf *frames[2];
        begin(state, layout, 256);
        frames[0] = frame_of(1, LEN);
        frames[1] = frame_of(2, LEN);
        nd->link_up = false;
        assert_int_equal(net_tx_burst(nd, frames, 2), 0);
        nd->link_up = true;
        nd->tx.vq.broken = true;
        assert_int_equal(net_tx_burst(nd, frames, 2), 0);
        nd->tx.vq.broken = false;
        assert_int_equal(nd->tx.stats.packets, 0);
        check_pool(2);
        assert_int_equal(net_tx_burst(nd, frames, 2), 2);
        assert_int_equal(complete(), 2);
    }
}

/* One for each burst, none for a burst of nothing, and none that the device does not want. */
static void test_doorbells(void **state) {
    FOR_LAYOUTS(layout) {
        struct pktbuf *frames[NET_BURST_MAX];
        begin(state, layout, 256);
        for (unsigned round = 0; round < 50; round++) {
            const bool wanted = round % 3 != 0;
            const unsigned before = dev.queue[TX].doorbells;
            const unsigned count = round * 5 % NET_BURST_MAX;
            vq_device_want_notify(&dev.queue[TX].ring, wanted);
            for (unsigned i = 0; i < count; i++) {
                frames[i] = frame_of((uint8_t)i, LEN);
            }
            assert_int_equal(net_tx_burst(nd, frames, count), count);
            assert_int_equal(dev.queue[TX].doorbells, before + (wanted && count > 0));
            assert_int_equal(dev.queue[TX].doorbells, nd->tx.stats.kicks);
            net_tx_flush(nd); /* nothing is left for it */
            assert_int_equal(dev.queue[TX].doorbells, before + (wanted && count > 0));
            assert_int_equal(complete(), count);
        }
    }
}

/* The same buffers going round meet the same descriptors again, lap by lap: their addresses need not
 * be written anew. */
static void test_same_addresses(void **state) {
    enum { NUM = 64, BURST = 16, LAPS = 5 };
    FOR_LAYOUTS(layout) {
        uint64_t addr[NUM], expected[NUM];
        uint16_t slot[NUM];
        struct pktbuf *frames[NUM];
        begin(state, layout, NUM);
        for (unsigned i = 0; i < NUM; i++) {
            frames[i] = frame_of((uint8_t)i, LEN);
        }
        for (unsigned lap = 0; lap < LAPS; lap++) {
            for (unsigned i = 0; i < NUM; i += BURST) {
                void *tokens[BURST];
                assert_int_equal(net_tx_burst(nd, frames + i, BURST), BURST);
                for (unsigned k = 0; k < BURST; k++) {
                    struct vq_device_buffer b;
                    assert_true(vq_device_fetch(&dev.queue[TX].ring, &b));
                    addr[i + k] = b.elem[0].addr;
                    slot[i + k] = b.first;
                    vq_device_use(&dev.queue[TX].ring, b.id, 0);
                }
                show(TX);
                assert_int_equal(net_tx_done(nd, tokens, BURST), BURST);
                for (unsigned k = 0; k < BURST; k++) {
                    assert_ptr_equal(tokens[k], frames[i + k]);
                }
            }
            for (unsigned i = 0; i < NUM; i++) {
                assert_true(slot[i] < NUM);
                assert_true(lap == 0 || expected[slot[i]] == addr[i]);
                expected[slot[i]] = addr[i];
            }
        }
        for (unsigned i = 0; i < NUM; i++) {
            pktbuf_put_frame(frames[i]);
        }
        check_pool(0);
    }
}

int main(void) {
#define NET_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        NET_CASE(test_frames),
        NET_CASE(test_room),
        NET_CASE(test_pieces),
        NET_CASE(test_many_empty_pieces),
        NET_CASE(test_too_long),
        NET_CASE(test_more_pieces_than_the_ring),
        NET_CASE(test_link_down),
        NET_CASE(test_doorbells),
        NET_CASE(test_same_addresses),
    };
    return RUN_ON_EACH_BUS("net transmit bursts", tests);
}
