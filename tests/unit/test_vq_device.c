/* The checker is checked: each rule that the device model watches, broken by hand. */
#include "tests/unit/unit.h"

#include "tests/model/vq_device.h"

#include <string.h>

enum { NUM = 4, ARENA_SIZE = 256 };

/* A ring laid out by hand, as a driver would keep it. */
static struct {
    struct virtq_desc desc[NUM];
    struct {
        uint16_t flags, idx, ring[NUM], used_event;
    } avail;
    struct {
        uint16_t flags, idx;
        struct virtq_used_elem ring[NUM];
        uint16_t avail_event;
    } used;
    _Alignas(16) uint8_t arena[ARENA_SIZE];
} m;

static struct vq_device dev;

static struct vq_device_setup setup(bool event_idx) {
    return (struct vq_device_setup){
        .num = NUM,
        .event_idx = event_idx,
        .desc = m.desc,
        .driver = &m.avail,
        .device = &m.used,
        .arena = m.arena,
        .arena_size = sizeof(m.arena),
    };
}

/* Two chains, 0-1 and 2-3, each of eight bytes out and eight bytes in. */
static void fill(void) {
    memset(&m, 0, sizeof(m));
    for (uint16_t i = 0; i < NUM; i++) {
        const bool in = i % 2;
        m.desc[i] = (struct virtq_desc){
            .addr = (uintptr_t)&m.arena[16 * i],
            .len = 8,
            .flags = in ? VIRTQ_DESC_F_WRITE : VIRTQ_DESC_F_NEXT,
            .next = in ? 0 : (uint16_t)(i + 1),
        };
    }
    m.avail.ring[1] = 2;
    for (unsigned i = 0; i < ARENA_SIZE; i++) {
        m.arena[i] = (uint8_t)i;
    }
}

static int open_ring(void **state) {
    (void)state;
    fill();
    const struct vq_device_setup s = setup(false);
    vq_device_init(&dev, &s);
    return 0;
}

static int close_ring(void **state) {
    (void)state;
    vq_device_fini(&dev);
    return 0;
}

static void test_good_driver(void **state) {
    struct vq_device_buffer b;
    uint8_t bytes[16];
    (void)state;
    assert_false(vq_device_fetch(&dev, &b));
    m.avail.idx = 2;
    assert_true(vq_device_fetch(&dev, &b));
    assert_int_equal(b.id, 0);
    assert_true(vq_device_fetch(&dev, &b));
    assert_int_equal(b.id, 2);
    assert_int_equal(b.n_out, 1);
    assert_int_equal(b.n_in, 1);
    assert_int_equal(b.out_len, 8);
    assert_int_equal(b.in_len, 8);
    assert_false(vq_device_fetch(&dev, &b));

    assert_int_equal(vq_device_read(&dev, 2, bytes, sizeof(bytes)), 8);
    assert_memory_equal(bytes, &m.arena[32], 8);
    assert_int_equal(vq_device_write(&dev, 2, "0123456789", 10), 8);
    assert_memory_equal(&m.arena[48], "01234567", 8);
    assert_int_equal(m.arena[56], 56);

    vq_device_use(&dev, 2, 8);
    assert_int_equal(m.used.idx, 0);
    assert_true(vq_device_show(&dev));
    assert_int_equal(m.used.idx, 1);
    assert_int_equal(m.used.ring[0].id, 2);
    assert_int_equal(m.used.ring[0].len, 8);
    m.avail.flags = VIRTQ_AVAIL_F_NO_INTERRUPT;
    vq_device_use(&dev, 0, 0);
    assert_false(vq_device_show(&dev));
    vq_device_check(&dev);
    assert_null(dev.violation);
}

/* Each breaks what fill() made right, and makes the ring available. */
static void head_beyond(void) {
    m.avail.ring[0] = NUM;
}
static void next_beyond(void) {
    m.desc[0].next = NUM;
}
static void loop(void) {
    m.desc[0].next = 0;
}
static void shared(void) {
    m.desc[2].next = 1;
}
static void head_twice(void) {
    m.avail.ring[1] = 0;
}
static void indirect(void) {
    m.desc[1].flags |= VIRTQ_DESC_F_INDIRECT;
}
static void unknown_flag(void) {
    m.desc[0].flags |= 0x8000;
}
static void empty(void) {
    m.desc[1].len = 0;
}
static void below(void) {
    m.desc[0].addr = (uintptr_t)m.arena - 1;
}
static void above(void) {
    m.desc[0].addr = (uintptr_t)m.arena + ARENA_SIZE;
}
static void across(void) {
    m.desc[1].addr = (uintptr_t)m.arena + ARENA_SIZE - 7;
}
static void around(void) {
    m.desc[1].len = UINT32_MAX;
}
static void in_before_out(void) {
    m.desc[0].flags |= VIRTQ_DESC_F_WRITE;
    m.desc[1].flags = 0;
}
static void too_many(void) {
    m.avail.idx = NUM + 1;
}
static void backwards(void) {
    m.avail.idx = UINT16_MAX;
}
static void avail_flags(void) {
    m.avail.flags = 2;
}

static void test_broken_rules(void **state) {
    static const struct {
        void (*break_it)(void);
        const char *section;
    } rules[] = {
        {head_beyond, "2.7.5: a descriptor number"},
        {next_beyond, "2.7.5: a descriptor number"},
        {loop, "2.7.5.2: a chain"},
        {shared, "2.7.13.1: a descriptor in two"},
        {head_twice, "2.7.5.2"},
        {indirect, "2.7.5.3.1, 2.8.19: INDIRECT without"},
        {unknown_flag, "2.7.5: an unknown"},
        {empty, "2.7.13.1, 2.8.21.1: a descriptor of"},
        {below, "2.7.5, 2.8.4: a descriptor points"},
        {above, "2.7.5, 2.8.4: a descriptor points"},
        {across, "2.7.5, 2.8.4: a descriptor points"},
        {around, "2.7.5, 2.8.4: a descriptor points"},
        {in_before_out, "2.7.4.2"},
        {too_many, "2.7.6.1"},
        {backwards, "2.7.6.1"},
        {avail_flags, "2.7.7.1"},
    };
    for (unsigned i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        struct vq_device_buffer b;
        open_ring(state);
        m.avail.idx = 2;
        rules[i].break_it();
        while (vq_device_fetch(&dev, &b)) {
        }
        assert_non_null(dev.violation);
        if (strncmp(dev.violation, rules[i].section, strlen(rules[i].section)) != 0) {
            fail_msg("rule %u (%s) was taken for %s", i, rules[i].section, dev.violation);
        }
        assert_false(vq_device_fetch(&dev, &b));
        close_ring(state);
    }
    open_ring(state);
}

/* Rules that hold over time. */
static void test_index_steps_back(void **state) {
    struct vq_device_buffer b;
    (void)state;
    m.avail.idx = 2;
    assert_true(vq_device_fetch(&dev, &b));
    m.avail.idx = 1;
    assert_false(vq_device_fetch(&dev, &b));
    assert_non_null(dev.violation);
}

static void test_owned_descriptor_changes(void **state) {
    struct vq_device_buffer b;
    (void)state;
    m.avail.idx = 1;
    assert_true(vq_device_fetch(&dev, &b));
    m.desc[2].len = 99; /* not the device's */
    vq_device_check(&dev);
    assert_null(dev.violation);
    m.desc[1].len = 7;
    vq_device_use(&dev, 0, 0);
    assert_non_null(dev.violation);
    dev.violation = NULL;
    vq_device_check(&dev); /* it was given back */
    assert_null(dev.violation);
}

static void test_published_entry_changes(void **state) {
    struct vq_device_buffer b;
    (void)state;
    m.avail.idx = 2;
    assert_true(vq_device_fetch(&dev, &b));
    m.avail.ring[1] = 0;
    assert_false(vq_device_fetch(&dev, &b));
    assert_non_null(dev.violation);
}

static void test_set_up(void **state) {
    struct vq_device d;
    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        struct vq_device_setup s = setup(i == 5);
        fill();
        s.num = i == 0 ? 3 : NUM;
        s.desc = (uint8_t *)s.desc + (i == 1 ? 8 : 0);
        s.driver = (uint8_t *)s.driver + (i == 2 ? 1 : 0);
        s.device = (uint8_t *)s.device + (i == 3 ? 2 : 0);
        m.avail.idx = i == 4;
        m.avail.flags = i == 5; /* with EVENT_IDX not even bit 0 */
        vq_device_init(&d, &s);
        assert_non_null(d.violation);
        vq_device_fini(&d);
    }
}

/* 2^32 bytes in one buffer, or one more: the sum counts, not the single lengths. */
static void test_total_length(void **state) {
    struct vq_device d;
    struct vq_device_buffer b;
    struct vq_device_setup s = setup(false);
    (void)state;
    s.arena = (void *)0x1000;
    s.arena_size = (size_t)1 << 40;
    for (unsigned extra = 0; extra < 2; extra++) {
        fill();
        m.desc[0] = (struct virtq_desc){0x1000, UINT32_MAX, VIRTQ_DESC_F_NEXT, 1};
        m.desc[1] = (struct virtq_desc){0x1000, 1 + extra, 0, 0};
        vq_device_init(&d, &s);
        m.avail.idx = 1;
        assert_int_equal(vq_device_fetch(&d, &b), extra == 0);
        assert_int_equal(d.violation != NULL, extra);
        vq_device_fini(&d);
    }
}

/* With EVENT_IDX: an interrupt exactly when the entry at used_event was used, over the wrap too. */
static void test_interrupt_decision(void **state) {
    (void)state;
    for (unsigned event = 0; event < 4; event++) {
        struct vq_device d;
        struct vq_device_buffer b;
        const struct vq_device_setup s = setup(true);
        fill();
        vq_device_init(&d, &s);
        m.avail.idx = UINT16_MAX;
        vq_device_start_at(&d, UINT16_MAX);
        m.avail.ring[3] = 0; /* 65535 modulo 4 */
        m.avail.ring[0] = 2;
        m.avail.idx = 1; /* the entries 65535 and 0 */
        m.avail.used_event = (uint16_t)(event - 2);
        while (vq_device_fetch(&d, &b)) {
            vq_device_use(&d, b.id, 0);
        }
        assert_int_equal(vq_device_show(&d), event == 1 || event == 2);
        assert_false(vq_device_show(&d)); /* nothing new */
        assert_null(d.violation);
        vq_device_fini(&d);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_good_driver, open_ring, close_ring),
        cmocka_unit_test_teardown(test_broken_rules, close_ring),
        cmocka_unit_test_setup_teardown(test_index_steps_back, open_ring, close_ring),
        cmocka_unit_test_setup_teardown(test_owned_descriptor_changes, open_ring, close_ring),
        cmocka_unit_test_setup_teardown(test_published_entry_changes, open_ring, close_ring),
        cmocka_unit_test(test_set_up),
        cmocka_unit_test(test_total_length),
        cmocka_unit_test(test_interrupt_decision),
    };
    return cmocka_run_group_tests_name("device model", tests, NULL, NULL);
}
