#include "net/udp_out.h"

#include "lib/util.h"
#include "lwip/nd6.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/ip6.h"

static bool udp_out_is_cut(const struct pbuf *p, const ip_addr_t *dst, struct netif *netif) {
    const uint32_t len = p->tot_len + UDP_HLEN;
    return IP_IS_V6(dst) ? len + IP6_HLEN > nd6_get_destination_mtu(ip_2_ip6(dst), netif)
                         : len + IP_HLEN > netif->mtu;
}

err_t udp_out_send(struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *dst, u16_t port,
                   struct netif *netif, const ip_addr_t *src) {
    const u16_t before = netif->chksum_flags;
    if (udp_out_is_cut(p, dst, netif)) {
        NETIF_SET_CHECKSUM_CTRL(netif, before | NETIF_CHECKSUM_GEN_UDP);
    }
    const err_t err = udp_sendto_if_src(pcb, p, dst, port, netif, src);
    NETIF_SET_CHECKSUM_CTRL(netif, before);
    return err;
}
