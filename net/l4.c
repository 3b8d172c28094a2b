#include "net/l4.h"

#include <string.h>

#include "net/checksum.h"
#include "net/ether.h"

enum {
    ETHER_LEN = 14,
    IP4_TOTAL_OFF = 2,
    IP4_CHECKSUM_OFF = 10,
    IP4_FRAGMENT_MASK = 0x3fff, /* offset, and whether more follow */
    IP4_PROTOCOL_OFF = 9,
    IP4_ADDRESSES_LEN = 8,
    IP6_PAYLOAD_OFF = 4,
    UDP_LENGTH_OFF = 4,
    IP6_ADDRESSES_OFF = 8,
    IP6_ADDRESSES_LEN = 32,
};

/* Finds the IP header and what it says; ip: its offset. */
static enum l4_kind l4_find_ip4(const uint8_t *data, uint32_t len, uint32_t ip,
                                struct l4_place *place) {
    if (len < ip + L4_IP4_LEN_MIN) {
        return L4_SPLIT;
    }
    const uint32_t header_len = (data[ip] & 15u) * 4;
    const uint32_t total = ether_be16(data + ip + IP4_TOTAL_OFF);
    if (data[ip] >> 4 != 4 || header_len < L4_IP4_LEN_MIN || total < header_len ||
        (ether_be16(data + ip + L4_IP4_FRAGMENT_OFF) & IP4_FRAGMENT_MASK) != 0) {
        return L4_OTHER;
    }
    place->ip = ip;
    place->version = 4;
    place->start = ip + header_len;
    place->len = total - header_len;
    place->protocol = data[ip + IP4_PROTOCOL_OFF];
    place->addresses = data + ip + L4_IP4_ADDRESSES_OFF;
    place->addresses_len = IP4_ADDRESSES_LEN;
    return L4_PLAIN;
}

static enum l4_kind l4_find_ip6(const uint8_t *data, uint32_t len, uint32_t ip,
                                struct l4_place *place) {
    if (len < ip + L4_IP6_LEN) {
        return L4_SPLIT;
    }
    if (data[ip] >> 4 != 6) {
        return L4_OTHER;
    }
    place->ip = ip;
    place->version = 6;
    place->start = ip + L4_IP6_LEN;
    place->len = ether_be16(data + ip + IP6_PAYLOAD_OFF);
    place->protocol = data[ip + L4_IP6_NEXT_OFF];
    place->addresses = data + ip + IP6_ADDRESSES_OFF;
    place->addresses_len = IP6_ADDRESSES_LEN;
    return L4_PLAIN;
}

enum l4_kind l4_find(const uint8_t *data, uint32_t len, uint32_t frame_len,
                     struct l4_place *place) {
    uint32_t type_off = ETHER_TYPE_OFF;
    enum l4_kind kind = L4_OTHER;

    if (len < ETHER_LEN + ETHER_TAG_LEN) {
        return len < frame_len ? L4_SPLIT : L4_OTHER;
    }
    if (ether_be16(data + type_off) == ETHER_VLAN) {
        type_off += ETHER_TAG_LEN;
    }
    const uint32_t type = ether_be16(data + type_off);
    if (type == ETHER_IP4) {
        kind = l4_find_ip4(data, len, type_off + 2, place);
    } else if (type == ETHER_IP6) {
        kind = l4_find_ip6(data, len, type_off + 2, place);
    }
    if (kind != L4_PLAIN) {
        return kind == L4_SPLIT && len == frame_len ? L4_OTHER : kind;
    }
    const bool tcp = place->protocol == L4_TCP;
    if ((!tcp && place->protocol != L4_UDP) ||
        place->len < (uint32_t)(tcp ? L4_TCP_LEN_MIN : L4_UDP_LEN) ||
        place->start + place->len > frame_len) {
        return L4_OTHER;
    }
    place->field = tcp ? L4_TCP_CHECKSUM_OFF : L4_UDP_CHECKSUM_OFF;
    return place->start + place->field + 2 <= len ? L4_PLAIN : L4_SPLIT;
}

void l4_set_len(uint8_t *headers, uint32_t ip, uint32_t start, uint8_t protocol, uint32_t len) {
    if (headers[ip] >> 4 == 4) {
        ether_put16(headers + ip + IP4_TOTAL_OFF, start - ip + len);
        memset(headers + ip + IP4_CHECKSUM_OFF, 0, 2);
        const uint16_t sum = (uint16_t)~checksum_add(headers + ip, (int)(start - ip));
        memcpy(headers + ip + IP4_CHECKSUM_OFF, &sum, sizeof(sum));
    } else {
        ether_put16(headers + ip + IP6_PAYLOAD_OFF, len);
    }
    if (protocol == L4_UDP) {
        ether_put16(headers + start + UDP_LENGTH_OFF, len);
    }
}
