/* check=1: damage of every bit is seen, in frames of one buffer or several, wherever cut. */
#include "tests/unit/unit.h"

#include "tests/unit/sink_rig.h"

#include <string.h>

enum { NOW = 1000000 };

static struct sink sink;
static struct unit_random rnd = {.state = 4};

static int open_sink(void **state) {
    (void)state;
    rig_open(&sink, 16, true);
    return 0;
}

static int close_sink(void **state) {
    (void)state;
    rig_close();
    return 0;
}

/* What one frame, cut after len[0], len[1], ... bytes, adds to the counters. */
static void expect_pieces(const uint32_t *len, unsigned count, bool bad_checksum, bool corrupt) {
    struct pktbuf *frame = rig_frame(rig_bytes, rig_len, len, count);
    sink.bad_checksum = sink.corrupt = 0;
    assert_true(sink_frame(&sink, frame, NOW));
    assert_int_equal(sink.bad_checksum, bad_checksum);
    assert_int_equal(sink.corrupt, corrupt);
    rig_free(frame);
}

static void expect_whole(bool bad_checksum, bool corrupt) {
    expect_pieces(NULL, 1, bad_checksum, corrupt);
}

static struct rig_shape shape_of(unsigned i) {
    return (struct rig_shape){
        .tags = i & 1,
        .ip6 = (i & 2) != 0,
        .tcp = (i & 4) != 0,
        .options = i >> 3 & 1,
        .no_sum = (i & 16) != 0,
    };
}
enum { SHAPES = 32 };

/* Only UDP over IPv4 may leave the checksum out. */
static bool lacks_sum(const struct rig_shape *shape) {
    return shape->no_sum && (shape->ip6 || shape->tcp);
}

static void test_right_frames(void **state) {
    (void)state;
    for (unsigned i = 0; i < SHAPES; i++) {
        struct rig_shape shape = shape_of(i);
        for (shape.payload = 0; shape.payload < 100; shape.payload++) {
            rig_build(&shape, &(struct rig_stamp){.flow = i % 16, .seq = i, .tsc = NOW});
            expect_whole(lacks_sum(&shape), false);
        }
    }
    assert_int_equal(sink.bad_length, 0);
}

/* A sum that comes out as zero is sent as 0xffff (RFC 768): one of 65536 frames, to be found. */
static void test_sum_of_zero(void **state) {
    const struct rig_shape shape = {.payload = 16};
    unsigned seen = 0;
    (void)state;
    for (uint64_t seq = 0; seq < 400000 && seen == 0; seq++) {
        rig_build(&shape, &(struct rig_stamp){.seq = seq, .tsc = NOW});
        if (rig_bytes[rig_l4 + 6] == 0xff && rig_bytes[rig_l4 + 7] == 0xff) {
            seen++;
            expect_whole(false, false);
        }
    }
    assert_int_equal(seen, 1);
}

/* Each bit of the payload, with and without a checksum that shows it too. */
static void test_payload_bits(void **state) {
    (void)state;
    for (unsigned i = 0; i < SHAPES; i++) {
        struct rig_shape shape = shape_of(i);
        shape.payload = 61;
        rig_build(&shape, &(struct rig_stamp){.flow = 2, .seq = 1000 + i, .tsc = NOW});
        for (uint32_t bit = 0; bit < shape.payload * 8; bit++) {
            uint8_t *byte = &rig_bytes[rig_stamp + STAMP_LEN + bit / 8];
            *byte ^= (uint8_t)(1u << bit % 8);
            expect_whole(!shape.no_sum || lacks_sum(&shape), true);
            *byte ^= (uint8_t)(1u << bit % 8);
        }
        expect_whole(lacks_sum(&shape), false);
    }
}

/* Each bit that a checksum covers before the payload, if the frame is still a generator's. */
static void test_header_bits(void **state) {
    (void)state;
    for (unsigned i = 0; i < SHAPES; i++) {
        struct rig_shape shape = shape_of(i);
        shape.payload = 20;
        if (shape.no_sum) {
            continue;
        }
        rig_build(&shape, &(struct rig_stamp){.flow = 2, .seq = 5, .tsc = NOW});
        unsigned taken = 0;
        for (uint32_t bit = rig_ip * 8; bit < (rig_stamp + STAMP_LEN) * 8; bit++) {
            /* IPv6: class, flow label and hop limit are in no checksum */
            if (shape.ip6 && (bit < (rig_ip + 4) * 8 || bit / 8 == rig_ip + 7)) {
                continue;
            }
            rig_bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            sink.bad_checksum = sink.bad_length = 0;
            if (rig_give(&sink, NOW)) {
                taken++;
                assert_int_equal(sink.bad_checksum + sink.bad_length + sink.other_session, 1);
            }
            sink.other_session = 0;
            rig_bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        assert_true(taken > 300);
    }
}

/* Right data of another frame is wrong here. */
static void test_other_payload(void **state) {
    const struct rig_shape shape = {.payload = 32};
    const struct rig_stamp stamp = {.flow = 1, .seq = 7, .tsc = NOW};
    (void)state;
    rig_build(&shape, &stamp);
    stamp_payload_write(stamp_payload_base(RIG_SEED, 1, 8), rig_bytes + rig_stamp + STAMP_LEN, 32);
    expect_whole(false, true); /* to the checksum blocks are all the same */
    rig_build(&shape, &stamp);
    stamp_payload_write(stamp_payload_base(RIG_SEED + 1, 1, 7), rig_bytes + rig_stamp + STAMP_LEN,
                        32);
    expect_whole(false, true);
    sink.seed = RIG_SEED + 1;
    expect_whole(false, false);
}

/* Two pieces, cut at every place behind the stamp; then with each byte damaged. */
static void test_every_cut(void **state) {
    (void)state;
    for (unsigned i = 0; i < 16; i++) {
        struct rig_shape shape = shape_of(i);
        shape.payload = 75;
        rig_build(&shape, &(struct rig_stamp){.flow = 1, .seq = 8, .tsc = NOW});
        const uint32_t first = rig_stamp + STAMP_LEN;
        for (uint32_t cut = first; cut <= rig_len; cut++) {
            expect_pieces(&cut, 2, false, false);
            for (uint32_t at = first; at < rig_len; at++) {
                rig_bytes[at] ^= 0x10;
                expect_pieces(&cut, 2, true, true);
                rig_bytes[at] ^= 0x10;
            }
        }
    }
}

/* Many pieces of any length, of frames of any length; some pieces are empty. */
static void test_many_cuts(void **state) {
    (void)state;
    for (unsigned n = 0; n < 30000; n++) {
        struct rig_shape shape = shape_of(unit_below(&rnd, 16));
        shape.payload = unit_below(&rnd, n % 100 == 0 ? 9000 : 200);
        rig_build(&shape, &(struct rig_stamp){.flow = 1, .seq = n, .tsc = NOW});
        uint32_t len[RIG_PIECES_MAX];
        uint32_t left = shape.payload;
        const unsigned count = 2 + unit_below(&rnd, RIG_PIECES_MAX - 1);
        for (unsigned i = 0; i + 1 < count; i++) {
            const uint32_t most = unit_below(&rnd, 2) == 0 || left < 20 ? left : 20;
            len[i] = unit_below(&rnd, most + 1);
            left -= len[i];
        }
        len[0] += rig_stamp + STAMP_LEN;
        expect_pieces(len, count, false, false);
        if (shape.payload > 0) {
            rig_bytes[rig_stamp + STAMP_LEN + unit_below(&rnd, shape.payload)] ^= 1;
            expect_pieces(len, count, true, true);
        }
    }
}

/* Who does not ask for it pays nothing. */
static void test_off(void **state) {
    const struct rig_shape shape = {.payload = 20};
    (void)state;
    rig_close();
    rig_open(&sink, 16, false);
    rig_build(&shape, &(struct rig_stamp){.tsc = NOW});
    rig_bytes[rig_len - 1] ^= 1;
    expect_whole(false, false);
    assert_true(sink_passed(&sink, 0));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_sink, close_sink)
    const struct CMUnitTest tests[] = {
        TEST(test_right_frames),
        TEST(test_sum_of_zero),
        TEST(test_payload_bits),
        TEST(test_header_bits),
        TEST(test_other_payload),
        TEST(test_every_cut),
        TEST(test_many_cuts),
        TEST(test_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
