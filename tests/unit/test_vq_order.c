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

static void set_up(bool event_idx) {
    assert_true(vq_areas(VQ_SPLIT, NUM).size <= sizeof(ring));
    q = (struct vq){0};
    end();
    vq_init(&q, VQ_SPLIT, NUM, event_idx, ring, slots);
}

static void add(unsigned which, uint16_t n_out, uint16_t n_in) {
    struct vq_seg segs[NUM];
    for (unsigned i = 0; i < NUM; i++) {
        segs[i] = (struct vq_seg){.addr = {BASE + 0x100 * which + i}, .len = 8};
    }
    vq_add(&q, VQ_SPLIT, segs, n_out, n_in, &tokens[which]);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add_stores_only),
        cmocka_unit_test(test_publish_is_one_release),
        cmocka_unit_test(test_notify_fences_before_it_looks),
        cmocka_unit_test(test_take_reads_each_word_once),
        cmocka_unit_test(test_changes_behind_our_back),
        cmocka_unit_test(test_broken_ring_is_left_alone),
        cmocka_unit_test(test_event_on_asks_fences_looks),
    };
    return cmocka_run_group_tests_name("ring order", tests, NULL, NULL);
}
