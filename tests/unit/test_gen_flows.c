/* The flows of app=gen and the sizes of their frames: all there, in exact shares, the same in
 * each run. */
#include "tests/unit/gen_rig.h"

#include <stdlib.h>

struct tuple {
    uint64_t src_dst;
    uint32_t ports;
};

static struct tuple take_tuple(void) {
    gen_stream_next(&stream, buffers[0], 0);
    return (struct tuple){get(buffers[0] + 26, 8), (uint32_t)get(buffers[0] + 34, 4)};
}

static int compare_tuples(const void *a, const void *b) {
    const struct tuple *x = a, *y = b;
    return x->src_dst != y->src_dst ? (x->src_dst < y->src_dst ? -1 : 1)
           : x->ports != y->ports   ? (x->ports < y->ports ? -1 : 1)
                                    : 0;
}

static unsigned distinct(struct tuple *tuples, uint32_t count) {
    unsigned found = 1;
    qsort(tuples, count, sizeof(*tuples), compare_tuples);
    for (uint32_t i = 1; i < count; i++) {
        found += compare_tuples(&tuples[i - 1], &tuples[i]) != 0;
    }
    return found;
}

/* A million flows are a million tuples, and the second round is the first one again. */
static void test_million_flows(void **state) {
    static struct tuple tuples[STAMP_FLOW_MAX];
    (void)state;
    begin(&stream, "dst=10.0.0.0-10.255.255.255 sport=1000-1999");
    assert_int_equal(stream.flows, STAMP_FLOW_MAX);
    for (uint32_t i = 0; i < STAMP_FLOW_MAX; i++) {
        tuples[i] = take_tuple();
    }
    for (uint32_t i = 0; i < STAMP_FLOW_MAX; i++) {
        const struct tuple again = take_tuple();
        assert_int_equal(compare_tuples(&tuples[i], &again), 0);
    }
    assert_int_equal(distinct(tuples, STAMP_FLOW_MAX), STAMP_FLOW_MAX);

    begin(&stream, "dst=random:10.0.0.0-10.255.255.255 sport=random:0-65535 src=random:0.0.0.0-"
                   "255.255.255.255 dport=random:0-65535 flows=1048576");
    for (uint32_t i = 0; i < STAMP_FLOW_MAX; i++) {
        tuples[i] = take_tuple();
        const uint32_t dst = (uint32_t)tuples[i].src_dst;
        assert_int_equal(dst >> 24, 10);
    }
    for (uint32_t i = 0; i < STAMP_FLOW_MAX; i++) {
        const struct tuple again = take_tuple();
        assert_int_equal(compare_tuples(&tuples[i], &again), 0);
    }
    assert_int_equal(distinct(tuples, STAMP_FLOW_MAX), STAMP_FLOW_MAX);
}

/* Each element of a range of n gets its share of the flows. */
static void test_random_covers(void **state) {
    enum { SPAN = 100, FLOWS = 100000 };
    unsigned hits[2][SPAN] = {{0}};
    unsigned same = 0;
    (void)state;
    begin(&stream, "sport=random:500-599 dport=random:500-599 flows=100000");
    for (unsigned i = 0; i < FLOWS; i++) {
        const struct tuple t = take_tuple();
        const uint32_t sport = (t.ports >> 16) - 500, dport = (t.ports & 0xffff) - 500;
        assert_true(sport < SPAN && dport < SPAN);
        hits[0][sport]++;
        hits[1][dport]++;
        same += sport == dport;
    }
    for (unsigned i = 0; i < SPAN; i++) {
        for (unsigned field = 0; field < 2; field++) {
            assert_true(hits[field][i] > FLOWS / SPAN * 8 / 10);
            assert_true(hits[field][i] < FLOWS / SPAN * 12 / 10);
        }
    }
    assert_true(same > FLOWS / SPAN * 8 / 10 && same < FLOWS / SPAN * 12 / 10);
}

/* Two streams are equal byte for byte, and another seed makes another one. */
static void test_seed(void **state) {
    static struct gen_stream other, third;
    static const char words[] = "size=imix sport=random:0-65535 "
                                "dst=random:10.0.0.0-10.255.255.255 flows=777";
    char seeded[160];
    unsigned equal = 0;
    (void)state;
    snprintf(seeded, sizeof(seeded), "%s seed=2", words);
    begin(&third, seeded);
    begin(&other, words);
    begin(&stream, words);
    for (unsigned i = 0; i < 5000; i++) {
        const uint32_t len = gen_stream_next(&stream, buffers[0], i);
        assert_int_equal(gen_stream_next(&other, buffers[1], i), len);
        assert_memory_equal(buffers[0], buffers[1], len);
        gen_stream_next(&third, buffers[2], i);
        equal += memcmp(buffers[0] + 26, buffers[2] + 26, 12) == 0;
    }
    assert_true(equal < 5);
}

/* --- sizes ------------------------------------------------------------------------------------ */

/* With any number of flows: in so many rounds as the schedule has slots, each flow has sent each
 * size as often as its weight says. */
static void test_shares_are_exact(void **state) {
    static const char *const sizes[] = {"imix", "64,128", "64:3,128:3", "64",
                                        "64:255,65:255,66:255,67:255,68:4"};
    static const unsigned flows[] = {1, 2, 3, 5, 11, 12, 13, 24, 1020, 1024};
    static uint32_t counts[1024][5];
    char words[160];
    (void)state;
    for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++) {
        for (unsigned f = 0; f < ARRAY_SIZE(flows); f++) {
            snprintf(words, sizeof(words), "size=%s sport=1-1024 flows=%u", sizes[s], flows[f]);
            begin(&stream, words);
            memset(counts, 0, sizeof(counts));
            for (uint64_t n = 0; n < (uint64_t)flows[f] * stream.slots; n++) {
                const unsigned class = gen_stream_class(&stream);
                assert_int_equal(gen_stream_next(&stream, buffers[0], n), spec.sizes[class].len);
                counts[n % flows[f]][class]++;
            }
            for (unsigned flow = 0; flow < flows[f]; flow++) {
                for (unsigned i = 0; i < spec.size_count; i++) {
                    assert_int_equal(counts[flow][i], spec.sizes[i].weight);
                }
            }
        }
    }
}

/* Equal weights: one after the other. Others: spread out, never many of a kind in a row. */
static void test_schedule_is_even(void **state) {
    unsigned run = 0, longest = 0;
    (void)state;
    begin(&stream, "size=64,65,66,67");
    for (unsigned i = 0; i < 40; i++) {
        assert_int_equal(gen_stream_next(&stream, buffers[0], i), 64 + i % 4);
    }
    begin(&stream, "size=imix");
    for (unsigned i = 0; i < 1200; i++) {
        run = gen_stream_next(&stream, buffers[0], i) == 64 ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    assert_true(longest <= 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_million_flows),
        cmocka_unit_test(test_random_covers),
        cmocka_unit_test(test_seed),
        cmocka_unit_test(test_shares_are_exact),
        cmocka_unit_test(test_schedule_is_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
