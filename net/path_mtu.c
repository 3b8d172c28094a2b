#include "net/path_mtu.h"

#include "lwip/ip6_frag.h"
#include "lwip/nd6.h"
#include "lwip/priv/nd6_priv.h"
#include "lwip/prot/ip6.h"

static u16_t path_mtu_max(void) {
    u16_t max = IP6_MIN_MTU_LENGTH;
    struct netif *netif;
    NETIF_FOREACH(netif) {
        max = LWIP_MAX(max, netif->mtu);
    }
    return max;
}

void path_mtu_check(void) {
    const u16_t max = path_mtu_max();
    for (unsigned i = 0; i < LWIP_ND6_NUM_DESTINATIONS; i++) {
        u16_t *pmtu = &destination_cache[i].pmtu;
        if (*pmtu != 0) { /* 0: nothing is known */
            *pmtu = LWIP_MIN(LWIP_MAX(*pmtu, IP6_MIN_MTU_LENGTH), max);
        }
    }
}

bool path_mtu_is_narrow(const struct netif *netif) {
    bool narrow = netif_mtu6(netif) < netif->mtu;
    for (unsigned i = 0; i < LWIP_ND6_NUM_DESTINATIONS; i++) {
        narrow |= destination_cache[i].pmtu != 0 && destination_cache[i].pmtu < netif->mtu;
    }
    return narrow;
}

err_t __real_ip6_frag(struct pbuf *p, struct netif *netif, const ip6_addr_t *dest);
err_t __wrap_ip6_frag(struct pbuf *p, struct netif *netif, const ip6_addr_t *dest);

err_t __wrap_ip6_frag(struct pbuf *p, struct netif *netif, const ip6_addr_t *dest) {
    if (IP6H_NEXTH((const struct ip6_hdr *)p->payload) != IP6_NEXTH_TCP) {
        return __real_ip6_frag(p, netif, dest); /* its sender is done with it */
    }
    struct pbuf *copy = pbuf_clone(PBUF_RAW, PBUF_RAM, p);
    if (copy == NULL) {
        IP6_FRAG_STATS_INC(ip6_frag.memerr);
        return ERR_MEM;
    }
    const err_t err = __real_ip6_frag(copy, netif, dest);
    pbuf_free(copy);
    return err;
}
