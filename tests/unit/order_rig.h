/* A ring whose memory is poisoned, while a call of the ring interface runs, for everything but the
 * calls of lib/ring_mem.h, and the log of those. */
#ifndef TESTS_UNIT_ORDER_RIG_H
#define TESTS_UNIT_ORDER_RIG_H

#include "tests/unit/unit.h"

#include "drivers/vq.h"

#include <sanitizer/asan_interface.h>
#include <string.h>

enum { NUM = 4, BASE = 0x100000 };

static _Alignas(VQ_AREA_ALIGN) uint8_t ring[1024 + NUM * VQ_TABLE_STRIDE]; /* second part: tables */
static struct vq_slot slots[NUM];
static struct vq q;
static int tokens[NUM];
static enum vq_layout layout; /* of the running case */

static inline void begin(void) {
    ring_log_count = 0;
    __asan_poison_memory_region(ring, sizeof(ring));
}

static inline void end(void) {
    __asan_unpoison_memory_region(ring, sizeof(ring));
    ring_after_load = NULL;
}

/* Ring memory through one call, in the two ways to negotiate. */
#define TRACED(call) (begin(), (call), end())

static inline void set_up(bool event_idx, bool indirect) {
    uint8_t *tables = indirect ? ring + 1024 : NULL;
    assert_true(vq_areas(layout, NUM).size <= 1024 && vq_indirect_size(NUM) == NUM * VQ_TABLE_STRIDE);
    q = (struct vq){0};
    end();
    memset(ring, 0xa5, sizeof(ring));
    vq_init(&q, &(struct vq_setup){
                    .layout = layout,
                    .num = NUM,
                    .event_idx = event_idx,
                    .memory = ring,
                    .slots = slots,
                    .indirect = tables,
                    .indirect_addr = {(uintptr_t)tables},
                });
}

static inline void add(unsigned which, uint16_t n_out, uint16_t n_in) {
    struct vq_seg segs[NUM];
    for (unsigned i = 0; i < NUM; i++) {
        segs[i] = (struct vq_seg){.addr = {BASE + 0x100 * which + i}, .len = 8};
    }
    vq_add(&q, q.layout, segs, n_out, n_in, &tokens[which]);
}

static inline bool within(const void *at, const void *area, size_t size) {
    return (const uint8_t *)at >= (const uint8_t *)area &&
           (const uint8_t *)at < (const uint8_t *)area + size;
}

static inline void expect_access(unsigned i, enum ring_access_kind kind, const void *at) {
    assert_true(i < ring_log_count);
    assert_int_equal(ring_log[i].kind, kind);
    assert_ptr_equal(ring_log[i].at, at);
}

/* Of the accesses so far but the last `but`: plain loads and stores within the areas, no word stored
 * twice. Returns the stores. */
static inline unsigned expect_plain(unsigned but, const void *a, size_t a_size, const void *b,
                                    size_t b_size) {
    unsigned stores = 0;
    for (unsigned i = 0; i + but < ring_log_count; i++) {
        assert_true(ring_log[i].kind == RING_STORE || ring_log[i].kind == RING_LOAD);
        assert_true(within(ring_log[i].at, a, a_size) || within(ring_log[i].at, b, b_size));
        for (unsigned k = 0; k < i; k++) {
            assert_true(ring_log[k].kind != ring_log[i].kind || ring_log[k].at != ring_log[i].at);
        }
        stores += ring_log[i].kind == RING_STORE;
    }
    return stores;
}

static inline void spoil(void *at, unsigned bits) {
    __asan_unpoison_memory_region(ring, sizeof(ring));
    memset(at, 0xff, bits / 8);
    __asan_poison_memory_region(ring, sizeof(ring));
}

/* One case as two tests: out of order and in order. */
#define BOTH_ORDERS(test)                                                                          \
    {#test, test, out_of_order, NULL, NULL}, {#test "_in_order", test, in_order, NULL, NULL}

static int out_of_order(void **state); /* sets `layout` */
static int in_order(void **state);

#endif
