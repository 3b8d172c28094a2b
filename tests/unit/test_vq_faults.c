/* The ring against a device that breaks the rules, and against wrong calls of our own. */
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
    if (r->layout == VQ_SPLIT) { /* a packed ring without its buffers stands between two slots */
        rig_check(r);
    }
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

/* The packed ring has no index, 16 bits of id, and one id for all descriptors of a buffer. */
static bool is_split_only(enum vq_fault fault) {
    return fault == VQ_FAULT_WIDE_ID || fault == VQ_FAULT_NOT_HEAD ||
           fault == VQ_FAULT_JUMP_FORWARD || fault == VQ_FAULT_JUMP_BACK;
}

static void test_faults(struct rig *r) {
    for (enum vq_fault fault = 0; fault < VQ_FAULT_COUNT; fault++) {
        unsigned done = 0;
        for (unsigned shape = 0; shape < ARRAY_SIZE(shapes); shape++) {
            done += try_fault(r, fault, shape, false);
            done += try_fault(r, fault, shape, true);
        }
        /* A ring of one has no second descriptor and no second buffer. */
        const bool needs_two = fault == VQ_FAULT_NOT_HEAD || fault == VQ_FAULT_ID_TWICE;
        if (r->layout == VQ_PACKED && is_split_only(fault)) {
            assert_int_equal(done, 0);
            continue;
        }
        assert_true(done > 0 || (r->num == 1 && needs_two));
        const bool is_len = fault == VQ_FAULT_LONG_LEN || fault == VQ_FAULT_HUGE_LEN;
        const bool no_len = is_len && r->layout == VQ_PACKED; /* of one shape of buffer */
        const unsigned all = fault == VQ_FAULT_NOT_HEAD ? 6 : no_len ? 8 : 10;
        assert_true(done == all || r->num < 240);
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
    r->dev.layout->place(&r->dev, (uint32_t)id, 0);
    r->dev.layout->place(&r->dev, hidden, 0);
    r->dev.layout->show(&r->dev);
    struct vq_done done[2];
    assert_int_equal(vq_take_used(&r->q, r->layout, done, 2), r->layout == VQ_PACKED);
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
    r->dev.layout->place(&r->dev, hidden, 0);
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
    for (uint32_t i = 0; i < rounds && r->layout == VQ_PACKED; i++) {
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
    if (r->layout == VQ_SPLIT) {
        return;
    }
    rig_add_single(r, 1);
    rig_publish(r);
    const uint16_t id = (uint16_t)rig_fetch(r);
    rig_use(r, id, 1);
    rig_show(r);
    assert_int_equal(rig_take(r, 2), 1);
    r->dev.layout->place(&r->dev, id, 1);
    rig_show(r);
    assert_int_equal(rig_take(r, 2), 0);
    expect_broken(r, 1);
    rig_check(r);
    recover(r);
}

/* Packed: the length of a buffer that the device cannot write means nothing, whatever it is; that
 * of one that it can write counts with WRITE and without: common devices never set the flag. */
static void test_length_without_write(struct rig *r) {
    for (unsigned i = 0; i < 5 && r->layout == VQ_PACKED; i++) {
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
            const int id = unit_below(&r->random, 2) ? rig_fetch(r) : -1;
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

static void add(struct vq *q, uint16_t n_out, uint16_t n_in, uint32_t len, void *token) {
    struct vq_seg segs[5];
    for (unsigned i = 0; i < ARRAY_SIZE(segs); i++) {
        segs[i] = (struct vq_seg){.addr = {0x1000}, .len = len};
    }
    vq_add(q, q->layout, segs, n_out, n_in, token);
}

static void set_up_at(struct vq *q, enum vq_layout layout, uint16_t num, void *ring,
                      struct vq_slot *slots) {
    vq_init(q, &(struct vq_setup){.layout = layout, .num = num, .memory = ring, .slots = slots});
}

static void init(enum vq_layout layout, uint16_t num, unsigned misalign) {
    static _Alignas(64) uint8_t ring[4096];
    static struct vq_slot slots[16];
    struct vq q = {0};
    set_up_at(&q, layout, num, ring + misalign, slots);
}

/* Our own bugs are caught where they happen. */
static void check_wrong_calls(enum vq_layout layout) {
    static _Alignas(64) uint8_t ring[4096];
    static struct vq_slot slots[4];
    static struct vq q;
    static int token;
    set_up_at(&q, layout, 4, ring, slots);
    expect_assert_failure(add(&q, 0, 0, 1, &token));
    expect_assert_failure(add(&q, 3, 2, 1, &token));
    expect_assert_failure(add(&q, 0, 5, 1, &token));
    expect_assert_failure(add(&q, 1, 1, 1, NULL));
    expect_assert_failure(add(&q, 1, 1, 0, &token));
    set_up_at(&q, layout, 4, ring, slots);
    add(&q, 2, 2, 1, &token);
    expect_assert_failure(add(&q, 0, 1, 1, &token));
    expect_assert_failure(init(layout, 0, 0));
    expect_assert_failure(init(layout, VQ_NUM_MAX + 1, 0));
    expect_assert_failure(init(layout, 8, 16));
}

static void test_wrong_calls(void **state) {
    (void)state;
    check_wrong_calls(VQ_SPLIT);
    check_wrong_calls(VQ_PACKED);
    expect_assert_failure(init(VQ_SPLIT, 3, 0));
    expect_assert_failure(init(VQ_SPLIT, 12, 0));
    init(VQ_PACKED, 3, 0);
    init(VQ_PACKED, 12, 0);
}

/* The two counts together do not fit their type. */
static void test_count_overflow(void **state) {
    static _Alignas(64) uint8_t ring[4096];
    static struct vq_slot slots[4];
    static struct vq q;
    static int token;
    (void)state;
    static enum vq_layout layout; /* static: outlives the jump out of a failed assertion */
    for (layout = VQ_SPLIT; layout <= VQ_PACKED_IN_ORDER; layout++) {
        set_up_at(&q, layout, 4, ring, slots);
        expect_assert_failure(add(&q, UINT16_MAX, 2, 1, &token));
    }
}

/* 2.7.5.2: a buffer has less than 2^32 bytes in all. */
static void test_length_overflow(void **state) {
    static _Alignas(64) uint8_t ring[4096];
    static struct vq_slot slots[4];
    static struct vq q;
    static int token;
    (void)state;
    static enum vq_layout layout; /* static: outlives the jump out of a failed assertion */
    for (layout = VQ_SPLIT; layout <= VQ_PACKED_IN_ORDER; layout++) {
        set_up_at(&q, layout, 4, ring, slots);
        add(&q, 0, 1, UINT32_MAX, &token);
        expect_assert_failure(add(&q, 0, 2, UINT32_MAX / 2 + 1, &token));
    }
}

/* Arming a broken ring reports no work: a loop of arm and take would never end. */
static void test_no_work_in_a_broken_ring(void **state) {
    static _Alignas(64) uint8_t ring[4096];
    static struct vq_slot slots[4];
    static struct vq q;
    struct vq_done done;
    int token;
    (void)state;
    set_up_at(&q, VQ_SPLIT, 4, ring, slots);
    add(&q, 0, 1, 1, &token);
    vq_publish(&q, VQ_SPLIT);
    q.split.used->idx = 2; /* one more than was made available */
    assert_true(vq_event_on(&q, VQ_SPLIT));
    assert_int_equal(vq_take_used(&q, VQ_SPLIT, &done, 1), 0);
    assert_true(q.broken);
    assert_false(vq_event_on(&q, VQ_SPLIT));
}

static void test_no_work_in_a_broken_packed_ring(void **state) {
    static _Alignas(64) uint8_t ring[4096];
    static struct vq_slot slots[4];
    static struct vq q;
    struct vq_done done;
    int token;
    (void)state;
    set_up_at(&q, VQ_PACKED, 4, ring, slots);
    add(&q, 0, 1, 1, &token);
    vq_publish(&q, VQ_PACKED);
    q.packed.desc[0].id = 2; /* not outstanding */
    q.packed.desc[0].flags = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED;
    assert_true(vq_event_on(&q, VQ_PACKED));
    assert_int_equal(vq_take_used(&q, VQ_PACKED, &done, 1), 0);
    assert_true(q.broken);
    assert_false(vq_event_on(&q, VQ_PACKED));
}

/* vq_check() sees the damage that it promises to see. */
static void test_check_sees_damage(void **state) {
    static _Alignas(64) uint8_t ring[4096];
    static struct vq_slot slots[4];
    struct vq q = {0};
    int token;
    (void)state;
    set_up_at(&q, VQ_SPLIT, 4, ring, slots);
    add(&q, 1, 1, 1, &token);
    const struct vq good = q;
    vq_check(&q);
    q.free_count++;
    expect_assert_failure(vq_check(&q));
    q = good;
    q.split.used_idx++; /* ahead of what was published */
    expect_assert_failure(vq_check(&q));
    q = good;
    q.split.avail_idx = (uint16_t)(q.split.used_idx + 5);
    expect_assert_failure(vq_check(&q));
    q = good;
    slots[q.free_slot].next = 4; /* beyond the ring */
    expect_assert_failure(vq_check(&q));
    slots[q.free_slot].next = 0; /* an outstanding buffer */
    expect_assert_failure(vq_check(&q));
}

static void test_check_sees_packed_damage(void **state) {
    static _Alignas(64) uint8_t ring[4096];
    static struct vq_slot slots[4];
    struct vq q = {0};
    int token;
    (void)state;
    set_up_at(&q, VQ_PACKED, 4, ring, slots);
    add(&q, 1, 1, 1, &token);
    const struct vq good = q;
    vq_check(&q);
    q.free_count++;
    expect_assert_failure(vq_check(&q));
    q = good;
    q.packed.used_slot++;
    expect_assert_failure(vq_check(&q));
    q = good;
    q.packed.avail_slot = 6; /* two ahead, and beyond the ring */
    expect_assert_failure(vq_check(&q));
    q = good;
    q.packed.added_count = 3; /* more than is outstanding */
    expect_assert_failure(vq_check(&q));
    q = good;
    slots[1].next = 4; /* beyond the ring */
    expect_assert_failure(vq_check(&q));
    slots[1].next = 0; /* an outstanding buffer */
    expect_assert_failure(vq_check(&q));
    slots[1].next = 1;
    expect_assert_failure(vq_check(&q));
}

/* A free list that holds a descriptor twice, or one of an outstanding buffer. */
static void test_check_sees_doubled_descriptors(void **state) {
    static _Alignas(64) uint8_t ring[4096];
    static struct vq_slot slots[4];
    static struct vq q;
    int token;
    (void)state;
    set_up_at(&q, VQ_SPLIT, 4, ring, slots);
    add(&q, 1, 1, 1, &token);
    slots[q.free_slot].next = q.free_slot;
    expect_assert_failure(vq_check(&q));
    slots[q.free_slot].next = 1; /* not the first one of its buffer */
    expect_assert_failure(vq_check(&q));
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
        cmocka_unit_test(test_wrong_calls),
        cmocka_unit_test(test_count_overflow),
        cmocka_unit_test(test_length_overflow),
        cmocka_unit_test(test_no_work_in_a_broken_ring),
        cmocka_unit_test(test_no_work_in_a_broken_packed_ring),
        cmocka_unit_test(test_check_sees_damage),
        cmocka_unit_test(test_check_sees_packed_damage),
        cmocka_unit_test(test_check_sees_doubled_descriptors),
    };
    return cmocka_run_group_tests_name("ring faults", tests, NULL, NULL);
}
