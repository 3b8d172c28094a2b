/* Order and number of the accesses to ring memory. On x86 a wrong order hides from almost every
 * run, so these cases look at the calls of lib/ring_mem.h themselves. While a call of the ring
 * interface runs, ring memory is poisoned for everything but those. */
#include "tests/unit/unit.h"

#include "drivers/vq.h"

#include <sanitizer/asan_interface.h>
#include <string.h>

enum { NUM = 4, BASE = 0x100000 };

static _Alignas(VQ_AREA_ALIGN) uint8_t ring[1024];
static struct vq_slot slots[NUM];
static struct vq q;
static int tokens[NUM];

static void begin(void) {
    ring_log_count = 0;
    __asan_poison_memory_region(ring, sizeof(ring));
}

static void end(void) {
    __asan_unpoison_memory_region(ring, sizeof(ring));
    ring_after_load = NULL;
}

/* Ring memory through one call, in the two ways to negotiate. */
#define TRACED(call) (begin(), (call), end())

static void set_up_layout(enum vq_layout layout, bool event_idx) {
    assert_true(vq_areas(layout, NUM).size <= sizeof(ring));
    q = (struct vq){0};
    end();
    vq_init(&q, &(struct vq_setup){
                    .layout = layout,
                    .num = NUM,
                    .event_idx = event_idx,
                    .memory = ring,
                    .slots = slots,
                });
}

static void set_up(bool event_idx) {
    set_up_layout(VQ_SPLIT, event_idx);
}

static void set_up_packed(bool event_idx) {
    set_up_layout(VQ_PACKED, event_idx);
}

static void add(unsigned which, uint16_t n_out, uint16_t n_in) {
    struct vq_seg segs[NUM];
    for (unsigned i = 0; i < NUM; i++) {
        segs[i] = (struct vq_seg){.addr = {BASE + 0x100 * which + i}, .len = 8};
    }
    vq_add(&q, q.layout, segs, n_out, n_in, &tokens[which]);
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

static bool within(const void *at, const void *area, size_t size) {
    return (const uint8_t *)at >= (const uint8_t *)area &&
           (const uint8_t *)at < (const uint8_t *)area + size;
}

static void expect_access(unsigned i, enum ring_access_kind kind, const void *at) {
    assert_true(i < ring_log_count);
    assert_int_equal(ring_log[i].kind, kind);
    assert_ptr_equal(ring_log[i].at, at);
}

/* Plain stores to descriptors and one entry, each field once; nothing that the device looks at. */
static void test_add_stores_only(void **state) {
    (void)state;
    set_up(false);
    TRACED(add(0, 1, 2));
    assert_int_equal(ring_log_count, 3 * 4 + 1);
    for (unsigned i = 0; i < ring_log_count; i++) {
        assert_int_equal(ring_log[i].kind, RING_STORE);
        assert_true(within(ring_log[i].at, q.split.desc, NUM * sizeof(struct virtq_desc)) ||
                    ring_log[i].at == &q.split.avail->ring[0]);
        for (unsigned k = 0; k < i; k++) {
            assert_ptr_not_equal(ring_log[k].at, ring_log[i].at);
        }
    }
}

/* One release store, and no other access. 2.7.13.3.1 */
static void test_publish_is_one_release(void **state) {
    (void)state;
    set_up(false);
    add(0, 1, 0);
    add(1, 0, 1);
    TRACED(vq_publish(&q, VQ_SPLIT));
    assert_int_equal(ring_log_count, 1);
    expect_access(0, RING_STORE_RELEASE, &q.split.avail->idx);
    assert_int_equal(ring_log[0].value, 2);
}

/* The fence stands between the index and the look at what the device asks for. 2.7.13.4.1 */
static void test_notify_fences_before_it_looks(void **state) {
    (void)state;
    for (int event_idx = 0; event_idx < 2; event_idx++) {
        bool needed;
        set_up(event_idx);
        TRACED(needed = vq_notify_needed(&q, VQ_SPLIT)); /* nothing new: nothing to look at */
        assert_false(needed);
        assert_int_equal(ring_log_count, 0);
        add(0, 1, 0);
        TRACED((vq_publish(&q, VQ_SPLIT), needed = vq_notify_needed(&q, VQ_SPLIT)));
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
    set_up(false);
    TRACED(count = vq_take_used(&q, VQ_SPLIT, done, NUM));
    assert_int_equal(count, 0);
    assert_int_equal(ring_log_count, 1);
    expect_access(0, RING_LOAD_ACQUIRE, &q.split.used->idx);
    add(0, 0, 2);
    add(1, 0, 1);
    vq_publish(&q, VQ_SPLIT);
    use(2, 5);
    TRACED(count = vq_take_used(&q, VQ_SPLIT, done, NUM));
    assert_int_equal(count, 2);
    assert_int_equal(ring_log_count, 5);
    expect_access(0, RING_LOAD_ACQUIRE, &q.split.used->idx);
    for (unsigned i = 0; i < 2; i++) {
        expect_access(1 + 2 * i, RING_LOAD, &q.split.used->ring[i].id);
        expect_access(2 + 2 * i, RING_LOAD, &q.split.used->ring[i].len);
    }
}

static void spoil(void *at, unsigned bits) {
    __asan_unpoison_memory_region(ring, sizeof(ring));
    memset(at, 0xff, bits / 8);
    __asan_poison_memory_region(ring, sizeof(ring));
}

/* The device changes each word as soon as it was read: what was checked is what is used. */
static void test_changes_behind_our_back(void **state) {
    struct vq_done done[NUM];
    unsigned count;
    (void)state;
    set_up(true);
    add(0, 0, 1);
    add(1, 1, 1);
    vq_publish(&q, VQ_SPLIT);
    use(2, 3);
    ring_after_load = spoil;
    TRACED(count = vq_take_used(&q, VQ_SPLIT, done, NUM));
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
    set_up(false);
    add(0, 0, 1);
    vq_publish(&q, VQ_SPLIT);
    use(1, 9); /* one byte too many */
    TRACED(count = vq_take_used(&q, VQ_SPLIT, done, NUM));
    assert_int_equal(count, 0);
    assert_true(q.broken);
    TRACED(count = vq_take_used(&q, VQ_SPLIT, done, NUM));
    assert_int_equal(count, 0);
    assert_int_equal(ring_log_count, 0);
}

/* Ask, fence, look again. 2.7.7.1, 2.7.14 */
static void test_event_on_asks_fences_looks(void **state) {
    (void)state;
    for (int event_idx = 0; event_idx < 2; event_idx++) {
        bool work;
        set_up(event_idx);
        const void *request = event_idx ? q.split.used_event : &q.split.avail->flags;
        TRACED(work = vq_event_on(&q, VQ_SPLIT));
        assert_false(work);
        assert_int_equal(ring_log_count, 3);
        expect_access(0, RING_STORE, request);
        expect_access(1, RING_FENCE, NULL);
        expect_access(2, RING_LOAD_ACQUIRE, &q.split.used->idx);
        TRACED(vq_event_off(&q, VQ_SPLIT));
        assert_int_equal(ring_log_count, 1);
        expect_access(0, RING_STORE, request);
    }
}

/* Packed: plain stores, each field once, and all of them but the flags of the first descriptor of
 * the batch. */
static void test_packed_add_holds_the_head_back(void **state) {
    (void)state;
    set_up_packed(false);
    TRACED((add(0, 1, 1), add(1, 0, 1)));
    assert_int_equal(ring_log_count, 3 * 4 - 1);
    for (unsigned i = 0; i < ring_log_count; i++) {
        assert_int_equal(ring_log[i].kind, RING_STORE);
        assert_true(within(ring_log[i].at, q.packed.desc, 3 * sizeof(struct pvirtq_desc)));
        assert_ptr_not_equal(ring_log[i].at, &q.packed.desc[0].flags);
        for (unsigned k = 0; k < i; k++) {
            assert_ptr_not_equal(ring_log[k].at, ring_log[i].at);
        }
    }
}

/* One release store for the whole batch, and no other access. 2.8.21.1.1 */
static void test_packed_publish_is_one_release(void **state) {
    (void)state;
    set_up_packed(false);
    add(0, 1, 1);
    add(1, 0, 1);
    TRACED(vq_publish(&q, VQ_PACKED));
    assert_int_equal(ring_log_count, 1);
    expect_access(0, RING_STORE_RELEASE, &q.packed.desc[0].flags);
    assert_int_equal(ring_log[0].value, VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_NEXT);
    TRACED(vq_publish(&q, VQ_PACKED)); /* nothing new */
    assert_int_equal(ring_log_count, 0);
}

/* The fence stands between the flags and the look at what the device asks for, which is one load,
 * so that its two halves belong together. 2.8.21.3.1 */
static void test_packed_notify_fences_before_it_looks(void **state) {
    (void)state;
    for (int event_idx = 0; event_idx < 2; event_idx++) {
        bool needed;
        set_up_packed(event_idx);
        TRACED(needed = vq_notify_needed(&q, VQ_PACKED)); /* nothing new: nothing to look at */
        assert_false(needed);
        assert_int_equal(ring_log_count, 0);
        add(0, 1, 0);
        TRACED((vq_publish(&q, VQ_PACKED), needed = vq_notify_needed(&q, VQ_PACKED)));
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
    q.packed.desc[2] = (struct pvirtq_desc){.id = 1, .len = 99, .flags = used};
}

/* The flags with acquire, then the other words once each, and nothing is written. 2.8.22 */
static void test_packed_take_reads_each_word_once(void **state) {
    struct vq_done done[NUM];
    unsigned count;
    (void)state;
    for (int behind_our_back = 0; behind_our_back < 2; behind_our_back++) {
        set_up_packed(false);
        add(0, 0, 2);
        add(1, 1, 0);
        add(2, 1, 0);
        vq_publish(&q, VQ_PACKED);
        use_packed();
        ring_after_load = behind_our_back ? spoil : NULL;
        TRACED(count = vq_take_used(&q, VQ_PACKED, done, 2));
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
        TRACED(count = vq_take_used(&q, VQ_PACKED, done, 2));
        assert_int_equal(count, 0);
        assert_int_equal(ring_log_count, 1);
        expect_access(0, RING_LOAD_ACQUIRE, &q.packed.desc[3].flags);
    }
}

static void test_packed_broken_ring_is_left_alone(void **state) {
    struct vq_done done[NUM];
    unsigned count;
    (void)state;
    set_up_packed(false);
    add(0, 0, 1);
    vq_publish(&q, VQ_PACKED);
    use_packed();
    q.packed.desc[0].len = 9; /* one byte too many */
    TRACED(count = vq_take_used(&q, VQ_PACKED, done, NUM));
    assert_int_equal(count, 0);
    assert_true(q.broken);
    TRACED(count = vq_take_used(&q, VQ_PACKED, done, NUM));
    assert_int_equal(count, 0);
    assert_int_equal(ring_log_count, 0);
}

/* Ask, in one store, fence, look again. 2.8.22 */
static void test_packed_event_on_asks_fences_looks(void **state) {
    (void)state;
    for (int event_idx = 0; event_idx < 2; event_idx++) {
        bool work;
        set_up_packed(event_idx);
        TRACED(work = vq_event_on(&q, VQ_PACKED));
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
        TRACED(vq_event_off(&q, VQ_PACKED));
        assert_int_equal(ring_log_count, 1);
        expect_access(0, RING_STORE, &q.packed.driver_event->flags);
        assert_int_equal(ring_log[0].value, RING_EVENT_FLAGS_DISABLE);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add_stores_only),
        cmocka_unit_test(test_publish_is_one_release),
        cmocka_unit_test(test_notify_fences_before_it_looks),
        cmocka_unit_test(test_take_reads_each_word_once),
        cmocka_unit_test(test_changes_behind_our_back),
        cmocka_unit_test(test_broken_ring_is_left_alone),
        cmocka_unit_test(test_event_on_asks_fences_looks),
        cmocka_unit_test(test_packed_add_holds_the_head_back),
        cmocka_unit_test(test_packed_publish_is_one_release),
        cmocka_unit_test(test_packed_notify_fences_before_it_looks),
        cmocka_unit_test(test_packed_take_reads_each_word_once),
        cmocka_unit_test(test_packed_broken_ring_is_left_alone),
        cmocka_unit_test(test_packed_event_on_asks_fences_looks),
    };
    return cmocka_run_group_tests_name("ring order", tests, NULL, NULL);
}
