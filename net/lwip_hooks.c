#include "net/lwip_hooks.h"

#include "drivers/clock.h"
#include "lwip/netif.h"
#include "lwip/tcp.h"
#include "net/netif_priv.h"
#include "net/rand.h"
#include "net/tcp_recovery.h"

enum { INITIAL_SEGMENTS = 10, INITIAL_BYTES = 14600 }; /* RFC 6928 */

static void lwip_hooks_words(const ip_addr_t *ip, uint64_t words[2]) {
    if (IP_IS_V6(ip)) {
        const u32_t *addr = ip_2_ip6(ip)->addr;
        words[0] = (uint64_t)addr[0] << 32 | addr[1];
        words[1] = (uint64_t)addr[2] << 32 | addr[3];
    } else {
        words[0] = ip_2_ip4(ip)->addr;
        words[1] = 0;
    }
}

u32_t lwip_hooks_tcp_isn(const ip_addr_t *local_ip, u16_t local_port, const ip_addr_t *remote_ip,
                         u16_t remote_port) {
    uint64_t words[5];
    lwip_hooks_words(local_ip, &words[0]);
    lwip_hooks_words(remote_ip, &words[2]);
    words[4] = (uint64_t)local_port << 16 | remote_port;
    /* The clock of RFC 793 ticks every 4 microseconds. */
    return (u32_t)rand_hash(words, 5) + (u32_t)(clock_us() / 4);
}

struct netif *lwip_hooks_ip4_route(const ip4_addr_t *src, const ip4_addr_t *dest) {
    struct netif *netif;
    if (src == NULL || ip4_addr_isany(src)) {
        return NULL;
    }
    NETIF_FOREACH(netif) {
        if (!ip4_addr_eq(netif_ip4_addr(netif), src)) {
            continue;
        }
        const bool can_reach = ip4_addr_net_eq(dest, netif_ip4_addr(netif),
                                               netif_ip4_netmask(netif)) ||
                               !ip4_addr_isany(netif_ip4_gw(netif));
        return netif_is_up(netif) && netif_is_link_up(netif) && can_reach ? netif : NULL;
    }
    return NULL;
}

err_t lwip_hooks_tcp_in(struct tcp_pcb *pcb, const struct tcp_hdr *header, u16_t options_len) {
    /* (Only connections have a window: `pcb` may be a listening one, which is a smaller struct.) */
    if (pcb->state == ESTABLISHED && pcb->ssthresh == TCP_SND_BUF && pcb->snd_nxt == pcb->lastack) {
        const u32_t initial = LWIP_MIN(INITIAL_SEGMENTS * (u32_t)pcb->mss,
                                       LWIP_MAX(2 * (u32_t)pcb->mss, (u32_t)INITIAL_BYTES));
        pcb->cwnd = LWIP_MAX(pcb->cwnd, initial);
    }
    tcp_recovery_input(pcb, header, options_len);
    return ERR_OK;
}

s32_t lwip_hooks_vlan(const struct netif *netif) {
    const struct netif_virtio *nv = netif->state;
    return nv->nd->ctrl.vlan != 0 ? nv->nd->ctrl.vlan : -1;
}
