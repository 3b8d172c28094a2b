/* The checker is checked: the device model in a packed ring that is filled by hand, each rule that
 * it watches there, broken. */
#include "tests/unit/packed_by_hand.h"

static void test_good_driver(void **state) {
    struct vq_device_buffer b;
    uint8_t bytes[16];
    (void)state;
    assert_false(vq_device_fetch(&dev, &b));
    put_two_lists();
    assert_true(vq_device_fetch(&dev, &b));
    assert_int_equal(b.id, 3);
    assert_int_equal(b.first, 0);
    assert_true(vq_device_fetch(&dev, &b));
    assert_int_equal(b.id, 1);
    assert_int_equal(b.first, 2);
    assert_int_equal(b.n_desc, 2);
    assert_int_equal(b.n_out, 1);
    assert_int_equal(b.n_in, 1);
    assert_false(vq_device_fetch(&dev, &b));
    assert_int_equal(vq_device_read(&dev, 1, bytes, sizeof(bytes)), 8);
    assert_memory_equal(bytes, &m.arena[32], 8);
    assert_int_equal(vq_device_write(&dev, 1, "0123456789", 10), 8);
    assert_memory_equal(&m.arena[48], "01234567", 8);

    /* Out of order: the second one takes the place of the first, and skips two slots. 2.8.6 */
    vq_device_use(&dev, 1, 8);
    assert_int_equal(m.desc[0].flags & (AVAIL | USED), AVAIL); /* not shown */
    assert_true(vq_device_show(&dev));
    assert_int_equal(m.desc[0].flags & (AVAIL | USED), AVAIL | USED);
    assert_int_equal(m.desc[0].id, 1);
    assert_int_equal(m.desc[0].len, 8);
    assert_int_equal(m.desc[1].flags, AVAIL | WRITE); /* skipped */
    m.driver.flags = RING_EVENT_FLAGS_DISABLE;
    vq_device_use(&dev, 3, 0);
    assert_false(vq_device_show(&dev));
    assert_int_equal(m.desc[2].flags & (AVAIL | USED), AVAIL | USED);
    assert_int_equal(m.desc[2].id, 3);

    /* The second lap: the wrap counters are 0. 2.8.1 */
    assert_false(vq_device_fetch(&dev, &b));
    put(0, 2, USED | WRITE);
    assert_true(vq_device_fetch(&dev, &b));
    assert_int_equal(b.id, 2);
    vq_device_use(&dev, 2, 4);
    vq_device_show(&dev);
    assert_int_equal(m.desc[0].flags & (AVAIL | USED), 0);
    vq_device_check(&dev);
    assert_null(dev.violation);
}

/* With IN_ORDER: one used descriptor, at the place of the first buffer, for all of a
 * batch. 2.8.8 */
static void test_batch(void **state) {
    struct vq_device_setup s = setup();
    struct vq_device_buffer b;
    s.in_order = true;
    open_with(&s);
    put_two_lists();
    assert_true(vq_device_fetch(&dev, &b));
    assert_true(vq_device_fetch(&dev, &b));
    vq_device_use_batch(&dev, 2, 5);
    assert_true(vq_device_show(&dev));
    assert_int_equal(m.desc[0].id, 1);
    assert_int_equal(m.desc[0].len, 5);
    assert_int_equal(m.desc[0].flags & (AVAIL | USED), AVAIL | USED);
    assert_int_equal(m.desc[2].flags, AVAIL | NEXT); /* skipped */
    put(0, 0, USED | WRITE); /* the next report is at the start of the next lap */
    assert_true(vq_device_fetch(&dev, &b));
    vq_device_use_batch(&dev, 1, 1);
    vq_device_show(&dev);
    assert_int_equal(m.desc[0].flags & (AVAIL | USED), 0);
    assert_null(dev.violation);
    close_ring(state);
}

/* Each breaks a rule in what would be one good buffer. */
static void unknown_flag(void) {
    put(0, 0, AVAIL | 8);
}
static void empty(void) {
    put(0, 0, AVAIL);
    m.desc[0].len = 0;
}
static void outside(void) {
    put(0, 0, AVAIL);
    m.desc[0].addr = (uintptr_t)m.arena + ARENA_SIZE - 7;
}
static void in_before_out(void) {
    put(1, 0, AVAIL);
    put(0, 0, AVAIL | NEXT | WRITE);
}
static void part_of_a_list(void) {
    put(0, 0, AVAIL | NEXT);
}
static void whole_ring_and_more(void) {
    for (unsigned i = 0; i < NUM; i++) {
        put(i, 0, AVAIL | NEXT);
    }
}
static void id_beyond(void) {
    put(0, NUM, AVAIL);
}
static void id_twice(void) {
    put(0, 2, AVAIL);
    put(1, 2, AVAIL);
}
static void reserved_event(void) {
    m.driver.flags = 3;
}
static void high_event_bits(void) {
    m.driver.flags = 4;
}
static void event_without_event_idx(void) {
    m.driver.flags = RING_EVENT_FLAGS_DESC;
}
static void event_beyond(void) {
    dev.setup.event_idx = true;
    m.driver = (struct pvirtq_event_suppress){0x8000 | NUM, RING_EVENT_FLAGS_DESC};
}

/* A table of an entry out and an entry in, all as it should be. */
static void table(void) {
    m.desc[0] = (struct pvirtq_desc){(uintptr_t)m.table, 32, 0, AVAIL | INDIRECT};
    m.table[0] = (struct pvirtq_desc){(uintptr_t)&m.arena[0], 8, 0, 0};
    m.table[1] = (struct pvirtq_desc){(uintptr_t)&m.arena[64], 16, 0, WRITE};
}
static void table_and_next(void) {
    table();
    m.desc[0].flags |= NEXT;
    put(1, 0, AVAIL | WRITE);
}
static void table_in_a_list(void) {
    table();
    m.desc[1] = m.desc[0];
    put(0, 0, AVAIL | NEXT);
}
static void table_with_next(void) {
    table();
    m.table[0].flags = NEXT;
}
static void table_with_wrap_counter(void) {
    table();
    m.table[1].flags |= AVAIL;
}
static void nested_table(void) {
    table();
    m.table[1].flags = INDIRECT;
}
static void table_of_nothing(void) {
    table();
    m.desc[0].len = 0;
}
static void table_of_a_part(void) {
    table();
    m.desc[0].len = 40;
}
static void table_too_long(void) {
    table();
    m.desc[0].len = (NUM + 1) * 16;
}
static void table_across_the_end(void) {
    table();
    m.desc[0].addr = (uintptr_t)&m.table[NUM - 1];
}
static void table_in_before_out(void) {
    table();
    m.table[0].flags = WRITE;
    m.table[1].flags = 0;
}

static void test_broken_rules(void **state) {
    static const struct {
        void (*break_it)(void);
        const char *section;
    } rules[] = {
        {unknown_flag, "2.8.13: an unknown"},
        {empty, "2.7.13.1, 2.8.21.1: a descriptor of"},
        {outside, "2.7.5, 2.8.4: a descriptor points"},
        {in_before_out, "2.7.4.2, 2.8.17: a readable"},
        {part_of_a_list, "2.8.21.1: the first"},
        {whole_ring_and_more, "2.8.21: more"},
        {id_beyond, "a buffer id"},
        {id_twice, "2.8.13: the id"},
        {reserved_event, "2.8.14: flags"},
        {high_event_bits, "2.8.14: flags"},
        {event_without_event_idx, "2.8.14: flags"},
        {event_beyond, "2.8.14: an event offset"},
        {table_and_next, "2.8.19: INDIRECT in a list"},
        {table_in_a_list, "2.8.19: INDIRECT in a list"},
        {table_with_next, "2.8.19: a flag"},
        {table_with_wrap_counter, "2.8.19: a flag"},
        {nested_table, "2.8.19: a flag"},
        {table_of_nothing, "2.7.5.3, 2.8.7: the length"},
        {table_of_a_part, "2.7.5.3, 2.8.7: the length"},
        {table_too_long, "2.7.5.3.1, 2.8.17: a table"},
        {table_across_the_end, "2.7.5.3, 2.8.7: a table outside"},
        {table_in_before_out, "2.7.4.2, 2.8.17: a readable"},
    };
    for (unsigned i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        struct vq_device_buffer b;
        open_ring(state);
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
}

/* Tables as they may be: WRITE beside INDIRECT is ignored (2.8.7). Then without the feature. */
static void test_tables(void **state) {
    struct vq_device_setup s = setup();
    struct vq_device_buffer b;
    uint8_t bytes[16];
    table();
    m.desc[0].flags |= WRITE;
    assert_true(vq_device_fetch(&dev, &b));
    assert_int_equal(b.n_desc, 1);
    assert_int_equal(b.n_out, 1);
    assert_int_equal(b.n_in, 1);
    assert_int_equal(vq_device_read(&dev, 0, bytes, 16), 8);
    assert_int_equal(vq_device_write(&dev, 0, "0123456789abcdef", 16), 16);
    assert_memory_equal(&m.arena[64], "0123456789abcdef", 16);
    vq_device_check(&dev);
    assert_null(dev.violation);
    m.table[1].len--;
    vq_device_check(&dev);
    assert_non_null(dev.violation);
    close_ring(state);
    s.indirect = false;
    open_with(&s);
    table();
    assert_false(vq_device_fetch(&dev, &b));
    assert_non_null(dev.violation);
}

/* Rules that hold over time: a descriptor stays as it is until it is used. 2.8.16 */
static void test_owned_descriptor_changes(void **state) {
    struct vq_device_buffer b;
    for (unsigned k = 0; k < 3; k++) {
        open_ring(state);
        put_two_lists();
        assert_true(vq_device_fetch(&dev, &b));
        assert_true(vq_device_fetch(&dev, &b));
        if (k == 0) {
            m.desc[3].len--;
            vq_device_check(&dev);
        } else if (k == 1) {
            m.desc[1].id = 0;
            vq_device_use(&dev, 3, 0);
        } else {
            vq_device_use(&dev, 3, 0);
            m.desc[1].id = 0; /* it is the driver's again */
            vq_device_check(&dev);
        }
        assert_int_equal(dev.violation != NULL, k < 2);
        close_ring(state);
    }
}

static void test_set_up(void **state) {
    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        struct vq_device_setup s = setup();
        s.num = i == 0 ? 0 : NUM;
        s.desc = (uint8_t *)s.desc + (i == 1 ? 8 : 0);
        s.driver = (uint8_t *)s.driver + (i == 2 ? 2 : 0);
        s.device = (uint8_t *)s.device + (i == 3 ? 2 : 0);
        memset(&m, 0, sizeof(m));
        m.desc[0].flags = i == 4 ? AVAIL : 0; /* available before the start */
        put(1, 0, 0);
        vq_device_init(&dev, &s);
        assert_non_null(dev.violation);
        vq_device_fini(&dev);
    }
}

/* With EVENT_IDX: an interrupt exactly when the descriptor asked for was used, or skipped, in the
 * lap of the wrap counter asked for. 2.8.10 */
static void test_interrupt_decision(void **state) {
    (void)state;
    for (uint16_t event = 0; event < 2 * NUM; event++) {
        const uint16_t off_wrap = (uint16_t)(event % NUM | (event / NUM == 0 ? 0x8000 : 0));
        struct vq_device_setup s = setup();
        struct vq_device_buffer b;
        s.event_idx = true;
        open_with(&s);
        m.driver = (struct pvirtq_event_suppress){off_wrap, RING_EVENT_FLAGS_DESC};
        vq_device_start_at(&dev, 3); /* a list of slot 3 and, one lap on, slot 0; then slot 1 */
        for (unsigned i = 0; i < 3; i++) {
            m.desc[i].flags = AVAIL | USED;
        }
        put(1, 1, USED | WRITE);
        put(0, 0, USED | WRITE);
        put(3, 0, AVAIL | NEXT);
        while (vq_device_fetch(&dev, &b)) {
            vq_device_use(&dev, b.id, 0);
        }
        assert_null(dev.violation);
        assert_int_equal(vq_device_show(&dev), event >= 3 && event <= 5);
        assert_false(vq_device_show(&dev)); /* nothing new */
        assert_null(dev.violation);
        vq_device_fini(&dev);
    }
}

/* When a driver must notify, and what it must say then. 2.8.10, 2.9 */
static void test_notification(void **state) {
    (void)state;
    assert_int_equal(vq_device_position(&dev), 0x8000);
    vq_device_want_notify(&dev, true);
    assert_false(vq_device_notify_due(&dev, 0));
    put(0, 0, AVAIL);
    assert_true(vq_device_notify_due(&dev, 1));
    vq_device_want_notify(&dev, false);
    put(1, 1, AVAIL);
    assert_false(vq_device_notify_due(&dev, 1));
    assert_true(vq_device_check_position(&dev, 0x8002));
    put(3, 2, AVAIL);
    put(2, 2, AVAIL | NEXT);
    assert_true(vq_device_check_position(&dev, 0)); /* the next lap */
    assert_null(dev.violation);
    assert_false(vq_device_check_position(&dev, 0x8000));
    assert_non_null(dev.violation);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_good_driver, open_ring, close_ring),
        cmocka_unit_test(test_batch),
        cmocka_unit_test(test_broken_rules),
        cmocka_unit_test_setup_teardown(test_tables, open_ring, close_ring),
        cmocka_unit_test(test_owned_descriptor_changes),
        cmocka_unit_test(test_set_up),
        cmocka_unit_test(test_interrupt_decision),
        cmocka_unit_test_setup_teardown(test_notification, open_ring, close_ring),
    };
    return cmocka_run_group_tests_name("device model, packed", tests, NULL, NULL);
}
