/* Order and number of the accesses to ring memory, split ring. On x86 a wrong order hides from
 * almost every run, so these cases look at the calls of lib/ring_mem.h themselves. */
#include "tests/unit/order_rig.h"

static int out_of_order(void **state) {
    (void)state;
    layout = VQ_SPLIT;
    return 0;
}

static int in_order(void **state) {
    (void)state;
    layout = VQ_SPLIT_IN_ORDER;
    return 0;
}

/* Plays the device: uses what was added first, then second, ... with these lengths. */
static void use(unsigned count, uint32_t len) {
    for (unsigned i = 0; i < count; i++) {
        const uint16_t at = (uint16_t)(q.split.used->idx + i);
        q.split.used->ring[at % NUM] =
            (struct virtq_used_elem){.id = q.split.avail->ring[at % NUM], .len = len};
    }
    q.split.used->idx = (uint16_t)(q.split.used->idx + count);
}

/* Plain stores to descriptors and one entry, each word once; nothing that the device looks at. */
static void test_add_stores_only(void **state) {
    (void)state;
    set_up(false, false);
    q.split.avail->ring[0] = 99; /* another entry from an earlier lap */
    TRACED(add(0, 1, 2));
    assert_int_equal(expect_plain(0, q.split.desc, NUM * sizeof(struct virtq_desc),
                                  &q.split.avail->ring[0], 2),
                     3 * 2 + 1);
    assert_int_equal(q.split.avail->ring[0], 0);
}

/* The same buffers again: descriptors and entries are as they are needed, and stay unwritten, lap
 * after lap; also when the device has them used in another order. */
static void test_laps_store_only_the_index(void **state) {
    (void)state;
    for (unsigned shuffled = 0; shuffled < 2; shuffled++) {
        if (shuffled && vq_is_in_order(layout)) {
            continue;
        }
        set_up(false, false);
        unsigned which[NUM] = {0, 1, 2, 3};
        for (unsigned lap = 0; lap < 6; lap++) {
            struct vq_done done[NUM];
            TRACED(({
                for (unsigned i = 0; i < NUM; i++) {
                    add(which[i], 0, 1);
                }
                vq_publish(&q, layout);
            }));
            const unsigned stores =
                expect_plain(1, q.split.desc, NUM * sizeof(struct virtq_desc), q.split.avail->ring,
                             NUM * sizeof(uint16_t));
            expect_access(ring_log_count - 1, RING_STORE_RELEASE, &q.split.avail->idx);
            /* After a change of the order it takes a lap until each entry has its new place. */
            assert_true(lap < 1 + shuffled || stores == 0);
            use(NUM, 8);
            if (shuffled && lap == 0) { /* 2, 0, 3, 1 */
                const uint32_t ids[NUM] = {2, 0, 3, 1};
                for (unsigned i = 0; i < NUM; i++) {
                    q.split.used->ring[i].id = ids[i];
                }
            }
            assert_int_equal(vq_take_used(&q, layout, done, NUM), NUM);
            for (unsigned i = 0; i < NUM; i++) {
                which[i] = (unsigned)((int *)done[i].token - tokens);
            }
            vq_check(&q);
        }
    }
}

/* One release store, and no other access. 2.7.13.3.1 */
static void test_publish_is_one_release(void **state) {
    (void)state;
    set_up(false, false);
    add(0, 1, 0);
    add(1, 0, 1);
    TRACED(vq_publish(&q, layout));
    assert_int_equal(ring_log_count, 1);
    expect_access(0, RING_STORE_RELEASE, &q.split.avail->idx);
    assert_int_equal(ring_log[0].value, 2);
}

/* The fence stands between the index and the look at what the device asks for. 2.7.13.4.1 */
static void test_notify_fences_before_it_looks(void **state) {
    (void)state;
    for (int event_idx = 0; event_idx < 2; event_idx++) {
        bool needed;
        set_up(event_idx, false);
        TRACED(needed = vq_notify_needed(&q, layout)); /* nothing new: nothing to look at */
        assert_false(needed);
        assert_int_equal(ring_log_count, 0);
        add(0, 1, 0);
        TRACED((vq_publish(&q, layout), needed = vq_notify_needed(&q, layout)));
        assert_true(needed);
        assert_int_equal(ring_log_count, 3);
        expect_access(0, RING_STORE_RELEASE, &q.split.avail->idx);
        expect_access(1, RING_FENCE, NULL);
        expect_access(2, RING_LOAD,
                      event_idx ? (const void *)q.split.avail_event : &q.split.used->flags);
    }
}

/* The index with acquire, then each word of each element once, and nothing is written. 2.7.14 */
static void test_take_reads_each_word_once(void **state) {
    struct vq_done done[NUM];
    unsigned count;
    (void)state;
    set_up(false, false);
    TRACED(count = vq_take_used(&q, layout, done, NUM));
    assert_int_equal(count, 0);
    assert_int_equal(ring_log_count, 1);
    expect_access(0, RING_LOAD_ACQUIRE, &q.split.used->idx);
    add(0, 0, 2);
    add(1, 0, 1);
    vq_publish(&q, layout);
    use(2, 5);
    TRACED(count = vq_take_used(&q, layout, done, NUM));
    assert_int_equal(count, 2);
    assert_int_equal(ring_log_count, 5);
    expect_access(0, RING_LOAD_ACQUIRE, &q.split.used->idx);
    for (unsigned i = 0; i < 2; i++) {
        expect_access(1 + 2 * i, RING_LOAD, &q.split.used->ring[i].id);
        expect_access(2 + 2 * i, RING_LOAD, &q.split.used->ring[i].len);
    }
}

/* The device changes each word as soon as it was read: what was checked is what is used. */
static void test_changes_behind_our_back(void **state) {
    struct vq_done done[NUM];
    unsigned count;
    (void)state;
    set_up(true, false);
    add(0, 0, 1);
    add(1, 1, 1);
    vq_publish(&q, layout);
    use(2, 3);
    ring_after_load = spoil;
    TRACED(count = vq_take_used(&q, layout, done, NUM));
    assert_int_equal(count, 2);
    for (unsigned i = 0; i < 2; i++) {
        assert_ptr_equal(done[i].token, &tokens[i]);
        assert_int_equal(done[i].len, 3);
    }
    assert_false(q.broken);
    vq_check(&q);
}

/* A broken ring is not looked at any more. */
static void test_broken_ring_is_left_alone(void **state) {
    struct vq_done done[NUM];
    unsigned count;
    (void)state;
    set_up(false, false);
    add(0, 0, 1);
    vq_publish(&q, layout);
    use(1, 9); /* one byte too many */
    TRACED(count = vq_take_used(&q, layout, done, NUM));
    assert_int_equal(count, 0);
    assert_true(q.broken);
    TRACED(count = vq_take_used(&q, layout, done, NUM));
    assert_int_equal(count, 0);
    assert_int_equal(ring_log_count, 0);
}

/* Ask, fence, look again. 2.7.7.1, 2.7.14 */
static void test_event_on_asks_fences_looks(void **state) {
    (void)state;
    for (int event_idx = 0; event_idx < 2; event_idx++) {
        bool work;
        set_up(event_idx, false);
        const void *request = event_idx ? q.split.used_event : &q.split.avail->flags;
        TRACED(work = vq_event_on(&q, layout));
        assert_false(work);
        assert_int_equal(ring_log_count, 3);
        expect_access(0, RING_STORE, request);
        expect_access(1, RING_FENCE, NULL);
        expect_access(2, RING_LOAD_ACQUIRE, &q.split.used->idx);
        TRACED(vq_event_off(&q, layout));
        assert_int_equal(ring_log_count, 1);
        expect_access(0, RING_STORE, request);
    }
}

/* A table, and the descriptor that points to it: plain stores, each word once; then
 * one release. */
static void test_add_of_a_table(void **state) {
    (void)state;
    set_up(false, true);
    q.split.avail->ring[0] = 99;
    TRACED((add(0, 1, 2), vq_publish(&q, layout)));
    const unsigned last = ring_log_count - 1;
    unsigned stores = 0;
    for (unsigned i = 0; i < last; i++) {
        assert_true(ring_log[i].kind == RING_STORE || ring_log[i].kind == RING_LOAD);
        assert_true(within(ring_log[i].at, q.indirect, 3 * sizeof(struct virtq_desc)) ||
                    within(ring_log[i].at, q.split.desc, sizeof(struct virtq_desc)) ||
                    ring_log[i].at == &q.split.avail->ring[0]);
        stores += ring_log[i].kind == RING_STORE;
    }
    assert_int_equal(stores, 3 * 2 + 2 + 1);
    expect_access(last, RING_STORE_RELEASE, &q.split.avail->idx);
}

/* One element for three buffers: it is read once, even when they are taken one by one. 2.7.9 */
static void test_batch_is_read_once(void **state) {
    struct vq_done done[NUM];
    (void)state;
    set_up(false, false);
    for (unsigned i = 0; i < 3; i++) {
        add(i, 0, 1);
    }
    vq_publish(&q, layout);
    q.split.used->ring[0] = (struct virtq_used_elem){.id = 2, .len = 5};
    q.split.used->idx = 3;
    for (unsigned i = 0; i < 3; i++) {
        unsigned count;
        ring_after_load = i == 0 ? NULL : spoil; /* the index; nothing else is loaded */
        TRACED(count = vq_take_used(&q, layout, done, 1));
        q.split.used->idx = 3;
        assert_int_equal(count, 1);
        assert_int_equal(ring_log_count, i == 0 ? 3 : 1);
        expect_access(0, RING_LOAD_ACQUIRE, &q.split.used->idx);
        assert_ptr_equal(done[0].token, &tokens[i]);
        assert_int_equal(done[0].len, i == 2 ? 5 : 8);
    }
    vq_check(&q);
}

/* The entry of the last buffer that is counted. 2.7.7.1 */
static void test_threshold_is_one_store(void **state) {
    bool work;
    (void)state;
    set_up(true, false);
    for (unsigned i = 0; i < 3; i++) {
        add(i, 0, 1);
    }
    vq_publish(&q, layout);
    TRACED(work = vq_event_on_after(&q, layout, 3));
    assert_false(work);
    assert_int_equal(ring_log_count, 3);
    expect_access(0, RING_STORE, q.split.used_event);
    assert_int_equal(ring_log[0].value, 2);
    expect_access(1, RING_FENCE, NULL);
    expect_access(2, RING_LOAD_ACQUIRE, &q.split.used->idx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BOTH_ORDERS(test_add_stores_only),
        BOTH_ORDERS(test_laps_store_only_the_index),
        BOTH_ORDERS(test_publish_is_one_release),
        BOTH_ORDERS(test_notify_fences_before_it_looks),
        BOTH_ORDERS(test_take_reads_each_word_once),
        BOTH_ORDERS(test_changes_behind_our_back),
        BOTH_ORDERS(test_broken_ring_is_left_alone),
        BOTH_ORDERS(test_event_on_asks_fences_looks),
        BOTH_ORDERS(test_add_of_a_table),
        cmocka_unit_test_setup(test_batch_is_read_once, in_order),
        BOTH_ORDERS(test_threshold_is_one_store),
    };
    return cmocka_run_group_tests_name("ring order", tests, NULL, NULL);
}
