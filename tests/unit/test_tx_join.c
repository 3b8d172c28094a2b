/* Frames that become one (net/tx_join.h). A stream of packets is joined as net/netif_tx.c does it, then cut as
 * a device does it (5.1.6.2 and what TCP and UDP ask for): the packets that were sent must come out. */
#include "tests/unit/join_rig.h"

static int clean(void **state) {
    (void)state;
    for (unsigned i = 0; i < out_count; i++) {
        free(out[i].data);
    }
    out_count = joined = replaced = 0;
    held.used = held.bundle = false;
    return 0;
}

static const struct flow shapes[] = {
    {.port = 1000, .ttl = 64},
    {.port = 1000, .ttl = 64, .options = 3},
    {.port = 1000, .ttl = 64, .options = 10, .vlan = true},
    {.port = 1000, .ttl = 64, .v6 = true},
    {.port = 1000, .ttl = 64, .v6 = true, .vlan = true, .options = 3},
    {.port = 1000, .ttl = 64, .udp = true},
    {.port = 1000, .ttl = 64, .udp = true, .v6 = true, .vlan = true},
};

#define FOR_FLOWS(f) for (const struct flow *f = shapes; f < shapes + ARRAY_SIZE(shapes); f++)

/* What arrives is what was sent; what may be newer is newer, and nothing else differs. */
static void expect_same(const struct flow *f, const struct packet *want, const struct packet *got) {
    const uint32_t ip = ip_offset(f);
    const uint32_t l4 = ip + (f->v6 ? 40 : 20);
    assert_int_equal(got->len, want->len);
    assert_memory_equal(got->data, want->data, ip);
    assert_memory_equal(got->data + want->headers_len, want->data + want->headers_len,
                        want->len - want->headers_len);
    assert_memory_equal(got->data + l4, want->data + l4, 4);
    if (!f->udp) {
        assert_int_equal(get32(got->data + l4 + 4), get32(want->data + l4 + 4));
        const uint32_t ack = get32(got->data + l4 + 8);
        assert_true((int32_t)(ack - get32(want->data + l4 + 8)) >= 0);
        assert_int_equal(ether_be16(got->data + l4 + 14), ack & 0xffff); /* window, options: as new */
        for (uint32_t i = 20; i < 20 + 4u * f->options; i++) {
            assert_int_equal(got->data[l4 + i], (uint8_t)(ack + i));
        }
        assert_int_equal(got->data[l4 + 13] & ~PSH, want->data[l4 + 13] & ~PSH);
    }
}

/* A run of full segments and a short one is one frame, whatever the sizes. */
static void test_run(void **state) {
    static const uint32_t sizes[] = {1, 7, 100, 536, 1448, 8948};
    (void)state;
    FOR_FLOWS(f) {
        for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++) {
            struct packet sent[7];
            uint32_t seq = 0xffffff00; /* it wraps */
            for (unsigned i = 0; i < 7; i++) {
                const uint32_t len = i < 6 ? sizes[s] : (sizes[s] + 1) / 2;
                sent[i] = make(f, i % 3 == 2 ? ACK | PSH : ACK, seq, 500 + i, len, GSO_ALL);
                seq += len;
                send(f, &sent[i]);
            }
            assert_int_equal(joined, 6);
            close_held();
            assert_int_equal(out_count, 7);
            for (unsigned i = 0; i < 7; i++) {
                expect_same(f, &sent[i], &out[i]);
                free(sent[i].data);
            }
            const uint32_t flags = ip_offset(f) + (f->v6 ? 40 : 20) + 13;
            assert_true(f->udp || (out[6].data[flags] & PSH)); /* an earlier one moved to the end */
            clean(state);
        }
    }
}

/* The end of a connection travels with its last data, and is not said before. */
static void test_end(void **state) {
    (void)state;
    FOR_FLOWS(f) {
        if (f->udp) {
            continue;
        }
        struct packet sent[4];
        for (unsigned i = 0; i < 4; i++) {
            sent[i] = make(f, i == 2 ? ACK | FIN : ACK, 50 * i, 7, 50, GSO_ALL);
            send(f, &sent[i]);
        }
        close_held();
        assert_int_equal(joined, 2);
        assert_int_equal(out_count, 4);
        for (unsigned i = 0; i < 4; i++) {
            expect_same(f, &sent[i], &out[i]);
            free(sent[i].data);
        }
        clean(state);
    }
}

/* As long as IP's length can say, and no longer. */
static void test_longest(void **state) {
    (void)state;
    FOR_FLOWS(f) {
        for (unsigned i = 0; i < 48; i++) {
            struct packet p = make(f, ACK, i * 1400, 1, 1400, GSO_ALL);
            send(f, &p);
            assert_true(held.len - ip_offset(f) <= 65535);
            free(p.data);
        }
        assert_true(joined >= 45);
        close_held();
        assert_int_equal(out_count, 48);
        clean(state);
    }
}

/* Two packets that must not become one. */
static void apart(const struct flow *f, struct packet a, const struct flow *g, struct packet b) {
    send(f, &a);
    send(g, &b);
    close_held();
    assert_int_equal(joined, 0);
    assert_int_equal(replaced, 0);
    assert_int_equal(out_count, 2);
    assert_memory_equal(out[0].data, a.data, a.len);
    assert_memory_equal(out[1].data, b.data, b.len);
    clean(NULL);
    free(a.data);
    free(b.data);
}

static void test_apart(void **state) {
    (void)state;
    FOR_FLOWS(f) {
        struct flow g = *f;
        g.port++;
        apart(f, make(f, ACK, 100, 5, 50, GSO_ALL), &g, make(&g, ACK, 150, 5, 50, GSO_ALL));
        g = *f;
        g.ttl--;
        apart(f, make(f, ACK, 100, 5, 50, GSO_ALL), &g, make(&g, ACK, 150, 5, 50, GSO_ALL));
        g = *f;
        g.vlan = !g.vlan;
        apart(f, make(f, ACK, 100, 5, 50, GSO_ALL), &g, make(&g, ACK, 150, 5, 50, GSO_ALL));
        g = *f;
        g.v6 = !g.v6;
        apart(f, make(f, ACK, 100, 5, 50, GSO_ALL), &g, make(&g, ACK, 150, 5, 50, GSO_ALL));
        /* a longer one behind, or a device that does not cut this kind */
        apart(f, make(f, ACK, 100, 5, 50, GSO_ALL), f, make(f, ACK, 150, 5, 51, GSO_ALL));
        const unsigned tcp = f->v6 ? GSO_TCP6 : GSO_TCP4, udp = f->v6 ? GSO_UDP6 : GSO_UDP4;
        const unsigned others = GSO_ALL & ~(f->udp ? udp : tcp);
        apart(f, make(f, ACK, 100, 5, 50, others), f, make(f, ACK, 150, 5, 50, others));
        if (f->udp) {
            continue;
        }
        g = *f;
        g.options = f->options == 0 ? 3 : 0;
        apart(f, make(f, ACK, 100, 5, 50, GSO_ALL), &g, make(&g, ACK, 150, 5, 50, GSO_ALL));
        /* a gap, the same again, an older acknowledgement, and flags that mean more */
        apart(f, make(f, ACK, 100, 5, 50, GSO_ALL), f, make(f, ACK, 151, 5, 50, GSO_ALL));
        apart(f, make(f, ACK, 100, 5, 50, GSO_ALL), f, make(f, ACK, 100, 5, 50, GSO_ALL));
        apart(f, make(f, ACK, 100, 5, 50, GSO_ALL), f, make(f, ACK, 150, 4, 50, GSO_ALL));
        static const uint8_t flags[] = {0, SYN | ACK, RST | ACK, URG | ACK, 0x40 | ACK,
                                        0x80 | ACK};
        for (unsigned i = 0; i < ARRAY_SIZE(flags); i++) {
            apart(f, make(f, ACK, 100, 5, 50, GSO_ALL), f,
                  make(f, flags[i], 150, 5, 50, GSO_ALL));
            apart(f, make(f, flags[i], 100, 5, 50, GSO_ALL), f,
                  make(f, ACK, 150, 5, 50, GSO_ALL));
        }
        apart(f, make(f, ACK | FIN, 100, 5, 50, GSO_ALL), f, make(f, ACK, 150, 5, 50, GSO_ALL));
    }
}

/* A shorter one is the last. */
static void test_short_ends(void **state) {
    (void)state;
    FOR_FLOWS(f) {
        uint32_t seq = 0;
        static const uint32_t sizes[] = {50, 49, 49, 50};
        for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
            struct packet p = make(f, ACK, seq, 5, sizes[i], GSO_ALL);
            send(f, &p);
            seq += sizes[i];
            free(p.data);
        }
        assert_int_equal(joined, 1); /* the second; the fourth is longer than the third */
        close_held();
        assert_int_equal(out_count, 4);
        clean(state);
    }
}

/* An acknowledgement gives way to one that acknowledges more, with data or without. */
static void test_acknowledgements(void **state) {
    (void)state;
    FOR_FLOWS(f) {
        if (f->udp) {
            continue;
        }
        for (unsigned cut = 0; cut < 2; cut++) { /* whether the device cuts does not matter */
            for (unsigned i = 0; i < 5; i++) {
                struct packet p = make(f, ACK, 9, 0xfffffffe + i, i == 4 ? 10 : 0, cut ? GSO_ALL : 0);
                send(f, &p);
                free(p.data);
            }
            assert_int_equal(replaced, 4);
            close_held();
            assert_int_equal(out_count, 1);
            assert_int_equal(get32(out[0].data + ip_offset(f) + (f->v6 ? 40 : 20) + 8), 2);
            clean(state);
        }
        /* The same number again asks for a retransmission; an older one, or one with other flags, has
         * its own meaning, and so has data behind which the acknowledgement was sent. */
        apart(f, make(f, ACK, 9, 5, 0, GSO_ALL), f, make(f, ACK, 9, 5, 0, GSO_ALL));
        apart(f, make(f, ACK, 9, 5, 0, GSO_ALL), f, make(f, ACK, 9, 4, 0, GSO_ALL));
        apart(f, make(f, ACK, 9, 5, 0, GSO_ALL), f, make(f, ACK, 9, 5, 10, GSO_ALL));
        apart(f, make(f, ACK, 9, 5, 0, GSO_ALL), f, make(f, ACK, 10, 6, 0, GSO_ALL));
        apart(f, make(f, ACK, 9, 5, 0, GSO_ALL), f, make(f, ACK | FIN, 9, 6, 0, GSO_ALL));
        apart(f, make(f, ACK | FIN, 9, 5, 0, GSO_ALL), f, make(f, ACK, 9, 6, 0, GSO_ALL));
        apart(f, make(f, ACK, 9, 5, 10, GSO_ALL), f, make(f, ACK, 19, 6, 0, GSO_ALL));
        struct flow g = *f;
        g.port++;
        apart(f, make(f, ACK, 9, 5, 0, GSO_ALL), &g, make(&g, ACK, 9, 6, 0, GSO_ALL));
    }
}

/* Padding behind the packet, or headers that are not in one piece. */
static void test_not_understood(void **state) {
    (void)state;
    FOR_FLOWS(f) {
        struct packet p = make(f, ACK, 1, 1, 20, GSO_ALL);
        struct l4_place place;
        struct tx_join join;
        assert_int_equal(l4_find(p.data, p.len, p.len, &place), L4_PLAIN);
        tx_join_read(&join, p.data, p.len, p.len + 1, &place, GSO_ALL);
        assert_int_equal(join.kind, TX_JOIN_NEVER);
        for (uint32_t len = place.start; len < p.headers_len; len++) {
            tx_join_read(&join, p.data, len, p.len, &place, GSO_ALL);
            assert_int_equal(join.kind, TX_JOIN_NEVER);
        }
        free(p.data);
        if (f->udp) {
            continue;
        }
        for (unsigned words = 0; words < 16; words++) { /* a header that says its length wrong */
            struct packet q = make(f, ACK, 1, 1, 0, GSO_ALL);
            q.data[ip_offset(f) + (f->v6 ? 40 : 20) + 12] = (uint8_t)(words << 4);
            assert_int_equal(l4_find(q.data, q.len, q.len, &place), L4_PLAIN);
            tx_join_read(&join, q.data, q.len, q.len, &place, GSO_ALL);
            assert_int_equal(join.kind != TX_JOIN_NEVER, words == 5u + f->options ||
                                                             (words >= 5 && words < 5u + f->options));
            free(q.data);
        }
    }
}

/* Any mixture of flows: all data arrives, each flow in order; acknowledgements are never taken back. */
static void test_mixture(void **state) {
    (void)state;
    for (unsigned round = 0; round < 300; round++) {
        uint32_t seq[ARRAY_SIZE(shapes)] = {0}, ack[ARRAY_SIZE(shapes)] = {0};
        uint32_t bytes_in = 0, bytes_out = 0, data_in = 0, data_out = 0;
        for (unsigned i = 0; i < 100; i++) {
            const unsigned n = unit_below(&rnd, 3) ? round % ARRAY_SIZE(shapes)
                                                   : unit_below(&rnd, ARRAY_SIZE(shapes));
            const struct flow *f = &shapes[n];
            const uint32_t len = f->udp || unit_below(&rnd, 4) ? 1 + unit_below(&rnd, 2) * 40 : 0;
            ack[n] += unit_below(&rnd, 3);
            struct packet p = make(f, ACK, seq[n], ack[n], len, GSO_ALL);
            send(f, &p);
            seq[n] += len;
            bytes_in += len;
            data_in += len != 0;
            free(p.data);
            if (unit_below(&rnd, 10) == 0) {
                close_held();
            }
        }
        close_held();
        for (unsigned i = 0; i < out_count; i++) {
            struct l4_place place;
            /* Packets of a frame that was cut have the lengths of the whole. */
            const uint8_t *data = out[i].data;
            assert_true(l4_find(data, out[i].len, LEN_MAX, &place) == L4_PLAIN);
            const uint32_t head = place.start + (place.protocol == L4_UDP
                                                     ? 8u : (data[place.start + 12] >> 4) * 4u);
            bytes_out += out[i].len - head;
            data_out += out[i].len > head;
        }
        assert_int_equal(bytes_out, bytes_in);
        assert_int_equal(data_out, data_in);
        assert_int_equal(out_count + replaced, 100);
        clean(state);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_run, clean),
        cmocka_unit_test_teardown(test_end, clean),
        cmocka_unit_test_teardown(test_longest, clean),
        cmocka_unit_test_teardown(test_apart, clean),
        cmocka_unit_test_teardown(test_short_ends, clean),
        cmocka_unit_test_teardown(test_acknowledgements, clean),
        cmocka_unit_test_teardown(test_not_understood, clean),
        cmocka_unit_test_teardown(test_mixture, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
