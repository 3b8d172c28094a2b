/* Frames longer than the MTU: sent ones that the device cuts (HOST_TSO, HOST_USO), received ones that it
 * merged (GUEST_TSO, GUEST_USO). The device checks the headers of the former (5.1.6.2), and that the posted
 * buffers hold the latter. */
#include "tests/unit/net_life.h"

enum {
    ETH = 14,
    MSS = 1448,
    HEADERS = ETH + 20 + 32, /* Ethernet, IPv4, TCP with timestamps */
    GSO_MAX = NET_TX_GSO_LEN_MAX,
};

static uint8_t *long_frame;
static uint8_t bytes[HDR + (1 << 17)];

/* A TCP segment over IPv4 of so many bytes, and the virtio header in front of it. */
static void make_frame(uint32_t len) {
    static const uint8_t headers[ETH + 20 + 20] = {
        [12] = 8, [ETH] = 0x45, [ETH + 9] = 6, [ETH + 20 + 12] = 0x80};
    const struct virtio_net_hdr hdr = {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
        .hdr_len = HEADERS,
        .gso_size = MSS,
        .csum_start = ETH + 20,
        .csum_offset = 16,
    };
    memcpy(long_frame, &hdr, HDR);
    for (uint32_t i = 0; i < len; i++) {
        long_frame[HDR + i] = (uint8_t)(i * 7 + i / 256);
    }
    memcpy(long_frame + HDR, headers, min_u64(sizeof(headers), len));
}

static void begin(void) {
    bring_up();
    long_frame = dma_alloc(HDR + 70000, 64);
    assert_non_null(long_frame);
}

static void begin_layout(void **state, enum vq_layout layout, uint16_t queue) {
    again(state);
    offer_layout(layout);
    offer_offloads();
    dev.queue[RX].max = dev.queue[TX].max = 1024;
    cfg.queue = queue;
    begin();
}

/* --- sent frames ------------------------------------------------------------------------------- */

/* In so many pieces, the last one the longest. */
static bool send_gso(uint32_t len, unsigned pieces) {
    struct vq_seg segs[NET_TX_SEG_MAX + 1];
    uint32_t off = 0;
    make_frame(len);
    for (unsigned i = 0; i < pieces; i++) {
        const uint32_t part = i + 1 == pieces ? HDR + len - off : i == 0 ? HDR + HEADERS : 10;
        segs[i] = (struct vq_seg){.addr = {(uintptr_t)long_frame + off}, .len = part};
        off += part;
    }
    return net_tx_add_gso(nd, segs, pieces, len, long_frame);
}

static void expect_gso(uint32_t len) {
    void *tokens[2];
    net_tx_flush(nd);
    assert_int_equal(transmit(bytes, sizeof(bytes)), HDR + len);
    assert_memory_equal(bytes, long_frame, HDR + len);
    show(TX);
    assert_int_equal(net_tx_done(nd, tokens, 2), 1);
    assert_ptr_equal(tokens[0], long_frame);
    check_pool(0);
}

/* With and without tables of descriptors, through rings of every size: what fits goes out as it is. */
static void test_sent(void **state) {
    static const uint16_t sizes[] = {1, 2, 4, 32, 64, 256};
    for (unsigned i = 0; i < 4 * 2 * ARRAY_SIZE(sizes); i++) {
        const uint16_t num = sizes[i / 8];
        const bool tables = i / 4 % 2;
        uint64_t sent = 0, len_sum = 0, refused = 0;
        again(state);
        offer_layout(i % 4);
        offer_offloads();
        offer(VIRTIO_NET_F_GUEST_HDRLEN);
        virtio_device_offer(&dev, VIRTIO_F_INDIRECT_DESC, tables);
        cfg.queue = num;
        begin();
        for (unsigned pieces = 1; pieces <= NET_TX_SEG_MAX + 1; pieces++) {
            const uint32_t len = pieces % 2 ? GSO_MAX : 3000;
            const bool fits = pieces <= num && pieces <= NET_TX_SEG_MAX;
            assert_int_equal(send_gso(len, pieces), fits);
            refused += !fits;
            if (fits) {
                const bool one = tables && pieces > VQ_INDIRECT_MIN_SEGS;
                assert_int_equal(net_tx_room(nd), num - (one ? 1 : pieces));
                expect_gso(len);
                sent++;
                len_sum += len;
            }
        }
        assert_int_equal(nd->tx.stats.gso_frames, sent);
        assert_int_equal(nd->tx.stats.packets, sent);
        assert_int_equal(nd->tx.stats.bytes, len_sum);
        assert_int_equal(nd->tx.stats.drop_too_long, refused);
    }
}

/* Any one of the three features makes it possible, up to its limit; other frames keep theirs. */
static void test_limits(void **state) {
    static const uint8_t bits[] = {VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6,
                                   VIRTIO_NET_F_HOST_USO};
    for (unsigned set = 0; set < 8; set++) {
        again(state);
        offer_offloads();
        for (unsigned i = 0; i < ARRAY_SIZE(bits); i++) {
            virtio_device_offer(&dev, bits[i], set >> i & 1);
        }
        begin();
        assert_int_equal(nd->tx_gso_len_max, set != 0 ? 65549 : 0);
        assert_false(send_gso(GSO_MAX + 1, 2));
        if (set == 0) {
            assert_false(send_gso(1514, 1));
        }
        assert_int_equal(nd->tx.stats.drop_too_long, 1 + (set == 0));
        const struct vq_seg seg = {.addr = {(uintptr_t)long_frame}, .len = HDR + 1515};
        assert_false(net_tx_add(nd, &seg, 1, 1515, long_frame));
        assert_int_equal(nd->tx.stats.gso_frames, 0);
        assert_int_equal(nd->tx.stats.drop_too_long, 2 + (set == 0));
        if (set & 1) {
            assert_true(send_gso(GSO_MAX, 2));
            expect_gso(GSO_MAX);
        }
    }
}

/* A tag is not part of the packet. */
static void test_limit_with_tag(void **state) {
    (void)state;
    offer_offloads();
    cfg.vlan = 9;
    begin();
    assert_int_equal(nd->tx_gso_len_max, GSO_MAX + 4);
    assert_false(send_gso(GSO_MAX + 5, 2));
    assert_true(send_gso(GSO_MAX + 4, 2));
    expect_gso(GSO_MAX + 4);
}

/* What is true of all frames is true of these. */
static void test_not_sent(void **state) {
    unsigned count = 0;
    (void)state;
    offer_offloads();
    cfg.queue = 8;
    begin();
    nd->link_up = false;
    assert_false(send_gso(3000, 2));
    assert_int_equal(nd->tx.stats.drop_link_down, 1);
    nd->link_up = true;
    for (; net_tx_room(nd) > 1; count++) {
        assert_true(send_gso(3000, 2));
    }
    while (net_tx_room(nd) > 0) {
        assert_true(send_gso(3000, 1));
        count++;
    }
    assert_false(send_gso(3000, 1));
    assert_int_equal(nd->tx.stats.drop_ring_full, 1);
    assert_int_equal(nd->tx.stats.ring_full, 1);
    assert_int_equal(nd->tx.stats.gso_frames, count);
}

/* A device that came back without the features is not asked for them. */
static void test_lost_at_restart(void **state) {
    (void)state;
    offer_offloads();
    begin();
    assert_true(send_gso(3000, 2));
    virtio_device_offer(&dev, VIRTIO_NET_F_CSUM, false);
    restart();
    assert_int_equal(lost_count, 1);
    assert_int_equal(nd->tx_gso_len_max, 0);
    assert_false(send_gso(3000, 2));
    assert_int_equal(nd->tx.stats.drop_too_long, 1);
}

/* A large ring in little memory has no tables, and sends all the same. */
static void test_tables_that_do_not_fit(void **state) {
    static const uint16_t sizes[] = {256, 1024, 2048};
    for (unsigned i = 0; i < 4 * ARRAY_SIZE(sizes); i++) {
        const uint16_t num = sizes[i / 4];
        again(state);
        offer_layout(i % 4);
        offer_offloads();
        offer(VIRTIO_F_INDIRECT_DESC);
        dev.queue[RX].max = 256;
        dev.queue[TX].max = num;
        begin();
        assert_int_equal(nd->tx.vq.num, num);
        assert_int_equal(nd->tx.vq.indirect != NULL, num < 2048); /* of 8 MiB */
        assert_true(send_gso(GSO_MAX, NET_TX_SEG_MAX));
        assert_int_equal(net_tx_room(nd), num - (num < 2048 ? 1 : NET_TX_SEG_MAX));
        expect_gso(GSO_MAX);
    }
}

/* --- received frames --------------------------------------------------------------------------- */

static unsigned deliver(uint32_t len, uint8_t gso_type) {
    make_frame(len);
    long_frame[1] = gso_type;
    const unsigned count = virtio_device_receive_merged(&dev, long_frame, long_frame + HDR, len);
    expect_no_violation();
    vq_device_show(&dev.queue[RX].ring);
    return count;
}

static void expect_merged(uint32_t len, unsigned buffers) {
    struct pktbuf *bufs[NET_BURST_MAX], *frame = NULL;
    uint32_t off = 0;
    unsigned got = 0;
    for (unsigned looks = 0; looks <= buffers / NET_BURST_MAX && got == 0; looks++) {
        got = net_rx_burst(nd, bufs, NET_BURST_MAX);
        frame = bufs[0];
    }
    assert_int_equal(got, 1);
    assert_int_equal(frame->frame_len, len);
    for (const struct pktbuf *buf = frame; buf != NULL; buf = buf->next, buffers--) {
        assert_memory_equal(buf->data, long_frame + HDR + off, buf->len);
        off += buf->len;
    }
    assert_int_equal(off, len);
    assert_int_equal(buffers, 0);
    pktbuf_put_frame(frame);
    check_pool(0);
}

static void expect_dropped(uint32_t len) {
    const uint64_t drops = nd->rx.stats.drop_too_long;
    struct pktbuf *bufs[NET_BURST_MAX];
    const unsigned buffers = deliver(len, VIRTIO_NET_HDR_GSO_TCPV4);
    for (unsigned looks = 0; looks <= buffers / NET_BURST_MAX; looks++) {
        assert_int_equal(net_rx_burst(nd, bufs, NET_BURST_MAX), 0);
    }
    assert_int_equal(nd->rx.stats.drop_too_long, drops + 1);
    check_pool(0);
}

/* Whatever the size of the ring, the buffers that are posted hold the longest frame that there is, just
 * after a batch of them was posted and just before. 65535 bytes are the most that go on. */
static void test_received(void **state) {
    static const uint16_t sizes[] = {1, 2, 3, 4, 7, 8, 16, 32, 57, 64, 128, 256, 1000, 1024};
    for (unsigned i = 0; i < 4 * ARRAY_SIZE(sizes); i++) {
        const uint16_t num = sizes[i / 4];
        if (!vq_is_packed(i % 4) && !is_power_of_two(num)) {
            continue;
        }
        begin_layout(state, i % 4, num);
        const unsigned refill_at = nd->rx.refill_at;
        for (unsigned lacking = 0; lacking < refill_at; lacking += max_u64(1, refill_at - 1)) {
            const uint64_t before = nd->rx.stats.gso_frames;
            for (unsigned n = 0; n < lacking; n++) {
                expect_merged(60, deliver(60, VIRTIO_NET_HDR_GSO_NONE));
            }
            assert_int_equal(nd->rx.vq.free_count, lacking);
            expect_merged(NET_FRAME_MAX, deliver(NET_FRAME_MAX, VIRTIO_NET_HDR_GSO_TCPV4));
            net_rx_refill(nd);
            expect_dropped(NET_FRAME_MAX + 1);
            net_rx_refill(nd);
            expect_dropped(NET_RX_GSO_LEN - HDR);
            net_rx_refill(nd);
            assert_int_equal(nd->rx.stats.gso_frames, before + 1);
        }
        assert_false(nd->rx.vq.broken);
    }
}

/* One behind the other, as a device does that is faster than the driver. */
static void test_many_received(void **state) {
    FOR_LAYOUTS(layout) {
        begin_layout(state, layout, 256);
        for (unsigned n = 0; n < 300; n++) {
            const uint32_t len = 14 + unit_below(&rnd, NET_FRAME_MAX - 13);
            expect_merged(len, deliver(len, n % 2 ? VIRTIO_NET_HDR_GSO_TCPV4
                                                  : VIRTIO_NET_HDR_GSO_TCPV6));
        }
        assert_int_equal(nd->rx.stats.gso_frames, 300);
        assert_int_equal(nd->rx.stats.packets, 300);
    }
}

/* Buffers are as large as that needs, and no larger when frames are cut to the MTU (5.1.6.3.1). */
static void test_room(void **state) {
    static const struct {
        uint16_t num;
        uint32_t room;
    } cases[] = {{1, 65589}, {2, 32789}, {4, 16389}, {16, 5035}, {32, 2613}, {64, 1522}, {256, 1522}};
    for (unsigned i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
        const bool long_frames = i % 2;
        const uint32_t room = long_frames ? cases[i / 2].room : 1522;
        again(state);
        offer_offloads();
        virtio_device_offer(&dev, VIRTIO_NET_F_GUEST_CSUM, long_frames);
        cfg.queue = cases[i / 2].num;
        bring_up();
        assert_int_equal(nd->pool.stride, pktbuf_stride(room));
        assert_true(nd->pool.total > nd->rx.vq.num + 64u);
    }
}

/* Eight devices in little memory: fewer spare buffers, but each device works. */
static void test_room_is_scarce(void **state) {
    (void)state;
    offer_offloads();
    cfg.queue = 1;
    assert_non_null(dma_alloc_dirty(MEMORY - (600 << 10), 64));
    begin();
    assert_in_range(nd->pool.total, 2, 10);
    for (unsigned n = 0; n < 20; n++) {
        expect_merged(NET_FRAME_MAX, deliver(NET_FRAME_MAX, VIRTIO_NET_HDR_GSO_TCPV4));
    }
}

int main(void) {
#define NET_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        NET_CASE(test_sent),       NET_CASE(test_limits),
        NET_CASE(test_limit_with_tag),
        NET_CASE(test_not_sent),   NET_CASE(test_lost_at_restart),
        NET_CASE(test_tables_that_do_not_fit),
        NET_CASE(test_received),   NET_CASE(test_many_received),
        NET_CASE(test_room),       NET_CASE(test_room_is_scarce),
    };
    return RUN_ON_EACH_BUS("net segmentation", tests);
}
