/* VIRTIO_F_INDIRECT_DESC: which buffers go into a table, what the tables are like. The model checks
 * the rules of 2.7.5.3.1 and 2.8.19 on the way. */
#include "tests/unit/vq_rig.h"

#include <string.h>

/* By hand: 1 or 2 segments are a chain, 3 to 64 a table if there are tables, more a chain again. */
static uint16_t slots_by_hand(const struct rig *r, unsigned n) {
    return r->indirect && n <= r->num && n >= 3 && n <= 64 ? 1 : (uint16_t)n;
}

static void test_slots_needed(struct rig *r) {
    for (unsigned n = 1; n <= RIG_CHAIN_MAX; n++) {
        assert_int_equal(vq_slots_needed(&r->q, n), slots_by_hand(r, n));
        assert_true(n <= r->num || vq_slots_needed(&r->q, n) > r->num); /* can never be added */
    }
    assert_int_equal(vq_slots_needed(&r->q, UINT16_MAX), UINT16_MAX);
}

/* Each length, in each division between what the device reads and writes: it finds the very
 * segments, in a table exactly when that is said, and all descriptors come back. */
static void test_every_shape(struct rig *r) {
    struct vq_device_buffer b;
    for (uint16_t n = 1; n <= RIG_CHAIN_MAX && rig_fits(r, n); n++) {
        for (uint16_t n_out = 0; n_out <= n; n_out = (uint16_t)(n_out + 1 + n / 21)) {
            rig_add(r, n_out, (uint16_t)(n - n_out));
            assert_int_equal(r->q.free_count, r->num - slots_by_hand(r, n));
            rig_publish(r);
            const int id = rig_fetch(r); /* compares lengths and bytes */
            b = r->dev.buffers[id];
            assert_int_equal(b.table != NULL, r->indirect && n > 2 && n <= 64);
            assert_int_equal(b.n_desc, slots_by_hand(r, n));
            assert_int_equal(b.n_out + b.n_in, n);
            rig_use(r, (uint16_t)id, rig_in_len(r, (uint16_t)id));
            rig_show(r);
            assert_int_equal(rig_take(r, 2), 1);
            assert_int_equal(r->q.free_count, r->num);
        }
    }
}

/* The raw bytes of a table and of the descriptor that points to it. */
static void test_bytes_of_a_table(struct rig *r) {
    if (!r->indirect || r->num < 3) {
        return;
    }
    memset(r->tables, 0xa5, vq_indirect_size(r->num));
    rig_add(r, 1, 2);
    rig_publish(r);
    const struct vq_device_buffer *b = &r->dev.buffers[rig_fetch(r)];
    const bool packed = vq_is_packed(r->layout);
    const struct pvirtq_desc *outer_packed = (struct pvirtq_desc *)r->dev.setup.desc + b->first;
    const struct virtq_desc *outer_split = (struct virtq_desc *)r->dev.setup.desc + b->first;
    assert_int_equal(packed ? outer_packed->len : outer_split->len, 3 * 16);
    assert_int_equal(packed ? outer_packed->flags & 7 : outer_split->flags, VIRTQ_DESC_F_INDIRECT);
    for (uint16_t i = 0; i < 3; i++) {
        if (packed) {
            const struct pvirtq_desc *desc = (struct pvirtq_desc *)b->table + i;
            assert_int_equal(desc->flags, i == 0 ? 0 : VIRTQ_DESC_F_WRITE);
            assert_int_equal(desc->id, 0); /* reserved, 2.8.7 */
        } else {
            const struct virtq_desc *desc = (struct virtq_desc *)b->table + i;
            assert_int_equal(desc->flags, (i == 0 ? 0 : VIRTQ_DESC_F_WRITE) |
                                              (i == 2 ? 0 : VIRTQ_DESC_F_NEXT));
            assert_int_equal(desc->next, i == 2 ? 0 : i + 1);
        }
    }
    rig_use(r, b->id, 0);
    rig_show(r);
    assert_int_equal(rig_take(r, 1), 1);
}

/* A ring full of tables, each of its own: as many buffers as descriptors, several times round. */
static void test_ring_full_of_tables(struct rig *r) {
    for (unsigned round = 0; round < 3 && rig_fits(r, 3) && r->indirect; round++) {
        const uint16_t n_in = r->num < 4 ? 3 : 4;
        for (uint32_t i = 0; i < r->num; i++) {
            rig_add(r, 0, n_in);
        }
        assert_int_equal(r->q.free_count, 0);
        rig_publish(r);
        assert_int_equal(rig_use_all(r), r->num);
        rig_show(r);
        rig_check(r);
        assert_int_equal(rig_take(r, r->num), r->num);
        assert_int_equal(r->q.free_count, r->num);
    }
}

/* Tables and chains side by side, so that ids of the one are used again by the other. */
static void test_tables_among_chains(struct rig *r) {
    for (unsigned round = 0; round < 50; round++) {
        uint32_t count = 0;
        uint32_t n = 1 + round % 5;
        for (; rig_fits(r, n) && count < 30; count++) {
            rig_add(r, (uint16_t)(n / 2), (uint16_t)(n - n / 2));
            n = 1 + (n * 3 + count) % 5;
        }
        rig_publish(r);
        assert_int_equal(rig_use_all(r), count);
        rig_show(r);
        assert_int_equal(rig_take(r, r->num), count);
        assert_int_equal(r->q.free_count, r->num);
        rig_check(r);
    }
}

/* One table of descriptors for each id, none beyond the memory for them. */
static void test_size_of_tables(void **state) {
    (void)state;
    assert_int_equal(vq_indirect_size(1), 64 * 16 + 64);
    assert_int_equal(vq_indirect_size(256), 272 << 10);
    assert_int_equal(vq_indirect_size(VQ_NUM_MAX), 34 << 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_size_of_tables),
        RIG_CASE(test_slots_needed),
        RIG_CASE_UP_TO(test_every_shape, 256),
        RIG_CASE_UP_TO(test_bytes_of_a_table, 256),
        RIG_CASE(test_ring_full_of_tables),
        RIG_CASE_UP_TO(test_tables_among_chains, 256),
    };
    return cmocka_run_group_tests_name("ring, indirect", tests, NULL, NULL);
}
