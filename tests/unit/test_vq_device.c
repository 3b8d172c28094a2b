/* The checker is checked: what the device model does in a split ring that is filled by hand, and
 * rules that hold over time. The others are in test_vq_device_rules.c. */
#include "tests/unit/split_by_hand.h"

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

/* Without IN_ORDER the links of a table may go anywhere, and a chain may end in a table
 * (2.7.5.3.2). */
static void test_legal_tables(void **state) {
    static void (*const shapes[])(void) = {table, table_backwards};
    struct vq_device_buffer b;
    uint8_t bytes[16];
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        open_with(false, true);
        shapes[i % 2]();
        if (i >= 2) {
            m.desc[1] = m.desc[0];
            m.desc[0] = (struct virtq_desc){(uintptr_t)&m.arena[128], 4, VIRTQ_DESC_F_NEXT, 1};
        }
        m.avail.idx = 1;
        assert_true(vq_device_fetch(&dev, &b));
        assert_null(dev.violation);
        assert_int_equal(b.n_desc, i < 2 ? 1 : 2);
        assert_int_equal(b.n_out, i < 2 ? 1 : 2);
        assert_int_equal(b.n_in, i % 2 == 0 ? 1 : 2);
        assert_int_equal(vq_device_read(&dev, 0, bytes, 16), i < 2 ? 8 : 12);
        assert_memory_equal(bytes, &m.arena[i < 2 ? 0 : 128], 4);
        assert_int_equal(vq_device_write(&dev, 0, "0123456789abcdef", 16), 16);
        assert_memory_equal(&m.arena[64], "0123456789abcdef", 16);
        vq_device_check(&dev);
        assert_null(dev.violation);
        m.table[3].len = 1; /* not part of it */
        vq_device_check(&dev);
        assert_null(dev.violation);
        m.table[1].len--;
        vq_device_check(&dev);
        assert_non_null(dev.violation);
        close_ring(state);
    }
    open_ring(state);
}

/* 2.7.9: one element, at the place of the first buffer, for all of a batch. */
static void test_batch(void **state) {
    struct vq_device_buffer b;
    (void)state;
    open_with(true, false);
    m.avail.idx = 2;
    assert_true(vq_device_fetch(&dev, &b));
    assert_true(vq_device_fetch(&dev, &b));
    m.used.ring[1] = (struct virtq_used_elem){77, 77};
    vq_device_use_batch(&dev, 2, 5);
    assert_true(vq_device_show(&dev));
    assert_int_equal(m.used.idx, 2);
    assert_int_equal(m.used.ring[0].id, 2);
    assert_int_equal(m.used.ring[0].len, 5);
    assert_int_equal(m.used.ring[1].id, 77);
    assert_false(vq_device_outstanding(&dev, 0));
    assert_false(vq_device_outstanding(&dev, 2));
    m.avail.ring[2] = 0; /* next round: the table starts anew */
    m.avail.idx = 3;
    assert_true(vq_device_fetch(&dev, &b));
    m.desc[1].len--;
    vq_device_use_batch(&dev, 1, 0);
    assert_non_null(dev.violation);
    close_ring(state);
    open_ring(state);
}

/* 2.9: the available index that was published. */
static void test_position(void **state) {
    (void)state;
    m.avail.idx = 2;
    assert_int_equal(vq_device_position(&dev), 2);
    assert_true(vq_device_check_position(&dev, 2));
    assert_null(dev.violation);
    assert_false(vq_device_check_position(&dev, 0x8002));
    assert_non_null(dev.violation);
    close_ring(state);
    open_ring(state);
    vq_device_start_at(&dev, 0xfffe);
    m.avail.idx = 0xfffe;
    assert_int_equal(vq_device_position(&dev), 0xfffe);
    m.avail.ring[2] = 0;
    m.avail.ring[3] = 2;
    m.avail.idx = 0;
    assert_int_equal(vq_device_position(&dev), 0);
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
        cmocka_unit_test_teardown(test_legal_tables, close_ring),
        cmocka_unit_test_teardown(test_batch, close_ring),
        cmocka_unit_test_setup_teardown(test_position, open_ring, close_ring),
        cmocka_unit_test_setup_teardown(test_index_steps_back, open_ring, close_ring),
        cmocka_unit_test_setup_teardown(test_owned_descriptor_changes, open_ring, close_ring),
        cmocka_unit_test_setup_teardown(test_published_entry_changes, open_ring, close_ring),
        cmocka_unit_test(test_set_up),
        cmocka_unit_test(test_total_length),
        cmocka_unit_test(test_interrupt_decision),
    };
    return cmocka_run_group_tests_name("device model", tests, NULL, NULL);
}
