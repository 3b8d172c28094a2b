/* The model of the virtio-net device: does it see what is wrong in the header of a sent frame (5.1.6.2)? */
#include "tests/unit/virtio_rig.h"

enum {
    HDR = 12,
    LEN = 5000,
    HDR_LEN_AT = 2, /* of the header's fields */
    GSO_SIZE_AT = 4,
    START_AT = 6,
    OFFSET_AT = 8,
    BUFFERS_AT = 10,
};

static uint8_t bytes[HDR + LEN];

/* Frames of the three kinds, as they should be. */
static const struct {
    uint8_t gso_type, feature;
    bool v6, udp, tag;
} kinds[] = {
    {VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_F_HOST_TSO4, false, false, false},
    {VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_F_HOST_TSO4, false, false, true},
    {VIRTIO_NET_HDR_GSO_TCPV6, VIRTIO_NET_F_HOST_TSO6, true, false, false},
    {VIRTIO_NET_HDR_GSO_TCPV6, VIRTIO_NET_F_HOST_TSO6, true, false, true},
    {VIRTIO_NET_HDR_GSO_UDP_L4, VIRTIO_NET_F_HOST_USO, false, true, false},
    {VIRTIO_NET_HDR_GSO_UDP_L4, VIRTIO_NET_F_HOST_USO, true, true, true},
};

static void put16(unsigned at, uint16_t value) {
    memcpy(bytes + at, &value, sizeof(value));
}

static uint16_t get16(unsigned at) {
    uint16_t value;
    memcpy(&value, bytes + at, sizeof(value));
    return value;
}

static void begin(unsigned kind, bool exact) {
    const uint16_t ip = kinds[kind].tag ? 18 : 14, l4 = (uint16_t)(ip + (kinds[kind].v6 ? 40 : 20));
    uint8_t *frame = bytes + HDR;
    memset(bytes, 0, sizeof(bytes));
    memset(dev.accepted, 0, sizeof(dev.accepted));
    dev.violation = NULL;
    dev.accepted[0] |= 1u << VIRTIO_NET_F_CSUM;
    dev.accepted[kinds[kind].feature / 32] |= 1u << kinds[kind].feature % 32;
    dev.accepted[1] |= (uint32_t)exact << (VIRTIO_NET_F_GUEST_HDRLEN - 32);
    if (kinds[kind].tag) {
        frame[12] = 0x81;
    }
    frame[ip - 2] = kinds[kind].v6 ? 0x86 : 8;
    frame[ip - 1] = kinds[kind].v6 ? 0xdd : 0;
    frame[ip] = kinds[kind].v6 ? 0x60 : 0x45;
    frame[ip + (kinds[kind].v6 ? 6 : 9)] = kinds[kind].udp ? 17 : 6;
    frame[l4 + 12] = 0x80; /* TCP: 32 bytes */
    bytes[0] = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    bytes[1] = kinds[kind].gso_type;
    put16(HDR_LEN_AT, (uint16_t)(l4 + (kinds[kind].udp ? 8 : 32)));
    put16(GSO_SIZE_AT, 1400);
    put16(START_AT, l4);
    put16(OFFSET_AT, kinds[kind].udp ? 6 : 16);
}

static void expect_seen(unsigned kind, const char *rule) {
    virtio_device_check_sent(&dev, bytes, sizeof(bytes));
    if (dev.violation == NULL || strstr(dev.violation, rule) == NULL) {
        fail_msg("kind %u: not '%s' but '%s'", kind, rule,
                 dev.violation != NULL ? dev.violation : "nothing");
    }
}

static void test_good_frames(void **state) {
    (void)state;
    for (unsigned kind = 0; kind < 2 * ARRAY_SIZE(kinds); kind++) {
        begin(kind / 2, kind % 2);
        virtio_device_check_sent(&dev, bytes, sizeof(bytes));
        expect_no_violation();
        put16(HDR_LEN_AT, (uint16_t)(get16(HDR_LEN_AT) + 100)); /* a hint may be too much */
        virtio_device_check_sent(&dev, bytes, sizeof(bytes));
        assert_int_equal(dev.violation != NULL, kind % 2);
        memset(bytes, 0, HDR);
        dev.violation = NULL;
        virtio_device_check_sent(&dev, bytes, sizeof(bytes));
        expect_no_violation();
    }
}

static void test_bad_headers(void **state) {
    static const struct {
        const char *rule;
        uint8_t at, value;
    } bad[] = {
        {"a flag that is not the driver's", 0, 3},
        {"segmentation without NEEDS_CSUM", 0, 0},
        {"a gso_type that is not used", 1, VIRTIO_NET_HDR_GSO_UDP},
        {"a gso_type that is not used", 1, VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN},
        {"hdr_len", HDR_LEN_AT, 41},
        {"hdr_len", HDR_LEN_AT + 1, 0x20},
        {"the checksum", START_AT, 33},
        {"the checksum", OFFSET_AT, 15},
        {"the checksum lies outside", START_AT + 1, 0xff},
        {"num_buffers", BUFFERS_AT, 1},
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(kinds) * ARRAY_SIZE(bad); i++) {
        begin(i / ARRAY_SIZE(bad), false);
        bytes[bad[i % ARRAY_SIZE(bad)].at] = bad[i % ARRAY_SIZE(bad)].value;
        expect_seen(i / ARRAY_SIZE(bad), bad[i % ARRAY_SIZE(bad)].rule);
    }
}

static void test_bad_segmentation(void **state) {
    static const uint16_t sizes[] = {0, LEN, UINT16_MAX};
    (void)state;
    for (unsigned kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
        begin(kind, true);
        put16(HDR_LEN_AT, (uint16_t)(get16(HDR_LEN_AT) + 1));
        expect_seen(kind, "hdr_len is not exact");
        for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
            begin(kind, true);
            put16(GSO_SIZE_AT, sizes[i]);
            expect_seen(kind, "gso_size is 0, or there is nothing to cut");
        }
        begin(kind, false);
        dev.accepted[kinds[kind].feature / 32] &= ~(1u << kinds[kind].feature % 32);
        expect_seen(kind, "whose feature was not negotiated");
        begin(kind, false);
        dev.accepted[0] &= ~1u;
        expect_seen(kind, "NEEDS_CSUM without CSUM");
        begin(kind, false);
        bytes[HDR + (kinds[kind].tag ? 18 : 14) + (kinds[kind].v6 ? 6 : 9)] = 1; /* ICMP */
        expect_seen(kind, "not of its gso_type");
    }
}

int main(void) {
#define GSO_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        GSO_CASE(test_good_frames),
        GSO_CASE(test_bad_headers),
        GSO_CASE(test_bad_segmentation),
    };
    return cmocka_run_group_tests_name("virtio device model, sent frames", tests, NULL, NULL);
}
