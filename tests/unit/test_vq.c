/* The ring, driver side, against a device that keeps the rules. */
#include "tests/unit/vq_rig.h"

/* 2.8.10.1: sizes 16n, 4, 4; alignments 16, 4, 4; areas apart from each other, for any size. */
static void test_packed_areas(void **state) {
    (void)state;
    for (uint32_t num = 1; num <= VQ_NUM_MAX; num++) {
        const struct vq_areas a = vq_areas(VQ_PACKED, (uint16_t)num);
        assert_int_equal(a.desc_off % 16, 0);
        assert_int_equal(a.driver_off % 4, 0);
        assert_int_equal(a.device_off % 4, 0);
        assert_true(a.desc_off + 16 * num <= a.driver_off);
        assert_true(a.driver_off + 4 <= a.device_off);
        assert_true(a.device_off + 4 <= a.size);
        assert_int_equal(a.size % VQ_AREA_ALIGN, 0);
        assert_true(a.size < 16 * num + 4 + 4 + 3 * VQ_AREA_ALIGN);
        /* Our writes and the device's never share a cache line. */
        assert_int_equal(a.driver_off % 64, 0);
        assert_int_equal(a.device_off % 64, 0);
    }
}

/* 2.7: sizes 16n, 6+2n, 6+8n; alignments 16, 2, 4; areas apart from each other. */
static void test_areas(void **state) {
    (void)state;
    for (uint32_t num = 1; num <= VQ_NUM_MAX; num *= 2) {
        const struct vq_areas a = vq_areas(VQ_SPLIT, (uint16_t)num);
        assert_int_equal(a.desc_off % 16, 0);
        assert_int_equal(a.driver_off % 2, 0);
        assert_int_equal(a.device_off % 4, 0);
        assert_true(a.desc_off + 16 * num <= a.driver_off);
        assert_true(a.driver_off + 6 + 2 * num <= a.device_off);
        assert_true(a.device_off + 6 + 8 * num <= a.size);
        assert_int_equal(a.size % VQ_AREA_ALIGN, 0);
        assert_true(a.size < 16 * num + 6 + 2 * num + 6 + 8 * num + 3 * VQ_AREA_ALIGN);
        /* Our writes and the device's never share a cache line. */
        assert_int_equal(a.driver_off % 64, 0);
        assert_int_equal(a.device_off % 64, 0);
    }
}

/* From the first moment: nothing to see, nothing to take, no interrupt wanted. */
static void test_new_ring_is_quiet(struct rig *r) {
    assert_int_equal(r->q.free_count, r->num);
    assert_int_equal(rig_fetch(r), -1);
    assert_int_equal(rig_take(r, 1), 0);
    assert_false(rig_notify_needed(r));
    assert_false(vq_event_on(&r->q, r->layout));
    vq_event_off(&r->q, r->layout);
    assert_int_equal(rig_drain(r), 0);
    assert_false(r->q.broken);

    rig_restart(r);
    rig_add_single(r, 1);
    rig_publish(r);
    assert_int_equal(rig_use_all(r), 1);
    assert_false(rig_show(r));
    assert_int_equal(rig_take(r, 1), 1);
}

/* The device sees a buffer after vq_publish() and not before, and never twice. */
static void test_publish_is_what_shows(struct rig *r) {
    const uint16_t first = (uint16_t)(r->num > 1 ? r->num / 2 : 1);
    const uint16_t second = (uint16_t)(r->num - first);
    rig_add_single(r, first);
    assert_int_equal(rig_fetch(r), -1);
    assert_false(rig_notify_needed(r));
    rig_publish(r);
    assert_int_equal(rig_use_all(r), first);
    rig_publish(r); /* nothing new */
    assert_int_equal(rig_fetch(r), -1);
    rig_show(r);
    rig_add_single(r, second);
    assert_int_equal(rig_take(r, r->num), first);
    assert_int_equal(rig_fetch(r), -1);
    rig_publish(r);
    assert_int_equal(rig_use_all(r), second);
    rig_show(r);
    assert_int_equal(rig_take(r, r->num), second);
}

/* Used in order, several times round the ring. */
static void test_in_order(struct rig *r) {
    for (unsigned round = 0; round < 40; round++) {
        const uint32_t count = 1 + unit_below(&r->random, r->num < 64 ? r->num : 64);
        rig_add_single(r, count);
        rig_publish(r);
        assert_int_equal(rig_use_all(r), count);
        assert_int_equal(rig_take(r, r->num), 0); /* not shown yet */
        rig_show(r);
        assert_int_equal(rig_take(r, r->num), count);
    }
}

/* Used with any length, and out of order where that is allowed: the token and the length belong
 * together. */
static void test_any_order(struct rig *r) {
    const uint32_t count = r->num < 256 ? r->num : 256;
    uint16_t ids[256];
    for (unsigned round = 0; round < 20; round++) {
        rig_add_single(r, count);
        rig_publish(r);
        for (uint32_t i = 0; i < count; i++) {
            const uint32_t at =
                vq_is_in_order(r->layout) ? i : unit_below(&r->random, i + 1); /* a shuffle */
            ids[i] = ids[at];
            ids[at] = (uint16_t)rig_fetch(r);
        }
        for (uint32_t i = 0; i < count; i++) {
            rig_use(r, ids[i], unit_below(&r->random, rig_in_len(r, ids[i]) + 1));
        }
        rig_show(r);
        assert_int_equal(rig_take(r, r->num), count);
    }
    rig_check(r);
}

/* Every length of chain, every split between what the device reads and writes. */
static void test_chains(struct rig *r) {
    const uint16_t long_max = r->num < 256 ? r->num : 256;
    for (uint16_t n = 1; n <= long_max; n = (uint16_t)(n < 12 ? n + 1 : n * 2 - 3)) {
        const uint16_t step = n < 12 ? 1 : n / 4;
        for (uint16_t n_out = 0; n_out <= n; n_out = (uint16_t)(n_out + step)) {
            const struct rig_buffer *b = rig_add(r, n_out, (uint16_t)(n - n_out));
            assert_int_equal(r->q.free_count, r->num - b->n_desc);
            rig_publish(r);
            assert_int_equal(rig_use_all(r), 1);
            rig_show(r);
            assert_int_equal(rig_take(r, 2), 1);
            assert_int_equal(r->q.free_count, r->num);
        }
    }
    rig_check(r);
    rig_add(r, long_max, 0); /* from a free list that is well shuffled by now */
    rig_publish(r);
    assert_int_equal(rig_use_all(r), 1);
    rig_show(r);
    assert_int_equal(rig_take(r, 1), 1);
}

/* All descriptors in use, as single buffers and as one chain; then all come back, three times. */
static void test_full_ring(struct rig *r) {
    for (unsigned round = 0; round < 3; round++) {
        rig_add_single(r, r->num);
        assert_int_equal(r->q.free_count, 0);
        rig_publish(r);
        rig_notify_needed(r);
        assert_int_equal(rig_take(r, r->num), 0);
        assert_int_equal(rig_use_all(r), r->num);
        rig_show(r);
        rig_check(r);
        assert_int_equal(rig_take(r, r->num), r->num);
        assert_int_equal(r->q.free_count, r->num);
        assert_false(r->q.broken);
    }
}

/* No more than asked for, and the rest stays for the next call. */
static void test_take_in_parts(struct rig *r) {
    const uint32_t count = r->num < 100 ? r->num : 100;
    uint32_t left = count;
    rig_add_single(r, count);
    rig_publish(r);
    rig_use_all(r);
    rig_show(r);
    assert_int_equal(rig_take(r, 0), 0);
    for (unsigned max = 1; left > 0; max++) {
        const uint32_t want = max < left ? max : left;
        assert_int_equal(rig_take(r, max), want);
        left -= want;
    }
    assert_int_equal(rig_take(r, 1), 0);
}

static void expect_same_split(const struct vq *by_traffic, const struct vq *q) {
    const struct vq_split *a = &by_traffic->split, *b = &q->split;
    assert_int_equal(a->avail_idx, b->avail_idx);
    assert_int_equal(a->published_idx, b->published_idx);
    assert_int_equal(a->used_idx, b->used_idx);
    assert_int_equal(a->used_slot, b->used_slot);
    if (vq_is_in_order(q->layout)) {
        assert_int_equal(by_traffic->free_slot, q->free_slot);
    }
    assert_int_equal(a->avail->idx, b->avail->idx);
    assert_int_equal(a->avail->flags, b->avail->flags);
    assert_int_equal(*a->used_event, *b->used_event);
    assert_int_equal(a->used->idx, b->used->idx);
}

static void expect_same_packed(const struct vq *by_traffic, const struct vq *q) {
    const struct vq_packed *a = &by_traffic->packed, *b = &q->packed;
    assert_int_equal(a->avail_slot, b->avail_slot);
    assert_int_equal(a->avail_flags, b->avail_flags);
    assert_int_equal(a->used_slot, b->used_slot);
    assert_int_equal(a->used_flags, b->used_flags);
    assert_int_equal(a->added_count, b->added_count);
    assert_int_equal(a->driver_event->flags, b->driver_event->flags);
    for (uint32_t i = 0; i < q->num; i++) {
        const uint16_t differ = a->desc[i].flags ^ b->desc[i].flags;
        assert_int_equal(differ & (VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED), 0);
    }
}

/* The short cut that near-wrap cases take leads to the state that ordinary traffic leads to, and
 * the indices go on over the wrap. */
static void test_start_is_ordinary(struct rig *r) {
    struct rig by_traffic = {
        .layout = r->layout,
        .event_idx = r->event_idx,
        .indirect = r->indirect,
        .num = r->num,
    };
    if (r->start == 0) {
        return;
    }
    rig_up(&by_traffic);
    for (uint32_t left = r->start; left > 0;) {
        const uint32_t count = min_u64(left, r->num);
        rig_add_single(&by_traffic, count);
        rig_publish(&by_traffic);
        rig_notify_needed(&by_traffic);
        rig_use_all(&by_traffic);
        rig_show(&by_traffic);
        assert_int_equal(rig_take(&by_traffic, r->num), count);
        left -= count;
    }
    vq_event_off(&by_traffic.q, r->layout);
    assert_int_equal(by_traffic.q.unnotified_count, r->q.unnotified_count);
    if (!vq_is_packed(r->layout)) {
        expect_same_split(&by_traffic.q, &r->q);
        assert_int_equal(by_traffic.dev.seen, r->dev.seen);
        assert_int_equal(by_traffic.dev.desc_seen, r->dev.desc_seen);
    } else {
        expect_same_packed(&by_traffic.q, &r->q);
        assert_int_equal(by_traffic.dev.desc_seen, r->dev.desc_seen);
    }
    for (unsigned i = 0; i < 40; i++) {
        rig_add_single(&by_traffic, 1);
        rig_publish(&by_traffic);
        rig_notify_needed(&by_traffic);
        assert_int_equal(rig_use_all(&by_traffic), 1);
        rig_show(&by_traffic);
        assert_int_equal(rig_take(&by_traffic, 1), 1);
    }
    rig_check(&by_traffic);
    rig_down(&by_traffic);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_areas),
        cmocka_unit_test(test_packed_areas),
        RIG_CASE(test_new_ring_is_quiet),
        RIG_CASE(test_publish_is_what_shows),
        RIG_CASE(test_in_order),
        RIG_CASE(test_any_order),
        RIG_CASE(test_chains),
        RIG_CASE(test_full_ring),
        RIG_CASE(test_take_in_parts),
        RIG_CASE_UP_TO(test_start_is_ordinary, 256),
    };
    return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
