/* The flow table of a sink: each case by hand, then random traffic against a model that remembers
 * every number that came. */
#include "tests/unit/unit.h"

#include "lib/dma.h"
#include "net/sink_flows.h"

#include <stdlib.h>
#include <string.h>

enum { REGION = 48 << 20 };

static struct sink_flows table;
static uint8_t *region;

/* The memory is full of what was there before. */
static void open_table(uint32_t flows) {
    free(region);
    region = aligned_alloc(4096, REGION);
    memset(region, 1, flows <= 1024 ? REGION / 8 : 0);
    dma_init((uintptr_t)region, REGION);
    assert_true(sink_flows_init(&table, flows));
}

static int close_table(void **state) {
    (void)state;
    free(region);
    region = NULL;
    return 0;
}

static void expect(uint64_t lost, uint64_t duplicates, uint64_t reordered, uint64_t too_old) {
    assert_int_equal(table.lost, lost);
    assert_int_equal(table.duplicates, duplicates);
    assert_int_equal(table.reordered, reordered);
    assert_int_equal(table.too_old, too_old);
}

static void add_range(uint64_t first, uint64_t last) {
    for (uint64_t seq = first; seq <= last; seq++) {
        sink_flows_add(&table, 0, seq);
    }
}

/* The table in the header. */
static void test_windows(void **state) {
    static const struct {
        uint32_t flows, window;
        size_t bytes;
    } sizes[] = {
        {1, 65536, 8224},         {256, 65536, 256 * 8224}, {257, 32768, 257 * 4128},
        {1024, 16384, 1024 * 2080}, {65536, 256, 4 << 20},  {131072, 128, 131072 * 64},
        {131073, 64, 131073 * 32}, {1 << 20, 64, 32 << 20},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        open_table(sizes[i].flows);
        assert_int_equal(table.window, sizes[i].window);
        assert_int_equal(table.stride * sizes[i].flows, sizes[i].bytes);
    }
}

static void test_no_memory(void **state) {
    (void)state;
    region = aligned_alloc(4096, 4096);
    dma_init((uintptr_t)region, 4096);
    assert_false(sink_flows_init(&table, 1));
}

static void test_in_order(void **state) {
    (void)state;
    open_table(1);
    add_range(0, 200000); /* three times around the window */
    expect(0, 0, 0, 0);
    assert_int_equal(table.missed_start, 0);
    assert_int_equal(table.seen, 1);
    assert_int_equal(table.lossy, 0);
}

static void test_loss_late_and_twice(void **state) {
    (void)state;
    open_table(1);
    add_range(0, 9);
    add_range(13, 20); /* 10, 11, 12 are missing */
    expect(3, 0, 0, 0);
    assert_int_equal(table.lossy, 1);
    sink_flows_add(&table, 0, 20);
    sink_flows_add(&table, 0, 9);
    sink_flows_add(&table, 0, 0);
    expect(3, 3, 0, 0);
    sink_flows_add(&table, 0, 11);
    expect(2, 3, 1, 0);
    assert_int_equal(table.reorder_max, 9);
    sink_flows_add(&table, 0, 11);
    expect(2, 4, 1, 0);
    sink_flows_add(&table, 0, 12);
    sink_flows_add(&table, 0, 10);
    expect(0, 4, 3, 0);
    assert_int_equal(table.reorder_max, 10);
    assert_int_equal(table.lossy, 0);
}

/* What came before the first one is missed, not lost, and may be late all the same. */
static void test_first_is_not_zero(void **state) {
    (void)state;
    open_table(1);
    sink_flows_add(&table, 0, 1000);
    expect(0, 0, 0, 0);
    assert_int_equal(table.missed_start, 1000);
    sink_flows_add(&table, 0, 998);
    expect(0, 0, 1, 0);
    assert_int_equal(table.missed_start, 999);
    sink_flows_add(&table, 0, 1003);
    expect(2, 0, 1, 0);
    sink_flows_add(&table, 0, 999);
    sink_flows_add(&table, 0, 1001);
    expect(1, 0, 3, 0);
    assert_int_equal(table.missed_start, 998);
    sink_flows_add(&table, 0, 998);
    expect(1, 1, 3, 0);
    /* Further from the first one than 32 bits can tell, what is late was lost all the same. */
    const uint64_t far = UINT64_C(1) << 32;
    sink_flows_add(&table, 0, 1004 + far);
    sink_flows_add(&table, 0, 900 + far);
    expect(far, 1, 4, 0);
    assert_int_equal(table.missed_start, 998);
}

static void test_window_edge(uint64_t start, uint64_t gap) {
    const uint64_t window = table.window;
    const uint64_t high = start + 3 * window + gap + 1;
    const uint64_t missing = gap < window ? gap : window - 1;
    sink_flows_restart(&table);
    table.lost = table.duplicates = table.reordered = table.too_old = table.reorder_max = 0;
    add_range(start, start + 3 * window);
    sink_flows_add(&table, 0, high);
    expect(gap, 0, 0, 0);
    for (uint64_t back = 0; back < window; back++) {
        sink_flows_add(&table, 0, high - back);
    }
    expect(gap - missing, window - missing, missing, 0);
    sink_flows_add(&table, 0, high - window);
    expect(gap - missing, window - missing, missing, 1);
    assert_int_equal(table.reorder_max, missing);
}

/* Wherever in a word the window begins, and after gaps of every kind of length. */
static void test_window_edges(void **state) {
    static const uint32_t flows[] = {131072, 131073}; /* two words, one word */
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        open_table(flows[i]);
        for (uint64_t start = 1000; start < 1130; start++) {
            for (uint64_t gap = 1; gap < 300; gap += gap < 130 ? 1 : 67) {
                test_window_edge(start, gap);
            }
        }
    }
}

/* Numbers are 64 bits wide all the way, though no generator comes so far. */
static void test_large_numbers(void **state) {
    static const uint64_t places[] = {UINT64_C(1) << 32, UINT64_C(1) << 47, UINT64_C(1) << 63};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        open_table(200000);
        const uint64_t start = places[i] - 100;
        sink_flows_add(&table, 0, 7);
        sink_flows_get(&table, 0)->next = start;
        table.missed_start = 0;
        add_range(start, start + 99);
        add_range(start + 102, start + 300);
        expect(2, 0, 0, 0);
        sink_flows_add(&table, 0, start + 299);
        expect(2, 1, 0, 0);
        sink_flows_add(&table, 0, start + 100);
        expect(2, 1, 0, 1);
        assert_int_equal(table.bad_stamp, 0);
        assert_int_equal(sink_flows_get(&table, 0)->next, start + 301);
    }
}

static void test_absurd_numbers(void **state) {
    (void)state;
    open_table(4);
    sink_flows_add(&table, 0, SINK_FIRST_MAX);
    sink_flows_add(&table, 0, UINT64_MAX);
    assert_int_equal(table.bad_stamp, 2);
    assert_int_equal(table.seen, 0);
    add_range(0, 9);
    sink_flows_add(&table, 0, 10 + SINK_JUMP_MAX);
    sink_flows_add(&table, 0, UINT64_C(1) << 63);
    sink_flows_add(&table, 0, UINT64_MAX);
    assert_int_equal(table.bad_stamp, 5);
    add_range(10, 19);
    expect(0, 0, 0, 0);
    sink_flows_add(&table, 0, 20 + SINK_JUMP_MAX - 1);
    expect(SINK_JUMP_MAX - 1, 0, 0, 0);
    sink_flows_add(&table, 1, SINK_FIRST_MAX - 1);
    assert_int_equal(table.missed_start, SINK_FIRST_MAX - 1);
    assert_int_equal(table.bad_stamp, 5);
}

static void test_unknown_flows(void **state) {
    (void)state;
    open_table(3);
    for (uint32_t flow = 0; flow < 8; flow++) {
        sink_flows_add(&table, flow, 0);
    }
    sink_flows_add(&table, UINT32_MAX, 0);
    assert_int_equal(table.unknown, 6);
    assert_int_equal(table.seen, 3);
}

/* Nothing of the old session is left, and sums go on. */
static void test_restart(void **state) {
    (void)state;
    open_table(2);
    for (unsigned session = 0; session < 5; session++) {
        for (uint32_t flow = 0; flow < 2; flow++) {
            sink_flows_add(&table, flow, 0);
            sink_flows_add(&table, flow, 2);
            sink_flows_add(&table, flow, 2);
        }
        assert_int_equal(table.seen, 2);
        assert_int_equal(table.lossy, 2);
        expect(2 * (session + 1), 2 * (session + 1), 0, 0);
        sink_flows_restart(&table);
        assert_int_equal(table.seen, 0);
        assert_int_equal(table.lossy, 0);
    }
    sink_flows_add(&table, 0, 3); /* the number that the old session expected */
    assert_int_equal(table.missed_start, 3);
    assert_int_equal(table.seen, 1);
    sink_flows_add(&table, 0, 2);
    expect(10, 10, 1, 0);
}

/* --- the model -------------------------------------------------------------------------------- */

enum { MODEL_NUMBERS = 4096 };

struct model_flow {
    bool seen;
    uint64_t first;
    uint64_t highest;
    uint64_t came_count; /* different numbers from first on */
    uint8_t came[MODEL_NUMBERS];
};

struct model {
    uint64_t lost, duplicates, reordered, reorder_max, too_old, missed_start, seen, lossy;
};

/* By definition, from the list of all that came. */
static void model_add(struct model *m, struct model_flow *f, uint64_t seq, uint64_t window) {
    if (!f->seen) {
        f->seen = true;
        f->first = f->highest = seq;
        m->missed_start += seq;
    } else if (seq > f->highest) {
        f->highest = seq;
    } else if (f->highest - seq >= window) {
        m->too_old++;
        return;
    } else if (f->came[seq] != 0) {
        m->duplicates++;
        return;
    } else {
        m->reordered++;
        m->reorder_max = m->reorder_max > f->highest - seq ? m->reorder_max : f->highest - seq;
        m->missed_start -= seq < f->first;
    }
    f->came[seq] = 1;
    f->came_count += seq >= f->first;
}

static void model_compare(struct model *m, const struct model_flow *flows, uint32_t count) {
    m->lost = m->seen = m->lossy = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct model_flow *f = &flows[i];
        const uint64_t lost = f->seen ? f->highest - f->first + 1 - f->came_count : 0;
        m->seen += f->seen;
        m->lost += lost;
        m->lossy += lost > 0;
    }
    expect(m->lost, m->duplicates, m->reordered, m->too_old);
    assert_int_equal(table.reorder_max, m->reorder_max);
    assert_int_equal(table.missed_start, m->missed_start);
    assert_int_equal(table.seen, m->seen);
    assert_int_equal(table.lossy, m->lossy);
    assert_int_equal(table.bad_stamp, 0);
}

/* A path that loses, doubles and delays; sometimes by more than the window. */
static uint64_t random_seq(struct unit_random *r, uint64_t *next, uint32_t reach) {
    const uint32_t what = unit_below(r, 100);
    if (what < 10) {
        *next += unit_below(r, what < 2 ? reach : 4);
    }
    if (what >= 75 && *next > 0) {
        const uint32_t back = 1 + unit_below(r, what < 99 ? 40 : reach);
        return *next > back ? *next - back : 0;
    }
    return (*next)++;
}

static void run_model(uint32_t table_flows, uint32_t flows, uint32_t reach, uint64_t seed) {
    struct unit_random r = {.state = seed};
    struct model_flow *state = calloc(flows, sizeof(*state));
    uint64_t *next = calloc(flows, sizeof(*next));
    struct model m = {0};
    open_table(table_flows);
    for (uint32_t i = 0; i < flows; i++) {
        next[i] = unit_below(&r, 100);
    }
    for (uint32_t n = 0; n < flows * 1000; n++) {
        const uint32_t flow = unit_below(&r, flows);
        const uint64_t seq = random_seq(&r, &next[flow], reach);
        if (seq >= MODEL_NUMBERS) {
            continue;
        }
        /* Spread over the table, its last flow among them. */
        sink_flows_add(&table, table_flows - 1 - flow * (table_flows / flows), seq);
        model_add(&m, &state[flow], seq, table.window);
        if (n % 997 == 0) {
            model_compare(&m, state, flows);
        }
    }
    model_compare(&m, state, flows);
    assert_true(m.duplicates > 0 && m.reordered > 0 && m.lost > 0);
    free(state);
    free(next);
}

static void test_model(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        run_model(1, 1, 3000, seed);
        run_model(65536, 8, 600, seed);
        run_model(1 << 17, 8, 300, seed);
        run_model(1 << 20, 16, 200, seed);
    }
}

/* Every flow of the largest table, each with its own loss. */
static void test_million_flows(void **state) {
    enum { FLOWS = 1 << 20 };
    uint64_t lost = 0;
    (void)state;
    open_table(FLOWS);
    for (uint64_t round = 0; round < 2; round++) {
        for (uint32_t flow = 0; flow < FLOWS; flow++) {
            const uint64_t gap = flow % 7;
            sink_flows_add(&table, flow, round * (gap + 1));
            lost += round * gap;
        }
    }
    expect(lost, 0, 0, 0);
    assert_int_equal(table.seen, FLOWS);
    assert_int_equal(table.lossy, FLOWS - (FLOWS + 6) / 7);
    sink_flows_restart(&table);
    for (uint32_t flow = 0; flow < FLOWS; flow++) {
        sink_flows_add(&table, flow, 0);
    }
    expect(lost, 0, 0, 0);
    assert_int_equal(table.seen, FLOWS);
    assert_int_equal(table.lossy, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_windows, close_table),
        cmocka_unit_test_teardown(test_no_memory, close_table),
        cmocka_unit_test_teardown(test_in_order, close_table),
        cmocka_unit_test_teardown(test_loss_late_and_twice, close_table),
        cmocka_unit_test_teardown(test_first_is_not_zero, close_table),
        cmocka_unit_test_teardown(test_window_edges, close_table),
        cmocka_unit_test_teardown(test_large_numbers, close_table),
        cmocka_unit_test_teardown(test_absurd_numbers, close_table),
        cmocka_unit_test_teardown(test_unknown_flows, close_table),
        cmocka_unit_test_teardown(test_restart, close_table),
        cmocka_unit_test_teardown(test_model, close_table),
        cmocka_unit_test_teardown(test_million_flows, close_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
