/* One or two virtio-net devices, brought up, and frames for them in both directions. */
#ifndef TESTS_UNIT_NET_RIG_H
#define TESTS_UNIT_NET_RIG_H

#include "tests/unit/unit.h"

#include "drivers/clock.h"
#include "drivers/virtio_net.h"
#include "lib/dma.h"
#include "lib/err.h"
#include "tests/model/virtio_device.h"
#include "tests/unit/capture.h"
#include "tests/unit/machine.h"

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

static inline void give_memory(struct virtio_device *d) {
    d->arena = memory;
    d->arena_size = MEMORY;
}

static inline int set_up(void **state) {
    (void)state;
    memory = aligned_alloc(4096, MEMORY);
    dma_init((uintptr_t)memory, MEMORY);
    machine_init();
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

static inline int tear_down(void **state) {
    (void)state;
    virtio_device_fini(&dev);
    virtio_device_fini(&dev2);
    free(memory);
    return 0;
}

static inline void expect_no_violation(void) {
    const char *const violations[] = {pci_bus.violation, dev.violation, dev2.violation,
                                      dev.queue[RX].ring.violation, dev.queue[TX].ring.violation};
    for (unsigned i = 0; i < ARRAY_SIZE(violations); i++) {
        if (violations[i] != NULL) {
            fail_msg("the driver broke a rule: %s", violations[i]);
        }
    }
}

static inline int probe(void) {
    const struct pci_windows windows = machine_windows();
    assert_int_equal(pci_init(&windows), ERR_OK);
    const int err = net_probe(&cfg);
    expect_no_violation();
    return err;
}

static inline void bring_up(void) {
    assert_int_equal(probe(), ERR_OK);
    expect_no_error();
    assert_int_equal(net_dev_count, 1);
}

static inline void expect_statuses(unsigned from, const uint8_t *expected, unsigned count) {
    assert_int_equal(dev.status_count - from, count);
    assert_memory_equal(dev.status_log + from, expected, count);
}

/* --- receiving -------------------------------------------------------------------------------- */

/* The device receives a frame of len bytes, header included, filled with `byte`, and says that it
 * wrote `used_len`. Returns false when the driver posted no buffer. */
static inline bool receive(uint32_t len, uint8_t byte, uint32_t used_len) {
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

static inline void show(unsigned queue) {
    assert_false(vq_device_show(&dev.queue[queue].ring)); /* polled: no interrupt is asked for */
}

/* Every buffer is posted, free, or in the hands of the caller. */
static inline void check_pool(uint32_t held) {
    assert_int_equal(nd->rx.vq.num - nd->rx.vq.free_count + nd->pool.free_count + held,
                     nd->pool.total);
    vq_check(&nd->rx.vq);
    vq_check(&nd->tx.vq);
    expect_no_violation();
}

/* --- sending ---------------------------------------------------------------------------------- */

static uint8_t *tx_frames; /* 512 frames of header and 2 KiB, in memory that the device reaches */

static inline void tx_begin(void) {
    bring_up();
    tx_frames = dma_alloc(512 * 2048, 64);
    assert_non_null(tx_frames);
}

static inline bool send_frame(unsigned i, uint32_t len, unsigned pieces) {
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
static inline uint32_t transmit(uint8_t *bytes, size_t size) {
    struct vq_device_buffer b;
    if (!vq_device_fetch(&dev.queue[TX].ring, &b)) {
        return 0;
    }
    assert_int_equal(b.n_in, 0);
    assert_int_equal(vq_device_read(&dev.queue[TX].ring, b.id, bytes, size), b.out_len);
    vq_device_use(&dev.queue[TX].ring, b.id, 0);
    return (uint32_t)b.out_len;
}

#endif
