/* Random moves of driver and device, good and bad, in all layouts and with all kinds of features: no buffer
 * and no frame is ever lost or doubled. */
#include "tests/unit/net_life.h"

#include <limits.h>

enum { TOKENS = 400, HELD = 600, FETCHED = 300 };

/* --- what the caller of the driver has -------------------------------------------------------- */

static bool in_flight[TOKENS];
static struct pktbuf *held[HELD]; /* received frames */
static unsigned held_count;
static uint64_t accepted, returned, dropped;

/* --- what the device has ---------------------------------------------------------------------- */

static uint16_t fetched[FETCHED]; /* frames to send, that it has not used yet */
static unsigned fetched_count;
static uint8_t pattern[4096];

static unsigned token_of(const void *token) {
    const size_t off = (size_t)((const uint8_t *)token - tx_frames);
    assert_int_equal(off % 2048, 0);
    assert_true(off / 2048 < TOKENS);
    return (unsigned)(off / 2048);
}

static void take_back(const void *token) {
    const unsigned i = token_of(token);
    assert_true(in_flight[i]);
    in_flight[i] = false;
}

static void on_lost(struct net_dev *which, void *token) {
    assert_ptr_equal(which, nd);
    assert_false(dev.queue[TX].enabled || dev.reset_pending);
    take_back(token);
    dropped++;
}

static unsigned buffers_of(const struct pktbuf *buf) {
    unsigned count = 0;
    for (; buf != NULL; buf = buf->next) {
        count++;
    }
    return count;
}

static void check(void) {
    unsigned count = nd->rx_missing > 0 ? buffers_of(nd->rx_first) : 0;
    unsigned flying = 0;
    for (unsigned i = 0; i < held_count; i++) {
        count += buffers_of(held[i]);
    }
    check_pool(count);
    for (unsigned i = 0; i < TOKENS; i++) {
        flying += in_flight[i];
    }
    assert_int_equal(flying, accepted - returned - dropped);
    assert_int_equal(nd->tx.stats.packets, accepted);
    assert_int_equal(nd->tx.stats.drop_reset, dropped);
    assert_int_equal(nd->tx.done, returned);
}

/* --- moves of the driver ---------------------------------------------------------------------- */

static void move_rx(void) {
    if (held_count + NET_BURST_MAX < HELD) {
        held_count += net_rx_burst(nd, held + held_count, unit_below(&rnd, NET_BURST_MAX + 1));
    }
}

static void move_put(void) {
    for (unsigned n = unit_below(&rnd, held_count + 1); n > 0; n--) {
        const unsigned i = unit_below(&rnd, held_count);
        pktbuf_put_frame(held[i]);
        held[i] = held[--held_count];
    }
}

static void move_send(void) {
    for (unsigned n = unit_below(&rnd, 20); n > 0; n--) {
        const unsigned i = unit_below(&rnd, TOKENS);
        if (in_flight[i]) {
            continue;
        }
        const uint32_t len = 60 + unit_below(&rnd, 1400);
        in_flight[i] = send_frame(i, len, 1 + unit_below(&rnd, 16));
        accepted += in_flight[i];
    }
}

static void move_done(void) {
    void *tokens[NET_BURST_MAX];
    const unsigned count = net_tx_done(nd, tokens, unit_below(&rnd, NET_BURST_MAX + 1));
    for (unsigned i = 0; i < count; i++) {
        take_back(tokens[i]);
    }
    returned += count;
}

static void move_service(void) {
    const uint64_t resets = nd->restarts + nd->tx.stats.resets;
    if (unit_below(&rnd, 2) == 0) {
        now_us += 1000 * 1000;
    }
    if (net_service(nd, clock_ms(), on_lost) & NET_ANNOUNCE) {
        net_announced(nd);
    }
    if (nd->restarts + nd->tx.stats.resets != resets) {
        fetched_count = 0; /* the device has forgotten them, too */
    }
}

static void move_arm(void) {
    (void)net_arm(nd, unit_below(&rnd, 2) == 0, unit_below(&rnd, 2) == 0);
    if (unit_below(&rnd, 2) == 0) {
        net_disarm(nd);
    }
}

/* --- moves of the device ---------------------------------------------------------------------- */

static bool can_move(unsigned queue) {
    return (dev.status & VIRTIO_STATUS_DRIVER_OK) && !(dev.status & VIRTIO_STATUS_FAILED) &&
           dev.queue[queue].enabled && !dev.queue[queue].lied;
}

static void move_receive(void) {
    for (unsigned n = unit_below(&rnd, 40); n > 0 && can_move(RX); n--) {
        const bool mrg = virtio_device_accepted(&dev, VIRTIO_NET_F_MRG_RXBUF);
        const uint32_t len = unit_below(&rnd, mrg ? 4000 : 1515);
        const uint32_t per_buffer = mrg ? 12 + unit_below(&rnd, 1500) : 0;
        const bool lies = unit_below(&rnd, 60) == 0;
        const int lie = lies ? (int)unit_below(&rnd, unit_below(&rnd, 2) ? 65536 : 12) : -1;
        if (virtio_device_receive(&dev, pattern, len, per_buffer, lie) == 0) {
            break;
        }
    }
}

static void move_transmit(void) {
    struct vq_device *ring = &dev.queue[TX].ring;
    const bool in_order = virtio_device_accepted(&dev, VIRTIO_F_IN_ORDER);
    struct vq_device_buffer b;
    while (can_move(TX) && fetched_count < FETCHED && unit_below(&rnd, 5) != 0 &&
           vq_device_fetch(ring, &b)) {
        assert_int_equal(b.n_in, 0);
        fetched[fetched_count++] = b.id;
    }
    for (unsigned n = unit_below(&rnd, fetched_count + 1); n > 0 && can_move(TX);) {
        const unsigned batch = in_order ? 1 + unit_below(&rnd, n) : 1;
        if (in_order) {
            vq_device_use_batch(ring, batch, 0);
            memmove(fetched, fetched + batch, (fetched_count - batch) * sizeof(*fetched));
            fetched_count -= batch;
        } else {
            const unsigned i = unit_below(&rnd, fetched_count);
            vq_device_use(ring, fetched[i], 0);
            fetched[i] = fetched[--fetched_count];
        }
        n -= batch;
    }
}

static void move_show(void) {
    for (unsigned queue = RX; queue <= TX; queue++) {
        if (can_move(queue)) {
            vq_device_show(&dev.queue[queue].ring);
            vq_device_want_notify(&dev.queue[queue].ring, unit_below(&rnd, 2));
        }
    }
}

static void move_fault(void) {
    const unsigned queue = unit_below(&rnd, 2);
    struct vq_device_buffer b;
    if (unit_below(&rnd, 8) != 0 || !can_move(queue)) {
        return;
    }
    const bool is_new = queue == RX && vq_device_fetch(&dev.queue[queue].ring, &b);
    if (!virtio_device_fault(&dev, queue, (enum vq_fault)unit_below(&rnd, VQ_FAULT_COUNT)) &&
        is_new) {
        vq_device_use(&dev.queue[queue].ring, b.id, 0); /* not possible now */
    }
}

static void heal(void) {
    dev.refuse_features = false;
    dev.ctrl.answer = ANSWER_WELL;
    dev.queue_reset_reads = dev.reset_reads = 0;
}

static void move_trouble(void) {
    const unsigned which = unit_below(&rnd, 40);
    switch (which) {
    case 0:
        virtio_device_need_reset(&dev);
        break;
    case 1:
    case 2:
        virtio_device_configure(&dev, STATUS_OFF, (uint8_t)unit_below(&rnd, 4));
        break;
    case 3:
        dev.refuse_features = true;
        break;
    case 4:
        dev.ctrl.answer = (enum virtio_device_answer)unit_below(&rnd, ANSWER_UNKNOWN_ID + 1);
        break;
    case 5:
        dev.queue_reset_reads = UINT_MAX;
        break;
    case 6:
        dev.queue_reset_reads = unit_below(&rnd, 20);
        dev.reset_reads = unit_below(&rnd, 50);
        break;
    case 7:
    case 8:
        virtio_device_configure(&dev, STATUS_OFF, LINK_UP);
        break;
    default:
        if (which < 24) {
            heal();
        }
    }
}

/* --- runs ------------------------------------------------------------------------------------- */

static void begin(void **state, enum vq_layout layout) {
    static const uint8_t bits[] = {VIRTIO_NET_F_MRG_RXBUF,   VIRTIO_F_INDIRECT_DESC,
                                   VIRTIO_F_EVENT_IDX,       VIRTIO_F_NOTIFICATION_DATA,
                                   VIRTIO_F_RING_RESET,      VIRTIO_NET_F_CTRL_VQ,
                                   VIRTIO_F_NOTIF_CONFIG_DATA};
    const struct unit_random kept = rnd;
    again(state);
    rnd = kept;
    memset(in_flight, 0, sizeof(in_flight));
    held_count = fetched_count = 0;
    accepted = returned = dropped = 0;
    offer_ctrl();
    offer_layout(layout);
    for (unsigned i = 0; i < ARRAY_SIZE(bits); i++) {
        virtio_device_offer(&dev, bits[i], unit_below(&rnd, 3) != 0);
    }
    virtio_device_add_msix(&dev, 3);
    cfg.mode = CONFIG_MODE_IRQ;
    cfg.queue = 1u << unit_below(&rnd, 9);
    tx_begin();
}

/* All well again: within a few services everything works, and all is accounted for. */
static void finish(void) {
    heal();
    virtio_device_configure(&dev, STATUS_OFF, LINK_UP);
    virtio_device_need_reset(&dev);
    for (unsigned i = 0; i < 3; i++) {
        now_us += 1000 * 1000;
        move_service();
    }
    check();
    while (held_count > 0) {
        pktbuf_put_frame(held[--held_count]);
    }
    assert_int_equal(accepted, returned + dropped);
    expect_traffic();
}

static void test_conservation(void **state) {
    static void (*const moves[])(void) = {
        move_rx,      move_rx,       move_put,      move_send, move_send,  move_done, move_done,
        move_arm,     move_receive,  move_receive,  move_show, move_show,  move_show, move_transmit,
        move_service, move_transmit, move_transmit, move_fault, move_trouble};
    uint64_t frames = 0, resets = 0, restarts = 0;
    for (unsigned run = 0; run < 200; run++) {
        begin(state, run % 4);
        for (unsigned n = 0; n < 600; n++) {
            moves[unit_below(&rnd, ARRAY_SIZE(moves))]();
            check();
        }
        frames += nd->rx.stats.packets + nd->tx.done;
        resets += nd->rx.stats.resets + nd->tx.stats.resets;
        restarts += nd->restarts;
        finish();
    }
    /* It was worth it. */
    if (frames < 10000 || resets < 50 || restarts < 150) {
        fail_msg("%u frames, %u queue resets, %u restarts", (unsigned)frames, (unsigned)resets,
                 (unsigned)restarts);
    }
}

int main(void) {
#define NET_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        NET_CASE(test_conservation),
    };
    return RUN_ON_EACH_BUS("net random", tests);
}
