/* The receiver of generator frames: which ones it takes, what it counts, sessions, the verdict. */
#include "tests/unit/unit.h"

#include "tests/unit/sink_rig.h"

#include <string.h>

enum { NOW = 1000000000, SILENCE = SINK_SILENCE_US * 1000 * RIG_TICKS_PER_NS };

static struct sink sink;
static struct unit_random rnd = {.state = 99};
static const struct rig_shape plain;

static int open_sink(void **state) {
    (void)state;
    rig_open(&sink, 16, false);
    return 0;
}

static int close_sink(void **state) {
    (void)state;
    rig_close();
    return 0;
}

static bool give(uint32_t flow, uint32_t session, uint64_t seq, uint64_t now) {
    const struct rig_stamp stamp = {.flow = flow, .session = session, .seq = seq, .tsc = now};
    rig_build(&plain, &stamp);
    return rig_give(&sink, now);
}

/* Number i of all shapes there are. */
static struct rig_shape shape_of(unsigned i) {
    return (struct rig_shape){
        .tags = i & 3,
        .ip6 = (i & 4) != 0,
        .tcp = (i & 8) != 0,
        .options = i >> 4 & 3,
        .tcp_options = i >> 6 & 3,
    };
}
enum { SHAPES = 256 };

static void test_shapes(void **state) {
    uint64_t bytes = 0;
    (void)state;
    for (unsigned i = 0; i < SHAPES; i++) {
        struct rig_shape shape = shape_of(i);
        shape.payload = i;
        const struct rig_stamp stamp = {.flow = 3, .session = 9, .seq = i, .tsc = NOW};
        rig_build(&shape, &stamp);
        bytes += rig_len;
        assert_true(rig_give(&sink, NOW));
    }
    assert_int_equal(sink.frames, SHAPES);
    assert_int_equal(sink.bytes, bytes);
    assert_int_equal(sink.session.frames, SHAPES);
    assert_int_equal(sink.session.bytes, bytes);
    assert_int_equal(sink.session.number, 9);
    assert_int_equal(sink_received(&sink), SHAPES);
    assert_int_equal(sink.flows.lost, 0);
    assert_int_equal(sink.flows.missed_start, 0);
    assert_int_equal(sink.bad_length, 0);
    assert_true(sink_passed(&sink, 0));
}

/* A field that says that this is something else. */
static void test_other_frames(void **state) {
    const struct {
        struct rig_shape shape;
        bool behind_ip; /* off counts from there, else from the start of IP */
        int off;
        uint8_t value;
    } cases[] = {
        {{0}, false, -2, 0x09},          /* no type that is known */
        {{0}, false, 0, 0x65},           /* version */
        {{0}, false, 0, 0x44},           /* a header of 16 bytes */
        {{0}, false, 6, 0x20},           /* more fragments */
        {{0}, false, 7, 0x01},           /* a later fragment */
        {{0}, false, 9, 1},              /* ICMP */
        {{.ip6 = true}, false, 0, 0x45},
        {{.ip6 = true}, false, 6, 0},    /* hop-by-hop options */
        {{.tcp = true}, true, 12, 0x40}, /* a header of 16 bytes */
        {{.tcp = true}, true, 12, 0xf0}, /* one beyond the frame's end */
        {{0}, true, 8, 0x53},            /* the magic number */
        {{0}, true, 9, 0x52},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        rig_build(&cases[i].shape, &(struct rig_stamp){.tsc = NOW});
        assert_true(rig_give(&sink, NOW));
        const uint64_t frames = sink.frames;
        rig_bytes[(cases[i].behind_ip ? rig_l4 : rig_ip) + (uint32_t)cases[i].off] = cases[i].value;
        assert_false(rig_give(&sink, NOW));
        assert_int_equal(sink.frames, frames);
    }
}

/* All is where it should be, if only a header of IPv4 could be so short. */
static void test_short_ip_header(void **state) {
    (void)state;
    rig_build(&plain, &(struct rig_stamp){.tsc = NOW});
    memmove(rig_bytes + rig_l4 - 4, rig_bytes + rig_l4, rig_len - rig_l4);
    rig_len -= 4;
    rig_bytes[rig_ip] = 0x44;
    rig_bytes[rig_ip + 3] = (uint8_t)(rig_len - rig_ip);
    assert_false(rig_give(&sink, NOW));
}

/* A frame that ends early is none, unless its end is behind the stamp: then its length is wrong. */
static void test_cut_frames(void **state) {
    (void)state;
    for (unsigned i = 0; i < SHAPES; i++) {
        struct rig_shape shape = shape_of(i);
        shape.payload = 5;
        rig_build(&shape, &(struct rig_stamp){.seq = i, .tsc = NOW});
        const uint32_t whole = rig_len;
        for (rig_len = 0; rig_len < whole; rig_len++) {
            const uint64_t bad = sink.bad_length;
            const bool has_stamp = rig_len >= rig_stamp + STAMP_LEN;
            assert_int_equal(rig_give(&sink, NOW), has_stamp);
            assert_int_equal(sink.bad_length, bad + has_stamp);
        }
    }
    assert_false(sink_passed(&sink, 1000000));
}

static void test_bad_lengths(void **state) {
    const struct rig_shape ip6 = {.ip6 = true};
    (void)state;
    rig_build(&plain, &(struct rig_stamp){.tsc = NOW});
    rig_bytes[rig_ip + 3]++;
    assert_true(rig_give(&sink, NOW));
    assert_int_equal(sink.bad_length, 1);
    rig_build(&plain, &(struct rig_stamp){.tsc = NOW});
    rig_bytes[rig_l4 + 5]--;
    assert_true(rig_give(&sink, NOW));
    assert_int_equal(sink.bad_length, 2);
    rig_build(&ip6, &(struct rig_stamp){.tsc = NOW});
    rig_bytes[rig_ip + 4] = 0xff;
    assert_true(rig_give(&sink, NOW));
    assert_int_equal(sink.bad_length, 3);
    rig_build(&plain, &(struct rig_stamp){.tsc = NOW});
    rig_len++; /* padding, which no frame of a generator is short enough to need */
    assert_true(rig_give(&sink, NOW));
    assert_int_equal(sink.bad_length, 4);
    assert_int_equal(sink.frames, 4);
}

/* Nothing beyond the frame is read, whatever is in it. */
static void test_garbage(void **state) {
    static uint8_t bytes[200];
    (void)state;
    for (unsigned n = 0; n < 200000; n++) {
        const uint32_t len = unit_below(&rnd, sizeof(bytes) + 1);
        for (uint32_t i = 0; i < len; i++) {
            bytes[i] = (uint8_t)unit_random(&rnd);
        }
        if (n % 2 == 0 && len >= 40) { /* half of them look more like something */
            static const uint8_t types[4][2] = {{8, 0}, {0x86, 0xdd}, {0x81, 0}, {0x88, 0xa8}};
            memcpy(bytes + 12, types[unit_below(&rnd, 4)], 2);
            bytes[14] = (uint8_t)(unit_below(&rnd, 2) == 0 ? 0x40 | (bytes[14] & 15) : 0x60);
            bytes[20] = unit_below(&rnd, 2) == 0 ? 6 : 0;
            bytes[21] = 0;
            bytes[23] = unit_below(&rnd, 2) == 0 ? 6 : 17;
        }
        struct pktbuf *frame = rig_frame(bytes, len, NULL, 1);
        sink_frame(&sink, frame, NOW);
        rig_free(frame);
    }
}

/* Frames of generators with damage anywhere: at most counted, never misread. */
static void test_damaged(void **state) {
    rig_close();
    rig_open(&sink, 16, true);
    (void)state;
    for (unsigned n = 0; n < 100000; n++) {
        struct rig_shape shape = shape_of(unit_below(&rnd, SHAPES));
        shape.payload = unit_below(&rnd, 100);
        rig_build(&shape, &(struct rig_stamp){.seq = n, .tsc = NOW});
        for (unsigned i = 1 + unit_below(&rnd, 3); i > 0; i--) {
            rig_bytes[unit_below(&rnd, rig_len)] ^= (uint8_t)(1u << unit_below(&rnd, 8));
        }
        if (unit_below(&rnd, 4) == 0) {
            rig_len = unit_below(&rnd, rig_len + 1);
        }
        rig_give(&sink, NOW);
    }
    assert_true(sink.bad_checksum > 1000 && sink.bad_length > 1000 && sink.corrupt > 1000);
}

/* Only its first buffer is looked at: cut before the stamp's end it is no generator's. */
static void test_split_headers(void **state) {
    (void)state;
    for (unsigned i = 0; i < SHAPES; i++) {
        struct rig_shape shape = shape_of(i);
        shape.payload = 40;
        rig_build(&shape, &(struct rig_stamp){.seq = i, .tsc = NOW});
        for (uint32_t cut = 0; cut < rig_len; cut++) {
            struct pktbuf *frame = rig_frame(rig_bytes, rig_len, &cut, 2);
            assert_int_equal(sink_frame(&sink, frame, NOW), cut >= rig_stamp + STAMP_LEN);
            rig_free(frame);
        }
    }
    assert_int_equal(sink.bad_length, 0);
}

static void test_sessions(void **state) {
    (void)state;
    for (uint64_t seq = 0; seq < 10; seq++) {
        assert_true(give(0, 5, seq, NOW + seq * 100));
    }
    assert_int_equal(sink.sessions, 1);
    /* A second generator, or a damaged number: the first one goes on as if there were none. */
    assert_true(give(0, 6, 0, NOW + 900));
    assert_true(give(0, 4, 1000, NOW + 900 + SILENCE - 1));
    assert_true(give(0, 5, 10, NOW + 900 + SILENCE));
    assert_int_equal(sink.sessions, 1);
    assert_int_equal(sink.other_session, 2);
    assert_int_equal(sink.frames, 13);
    assert_int_equal(sink.session.frames, 11);
    assert_int_equal(sink_received(&sink), 11);
    assert_int_equal(sink.session.last_tsc - sink.session.first_tsc, 900 + SILENCE);

    const uint64_t later = NOW + 900 + 2 * (uint64_t)SILENCE;
    assert_true(give(0, 6, 2, later)); /* its 0 and 1 were lost on the way, or came before */
    assert_int_equal(sink.sessions, 2);
    assert_int_equal(sink.session.number, 6);
    assert_int_equal(sink.session.frames, 1);
    assert_int_equal(sink.session.first_tsc, later);
    assert_int_equal(sink.flows.missed_start, 2);
    assert_true(give(0, 5, 11, later)); /* a late one of the first */
    assert_true(give(0, 6, 4, later));
    assert_int_equal(sink.other_session, 3);
    assert_int_equal(sink.flows.lost, 1);
    assert_int_equal(sink.flows.duplicates, 0);
    assert_int_equal(sink_received(&sink), 13);
}

/* Session 0 is one as any other, also as the first. */
static void test_session_zero(void **state) {
    (void)state;
    assert_true(give(0, 0, 7, NOW));
    assert_int_equal(sink.sessions, 1);
    assert_int_equal(sink.session.first_tsc, NOW);
    assert_int_equal(sink.flows.missed_start, 7);
}

static void test_received_and_verdict(void **state) {
    (void)state;
    assert_true(sink_passed(&sink, 0)); /* nothing is known to be lost */
    for (uint64_t seq = 0; seq < 999; seq++) {
        give(0, 1, seq, NOW);
    }
    give(0, 1, 998, NOW);                         /* duplicate */
    give(16, 1, 0, NOW);                          /* unknown flow */
    give(1, 1, UINT64_MAX, NOW);                  /* absurd */
    assert_int_equal(sink_received(&sink), 999);
    assert_true(sink_passed(&sink, 0));
    give(0, 1, 1000, NOW);
    assert_int_equal(sink.frames, 1003);
    assert_int_equal(sink_received(&sink), 1000);
    for (uint64_t seq = 0; seq <= 70000; seq++) {
        give(2, 1, seq, NOW);
    }
    give(2, 1, 0, NOW);
    assert_int_equal(sink.flows.too_old, 1);
    assert_int_equal(sink_received(&sink), 1000 + 70001);
    sink.frames -= 70002;
    sink.flows.too_old = 0;
    assert_int_equal(sink.flows.lost, 1); /* of 1001: just over 999 millionths */
    assert_false(sink_passed(&sink, 999));
    assert_true(sink_passed(&sink, 1000));
    assert_true(sink_passed(&sink, 1000000));
    sink.corrupt = 1;
    assert_false(sink_passed(&sink, 1000000));
    sink.corrupt = 0;
    sink.bad_checksum = 1;
    assert_false(sink_passed(&sink, 1000000));
    sink.bad_checksum = 0;
    sink.flows.lost = UINT64_C(1) << 60; /* no product is too large */
    assert_false(sink_passed(&sink, 999999));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_sink, close_sink)
    const struct CMUnitTest tests[] = {
        TEST(test_shapes),
        TEST(test_other_frames),
        TEST(test_short_ip_header),
        TEST(test_cut_frames),
        TEST(test_bad_lengths),
        TEST(test_garbage),
        TEST(test_damaged),
        TEST(test_split_headers),
        TEST(test_sessions),
        TEST(test_session_zero),
        TEST(test_received_and_verdict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
