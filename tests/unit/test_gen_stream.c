/* The frames of app=gen. Each is taken apart here, byte by byte, by the text of the RFCs, and
 * compared to what its number in the stream asks for. */
#include "tests/unit/gen_rig.h"

static struct unit_random rnd = {.state = 31};

/* RFC 1071, without any cleverness. */
static uint32_t add_words(uint32_t sum, const uint8_t *p, uint32_t len) {
    for (uint32_t i = 0; i < len; i++) {
        sum += i % 2 == 0 ? (uint32_t)p[i] << 8 : p[i];
    }
    return sum;
}

static uint32_t folded(uint32_t sum) {
    while (sum > 0xffff) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

/* What a frame is found to hold. */
struct found {
    uint64_t src_high, src, dst_high, dst;
    uint32_t sport, dport;
    uint32_t tcp_seq;
    const uint8_t *data; /* behind the header of UDP or TCP */
    uint32_t data_len;
};

struct kind {
    const char *words;
    bool v6, tcp;
    unsigned vlan, qinq;
};

static const uint8_t *take_tag(const uint8_t *at, unsigned ethertype, unsigned id) {
    if (id == 0) {
        return at;
    }
    assert_int_equal(get16(at), ethertype);
    assert_int_equal(get16(at + 2), id); /* priority 0 */
    return at + 4;
}

static const uint8_t *take_ip4(const uint8_t *ip, uint32_t len, uint8_t proto, struct found *f) {
    static const uint8_t zero[2];
    assert_int_equal(ip[0], 0x45);
    assert_int_equal(ip[1], 0);
    assert_int_equal(get16(ip + 2), len);
    assert_memory_equal(ip + 4, zero, 2);
    assert_int_equal(get16(ip + 6), 0x4000); /* DF, no offset */
    assert_int_equal(ip[8], 64);
    assert_int_equal(ip[9], proto);
    assert_int_equal(folded(add_words(0, ip, 20)), 0xffff);
    f->src = get(ip + 12, 4);
    f->dst = get(ip + 16, 4);
    return ip + 20;
}

static const uint8_t *take_ip6(const uint8_t *ip, uint32_t len, uint8_t proto, struct found *f) {
    assert_int_equal(get(ip, 4), 0x60000000);
    assert_int_equal(get16(ip + 4), len - 40);
    assert_int_equal(ip[6], proto);
    assert_int_equal(ip[7], 64);
    f->src_high = get(ip + 8, 8);
    f->src = get(ip + 16, 8);
    f->dst_high = get(ip + 24, 8);
    f->dst = get(ip + 32, 8);
    return ip + 40;
}

static void take_l4(const struct kind *kind, const uint8_t *l4, uint32_t len, struct found *f) {
    f->sport = get16(l4);
    f->dport = get16(l4 + 2);
    if (kind->tcp) {
        f->tcp_seq = (uint32_t)get(l4 + 4, 4);
        assert_int_equal(get(l4 + 8, 4), 1);       /* acknowledgment */
        assert_int_equal(get16(l4 + 12), 0x5010);  /* no options, ACK */
        assert_int_equal(get16(l4 + 14), 0xffff);  /* window */
        assert_int_equal(get16(l4 + 18), 0);       /* urgent */
    } else {
        assert_int_equal(get16(l4 + 4), len);
        assert_int_not_equal(get16(l4 + 6), 0); /* there is a checksum */
    }
    f->data = l4 + (kind->tcp ? 20 : 8);
    f->data_len = len - (kind->tcp ? 20 : 8);
}

static struct found take_apart(const struct kind *kind, const uint8_t *frame, uint32_t len) {
    struct found f = {0};
    const uint8_t proto = kind->tcp ? 6 : 17;
    assert_memory_equal(frame, ((const uint8_t[]){2, 0, 0, 0, 0, 1}), 6);
    assert_memory_equal(frame + 6, ((const uint8_t[]){0x52, 0x54, 0, 1, 2, 3}), 6);
    const uint8_t *at = take_tag(frame + 12, 0x88a8, kind->qinq);
    at = take_tag(at, 0x8100, kind->vlan);
    assert_int_equal(get16(at), kind->v6 ? 0x86dd : 0x0800);
    const uint8_t *ip = at + 2;
    const uint32_t ip_len = len - (uint32_t)(ip - frame);
    const uint8_t *l4 =
        kind->v6 ? take_ip6(ip, ip_len, proto, &f) : take_ip4(ip, ip_len, proto, &f);
    const uint32_t l4_len = len - (uint32_t)(l4 - frame);
    take_l4(kind, l4, l4_len, &f);
    /* With the pseudo header (RFC 768, 9293, 8200). */
    uint32_t sum = add_words(0, ip + (kind->v6 ? 8 : 12), kind->v6 ? 32 : 8) + proto + l4_len;
    assert_int_equal(folded(add_words(sum, l4, l4_len)), 0xffff);
    return f;
}

/* Stamp and payload, or zeros where there is no room. */
static void expect_data(const struct found *f, uint32_t flow, uint64_t seq, uint64_t tsc,
                        bool fixed) {
    struct stamp stamp;
    if (f->data_len < STAMP_LEN) {
        for (uint32_t i = 0; i < f->data_len; i++) {
            assert_int_equal(f->data[i], 0);
        }
        return;
    }
    memcpy(&stamp, f->data, STAMP_LEN);
    assert_int_equal(stamp.magic, STAMP_MAGIC);
    assert_int_equal(stamp_flow(&stamp), flow);
    assert_int_equal(stamp_session(&stamp), SESSION);
    assert_true(stamp.seq == seq);
    assert_true(stamp.tsc == tsc);
    const uint64_t base = fixed ? stamp_payload_base(1, 0, 0) : stamp_payload_base(1, flow, seq);
    assert_true(stamp_payload_matches(base, f->data + STAMP_LEN, f->data_len - STAMP_LEN));
}

#define V4 "src=10.0.0.1-10.0.0.7 dst=10.1.0.255-10.1.1.3 sport=65530-65535 dport=0-9 flows=23 "
#define V6 "src=fd00::1:ffff:fffe-fd00::2:0:5 dst=fd01::1 sport=65530-65535 dport=0-9 flows=23 "

static const struct kind kinds[] = {
    {V4, false, false, 0, 0},
    {V4 "proto=tcp ", false, true, 0, 0},
    {V6, true, false, 0, 0},
    {V6 "proto=tcp ", true, true, 0, 0},
    {V4 "vlan=5 ", false, false, 5, 0},
    {V4 "proto=tcp vlan=4094 ", false, true, 4094, 0},
    {V6 "vlan=300 ", true, false, 300, 0},
    {V6 "proto=tcp vlan=5 ", true, true, 5, 0},
    {V4 "vlan=5 qinq=7 ", false, false, 5, 7},
    {V4 "proto=tcp vlan=5 qinq=7 ", false, true, 5, 7},
    {V6 "vlan=5 qinq=4094 ", true, false, 5, 4094},
    {V6 "proto=tcp vlan=5 qinq=7 ", true, true, 5, 7},
};

static void check_kind(const struct kind *kind, const char *sizes, bool fixed) {
    char words[256];
    snprintf(words, sizeof(words), "%s%s payload=%s", kind->words, sizes,
             fixed ? "fixed" : "pattern");
    begin(&stream, words);
    const uint32_t tcp_step = spec.size_max - spec.header_len;
    uint64_t seqs[23] = {0};
    for (uint32_t n = 0; n < 500; n++) {
        const uint32_t flow = n % 23;
        const uint64_t tsc = (uint64_t)unit_random(&rnd) << 32 | unit_random(&rnd);
        uint8_t *frame = buffers[n % BUFFERS];
        const uint32_t wanted = spec.sizes[gen_stream_class(&stream)].len;
        const uint32_t len = gen_stream_next(&stream, frame, tsc);
        assert_int_equal(len, wanted);
        const struct found f = take_apart(kind, frame, len);
        if (kind->v6) {
            assert_true(f.src_high == UINT64_C(0xfd00000000000000));
            assert_true(f.src == UINT64_C(0x1fffffffe) + flow % 8);
            assert_true(f.dst_high == UINT64_C(0xfd01000000000000));
            assert_true(f.dst == 1);
        } else {
            assert_int_equal(f.src, 0x0a000001 + flow % 7);
            assert_int_equal(f.dst, 0x0a0100ff + flow % 5);
        }
        assert_int_equal(f.sport, 65530 + flow % 6);
        assert_int_equal(f.dport, flow % 10);
        assert_true(!kind->tcp || f.tcp_seq == n / 23 * tcp_step);
        expect_data(&f, flow, seqs[flow], tsc, fixed);
        seqs[flow] += f.data_len >= STAMP_LEN;
    }
}

/* From the least size, through all remainders of a block of payload, without and with a stamp. */
static void test_every_byte(void **state) {
    char sizes[200];
    (void)state;
    for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++) {
        const uint32_t least = 14 + (kinds[k].vlan != 0 ? 4 : 0) + (kinds[k].qinq != 0 ? 4 : 0) +
                               (kinds[k].v6 ? 40 : 20) + (kinds[k].tcp ? 20 : 8);
        for (uint32_t size = least; size < least + 60; size++) {
            snprintf(sizes, sizeof(sizes), "size=%u", size);
            check_kind(&kinds[k], sizes, size % 2 != 0);
        }
        /* Long and short ones in the same buffers. */
        snprintf(sizes, sizeof(sizes), "size=1518,%u,%u:3,%u,1001:2,%u", least, least + 22,
                 least + 70, least + 9);
        check_kind(&kinds[k], sizes, false);
        check_kind(&kinds[k], sizes, true);
    }
}

static void test_unstamped_are_counted(void **state) {
    (void)state;
    begin(&stream, "size=42,63,64");
    for (unsigned i = 0; i < 30; i++) {
        gen_stream_next(&stream, buffers[0], i);
    }
    assert_int_equal(stream.unstamped, 20);
}

/* Frames without a stamp leave no gaps in the numbers, with any number of flows. */
static void test_numbers_of_mixed_sizes(void **state) {
    static const unsigned flows[] = {1, 2, 3, 5, 11, 12, 13, 24, 1020, 1024};
    static const char *const sizes[] = {"imix", "64,128", "128,64", "64:3,128:2,65:9,1000:5",
                                        "63:255,80"};
    static uint64_t seqs[1024];
    static const struct kind kind = {.vlan = 3};
    char words[160];
    (void)state;
    for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++) {
        for (unsigned i = 0; i < ARRAY_SIZE(flows); i++) {
            snprintf(words, sizeof(words), "vlan=3 size=%s flows=%u", sizes[s], flows[i]);
            begin(&stream, words);
            assert_true(stream.mixed);
            memset(seqs, 0, sizeof(seqs));
            for (uint32_t n = 0; n < flows[i] * 40 + 2000; n++) {
                const uint32_t flow = n % flows[i];
                const uint32_t len = gen_stream_next(&stream, buffers[0], n);
                const struct found f = take_apart(&kind, buffers[0], len);
                expect_data(&f, flow, seqs[flow], n, false);
                seqs[flow] += len >= 68;
            }
        }
    }
}

/* A checksum that comes out as zero is sent as 0xffff with UDP, and as it is with TCP: all
 * values of 16 bits of the time stamp go by, so that each has its zero. */
static void test_zero_checksum(void **state) {
    static const struct kind kind[2] = {{.tcp = false}, {.tcp = true}};
    (void)state;
    for (unsigned tcp = 0; tcp < 2; tcp++) {
        unsigned zeros = 0, ones = 0;
        begin(&stream, tcp != 0 ? "proto=tcp size=76" : "size=64");
        for (uint32_t i = 0; i < 65536; i++) {
            const uint32_t len = gen_stream_next(&stream, buffers[0], i);
            const uint32_t checksum = get16(buffers[0] + 34 + (tcp != 0 ? 16 : 6));
            zeros += checksum == 0;
            ones += checksum == 0xffff;
            if (checksum == 0 || checksum == 0xffff || i % 64 == 0) {
                take_apart(&kind[tcp], buffers[0], len);
            }
            stream.seq = 0;
            stream.tcp_seq = 0;
        }
        assert_int_equal(ones > 0, tcp == 0);
        assert_int_equal(zeros > 0, tcp != 0);
    }
}

/* Numbers of all sizes: carries are not lost. */
static void test_large_numbers(void **state) {
    static const struct kind kind = {.v6 = true};
    (void)state;
    begin(&stream, "src=ffff:ffff:ffff:ffff:ffff:ffff:ffff:0-"
                   "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
                   "dst=ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff sport=65535 dport=65535 size=1518");
    for (unsigned i = 0; i < 70000; i++) {
        stream.seq = UINT64_MAX - unit_random(&rnd);
        take_apart(&kind, buffers[0], gen_stream_next(&stream, buffers[0], UINT64_MAX - i));
    }
}

/* A carry out of 32 bits while a sum is folded is rare: time stamps are made for it. */
static void test_carry(void **state) {
    static const struct kind kind = {.v6 = false};
    (void)state;
    begin(&stream, "src=10.0.0.1 dst=10.0.0.2 size=64");
    for (uint32_t i = 0; i < 16; i++) {
        uint32_t words[3];
        stream.seq = UINT64_MAX;
        gen_stream_next(&stream, buffers[0], 0);
        memcpy(words, buffers[0] + 26, sizeof(words)); /* addresses and ports */
        const uint64_t sum = stream.classes[0].l4_sum + words[0] + words[1] + words[2] +
                             stream.session_bits + UINT64_C(2) * UINT32_MAX;
        stream.seq = UINT64_MAX;
        take_apart(&kind, buffers[0],
                   gen_stream_next(&stream, buffers[0], (uint32_t)(UINT32_MAX - sum - i)));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_unstamped_are_counted),
        cmocka_unit_test(test_numbers_of_mixed_sizes),
        cmocka_unit_test(test_zero_checksum),
        cmocka_unit_test(test_large_numbers),
        cmocka_unit_test(test_carry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
