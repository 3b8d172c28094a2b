#include "net/csum_offload.h"

#include <string.h>

#include "net/checksum.h"
#include "net/ether.h"

enum {
    ETHERTYPE_OFF = 12,
    ETHERTYPE_IP4 = 0x0800,
    ETHERTYPE_IP6 = 0x86dd,
    ETHERTYPE_VLAN = 0x8100,
    VLAN_LEN = 4,
    IP4_LEN_MIN = 20,
    IP4_TOTAL_OFF = 2,
    IP4_FRAGMENT_OFF = 6,
    IP4_FRAGMENT_MASK = 0x3fff, /* offset, and whether more follow */
    IP4_PROTOCOL_OFF = 9,
    IP4_ADDRESSES_OFF = 12,
    IP4_ADDRESSES_LEN = 8,
    IP6_LEN = 40,
    IP6_PAYLOAD_OFF = 4,
    IP6_NEXT_OFF = 6,
    IP6_ADDRESSES_OFF = 8,
    IP6_ADDRESSES_LEN = 32,
    PROTOCOL_TCP = 6,
    PROTOCOL_UDP = 17,
    TCP_CHECKSUM_OFF = 16,
    TCP_LEN_MIN = 20,
    UDP_CHECKSUM_OFF = 6,
    UDP_LEN = 8,
};

enum csum_kind {
    CSUM_OTHER, /* not understood, or broken */
    CSUM_PLAIN,
    CSUM_SPLIT, /* the bytes at hand end in the middle of its headers */
};

/* The TCP or UDP header of a frame. */
struct csum_place {
    uint32_t start;    /* of the header, in the frame */
    uint32_t field;    /* of the checksum, in the header */
    uint32_t len;      /* of header and data */
    uint8_t protocol;
    const uint8_t *addresses; /* source and destination, part of the pseudo-header */
    uint32_t addresses_len;
};

static uint16_t fold(uint64_t sum) {
    while (sum >> 16 != 0) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)sum;
}

/* Finds the IP header and what it says; ip: its offset. */
static enum csum_kind csum_find_ip4(const uint8_t *data, uint32_t len, uint32_t ip,
                                    struct csum_place *place) {
    if (len < ip + IP4_LEN_MIN) {
        return CSUM_SPLIT;
    }
    const uint32_t header_len = (data[ip] & 15u) * 4;
    const uint32_t total = ether_be16(data + ip + IP4_TOTAL_OFF);
    if (data[ip] >> 4 != 4 || header_len < IP4_LEN_MIN || total < header_len ||
        (ether_be16(data + ip + IP4_FRAGMENT_OFF) & IP4_FRAGMENT_MASK) != 0) {
        return CSUM_OTHER;
    }
    place->start = ip + header_len;
    place->len = total - header_len;
    place->protocol = data[ip + IP4_PROTOCOL_OFF];
    place->addresses = data + ip + IP4_ADDRESSES_OFF;
    place->addresses_len = IP4_ADDRESSES_LEN;
    return CSUM_PLAIN;
}

static enum csum_kind csum_find_ip6(const uint8_t *data, uint32_t len, uint32_t ip,
                                    struct csum_place *place) {
    if (len < ip + IP6_LEN) {
        return CSUM_SPLIT;
    }
    if (data[ip] >> 4 != 6) {
        return CSUM_OTHER;
    }
    place->start = ip + IP6_LEN;
    place->len = ether_be16(data + ip + IP6_PAYLOAD_OFF);
    place->protocol = data[ip + IP6_NEXT_OFF];
    place->addresses = data + ip + IP6_ADDRESSES_OFF;
    place->addresses_len = IP6_ADDRESSES_LEN;
    return CSUM_PLAIN;
}

/* Judges by the first len bytes of a frame of frame_len. */
static enum csum_kind csum_find(const uint8_t *data, uint32_t len, uint32_t frame_len,
                                struct csum_place *place) {
    uint32_t type_off = ETHERTYPE_OFF;
    enum csum_kind kind = CSUM_OTHER;

    if (len < NET_ETH_HDR_LEN + VLAN_LEN) {
        return len < frame_len ? CSUM_SPLIT : CSUM_OTHER;
    }
    if (ether_be16(data + type_off) == ETHERTYPE_VLAN) {
        type_off += VLAN_LEN;
    }
    const uint32_t type = ether_be16(data + type_off);
    if (type == ETHERTYPE_IP4) {
        kind = csum_find_ip4(data, len, type_off + 2, place);
    } else if (type == ETHERTYPE_IP6) {
        kind = csum_find_ip6(data, len, type_off + 2, place);
    }
    if (kind != CSUM_PLAIN) {
        return kind == CSUM_SPLIT && len == frame_len ? CSUM_OTHER : kind;
    }
    const bool tcp = place->protocol == PROTOCOL_TCP;
    if ((!tcp && place->protocol != PROTOCOL_UDP) ||
        place->len < (uint32_t)(tcp ? TCP_LEN_MIN : UDP_LEN) ||
        place->start + place->len > frame_len) {
        return CSUM_OTHER;
    }
    place->field = tcp ? TCP_CHECKSUM_OFF : UDP_CHECKSUM_OFF;
    return place->start + place->field + 2 <= len ? CSUM_PLAIN : CSUM_SPLIT;
}

/* Folded and not inverted, in memory order. */
static uint16_t csum_pseudo_header(const struct csum_place *place) {
    return fold((uint64_t)checksum_add(place->addresses, (int)place->addresses_len) +
                __builtin_bswap16((uint16_t)place->len) + __builtin_bswap16(place->protocol));
}

enum csum_tx csum_offload_tx(struct virtio_net_hdr *hdr, uint8_t *data, uint32_t len,
                             uint32_t frame_len) {
    struct csum_place place;
    const enum csum_kind kind = csum_find(data, len, frame_len, &place);
    if (kind != CSUM_PLAIN) {
        return kind == CSUM_SPLIT ? CSUM_TX_SPLIT : CSUM_TX_DONE;
    }
    uint8_t *field = data + place.start + place.field;
    if (field[0] != 0 || field[1] != 0) {
        return CSUM_TX_DONE;
    }
    const uint16_t sum = csum_pseudo_header(&place);
    memcpy(field, &sum, sizeof(sum));
    hdr->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    hdr->csum_start = (uint16_t)place.start;
    hdr->csum_offset = (uint16_t)place.field;
    return CSUM_TX_DONE;
}

/* Byte number off of the frame, which has that many. */
static uint8_t *csum_byte(struct pktbuf *frame, uint32_t off) {
    while (off >= frame->len) {
        off -= frame->len;
        frame = frame->next;
    }
    return frame->data + off;
}

/* What the device was asked for and left to us. The field holds the sum of the pseudo-header. */
static void csum_complete(struct pktbuf *frame, uint32_t start, uint32_t field) {
    uint16_t sum = (uint16_t)~fold(checksum_frame(frame, start));
    if (sum == 0) {
        sum = 0xffff; /* the same number; for UDP zero would mean that there is none */
    }
    *csum_byte(frame, field) = (uint8_t)sum;
    *csum_byte(frame, field + 1) = (uint8_t)(sum >> 8);
}

void csum_offload_finish(struct virtio_net_hdr *hdr, uint8_t *data, uint32_t len) {
    struct pktbuf frame = {.data = data, .len = len, .frame_len = len};
    if ((hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0) {
        csum_complete(&frame, hdr->csum_start, (uint32_t)hdr->csum_start + hdr->csum_offset);
        *hdr = (struct virtio_net_hdr){0};
    }
}

enum csum_rx csum_offload_rx(const struct virtio_net_hdr *hdr, struct pktbuf *frame) {
    struct csum_place place;
    /* The device may go on writing: each field is loaded once. */
    const uint8_t flags = __atomic_load_n(&hdr->flags, __ATOMIC_RELAXED);

    if ((flags & (VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID)) == 0) {
        return CSUM_RX_CHECK;
    }
    const bool plain =
        csum_find(frame->data, frame->len, frame->frame_len, &place) == CSUM_PLAIN;
    if ((flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) == 0) {
        return plain ? CSUM_RX_TRUST : CSUM_RX_CHECK;
    }
    const uint32_t start = __atomic_load_n(&hdr->csum_start, __ATOMIC_RELAXED);
    const uint32_t offset = __atomic_load_n(&hdr->csum_offset, __ATOMIC_RELAXED);
    if (start + offset + 2 > frame->frame_len) {
        return CSUM_RX_BAD;
    }
    if (plain && start == place.start && offset == place.field) {
        return CSUM_RX_TRUST;
    }
    csum_complete(frame, start, start + offset);
    return CSUM_RX_CHECK;
}
