/* Checksum offload, for tests of both directions. Frames are built and judged here by the text of the
 * RFCs, byte by byte. */
#ifndef TESTS_UNIT_CSUM_FRAMES_H
#define TESTS_UNIT_CSUM_FRAMES_H

#include "tests/unit/unit.h"

#include "net/csum_offload.h"

#include <stdlib.h>
#include <string.h>

enum {
    FRAME_MAX = 1600,
    TCP = 6,
    UDP = 17,
    ICMP = 1,
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

static inline void put16(uint8_t *p, uint32_t value) {
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static inline void build(const struct shape *s) {
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
static inline uint32_t add_words(uint32_t sum, const uint8_t *p, uint32_t len) {
    for (uint32_t i = 0; i < len; i++) {
        sum += i % 2 == 0 ? (uint32_t)p[i] << 8 : p[i];
    }
    return sum;
}

static inline uint16_t folded(uint32_t sum) {
    while (sum > 0xffff) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)sum;
}

/* Sum of pseudo-header, TCP or UDP header and data: 0xffff when the checksum is right. */
static inline uint16_t verified(void) {
    const bool v6 = frame[ip_off] >> 4 == 6;
    uint32_t sum = add_words(0, frame + ip_off + (v6 ? 8 : 12), v6 ? 32 : 8);
    sum += (v6 ? frame[ip_off + 6] : frame[ip_off + 9]) + l4_len;
    return folded(add_words(sum, frame + l4_off, l4_len));
}

#define FOR_SHAPES(s)                                                                              \
    for (unsigned shape_no = 0; shape_no < 8; shape_no++)                                          \
        for (uint32_t data = 0; data < 70; data++)                                                 \
            for (struct shape s = {.v6 = shape_no & 1, .vlan = shape_no & 2,                       \
                                   .protocol = shape_no & 4 ? TCP : UDP, .data_len = data},        \
                              *once = &s;                                                          \
                 once != NULL; once = NULL)

/* What is done to a frame that is sent, of which the first len bytes are at data. */
static inline enum l4_kind sent(struct virtio_net_hdr *hdr, uint8_t *data, uint32_t len,
                                uint32_t whole) {
    struct l4_place place;
    const enum l4_kind kind = l4_find(data, len, whole, &place);
    if (kind == L4_PLAIN) {
        csum_offload_tx(hdr, data, &place);
    }
    return kind;
}

#endif
