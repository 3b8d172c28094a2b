/* The checker is checked: each rule that the device model watches in a split ring, broken
 * by hand. */
#include "tests/unit/split_by_hand.h"

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

/* IN_ORDER: fill() keeps the rules. */
static void heads_out_of_order(void) {
    m.avail.ring[0] = 2;
    m.avail.ring[1] = 0;
}
static void next_out_of_order(void) {
    m.desc[0].next = 3;
}

static void table_and_next(void) {
    table();
    m.desc[0].flags |= VIRTQ_DESC_F_NEXT;
    m.desc[0].next = 1;
}
static void nested_table(void) {
    table();
    m.table[1].flags = VIRTQ_DESC_F_INDIRECT;
}
static void table_of_nothing(void) {
    table();
    m.desc[0].len = 0;
}
static void table_of_a_part(void) {
    table();
    m.desc[0].len = 24;
}
static void table_too_long(void) {
    table();
    m.desc[0].len = (NUM + 1) * 16;
}
static void table_elsewhere(void) {
    table();
    m.desc[0].addr = (uintptr_t)m.arena;
}
static void table_across_the_end(void) {
    table();
    m.desc[0].addr = (uintptr_t)&m.table[NUM - 1];
}
static void entry_beyond(void) {
    table();
    m.table[0].next = 2;
}
static void table_loop(void) {
    table();
    m.table[0].next = 0;
}
static void unknown_table_flag(void) {
    table();
    m.table[0].flags |= 0x10;
}
static void table_after_a_full_chain(void) {
    table();
    for (uint16_t i = 0; i < NUM; i++) {
        m.table[i] = (struct virtq_desc){(uintptr_t)m.arena, 1,
                                         i + 1 < NUM ? VIRTQ_DESC_F_NEXT : 0, (uint16_t)(i + 1)};
    }
    m.desc[1] = m.desc[0];
    m.desc[1].len = NUM * 16;
    m.desc[0] = (struct virtq_desc){(uintptr_t)m.arena, 1, VIRTQ_DESC_F_NEXT, 1};
}

/* `break_it` breaks the rule whose text starts with `section`. */
struct broken {
    void (*break_it)(void);
    const char *section;
};

#define CHECK_RULES(list, in_order, indirect)                                                      \
    check_rules(list, sizeof(list) / sizeof((list)[0]), in_order, indirect)

static void check_rules(const struct broken *rules, size_t count, bool in_order, bool indirect) {
    for (size_t i = 0; i < count; i++) {
        struct vq_device_buffer b;
        open_with(in_order, indirect);
        m.avail.idx = 2;
        rules[i].break_it();
        while (vq_device_fetch(&dev, &b)) {
        }
        assert_non_null(dev.violation);
        if (strncmp(dev.violation, rules[i].section, strlen(rules[i].section)) != 0) {
            fail_msg("rule %zu (%s) was taken for %s", i, rules[i].section, dev.violation);
        }
        assert_false(vq_device_fetch(&dev, &b));
        vq_device_fini(&dev);
    }
}

static void test_rules(void **state) {
    static const struct broken rules[] = {
        {head_beyond, "2.7.5: a descriptor number"},
        {next_beyond, "2.7.5: a descriptor number"},
        {loop, "2.7.5.2: a chain"},
        {shared, "2.7.13.1: a descriptor in two"},
        {head_twice, "2.7.5.2"},
        {indirect, "2.7.5.3.1, 2.8.19: INDIRECT without"},
        {table, "2.7.5.3.1, 2.8.19: INDIRECT without"},
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
    (void)state;
    CHECK_RULES(rules, false, false);
}

static void test_rules_of_tables(void **state) {
    static const struct broken rules[] = {
        {table_and_next, "2.7.5.3.1: INDIRECT together"},
        {nested_table, "2.7.5.3.1: INDIRECT within"},
        {table_of_nothing, "2.7.5.3, 2.8.7: the length"},
        {table_of_a_part, "2.7.5.3, 2.8.7: the length"},
        {table_too_long, "2.7.5.3.1, 2.8.17: a table"},
        {table_elsewhere, "2.7.5.3, 2.8.7: a table outside"},
        {table_across_the_end, "2.7.5.3, 2.8.7: a table outside"},
        {entry_beyond, "2.7.5.3: an entry"},
        {table_loop, "2.7.5.2: a table"},
        {unknown_table_flag, "2.7.5: an unknown"},
        {table_after_a_full_chain, "2.7.5.3.1, 2.8.17: more"},
    };
    (void)state;
    CHECK_RULES(rules, false, true);
}

static void test_rules_of_order(void **state) {
    static const struct broken rules[] = {
        {heads_out_of_order, "2.7.5: with IN_ORDER"},
        {next_out_of_order, "2.7.5.2: with IN_ORDER"},
        {table_backwards, "2.7.5.3.1: with IN_ORDER"},
    };
    (void)state;
    CHECK_RULES(rules, true, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_rules_of_tables),
        cmocka_unit_test(test_rules_of_order),
    };
    return cmocka_run_group_tests_name("device model, rules", tests, NULL, NULL);
}
