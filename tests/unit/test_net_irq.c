/* How virtio-net devices are made to interrupt, and what is made of it (4.1.5.1.2, 4.1.5.3, 4.1.4.5). */
#include "tests/unit/net_life.h"

enum { NO_VECTOR = VIRTIO_MSI_NO_VECTOR, CONFIG = VIRTIO_DEVICE_CONFIG };

static void offer_irq(uint16_t entries) {
    cfg.mode = CONFIG_MODE_IRQ;
    if (entries > 0) {
        virtio_device_add_msix(&dev, entries);
    }
}

static bool msix_is_on(const struct virtio_device *d) {
    return d->fn->msix != NULL && (d->fn->cfg[d->fn->msix->cap + 3] & 0x80);
}

static bool intx_is_on(const struct virtio_device *d) {
    return !(pci_bus_get16(d->fn, PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE);
}

/* Interrupts for an event; how many came. */
static uint64_t fire(struct virtio_device *d, unsigned event) {
    const uint64_t before = wait_interrupts();
    virtio_device_interrupt(d, event);
    return wait_interrupts() - before;
}

static void expect_entries(uint16_t rx, uint16_t tx, uint16_t config) {
    assert_int_equal(dev.queue[RX].vector, rx);
    assert_int_equal(dev.queue[TX].vector, tx);
    assert_int_equal(dev.queue[CTRL].vector, NO_VECTOR); /* always polled */
    assert_int_equal(dev.config_vector, config);
}

static void expect_intx(void) {
    assert_string_equal(net_irq_name(nd), "intx");
    assert_false(msix_is_on(&dev));
    assert_true(intx_is_on(&dev));
    expect_entries(NO_VECTOR, NO_VECTOR, NO_VECTOR);
    assert_int_equal(fire(&dev, RX), 1);
    (void)net_interrupts_take(false);
    assert_int_equal(nd->rx.stats.interrupts, 1);
}

/* --- set-up ----------------------------------------------------------------------------------- */

/* A device that is polled is never given a way to interrupt. */
static void test_poll_mode(void **state) {
    for (unsigned i = 0; i < 2; i++) {
        again(state);
        virtio_device_add_msix(&dev, 3);
        cfg.intx = i;
        tx_begin();
        assert_string_equal(net_irq_name(nd), "none");
        for (unsigned n = 0; n < 3; n++) {
            assert_false(msix_is_on(&dev) || intx_is_on(&dev));
            assert_int_equal(dev.msix.writes, 0);
            expect_entries(NO_VECTOR, NO_VECTOR, NO_VECTOR);
            assert_int_equal(fire(&dev, RX) + fire(&dev, TX) + fire(&dev, CONFIG), 0);
            assert_int_equal(net_interrupts_take(false), 0);
            expect_traffic();
            restart();
        }
        assert_int_equal(seam_irq.intx_enabled, 0);
        assert_int_equal(dev.isr_reads, 0);
        assert_int_equal(nd->rx.stats.interrupts + nd->tx.stats.interrupts, 0);
    }
}

/* Every table size works (4.1.5.1.2.2), and what is mapped stays mapped over a restart. */
static void test_table_sizes(void **state) {
    static const struct {
        uint16_t entries, used, tx, config;
    } cases[] = {{1, 1, 0, 0}, {2, 2, 0, 1}, {3, 3, 1, 2}, {4, 3, 1, 2}, {2048, 3, 1, 2}};
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        again(state);
        offer_irq(cases[i].entries);
        apic.id = 5;
        lapic_init();
        tx_begin();
        assert_string_equal(net_irq_name(nd), "msix");
        assert_int_equal(nd->irq.entries, cases[i].used);
        for (unsigned n = 0; n < 2; n++) {
            assert_true(msix_is_on(&dev));
            assert_false(intx_is_on(&dev));
            expect_entries(0, cases[i].tx, cases[i].config);
            expect_traffic();
            restart();
        }
        for (uint16_t k = 0; k < cases[i].used; k++) {
            uint64_t addr;
            uint32_t data;
            assert_true(pci_msix_fire(dev.fn, k, &addr, &data));
            assert_int_equal(addr, 0xfee00000 | 5 << 12);
            assert_int_equal(data, WAIT_VECTOR_DEVICE_FIRST + k);
        }
        assert_int_equal(seam_irq.intx_enabled, 0);
        assert_int_equal(dev.isr_reads, 0);
    }
}

static void test_intx(void **state) {
    for (unsigned i = 0; i < 2; i++) {
        again(state);
        offer_irq(i == 0 ? 0 : 3);
        cfg.intx = i;
        bring_up();
        expect_intx();
        if (i == 1) {
            assert_int_equal(dev.msix.writes, 0);
        }
        restart();
        assert_true(intx_is_on(&dev));
    }
}

/* No way at all is an error of the configuration, said in one line. */
static void test_no_way(void **state) {
    for (unsigned i = 0; i < 4; i++) {
        again(state);
        if (i == 3) { /* no ISR register, which the interrupt could be taken back with */
            machine_init();
            virtio_device_add(&dev, 2, BAR_ADDR);
            give_memory(&dev);
            for (uint8_t type = 1; type < 5; type++) {
                if (type != VIRTIO_PCI_CAP_ISR_CFG) {
                    virtio_device_add_cap(&dev, type);
                }
            }
        }
        offer_irq(i == 1 ? 3 : 0);
        cfg.mode = i == 2 ? CONFIG_MODE_ADAPTIVE : CONFIG_MODE_IRQ;
        cfg.intx = i == 1;
        seam_irq.has_intx = i == 3;
        assert_int_equal(probe(), ERR_CONFIG);
        expect_logged(i == 2 ? "mode=adaptive: " : "mode=irq: ");
        expect_logged(i == 1 ? "the device can interrupt neither by INTx"
                             : "the device can interrupt neither by MSI-X nor by INTx");
        assert_true(dev.status & VIRTIO_STATUS_FAILED);
        assert_int_equal(seam_irq.intx_enabled, 0);
    }
}

/* --- refusals --------------------------------------------------------------------------------- */

/* 4.1.5.1.2.2: a mapping that the device cannot do reads back as NO_VECTOR; then fewer entries, then INTx,
 * then a clear error. */
static void test_refused_entries(void **state) {
    static const struct {
        uint16_t entries;
        unsigned room;
        uint8_t refused;
        unsigned used; /* 0: INTx */
    } cases[] = {
        {3, 3, 0, 3},     {3, 2, 0, 1},          {3, 1, 0, 1},    {3, 0, 0, 0},
        {2, 2, 0, 2},     {2, 1, 0, 1},          {2, 0, 0, 0},    {1, 1, 0, 1},
        {1, 0, 0, 0},     {3, 3, 1 << CONFIG, 0}, {3, 3, 1 << RX, 0}, {3, 3, 1 << TX, 0},
        {2048, 1, 0, 1},
    };
    for (unsigned i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
        const unsigned k = i % ARRAY_SIZE(cases);
        const bool has_intx = i < ARRAY_SIZE(cases);
        again(state);
        offer_irq(cases[k].entries);
        dev.vector_room = cases[k].room;
        dev.vectors_refused = cases[k].refused;
        seam_irq.has_intx = has_intx;
        if (cases[k].used == 0 && !has_intx) {
            assert_int_equal(probe(), ERR_CONFIG);
            expect_logged("mode=irq: the device has no interrupt vectors");
            assert_true(dev.status & VIRTIO_STATUS_FAILED);
            continue;
        }
        tx_begin();
        if (cases[k].used == 0) {
            expect_intx();
        } else {
            assert_int_equal(nd->irq.entries, cases[k].used);
            assert_true(msix_is_on(&dev));
            assert_int_equal(fire(&dev, RX), 1);
            assert_int_equal(fire(&dev, TX), 1);
            assert_int_equal(fire(&dev, CONFIG), 1);
        }
        assert_int_equal(nd->restarts, 0);
        expect_traffic();
        restart();
        expect_traffic();
    }
}

/* The CPU's vectors run out: with fewer of them, or by INTx. */
static void test_few_vectors(void **state) {
    for (unsigned left = 0; left < 6; left++) {
        for (unsigned room = 0; room < 4; room++) {
            again(state);
            offer_irq(3);
            seam_irq.vectors_left = left;
            dev.vector_room = room;
            tx_begin();
            const bool by_message = left > 0 && room > 0;
            assert_string_equal(net_irq_name(nd), by_message ? "msix" : "intx");
            assert_int_equal(fire(&dev, RX), 1);
            (void)net_interrupts_take(false);
            assert_int_equal(nd->rx.stats.interrupts, 1);
            expect_traffic();
        }
    }
}

/* A device that has less room after a reset than before stays down, says why, and is tried again. */
static void test_refused_after_restart(void **state) {
    (void)state;
    offer_irq(3);
    tx_begin();
    virtio_device_need_reset(&dev);
    dev.vector_room = 1;
    for (unsigned i = 0; i < 3; i++) {
        capture_begin();
        assert_int_equal(next_service(), NET_CHANGED);
        assert_false(nd->running);
        expect_logged("MSI-X");
    }
    dev.vector_room = 3;
    next_service();
    expect_entries(0, 1, 2);
    expect_traffic();
}

/* --- counting --------------------------------------------------------------------------------- */

static void expect_counts(uint64_t rx, uint64_t tx, uint64_t rx_wakeups, uint64_t tx_wakeups) {
    assert_int_equal(nd->rx.stats.interrupts, rx);
    assert_int_equal(nd->tx.stats.interrupts, tx);
    assert_int_equal(nd->rx.stats.wakeups, rx_wakeups);
    assert_int_equal(nd->tx.stats.wakeups, tx_wakeups);
}

static void test_counts_of_three_entries(void **state) {
    (void)state;
    offer_irq(3);
    bring_up();
    assert_int_equal(net_interrupts_take(true), 0);
    expect_counts(0, 0, 0, 0);
    fire(&dev, RX);
    assert_int_equal(net_interrupts_take(true), 0);
    expect_counts(1, 0, 1, 0);
    fire(&dev, TX);
    fire(&dev, TX);
    assert_int_equal(net_interrupts_take(true), 0);
    expect_counts(1, 2, 1, 1); /* two interrupts, one sleep */
    fire(&dev, CONFIG);
    fire(&dev, RX);
    assert_int_equal(net_interrupts_take(false), 1);
    expect_counts(2, 2, 1, 1);
    assert_int_equal(net_interrupts_take(true), 0);
    seam_irq_deliver(WAIT_VECTOR_TIMER); /* that of somebody else */
    assert_int_equal(net_interrupts_take(true), 0);
    expect_counts(2, 2, 1, 1);
    wait_state.count[nd->rx.vector - WAIT_VECTOR_FIRST] = UINT32_MAX - 1;
    seam_irq_deliver(nd->rx.vector);
    (void)net_interrupts_take(false);
    const uint64_t before = nd->rx.stats.interrupts;
    seam_irq_deliver(nd->rx.vector); /* the count wraps */
    seam_irq_deliver(nd->rx.vector);
    (void)net_interrupts_take(false);
    assert_int_equal(nd->rx.stats.interrupts, before + 2);
}

/* What an entry serves together is counted for the receive queue; with one entry for all, each may be a
 * change of the configuration (4.1.5.4.2). */
static void test_counts_of_shared_entries(void **state) {
    for (uint16_t entries = 1; entries <= 2; entries++) {
        again(state);
        offer_irq(entries);
        bring_up();
        fire(&dev, RX);
        assert_int_equal(net_interrupts_take(true), entries == 1);
        fire(&dev, TX);
        assert_int_equal(net_interrupts_take(false), entries == 1);
        expect_counts(2, 0, 1, 0);
        fire(&dev, CONFIG);
        assert_int_equal(net_interrupts_take(false), 1);
        expect_counts(entries == 1 ? 3 : 2, 0, 1, 0);
    }
}

/* 4.1.4.5: reading the register takes the line back, once for each interrupt; both bits count. */
static void test_counts_of_intx(void **state) {
    (void)state;
    offer_irq(0);
    bring_up();
    assert_int_equal(dev.isr_reads, 0);
    fire(&dev, TX);
    assert_int_equal(net_interrupts_take(true), 0);
    assert_int_equal(dev.isr_reads, 1);
    assert_int_equal(dev.isr, 0);
    assert_int_equal(seam_irq.acks, 1);
    expect_counts(1, 0, 1, 0);
    fire(&dev, CONFIG);
    fire(&dev, RX);
    assert_int_equal(dev.isr, 3);
    assert_int_equal(net_interrupts_take(false), 1);
    expect_counts(2, 0, 1, 0);
    assert_int_equal(net_interrupts_take(false), 0);
    assert_int_equal(dev.isr_reads, 2);
    seam_irq_deliver(WAIT_VECTOR_TIMER);
    assert_int_equal(net_interrupts_take(true), 0); /* not of the line: the register is left alone */
    assert_int_equal(dev.isr_reads, 2);
    seam_irq_deliver(WAIT_VECTOR_INTX); /* and one that nobody was */
    assert_int_equal(net_interrupts_take(true), 0);
    assert_int_equal(seam_irq.acks, 3);
    expect_counts(2, 0, 1, 0);
    fire(&dev, RX);
    (void)net_interrupts_take(false);
    expect_counts(3, 0, 1, 0);
}

/* Two functions on one line (pci-shared-irq): each is asked; the line is acknowledged after both. */
static void test_shared_line(void **state) {
    (void)state;
    virtio_device_add(&dev2, 3, 0);
    virtio_device_add_caps(&dev2);
    give_memory(&dev2);
    offer_irq(0);
    assert_int_equal(probe(), ERR_OK);
    assert_int_equal(net_dev_count, 2);
    fire(&dev2, CONFIG);
    assert_int_equal(net_interrupts_take(false), 2);
    fire(&dev, CONFIG);
    assert_int_equal(fire(&dev2, RX), 0); /* the line is up already */
    assert_int_equal(net_interrupts_take(true), 1);
    assert_int_equal(net_devs[1].rx.stats.interrupts, 1);
    assert_int_equal(nd->rx.stats.interrupts, 0);
    assert_int_equal(dev.isr_reads, 2);
    assert_int_equal(dev2.isr_reads, 2);
    assert_false(irq_intx_pending());
}

/* A changed configuration is looked at when the interrupt says so: link, speed (5.1.4.2). */
static void test_config_change(void **state) {
    for (unsigned entries = 0; entries <= 3; entries++) {
        again(state);
        offer_irq((uint16_t)entries);
        offer(VIRTIO_NET_F_SPEED_DUPLEX);
        memcpy(dev.config + 12, &(uint32_t){1000}, 4);
        dev.config[16] = VIRTIO_NET_DUPLEX_HALF;
        tx_begin();
        assert_int_equal(nd->speed, 1000);
        assert_int_equal(nd->duplex, VIRTIO_NET_DUPLEX_HALF);
        memcpy(dev.config + 12, &(uint32_t){25000}, 4);
        dev.config[16] = VIRTIO_NET_DUPLEX_FULL;
        virtio_device_configure(&dev, STATUS_OFF, 0);
        assert_int_equal(net_interrupts_take(true), 1);
        assert_int_equal(service(), NET_CHANGED);
        assert_false(nd->link_up);
        assert_int_equal(nd->speed, 25000);
        assert_int_equal(nd->duplex, VIRTIO_NET_DUPLEX_FULL);
        virtio_device_configure(&dev, STATUS_OFF, LINK_UP);
        assert_int_equal(net_interrupts_take(true), 1);
        assert_int_equal(service(), NET_CHANGED);
        virtio_device_need_reset(&dev);
        assert_int_equal(net_interrupts_take(true), 1);
        assert_int_equal(service(), NET_CHANGED);
        assert_int_equal(nd->restarts, 1);
        expect_traffic();
    }
}

int main(void) {
#define NET_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        NET_CASE(test_poll_mode),
        NET_CASE(test_table_sizes),
        NET_CASE(test_intx),
        NET_CASE(test_no_way),
        NET_CASE(test_refused_entries),
        NET_CASE(test_few_vectors),
        NET_CASE(test_refused_after_restart),
        NET_CASE(test_counts_of_three_entries),
        NET_CASE(test_counts_of_shared_entries),
        NET_CASE(test_counts_of_intx),
        NET_CASE(test_shared_line),
        NET_CASE(test_config_change),
    };
    return cmocka_run_group_tests_name("net interrupts", tests, NULL, NULL);
}
