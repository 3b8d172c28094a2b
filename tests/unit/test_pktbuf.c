/* Packet buffers and the boot-time allocator below them. */
#include "tests/unit/unit.h"

#include "lib/dma.h"
#include "lib/err.h"
#include "lib/pktbuf.h"

#include <stdlib.h>
#include <string.h>

enum { REGION = 64 * 1024 };

static uint8_t *region;

/* Memory of exactly that size, so that the address sanitizer sees each byte too many. */
static int open_region(void **state) {
    (void)state;
    region = aligned_alloc(4096, REGION);
    memset(region, 0xa5, REGION);
    dma_init((uintptr_t)region, REGION);
    return region == NULL;
}

static int close_region(void **state) {
    (void)state;
    free(region);
    return 0;
}

static void test_dma_alignment_and_zero(void **state) {
    uint8_t *end = region;
    (void)state;
    for (size_t align = 1; align <= 4096; align *= 2) {
        for (size_t size = 1; size < 200; size += 66) {
            uint8_t *p = dma_alloc(size, align);
            assert_non_null(p);
            assert_int_equal((uintptr_t)p % align, 0);
            assert_true(p >= end && p + size <= region + REGION); /* apart from those before */
            assert_true((size_t)(p - end) < align);
            for (size_t i = 0; i < size; i++) {
                assert_int_equal(p[i], 0);
            }
            memset(p, 0xff, size);
            end = p + size;
            assert_int_equal(dma_free_bytes(), (size_t)(region + REGION - end));
        }
    }
}

static void test_dma_to_the_last_byte(void **state) {
    (void)state;
    assert_null(dma_alloc(REGION + 1, 1));
    assert_ptr_equal(dma_alloc(REGION - 1, 1), region);
    assert_null(dma_alloc(2, 1));
    assert_null(dma_alloc(1, 2)); /* the aligned start is the end */
    assert_ptr_equal(dma_alloc(1, 1), region + REGION - 1);
    assert_int_equal(dma_free_bytes(), 0);
    assert_null(dma_alloc(1, 1));
    assert_null(dma_alloc(1, 4096));
}

/* The large kind is left as it is: clearing megabytes is what it saves. */
static void test_dma_dirty(void **state) {
    (void)state;
    const uint8_t *p = dma_alloc_dirty(1000, 64);
    assert_ptr_equal(p, region);
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(p[i], 0xa5);
    }
    assert_ptr_equal(dma_alloc_dirty(1, 256), region + 1024);
    assert_null(dma_alloc_dirty(REGION, 1));
    dma_lock();
    expect_assert_failure(dma_alloc_dirty(8, 8));
}

/* A request that failed takes nothing; huge ones do not wrap around. */
static void test_dma_huge_requests(void **state) {
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 4096, SIZE_MAX / 2 + 1};
    (void)state;
    assert_non_null(dma_alloc(100, 1));
    const size_t left = dma_free_bytes();
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        assert_null(dma_alloc(sizes[i], 1));
        assert_null(dma_alloc(sizes[i], 4096));
        assert_null(dma_alloc(SIZE_MAX - (uintptr_t)region + 1 - i, 1));
        assert_int_equal(dma_free_bytes(), left);
    }
    assert_null(dma_alloc(1, (size_t)1 << 63));
    assert_int_equal(dma_free_bytes(), left);
}

/* A region at the very end of the address space: rounding up must not wrap to the start. */
static void test_dma_last_page(void **state) {
    (void)state;
    dma_init(UINTPTR_MAX - 99, 99);
    assert_null(dma_alloc(1, 4096));
    assert_null(dma_alloc(100, 1));
    assert_int_equal(dma_free_bytes(), 99);
}

static void test_dma_wrong_calls(void **state) {
    (void)state;
    expect_assert_failure(dma_alloc(8, 0));
    expect_assert_failure(dma_alloc(8, 3));
    assert_non_null(dma_alloc(8, 8));
    dma_lock();
    expect_assert_failure(dma_alloc(8, 8));
    dma_init((uintptr_t)region, REGION); /* as after a boot: unlocked */
    assert_ptr_equal(dma_alloc(8, 8), region);
}

/* Every buffer comes out once, whole and apart from the others, and the pool ends empty. */
static void test_pool_conserves(void **state) {
    static const uint32_t rooms[] = {1, 63, 64, 65, 1514, 1526};
    (void)state;
    for (unsigned n = 0; n < ARRAY_SIZE(rooms); n++) {
        enum { TOTAL = 30 };
        struct pktbuf_pool pool;
        struct pktbuf *bufs[TOTAL];
        dma_init((uintptr_t)region, REGION);
        assert_int_equal(pktbuf_pool_init(&pool, TOTAL, rooms[n]), ERR_OK);
        assert_int_equal(pool.total, TOTAL);
        assert_int_equal(pool.free_count, TOTAL);
        assert_true(pool.room >= rooms[n] && pool.room < rooms[n] + 2 * PKTBUF_ALIGN);
        assert_int_equal(pool.stride % (2 * PKTBUF_ALIGN), PKTBUF_ALIGN);
        for (unsigned i = 0; i < TOTAL; i++) {
            struct pktbuf *b = bufs[i] = pktbuf_get(&pool);
            assert_non_null(b);
            assert_int_equal(pool.free_count, TOTAL - 1 - i);
            assert_int_equal((uintptr_t)b % PKTBUF_ALIGN, 0);
            assert_ptr_equal(b->data, pktbuf_room(b));
            assert_int_equal(b->data - (uint8_t *)b->headroom, PKTBUF_HEADROOM);
            assert_int_equal(b->len, 0);
            assert_ptr_equal(b->pool, &pool);
            /* Fill all that is the owner's; the neighbours are looked at below. */
            memset(b->owner, (int)i, sizeof(b->owner));
            memset(b->headroom, (int)i, sizeof(b->headroom));
            memset(b->data, (int)i, pool.room);
            b->data += 14;
            b->len = 1000 + i;
        }
        assert_null(pktbuf_get(&pool));
        assert_int_equal(pool.free_count, 0);
        for (unsigned i = 0; i < TOTAL; i++) {
            const struct pktbuf *b = bufs[i];
            assert_ptr_equal(b->pool, &pool);
            assert_int_equal(b->len, 1000 + i);
            assert_int_equal(((const uint8_t *)b->owner)[0], i);
            assert_int_equal(b->headroom[0], i);
            assert_int_equal(b->headroom[PKTBUF_HEADROOM - 1], i);
            assert_int_equal(pktbuf_room(bufs[i])[0], i);
            assert_int_equal(pktbuf_room(bufs[i])[pool.room - 1], i);
        }
        for (unsigned i = 0; i < TOTAL; i++) {
            pktbuf_put(bufs[i]);
            assert_int_equal(pool.free_count, i + 1);
            assert_ptr_equal(bufs[i]->data, pktbuf_room(bufs[i])); /* fit for the next owner */
            assert_int_equal(bufs[i]->len, 0);
        }
        for (unsigned i = 0; i < TOTAL; i++) { /* in the order in which they came back */
            assert_ptr_equal(pktbuf_get(&pool), bufs[i]);
        }
        assert_null(pktbuf_get(&pool));
    }
}

/* Address order at first, so that the rings walk memory forwards; and a buffer is not touched
 * before it is needed. */
static void test_pool_starts_in_address_order(void **state) {
    struct pktbuf_pool pool;
    struct pktbuf *last = NULL;
    (void)state;
    assert_int_equal(pktbuf_pool_init(&pool, 20, 100), ERR_OK);
    for (unsigned i = 0; i < REGION; i++) {
        assert_int_equal(region[i], 0xa5);
    }
    for (struct pktbuf *b; (b = pktbuf_get(&pool)) != NULL; last = b) {
        assert_true(b > last);
    }
}

/* Random gets and puts on two pools: nothing is lost, doubled or changes pool. */
static void test_pools_do_not_mix(void **state) {
    struct pktbuf_pool pools[2];
    struct pktbuf *held[40];
    unsigned held_count = 0;
    struct unit_random random = {.state = 7};
    (void)state;
    assert_int_equal(pktbuf_pool_init(&pools[0], 20, 64), ERR_OK);
    assert_int_equal(pktbuf_pool_init(&pools[1], 20, 128), ERR_OK);
    for (unsigned n = 0; n < 20000; n++) {
        struct pktbuf_pool *pool = &pools[unit_below(&random, 2)];
        struct pktbuf *b = unit_below(&random, 2) ? pktbuf_get(pool) : NULL;
        if (b != NULL) {
            assert_ptr_equal(b->pool, pool);
            for (unsigned i = 0; i < held_count; i++) {
                assert_ptr_not_equal(held[i], b);
            }
            held[held_count++] = b;
        } else if (held_count > 0) {
            const unsigned pick = unit_below(&random, held_count);
            pktbuf_put(held[pick]);
            held[pick] = held[--held_count];
        }
        assert_int_equal(pools[0].free_count + pools[1].free_count + held_count, 40);
    }
}

static void test_pool_needs_memory(void **state) {
    const uint32_t room = 2048 - 64 - sizeof(struct pktbuf);
    const uint32_t fit = REGION / pktbuf_stride(room);
    struct pktbuf_pool pool;
    (void)state;
    assert_int_equal(pktbuf_pool_init(&pool, fit + 1, room), ERR_RESOURCE);
    assert_int_equal(pktbuf_pool_init(&pool, UINT32_MAX, 2048), ERR_RESOURCE);
    assert_int_equal(pktbuf_pool_init(&pool, UINT32_MAX, UINT32_MAX - 4096), ERR_RESOURCE);
    assert_int_equal(pktbuf_pool_init(&pool, 1, UINT32_MAX), ERR_RESOURCE);
    assert_int_equal(dma_free_bytes(), REGION);                        /* nothing was taken */
    assert_int_equal(pktbuf_pool_init(&pool, fit, room), ERR_OK); /* just fits */
    assert_true(dma_free_bytes() < pktbuf_stride(room));
}

static void test_bus_address(void **state) {
    (void)state;
    assert_int_equal(dma_addr_of(region).v, (uintptr_t)region);
}

int main(void) {
#define REGION_CASE(name) cmocka_unit_test_setup_teardown(name, open_region, close_region)
    const struct CMUnitTest tests[] = {
        REGION_CASE(test_dma_alignment_and_zero),
        REGION_CASE(test_dma_to_the_last_byte),
        REGION_CASE(test_dma_dirty),
        REGION_CASE(test_dma_huge_requests),
        REGION_CASE(test_dma_last_page),
        REGION_CASE(test_dma_wrong_calls),
        REGION_CASE(test_pool_conserves),
        REGION_CASE(test_pool_starts_in_address_order),
        REGION_CASE(test_pools_do_not_mix),
        REGION_CASE(test_pool_needs_memory),
        REGION_CASE(test_bus_address),
    };
    return cmocka_run_group_tests_name("packet buffers", tests, NULL, NULL);
}
