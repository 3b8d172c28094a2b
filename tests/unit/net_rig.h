/* One or two virtio-net devices, brought up, and frames for them in both directions. */
#ifndef TESTS_UNIT_NET_RIG_H
#define TESTS_UNIT_NET_RIG_H

#include "tests/unit/unit.h"

#include "drivers/clock.h"
#include "drivers/lapic.h"
#include "drivers/virtio_mmio_find.h"
#include "drivers/virtio_net.h"
#include "lib/dma.h"
#include "lib/err.h"
#include "tests/model/virtio_device.h"
#include "tests/model/apic.h"
#include "tests/unit/capture.h"
#include "tests/unit/machine.h"
#include "tests/unit/seam_irq.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    MEMORY = 8 << 20,
    BAR_ADDR = 0xc0000000,
    RX = 0,
    TX = 1,
    CTRL = 2,
    HDR = 12,
    FRAME_MAX = 1514,
};

#define FOR_LAYOUTS(layout)                                                                        \
    for (enum vq_layout layout = VQ_SPLIT; layout <= VQ_PACKED_IN_ORDER; layout++)

/* The same tests for a device on PCI and for one without it. */
#define RUN_ON_EACH_BUS(name, tests)                                                               \
    (on_mmio = false, cmocka_run_group_tests_name(name, tests, NULL, NULL)) ||                     \
        (on_mmio = true, cmocka_run_group_tests_name(name " without PCI", tests, NULL, NULL))

/* In such a test: what only PCI has. */
#define PCI_ONLY()                                                                                 \
    if (on_mmio) {                                                                                 \
        skip();                                                                                    \
    }

static bool on_mmio;
static char mmio_words[64]; /* where devices without PCI are */
static struct virtio_device dev, dev2;
static struct net_dev *const nd = &net_devs[0];
static struct config cfg;
static void *memory;
static uint64_t now_us;
static struct unit_random rnd;

/* What the device does by itself, as time goes by. */
static void (*on_tick)(void);

uint64_t clock_us(void) {
    now_us += 100;
    if (on_tick != NULL) {
        on_tick();
    }
    return now_us;
}

uint64_t clock_ms(void) {
    return clock_us() / 1000;
}

uint64_t clock_ns_of_ticks(uint64_t ticks) {
    return ticks; /* one a nanosecond; cpu_tsc() is the host's */
}

static void on_interrupt(struct virtio_device *d, bool message, uint32_t data);

static inline void give_memory(struct virtio_device *d) {
    d->arena = memory;
    d->arena_size = MEMORY;
    d->on_interrupt = on_interrupt;
}

static void on_interrupt(struct virtio_device *d, bool message, uint32_t data) {
    (void)d;
    seam_irq_deliver(message ? (uint8_t)data : WAIT_VECTOR_INTX);
}

static inline bool line_is_asserted(void) {
    return dev.isr != 0 || dev2.isr != 0;
}

enum { MMIO_ADDR = 0xc1000000, MMIO_SIZE = 512, MMIO_LINE = 5 };

static inline void add_device(void) {
    mmio_words[0] = '\0';
    if (on_mmio) {
        virtio_device_add_mmio(&dev, MMIO_ADDR);
        snprintf(mmio_words, sizeof(mmio_words), "%d@%u:%d", MMIO_SIZE, (unsigned)MMIO_ADDR,
                 MMIO_LINE);
    } else {
        virtio_device_add(&dev, 2, BAR_ADDR);
        virtio_device_add_caps(&dev);
    }
}

/* Its MAC address ends with 3. A legacy one cannot be driven. */
static inline void add_second_device(bool legacy) {
    if (on_mmio) {
        virtio_device_add_mmio(&dev2, MMIO_ADDR + MMIO_SIZE);
        dev2.config[5] = 3;
        dev2.mmio.version = legacy ? 1 : 2;
        const size_t used = strlen(mmio_words);
        snprintf(mmio_words + used, sizeof(mmio_words) - used, ",%d@%u:%d", MMIO_SIZE,
                 (unsigned)MMIO_ADDR + MMIO_SIZE, MMIO_LINE + 1);
    } else {
        virtio_device_add(&dev2, 3, 0);
        if (!legacy) {
            virtio_device_add_caps(&dev2);
        }
    }
    give_memory(&dev2);
}

/* A queue that cannot be set up: its doorbell is out of reach, or without PCI, it is in use already. */
static inline void break_set_up(unsigned queue, bool broken) {
    dev.queue[queue].notify_off = broken ? 0xffff : (uint16_t)queue;
    dev.mmio.ready_stuck = broken;
}

static inline int set_up(void **state) {
    (void)state;
    memory = aligned_alloc(4096, MEMORY);
    dma_init((uintptr_t)memory, MEMORY);
    machine_init();
    apic_init();
    lapic_init();
    seam_irq_init(line_is_asserted);
    add_device();
    give_memory(&dev);
    dev2 = (struct virtio_device){0};
    memset(net_devs, 0, sizeof(net_devs));
    net_dev_count = 0;
    cfg = (struct config){.ip = "dhcp", .ip6 = "auto"};
    now_us = 0;
    on_tick = NULL;
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

/* Begins anew, within a test. */
static inline void again(void **state) {
    tear_down(state);
    set_up(state);
}

static inline void offer(unsigned bit) {
    virtio_device_offer(&dev, bit, true);
}

static inline void offer_layout(enum vq_layout layout) {
    virtio_device_offer(&dev, VIRTIO_F_RING_PACKED, vq_is_packed(layout));
    virtio_device_offer(&dev, VIRTIO_F_IN_ORDER, vq_is_in_order(layout));
}

static inline void expect_no_violation(void) {
    const char *const violations[] = {pci_bus.violation, dev.violation, dev2.violation,
                                      dev.queue[RX].ring.violation, dev.queue[TX].ring.violation,
                                      dev.queue[CTRL].ring.violation};
    for (unsigned i = 0; i < ARRAY_SIZE(violations); i++) {
        if (violations[i] != NULL) {
            fail_msg("the driver broke a rule: %s", violations[i]);
        }
    }
}

static inline int probe(void) {
    const struct pci_windows windows = machine_windows();
    assert_int_equal(pci_init(&windows), ERR_OK);
    assert_int_equal(virtio_mmio_find(mmio_words, 0xc0000000, 0x100000000), ERR_OK);
    const int err = net_probe(&cfg);
    expect_no_violation();
    return err;
}

static inline void bring_up(void) {
    const int err = probe();
    expect_no_error();
    assert_int_equal(err, ERR_OK);
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
    if (virtio_device_accepted(&dev, VIRTIO_NET_F_MRG_RXBUF)) {
        memcpy(frame + offsetof(struct virtio_net_hdr, num_buffers), &(uint16_t){1}, 2);
    }
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
    struct vq_seg segs[NET_TX_SEG_MAX + 1];
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
    virtio_device_check_sent(&dev, bytes, (uint32_t)b.out_len);
    vq_device_use(&dev.queue[TX].ring, b.id, 0);
    return (uint32_t)b.out_len;
}

/* --- both ------------------------------------------------------------------------------------- */

static inline void post_and_take(unsigned round) {
    struct pktbuf *bufs[4];
    void *tokens[4];
    uint8_t bytes[2048];
    const uint8_t byte = (uint8_t)(0x42 + round);
    assert_true(receive(HDR + 100, byte, HDR + 100));
    vq_device_show(&dev.queue[RX].ring);
    assert_int_equal(net_rx_burst(nd, bufs, 4), 1);
    assert_int_equal(bufs[0]->len, 100);
    assert_int_equal(bufs[0]->data[99], byte);
    pktbuf_put(bufs[0]);
    assert_true(send_frame(500, 80, 1 + round % 5 % nd->tx.vq.num));
    net_tx_flush(nd);
    assert_int_equal(transmit(bytes, sizeof(bytes)), HDR + 80);
    vq_device_show(&dev.queue[TX].ring);
    assert_int_equal(net_tx_done(nd, tokens, 4), 1);
    assert_ptr_equal(tokens[0], tx_frames + 2048 * 500);
}

/* Frames go both ways, and nothing is lost on the way. */
static inline void expect_traffic(void) {
    assert_true(nd->running && nd->link_up);
    for (unsigned round = 0; round < 3; round++) {
        post_and_take(round);
    }
    check_pool(0);
}

#endif
