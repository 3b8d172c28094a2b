/* Checksums that are left to the device, whose part is played here from 5.1.6.2: sum from csum_start to
 * the end, inverted, stored at csum_offset. */
#include "tests/unit/csum_frames.h"

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

static void test_sent(void **state) {
    (void)state;
    FOR_SHAPES(s) {
        struct virtio_net_hdr hdr = {0};
        build(&s);
        assert_int_equal(sent(&hdr, frame, frame_len, frame_len), L4_PLAIN);
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
        sent(&hdr, frame, frame_len, frame_len);
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
        sent(&hdr, frame, frame_len, frame_len);
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
        assert_int_equal(sent(&hdr, frame, frame_len, frame_len), L4_OTHER);
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
    assert_int_equal(sent(&hdr, frame, frame_len, frame_len), L4_PLAIN);
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
            assert_int_equal(sent(&hdr, piece + 1, len, frame_len), L4_SPLIT);
            free(piece);
            expect_untouched(&hdr, before);
        }
        assert_int_equal(sent(&hdr, frame, field_off + 2, frame_len), L4_PLAIN);
        device_completes(&hdr);
        assert_int_equal(verified(), 0xffff);
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
    };
    return cmocka_run_group_tests_name("checksums of sent frames", tests, NULL, NULL);
}
