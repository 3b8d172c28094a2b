/* Frames of a virtio-net device that are longer than its MTU: what the driver says of those that it sends,
 * and those that the device merged (5.1.6.2, 5.1.6.4). */
#include "tests/model/virtio_device_parts.h"

#include <assert.h>
#include <string.h>

enum {
    F_CSUM = 0,
    F_GUEST_TSO4 = 7,
    F_GUEST_TSO6 = 8,
    F_HOST_TSO4 = 11,
    F_HOST_TSO6 = 12,
    F_MRG_RXBUF = 15,
    F_GUEST_USO4 = 54,
    F_GUEST_USO6 = 55,
    F_HOST_USO = 56,
    F_GUEST_HDRLEN = 59,
    NEEDS_CSUM = 1,
    GSO_NONE = 0,
    GSO_TCPV4 = 1,
    GSO_TCPV6 = 4,
    GSO_UDP_L4 = 5,
    HEADER = 12,
    NUM_BUFFERS = 10,
    RX = 0,
    ETH = 14,
    TCP = 6,
    UDP = 17,
};

struct header { /* 5.1.6, as it lies */
    uint8_t flags, gso_type;
    uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};

static bool rule(struct virtio_device *d, bool kept, const char *text) {
    return virtio_device_rule(d, kept, text);
}

/* Where the headers of a packet lie. */
struct packet {
    bool v6;
    uint8_t proto;   /* TCP or UDP, 0: something else */
    uint32_t l4_off; /* of its header */
    uint32_t hdr_len; /* all headers together */
};

static struct packet dissect(const uint8_t *frame, uint32_t len) {
    struct packet p = {0};
    uint32_t at = ETH - 2;
    while (at + 4 < len && ((frame[at] == 0x81 && frame[at + 1] == 0) ||
                            (frame[at] == 0x88 && frame[at + 1] == 0xa8))) {
        at += 4;
    }
    const uint8_t *ip = frame + at + 2;
    p.v6 = at + 2 < len && ip[0] >> 4 == 6;
    const uint32_t ip_len = p.v6 ? 40 : 20;
    if (at + 2 + ip_len + 20 > len) {
        return p;
    }
    const uint8_t proto = p.v6 ? ip[6] : ip[9];
    p.l4_off = at + 2 + (p.v6 ? ip_len : 4u * (ip[0] & 15));
    if (p.l4_off + 20 > len || (proto != TCP && proto != UDP)) {
        return p;
    }
    p.proto = proto;
    p.hdr_len = p.l4_off + (proto == UDP ? 8 : 4u * (frame[p.l4_off + 12] >> 4));
    return p;
}

/* 5.1.6.2.1, of a frame that the device is to cut. */
static void check_gso(struct virtio_device *d, const struct header *h, const uint8_t *frame,
                      uint32_t len) {
    const struct packet p = dissect(frame, len);
    const bool tcp = h->gso_type == GSO_TCPV4 || h->gso_type == GSO_TCPV6;
    const unsigned feature = h->gso_type == GSO_TCPV4   ? F_HOST_TSO4
                             : h->gso_type == GSO_TCPV6 ? F_HOST_TSO6
                                                        : F_HOST_USO;
    rule(d, tcp || h->gso_type == GSO_UDP_L4, "5.1.6.2.1: a gso_type that is not used here");
    rule(d, virtio_device_accepted(d, feature),
         "5.1.6.2.1: a gso_type whose feature was not negotiated");
    rule(d, h->flags & NEEDS_CSUM, "5.1.6.2.1: segmentation without NEEDS_CSUM");
    rule(d, p.proto == (tcp ? TCP : UDP) && (!tcp || p.v6 == (h->gso_type == GSO_TCPV6)),
         "5.1.6.2: the packet is not of its gso_type");
    rule(d, h->gso_size > 0 && p.hdr_len + h->gso_size < len,
         "5.1.6.2.1: gso_size is 0, or there is nothing to cut");
    rule(d, h->hdr_len >= p.hdr_len && h->hdr_len <= len,
         "5.1.6.2.1: hdr_len is less than the headers, or more than the frame");
    rule(d, !virtio_device_accepted(d, F_GUEST_HDRLEN) || h->hdr_len == p.hdr_len,
         "5.1.6.2.1: hdr_len is not exact, as GUEST_HDRLEN promises");
    rule(d, h->csum_start == p.l4_off && h->csum_offset == (tcp ? 16 : 6),
         "5.1.6.2.1: the checksum is not that of the packet");
}

void virtio_device_check_sent(struct virtio_device *d, const uint8_t *bytes, uint32_t len) {
    struct header h;
    if (!rule(d, len > HEADER, "5.1.6.2: a frame without its header")) {
        return;
    }
    memcpy(&h, bytes, sizeof(h));
    const uint32_t frame_len = len - HEADER;
    rule(d, !(h.flags & ~NEEDS_CSUM), "5.1.6.2.1: a flag that is not the driver's");
    rule(d, h.num_buffers == 0, "5.1.6.2.1: num_buffers of a sent frame");
    if (h.flags & NEEDS_CSUM) {
        rule(d, virtio_device_accepted(d, F_CSUM), "5.1.6.2.1: NEEDS_CSUM without CSUM");
        rule(d, h.csum_start + (uint32_t)h.csum_offset + 2 <= frame_len,
             "5.1.6.2.1: the checksum lies outside of the frame");
    }
    if (h.gso_type != GSO_NONE) {
        check_gso(d, &h, bytes + HEADER, frame_len);
    }
}

/* The device itself: only what was negotiated and is switched on (5.1.6.4.1, 5.1.6.5.6). */
static bool may_merge(const struct virtio_device *d, const struct header *h, const uint8_t *frame) {
    const bool v6 = frame[ETH] >> 4 == 6;
    const unsigned bit = h->gso_type == GSO_TCPV4   ? F_GUEST_TSO4
                         : h->gso_type == GSO_TCPV6 ? F_GUEST_TSO6
                         : v6                       ? F_GUEST_USO6
                                                    : F_GUEST_USO4;
    return virtio_device_accepted(d, bit) && !(d->ctrl.offloads_off >> bit & 1);
}

unsigned virtio_device_receive_merged(struct virtio_device *d, const uint8_t header[HEADER],
                                      const uint8_t *frame, uint32_t len) {
    struct vq_device *ring = &d->queue[RX].ring;
    struct { /* what goes into a buffer: of the header, then of the frame */
        uint16_t id;
        uint32_t len;
    } part[1024];
    const uint32_t total = HEADER + len;
    uint32_t taken = 0, count = 0;
    struct header h;
    memcpy(&h, header, sizeof(h));
    assert(virtio_device_accepted(d, F_MRG_RXBUF) &&
           (h.gso_type == GSO_NONE || may_merge(d, &h, frame)));
    for (; taken < total; count++) {
        struct vq_device_buffer b;
        assert(count < sizeof(part) / sizeof(part[0]));
        if (!rule(d, vq_device_fetch(ring, &b),
                  "5.1.6.3.1: the posted buffers do not hold a frame: it would be waited for ever")) {
            return 0;
        }
        part[count].id = b.id;
        part[count].len = b.in_len < total - taken ? (uint32_t)b.in_len : total - taken;
        taken += part[count].len;
    }
    h.num_buffers = (uint16_t)count;
    for (uint32_t i = 0, at = 0; i < count; at += part[i].len, i++) {
        static uint8_t bytes[HEADER + (1 << 17)];
        assert(total <= sizeof(bytes));
        if (i == 0) {
            memcpy(bytes, &h, HEADER);
            memcpy(bytes + HEADER, frame, len);
        }
        assert(vq_device_write(ring, part[i].id, bytes + at, part[i].len) == part[i].len);
        vq_device_use(ring, part[i].id, part[i].len);
    }
    return count;
}
