#include "tests/unit/unit.h"

#include "tests/unit/sink_rig.h"

#include <stdlib.h>
#include <string.h>

#include "drivers/clock.h"
#include "lib/dma.h"

uint8_t rig_bytes[RIG_FRAME_MAX];
uint32_t rig_len;
uint32_t rig_ip, rig_l4, rig_stamp;
static void *rig_region;

uint64_t clock_ns_of_ticks(uint64_t ticks) {
    return ticks / RIG_TICKS_PER_NS;
}

uint64_t clock_ticks_of_us(uint64_t us) {
    return us * 1000 * RIG_TICKS_PER_NS;
}

static void put16(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* RFC 1071, byte by byte. */
static uint32_t sum_of(const uint8_t *at, uint32_t len, uint32_t sum) {
    for (uint32_t i = 0; i < len; i++) {
        sum += i % 2 == 0 ? (uint32_t)at[i] << 8 : at[i];
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

void rig_sums(const struct rig_shape *shape) {
    const uint32_t l4_len = rig_len - rig_l4;
    uint8_t *ip = rig_bytes + rig_ip;
    uint8_t *field = rig_bytes + rig_l4 + (shape->tcp ? 16 : 6);
    const uint8_t pseudo[4] = {0, shape->tcp ? 6 : 17, (uint8_t)(l4_len >> 8), (uint8_t)l4_len};
    if (!shape->ip6) {
        put16(ip + 10, 0);
        put16(ip + 10, ~sum_of(ip, rig_l4 - rig_ip, 0));
    }
    put16(field, 0);
    if (shape->no_sum) {
        return;
    }
    uint32_t sum = shape->ip6 ? sum_of(ip + 8, 32, 0) : sum_of(ip + 12, 8, 0);
    sum = sum_of(pseudo, sizeof(pseudo), sum);
    sum = ~sum_of(rig_bytes + rig_l4, l4_len, sum) & 0xffff;
    put16(field, sum == 0 && !shape->tcp ? 0xffff : sum);
}

static uint32_t build_ethernet(const struct rig_shape *shape) {
    uint32_t off = 12;
    for (unsigned i = 0; i < 12; i++) {
        rig_bytes[i] = (uint8_t)(2 + i);
    }
    for (unsigned tag = shape->tags; tag > 0; tag--, off += 4) {
        put16(rig_bytes + off, tag > 1 ? 0x88a8 : 0x8100);
        put16(rig_bytes + off + 2, 100 + tag);
    }
    put16(rig_bytes + off, shape->ip6 ? 0x86dd : 0x0800);
    return off + 2;
}

void rig_build(const struct rig_shape *shape, const struct rig_stamp *stamp) {
    memset(rig_bytes, 0, sizeof(rig_bytes));
    rig_ip = build_ethernet(shape);
    rig_l4 = rig_ip + (shape->ip6 ? 40 : 20 + 4 * shape->options);
    rig_stamp = rig_l4 + (shape->tcp ? 20 + 4 * shape->tcp_options : 8);
    rig_len = rig_stamp + STAMP_LEN + shape->payload;
    uint8_t *ip = rig_bytes + rig_ip;
    uint8_t *l4 = rig_bytes + rig_l4;
    if (shape->ip6) {
        ip[0] = 0x60;
        put16(ip + 4, rig_len - rig_l4);
        ip[6] = shape->tcp ? 6 : 17;
        memset(ip + 8, 0xfd, 32);
    } else {
        ip[0] = (uint8_t)(0x45 + shape->options);
        put16(ip + 2, rig_len - rig_ip);
        put16(ip + 6, 0x4000); /* don't fragment */
        ip[8] = 64;
        ip[9] = shape->tcp ? 6 : 17;
        memset(ip + 12, 10, 8);
        memset(ip + 20, 1, 4 * shape->options); /* no operation */
    }
    put16(l4, 49152);
    put16(l4 + 2, 9);
    if (shape->tcp) {
        l4[12] = (uint8_t)((5 + shape->tcp_options) << 4);
        memset(l4 + 20, 1, 4 * shape->tcp_options);
    } else {
        put16(l4 + 4, rig_len - rig_l4);
    }
    const struct stamp s = {
        .magic = STAMP_MAGIC,
        .flow_session = stamp->session << STAMP_FLOW_BITS | stamp->flow,
        .seq = stamp->seq,
        .tsc = stamp->tsc,
    };
    memcpy(rig_bytes + rig_stamp, &s, sizeof(s));
    stamp_payload_write(stamp_payload_base(RIG_SEED, stamp->flow, stamp->seq),
                        rig_bytes + rig_stamp + STAMP_LEN, shape->payload);
    rig_sums(shape);
}

struct pktbuf *rig_frame(const uint8_t *bytes, uint32_t total, const uint32_t *len,
                         unsigned count) {
    struct pktbuf *first = NULL;
    struct pktbuf **link = &first;
    uint32_t off = 0;
    for (unsigned i = 0; i < count; i++) {
        const uint32_t part = i + 1 < count ? len[i] : total - off;
        struct pktbuf *piece = calloc(1, sizeof(*piece));
        piece->data = malloc(part); /* apart, so that each byte too many is seen */
        memcpy(piece->data, bytes + off, part);
        piece->len = part;
        off += part;
        *link = piece;
        link = &piece->next;
    }
    first->frame_len = total;
    return first;
}

void rig_free(struct pktbuf *frame) {
    while (frame != NULL) {
        struct pktbuf *next = frame->next;
        free(frame->data);
        free(frame);
        frame = next;
    }
}

bool rig_give(struct sink *sink, uint64_t now) {
    struct pktbuf *frame = rig_frame(rig_bytes, rig_len, NULL, 1);
    const bool taken = sink_frame(sink, frame, now);
    rig_free(frame);
    return taken;
}

void rig_open(struct sink *sink, uint32_t flows, bool check) {
    enum { REGION = 48 << 20 };
    const struct config cfg = {.flows = flows, .check = check, .seed = RIG_SEED};
    rig_region = aligned_alloc(4096, REGION);
    assert_non_null(rig_region);
    dma_init((uintptr_t)rig_region, REGION);
    assert_true(sink_init(sink, &cfg));
}

void rig_close(void) {
    free(rig_region);
    rig_region = NULL;
}
