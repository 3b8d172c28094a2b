/* Received frames of several buffers (MRG_RXBUF, 5.1.6.4), in all layouts. */
#include "tests/unit/net_life.h"

enum { ANY = -1, FRAME_LIMIT = NET_FRAME_MAX, HEADER_AT = offsetof(struct virtio_net_hdr, num_buffers) };

static uint8_t pattern[70000];

static void begin(void **state, enum vq_layout layout) {
    again(state);
    offer_layout(layout);
    offer(VIRTIO_NET_F_MRG_RXBUF);
    tx_begin();
    for (unsigned i = 0; i < sizeof(pattern); i++) {
        pattern[i] = (uint8_t)(i * 7 + i / 256);
    }
}

static unsigned deliver(uint32_t len, uint32_t per_buffer, int lie) {
    const unsigned count = virtio_device_receive(&dev, pattern, len, per_buffer, lie);
    vq_device_show(&dev.queue[RX].ring);
    return count;
}

/* A frame is the first len bytes of the pattern, over so many buffers. Returns how many there are. */
static unsigned check_frame(const struct pktbuf *buf, uint32_t len) {
    uint32_t off = 0;
    unsigned count = 0;
    assert_int_equal(buf->frame_len, len);
    for (; buf != NULL; buf = buf->next, count++) {
        assert_true(off + buf->len <= len);
        assert_memory_equal(buf->data, pattern + off, buf->len);
        off += buf->len;
    }
    assert_int_equal(off, len);
    return count;
}

static void expect_frame(uint32_t len, unsigned buffers) {
    struct pktbuf *bufs[4];
    assert_int_equal(net_rx_burst(nd, bufs, NET_BURST_MAX), 1);
    assert_int_equal(check_frame(bufs[0], len), buffers);
    check_pool(buffers);
    pktbuf_put_frame(bufs[0]);
    check_pool(0);
}

static void expect_none(void) {
    struct pktbuf *bufs[NET_BURST_MAX];
    assert_int_equal(net_rx_burst(nd, bufs, NET_BURST_MAX), 0);
}

/* --- good frames ------------------------------------------------------------------------------ */

static void test_split_in_all_ways(void **state) {
    FOR_LAYOUTS(layout) {
        uint64_t packets = 0, bytes = 0;
        begin(state, layout);
        for (uint32_t len = 14; len <= 60; len++) {
            for (uint32_t per_buffer = HDR; per_buffer <= HDR + len + 1; per_buffer++) {
                const unsigned buffers = deliver(len, per_buffer, ANY);
                assert_int_equal(buffers, (HDR + len + per_buffer - 1) / per_buffer);
                expect_frame(len, buffers);
                packets++;
                bytes += len;
            }
        }
        assert_int_equal(nd->rx.stats.packets, packets);
        assert_int_equal(nd->rx.stats.bytes, bytes);
        assert_int_equal(nd->rx.stats.drop_short + nd->rx.stats.drop_too_long, 0);
    }
}

/* Bursts that end within a frame: the rest comes with the next one, whatever was in between. */
static void test_bursts_split_frames(void **state) {
    FOR_LAYOUTS(layout) {
        for (unsigned max = 1; max <= 5; max++) {
            struct pktbuf *bufs[NET_BURST_MAX];
            unsigned got = 0, buffers = 0, sent = 0;
            begin(state, layout);
            for (unsigned i = 0; i < 12; i++) {
                sent += deliver(100 + 10 * i, 40 + 5 * i, ANY);
            }
            for (unsigned n = 0; n < 2 * sent && got < 12; n++) {
                const unsigned count = net_rx_burst(nd, bufs, max);
                assert_true(count <= max);
                for (unsigned i = 0; i < count; i++, got++) {
                    buffers += check_frame(bufs[i], 100 + 10 * got);
                    pktbuf_put_frame(bufs[i]);
                }
            }
            assert_int_equal(got, 12);
            assert_int_equal(buffers, sent);
            check_pool(0);
        }
    }
}

/* A frame whose buffers the device shows one by one. */
static void test_slow_device(void **state) {
    FOR_LAYOUTS(layout) {
        begin(state, layout);
        for (unsigned parts = 2; parts < 20; parts++) {
            struct vq_device *ring = &dev.queue[RX].ring;
            uint8_t bytes[HDR + 10] = {[HEADER_AT] = (uint8_t)parts};
            memcpy(bytes + HDR, pattern, 10);
            for (unsigned i = 0; i < parts; i++) {
                struct vq_device_buffer b;
                const uint8_t *from = i == 0 ? bytes : pattern + 10 + 20 * (i - 1);
                const uint32_t len = i == 0 ? sizeof(bytes) : 20;
                expect_none();
                assert_true(vq_device_fetch(ring, &b));
                vq_device_write(ring, b.id, from, len);
                vq_device_use(ring, b.id, len);
                vq_device_show(ring);
            }
            expect_frame(10 + 20 * (parts - 1), parts);
        }
    }
}

/* Just enough buffers, and all of them: the ring is empty when the frame is complete. */
static void test_whole_ring(void **state) {
    FOR_LAYOUTS(layout) {
        static const uint16_t sizes[] = {1, 2, 4, 8, 64};
        for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
            again(state);
            cfg.queue = sizes[i];
            offer_layout(layout);
            offer(VIRTIO_NET_F_MRG_RXBUF);
            tx_begin();
            for (unsigned n = 0; n < 10; n++) {
                const uint32_t len = 32u * sizes[i] - HDR;
                assert_int_equal(deliver(len, 32, ANY), sizes[i]);
                expect_frame(len, sizes[i]);
                assert_int_equal(nd->rx.stats.ring_empty, n + 1);
            }
        }
    }
}

/* The header of the first buffer is all that is looked at, and only num_buffers of it. */
static void test_header_garbage(void **state) {
    FOR_LAYOUTS(layout) {
        begin(state, layout);
        for (unsigned byte = 0; byte < 256; byte += 15) {
            struct vq_device_buffer b;
            uint8_t bytes[HDR + 60];
            memset(bytes, (int)byte, HDR);
            memcpy(bytes + HEADER_AT, &(uint16_t){1}, 2);
            memcpy(bytes + HDR, pattern, 60);
            assert_true(vq_device_fetch(&dev.queue[RX].ring, &b));
            vq_device_write(&dev.queue[RX].ring, b.id, bytes, sizeof(bytes));
            vq_device_use(&dev.queue[RX].ring, b.id, sizeof(bytes));
            show(RX);
            expect_frame(60, 1);
        }
    }
}

/* --- limits ----------------------------------------------------------------------------------- */

static void test_lengths_at_the_limits(void **state) {
    static const struct {
        uint32_t len;
        uint64_t *drop;
    } cases[] = {
        {FRAME_LIMIT - 1, NULL},
        {FRAME_LIMIT, NULL},
        {FRAME_LIMIT + 1, &net_devs[0].rx.stats.drop_too_long},
        {69000, &net_devs[0].rx.stats.drop_too_long},
        {14, NULL},
        {13, &net_devs[0].rx.stats.drop_short},
        {1, &net_devs[0].rx.stats.drop_short},
    };
    FOR_LAYOUTS(layout) {
        begin(state, layout);
        for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
            const uint32_t per_buffer = cases[i].len > 1000 ? 1500 : HDR;
            const uint64_t before = cases[i].drop != NULL ? *cases[i].drop : 0;
            const unsigned buffers = deliver(cases[i].len, per_buffer, ANY);
            assert_true(buffers >= 2 && buffers <= 64);
            if (cases[i].drop == NULL) {
                expect_frame(cases[i].len, buffers);
            } else {
                expect_none();
                assert_int_equal(*cases[i].drop, before + 1);
                check_pool(0);
            }
            assert_false(nd->rx.vq.broken);
        }
        expect_traffic();
    }
}

/* Used lengths below the header (5.1.6.4): no frame, and no count of buffers is believed. */
static void test_runts(void **state) {
    FOR_LAYOUTS(layout) {
        begin(state, layout);
        for (uint32_t len = 0; len < HDR + 14; len++) {
            struct vq_device_buffer b;
            const uint8_t bytes[HDR + 14] = {[HEADER_AT] = (uint8_t)(len < HDR ? 200 : 1)};
            assert_true(vq_device_fetch(&dev.queue[RX].ring, &b));
            vq_device_write(&dev.queue[RX].ring, b.id, bytes, sizeof(bytes));
            vq_device_use(&dev.queue[RX].ring, b.id, len);
            show(RX);
            expect_none();
            assert_int_equal(nd->rx.stats.drop_short, len + 1);
            check_pool(0);
        }
        expect_traffic();
    }
}

/* Buffers of a frame that hold nothing: more of them than bytes. */
static void test_empty_buffers(void **state) {
    FOR_LAYOUTS(layout) {
        begin(state, layout);
        for (unsigned i = 0; i < 5; i++) {
            struct vq_device_buffer b;
            uint8_t bytes[HDR + 20] = {[HEADER_AT] = 5};
            const uint32_t len = i == 0 ? HDR + 20 : 0;
            memcpy(bytes + HDR, pattern, 20);
            assert_true(vq_device_fetch(&dev.queue[RX].ring, &b));
            vq_device_write(&dev.queue[RX].ring, b.id, bytes, len);
            vq_device_use(&dev.queue[RX].ring, b.id, len);
        }
        show(RX);
        expect_frame(20, 5);
    }
}

/* --- lies ------------------------------------------------------------------------------------- */

/* num_buffers that cannot be: the queue is broken, what else came is not lost, and then a reset. */
static void test_impossible_counts(void **state) {
    static const uint16_t counts[] = {0, 257, 0x100 * 3, UINT16_MAX};
    FOR_LAYOUTS(layout) {
        for (unsigned i = 0; i < ARRAY_SIZE(counts); i++) {
            struct pktbuf *bufs[NET_BURST_MAX];
            begin(state, layout);
            assert_int_equal(deliver(60, 0, ANY), 1);
            assert_int_equal(deliver(60, 0, counts[i]), 1);
            assert_int_equal(deliver(61, 0, ANY), 1);
            assert_int_equal(net_rx_burst(nd, bufs, NET_BURST_MAX), 2);
            assert_true(nd->rx.vq.broken);
            assert_int_equal(nd->rx.vq.device_errors, 1);
            assert_int_equal(nd->rx.stats.drop_short, 1);
            assert_int_equal(check_frame(bufs[0], 60) + check_frame(bufs[1], 61), 2);
            pktbuf_put(bufs[0]);
            pktbuf_put(bufs[1]);
            expect_none();
            check_pool(0);
            lost_count = 0;
            assert_int_equal(service(), NET_CHANGED);
            assert_int_equal(nd->restarts, 1);
            expect_traffic();
        }
    }
}

/* A count that is too large by some: what follows is taken for the rest of the frame. That is all: the next
 * frame is a good one again. One that is too small makes a header of data. */
static void test_wrong_counts(void **state) {
    FOR_LAYOUTS(layout) {
        begin(state, layout);
        for (unsigned extra = 1; extra < 5; extra++) {
            struct pktbuf *bufs[4];
            assert_int_equal(deliver(60, 0, (int)(1 + extra)), 1);
            for (unsigned i = 0; i < extra; i++) {
                expect_none();
                assert_int_equal(deliver(60, 0, ANY), 1);
            }
            assert_int_equal(net_rx_burst(nd, bufs, 4), 1);
            assert_int_equal(bufs[0]->frame_len, 60 + 72 * extra);
            pktbuf_put_frame(bufs[0]);
            assert_int_equal(deliver(60, 0, ANY), 1);
            expect_frame(60, 1);
        }
        for (unsigned i = 0; i < 20; i++) {
            struct pktbuf *bufs[NET_BURST_MAX];
            assert_true(deliver(200, 50, 1) > 1); /* the others start with data as their header */
            const unsigned count = net_rx_burst(nd, bufs, NET_BURST_MAX);
            for (unsigned k = 0; k < count; k++) {
                pktbuf_put_frame(bufs[k]);
            }
            if (nd->rx.vq.broken || nd->rx_missing > 0) {
                restart();
            }
        }
        restart();
        expect_traffic();
    }
}

static uint16_t *told; /* num_buffers of the frame, where the device wrote it */

/* The device changes its mind before each look of the driver. */
static void change_mind(void) {
    static const uint16_t counts[] = {1, UINT16_MAX, 2, 0};
    static unsigned step;
    *told = counts[step++ % ARRAY_SIZE(counts)];
}

/* It is read once, and every value means one thing: a frame, a part of one, or a lie. */
static void test_count_changes_under_the_reader(void **state) {
    FOR_LAYOUTS(layout) {
        for (unsigned i = 0; i < 16; i++) {
            struct vq_device_buffer b;
            struct pktbuf *bufs[4];
            begin(state, layout);
            assert_true(vq_device_fetch(&dev.queue[RX].ring, &b));
            told = (uint16_t *)(void *)((uint8_t *)(uintptr_t)b.elem[0].addr + HEADER_AT);
            vq_device_use(&dev.queue[RX].ring, b.id, HDR + 60);
            show(RX);
            for (unsigned skip = 0; skip < i; skip++) {
                change_mind();
            }
            ring_step = change_mind;
            const unsigned count = net_rx_burst(nd, bufs, 4);
            ring_step = NULL;
            ring_drain();
            assert_int_equal(count + (nd->rx_missing == 1) + nd->rx.vq.broken, 1);
            check_pool(count + nd->rx_missing);
        }
    }
}

/* The device is reset, or its queue, in the middle of a frame: the part that came is dropped and
 * counted. */
static void test_reset_in_the_middle(void **state) {
    FOR_LAYOUTS(layout) {
        for (unsigned alone = 0; alone < 2; alone++) {
            begin(state, layout);
            for (unsigned parts = 1; parts < 6; parts++) {
                const uint64_t drops = nd->rx.stats.drop_reset;
                for (unsigned i = 0; i < parts; i++) {
                    deliver(60, 0, 6);
                }
                expect_none();
                assert_int_equal(nd->rx_missing, 6 - parts);
                check_pool(parts);
                if (alone) {
                    virtio_device_lie(&dev, RX, 0xffff, 0);
                    expect_none();
                    assert_true(nd->rx.vq.broken);
                    assert_int_equal(service(), NET_CHANGED);
                } else {
                    restart();
                }
                assert_int_equal(nd->rx.stats.drop_reset, drops + 1);
                assert_int_equal(nd->rx_missing, 0);
                expect_traffic();
            }
        }
    }
}

int main(void) {
#define NET_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        NET_CASE(test_split_in_all_ways),     NET_CASE(test_bursts_split_frames),
        NET_CASE(test_slow_device),           NET_CASE(test_whole_ring),
        NET_CASE(test_header_garbage),        NET_CASE(test_lengths_at_the_limits),
        NET_CASE(test_runts),                 NET_CASE(test_empty_buffers),
        NET_CASE(test_impossible_counts),     NET_CASE(test_wrong_counts),
        NET_CASE(test_reset_in_the_middle),   NET_CASE(test_count_changes_under_the_reader),
    };
    return RUN_ON_EACH_BUS("net merged buffers", tests);
}
