#include "net/fwd.h"

#include <string.h>

#include "lib/assert.h"
#include "net/ether.h"

enum {
    PROTO_ICMP = 1,
    PROTO_TCP = 6,
    PROTO_UDP = 17,
    IP4_HLEN = 20,
    IP6_HLEN = 40,
    ICMP_HLEN = 8,
    ICMP_ECHO = 8,
    ARP_LEN = 28,
    ARP_OPER = 7, /* low byte */
    ARP_SHA = 8,
    ARP_SPA = 14,
    ARP_THA = 18,
    ARP_TPA = 24,
};

static void fwd_swap(uint8_t *a, uint8_t *b, size_t len) {
    uint8_t kept[16];
    memcpy(kept, a, len);
    memcpy(a, b, len);
    memcpy(b, kept, len);
}

enum { HEADER_MIN = ETHER_TYPE_OFF + ETHER_TYPE_LEN };

/* Destination and source are twelve bytes: these eight, and four more. */
ALWAYS_INLINE uint64_t fwd_macs_low(const struct pktbuf *frame) {
    uint64_t low;
    memcpy(&low, frame->data, sizeof(low));
    return low;
}

ALWAYS_INLINE uint32_t fwd_macs_high(const struct pktbuf *frame) {
    uint32_t high;
    memcpy(&high, frame->data + sizeof(uint64_t), sizeof(high));
    return high;
}

ALWAYS_INLINE void fwd_store_swapped(struct pktbuf *frame, uint64_t low, uint32_t high) {
    const uint64_t to = low & ((UINT64_C(1) << 48) - 1);
    const uint64_t from = low >> 48 | (uint64_t)high << 16;
    const uint64_t new_low = from | to << 48;
    const uint32_t new_high = (uint32_t)(to >> 16);
    memcpy(frame->data, &new_low, sizeof(new_low));
    memcpy(frame->data + sizeof(new_low), &new_high, sizeof(new_high));
}

ALWAYS_INLINE void fwd_swap_macs(struct pktbuf *frame) {
    fwd_store_swapped(frame, fwd_macs_low(frame), fwd_macs_high(frame));
}

/* A device cut a frame within the header. */
static unsigned fwd_swap_long_ones(struct pktbuf **frames, unsigned count) {
    unsigned changed = 0;
    for (unsigned i = 0; i < count; i++) {
        if (frames[i]->len >= HEADER_MIN) {
            fwd_swap_macs(frames[i]);
            changed++;
        }
    }
    return changed;
}

/* First all loads, then all stores and nothing between them: so the lines come over from the device's
 * core at the same time, and then are claimed at the same time. One frame after the other takes half
 * as long again. */
unsigned fwd_swap_macs_of(struct pktbuf **frames, unsigned count) {
    uint64_t low[FWD_BURST_MAX];
    uint32_t high[FWD_BURST_MAX];
    uint32_t shortest = HEADER_MIN;
    ASSERT_HOT(count <= FWD_BURST_MAX);
    for (unsigned i = 0; i < count; i++) {
        shortest = frames[i]->len < shortest ? frames[i]->len : shortest;
    }
    if (UNLIKELY(shortest < HEADER_MIN)) {
        return fwd_swap_long_ones(frames, count);
    }
    for (unsigned i = 0; i < count; i++) {
        low[i] = fwd_macs_low(frames[i]);
        high[i] = fwd_macs_high(frames[i]);
    }
    for (unsigned i = 0; i < count; i++) {
        fwd_store_swapped(frames[i], low[i], high[i]);
    }
    return count;
}

/* The packet behind Ethernet and its tags; type 0: there is none. */
static uint32_t fwd_packet(const struct pktbuf *frame, uint16_t *type) {
    const uint32_t off = ether_packet(frame->data, frame->len, type);
    *type = off == 0 ? 0 : *type;
    return off;
}

/* Ports are in the first fragment only. */
static bool fwd_is_first_fragment(const uint8_t *ip) {
    return (ether_be16(ip + 6) & 0x1fff) == 0;
}

static void fwd_swap_ports(uint8_t *l4, uint32_t len, uint8_t proto) {
    if (len >= 4 && (proto == PROTO_TCP || proto == PROTO_UDP)) {
        fwd_swap(l4, l4 + 2, 2);
    }
}

static enum fwd_result fwd_5tswap(struct pktbuf *frame) {
    uint16_t type;
    const uint32_t off = fwd_packet(frame, &type);
    uint8_t *ip = frame->data + off;
    const uint32_t len = frame->len - off;
    fwd_swap_macs(frame);
    if (type == ETHER_IP4 && len >= IP4_HLEN) {
        const uint32_t hlen = (ip[0] & 15) * 4u;
        fwd_swap(ip + 12, ip + 16, 4);
        if (hlen >= IP4_HLEN && hlen <= len && fwd_is_first_fragment(ip)) {
            fwd_swap_ports(ip + hlen, len - hlen, ip[9]);
        }
    } else if (type == ETHER_IP6 && len >= IP6_HLEN) {
        fwd_swap(ip + 8, ip + 24, 16);
        fwd_swap_ports(ip + IP6_HLEN, len - IP6_HLEN, ip[6]);
    }
    return FWD_CHANGED;
}

/* An Ethernet group or all stations. */
static bool fwd_is_mac_group(const uint8_t *mac) {
    return mac[0] & 1;
}

/* A group (class D) or all stations. */
static bool fwd_is_ip4_group(const uint8_t *addr) {
    return (addr[0] & 0xf0) == 0xe0 || addr[0] == 0xff;
}

/* Who announces an own address asks nothing, and would take an answer for a conflict (RFC 5227, 2.4).
 * No answer goes to a group, which a sender cannot be (RFC 1122, 3.2.1.3). */
static enum fwd_result fwd_answer_arp(struct pktbuf *frame, uint8_t *arp, uint32_t len,
                                      const uint8_t src_mac[MAC_LEN]) {
    static const uint8_t request[8] = {0, 1, ETHER_IP4 >> 8, ETHER_IP4 & 0xff, MAC_LEN, 4, 0, 1};
    if (len < ARP_LEN || memcmp(arp, request, sizeof(request)) != 0 ||
        memcmp(arp + ARP_SPA, arp + ARP_TPA, 4) == 0 || fwd_is_mac_group(arp + ARP_SHA)) {
        return FWD_DROP;
    }
    arp[ARP_OPER] = 2;
    memcpy(arp + ARP_THA, arp + ARP_SHA, MAC_LEN);
    memcpy(arp + ARP_SHA, src_mac, MAC_LEN);
    fwd_swap(arp + ARP_SPA, arp + ARP_TPA, 4);
    memcpy(frame->data, arp + ARP_THA, MAC_LEN);
    memcpy(frame->data + MAC_LEN, src_mac, MAC_LEN);
    return FWD_CHANGED;
}

/* The checksum of the Internet takes the change of a field as it is (RFC 1624): type 8 becomes 0 in a
 * high byte, so the sum's complement grows by 8 << 8. */
static void fwd_patch_icmp(uint8_t *icmp) {
    uint32_t sum = ether_be16(icmp + 2) + (ICMP_ECHO << 8);
    sum = (sum & 0xffff) + (sum >> 16);
    icmp[0] = 0;
    icmp[2] = (uint8_t)(sum >> 8);
    icmp[3] = (uint8_t)sum;
}

static enum fwd_result fwd_answer_ping(struct pktbuf *frame, uint8_t *ip, uint32_t len) {
    const uint32_t hlen = (ip[0] & 15) * 4u;
    const bool group = fwd_is_mac_group(frame->data) || fwd_is_mac_group(frame->data + MAC_LEN) ||
                       fwd_is_ip4_group(ip + 12) || fwd_is_ip4_group(ip + 16);
    if (hlen < IP4_HLEN || len < hlen + ICMP_HLEN || ip[9] != PROTO_ICMP || group ||
        !fwd_is_first_fragment(ip) || ip[hlen] != ICMP_ECHO || ip[hlen + 1] != 0) {
        return FWD_DROP;
    }
    fwd_swap_macs(frame);
    fwd_swap(ip + 12, ip + 16, 4);
    fwd_patch_icmp(ip + hlen);
    return FWD_CHANGED;
}

static enum fwd_result fwd_icmpecho(struct pktbuf *frame, const uint8_t src_mac[MAC_LEN]) {
    uint16_t type;
    const uint32_t off = fwd_packet(frame, &type);
    const uint32_t len = frame->len - off;
    if (type == ETHER_ARP) {
        return fwd_answer_arp(frame, frame->data + off, len, src_mac);
    }
    return type == ETHER_IP4 && len >= IP4_HLEN ? fwd_answer_ping(frame, frame->data + off, len)
                                               : FWD_DROP;
}

enum fwd_result fwd_change(enum config_fwd what, struct pktbuf *frame,
                           const uint8_t src_mac[MAC_LEN], const uint8_t dst_mac[MAC_LEN]) {
    if (UNLIKELY(frame->len < HEADER_MIN)) { /* a device cut it within the header */
        return FWD_UNCHANGED;
    }
    switch (what) {
    case CONFIG_FWD_IO:
        return FWD_UNCHANGED;
    case CONFIG_FWD_MAC:
        memcpy(frame->data, dst_mac, MAC_LEN);
        memcpy(frame->data + MAC_LEN, src_mac, MAC_LEN);
        return FWD_CHANGED;
    case CONFIG_FWD_MACSWAP:
        fwd_swap_macs(frame);
        return FWD_CHANGED;
    case CONFIG_FWD_5TSWAP:
        return fwd_5tswap(frame);
    case CONFIG_FWD_ICMPECHO:
        return fwd_icmpecho(frame, src_mac);
    }
    __builtin_unreachable();
}
