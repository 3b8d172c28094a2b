/* VIRTIO_F_IN_ORDER: batches that the device reports by their last buffer, and lies about them.
 * 2.7.9, 2.8.8 */
#include "tests/unit/vq_rig.h"

#include <stdlib.h>
#include <string.h>

enum { BATCH_MAX = 20 };

/* Adds, publishes and lets the device fetch so many buffers of one to three segments, as long as
 * they fit. Returns how many. */
static uint32_t offer(struct rig *r, uint32_t count) {
    uint32_t added = 0;
    for (; added < count && rig_fits(r, 1); added++) {
        const uint32_t wish = 1 + r->serial % 3;
        const uint32_t n = rig_fits(r, wish) ? wish : 1;
        const uint32_t n_out = unit_below(&r->random, n + 1);
        rig_add(r, (uint16_t)n_out, (uint16_t)(n - n_out));
    }
    rig_publish(r);
    while (rig_fetch(r) >= 0) {
    }
    return added;
}

/* Of the last buffer of the next batch, less than it holds if it holds any. */
static uint32_t last_len(const struct rig *r, uint32_t count) {
    const struct rig_buffer *last = r->fetched.item[(r->fetched.head + count - 1) % r->num];
    return rig_in_len(r, last->id) / 2;
}

/* Batches of every size, several of them at once, several times round the ring: each buffer comes
 * back once, in order; the skipped ones have all that they hold as their length, the last one its
 * own. */
static void test_batches(struct rig *r) {
    for (unsigned round = 0; round < 60 && vq_is_in_order(r->layout); round++) {
        const uint32_t count = offer(r, BATCH_MAX);
        uint32_t left = count;
        while (left > 0) {
            const uint32_t batch = 1 + unit_below(&r->random, left);
            rig_use_batch(r, batch, last_len(r, batch));
            left -= batch;
        }
        assert_int_equal(rig_take(r, r->num), 0); /* not shown */
        rig_show(r);
        assert_int_equal(rig_take(r, count + 1), count);
        assert_int_equal(r->q.free_count, r->num);
        rig_check(r);
    }
}

/* One batch of the whole ring. */
static void test_batch_of_all(struct rig *r) {
    for (unsigned round = 0; round < 3 && vq_is_in_order(r->layout); round++) {
        rig_add_single(r, r->num);
        rig_publish(r);
        while (rig_fetch(r) >= 0) {
        }
        rig_use_batch(r, r->num, last_len(r, r->num));
        rig_show(r);
        assert_int_equal(rig_take(r, r->num), r->num);
        assert_int_equal(r->q.free_count, r->num);
    }
}

/* The device writes on what it has reported, and the driver has looked at. */
static void scribble_used(struct rig *r, uint8_t byte) {
    if (vq_is_packed(r->layout)) {
        for (uint16_t i = 0; i < r->num; i++) {
            struct pvirtq_desc *desc = &r->q.packed.desc[i];
            desc->id = (uint16_t)(byte * 0x101);
            desc->len = byte * 0x1010101u;
        }
    } else {
        memset(r->q.split.used->ring, byte, r->num * sizeof(struct virtq_used_elem));
    }
    r->dev.scribbled = true;
}

/* A batch larger than what is asked for is handed out over several calls. What the device reported
 * is read once: it may change between them, and the slots that are free again are filled anew. */
static void test_batch_in_parts(struct rig *r) {
    for (unsigned round = 0; round < 20 && vq_is_in_order(r->layout); round++) {
        uint32_t left = offer(r, BATCH_MAX), more = 0;
        rig_use_batch(r, left, last_len(r, left));
        rig_show(r);
        for (unsigned max = 1; left > 0; max++) {
            const uint32_t want = max < left ? max : left;
            assert_true(vq_event_on(&r->q, r->layout));
            assert_int_equal(rig_take(r, max), want);
            left -= want;
            vq_check(&r->q);
            scribble_used(r, (uint8_t)(round % 2 ? 0xff : left));
            if (rig_fits(r, 1)) {
                rig_add_single(r, 1);
                rig_publish(r);
                more++;
            }
        }
        assert_false(vq_event_on(&r->q, r->layout));
        vq_event_off(&r->q, r->layout);
        assert_int_equal(rig_use_all(r), more);
        rig_show(r);
        assert_int_equal(rig_take(r, r->num), more);
        assert_false(r->q.broken);
        r->dev.scribbled = false;
    }
}

/* A count of 0 takes nothing and forgets nothing. */
static void test_take_none_of_a_batch(struct rig *r) {
    if (vq_is_in_order(r->layout) && r->num >= 3) {
        rig_add_single(r, 3);
        rig_publish(r);
        while (rig_fetch(r) >= 0) {
        }
        rig_use_batch(r, 3, 0);
        rig_show(r);
        assert_int_equal(rig_take(r, 0), 0);
        assert_int_equal(rig_take(r, 1), 1);
        assert_int_equal(rig_take(r, 0), 0);
        assert_int_equal(rig_take(r, 3), 2);
    }
}

/* Ids are positions and there is no list: what links there may be in our records is not
 * looked at. */
static void test_no_free_list(struct rig *r) {
    for (uint32_t i = 0; i < r->num && vq_is_in_order(r->layout); i++) {
        r->q.slots[i].next = 0xffff;
    }
    for (unsigned round = 0; round < 20 && vq_is_in_order(r->layout); round++) {
        const uint32_t count = offer(r, BATCH_MAX);
        rig_use_batch(r, count, last_len(r, count));
        rig_show(r);
        assert_int_equal(rig_take(r, r->num), count);
        assert_true(!vq_is_packed(r->layout) || r->q.free_slot == 0);
    }
}

/* --- lies ------------------------------------------------------------------------------------- */

/* Three buffers that the device has fetched, in a ring with traffic behind it. */
static bool prepare(struct rig *r, uint16_t n_segs) {
    if (!vq_is_in_order(r->layout) || r->num < 4u * n_segs) {
        return false;
    }
    rig_add_single(r, 1);
    rig_publish(r);
    rig_use_all(r);
    rig_show(r);
    assert_int_equal(rig_take(r, 1), 1);
    for (unsigned i = 0; i < 3; i++) {
        rig_add(r, 0, n_segs);
    }
    rig_publish(r);
    while (rig_fetch(r) >= 0) {
    }
    return true;
}

static uint16_t id_of(const struct rig *r, uint32_t which) {
    return r->fetched.item[(r->fetched.head + which) % r->num]->id;
}

/* So many buffers come back, then the ring is broken; drained, it has given each of `all` back
 * once. */
static void expect_broken_after(struct rig *r, unsigned count, unsigned all) {
    struct vq_done done[8];
    void *token;
    uint32_t cursor = 0;
    const uint64_t errors = r->q.device_errors;
    assert_int_equal(vq_take_used(&r->q, r->layout, done, ARRAY_SIZE(done)), count);
    assert_true(r->q.broken);
    assert_int_equal(r->q.device_errors, errors + 1);
    assert_int_equal(vq_take_used(&r->q, r->layout, done, ARRAY_SIZE(done)), 0);
    assert_false(vq_event_on(&r->q, r->layout));
    vq_check(&r->q);
    while ((token = vq_drain(&r->q, &cursor)) != NULL) {
        for (unsigned i = 0; i < count; i++) {
            assert_ptr_not_equal(token, done[i].token);
        }
        count++;
    }
    assert_int_equal(count, all);
    assert_int_equal(r->q.free_count, r->num);
    vq_check(&r->q);
    rig_down(r);
    rig_up(r);
}

/* One used element that is said to stand for `count` buffers, as far as the layout can say so. */
static void claim(struct rig *r, uint32_t id, uint32_t len, uint32_t count) {
    r->dev.layout->place(&r->dev, id, len, count, 1);
    r->dev.layout->show(&r->dev);
}

/* Split: the index says less than the id. Packed: there is no index, an id of a later buffer is a
 * batch; it must not reach beyond what is published. */
static void test_batch_beyond_the_index(struct rig *r) {
    for (unsigned k = 0; k < 3 && !vq_is_packed(r->layout) && prepare(r, 1); k++) {
        claim(r, id_of(r, k == 0 ? 1 : 2), 0, k == 2 ? 2 : 1);
        expect_broken_after(r, 0, 3);
    }
}

/* The id of a buffer that was added and not published, alone and at the end of a batch. */
static void test_unpublished_in_a_batch(struct rig *r) {
    for (unsigned k = 0; k < 3; k++) {
        for (uint16_t n_segs = 1; n_segs < 3; n_segs++) {
            if (!prepare(r, n_segs)) {
                continue;
            }
            const uint32_t next = vq_is_packed(r->layout) ? r->q.packed.avail_slot : r->q.free_slot;
            rig_add(r, 0, n_segs);
            if (k == 1) { /* behind one that is right */
                rig_use(r, id_of(r, 0), 1);
            }
            claim(r, next, 0, k == 2 ? 3 : 4);
            expect_broken_after(r, k == 1 && vq_is_packed(r->layout) ? 1 : 0, 4);
        }
    }
}

/* The last buffer of a batch is right, the next report names one that is already back, or one that
 * was skipped: none comes twice. */
static void test_buffer_of_the_batch_before(struct rig *r) {
    for (uint32_t which = 0; which < 2 && prepare(r, 1); which++) {
        const uint16_t id = id_of(r, which);
        rig_use_batch(r, 2, 1);
        claim(r, id, 0, 1);
        expect_broken_after(r, 2, 3);
    }
}

/* More than the last one holds; the others hold more, but do not count. */
static void test_batch_too_long(struct rig *r) {
    for (unsigned k = 0; k < 2 && prepare(r, 1); k++) {
        const uint32_t len = rig_in_len(r, id_of(r, 2));
        claim(r, id_of(r, 2), k == 0 ? len + 1 : UINT32_MAX, 3);
        expect_broken_after(r, 0, 3);
    }
}

/* A slot within a buffer is no id of one, though our record of it, from an earlier round, fits. */
static void test_batch_ends_within_a_buffer(struct rig *r) {
    for (uint16_t slot = 1; slot < 4 && prepare(r, 2); slot += 2) {
        const uint32_t id = (id_of(r, 0) + slot) % r->num;
        if (!vq_is_packed(r->layout)) {
            r->q.slots[id].avail_idx = (uint16_t)(r->q.split.used_idx + 1);
        }
        claim(r, id, 0, 2);
        expect_broken_after(r, 0, 3);
    }
}

/* Broken in the middle of a batch: the rest of it is drained. */
static void test_broken_within_a_batch(struct rig *r) {
    struct vq_done done;
    if (vq_is_packed(r->layout) || !prepare(r, 1)) {
        return;
    }
    claim(r, id_of(r, 2), 0, 3);
    assert_int_equal(vq_take_used(&r->q, r->layout, &done, 1), 1);
    r->q.split.used->idx = r->q.split.used_idx; /* a step back, but not behind us: only late */
    assert_int_equal(vq_take_used(&r->q, r->layout, &done, 1), 0);
    assert_false(r->q.broken);
    r->q.split.used->idx = (uint16_t)(r->q.split.used_idx - 1);
    expect_broken_after(r, 0, 2);
}

/* A device that is reset in the middle of a batch. */
static void test_drain_within_a_batch(struct rig *r) {
    for (unsigned max = 0; max < 3 && prepare(r, 1); max++) {
        rig_use_batch(r, 3, 1);
        rig_show(r);
        assert_int_equal(rig_take(r, max), max);
        assert_int_equal(rig_drain(r), 3 - max);
        rig_check(r);
        rig_restart(r);
        rig_add_single(r, 1);
        rig_publish(r);
        assert_int_equal(rig_use_all(r), 1);
        rig_show(r);
        assert_int_equal(rig_take(r, 4), 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        RIG_CASE_UP_TO(test_batches, 256),
        RIG_CASE(test_batch_of_all),
        RIG_CASE_UP_TO(test_batch_in_parts, 256),
        RIG_CASE_UP_TO(test_take_none_of_a_batch, 256),
        RIG_CASE_UP_TO(test_no_free_list, 256),
        RIG_CASE_UP_TO(test_batch_beyond_the_index, 256),
        RIG_CASE_UP_TO(test_unpublished_in_a_batch, 256),
        RIG_CASE_UP_TO(test_buffer_of_the_batch_before, 256),
        RIG_CASE_UP_TO(test_batch_too_long, 256),
        RIG_CASE_UP_TO(test_batch_ends_within_a_buffer, 256),
        RIG_CASE_UP_TO(test_broken_within_a_batch, 256),
        RIG_CASE_UP_TO(test_drain_within_a_batch, 256),
    };
    return cmocka_run_group_tests_name("ring, in order", tests, NULL, NULL);
}
