/* A device that lies: in its rings, in its registers, in its capabilities. Whatever it says, it is counted, the
 * device or the queue is reset, and no frame, no buffer and no access goes astray. */
#include "tests/unit/net_life.h"

#include <limits.h>

/* --- rings ------------------------------------------------------------------------------------ */

static unsigned take(unsigned queue) {
    struct pktbuf *bufs[NET_BURST_MAX];
    void *tokens[NET_BURST_MAX];
    if (queue == TX) {
        return net_tx_done(nd, tokens, NET_BURST_MAX);
    }
    const unsigned count = net_rx_burst(nd, bufs, NET_BURST_MAX);
    for (unsigned i = 0; i < count; i++) {
        pktbuf_put_frame(bufs[i]);
    }
    return count;
}

static uint64_t errors(void) {
    return nd->rx.vq.device_errors + nd->tx.vq.device_errors;
}

/* Ten frames to send; the device has four buffers of the queue, uses the first and lies about another. False
 * when it cannot lie so. */
static bool lie_about(unsigned queue, enum vq_fault fault) {
    struct vq_device *ring = &dev.queue[queue].ring;
    struct vq_device_buffer first, b;
    for (unsigned i = 0; i < 10; i++) {
        assert_true(send_frame(i, 60, fault == VQ_FAULT_NOT_HEAD ? 2 : 1));
    }
    net_tx_flush(nd);
    assert_true(vq_device_fetch(ring, &first));
    for (unsigned i = 0; i < 3; i++) {
        assert_true(vq_device_fetch(ring, &b));
    }
    if (queue == RX) {
        const uint8_t frame[HDR + 60] = {[offsetof(struct virtio_net_hdr, num_buffers)] = 1};
        vq_device_write(ring, first.id, frame, sizeof(frame));
    }
    vq_device_use(ring, first.id, queue == RX ? HDR + 60 : 0);
    vq_device_show(ring);
    assert_int_equal(take(queue), 1);
    return virtio_device_fault(&dev, queue, fault);
}

static void test_ring_lies(void **state) {
    unsigned lies = 0;
    for (unsigned i = 0; i < VQ_FAULT_COUNT * 4 * 2 * 2; i++) {
        const enum vq_fault fault = i % VQ_FAULT_COUNT;
        const unsigned queue = i / VQ_FAULT_COUNT % 2;
        const bool alone = i / VQ_FAULT_COUNT / 8;
        again(state);
        offer_layout(i / VQ_FAULT_COUNT / 2 % 4);
        virtio_device_offer(&dev, VIRTIO_F_RING_RESET, alone);
        offer(VIRTIO_NET_F_MRG_RXBUF);
        tx_begin();
        lost_count = 0;
        if (!lie_about(queue, fault)) {
            continue;
        }
        lies++;
        assert_int_equal(take(queue), 0);
        assert_int_equal(errors(), 1);
        assert_int_equal(take(queue), 0);
        assert_int_equal(errors(), 1); /* and no more: nobody looks any longer */
        assert_false(send_frame(20, 60, 1) && queue == TX);
        const unsigned added = queue == RX ? 11 : 9;
        const unsigned from = dev.status_count;
        assert_int_equal(service(), NET_CHANGED);
        if (alone) {
            assert_int_equal(dev.status_count, from);
            assert_int_equal(nd->rx.stats.resets + nd->tx.stats.resets, 1);
        } else {
            expect_statuses(from, (const uint8_t[]){0x8f, 0, 0x01, 0x03, 0x0b, 0x0f}, 6);
            assert_int_equal(nd->restarts, 1);
        }
        assert_int_equal(lost_count, alone && queue == RX ? 0 : added);
        assert_int_equal(nd->tx.stats.drop_reset, lost_count);
        assert_int_equal(service(), 0);
        if (lost_count > 0) {
            expect_traffic();
        }
        expect_no_violation();
    }
    assert_int_equal(lies, 120);
}

/* What the device has no business to write, and the driver none to read back: descriptors, entries of the
 * available ring, used elements to come, tables. */
static void test_scribbling(void **state) {
    FOR_LAYOUTS(layout) {
        for (unsigned byte = 0; byte < 256; byte += 51) {
            again(state);
            offer_layout(layout);
            offer(VIRTIO_F_INDIRECT_DESC);
            tx_begin();
            for (unsigned i = 0; i < 8; i++) {
                assert_true(send_frame(i, 60, 1 + i % 5));
            }
            net_tx_flush(nd);
            for (unsigned queue = RX; queue <= TX; queue++) {
                struct vq_device *ring = &dev.queue[queue].ring;
                uint16_t ids[8];
                for (unsigned i = 0; i < 8; i++) {
                    struct vq_device_buffer b;
                    assert_true(vq_device_fetch(ring, &b));
                    ids[i] = b.id;
                }
                vq_device_scribble(ring, (uint8_t)byte);
                for (unsigned i = 0; i < 8; i++) {
                    vq_device_use(ring, ids[i], queue == RX ? HDR + 60 : 0);
                }
                vq_device_show(ring);
                assert_int_equal(take(queue), 8);
            }
            assert_int_equal(errors(), 0);
            assert_int_equal(net_tx_room(nd), nd->tx.vq.num);
            vq_check(&nd->rx.vq);
            vq_check(&nd->tx.vq);
        }
    }
}

/* --- registers -------------------------------------------------------------------------------- */

/* Everything reads as ones: the device was pulled out, or its bridge was. Each try ends in time. */
static void test_device_is_gone(void **state) {
    (void)state;
    offer_ctrl();
    tx_begin();
    lost_count = 0;
    assert_true(send_frame(0, 60, 1));
    net_tx_flush(nd);
    dev.gone = true;
    for (unsigned i = 1; i <= 3; i++) {
        const uint64_t before = now_us;
        (void)next_service();
        assert_true(now_us - before < 2300 * 1000);
        assert_false(nd->running || nd->link_up);
        assert_int_equal(nd->restarts, i);
        assert_int_equal(lost_count, 0); /* who knows what it still does */
    }
    dev.gone = false;
    next_service();
    assert_int_equal(lost_count, 1);
    expect_traffic();
}

static void test_device_was_never_there(void **state) {
    (void)state;
    dev.gone = true;
    assert_int_equal(probe(), ERR_ABSENT);
    expect_logged(on_mmio ? "no virtio device" : "device does not finish a reset");
}

/* Every register holds anything whatsoever, and another thing at each look. */
static void garbage(struct virtio_device *d, uint32_t off) {
    (void)off;
    for (unsigned i = 0; i < sizeof(d->config); i++) {
        d->config[i] = (uint8_t)unit_random(&rnd);
    }
    d->generation = (uint8_t)(unit_random(&rnd) % 4);
}

static void test_config_changes_under_the_reader(void **state) {
    unsigned driven = 0;
    for (unsigned round = 0; round < 60; round++) {
        const struct unit_random kept = rnd;
        again(state);
        rnd = kept;
        offer(VIRTIO_NET_F_MTU);
        offer(VIRTIO_NET_F_SPEED_DUPLEX);
        offer_ctrl();
        dev.on_config_read = round % 2 == 0 ? garbage : NULL;
        const int err = probe();
        if (err != ERR_OK) {
            assert_true(err == ERR_ABSENT || err == ERR_RESOURCE);
            continue;
        }
        const uint16_t mtu = nd->mtu;
        driven++;
        assert_true(nd->mtu >= NET_MTU_MIN && nd->mtu <= NET_MTU_MAX);
        dev.on_config_read = garbage;
        for (unsigned i = 0; i < 30; i++) {
            if (next_service() & NET_ANNOUNCE) {
                dev.config[STATUS_OFF] |= ANNOUNCE;
                net_announced(nd);
            }
            if (i % 7 == 0) {
                virtio_device_need_reset(&dev);
            }
            check_pool(0);
        }
        dev.on_config_read = NULL;
        dev.config[STATUS_OFF] = LINK_UP;
        memcpy(dev.config + 10, &mtu, 2);
        next_service();
        restart();
        assert_true(nd->link_up);
        check_pool(0);
    }
    assert_true(driven > 30);
}

/* Small ones as often as large ones. */
static uint16_t any16(void) {
    const uint32_t value = unit_random(&rnd) & 0xffff;
    return (uint16_t)(value >> unit_below(&rnd, 16));
}

/* Sizes of queues, places of doorbells: whatever they are after a reset, the driver stays within them. */
static void test_queue_registers(void **state) {
    for (unsigned round = 0; round < 200; round++) {
        const struct unit_random kept = rnd;
        again(state);
        rnd = kept;
        offer_ctrl();
        offer_layout(round % 4);
        const bool later = round % 2;
        if (later) {
            tx_begin();
        }
        for (unsigned i = 0; i < VIRTIO_DEVICE_QUEUES; i++) {
            dev.queue[i].max = any16();
            dev.queue[i].notify_off = any16();
        }
        if (!later) {
            const int err = probe();
            assert_true(err == ERR_OK || err == ERR_ABSENT || err == ERR_RESOURCE);
            continue;
        }
        virtio_device_need_reset(&dev);
        (void)next_service();
        check_pool(0);
        for (unsigned i = 0; i < VIRTIO_DEVICE_QUEUES; i++) {
            dev.queue[i].max = 256;
            dev.queue[i].notify_off = (uint16_t)i;
        }
        virtio_device_need_reset(&dev);
        (void)next_service();
        expect_traffic();
    }
}

/* Capabilities of random bytes, most of them nearly right: no access leaves the device's BAR. */
static void test_capabilities(void **state) {
    PCI_ONLY();
    unsigned driven = 0;
    for (unsigned round = 0; round < 2000; round++) {
        const struct unit_random kept = rnd;
        again(state);
        rnd = kept;
        for (unsigned n = 1 + unit_below(&rnd, 4); n > 0; n--) {
            const unsigned at = 0x40 + unit_below(&rnd, dev.fn->cap_end - 0x40u);
            dev.fn->cfg[at] = (uint8_t)(unit_below(&rnd, 2) != 0
                                            ? unit_random(&rnd)
                                            : dev.fn->cfg[at] ^ 1u << unit_below(&rnd, 8));
        }
        const struct pci_windows windows = machine_windows();
        assert_int_equal(pci_init(&windows), ERR_OK);
        const int err = net_probe(&cfg);
        assert_true(err == ERR_OK || err == ERR_ABSENT || err == ERR_RESOURCE);
        assert_null(pci_bus.violation);
        driven += err == ERR_OK;
    }
    assert_true(driven > 100 && driven < 1900);
}

int main(void) {
#define NET_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        NET_CASE(test_ring_lies),
        NET_CASE(test_scribbling),
        NET_CASE(test_device_is_gone),
        NET_CASE(test_device_was_never_there),
        NET_CASE(test_config_changes_under_the_reader),
        NET_CASE(test_queue_registers),
        NET_CASE(test_capabilities),
    };
    return RUN_ON_EACH_BUS("net lies", tests);
}
