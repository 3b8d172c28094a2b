/* What is believed of the checksums of received frames, and those that are completed (5.1.6.4). */
#include "tests/unit/csum_frames.h"

#include "net/gso.h"

enum {
    PIECES_MAX = 8,
};

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

/* By a driver that takes no frames for several packets. */
static enum csum_rx received(const struct virtio_net_hdr *hdr, struct pktbuf *pieces_of_it) {
    return csum_offload_rx(hdr, pieces_of_it, 0, NULL);
}

/* What a sender with offload leaves: the sum of the pseudo-header in the field. */
static struct virtio_net_hdr partial(void) {
    struct virtio_net_hdr hdr = {0};
    sent(&hdr, frame, frame_len, frame_len);
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
        assert_int_equal(received(&hdr, scatter(1)), CSUM_RX_CHECK);
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
        assert_int_equal(received(&hdr, scatter(1)), CSUM_RX_TRUST);
        gather();
        assert_memory_equal(frame, before, frame_len);
        hdr = (struct virtio_net_hdr){.flags = VALID | 0x84, .csum_start = 0xffff};
        assert_int_equal(received(&hdr, scatter(1)), CSUM_RX_TRUST);
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
            assert_int_equal(received(&hdr, scatter(1 + round % PIECES_MAX)),
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
        const enum csum_rx verdict = received(&hdr, scatter(PIECES_MAX));
        if (pieces[0].len < field_off + 2) {
            assert_int_equal(verdict, CSUM_RX_CHECK);
            gather();
            assert_int_equal(verified(), 0xffff);
            const struct virtio_net_hdr valid = {.flags = VALID};
            assert_int_equal(received(&valid, pieces), CSUM_RX_CHECK);
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
        assert_int_equal(received(&hdr, scatter(1)), CSUM_RX_CHECK);
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
            const enum csum_rx verdict = received(&hdr, scatter(count));
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
            .gso_type = unit_below(&rnd, 2) ? VIRTIO_NET_HDR_GSO_UDP_L4 : 0,
            .gso_size = (uint16_t)unit_below(&rnd, 20),
            .csum_start = (uint16_t)unit_below(&rnd, 130),
            .csum_offset = (uint16_t)unit_below(&rnd, 30),
        };
        struct datagrams d;
        struct pktbuf *cut = scatter(1 + unit_below(&rnd, PIECES_MAX));
        if (csum_offload_rx(&hdr, cut, GSO_ALL, &d) == CSUM_RX_DATAGRAMS) {
            for (uint32_t i = 0; i < datagrams_count(&d); i++) {
                uint8_t *out = malloc(datagrams_len(&d, i));
                datagrams_copy(&d, cut, i, out);
                free(out);
            }
        }
        struct virtio_net_hdr tx = {0};
        uint8_t *bytes = malloc(frame_len);
        memcpy(bytes, frame, frame_len);
        sent(&tx, bytes, frame_len, frame_len);
        free(bytes);
    }
}

/* Only what was negotiated (5.1.6.4.1). */
static void test_received_uncut(void **state) {
    (void)state;
    FOR_SHAPES(s) {
        for (unsigned type = 0; type < 256; type++) {
            struct datagrams datagrams;
            build(&s);
            struct virtio_net_hdr hdr = partial();
            hdr.gso_type = (uint8_t)type;
            hdr.gso_size = 7;
            const bool tcp = type == VIRTIO_NET_HDR_GSO_TCPV4 || type == VIRTIO_NET_HDR_GSO_TCPV6;
            const bool udp = type == VIRTIO_NET_HDR_GSO_UDP_L4 && s.protocol == UDP;
            const enum csum_rx verdict = csum_offload_rx(&hdr, scatter(1), GSO_ALL, &datagrams);
            assert_int_equal(verdict, type == 0 || tcp ? CSUM_RX_TRUST
                                      : udp            ? CSUM_RX_DATAGRAMS
                                                       : CSUM_RX_BAD);
            if (udp) {
                assert_int_equal(datagrams.size, 7);
                assert_int_equal(datagrams.place.start, l4_off);
            }
            if (type != 0) {
                const unsigned kind = type == VIRTIO_NET_HDR_GSO_TCPV4   ? GSO_TCP4
                                      : type == VIRTIO_NET_HDR_GSO_TCPV6 ? GSO_TCP6
                                      : s.v6                             ? GSO_UDP6
                                                                         : GSO_UDP4;
                const unsigned others = GSO_ALL & ~kind;
                assert_int_equal(csum_offload_rx(&hdr, scatter(1), others, &datagrams),
                                 CSUM_RX_BAD);
                hdr.flags = VALID;
                assert_int_equal(csum_offload_rx(&hdr, scatter(1), GSO_ALL, &datagrams), verdict);
            }
        }
    }
}

/* Datagrams of no bytes, or whose headers cannot be seen, cannot be told apart. */
static void test_received_datagrams_unclear(void **state) {
    const struct shape plain = {.protocol = UDP, .data_len = 100};
    const struct shape fragment = {.protocol = UDP, .fragment = 0x2000, .data_len = 100};
    struct datagrams datagrams;
    (void)state;
    build(&plain);
    struct virtio_net_hdr hdr = partial();
    hdr.gso_type = VIRTIO_NET_HDR_GSO_UDP_L4;
    assert_int_equal(csum_offload_rx(&hdr, scatter(1), GSO_ALL, &datagrams), CSUM_RX_BAD);
    hdr.gso_size = 10;
    hdr.csum_start--;
    assert_int_equal(csum_offload_rx(&hdr, scatter(1), GSO_ALL, &datagrams), CSUM_RX_BAD);
    hdr.csum_start++;
    assert_int_equal(csum_offload_rx(&hdr, scatter(1), GSO_ALL, &datagrams), CSUM_RX_DATAGRAMS);
    build(&fragment);
    assert_int_equal(csum_offload_rx(&hdr, scatter(1), GSO_ALL, &datagrams), CSUM_RX_BAD);
}

/* Each datagram of a frame is the frame that it would have been by itself. */
static void test_datagrams(void **state) {
    (void)state;
    FOR_SHAPES(s) {
        if (s.protocol != UDP || s.data_len == 0) {
            continue;
        }
        for (uint32_t size = 1; size <= s.data_len + 1; size += 1 + s.data_len / 7) {
            struct datagrams d = {.size = (uint16_t)size};
            build(&s);
            const uint16_t id = (uint16_t)(frame[ip_off + 4] << 8 | frame[ip_off + 5]);
            const uint8_t *data = frame + l4_off + 8;
            assert_int_equal(l4_find(frame, frame_len, frame_len, &d.place), L4_PLAIN);
            struct pktbuf *cut = scatter(1 + unit_below(&rnd, PIECES_MAX));
            uint32_t seen = 0;
            for (uint32_t i = 0; i < datagrams_count(&d); i++) {
                const uint32_t len = datagrams_len(&d, i);
                uint8_t *out = malloc(len); /* exactly: a byte too many shows */
                struct l4_place place;
                datagrams_copy(&d, cut, i, out);
                assert_int_equal(l4_find(out, len, len, &place), L4_PLAIN);
                assert_int_equal(place.start, l4_off);
                assert_int_equal(place.start + place.len, len);
                assert_int_equal(out[l4_off + 4] << 8 | out[l4_off + 5], place.len);
                assert_memory_equal(out, frame, ip_off);
                assert_memory_equal(out + l4_off, frame + l4_off, 4);
                assert_memory_equal(out + l4_off + 8, data + seen, place.len - 8);
                if (!s.v6) {
                    assert_int_equal(folded(add_words(0, out + ip_off, l4_off - ip_off)), 0xffff);
                    assert_int_equal((uint16_t)(out[ip_off + 4] << 8 | out[ip_off + 5]),
                                     (uint16_t)(id + i));
                }
                seen += place.len - 8;
                assert_true(place.len - 8 == size || seen == s.data_len);
                free(out);
            }
            assert_int_equal(seen, s.data_len);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_received_without_flags, free_pieces),
        cmocka_unit_test_teardown(test_received_plain, free_pieces),
        cmocka_unit_test_teardown(test_received_uncut, free_pieces),
        cmocka_unit_test_teardown(test_received_datagrams_unclear, free_pieces),
        cmocka_unit_test_teardown(test_datagrams, free_pieces),
        cmocka_unit_test_teardown(test_received_completed, free_pieces),
        cmocka_unit_test_teardown(test_received_split, free_pieces),
        cmocka_unit_test_teardown(test_received_valid_fragment, free_pieces),
        cmocka_unit_test_teardown(test_received_out_of_frame, free_pieces),
        cmocka_unit_test_teardown(test_received_noise, free_pieces),
    };
    return cmocka_run_group_tests_name("checksums of received frames", tests, NULL, NULL);
}
