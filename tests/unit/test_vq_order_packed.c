/* Order and number of the accesses to ring memory, packed ring. On x86 a wrong order hides from
 * almost every run, so these cases look at the calls of lib/ring_mem.h themselves. */
#include "tests/unit/order_rig.h"

static int out_of_order(void **state) {
    (void)state;
    layout = VQ_PACKED;
    return 0;
}

static int in_order(void **state) {
    (void)state;
    layout = VQ_PACKED_IN_ORDER;
    return 0;
}

/* Packed: plain stores, each word once, and all of them but the flags of the first descriptor of
 * the batch. */
static void test_add_holds_the_head_back(void **state) {
    (void)state;
    set_up(false, false);
    TRACED((add(0, 1, 1), add(1, 0, 1)));
    assert_int_equal(expect_plain(0, q.packed.desc, 3 * sizeof(struct pvirtq_desc), NULL, 0),
                     3 + 2 + 1 + 1);
    for (unsigned i = 0; i < ring_log_count; i++) {
        const uint8_t *end = (const uint8_t *)ring_log[i].at + ring_log[i].bits / 8;
        assert_true(ring_log[i].at >= (const void *)&q.packed.desc[1] ||
                    end <= (const uint8_t *)&q.packed.desc[0].flags);
    }
    assert_int_equal(q.packed.desc[0].flags, 0);
}

/* The same buffers again: addresses stay unwritten; the rest of a descriptor was the device's. */
static void test_laps_store_no_address(void **state) {
    (void)state;
    set_up(false, false);
    for (unsigned lap = 0; lap < 5; lap++) {
        struct vq_done done[NUM];
        TRACED(({
            for (unsigned i = 0; i < NUM; i++) {
                add(i, 0, 1);
            }
            vq_publish(&q, layout);
        }));
        unsigned addresses = 0;
        for (unsigned i = 0; i < ring_log_count; i++) {
            for (unsigned slot = 0; slot < NUM; slot++) {
                addresses += ring_log[i].kind == RING_STORE &&
                             ring_log[i].at == &q.packed.desc[slot].addr;
            }
        }
        assert_int_equal(addresses, lap == 0 ? NUM : 0);
        for (unsigned i = 0; i < NUM; i++) {
            struct pvirtq_desc *desc = &q.packed.desc[i];
            desc->len = 8;
            desc->flags = q.packed.used_flags;
        }
        assert_int_equal(vq_take_used(&q, layout, done, NUM), NUM);
        for (unsigned i = 0; i < NUM; i++) {
            assert_ptr_equal(done[i].token, &tokens[i]);
        }
        vq_check(&q);
    }
}

/* One release store for the whole batch, and no other access. 2.8.21.1.1 */
static void test_publish_is_one_release(void **state) {
    (void)state;
    set_up(false, false);
    add(0, 1, 1);
    add(1, 0, 1);
    TRACED(vq_publish(&q, layout));
    assert_int_equal(ring_log_count, 1);
    expect_access(0, RING_STORE_RELEASE, &q.packed.desc[0].flags);
    assert_int_equal(ring_log[0].value, VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_NEXT);
    TRACED(vq_publish(&q, layout)); /* nothing new */
    assert_int_equal(ring_log_count, 0);
}

/* The fence stands between the flags and the look at what the device asks for, which is one load,
 * so that its two halves belong together. 2.8.21.3.1 */
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
        expect_access(0, RING_STORE_RELEASE, &q.packed.desc[0].flags);
        expect_access(1, RING_FENCE, NULL);
        expect_access(2, RING_LOAD, q.packed.device_event);
        assert_int_equal(ring_log[2].bits, 32);
    }
}

/* Plays the device: two used descriptors, of the buffers that were added first and second; the
 * second one cannot be written, so its length means nothing. */
static void use_packed(void) {
    static const uint16_t used = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED;
    q.packed.desc[0] = (struct pvirtq_desc){.id = 0, .len = 5, .flags = used | VIRTQ_DESC_F_WRITE};
    q.packed.desc[2] = (struct pvirtq_desc){
        .id = vq_is_in_order(layout) ? 2 : 1, .len = 99, .flags = used};
}

/* The flags with acquire, then the other words once each, and nothing is written. 2.8.22 */
static void test_take_reads_each_word_once(void **state) {
    struct vq_done done[NUM];
    unsigned count;
    (void)state;
    for (int behind_our_back = 0; behind_our_back < 2; behind_our_back++) {
        set_up(false, false);
        add(0, 0, 2);
        add(1, 1, 0);
        add(2, 1, 0);
        vq_publish(&q, layout);
        use_packed();
        ring_after_load = behind_our_back ? spoil : NULL;
        TRACED(count = vq_take_used(&q, layout, done, 2));
        assert_int_equal(count, 2);
        assert_int_equal(ring_log_count, 6);
        expect_access(0, RING_LOAD_ACQUIRE, &q.packed.desc[0].flags);
        expect_access(1, RING_LOAD, &q.packed.desc[0].id);
        expect_access(2, RING_LOAD, &q.packed.desc[0].len);
        expect_access(3, RING_LOAD_ACQUIRE, &q.packed.desc[2].flags);
        expect_access(4, RING_LOAD, &q.packed.desc[2].id);
        expect_access(5, RING_LOAD, &q.packed.desc[2].len);
        for (unsigned i = 0; i < 2; i++) {
            assert_ptr_equal(done[i].token, &tokens[i]);
            assert_int_equal(done[i].len, i == 0 ? 5 : 0);
        }
        assert_false(q.broken);
        vq_check(&q);
        TRACED(count = vq_take_used(&q, layout, done, 2));
        assert_int_equal(count, 0);
        assert_int_equal(ring_log_count, 1);
        expect_access(0, RING_LOAD_ACQUIRE, &q.packed.desc[3].flags);
    }
}

static void test_broken_ring_is_left_alone(void **state) {
    struct vq_done done[NUM];
    unsigned count;
    (void)state;
    set_up(false, false);
    add(0, 0, 1);
    vq_publish(&q, layout);
    use_packed();
    q.packed.desc[0].len = 9; /* one byte too many */
    TRACED(count = vq_take_used(&q, layout, done, NUM));
    assert_int_equal(count, 0);
    assert_true(q.broken);
    TRACED(count = vq_take_used(&q, layout, done, NUM));
    assert_int_equal(count, 0);
    assert_int_equal(ring_log_count, 0);
}

/* Ask, in one store, fence, look again. 2.8.22 */
static void test_event_on_asks_fences_looks(void **state) {
    (void)state;
    for (int event_idx = 0; event_idx < 2; event_idx++) {
        bool work;
        set_up(event_idx, false);
        TRACED(work = vq_event_on(&q, layout));
        assert_false(work);
        assert_int_equal(ring_log_count, 3);
        if (event_idx) {
            expect_access(0, RING_STORE, q.packed.driver_event);
            assert_int_equal(ring_log[0].bits, 32);
            assert_int_equal(ring_log[0].value, RING_EVENT_FLAGS_DESC << 16 | 0x8000);
        } else {
            expect_access(0, RING_STORE, &q.packed.driver_event->flags);
            assert_int_equal(ring_log[0].value, RING_EVENT_FLAGS_ENABLE);
        }
        expect_access(1, RING_FENCE, NULL);
        expect_access(2, RING_LOAD_ACQUIRE, &q.packed.desc[0].flags);
        TRACED(vq_event_off(&q, layout));
        assert_int_equal(ring_log_count, 1);
        expect_access(0, RING_STORE, &q.packed.driver_event->flags);
        assert_int_equal(ring_log[0].value, RING_EVENT_FLAGS_DISABLE);
    }
}

/* A table, and the descriptor that points to it: plain stores, each word once; its flags come with
 * the release. */
static void test_add_of_a_table(void **state) {
    (void)state;
    set_up(false, true);
    TRACED((add(0, 1, 2), vq_publish(&q, layout)));
    assert_int_equal(expect_plain(1, q.indirect, 3 * sizeof(struct pvirtq_desc), q.packed.desc,
                                  offsetof(struct pvirtq_desc, flags)),
                     3 * 2 + 3);
    const unsigned last = ring_log_count - 1;
    expect_access(last, RING_STORE_RELEASE, &q.packed.desc[0].flags);
    assert_int_equal(ring_log[last].value, VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_INDIRECT);
}

/* One used descriptor for three buffers: it is read once, even when they are taken one by one, and
 * no other is looked at before the next batch can be there. 2.8.8 */
static void test_batch_is_read_once(void **state) {
    struct vq_done done[NUM];
    unsigned count;
    (void)state;
    set_up(false, false);
    for (unsigned i = 0; i < 3; i++) {
        add(i, 0, 1);
    }
    vq_publish(&q, layout);
    q.packed.desc[0] = (struct pvirtq_desc){
        .id = 2, .len = 5, .flags = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED};
    for (unsigned i = 0; i < 3; i++) {
        ring_after_load = spoil;
        TRACED(count = vq_take_used(&q, layout, done, 1));
        assert_int_equal(count, 1);
        assert_int_equal(ring_log_count, i == 0 ? 3 : 0);
        assert_ptr_equal(done[0].token, &tokens[i]);
        assert_int_equal(done[0].len, i == 2 ? 5 : 8);
    }
    TRACED(count = vq_take_used(&q, layout, done, 1));
    assert_int_equal(count, 0);
    assert_int_equal(ring_log_count, 1);
    expect_access(0, RING_LOAD_ACQUIRE, &q.packed.desc[3].flags);
    vq_check(&q);
}

/* Offset, wrap counter and flags in one store. 2.8.10 */
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
    expect_access(0, RING_STORE, q.packed.driver_event);
    assert_int_equal(ring_log[0].bits, 32);
    assert_int_equal(ring_log[0].value, RING_EVENT_FLAGS_DESC << 16 | 0x8002);
    expect_access(1, RING_FENCE, NULL);
    expect_access(2, RING_LOAD_ACQUIRE, &q.packed.desc[0].flags);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BOTH_ORDERS(test_add_holds_the_head_back),
        BOTH_ORDERS(test_laps_store_no_address),
        BOTH_ORDERS(test_publish_is_one_release),
        BOTH_ORDERS(test_notify_fences_before_it_looks),
        BOTH_ORDERS(test_take_reads_each_word_once),
        BOTH_ORDERS(test_broken_ring_is_left_alone),
        BOTH_ORDERS(test_event_on_asks_fences_looks),
        BOTH_ORDERS(test_add_of_a_table),
        cmocka_unit_test_setup(test_batch_is_read_once, in_order),
        BOTH_ORDERS(test_threshold_is_one_store),
    };
    return cmocka_run_group_tests_name("ring order, packed", tests, NULL, NULL);
}
