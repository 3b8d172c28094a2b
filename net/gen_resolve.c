#include "net/gen_resolve.h"

#include <string.h>

#include "lwip/dhcp.h"
#include "lwip/etharp.h"
#include "lwip/ip.h"
#include "lwip/nd6.h"
#include "lwip/prot/ip6.h"
#include "net/netif_virtio.h"

bool gen_resolve_can(const struct gen_spec *spec) {
    const struct netif *netif = netif_virtio_get(0);
    return spec->v6 ? !ip6_addr_isinvalid(netif_ip6_addr_state(netif, 0))
                    : !ip4_addr_isany(netif_ip4_addr(netif)) || netif_dhcp_data(netif) != NULL;
}

bool gen_resolve_own_ip4(uint32_t *addr) {
    const ip4_addr_t *own = netif_ip4_addr(netif_virtio_get(0));
    *addr = lwip_ntohl(own->addr);
    return !ip4_addr_isany(own);
}

static bool resolve_ip4(struct netif *netif, uint32_t dst, uint8_t mac[MAC_LEN]) {
    ip4_addr_t hop = {.addr = lwip_htonl(dst)};
    struct eth_addr *found;
    const ip4_addr_t *found_ip;
    if (ip4_addr_isany(netif_ip4_addr(netif))) {
        return false;
    }
    if (!ip4_addr_net_eq(&hop, netif_ip4_addr(netif), netif_ip4_netmask(netif))) {
        hop = *netif_ip4_gw(netif);
    }
    if (ip4_addr_isany(&hop)) {
        return false;
    }
    if (etharp_find_addr(netif, &hop, &found, &found_ip) >= 0) {
        memcpy(mac, found, MAC_LEN);
        return true;
    }
    (void)etharp_request(netif, &hop);
    return false;
}

/* Neighbour discovery begins when there is a packet to send: one without content (next header
 * 59, RFC 8200, 4.7), which its receiver drops. */
static bool resolve_ip6(struct netif *netif, uint64_t high, uint64_t low, uint8_t mac[MAC_LEN]) {
    const uint64_t wire[2] = {__builtin_bswap64(high), __builtin_bswap64(low)};
    const uint8_t *found = NULL;
    ip6_addr_t dst;
    memcpy(dst.addr, wire, sizeof(wire));
    ip6_addr_clear_zone(&dst);
    ip6_addr_assign_zone(&dst, IP6_UNICAST, netif);
    const ip_addr_t *src = ip6_select_source_address(netif, &dst);
    struct pbuf *packet = src == NULL ? NULL : pbuf_alloc(PBUF_LINK, IP6_HLEN, PBUF_RAM);
    if (packet == NULL) {
        return false;
    }
    struct ip6_hdr *header = packet->payload;
    IP6H_VTCFL_SET(header, 6, 0, 0);
    IP6H_PLEN_SET(header, 0);
    IP6H_NEXTH_SET(header, IP6_NEXTH_NONE);
    IP6H_HOPLIM_SET(header, 1);
    ip6_addr_copy_to_packed(header->src, *ip_2_ip6(src));
    ip6_addr_copy_to_packed(header->dest, dst);
    const err_t err = nd6_get_next_hop_addr_or_queue(netif, packet, &dst, &found);
    if (err == ERR_OK && found != NULL) {
        memcpy(mac, found, MAC_LEN);
    }
    pbuf_free(packet);
    return err == ERR_OK && found != NULL;
}

bool gen_resolve_dst(const struct gen_spec *spec, uint8_t mac[MAC_LEN]) {
    struct netif *netif = netif_virtio_get(0);
    return spec->v6 ? resolve_ip6(netif, spec->dst_high, spec->dst.first, mac)
                    : resolve_ip4(netif, (uint32_t)spec->dst.first, mac);
}
