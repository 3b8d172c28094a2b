#include "net/announce.h"

#include <string.h>

#include "lwip/etharp.h"
#include "lwip/inet_chksum.h"
#include "lwip/ip6.h"
#include "lwip/mld6.h"
#include "lwip/priv/nd6_priv.h"
#include "lwip/prot/icmp6.h"
#include "lwip/prot/nd6.h"

struct announcement {
    struct na_header na;
    struct lladdr_option lladdr;
};

_Static_assert(sizeof(struct na_header) == 24 && sizeof(struct lladdr_option) == 8,
               "RFC 4861, 4.4 and 4.6.1");

/* A failure is like a frame that is lost: the neighbours find out by themselves, later. */
static void announce_address(struct netif *netif, const ip6_addr_t *addr) {
    ip6_addr_t all_nodes;
    struct pbuf *p = pbuf_alloc(PBUF_IP, sizeof(struct announcement), PBUF_RAM);
    if (p == NULL) {
        return;
    }
    struct announcement *out = p->payload;
    *out = (struct announcement){
        .na = {.type = ICMP6_TYPE_NA, .flags = ND6_FLAG_OVERRIDE},
        .lladdr = {.type = ND6_OPTION_TYPE_TARGET_LLADDR, .length = 1 /* eight bytes */},
    };
    ip6_addr_copy_to_packed(out->na.target_address, *addr);
    memcpy(out->lladdr.addr, netif->hwaddr, ETH_HWADDR_LEN);
    ip6_addr_set_allnodes_linklocal(&all_nodes);
    ip6_addr_assign_zone(&all_nodes, IP6_MULTICAST, netif);
    out->na.chksum = ip6_chksum_pseudo(p, IP6_NEXTH_ICMP6, p->tot_len, addr, &all_nodes);
    ip6_output_if(p, addr, &all_nodes, ND6_HOPLIM, 0, IP6_NEXTH_ICMP6, netif);
    pbuf_free(p);
}

void announce_ip6(struct netif *netif) {
    for (unsigned i = 0; i < LWIP_IPV6_NUM_ADDRESSES; i++) {
        if (ip6_addr_isvalid(netif_ip6_addr_state(netif, i))) {
            announce_address(netif, netif_ip6_addr(netif, i));
        }
    }
}

void announce_all(struct netif *netif) {
    if (!ip4_addr_isany(netif_ip4_addr(netif))) {
        etharp_gratuitous(netif);
    }
    announce_ip6(netif);
    mld6_report_groups(netif);
}
