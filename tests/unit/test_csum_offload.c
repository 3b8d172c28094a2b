/* Checksum offload. Frames are built and judged here by the text of the RFCs, byte by byte, and the
 * device's part is played from 5.1.6.2: sum from csum_start to the end, inverted, stored at
 * csum_offset. */
#include "tests/unit/unit.h"

#include "net/csum_offload.h"

#include <stdlib.h>
#include <string.h>

enum {
    FRAME_MAX = 1600,
    TCP = 6,
    UDP = 17,
    ICMP = 1,
    PIECES_MAX = 8,
    NEEDS = VIRTIO_NET_HDR_F_NEEDS_CSUM,
    VALID = VIRTIO_NET_HDR_F_DATA_VALID,
};

struct shape {
    bool v6;
    bool vlan;
    uint8_t protocol;
    uint8_t options;     /* words of IPv4 options */
    uint16_t fragment;   /* IPv4 fragment field */
    uint8_t next_header; /* IPv6: instead of the protocol */
    uint32_t data_len;
    uint32_t padding; /* behind the packet */
};

static struct unit_random rnd = {.state = 4711};

static uint8_t frame[FRAME_MAX];
static uint32_t frame_len;
static uint32_t ip_off;
static uint32_t l4_off;
static uint32_t l4_len;
static uint32_t field_off; /* of the checksum, in the frame */

static void put16(uint8_t *p, uint32_t value) {
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static void build(const struct shape *s) {
    const bool tcp = s->protocol == TCP;
    for (unsigned i = 0; i < FRAME_MAX; i++) {
        frame[i] = (uint8_t)unit_random(&rnd);
    }
    ip_off = 14 + (s->vlan ? 4 : 0);
    if (s->vlan) {
        put16(frame + 12, 0x8100);
        put16(frame + 14, 5);
    }
    put16(frame + ip_off - 2, s->v6 ? 0x86dd : 0x0800);
    l4_off = ip_off + (s->v6 ? 40u : 20u + s->options * 4u);
    l4_len = (tcp ? 20 : 8) + s->data_len;
    if (s->v6) {
        frame[ip_off] = 0x60;
        put16(frame + ip_off + 4, l4_len);
        frame[ip_off + 6] = s->next_header != 0 ? s->next_header : s->protocol;
    } else {
        frame[ip_off] = (uint8_t)(0x45 + s->options);
        put16(frame + ip_off + 2, l4_off - ip_off + l4_len);
        put16(frame + ip_off + 6, s->fragment);
        frame[ip_off + 9] = s->protocol;
    }
    if (s->protocol == UDP) {
        put16(frame + l4_off + 4, l4_len);
    }
    field_off = l4_off + (tcp ? 16 : 6);
    put16(frame + field_off, 0);
    frame_len = l4_off + l4_len + s->padding;
    memset(frame + l4_off + l4_len, 0, s->padding);
}

/* RFC 1071, without any cleverness. */
static uint32_t add_words(uint32_t sum, const uint8_t *p, uint32_t len) {
    for (uint32_t i = 0; i < len; i++) {
        sum += i % 2 == 0 ? (uint32_t)p[i] << 8 : p[i];
    }
    return sum;
}

static uint16_t folded(uint32_t sum) {
    while (sum > 0xffff) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)sum;
}

/* Sum of pseudo-header, TCP or UDP header and data: 0xffff when the checksum is right. */
static uint16_t verified(void) {
    const bool v6 = frame[ip_off] >> 4 == 6;
    uint32_t sum = add_words(0, frame + ip_off + (v6 ? 8 : 12), v6 ? 32 : 8);
    sum += (v6 ? frame[ip_off + 6] : frame[ip_off + 9]) + l4_len;
    return folded(add_words(sum, frame + l4_off, l4_len));
}

/* The device's part. */
static void device_completes(const struct virtio_net_hdr *hdr) {
    const uint32_t start = hdr->csum_start;
    assert_true(start + hdr->csum_offset + 2 <= frame_len);
    uint16_t sum = (uint16_t)~folded(add_words(0, frame + start, frame_len - start));
    put16(frame + start + hdr->csum_offset, sum == 0 ? 0xffff : sum);
}

static void expect_untouched(const struct virtio_net_hdr *hdr, const uint8_t *before) {
    const struct virtio_net_hdr none = {0};
    assert_memory_equal(hdr, &none, sizeof(none));
    assert_memory_equal(frame, before, frame_len);
}

#define FOR_SHAPES(s)                                                                              \
    for (unsigned shape_no = 0; shape_no < 8; shape_no++)                                          \
        for (uint32_t data = 0; data < 70; data++)                                                 \
            for (struct shape s = {.v6 = shape_no & 1, .vlan = shape_no & 2,                       \
                                   .protocol = shape_no & 4 ? TCP : UDP, .data_len = data},        \
                              *once = &s;                                                          \
                 once != NULL; once = NULL)

static void test_sent(void **state) {
    (void)state;
    FOR_SHAPES(s) {
        struct virtio_net_hdr hdr = {0};
        build(&s);
        assert_int_equal(csum_offload_tx(&hdr, frame, frame_len, frame_len), CSUM_TX_DONE);
        assert_int_equal(hdr.flags, NEEDS);
        assert_int_equal(hdr.csum_start, l4_off);
        assert_int_equal(hdr.csum_offset, s.protocol == TCP ? 16 : 6);
        assert_int_equal(hdr.gso_type | hdr.gso_size | hdr.hdr_len | hdr.num_buffers, 0);
        device_completes(&hdr);
        assert_int_equal(verified(), 0xffff);
    }
}

/* The same without a device that makes checksums. */
static void test_sent_finished(void **state) {
    const struct virtio_net_hdr none = {0};
    (void)state;
    FOR_SHAPES(s) {
        struct virtio_net_hdr hdr = {0};
        build(&s);
        csum_offload_tx(&hdr, frame, frame_len, frame_len);
        csum_offload_finish(&hdr, frame, frame_len);
        assert_memory_equal(&hdr, &none, sizeof(none));
        assert_int_equal(verified(), 0xffff);
        uint8_t before[FRAME_MAX];
        memcpy(before, frame, sizeof(frame));
        csum_offload_finish(&hdr, frame, frame_len); /* nothing is asked for */
        expect_untouched(&hdr, before);
    }
}

/* With IPv4 options the header starts later. */
static void test_sent_with_options(void **state) {
    (void)state;
    for (uint8_t options = 0; options <= 10; options++) {
        const struct shape s = {.protocol = TCP, .options = options, .data_len = 33};
        struct virtio_net_hdr hdr = {0};
        build(&s);
        csum_offload_tx(&hdr, frame, frame_len, frame_len);
        assert_int_equal(hdr.csum_start, 34 + 4 * options);
        device_completes(&hdr);
        assert_int_equal(verified(), 0xffff);
    }
}

/* Frames that the device is not asked about stay as they are. */
static void test_sent_not_asked(void **state) {
    static const struct shape shapes[] = {
        {.protocol = UDP, .fragment = 0x2000, .data_len = 100}, /* the first fragment */
        {.protocol = UDP, .fragment = 0x00b9, .data_len = 100}, /* the last */
        {.protocol = TCP, .fragment = 0x20b9, .data_len = 100},
        {.protocol = ICMP, .data_len = 100},
        {.v6 = true, .protocol = UDP, .next_header = 44, .data_len = 100}, /* fragment header */
        {.v6 = true, .protocol = UDP, .next_header = 0x3a, .data_len = 100}, /* ICMPv6 */
        {.v6 = true, .protocol = TCP, .next_header = 60, .data_len = 100}, /* options */
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
        struct virtio_net_hdr hdr = {0};
        uint8_t before[FRAME_MAX];
        build(&shapes[i]);
        memcpy(before, frame, sizeof(frame));
        assert_int_equal(csum_offload_tx(&hdr, frame, frame_len, frame_len), CSUM_TX_DONE);
        expect_untouched(&hdr, before);
    }
}

/* A checksum that is there was made on purpose: of a datagram that is no longer in one frame. */
static void test_sent_complete(void **state) {
    const struct shape s = {.protocol = UDP, .data_len = 100};
    struct virtio_net_hdr hdr = {0};
    uint8_t before[FRAME_MAX];
    (void)state;
    build(&s);
    put16(frame + field_off, 0x0100);
    memcpy(before, frame, sizeof(frame));
    assert_int_equal(csum_offload_tx(&hdr, frame, frame_len, frame_len), CSUM_TX_DONE);
    expect_untouched(&hdr, before);
}

/* The first piece ends within the headers, wherever; behind the field it does not matter. */
static void test_sent_split(void **state) {
    (void)state;
    FOR_SHAPES(s) {
        struct virtio_net_hdr hdr = {0};
        uint8_t before[FRAME_MAX];
        if (s.data_len != 30) {
            continue;
        }
        build(&s);
        memcpy(before, frame, sizeof(frame));
        for (uint32_t len = 0; len < field_off + 2; len++) {
            uint8_t *piece = malloc(len + 1); /* so that a byte too many shows */
            memcpy(piece + 1, frame, len);
            assert_int_equal(csum_offload_tx(&hdr, piece + 1, len, frame_len), CSUM_TX_SPLIT);
            free(piece);
            expect_untouched(&hdr, before);
        }
        assert_int_equal(csum_offload_tx(&hdr, frame, field_off + 2, frame_len), CSUM_TX_DONE);
        device_completes(&hdr);
        assert_int_equal(verified(), 0xffff);
    }
}

/* --- received ---------------------------------------------------------------------------------- */

static struct pktbuf pieces[PIECES_MAX];
static uint8_t *piece_memory[PIECES_MAX];

/* Cuts the frame into pieces, each in memory of exactly its size. */
static struct pktbuf *scatter(unsigned count) {
    uint32_t off = 0;
    for (unsigned i = 0; i < count; i++) {
        const uint32_t left = frame_len - off;
        const uint32_t len = i + 1 == count ? left : unit_below(&rnd, left + 1);
        free(piece_memory[i]);
        piece_memory[i] = malloc(len + 1);
        memcpy(piece_memory[i] + 1, frame + off, len); /* + 1: malloc(0) and odd addresses */
        pieces[i] = (struct pktbuf){
            .data = piece_memory[i] + 1,
            .len = len,
            .frame_len = i == 0 ? frame_len : 0,
            .next = i + 1 == count ? NULL : &pieces[i + 1],
        };
        off += len;
    }
    return pieces;
}

static void gather(void) {
    uint32_t off = 0;
    for (const struct pktbuf *piece = pieces; piece != NULL; piece = piece->next) {
        memcpy(frame + off, piece->data, piece->len);
        off += piece->len;
    }
    assert_int_equal(off, frame_len);
}

static int free_pieces(void **state) {
    (void)state;
    for (unsigned i = 0; i < PIECES_MAX; i++) {
        free(piece_memory[i]);
        piece_memory[i] = NULL;
    }
    return 0;
}

/* What a sender with offload leaves: the sum of the pseudo-header in the field. */
static struct virtio_net_hdr partial(void) {
    struct virtio_net_hdr hdr = {0};
    csum_offload_tx(&hdr, frame, frame_len, frame_len);
    assert_int_equal(hdr.flags, NEEDS);
    return hdr;
}

/* Without either flag nothing is believed, whatever the rest says. */
static void test_received_without_flags(void **state) {
    (void)state;
    FOR_SHAPES(s) {
        build(&s);
        struct virtio_net_hdr hdr = {.flags = (uint8_t)~(NEEDS | VALID), .csum_start = 0xffff,
                                     .csum_offset = 0xffff, .gso_type = 0xff};
        assert_int_equal(csum_offload_rx(&hdr, scatter(1)), CSUM_RX_CHECK);
    }
}

static void test_received_plain(void **state) {
    (void)state;
    FOR_SHAPES(s) {
        s.padding = s.data_len % 3;
        build(&s);
        struct virtio_net_hdr hdr = partial();
        uint8_t before[FRAME_MAX];
        memcpy(before, frame, sizeof(frame));
        assert_int_equal(csum_offload_rx(&hdr, scatter(1)), CSUM_RX_TRUST);
        gather();
        assert_memory_equal(frame, before, frame_len);
        hdr = (struct virtio_net_hdr){.flags = VALID | 0x84, .csum_start = 0xffff};
        assert_int_equal(csum_offload_rx(&hdr, scatter(1)), CSUM_RX_TRUST);
    }
}

/* What cannot be left to lwIP is completed, in pieces of any size. */
static void test_received_completed(void **state) {
    static const struct shape shapes[] = {
        {.protocol = UDP, .fragment = 0x2000, .data_len = 100},
        {.v6 = true, .protocol = TCP, .next_header = 60, .data_len = 101},
        {.protocol = ICMP, .data_len = 177},
        {.protocol = TCP, .data_len = 1001},
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
        for (unsigned round = 0; round < 400; round++) {
            build(&shapes[i]);
            /* Any start and field: the rules of the sum are the same. */
            struct virtio_net_hdr hdr = {
                .flags = NEEDS,
                .csum_start = (uint16_t)(l4_off + 1 + unit_below(&rnd, 50)),
                .csum_offset = (uint16_t)unit_below(&rnd, 40),
            };
            const uint32_t start = hdr.csum_start;
            assert_int_equal(csum_offload_rx(&hdr, scatter(1 + round % PIECES_MAX)),
                             CSUM_RX_CHECK);
            uint8_t expected[FRAME_MAX];
            memcpy(expected, frame, sizeof(frame));
            uint16_t sum = (uint16_t)~folded(add_words(0, expected + start, frame_len - start));
            put16(expected + start + hdr.csum_offset, sum == 0 ? 0xffff : sum);
            gather();
            assert_memory_equal(frame, expected, frame_len);
        }
    }
}

/* Headers that lie in several pieces are not looked at, but the sum comes out right. */
static void test_received_split(void **state) {
    (void)state;
    FOR_SHAPES(s) {
        build(&s);
        const struct virtio_net_hdr hdr = partial();
        const enum csum_rx verdict = csum_offload_rx(&hdr, scatter(PIECES_MAX));
        if (pieces[0].len < field_off + 2) {
            assert_int_equal(verdict, CSUM_RX_CHECK);
            gather();
            assert_int_equal(verified(), 0xffff);
            const struct virtio_net_hdr valid = {.flags = VALID};
            assert_int_equal(csum_offload_rx(&valid, pieces), CSUM_RX_CHECK);
        } else {
            assert_int_equal(verdict, CSUM_RX_TRUST);
        }
    }
}

/* "Valid" is not said of a whole datagram when the frame is a fragment of it. */
static void test_received_valid_fragment(void **state) {
    static const struct shape shapes[] = {
        {.protocol = UDP, .fragment = 0x2000, .data_len = 100},
        {.protocol = UDP, .fragment = 0x0001, .data_len = 100},
        {.v6 = true, .protocol = UDP, .next_header = 44, .data_len = 100},
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
        const struct virtio_net_hdr hdr = {.flags = VALID};
        build(&shapes[i]);
        assert_int_equal(csum_offload_rx(&hdr, scatter(1)), CSUM_RX_CHECK);
    }
}

static void test_received_out_of_frame(void **state) {
    const struct shape s = {.protocol = UDP, .data_len = 20};
    (void)state;
    build(&s);
    const struct {
        uint32_t start, offset;
        bool good;
    } cases[] = {
        {frame_len - 2, 0, true}, {frame_len - 1, 0, false}, {frame_len, 0, false},
        {0, frame_len - 2, true}, {0, frame_len - 1, false}, {0xffff, 0, false},
        {0, 0xffff, false},       {0xffff, 0xffff, false},   {0x8000, 0x8000, false},
        {34, 28, false},          {34, 26, true},            {0, 0, true},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct virtio_net_hdr hdr = {.flags = NEEDS,
                                           .csum_start = (uint16_t)cases[i].start,
                                           .csum_offset = (uint16_t)cases[i].offset};
        for (unsigned count = 1; count <= PIECES_MAX; count++) {
            const enum csum_rx verdict = csum_offload_rx(&hdr, scatter(count));
            assert_int_equal(verdict == CSUM_RX_BAD, !cases[i].good);
        }
    }
}

/* Any header with any bytes behind it: nothing outside of the pieces is touched. */
static void test_received_noise(void **state) {
    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        struct shape s = {.v6 = unit_below(&rnd, 2), .vlan = unit_below(&rnd, 2),
                          .protocol = unit_below(&rnd, 2) ? TCP : UDP,
                          .data_len = unit_below(&rnd, 60)};
        build(&s);
        for (unsigned i = unit_below(&rnd, 4); i > 0; i--) {
            frame[unit_below(&rnd, frame_len)] = (uint8_t)unit_random(&rnd);
        }
        frame_len = 14 + unit_below(&rnd, frame_len - 13);
        const struct virtio_net_hdr hdr = {
            .flags = (uint8_t)unit_random(&rnd),
            .csum_start = (uint16_t)unit_below(&rnd, 130),
            .csum_offset = (uint16_t)unit_below(&rnd, 30),
        };
        csum_offload_rx(&hdr, scatter(1 + unit_below(&rnd, PIECES_MAX)));
        struct virtio_net_hdr tx = {0};
        uint8_t *bytes = malloc(frame_len);
        memcpy(bytes, frame, frame_len);
        csum_offload_tx(&tx, bytes, frame_len, frame_len);
        free(bytes);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sent),
        cmocka_unit_test(test_sent_finished),
        cmocka_unit_test(test_sent_with_options),
        cmocka_unit_test(test_sent_not_asked),
        cmocka_unit_test(test_sent_complete),
        cmocka_unit_test(test_sent_split),
        cmocka_unit_test_teardown(test_received_without_flags, free_pieces),
        cmocka_unit_test_teardown(test_received_plain, free_pieces),
        cmocka_unit_test_teardown(test_received_completed, free_pieces),
        cmocka_unit_test_teardown(test_received_split, free_pieces),
        cmocka_unit_test_teardown(test_received_valid_fragment, free_pieces),
        cmocka_unit_test_teardown(test_received_out_of_frame, free_pieces),
        cmocka_unit_test_teardown(test_received_noise, free_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
