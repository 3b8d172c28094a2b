/* Devices without PCI: which are driven, the line they interrupt by, and what QEMU's do not have. The other
 * tests of virtio-net run on such a device as well (RUN_ON_EACH_BUS). */
#include "tests/unit/net_life.h"

static int set_up_mmio(void **state) {
    on_mmio = true;
    return set_up(state);
}

/* --- discovery (4.2.2.2, 4.2.3.1) ------------------------------------------------------------- */

/* Empty slots and other types are passed over without a word, all else is told. No register but the first
 * three is touched of any (the model checks that). */
static void test_what_is_in_a_slot(void **state) {
    static const struct {
        uint32_t magic, version, id;
        const char *error; /* NULL: driven; "": silent */
    } cases[] = {
        {0x74726976, 2, 1, NULL},
        {0x74726976, 2, 0, ""},
        {0x74726976, 2, 2, ""},
        {0x74726976, 1, 0, ""},
        {0x74726976, 1, 2, ""},
        {0x74726976, 1, 1, "0xc1000000: a legacy device; Ringlet drives modern devices (QEMU: -global "
                           "virtio-mmio.force-legacy=false)"},
        {0x74726976, 0, 1, "0xc1000000: version 0 of the register layout is not known"},
        {0x74726976, 3, 1, "0xc1000000: version 3 of the register layout is not known"},
        {0x76697274, 2, 1, "0xc1000000: no virtio device: the magic value is 76697274"},
        {0, 0, 0, "the magic value is 00000000"},
        {UINT32_MAX, UINT32_MAX, UINT32_MAX, "the magic value is ffffffff"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        again(state);
        dev.mmio.magic = cases[i].magic;
        dev.mmio.version = cases[i].version;
        dev.mmio.id = cases[i].id;
        add_second_device(false); /* one that can be driven */
        assert_int_equal(probe(), ERR_OK);
        assert_int_equal(net_dev_count, cases[i].error == NULL ? 2 : 1);
        assert_int_equal(nd->mac[5], cases[i].error == NULL ? 2 : 3);
        if (cases[i].error == NULL || cases[i].error[0] == '\0') {
            expect_no_error();
        } else {
            expect_logged(cases[i].error);
            assert_int_equal(dev.status_count, 0);
        }
    }
}

static void test_nothing_there(void **state) {
    (void)state;
    dev.mmio.id = 0;
    assert_int_equal(probe(), ERR_ABSENT);
    expect_logged("no virtio-net device that can be driven");
}

/* NICs on PCI come first, then those without it by their addresses, in whatever order they were told. */
static void test_order(void **state) {
    static struct virtio_device third;
    (void)state;
    add_second_device(false);
    snprintf(mmio_words, sizeof(mmio_words), "512@%u:6,512@%u:5", MMIO_ADDR + MMIO_SIZE, MMIO_ADDR);
    virtio_device_add(&third, 2, BAR_ADDR);
    virtio_device_add_caps(&third);
    third.config[5] = 9;
    give_memory(&third);
    const int err = probe();
    expect_no_error();
    assert_int_equal(err, ERR_OK);
    assert_int_equal(net_dev_count, 3);
    assert_int_equal(net_devs[0].mac[5], 9);
    assert_int_equal(net_devs[1].mac[5], 2);
    assert_int_equal(net_devs[2].mac[5], 3);
    net_stop_all();
    assert_int_equal(dev.status | dev2.status | third.status, 0);
    virtio_device_fini(&third);
}

/* --- queues ----------------------------------------------------------------------------------- */

static void test_queue_in_use(void **state) {
    (void)state;
    dev.mmio.ready_stuck = true;
    assert_int_equal(probe(), ERR_ABSENT);
    expect_logged("queue 0 cannot be set up");
    assert_true(dev.status & VIRTIO_STATUS_FAILED);
}

/* QEMU 7.2: no feature word above the second, so that a write to the third would undo the second; and
 * RING_RESET is offered without its register, which is found out at once, not after a second. */
static void test_as_qemu(void **state) {
    FOR_LAYOUTS(layout) {
        again(state);
        dev.mmio.as_qemu = true;
        offer_layout(layout);
        offer(VIRTIO_F_RING_RESET);
        dev.offered[2] = dev.offered[1];
        tx_begin();
        assert_true(virtio_device_accepted(&dev, VIRTIO_F_VERSION_1));
        assert_int_equal(nd->rx.vq.layout, layout);
        struct virtio_features wishes = {.word = {UINT32_MAX, UINT32_MAX, UINT32_MAX}};
        virtio_dev_limit(&nd->dev, &wishes); /* as if bits above 63 were supported */
        assert_int_equal(wishes.word[2], 0);
        assert_int_equal(wishes.word[0], UINT32_MAX);
        virtio_device_lie(&dev, RX, 0xffff, 0);
        struct pktbuf *bufs[4];
        assert_int_equal(net_rx_burst(nd, bufs, 4), 0);
        const uint64_t before = now_us;
        assert_int_equal(service(), NET_CHANGED);
        assert_true(now_us - before < 100 * 1000);
        assert_int_equal(nd->restarts, 1);
        assert_int_equal(nd->rx.stats.resets, 0);
        expect_traffic();
    }
}

/* 4.2.2: the register has 32 bits, the ring's size 16. */
static void test_huge_queue(void **state) {
    (void)state;
    dev.mmio.size_max_high = 1;
    assert_int_equal(probe(), ERR_ABSENT);
    expect_logged("queue 0: the device gives a size of 65535");
}

/* --- interrupts (4.2.3.4) --------------------------------------------------------------------- */

static void interrupting(void) {
    cfg.mode = CONFIG_MODE_IRQ;
    bring_up();
    (void)net_interrupts_take(false); /* those of the test before */
}

static void test_line(void **state) {
    static const uint32_t modes[] = {CONFIG_MODE_POLL, CONFIG_MODE_IRQ, CONFIG_MODE_ADAPTIVE};
    for (unsigned i = 0; i < ARRAY_SIZE(modes); i++) {
        again(state);
        cfg.mode = modes[i];
        bring_up();
        assert_int_equal(seam_irq.lines_enabled, i != 0);
        assert_string_equal(net_irq_name(nd), i == 0 ? "none" : "line");
        assert_non_null(strstr(capture_text, i == 0 ? "\"irq\":\"none\"" : "\"irq\":\"line\""));
        if (i != 0) {
            assert_int_equal(seam_irq.line_set.gsi, MMIO_LINE);
            restart();
            assert_int_equal(seam_irq.lines_enabled, 1); /* a reset of the device leaves it */
        }
        assert_int_equal(seam_irq.lines_disabled, 0);
    }
}

static void test_no_input(void **state) {
    (void)state;
    seam_irq.has_intx = false;
    cfg.mode = CONFIG_MODE_ADAPTIVE;
    assert_int_equal(probe(), ERR_CONFIG);
    expect_logged("mode=adaptive: the device cannot interrupt");
    assert_true(dev.status & VIRTIO_STATUS_FAILED);
}

/* What is given up may hold its line for ever. */
static void test_given_up(void **state) {
    for (unsigned irq = 0; irq < 2; irq++) {
        again(state);
        cfg.mode = irq ? CONFIG_MODE_IRQ : CONFIG_MODE_POLL;
        dev.mmio.ready_stuck = true;
        assert_int_equal(probe(), ERR_ABSENT);
        assert_int_equal(seam_irq.lines_enabled, irq);
        assert_int_equal(seam_irq.lines_disabled, irq);
    }
}

/* Both events, each alone and both at once, with undefined bits beside them: what was read is
 * acknowledged and nothing else (the model checks that), and the line goes down. */
static void test_events(void **state) {
    static const uint32_t undefined[] = {0, 4, 0xfffffffc};
    for (unsigned i = 0; i < 4 * ARRAY_SIZE(undefined); i++) {
        const bool queue = i & 1, config = i & 2;
        again(state);
        interrupting();
        dev.mmio.isr_undefined = undefined[i / 4];
        if (queue) {
            virtio_device_interrupt(&dev, RX);
        }
        if (config) {
            virtio_device_interrupt(&dev, VIRTIO_DEVICE_CONFIG);
        }
        const unsigned reads = dev.isr_reads;
        assert_int_equal(net_interrupts_take(true), config);
        assert_int_equal(dev.isr_reads - reads, queue || config);
        assert_int_equal(dev.isr, 0);
        assert_false(irq_intx_pending());
        assert_int_equal(nd->rx.stats.interrupts, queue);
        assert_int_equal(nd->rx.stats.wakeups, queue);
        assert_int_equal(net_interrupts_take(true), 0);
        expect_no_violation();
    }
}

/* Two devices share the vector: each is asked, and only the one that asked for it is counted. */
static void test_shared_vector(void **state) {
    (void)state;
    add_second_device(false);
    cfg.mode = CONFIG_MODE_IRQ;
    assert_int_equal(probe(), ERR_OK);
    assert_int_equal(seam_irq.lines_enabled, 2);
    virtio_device_interrupt(&dev2, RX);
    virtio_device_interrupt(&dev2, VIRTIO_DEVICE_CONFIG);
    assert_int_equal(net_interrupts_take(false), 2);
    assert_int_equal(net_devs[0].rx.stats.interrupts, 0);
    assert_int_equal(net_devs[1].rx.stats.interrupts, 1);
    assert_int_equal(dev2.isr, 0);
    expect_no_violation();
}

/* An event between the look at the status and its acknowledgement: the line stays up, or is pulsed
 * again, and the interrupt comes again. */
static void test_event_amid_the_acknowledgement(void **state) {
    (void)state;
    interrupting();
    virtio_device_interrupt(&dev, RX);
    dev.mmio.event_at_ack = true;
    assert_int_equal(net_interrupts_take(false), 0);
    assert_int_equal(dev.isr, VIRTIO_ISR_CONFIG);
    assert_true(irq_intx_pending());
    assert_int_equal(net_interrupts_take(false), 1);
    assert_int_equal(dev.isr, 0);
    expect_no_violation();
}

int main(void) {
#define MMIO_CASE(name) cmocka_unit_test_setup_teardown(name, set_up_mmio, tear_down)
    const struct CMUnitTest tests[] = {
        MMIO_CASE(test_what_is_in_a_slot), MMIO_CASE(test_nothing_there), MMIO_CASE(test_order),
        MMIO_CASE(test_queue_in_use),      MMIO_CASE(test_as_qemu),       MMIO_CASE(test_huge_queue),
        MMIO_CASE(test_line),              MMIO_CASE(test_no_input),      MMIO_CASE(test_given_up),
        MMIO_CASE(test_events),            MMIO_CASE(test_shared_vector),
        MMIO_CASE(test_event_amid_the_acknowledgement),
    };
    return cmocka_run_group_tests_name("net without PCI", tests, NULL, NULL);
}
