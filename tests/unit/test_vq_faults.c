/* The ring against a device that breaks the rules. */
#include "tests/unit/vq_rig.h"

#include <string.h>

/* A shape of buffer for every way to lie about one. */
static const struct { uint16_t n_out, n_in; } shapes[] = {{0, 1}, {1, 0}, {0, 2}, {1, 1}, {2, 2}};

enum { FETCHED_MAX = 10 };

/* A ring with traffic behind it and some buffers that the device has fetched. Returns how many. */
static unsigned prepare(struct rig *r, unsigned shape, uint16_t *ids) {
    const uint32_t n_desc = shapes[shape].n_out + shapes[shape].n_in;
    unsigned count = 0;
    rig_add_single(r, 1);
    rig_publish(r);
    rig_use_all(r);
    rig_show(r);
    assert_int_equal(rig_take(r, 1), 1);
    for (unsigned i = 0; i < FETCHED_MAX && r->q.free_count >= n_desc; i++) {
        rig_add(r, shapes[shape].n_out, shapes[shape].n_in);
    }
    rig_publish(r);
    for (int id; (id = rig_fetch(r)) >= 0;) {
        ids[count++] = (uint16_t)id;
    }
    return count;
}

/* Everything comes back exactly once, and after a reset the ring is as good as new. */
static void recover(struct rig *r) {
    const uint64_t errors = r->q.device_errors;
    rig_drain(r);
    assert_int_equal(r->n_desc, 0);
    assert_int_equal(r->q.free_count, r->num);
    rig_check(r);
    rig_restart(r);
    assert_false(r->q.broken);
    assert_int_equal(r->q.device_errors, errors);
    const uint32_t count = r->num <= 256 ? r->num : 300;
    rig_add_single(r, count);
    rig_publish(r);
    assert_int_equal(rig_use_all(r), count);
    rig_show(r);
    assert_int_equal(rig_take(r, r->num), count);
}

static void expect_broken(struct rig *r, uint64_t errors) {
    assert_true(r->q.broken);
    assert_int_equal(r->q.device_errors, errors);
}

/* The fault behind a buffer that is used as it should be: in a batch of its own, or in the same
 * one. Returns false when the ring is too small for it. */
static bool try_fault(struct rig *r, enum vq_fault fault, unsigned shape, bool same_batch) {
    const bool wrong_index = fault == VQ_FAULT_JUMP_FORWARD || fault == VQ_FAULT_JUMP_BACK;
    const uint64_t errors = r->q.device_errors;
    uint16_t ids[FETCHED_MAX];
    const unsigned count = prepare(r, shape, ids);
    if (count > 1) {
        rig_use(r, ids[0], rig_in_len(r, ids[0]));
        if (!same_batch) {
            rig_show(r);
            assert_int_equal(rig_take(r, r->num), 1);
        }
    }
    if (count == 0 || (same_batch && count == 1) || !vq_device_fault(&r->dev, fault)) {
        recover(r);
        return false;
    }
    r->unshown = 0;
    assert_int_equal(rig_take(r, r->num), same_batch && !wrong_index ? 1 : 0);
    expect_broken(r, errors + 1);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(rig_take(r, r->num), 0);
        expect_broken(r, errors + 1);
    }
    rig_check(r);
    recover(r);
    return true;
}

/* How many of the ten tries can be made in a large ring. The packed ring has no index, 16 bits of
 * id, and one id for all descriptors of a buffer; a length has a meaning in four of the five
 * shapes. */
static unsigned expected_tries(const struct rig *r, enum vq_fault fault) {
    const bool packed = vq_is_packed(r->layout);
    switch (fault) {
    case VQ_FAULT_WIDE_ID:
    case VQ_FAULT_JUMP_FORWARD:
    case VQ_FAULT_JUMP_BACK:
        return packed ? 0 : 10;
    case VQ_FAULT_LONG_BATCH:
        return r->layout == VQ_SPLIT_IN_ORDER ? 10 : 0;
    case VQ_FAULT_NOT_HEAD: /* of a chain; four segments are a table if that is possible */
        return packed ? 0 : r->indirect ? 4 : 6;
    case VQ_FAULT_LONG_LEN:
    case VQ_FAULT_HUGE_LEN:
        return packed ? 8 : 10;
    default:
        return 10;
    }
}

static void test_faults(struct rig *r) {
    for (enum vq_fault fault = 0; fault < VQ_FAULT_COUNT; fault++) {
        const unsigned tries = expected_tries(r, fault);
        unsigned done = 0;
        for (unsigned shape = 0; shape < ARRAY_SIZE(shapes); shape++) {
            done += try_fault(r, fault, shape, false);
            done += try_fault(r, fault, shape, true);
        }
        assert_true(done <= tries);
        if (r->num >= 240) {
            assert_int_equal(done, tries);
        } else if (r->num > 2) { /* smaller ones lack a second id, buffer or descriptor */
            assert_true(done > 0 || tries == 0);
        }
    }
}

/* The id that the driver gave to a buffer. */
static uint16_t id_of(const struct rig *r, const struct rig_buffer *b) {
    uint16_t id = 0;
    while (r->q.slots[id].token != b) {
        id++;
        assert_true(id < r->num);
    }
    return id;
}

/* A buffer that was added but not published cannot be used yet: an index that covers it is a jump,
 * even though its id is right. */
static void test_index_covers_unpublished(struct rig *r) {
    if (r->num < 2) {
        return;
    }
    rig_add_single(r, 1);
    rig_publish(r);
    const int id = rig_fetch(r);
    const uint16_t hidden = id_of(r, rig_add(r, 0, 1));
    vq_device_place(&r->dev, (uint32_t)id, 0);
    vq_device_place(&r->dev, hidden, 0);
    r->dev.layout->show(&r->dev);
    struct vq_done done[2];
    assert_int_equal(vq_take_used(&r->q, r->layout, done, 2), vq_is_packed(r->layout));
    expect_broken(r, 1);
    vq_check(&r->q);
    uint32_t cursor = 0;
    while (vq_drain(&r->q, &cursor) != NULL) {
    }
    assert_int_equal(r->q.free_count, r->num);
    r->n_desc = 0;
    rig_restart(r);
}

/* The same with an index that is right: the device guessed an id. It may be believed (the caller
 * gets its own buffer back, early) or not, but nothing is lost, doubled or corrupted. */
static void test_guessed_id(struct rig *r) {
    if (r->num < 2) {
        return;
    }
    rig_add_single(r, 1);
    rig_publish(r);
    rig_fetch(r);
    const uint16_t hidden = id_of(r, rig_add(r, 0, 1));
    vq_device_place(&r->dev, hidden, 0);
    r->dev.layout->show(&r->dev);
    struct vq_done done[2];
    const unsigned count = vq_take_used(&r->q, r->layout, done, 2);
    assert_int_equal(count + r->q.broken, 1);
    vq_check(&r->q);
    uint32_t cursor = 0;
    unsigned back = count;
    while (vq_drain(&r->q, &cursor) != NULL) {
        back++;
    }
    assert_int_equal(back, 2);
    assert_int_equal(r->q.free_count, r->num);
    r->n_desc = 0;
    rig_restart(r);
}

static void set_owner_flags(struct rig *r, uint16_t flags) {
    uint16_t *at = &r->q.packed.desc[r->q.packed.used_slot].flags;
    *at = (uint16_t)((*at & ~(VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED)) | flags);
}

/* Packed: of the four values of AVAIL and USED only one means used, and it changes with each lap;
 * with any other the driver waits, and says that there is no work. 2.8.1 */
static void test_wrong_wrap(struct rig *r) {
    static const uint16_t all[] = {0, VIRTQ_DESC_F_AVAIL, VIRTQ_DESC_F_USED,
                                   VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED};
    const uint32_t rounds = r->num < 300 ? 2u * r->num + 1 : 40;
    for (uint32_t i = 0; i < rounds && vq_is_packed(r->layout); i++) {
        const uint16_t right = (r->start + i) / r->num % 2 == 0 ? all[3] : 0;
        rig_add_single(r, 1);
        rig_publish(r);
        rig_use_all(r);
        for (unsigned k = 0; k < ARRAY_SIZE(all); k++) {
            set_owner_flags(r, all[k]);
            assert_int_equal(vq_event_on(&r->q, r->layout), all[k] == right);
            assert_true(all[k] == right || rig_take(r, 1) == 0);
        }
        rig_show(r);
        assert_int_equal(rig_take(r, 2), 1);
        assert_false(r->q.broken);
    }
}

/* Packed: a descriptor that is marked as used although nothing is outstanding, with the id of the
 * buffer before: no token comes twice, and the ring is broken. */
static void test_used_without_a_buffer(struct rig *r) {
    if (!vq_is_packed(r->layout)) {
        return;
    }
    rig_add_single(r, 1);
    rig_publish(r);
    const uint16_t id = (uint16_t)rig_fetch(r);
    rig_use(r, id, 1);
    rig_show(r);
    assert_int_equal(rig_take(r, 2), 1);
    vq_device_place(&r->dev, id, 1);
    rig_show(r);
    assert_int_equal(rig_take(r, 2), 0);
    expect_broken(r, 1);
    rig_check(r);
    recover(r);
}

/* Packed: the length of a buffer that the device cannot write means nothing, whatever it is; that
 * of one that it can write counts with WRITE and without: common devices never set the flag. */
static void test_length_without_write(struct rig *r) {
    for (unsigned i = 0; i < 5 && vq_is_packed(r->layout); i++) {
        struct pvirtq_desc *used = &r->q.packed.desc[r->q.packed.used_slot];
        rig_add(r, 1, 0);
        rig_publish(r);
        rig_use(r, (uint16_t)rig_fetch(r), 0);
        used->len = i % 2 ? UINT32_MAX : 1;
        rig_show(r);
        assert_int_equal(rig_take(r, 1), 1); /* compares the length with 0 */
        used = &r->q.packed.desc[r->q.packed.used_slot];
        rig_add(r, 0, 1);
        rig_publish(r);
        rig_use(r, (uint16_t)rig_fetch(r), 1);
        rig_show(r);
        used->flags = (uint16_t)((used->flags & ~VIRTQ_DESC_F_WRITE) |
                                 (i % 2 ? VIRTQ_DESC_F_WRITE : 0));
        assert_int_equal(rig_take(r, 1), 1); /* ... with 1 */
    }
}

/* What the driver shares it does not trust: a device that overwrites the descriptor table, the
 * available entries and used elements not shown yet changes nothing for us. */
static void test_scribbling(struct rig *r) {
    static const uint8_t bytes[] = {0x00, 0xff, 0xa5, 0x01};
    const uint16_t n_in = r->num < 3 ? 1 : 3;
    for (unsigned i = 0; i < 8; i++) {
        const uint32_t count = r->num / n_in < 50 ? r->num / n_in : 50;
        for (uint32_t k = 0; k < count; k++) {
            rig_add(r, 0, n_in);
        }
        rig_publish(r);
        for (uint32_t k = 0; k < count; k++) {
            const uint16_t id = (uint16_t)rig_fetch(r);
            vq_device_scribble(&r->dev, bytes[i % ARRAY_SIZE(bytes)]);
            rig_use(r, id, rig_in_len(r, id) - 1);
            assert_int_equal(rig_take(r, 1), 0); /* an element, but not shown */
        }
        rig_show(r);
        vq_device_scribble(&r->dev, bytes[i % ARRAY_SIZE(bytes)]);
        assert_int_equal(rig_take(r, count), count);
        assert_false(r->q.broken);
    }
}

/* The device forgets to ask and sleeps: its own fault; nothing breaks, and when it looks again
 * everything is there. */
static void test_stale_suppression(struct rig *r) {
    vq_device_want_notify(&r->dev, false);
    rig_add_single(r, r->num);
    rig_publish(r);
    assert_false(rig_notify_needed(r));
    assert_int_equal(rig_take(r, 1), 0);
    assert_false(r->q.broken);
    assert_int_equal(rig_use_all(r), r->num);
    rig_show(r);
    assert_int_equal(rig_take(r, r->num), r->num);
}

/* From any state, buffers at every stage of their life: each token once. */
static void test_drain(struct rig *r) {
    for (unsigned round = 0; round < 20; round++) {
        uint32_t used = 0;
        uint32_t added = 0;
        for (unsigned i = 0; i < 40 && r->q.free_count > 0; i++, added++) {
            const uint32_t n = 1 + unit_below(&r->random, r->q.free_count < 4 ? 1 : 4);
            rig_add(r, (uint16_t)(n / 2), (uint16_t)(n - n / 2));
            if (unit_below(&r->random, 3) == 0) {
                rig_publish(r);
            }
            int id = unit_below(&r->random, 2) ? rig_fetch(r) : -1;
            if (id >= 0 && vq_is_in_order(r->layout)) {
                id = r->fetched.item[r->fetched.head]->id;
            }
            if (id >= 0 && unit_below(&r->random, 2)) {
                rig_use(r, (uint16_t)id, 0);
                rig_show(r);
                used += unit_below(&r->random, 2) ? rig_take(r, 1) : 0;
            }
        }
        assert_int_equal(rig_drain(r), added - used);
        recover(r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        RIG_CASE(test_faults),
        RIG_CASE(test_index_covers_unpublished),
        RIG_CASE(test_guessed_id),
        RIG_CASE(test_wrong_wrap),
        RIG_CASE(test_used_without_a_buffer),
        RIG_CASE(test_length_without_write),
        RIG_CASE(test_scribbling),
        RIG_CASE(test_stale_suppression),
        RIG_CASE(test_drain),
    };
    return cmocka_run_group_tests_name("ring faults", tests, NULL, NULL);
}
