/* The model of the virtio-net device itself: does it see what a bad driver does? Each case here breaks one
 * rule, by register accesses of its own, and must be caught with that rule. */
#include "tests/unit/virtio_rig.h"

#include <stdlib.h>

enum {
    COMMON = BAR_ADDR,
    STATUS = COMMON + 20,
    CONFIG_VECTOR = COMMON + 16,
    SELECT = COMMON + 22,
    SIZE = COMMON + 24,
    VECTOR = COMMON + 26,
    ENABLE = COMMON + 28,
    DESC = COMMON + 32,
    NOTIF_DATA = COMMON + 56,
    QUEUE_RESET = COMMON + 58,
    NOTIFY = BAR_ADDR + 0x3000,
    ISR = BAR_ADDR + 0x1000,
    CONFIG = BAR_ADDR + 0x2000,
    NUM = 4,
    RING = 1024,
    CTRL = 2,
    F_MAC = VIRTIO_NET_F_MAC,
    F_PACKED = VIRTIO_F_RING_PACKED,
    F_DATA = VIRTIO_F_NOTIFICATION_DATA,
    F_TOKEN = VIRTIO_F_NOTIF_CONFIG_DATA,
    F_RESET = VIRTIO_F_RING_RESET,
};

static uint8_t *memory; /* rings, and behind them commands */
static struct vq rings[VIRTIO_DEVICE_QUEUES];
static struct vq_slot slots[VIRTIO_DEVICE_QUEUES][NUM];

/* --- a driver that keeps the rules, step by step ---------------------------------------------- */

static void accept_word(uint32_t word, uint32_t value) {
    mmio_write32(COMMON + 8, word);
    mmio_write32(COMMON + 12, value);
}

static void to_driver(void) {
    mmio_write8(STATUS, 0);
    (void)mmio_read8(STATUS);
    mmio_write8(STATUS, 1);
    mmio_write8(STATUS, 3);
}

/* A list of bits beside VERSION_1, that ends with 0. */
static void to_features(const uint8_t *bits) {
    struct virtio_features f = {.word = {[1] = 1}};
    to_driver();
    for (; *bits != 0; bits++) {
        virtio_device_offer(&dev, *bits, true);
        virtio_feature_set(&f, *bits);
    }
    for (uint32_t i = 0; i < 3; i++) {
        accept_word(i, f.word[i]);
    }
    mmio_write8(STATUS, 11);
}
#define FEATURES(...) to_features((const uint8_t[]){__VA_ARGS__, 0})

static void describe(uint16_t queue) {
    const bool packed = virtio_device_accepted(&dev, F_PACKED);
    const enum vq_layout layout = packed ? VQ_PACKED : VQ_SPLIT;
    const struct vq_areas areas = vq_areas(layout, NUM);
    const uintptr_t base = (uintptr_t)memory + RING * queue;
    const uint64_t addr[] = {base + areas.desc_off, base + areas.driver_off,
                             base + areas.device_off};
    rings[queue] = (struct vq){0};
    vq_init(&rings[queue], &(struct vq_setup){.layout = layout,
                                              .num = NUM,
                                              .memory = (void *)base,
                                              .slots = slots[queue]});
    mmio_write16(SELECT, queue);
    mmio_write16(SIZE, NUM);
    for (unsigned i = 0; i < 3; i++) {
        mmio_write32(DESC + 8 * i, (uint32_t)addr[i]);
        mmio_write32(DESC + 8 * i + 4, (uint32_t)(addr[i] >> 32));
    }
}

static void to_live(void) {
    for (uint16_t i = 0; i < VIRTIO_DEVICE_QUEUES; i++) {
        describe(i);
        mmio_write16(ENABLE, 1);
    }
    mmio_write8(STATUS, 15);
}

static void add(uint16_t queue, const void *out, uint32_t out_len, bool in) {
    uint8_t *bytes = memory + VIRTIO_DEVICE_QUEUES * RING;
    memcpy(bytes, out, out_len);
    const struct vq_seg segs[] = {{.addr = {(uintptr_t)bytes}, .len = out_len},
                                  {.addr = {(uintptr_t)bytes + 128}, .len = 1}};
    vq_add(&rings[queue], rings[queue].layout, segs, 1, in, bytes);
    vq_publish(&rings[queue], rings[queue].layout);
}

static void command(const char *bytes, uint32_t len) {
    add(CTRL, bytes, len, true);
    mmio_write16(NOTIFY + 4 * CTRL, CTRL);
}
#define COMMAND(bytes) command(bytes, sizeof(bytes) - 1)

static void switch_msix_on(void) {
    pci_bus_set16(dev.fn, dev.msix.cap + 2u, 0x8000);
}

/* --- and one that does not -------------------------------------------------------------------- */


#define BAD(name, statements)                                                                      \
    static void name(void) {                                                                       \
        statements;                                                                                \
    }

BAD(status_shrinks, mmio_write8(STATUS, 3))
BAD(after_failed, (mmio_write8(STATUS, 0x8b), mmio_write8(STATUS, 0x8f)))
BAD(no_wait_for_reset, (dev.reset_reads = 2, mmio_write8(STATUS, 0), mmio_write8(STATUS, 1)))
BAD(early_driver_ok, (to_driver(), mmio_write8(STATUS, 7)))
BAD(late_features, accept_word(0, 1 << F_MAC))
BAD(not_offered, (to_driver(), accept_word(0, 1), accept_word(1, 1), mmio_write8(STATUS, 11)))
BAD(no_version_1, (to_driver(), accept_word(1, 0), mmio_write8(STATUS, 11)))
BAD(undefined_bit, (to_driver(), dev.offered[1] = ~0u, accept_word(1, 1 | 1 << 10), mmio_write8(STATUS, 11)))
BAD(high_bits, (to_driver(), accept_word(3, 1)))
BAD(early_queue, (to_driver(), describe(0)))
BAD(enabled_twice, describe(0))
BAD(disables, (mmio_write16(SELECT, 0), mmio_write16(ENABLE, 0)))
BAD(no_addresses, (mmio_write16(SELECT, 0), mmio_write16(SIZE, NUM), mmio_write16(ENABLE, 1)))
BAD(no_size, (describe(0), dev.queue[0].size_written = false, mmio_write16(ENABLE, 1)))
BAD(size_0, (mmio_write16(SELECT, 0), mmio_write16(SIZE, 0)))
BAD(size_3, (mmio_write16(SELECT, 0), mmio_write16(SIZE, 3)))
BAD(size_512, (mmio_write16(SELECT, 0), mmio_write16(SIZE, 512)))
BAD(absent_queue, (mmio_write16(SELECT, 7), mmio_write16(SIZE, 4)))
BAD(read_only, mmio_write16(COMMON + 30, 0))
BAD(width_8, mmio_write8(SELECT, 0))
BAD(width_32, mmio_read32(SELECT))
BAD(outside, mmio_read32(BAR_ADDR + 0x100))
BAD(config_write, mmio_write8(CONFIG, 2))
BAD(config_not_offered, mmio_read16(CONFIG + 10))
BAD(config_width, mmio_read16(CONFIG))
BAD(no_token_field, mmio_read16(NOTIF_DATA))
BAD(no_reset_field, mmio_read16(QUEUE_RESET))
BAD(doorbell_early, (describe(0), mmio_write16(ENABLE, 1), mmio_write16(NOTIFY, 0)))
BAD(doorbell_32, mmio_write32(NOTIFY, 0))
BAD(doorbell_16, mmio_write16(NOTIFY, 0))
BAD(doorbell_address, mmio_write16(NOTIFY + 4, 0))
BAD(doorbell_value, mmio_write16(NOTIFY, 9))
BAD(doorbell_index, (dev.queue[1].notify_data = 77, mmio_write16(NOTIFY + 4, 1)))
BAD(doorbell_position, (add(1, "frame", 5, false), mmio_write32(NOTIFY + 4, 2u << 16 | 1)))
BAD(doorbell_wrap, (add(1, "frame", 5, false), mmio_write32(NOTIFY + 4, 1u << 16 | 1)))
BAD(vector_off, (mmio_write16(SELECT, 0), mmio_write16(VECTOR, 0)))
BAD(vector_3, (switch_msix_on(), mmio_write16(CONFIG_VECTOR, 3)))
BAD(vector_unread, (switch_msix_on(), describe(0), mmio_write16(VECTOR, 0), mmio_write16(ENABLE, 1)))
BAD(config_unread, (switch_msix_on(), mmio_write16(CONFIG_VECTOR, 0), mmio_write8(STATUS, 15)))
BAD(isr_with_msix, (switch_msix_on(), mmio_read8(ISR)))
BAD(reset_0, (mmio_write16(SELECT, 0), mmio_write16(QUEUE_RESET, 0)))
BAD(reset_early, (mmio_write16(SELECT, 0), mmio_write16(QUEUE_RESET, 1)))

static void begin_queue_reset(void) {
    dev.queue_reset_reads = 2;
    mmio_write16(SELECT, 1);
    mmio_write16(QUEUE_RESET, 1);
}

static void end_queue_reset(void) {
    while (mmio_read16(QUEUE_RESET) != 0) {
    }
}

BAD(reset_twice, (begin_queue_reset(), mmio_write16(QUEUE_RESET, 1)))
BAD(reset_doorbell, (begin_queue_reset(), mmio_write16(NOTIFY + 4, 1)))
BAD(reset_touched, (begin_queue_reset(), add(1, "frame", 5, false), end_queue_reset()))
BAD(reset_stale, (begin_queue_reset(), end_queue_reset(), mmio_write16(ENABLE, 1)))
BAD(reset_others, (begin_queue_reset(), end_queue_reset(), mmio_write16(SELECT, 0), mmio_write16(SIZE, 2)))
BAD(device_reset_touched, (dev.reset_reads = 1, mmio_write8(STATUS, 0), mmio_read8(STATUS),
                           add(1, "frame", 5, false), mmio_read8(STATUS)))

BAD(no_rx, COMMAND("\0\0\1"))
BAD(rx_len, COMMAND("\0\0\1\0"))
BAD(rx_value, COMMAND("\0\0\2"))
BAD(rx_extra, COMMAND("\0\2\1"))
BAD(no_mac, COMMAND("\1\1\2\0\0\0\0\1"))
BAD(mac_len, COMMAND("\1\1\2\0\0\0\0"))
BAD(mac_group, COMMAND("\1\1\3\0\0\0\0\1"))
BAD(mac_table, COMMAND("\1\0\0\0\0\0\0\0\0\0"))
BAD(vlan_len, COMMAND("\2\0\5"))
BAD(vlan_id, COMMAND("\2\0\0\x10"))
BAD(announce, COMMAND("\3\0"))
BAD(announce_data, (dev.config[6] = 3, COMMAND("\3\0\0")))
BAD(offloads_len, COMMAND("\5\0\2\0\0\0"))
BAD(offloads_csum, COMMAND("\5\0\2\0\0\0\0\0\0\0"))
BAD(offloads_command, COMMAND("\5\1\2\0\0\0\0\0\0\0"))
BAD(offloads_tso4, COMMAND("\5\0\x80\0\0\0\0\0\0\0"))
BAD(offloads_uso4, COMMAND("\5\0\2\0\0\0\0\0\x40\0"))
BAD(coal_all, COMMAND("\6\0\0\0\0\0\0\0\0\0"))
BAD(coal_len, COMMAND("\6\0\0\0\0\0\0\0\0"))
BAD(coal_ctrl, COMMAND("\6\2\2\0\0\0\0\0\0\0\0\0\0\0"))
BAD(class_9, COMMAND("\x9\0"))
BAD(no_answer, (add(CTRL, "\0\0\1", 3, false), mmio_write16(NOTIFY + 4 * CTRL, CTRL)))
BAD(one_byte, COMMAND("\0"))

enum {
    F_VQ = VIRTIO_NET_F_CTRL_VQ,
    F_RX = VIRTIO_NET_F_CTRL_RX,
    F_ADDR = VIRTIO_NET_F_CTRL_MAC_ADDR,
    F_VLAN = VIRTIO_NET_F_CTRL_VLAN,
    F_ANNOUNCE = VIRTIO_NET_F_GUEST_ANNOUNCE,
    F_OFF = VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
    F_SUM = VIRTIO_NET_F_GUEST_CSUM,
    F_TSO4 = VIRTIO_NET_F_GUEST_TSO4,
    F_COAL = VIRTIO_NET_F_NOTF_COAL,
    F_COAL_VQ = VIRTIO_NET_F_VQ_NOTF_COAL,
    F_ST = VIRTIO_NET_F_STATUS,
};

static const struct {
    const char *rule; /* a part of its text */
    uint8_t bits[6];  /* negotiated before */
    bool live;        /* ... and brought up */
    void (*does)(void); /* NULL: that was it */
} bad[] = {
    {"a status bit was cleared", {0}, false, status_shrinks},
    {"after FAILED", {0}, false, after_failed},
    {"before the reset was over", {0}, false, no_wait_for_reset},
    {"DRIVER_OK too early", {0}, false, early_driver_ok},
    {"between DRIVER and FEATURES_OK", {0}, false, late_features},
    {"not offered", {0}, false, not_offered},
    {"VERSION_1", {0}, false, no_version_1},
    {"means nothing here", {0}, false, undefined_bit},
    {"bits above 95", {0}, false, high_bits},
    {"between FEATURES_OK and DRIVER_OK", {0}, false, early_queue},
    {"between FEATURES_OK and DRIVER_OK", {0}, true, enabled_twice},
    {"between FEATURES_OK and DRIVER_OK", {F_RESET}, true, reset_others},
    {"between FEATURES_OK and DRIVER_OK", {0}, true, disables},
    {"before size and all addresses", {0}, false, no_addresses},
    {"before size and all addresses", {0}, false, no_size},
    {"before size and all addresses", {F_RESET}, true, reset_stale},
    {"a size of 0", {F_PACKED}, false, size_0},
    {"no power of two", {0}, false, size_3},
    {"above the device's maximum", {0}, false, size_512},
    {"does not exist", {0}, false, absent_queue},
    {"a read-only field", {0}, false, read_only},
    {"width of an access", {0}, false, width_8},
    {"width of an access", {0}, false, width_32},
    {"outside of the areas", {0}, false, outside},
    {"read-only", {0}, false, config_write},
    {"feature was not offered", {0}, false, config_not_offered},
    {"width of an access", {0}, false, config_width},
    {"not negotiated", {F_RESET}, false, no_token_field},
    {"not negotiated", {F_TOKEN}, false, no_reset_field},
    {"not live", {0}, false, doorbell_early},
    {"width of a doorbell", {0}, true, doorbell_32},
    {"width of a doorbell", {F_DATA}, true, doorbell_16},
    {"doorbell's address", {0}, true, doorbell_address},
    {"doorbell's value", {0}, true, doorbell_value},
    {"doorbell's value", {F_TOKEN}, true, doorbell_index},
    {"before MSI-X was switched on", {0}, false, vector_off},
    {"outside of the table", {0}, false, vector_3},
    {"not read back", {0}, false, vector_unread},
    {"not read back", {0}, false, config_unread},
    {"with MSI-X on", {0}, false, isr_with_msix},
    {"only 1 is written to queue_reset", {F_RESET}, true, reset_0},
    {"that is not in use", {F_RESET}, false, reset_early},
    {"that is being reset", {F_RESET}, true, reset_twice},
    {"not live", {F_RESET}, true, reset_doorbell},
    {"memory of a ring", {F_RESET}, true, reset_touched},
    {"memory of a ring", {F_RESET, F_PACKED}, true, reset_touched},
    {"memory of a ring", {0}, true, device_reset_touched},
    {"without a feature that it needs", {F_RX}, false, NULL},
    {"without a feature that it needs", {F_VQ, F_ADDR}, false, NULL},
    {"without a feature that it needs", {F_VQ, F_ANNOUNCE}, false, NULL},
    {"without a feature that it needs", {VIRTIO_NET_F_GUEST_ECN}, false, NULL},
    {"without a feature that it needs", {66}, false, NULL},
    {"feature was not negotiated", {F_VQ}, true, no_rx},
    {"length of a command", {F_VQ, F_RX}, true, rx_len},
    {"a mode is 0 or 1", {F_VQ, F_RX}, true, rx_value},
    {"CTRL_RX_EXTRA", {F_VQ, F_RX}, true, rx_extra},
    {"feature was not negotiated", {F_VQ, F_RX}, true, no_mac},
    {"length of a command", {F_VQ, F_RX, F_ADDR}, true, mac_len},
    {"multicast address", {F_VQ, F_RX, F_ADDR}, true, mac_group},
    {"a MAC table", {F_VQ, F_RX, F_ADDR}, true, mac_table},
    {"feature was not negotiated", {F_VQ}, true, vlan_len},
    {"length of a command", {F_VQ, F_VLAN}, true, vlan_len},
    {"12 bits", {F_VQ, F_VLAN}, true, vlan_id},
    {"nothing is to be announced", {F_VQ, F_ST, F_ANNOUNCE}, true, announce},
    {"length of a command", {F_VQ, F_ST, F_ANNOUNCE}, true, announce_data},
    {"feature was not negotiated", {F_VQ, F_SUM}, true, offloads_csum},
    {"length of a command", {F_VQ, F_OFF, F_SUM}, true, offloads_len},
    {"a command of class GUEST_OFFLOADS", {F_VQ, F_OFF, F_SUM}, true, offloads_command},
    {"an offload without GUEST_CSUM", {F_VQ, F_OFF, F_SUM, F_TSO4}, true, offloads_tso4},
    {"an offload that was not negotiated", {F_VQ, F_OFF, F_SUM, F_TSO4}, true, offloads_uso4},
    {"an offload that was not negotiated", {F_VQ, F_OFF}, true, offloads_csum},
    {"feature was not negotiated", {F_VQ, F_COAL_VQ}, true, coal_all},
    {"length of a command", {F_VQ, F_COAL}, true, coal_len},
    {"no enabled receive or transmit queue", {F_VQ, F_COAL_VQ}, true, coal_ctrl},
    {"a class that is not used", {F_VQ}, true, class_9},
    {"one byte for the answer", {F_VQ, F_RX}, true, no_answer},
    {"class, command, data", {F_VQ}, true, one_byte},
};

static void begin(void **state) {
    tear_down(state);
    set_up(state);
    memset(memory, 0, VIRTIO_DEVICE_QUEUES * RING + 256);
    dev.arena = memory;
    dev.arena_size = VIRTIO_DEVICE_QUEUES * RING + 256;
    virtio_device_add_caps(&dev);
    virtio_device_add_msix(&dev, 3);
    assert_int_equal(find_areas(), ERR_OK);
    expect_no_violation();
}

static void test_bad_drivers(void **state) {
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        begin(state);
        to_features(bad[i].bits);
        if (bad[i].live) {
            to_live();
        }
        if (bad[i].does != NULL) {
            expect_no_violation();
            bad[i].does();
        }
        if (dev.violation == NULL || strstr(dev.violation, bad[i].rule) == NULL) {
            fail_msg("case %zu: not '%s' but '%s'", i, bad[i].rule,
                     dev.violation != NULL ? dev.violation : "nothing");
        }
    }
}

/* Positions are checked by the ring's own model. */
static void test_bad_positions(void **state) {
    for (unsigned i = 0; i < 2; i++) {
        begin(state);
        FEATURES(F_DATA, i == 0 ? F_DATA : F_PACKED);
        to_live();
        expect_no_violation();
        i == 0 ? doorbell_position() : doorbell_wrap();
        assert_non_null(strstr(dev.queue[1].ring.violation, "next_off or next_wrap"));
    }
}

/* A good driver is left in peace: everything that the cases above are made of, in the right order. */
static void test_good_driver(void **state) {
    for (unsigned packed = 0; packed < 2; packed++) {
        begin(state);
        FEATURES(F_VQ, F_RX, F_VLAN, F_COAL_VQ, F_RESET, packed ? F_PACKED : F_RESET);
        to_live();
        COMMAND("\0\0\1");
        assert_true(dev.ctrl.promisc);
        COMMAND("\2\0\5\1");
        assert_int_equal(dev.ctrl.vlan[0], 0x105);
        begin_queue_reset();
        end_queue_reset();
        describe(1);
        mmio_write16(ENABLE, 1);
        mmio_write16(NOTIFY + 4, 1);
        assert_int_equal(dev.queue[1].resets, 1);
        assert_int_equal(dev.ctrl.count, 2);
        mmio_write8(STATUS, 0);
        assert_int_equal(mmio_read8(STATUS), 0);
        assert_false(dev.ctrl.promisc); /* forgotten */
        expect_no_violation();
    }
}

static int set_up_memory(void **state) {
    (void)state;
    memory = aligned_alloc(VQ_AREA_ALIGN, VIRTIO_DEVICE_QUEUES * RING + 256);
    return memory == NULL;
}

static int free_memory(void **state) {
    (void)state;
    free(memory);
    return 0;
}

int main(void) {
#define DEVICE_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        DEVICE_CASE(test_bad_drivers),
        DEVICE_CASE(test_bad_positions),
        DEVICE_CASE(test_good_driver),
    };
    return cmocka_run_group_tests_name("virtio device model", tests, set_up_memory, free_memory);
}
