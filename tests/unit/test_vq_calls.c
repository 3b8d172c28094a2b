/* The ring against wrong calls of our own, and vq_check() against damage. Rings of four. */
#include "tests/unit/vq_rig.h"

enum { NUM = 4, SEGS_MAX = 6 };

/* Static: all of it outlives the jump out of a failed assertion. */
static _Alignas(64) uint8_t ring[4096], tables[16 * 256 + 64];
static struct vq_slot slots[16];
static struct vq q;
static int tokens[NUM];
static enum vq_layout layout;

#define FOR_LAYOUTS for (layout = VQ_SPLIT; layout <= VQ_PACKED_IN_ORDER; layout++)

static void init(uint16_t num, void *memory, void *indirect, uint64_t indirect_addr) {
    q = (struct vq){0};
    vq_init(&q, &(struct vq_setup){
                    .layout = layout,
                    .num = num,
                    .memory = memory,
                    .slots = slots,
                    .indirect = indirect,
                    .indirect_addr = {indirect_addr},
                });
}

static void set_up(bool indirect) {
    init(NUM, ring, indirect ? tables : NULL, indirect ? (uintptr_t)tables : 0);
}

static void add(uint16_t n_out, uint16_t n_in, uint32_t len, void *token) {
    struct vq_seg segs[SEGS_MAX];
    for (unsigned i = 0; i < SEGS_MAX; i++) {
        segs[i] = (struct vq_seg){.addr = {0x1000}, .len = len};
    }
    vq_add(&q, layout, segs, n_out, n_in, token);
}

/* Our own bugs are caught where they happen. */
static void test_wrong_adds(void **state) {
    static int indirect;
    (void)state;
    FOR_LAYOUTS {
        for (indirect = 0; indirect < 2; indirect++) {
            set_up(indirect);
            expect_assert_failure(add(0, 0, 1, tokens));
            expect_assert_failure(add(3, 2, 1, tokens)); /* with tables: 2.7.5.3.1, 2.8.17 */
            expect_assert_failure(add(0, 5, 1, tokens));
            expect_assert_failure(add(1, 1, 1, NULL));
            expect_assert_failure(add(1, 1, 0, tokens));
            set_up(indirect);
            expect_assert_failure(add(2, 2, 0, tokens));
            set_up(indirect);
            add(1, 1, 1, &tokens[0]);
            add(1, 1, 1, &tokens[1]);
            expect_assert_failure(add(0, 1, 1, &tokens[2]));
            expect_assert_failure(add(2, 2, 1, &tokens[2]));
        }
    }
}

static void test_wrong_layout(void **state) {
    static unsigned other;
    struct vq_done done;
    (void)state;
    FOR_LAYOUTS {
        for (other = VQ_SPLIT; other <= VQ_PACKED_IN_ORDER; other++) {
            set_up(false);
            q.layout = (enum vq_layout)other;
            if (q.layout != layout) {
                expect_assert_failure(add(0, 1, 1, tokens));
                expect_assert_failure(vq_take_used(&q, layout, &done, 1));
            }
        }
    }
}

static void test_wrong_set_up(void **state) {
    (void)state;
    FOR_LAYOUTS {
        expect_assert_failure(init(0, ring, NULL, 0));
        expect_assert_failure(init(VQ_NUM_MAX + 1, ring, NULL, 0));
        expect_assert_failure(init(8, ring + 16, NULL, 0));
        expect_assert_failure(init(8, ring, tables + 16, 0x1000));
        expect_assert_failure(init(8, ring, tables, 0)); /* where does the device see it? */
        expect_assert_failure(init(8, ring, NULL, 0x1000));
        if (vq_is_packed(layout)) {
            init(3, ring, NULL, 0);
            init(12, ring, tables, 0x1000);
        } else {
            expect_assert_failure(init(3, ring, NULL, 0));
            expect_assert_failure(init(12, ring, NULL, 0));
        }
    }
}

/* The two counts together do not fit their type. */
static void test_count_overflow(void **state) {
    (void)state;
    FOR_LAYOUTS {
        set_up(false);
        expect_assert_failure(add(UINT16_MAX, 2, 1, tokens));
        expect_assert_failure(vq_slots_needed(&q, UINT16_MAX + 2));
    }
}

/* 2.7.5.2: a buffer has less than 2^32 bytes in all. */
static void test_length_overflow(void **state) {
    (void)state;
    FOR_LAYOUTS {
        set_up(layout % 2);
        add(0, 1, UINT32_MAX, tokens);
        expect_assert_failure(add(0, 2, UINT32_MAX / 2 + 1, tokens));
        expect_assert_failure(add(1, 2, UINT32_MAX / 3 + 1, tokens));
    }
}

/* The counts of the empty ring, of a full one, and of one with something that is not published. */
static void test_pending_count(void **state) {
    (void)state;
    FOR_LAYOUTS {
        const uint16_t chain = vq_is_packed(layout) ? 2 : 1; /* descriptors, or buffers */
        set_up(false);
        assert_int_equal(vq_pending_count(&q, layout), 0);
        add(1, 1, 1, &tokens[0]);
        assert_int_equal(vq_pending_count(&q, layout), 0);
        vq_publish(&q, layout);
        assert_int_equal(vq_pending_count(&q, layout), chain);
        add(1, 1, 1, &tokens[1]);
        assert_int_equal(vq_pending_count(&q, layout), chain);
        vq_publish(&q, layout);
        assert_int_equal(vq_pending_count(&q, layout), 2 * chain);
    }
}

/* Arming a broken ring reports no work: a loop of arm and take would never end. */
static void test_no_work_in_a_broken_ring(void **state) {
    struct vq_done done;
    (void)state;
    FOR_LAYOUTS {
        set_up(false);
        add(0, 1, 1, tokens);
        vq_publish(&q, layout);
        if (vq_is_packed(layout)) {
            q.packed.desc[0].id = 2; /* not outstanding */
            q.packed.desc[0].flags = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED;
        } else {
            q.split.used->idx = 2; /* one more than was made available */
        }
        assert_true(vq_event_on(&q, layout));
        assert_int_equal(vq_take_used(&q, layout, &done, 1), 0);
        assert_true(q.broken);
        assert_false(vq_event_on(&q, layout));
        assert_false(vq_event_on_after(&q, layout, 3));
    }
}

/* --- damage ----------------------------------------------------------------------------------- */

static struct vq good;

/* A ring with one chain of two, in which vq_check() finds nothing. */
static void set_up_good(void) {
    set_up(false);
    add(1, 1, 1, tokens);
    good = q;
    vq_check(&q);
}

static void expect_damage(void) {
    expect_assert_failure(vq_check(&q));
    q = good;
}

/* vq_check() sees the damage that it promises to see. */
static void test_check_sees_damage(void **state) {
    (void)state;
    FOR_LAYOUTS {
        set_up_good();
        q.free_count++;
        expect_damage();
        q.free_count = NUM + 1;
        expect_damage();
        slots[0].n_desc = 1;
        expect_damage();
        set_up_good();
        slots[2].token = tokens; /* outstanding, without a descriptor */
        slots[2].n_desc = 0;
        expect_damage();
    }
}

static void test_check_sees_split_damage(void **state) {
    (void)state;
    for (layout = VQ_SPLIT; layout <= VQ_SPLIT_IN_ORDER; layout++) {
        set_up_good();
        q.split.used_idx++; /* ahead of what was published */
        expect_damage();
        q.split.avail_idx = (uint16_t)(q.split.used_idx + 5);
        expect_damage();
    }
}

static void test_check_sees_packed_damage(void **state) {
    (void)state;
    for (layout = VQ_PACKED; layout <= VQ_PACKED_IN_ORDER; layout++) {
        set_up_good();
        q.packed.used_slot++;
        expect_damage();
        q.packed.avail_slot = 6; /* two ahead, and beyond the ring */
        expect_damage();
        q.packed.added_count = 3; /* more than is outstanding */
        expect_damage();
        q.packed.used_flags ^= VQ_PACKED_WRAP; /* of another lap */
        expect_damage();
    }
}

static void test_check_sees_damage_in_order(void **state) {
    (void)state;
    for (layout = VQ_SPLIT_IN_ORDER; layout <= VQ_PACKED_IN_ORDER; layout += 2) {
        set_up_good();
        q.batch.left = 1; /* nothing is published */
        expect_damage();
        slots[2] = slots[0]; /* not where the last one ends */
        slots[0].token = NULL;
        expect_damage();
    }
    layout = VQ_SPLIT_IN_ORDER;
    set_up_good();
    q.free_slot = 3;
    expect_damage();
    q.split.used_slot = 1;
    expect_damage();
    slots[0].avail_idx++;
    expect_damage();
}

/* A free list that leads out of the ring, into an outstanding buffer or into itself. */
static void test_check_sees_damaged_lists(void **state) {
    (void)state;
    for (layout = VQ_SPLIT; layout <= VQ_PACKED; layout += 2) {
        set_up_good();
        slots[q.free_slot].next = NUM;
        expect_damage();
        slots[q.free_slot].next = 0;
        expect_damage();
        slots[q.free_slot].next = q.free_slot;
        expect_damage();
    }
    layout = VQ_SPLIT;
    set_up_good();
    slots[q.free_slot].next = 1; /* not the first one of its buffer */
    expect_damage();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_adds),
        cmocka_unit_test(test_wrong_layout),
        cmocka_unit_test(test_wrong_set_up),
        cmocka_unit_test(test_count_overflow),
        cmocka_unit_test(test_length_overflow),
        cmocka_unit_test(test_pending_count),
        cmocka_unit_test(test_no_work_in_a_broken_ring),
        cmocka_unit_test(test_check_sees_damage),
        cmocka_unit_test(test_check_sees_split_damage),
        cmocka_unit_test(test_check_sees_packed_damage),
        cmocka_unit_test(test_check_sees_damage_in_order),
        cmocka_unit_test(test_check_sees_damaged_lists),
    };
    return cmocka_run_group_tests_name("ring calls", tests, NULL, NULL);
}
