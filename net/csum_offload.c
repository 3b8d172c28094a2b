#include "net/csum_offload.h"

#include <string.h>

#include "net/checksum.h"
#include "net/gso.h"
#include "net/l4.h"

static uint16_t fold(uint64_t sum) {
    while (sum >> 16 != 0) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)sum;
}

/* Folded and not inverted, in memory order. */
static uint16_t csum_pseudo_header(const struct l4_place *place) {
    return fold((uint64_t)checksum_add(place->addresses, (int)place->addresses_len) +
                __builtin_bswap16((uint16_t)place->len) + __builtin_bswap16(place->protocol));
}

void csum_offload_tx(struct virtio_net_hdr *hdr, uint8_t *data, const struct l4_place *place) {
    uint8_t *field = data + place->start + place->field;
    if (field[0] != 0 || field[1] != 0) {
        return;
    }
    const uint16_t sum = csum_pseudo_header(place);
    memcpy(field, &sum, sizeof(sum));
    hdr->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    hdr->csum_start = (uint16_t)place->start;
    hdr->csum_offset = (uint16_t)place->field;
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

/* The frame stands for several packets. Of a kind that was not negotiated it must not (5.1.6.4.1). place:
 * NULL when its headers were not understood. Datagrams are to be cut here, so it has to be clear where. */
static enum csum_rx gso_check(const struct virtio_net_hdr *hdr, uint8_t gso_type, unsigned gso,
                              const struct l4_place *place, struct datagrams *datagrams) {
    if (gso_type == VIRTIO_NET_HDR_GSO_TCPV4 || gso_type == VIRTIO_NET_HDR_GSO_TCPV6) {
        const unsigned kind = gso_type == VIRTIO_NET_HDR_GSO_TCPV4 ? GSO_TCP4 : GSO_TCP6;
        return (gso & kind) != 0 ? CSUM_RX_TRUST : CSUM_RX_BAD;
    }
    const uint16_t size = __atomic_load_n(&hdr->gso_size, __ATOMIC_RELAXED);
    if (gso_type != VIRTIO_NET_HDR_GSO_UDP_L4 || place == NULL || place->protocol != L4_UDP ||
        size == 0 || (gso & (place->version == 4 ? GSO_UDP4 : GSO_UDP6)) == 0) {
        return CSUM_RX_BAD;
    }
    *datagrams = (struct datagrams){.place = *place, .size = size};
    return CSUM_RX_DATAGRAMS;
}

enum csum_rx csum_offload_rx(const struct virtio_net_hdr *hdr, struct pktbuf *frame, unsigned gso,
                             struct datagrams *datagrams) {
    struct l4_place place;
    /* The device may go on writing: each field is loaded once. */
    const uint8_t flags = __atomic_load_n(&hdr->flags, __ATOMIC_RELAXED);
    const uint8_t gso_type = __atomic_load_n(&hdr->gso_type, __ATOMIC_RELAXED);
    enum csum_rx trusted = CSUM_RX_TRUST;

    if ((flags & (VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID)) == 0) {
        return CSUM_RX_CHECK;
    }
    const bool plain =
        l4_find(frame->data, frame->len, frame->frame_len, &place) == L4_PLAIN;
    if (gso_type != VIRTIO_NET_HDR_GSO_NONE) {
        trusted = gso_check(hdr, gso_type, gso, plain ? &place : NULL, datagrams);
        if (trusted == CSUM_RX_BAD) {
            return trusted;
        }
    }
    if ((flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) == 0) {
        return plain ? trusted : CSUM_RX_CHECK;
    }
    const uint32_t start = __atomic_load_n(&hdr->csum_start, __ATOMIC_RELAXED);
    const uint32_t offset = __atomic_load_n(&hdr->csum_offset, __ATOMIC_RELAXED);
    if (start + offset + 2 > frame->frame_len) {
        return CSUM_RX_BAD;
    }
    if (plain && start == place.start && offset == place.field) {
        return trusted;
    }
    if (trusted == CSUM_RX_DATAGRAMS) {
        return CSUM_RX_BAD;
    }
    csum_complete(frame, start, start + offset);
    return CSUM_RX_CHECK;
}
