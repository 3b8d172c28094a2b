#include "net/raw.h"

#include <string.h>

#include "drivers/clock.h"
#include "lib/cpu.h"
#include "lwip/ip.h"
#include "lwip/netif.h"
#include "lwip/prot/etharp.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/ip6.h"
#include "lwip/prot/udp.h"
#include "net/ether.h"
#include "net/netif_virtio.h"
#include "net/stack.h"

enum { DHCP_CLIENT_PORT = 68 };

struct raw_counters raw_counters;

static struct {
    uint64_t last_tsc;
    uint64_t slept_ticks; /* until then */
    uint64_t steal_ticks;
    bool has_stack;
} raw;

uint64_t raw_read_ns(const void *source) {
    return clock_ns_of_ticks(*(const uint64_t *)source);
}

uint64_t raw_read_gaps_now(const void *source) {
    (void)source;
    return raw_counters.steal_gaps - raw_counters.steal_gaps_seen;
}

void raw_printed(void) {
    raw_counters.steal_gaps_seen = raw_counters.steal_gaps;
}

void raw_start(const struct config *cfg, bool (*blocked)(unsigned nic)) {
    netif_virtio_set_raw(blocked);
    raw.steal_ticks = clock_ticks_of_us(cfg->steal_us);
    raw.has_stack = strcmp(cfg->ip, "off") != 0 || strcmp(cfg->ip6, "off") != 0;
}

uint64_t raw_pass(bool worked) {
    const uint64_t now = cpu_tsc();
    const uint64_t slept = stack_slept_ticks();
    const uint64_t took = now - raw.last_tsc - (slept - raw.slept_ticks);
    if (raw.last_tsc != 0) {
        raw_counters.passes++;
        if (worked) {
            raw_counters.busy_ticks += took;
        }
        if (UNLIKELY(took > raw.steal_ticks)) {
            raw_counters.steal_gaps++;
            raw_counters.steal_ticks += took;
            raw_counters.steal_max_ticks = max_u64(raw_counters.steal_max_ticks, took);
        }
    }
    raw.last_tsc = now;
    raw.slept_ticks = slept;
    return now;
}

bool raw_has_stack(void) {
    return raw.has_stack;
}

static bool raw_is_own_ip4(const struct netif *netif, const void *addr) {
    const ip4_addr_t *own = netif_ip4_addr(netif);
    return !ip4_addr_isany(own) && memcmp(addr, own, sizeof(*own)) == 0;
}

static bool raw_arp_is_own(const struct netif *netif, const uint8_t *packet, uint32_t len) {
    const struct etharp_hdr *arp = (const void *)packet;
    return len >= sizeof(*arp) && raw_is_own_ip4(netif, &arp->dipaddr);
}

/* Before it has an address, DHCP's answers are all that a station can get. */
static bool raw_ip4_is_own(const struct netif *netif, const uint8_t *packet, uint32_t len) {
    const struct ip_hdr *ip = (const void *)packet;
    const struct udp_hdr *udp = (const void *)(packet + IP_HLEN);
    if (len < IP_HLEN) {
        return false;
    }
    if (raw_is_own_ip4(netif, &ip->dest)) {
        return true;
    }
    return IPH_PROTO(ip) == IP_PROTO_UDP && IPH_HL(ip) * 4 == IP_HLEN &&
           len >= IP_HLEN + sizeof(*udp) && udp->dest == PP_HTONS(DHCP_CLIENT_PORT);
}

/* Own addresses, the group of all nodes, and the solicited-node groups of own addresses, whose last
 * three bytes are theirs (RFC 4291, 2.7.1). */
static bool raw_ip6_is_own(const struct netif *netif, const uint8_t *packet, uint32_t len) {
    static const uint8_t all_nodes[16] = {0xff, 0x02, [15] = 1};
    static const uint8_t solicited[13] = {0xff, 0x02, [11] = 1, [12] = 0xff};
    if (len < IP6_HLEN) {
        return false;
    }
    const uint8_t *dest = packet + offsetof(struct ip6_hdr, dest);
    if (memcmp(dest, all_nodes, sizeof(all_nodes)) == 0) {
        return true;
    }
    const bool group = memcmp(dest, solicited, sizeof(solicited)) == 0;
    for (unsigned i = 0; i < LWIP_IPV6_NUM_ADDRESSES; i++) {
        const uint8_t *own = (const uint8_t *)netif_ip6_addr(netif, i)->addr;
        if (!ip6_addr_isinvalid(netif_ip6_addr_state(netif, i)) &&
            (group ? memcmp(dest + 13, own + 13, 3) == 0 : memcmp(dest, own, 16) == 0)) {
            return true;
        }
    }
    return false;
}

bool raw_is_for_stack(unsigned nic, const struct pktbuf *frame) {
    const struct netif *netif = netif_virtio_get(nic);
    uint16_t type;
    const uint32_t off = ether_packet(frame->data, frame->len, &type);
    const uint8_t *packet = frame->data + off;
    const uint32_t len = frame->len - off;
    if (off == 0) {
        return false;
    }
    switch (type) {
    case ETHER_ARP:
        return raw_arp_is_own(netif, packet, len);
    case ETHER_IP4:
        return raw_ip4_is_own(netif, packet, len);
    case ETHER_IP6:
        return raw_ip6_is_own(netif, packet, len);
    default:
        return false;
    }
}
