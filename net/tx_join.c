#include "net/tx_join.h"

#include <string.h>

#include "net/ether.h"
#include "net/gso.h"

enum {
    IP4_TOS_LEN = 2,     /* version, header length, type of service */
    IP4_TTL_END = 10,    /* behind fragment field, time to live, protocol */
    IP6_FLOW_LEN = 4,    /* version, class, flow label */
    PORTS_LEN = 4,
    TCP_SEQ_OFF = 4,
    TCP_ACK_OFF = 8,
    TCP_LEN_OFF = 12,
    TCP_FLAGS_OFF = 13,
    TCP_WINDOW_OFF = 14,
    TCP_FIN = 0x01,
    TCP_PSH = 0x08,
    TCP_ACK = 0x10,
};

static bool is_v4(const struct tx_join *frame) {
    return frame->headers[frame->ip] >> 4 == 4;
}

/* Acknowledgements are held back for a later one only when they carry nothing else. */
static void read_tcp(struct tx_join *frame, const uint8_t *tcp, const struct l4_place *place) {
    const uint32_t len = (tcp[TCP_LEN_OFF] >> 4) * 4u;
    if (len < L4_TCP_LEN_MIN || len > place->len) {
        return;
    }
    frame->headers_len = (uint16_t)(place->start + len);
    frame->piece = place->len - len;
    frame->seq = ether_be32(tcp + TCP_SEQ_OFF);
    frame->ack = ether_be32(tcp + TCP_ACK_OFF);
    frame->gso_type = place->version == 4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
    if (frame->piece == 0) {
        frame->kind = tcp[TCP_FLAGS_OFF] == TCP_ACK ? TX_JOIN_ACK : TX_JOIN_NEVER;
    } else if ((tcp[TCP_FLAGS_OFF] & ~(TCP_PSH | TCP_FIN)) == TCP_ACK) {
        frame->kind = TX_JOIN_SEGMENT;
        frame->ended = (tcp[TCP_FLAGS_OFF] & TCP_FIN) != 0;
    }
}

static void read_udp(struct tx_join *frame, const struct l4_place *place) {
    frame->headers_len = (uint16_t)(place->start + L4_UDP_LEN);
    frame->piece = place->len - L4_UDP_LEN;
    frame->gso_type = VIRTIO_NET_HDR_GSO_UDP_L4;
    frame->kind = frame->piece != 0 ? TX_JOIN_DATAGRAM : TX_JOIN_NEVER;
}

static unsigned kind_of(const struct l4_place *place) {
    if (place->protocol == L4_TCP) {
        return place->version == 4 ? GSO_TCP4 : GSO_TCP6;
    }
    return place->version == 4 ? GSO_UDP4 : GSO_UDP6;
}

void tx_join_read(struct tx_join *frame, const uint8_t *data, uint32_t len, uint32_t frame_len,
                  const struct l4_place *place, unsigned cut) {
    *frame = (struct tx_join){.kind = TX_JOIN_NEVER, .headers = data};
    const uint32_t l4_len = place->protocol == L4_TCP ? L4_TCP_LEN_MIN : L4_UDP_LEN;
    if (place->start + place->len != frame_len || place->start + l4_len > len) {
        return;
    }
    frame->ip = (uint16_t)place->ip;
    frame->l4 = (uint16_t)place->start;
    if (place->protocol == L4_TCP) {
        read_tcp(frame, data + place->start, place);
    } else {
        read_udp(frame, place);
    }
    frame->payload = frame->piece;
    if (frame->headers_len > len || frame->headers_len > TX_JOIN_HEADERS_MAX) {
        frame->kind = TX_JOIN_NEVER;
    }
    if ((cut & kind_of(place)) == 0) {
        frame->gso_type = VIRTIO_NET_HDR_GSO_NONE;
    }
}

/* Whether the headers differ at most in lengths, identification, checksums, and in what TCP says. */
static bool is_same_flow(const struct tx_join *a, const struct tx_join *b) {
    const uint8_t *x = a->headers + a->ip, *y = b->headers + b->ip;
    if (a->ip != b->ip || a->l4 != b->l4 ||
        memcmp(a->headers + a->l4, b->headers + b->l4, PORTS_LEN) != 0 ||
        memcmp(a->headers, b->headers, a->ip) != 0) {
        return false;
    }
    const uint32_t ip_len = (uint32_t)(a->l4 - a->ip);
    if (is_v4(a)) {
        return memcmp(x, y, IP4_TOS_LEN) == 0 &&
               memcmp(x + L4_IP4_FRAGMENT_OFF, y + L4_IP4_FRAGMENT_OFF,
                      IP4_TTL_END - L4_IP4_FRAGMENT_OFF) == 0 &&
               memcmp(x + L4_IP4_ADDRESSES_OFF, y + L4_IP4_ADDRESSES_OFF,
                      ip_len - L4_IP4_ADDRESSES_OFF) == 0;
    }
    return memcmp(x, y, IP6_FLOW_LEN) == 0 &&
           memcmp(x + L4_IP6_NEXT_OFF, y + L4_IP6_NEXT_OFF, ip_len - L4_IP6_NEXT_OFF) == 0;
}

bool tx_join_supersedes(const struct tx_join *held, const struct tx_join *next) {
    /* The same number again is a message of its own: three of them ask for a retransmission (RFC 5681). */
    return held->kind == TX_JOIN_ACK &&
           (next->kind == TX_JOIN_ACK || next->kind == TX_JOIN_SEGMENT) &&
           next->seq == held->seq && (int32_t)(next->ack - held->ack) > 0 &&
           is_same_flow(held, next);
}

bool tx_join_continues(const struct tx_join *held, const struct tx_join *next) {
    if (held->kind != next->kind || held->kind < TX_JOIN_SEGMENT || held->ended ||
        held->gso_type == VIRTIO_NET_HDR_GSO_NONE || held->gso_type != next->gso_type ||
        held->headers_len != next->headers_len || next->piece > held->piece ||
        held->headers_len - held->ip + held->payload + next->payload > TX_JOIN_IP_MAX) {
        return false;
    }
    const bool follows = held->kind == TX_JOIN_DATAGRAM ||
                         (next->seq == held->seq + held->payload &&
                          (int32_t)(next->ack - held->ack) >= 0);
    return follows && is_same_flow(held, next);
}

void tx_join_add(struct tx_join *held, const struct tx_join *next, uint8_t *headers) {
    held->headers = headers;
    held->payload += next->payload;
    held->ended = next->ended || next->piece < held->piece;
    if (held->kind == TX_JOIN_DATAGRAM) {
        return;
    }
    /* Acknowledgement, window and options as of now, for all of it. */
    uint8_t *tcp = headers + held->l4;
    const uint8_t *newer = next->headers + next->l4;
    held->ack = next->ack;
    memcpy(tcp + TCP_ACK_OFF, newer + TCP_ACK_OFF, 4);
    memcpy(tcp + TCP_WINDOW_OFF, newer + TCP_WINDOW_OFF, 2);
    memcpy(tcp + L4_TCP_LEN_MIN, newer + L4_TCP_LEN_MIN,
           (size_t)(held->headers_len - held->l4 - L4_TCP_LEN_MIN));
    tcp[TCP_FLAGS_OFF] |= newer[TCP_FLAGS_OFF];
}

/* The sum of the pseudo-header, which counts the length, for `more` bytes. */
static void finish_pseudo_header(uint8_t *field, uint32_t more) {
    uint16_t sum;
    memcpy(&sum, field, sizeof(sum));
    uint32_t total = (uint32_t)sum + __builtin_bswap16((uint16_t)more);
    total = (total & 0xffff) + (total >> 16);
    sum = (uint16_t)total;
    memcpy(field, &sum, sizeof(sum));
}

void tx_join_finish(const struct tx_join *held, uint8_t *headers, struct virtio_net_hdr *hdr) {
    l4_set_len(headers, held->ip, held->l4, held->kind == TX_JOIN_DATAGRAM ? L4_UDP : L4_TCP,
               held->headers_len - held->l4 + held->payload);
    finish_pseudo_header(headers + hdr->csum_start + hdr->csum_offset,
                         held->payload - held->piece);
    hdr->gso_type = held->gso_type;
    hdr->gso_size = (uint16_t)held->piece;
    hdr->hdr_len = held->headers_len;
}
