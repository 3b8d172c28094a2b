/* virtio-net from probe to restart, against a device that watches every step and lies on request. */
#include "tests/unit/unit.h"

#include "drivers/clock.h"
#include "drivers/virtio_net.h"
#include "lib/dma.h"
#include "lib/err.h"
#include "tests/model/virtio_device.h"
#include "tests/unit/capture.h"

#include <limits.h>
#include <stdlib.h>

enum { MEMORY = 8 << 20, BAR_ADDR = 0xc0000000, RX = 0, TX = 1, HDR = 12, FRAME_MAX = 1514 };

static struct virtio_device dev, dev2;
static struct net_dev *const nd = &net_devs[0];
static struct config cfg;
static void *memory;
static uint64_t now_us;
static struct unit_random rnd;

uint64_t clock_us(void) {
    return now_us += 100;
}

uint64_t clock_ms(void) {
    return clock_us() / 1000;
}

static void give_memory(struct virtio_device *d) {
    d->arena = memory;
    d->arena_size = MEMORY;
}

static int set_up(void **state) {
    (void)state;
    memory = aligned_alloc(4096, MEMORY);
    dma_init((uintptr_t)memory, MEMORY);
    pci_bus_init();
    pci_bus_add(NULL, 0, 0, 0x8086, 0x29c0, PCI_CLASS_BRIDGE_HOST, 0);
    virtio_device_add(&dev, 2, BAR_ADDR);
    virtio_device_add_caps(&dev);
    give_memory(&dev);
    dev2 = (struct virtio_device){0};
    memset(net_devs, 0, sizeof(net_devs));
    cfg = (struct config){.ip = "dhcp", .ip6 = "auto"};
    now_us = 0;
    rnd.state = 1;
    capture_begin();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    virtio_device_fini(&dev);
    virtio_device_fini(&dev2);
    free(memory);
    return 0;
}

static void expect_no_violation(void) {
    const char *const violations[] = {pci_bus.violation, dev.violation, dev2.violation,
                                      dev.queue[RX].ring.violation, dev.queue[TX].ring.violation};
    for (unsigned i = 0; i < ARRAY_SIZE(violations); i++) {
        if (violations[i] != NULL) {
            fail_msg("the driver broke a rule: %s", violations[i]);
        }
    }
}

static int probe(void) {
    const struct pci_windows windows = {
        .ecam = pci_bus.ecam,
        .ecam_buses = 256,
        .mem_start = 0x80000000,
        .mem_end = 0xe0000000,
        .assign_start = 0xc0000000,
        .assign_end = 0xe0000000,
        .io_start = 0xc000,
        .io_end = 0xd000,
    };
    assert_int_equal(pci_init(&windows), ERR_OK);
    const int err = net_probe(&cfg);
    expect_no_violation();
    return err;
}

static void bring_up(void) {
    assert_int_equal(probe(), ERR_OK);
    expect_no_error();
    assert_int_equal(net_dev_count, 1);
}

static void expect_statuses(unsigned from, const uint8_t *expected, unsigned count) {
    assert_int_equal(dev.status_count - from, count);
    assert_memory_equal(dev.status_log + from, expected, count);
}

/* --- bring-up ---------------------------------------------------------------------------------- */

static void test_bring_up(void **state) {
    static const uint8_t statuses[] = {0, 0x01, 0x03, 0x0b, 0x0f};
    struct vq_device_buffer b;
    (void)state;
    bring_up();
    expect_statuses(0, statuses, sizeof(statuses));
    assert_true(nd->running && nd->link_up);
    assert_memory_equal(nd->mac, dev.config, 6);
    assert_int_equal(nd->mtu, 1500);
    assert_int_equal(nd->hdr_len, HDR);
    assert_true(dev.queue[RX].enabled && dev.queue[TX].enabled && !dev.queue[2].enabled);
    assert_int_equal(dev.queue[RX].size, 256);
    /* One doorbell for the receive buffers, after DRIVER_OK (the device checks that). */
    assert_int_equal(dev.queue[RX].doorbells, 1);
    assert_int_equal(dev.queue[TX].doorbells, 0);
    for (unsigned i = 0; i < 256; i++) {
        assert_true(vq_device_fetch(&dev.queue[RX].ring, &b));
        assert_int_equal(b.n_out, 0);
        assert_true(b.in_len >= 1526); /* 5.1.6.3.1 */
    }
    assert_false(vq_device_fetch(&dev.queue[RX].ring, &b));
    assert_non_null(strstr(capture_text, "{\"event\":\"device\",\"nic\":0,\"pci\":\"00:02.0\","
                                         "\"mac\":\"52:54:00:12:34:02\",\"mtu\":1500,"
                                         "\"link\":true,\"features\":["));
    expect_no_violation();
}

/* Whatever is offered, accepted is what the driver knows how to use; the rest is ignored. */
static void test_garbage_offers(void **state) {
    for (unsigned round = 0; round < 100; round++) {
        tear_down(state);
        set_up(state);
        for (unsigned i = 0; i < 3; i++) {
            dev.offered[i] = round == 0 ? UINT32_MAX : unit_random(&rnd) ^ round * 0x9e3779b9;
        }
        virtio_device_offer(&dev, VIRTIO_F_VERSION_1, true);
        dev.config[10] = 0xdc; /* 1500 */
        dev.config[11] = 0x05;
        bring_up();
        struct virtio_features known = {0};
        virtio_feature_set(&known, VIRTIO_F_VERSION_1);
        virtio_feature_set(&known, VIRTIO_F_ACCESS_PLATFORM);
        virtio_feature_set(&known, VIRTIO_NET_F_MAC);
        virtio_feature_set(&known, VIRTIO_NET_F_STATUS);
        virtio_feature_set(&known, VIRTIO_NET_F_MTU);
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(dev.accepted[i], dev.offered[i] & known.word[i]);
            assert_int_equal(nd->features.word[i], dev.accepted[i]);
        }
    }
}

static void test_version_1_is_needed(void **state) {
    (void)state;
    virtio_device_offer(&dev, VIRTIO_F_VERSION_1, false);
    assert_int_not_equal(probe(), ERR_OK);
    expect_logged("version_1 is not offered");
    assert_int_equal(dev.status & (VIRTIO_STATUS_FAILED | VIRTIO_STATUS_FEATURES_OK),
                     VIRTIO_STATUS_FAILED);
    assert_false(dev.queue[RX].enabled);
}

static void test_masked_features(void **state) {
    (void)state;
    strcpy(cfg.features, "-mac,-status");
    bring_up();
    assert_false(virtio_device_accepted(&dev, VIRTIO_NET_F_MAC));
    assert_false(virtio_device_accepted(&dev, VIRTIO_NET_F_STATUS));
    assert_true(nd->link_up);
    assert_int_equal(nd->mac[0] & 3, 2); /* unicast, locally administered */
    tear_down(state);

    set_up(state);
    strcpy(cfg.features, "-version_1");
    assert_int_equal(probe(), ERR_CONFIG);
    expect_logged("version_1 is masked");
    tear_down(state);

    set_up(state);
    strcpy(cfg.features, "-nonsense");
    assert_int_equal(probe(), ERR_CONFIG);
    expect_logged("nonsense");
    assert_int_equal(dev.status_count, 0);
}

/* Each step can fail; then FAILED is set and no later step is made. */
static void test_failures(void **state) {
    for (unsigned which = 0; which < 6; which++) {
        tear_down(state);
        set_up(state);
        switch (which) {
        case 0:
            dev.refuse_features = true;
            break;
        case 1:
            dev.queue[RX].max = 0;
            break;
        case 2:
            dev.queue[TX].max = 0;
            break;
        case 3:
            dev.queue[TX].notify_off = 0xffff;
            break;
        case 4: /* no room for the status field: mac only */
            dev.fn->cfg[dev.fn->cap_last + 12] = 6;
            break;
        case 5:
            dev.reset_reads = UINT_MAX;
            break;
        }
        assert_int_equal(probe(), ERR_ABSENT);
        if (strstr(capture_text, "error: net0 00:02.0: ") == NULL) {
            fail_msg("failure %u gives no reason: %s", which, capture_text);
        }
        assert_int_equal(net_dev_count, 0);
        assert_false(dev.status & VIRTIO_STATUS_DRIVER_OK);
        assert_true((dev.status & VIRTIO_STATUS_FAILED) || which == 5);
        assert_int_equal(dev.queue[RX].doorbells, 0);
        dev.reset_reads = 0;
    }
}

static void test_queue_sizes(void **state) {
    static const struct {
        uint16_t rx_max, tx_max, wish;
        int err;
        uint16_t rx, tx;
    } cases[] = {
        {1024, 512, 0, ERR_OK, 1024, 512}, {1024, 512, 256, ERR_OK, 256, 256},
        {256, 256, 256, ERR_OK, 256, 256}, {256, 256, 1, ERR_OK, 1, 1},
        {256, 256, 2, ERR_OK, 2, 2},       {100, 7, 0, ERR_OK, 64, 4}, /* not powers of two */
        {1, 1, 0, ERR_OK, 1, 1},           {256, 256, 512, ERR_CONFIG, 0, 0},
        {512, 256, 512, ERR_CONFIG, 0, 0}, {256, 256, 100, ERR_CONFIG, 0, 0},
        {40000, 256, 0, ERR_ABSENT, 0, 0},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        tear_down(state);
        set_up(state);
        dev.queue[RX].max = dev.queue[RX].size = cases[i].rx_max;
        dev.queue[TX].max = dev.queue[TX].size = cases[i].tx_max;
        cfg.queue = cases[i].wish;
        assert_int_equal(probe(), cases[i].err);
        if (cases[i].err == ERR_OK) {
            assert_int_equal(dev.queue[RX].size, cases[i].rx);
            assert_int_equal(dev.queue[TX].size, cases[i].tx);
        } else if (cases[i].err == ERR_CONFIG) {
            expect_logged("queue=");
        }
    }
}

static void test_mtu(void **state) {
    static const struct {
        uint16_t offered, used;
    } cases[] = {{1500, 1500}, {68, 68},     {9216, 9216}, {1280, 1280},
                 {67, 1500},   {9217, 1500}, {0, 1500},    {65535, 1500}};
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        tear_down(state);
        set_up(state);
        virtio_device_offer(&dev, VIRTIO_NET_F_MTU, true);
        dev.config[10] = (uint8_t)cases[i].offered;
        dev.config[11] = (uint8_t)(cases[i].offered >> 8);
        assert_int_equal(probe(), ERR_OK);
        assert_int_equal(nd->mtu, cases[i].used);
        assert_int_equal(virtio_device_accepted(&dev, VIRTIO_NET_F_MTU),
                         cases[i].used == cases[i].offered);
        assert_true(nd->pool.room >= nd->mtu + 14u + 4u);
    }
}

static void test_not_enough_memory(void **state) {
    (void)state;
    dma_init((uintptr_t)memory, 64 * 1024);
    assert_int_equal(probe(), ERR_RESOURCE);
    assert_true(dev.status & VIRTIO_STATUS_FAILED);
    assert_non_null(strstr(capture_text, "error: "));
}

/* Several devices; one that cannot be driven does not keep the others from running. */
static void test_two_devices(void **state) {
    for (unsigned broken = 0; broken < 3; broken++) {
        tear_down(state);
        set_up(state);
        virtio_device_add(&dev2, 3, 0);
        give_memory(&dev2);
        if (broken != 1) {
            virtio_device_add_caps(&dev2); /* 1: legacy-only */
        }
        dev.refuse_features = broken == 2;
        assert_int_equal(probe(), ERR_OK);
        assert_int_equal(net_dev_count, broken == 0 ? 2 : 1);
        assert_int_equal(net_devs[0].mac[5], broken == 2 ? 3 : 2);
        for (unsigned i = 0; i < net_dev_count; i++) {
            assert_int_equal(net_devs[i].index, i);
            assert_true(net_devs[i].running);
        }
        if (broken == 1) {
            expect_logged("legacy-only");
        }
    }
    net_stop_all();
    assert_int_equal(dev2.status, 0);
    expect_no_violation();
}

static void test_old_device_beside_a_good_one(void **state) {
    (void)state;
    virtio_device_offer(&dev, VIRTIO_F_VERSION_1, false);
    virtio_device_add(&dev2, 3, 0);
    virtio_device_add_caps(&dev2);
    give_memory(&dev2);
    assert_int_equal(probe(), ERR_OK);
    assert_int_equal(net_dev_count, 1);
    assert_int_equal(nd->mac[5], 3);
}

/* --- receiving --------------------------------------------------------------------------------- */

/* The device receives a frame of len bytes, header included, filled with `byte`, and says that it
 * wrote `used_len`. Returns false when the driver posted no buffer. */
static bool receive(uint32_t len, uint8_t byte, uint32_t used_len) {
    struct vq_device_buffer b;
    uint8_t frame[2048];
    if (!vq_device_fetch(&dev.queue[RX].ring, &b)) {
        return false;
    }
    memset(frame, byte, sizeof(frame));
    assert_int_equal(vq_device_write(&dev.queue[RX].ring, b.id, frame, len), len);
    vq_device_use(&dev.queue[RX].ring, b.id, used_len);
    return true;
}

static void show(unsigned queue) {
    assert_false(vq_device_show(&dev.queue[queue].ring)); /* polled: no interrupt is asked for */
}

/* Every buffer is posted, free, or in the hands of the caller. */
static void check_pool(uint32_t held) {
    assert_int_equal(nd->rx.vq.num - nd->rx.vq.free_count + nd->pool.free_count + held,
                     nd->pool.total);
    vq_check(&nd->rx.vq);
    vq_check(&nd->tx.vq);
    expect_no_violation();
}

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

/* What was not negotiated is not looked at: flags, offsets, num_buffers of the header (5.1.6.4.2). */
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

/* --- sending ----------------------------------------------------------------------------------- */

static uint8_t *tx_frames; /* 512 frames of header and 2 KiB, in memory that the device reaches */

static void tx_begin(void) {
    bring_up();
    tx_frames = dma_alloc(512 * 2048, 64);
    assert_non_null(tx_frames);
}

static bool send_frame(unsigned i, uint32_t len, unsigned pieces) {
    uint8_t *frame = tx_frames + 2048 * i;
    struct vq_seg segs[32];
    uint32_t off = 0;
    memset(frame, 0, HDR);
    memset(frame + HDR, (int)(i + 1), len);
    for (unsigned k = 0; k < pieces; k++) {
        const uint32_t part = k + 1 == pieces ? HDR + len - off : 1 + (k == 0) * HDR;
        segs[k] = (struct vq_seg){.addr = {(uintptr_t)frame + off}, .len = part};
        off += part;
    }
    return net_tx_add(nd, segs, pieces, len, frame);
}

/* The device sends one frame; returns its length, header included, 0 when there is none. */
static uint32_t transmit(uint8_t *bytes, size_t size) {
    struct vq_device_buffer b;
    if (!vq_device_fetch(&dev.queue[TX].ring, &b)) {
        return 0;
    }
    assert_int_equal(b.n_in, 0);
    assert_int_equal(vq_device_read(&dev.queue[TX].ring, b.id, bytes, size), b.out_len);
    vq_device_use(&dev.queue[TX].ring, b.id, 0);
    return (uint32_t)b.out_len;
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

/* --- lies, service and restart ----------------------------------------------------------------- */

static void *lost[600];
static unsigned lost_count;

static void count_lost(struct net_dev *which, void *token) {
    assert_ptr_equal(which, nd);
    assert_true(lost_count < ARRAY_SIZE(lost));
    for (unsigned i = 0; i < lost_count; i++) {
        assert_ptr_not_equal(lost[i], token);
    }
    lost[lost_count++] = token;
}

/* Frames go both ways. */
static void expect_traffic(void) {
    struct pktbuf *bufs[4];
    void *tokens[4];
    uint8_t bytes[2048];
    assert_true(nd->running && nd->link_up);
    assert_true(receive(HDR + 100, 0x42, HDR + 100));
    show(RX);
    assert_int_equal(net_rx_burst(nd, bufs, 4), 1);
    assert_int_equal(bufs[0]->len, 100);
    pktbuf_put(bufs[0]);
    assert_true(send_frame(500, 80, 2));
    net_tx_flush(nd);
    assert_int_equal(transmit(bytes, sizeof(bytes)), HDR + 80);
    show(TX);
    assert_int_equal(net_tx_done(nd, tokens, 4), 1);
    assert_ptr_equal(tokens[0], tx_frames + 2048 * 500);
    check_pool(0);
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
                assert_true(fault == VQ_FAULT_NOT_HEAD && queue == RX);
                vq_device_fetch(ring, &b);
                vq_device_fault(ring, VQ_FAULT_HUGE_ID);
            }
            assert_int_equal(queue == RX ? net_rx_burst(nd, bufs, NET_BURST_MAX)
                                         : net_tx_done(nd, tokens, NET_BURST_MAX), 0);
            assert_int_equal(nd->rx.vq.device_errors + nd->tx.vq.device_errors, errors + 1);
            assert_false(send_frame(20, 60, 1) && queue == TX);
            const unsigned log = dev.status_count % VIRTIO_DEVICE_LOG;
            dev.status_count = log + sizeof(statuses) > VIRTIO_DEVICE_LOG ? 0 : log;
            const unsigned from = dev.status_count;
            lost_count = 0;
            assert_true(net_service(nd, count_lost));
            expect_statuses(from, statuses, sizeof(statuses));
            assert_int_equal(lost_count, queue == TX ? 9 : 11);
            assert_int_equal(nd->tx.stats.drop_reset, drops + lost_count);
            assert_int_equal(nd->restarts, restarts + 1);
            assert_false(net_service(nd, count_lost));
            expect_traffic();
        }
    }
}

static void test_link_follows_the_device(void **state) {
    (void)state;
    tx_begin();
    assert_false(net_service(nd, count_lost));
    dev.config[6] = 0;
    assert_true(net_service(nd, count_lost));
    assert_false(nd->link_up);
    assert_false(net_service(nd, count_lost));
    assert_false(send_frame(0, 60, 1));
    dev.config[6] = 0xff; /* other bits mean other things */
    assert_true(net_service(nd, count_lost));
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
    assert_true(net_service(nd, count_lost));
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
            net_service(nd, count_lost);
            assert_false(nd->running);
            assert_false(send_frame(5, 60, 1));
            assert_int_equal(net_rx_burst(nd, bufs, 4), 0);
        }
        dev.refuse_features = false;
        dev.reset_reads = 0;
        dev.queue[TX].notify_off = TX;
        dev.offered[1] = which == 3 ? offered : dev.offered[1];
        dev.violation = NULL; /* with which == 1 the device was given up in the middle of a reset */
        assert_true(net_service(nd, count_lost));
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
    net_service(nd, count_lost);
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
    net_service(nd, count_lost);
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
    net_service(nd, count_lost);
    assert_true(!nd->running || nd->mtu <= 1500);
    dev.config[11] = 0x05;
    net_service(nd, count_lost);
    expect_traffic();
    dev.queue[RX].max = 16;
    dev.status |= VIRTIO_STATUS_NEEDS_RESET;
    net_service(nd, count_lost);
    expect_no_violation();
}

/* Counters and their names: each counts in its own place. */
static void test_counters(void **state) {
    (void)state;
    assert_int_equal(net_counter_count * sizeof(uint64_t), sizeof(struct net_stats));
    for (size_t i = 0; i < net_counter_count; i++) {
        assert_int_equal(net_counters[i].offset % sizeof(uint64_t), 0);
        assert_true(net_counters[i].offset < sizeof(struct net_stats));
        assert_true(strlen(net_counters[i].help) > 5);
        for (size_t k = 0; k < i; k++) {
            assert_int_not_equal(net_counters[i].offset, net_counters[k].offset);
            assert_string_not_equal(net_counters[i].name, net_counters[k].name);
        }
    }
}

int main(void) {
#define NET_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        NET_CASE(test_bring_up),
        NET_CASE(test_garbage_offers),
        NET_CASE(test_version_1_is_needed),
        NET_CASE(test_masked_features),
        NET_CASE(test_failures),
        NET_CASE(test_queue_sizes),
        NET_CASE(test_mtu),
        NET_CASE(test_not_enough_memory),
        NET_CASE(test_two_devices),
        NET_CASE(test_old_device_beside_a_good_one),
        NET_CASE(test_frames_come_in),
        NET_CASE(test_short_frames),
        NET_CASE(test_header_garbage),
        NET_CASE(test_starved_receiver),
        NET_CASE(test_small_rings),
        NET_CASE(test_frames_go_out),
        NET_CASE(test_doorbells),
        NET_CASE(test_refused_frames),
        NET_CASE(test_ring_lies),
        NET_CASE(test_link_follows_the_device),
        NET_CASE(test_needs_reset),
        NET_CASE(test_restart_is_tried_again),
        NET_CASE(test_flush_while_down),
        NET_CASE(test_refill_while_down),
        NET_CASE(test_device_changes_over_a_restart),
        NET_CASE(test_counters),
    };
    return cmocka_run_group_tests_name("virtio net", tests, NULL, NULL);
}
