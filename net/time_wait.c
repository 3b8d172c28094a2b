#include "net/time_wait.h"

#include <string.h>

#include "lib/util.h"
#include "lwip/ip.h"
#include "lwip/priv/tcp_priv.h"
#include "net/ether.h"
#include "net/tcp_option.h"

enum { TIMESTAMPS_LEN = 10 };

/* A segment that opens a connection. */
struct opening {
    const void *src, *dst; /* addresses as they lie in the packet */
    bool v6;
    uint16_t src_port, dst_port;
    uint32_t seq;
    bool has_time;
    uint32_t time; /* its timestamp */
};

/* False: the segment opens nothing. */
static bool read_tcp(struct opening *o, const struct tcp_hdr *tcp, uint32_t len) {
    if (len < TCP_HLEN ||
        LIKELY((TCPH_FLAGS(tcp) & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) != TCP_SYN)) {
        return false;
    }
    const uint32_t header_len = TCPH_HDRLEN_BYTES(tcp);
    o->src_port = lwip_ntohs(tcp->src);
    o->dst_port = lwip_ntohs(tcp->dest);
    o->seq = lwip_ntohl(tcp->seqno);
    const uint8_t *option = NULL;
    if (header_len > TCP_HLEN && header_len <= len) {
        option = tcp_option_find((const uint8_t *)(tcp + 1), header_len - TCP_HLEN,
                                 TCP_OPTION_TIMESTAMPS);
    }
    o->has_time = option != NULL && option[1] == TIMESTAMPS_LEN;
    o->time = o->has_time ? ether_be32(option + 2) : 0;
    return true;
}

/* A packet of either IP version, as lwIP's hook has it. */
static bool read_opening(struct opening *o, const void *packet, uint32_t len) {
    const struct ip_hdr *ip4 = packet;
    const struct ip6_hdr *ip6 = packet;
    if (len < IP_HLEN) {
        return false;
    }
    o->v6 = IPH_V(ip4) == 6;
    const uint32_t header_len = o->v6 ? IP6_HLEN : IPH_HL_BYTES(ip4);
    const uint8_t protocol = o->v6 ? IP6H_NEXTH(ip6) : IPH_PROTO(ip4);
    o->src = o->v6 ? (const void *)&ip6->src : &ip4->src;
    o->dst = o->v6 ? (const void *)&ip6->dest : &ip4->dest;
    if (len < header_len || protocol != IP_PROTO_TCP || (!o->v6 && IPH_OFFSET_BYTES(ip4) != 0)) {
        return false;
    }
    return read_tcp(o, (const void *)((const uint8_t *)packet + header_len), len - header_len);
}

static bool is_address(const ip_addr_t *addr, const void *at, bool v6) {
    return IP_IS_V6(addr) == v6 &&
           (v6 ? memcmp(ip_2_ip6(addr)->addr, at, sizeof(ip6_addr_p_t)) == 0
               : memcmp(&ip_2_ip4(addr)->addr, at, sizeof(ip4_addr_p_t)) == 0);
}

static bool is_newer(const struct opening *o, const struct tcp_pcb *pcb) {
    return (int32_t)(o->seq - pcb->rcv_nxt) > 0 ||
           (o->has_time && (pcb->flags & TF_TIMESTAMP) &&
            (int32_t)(o->time - pcb->ts_recent) > 0);
}

int time_wait_input(const struct pbuf *p, const struct netif *netif) {
    struct opening o = {0};
    (void)netif;
    if (LIKELY(tcp_tw_pcbs == NULL) || LIKELY(!read_opening(&o, p->payload, p->len))) {
        return 0;
    }
    for (struct tcp_pcb *pcb = tcp_tw_pcbs; pcb != NULL; pcb = pcb->next) {
        if (pcb->remote_port == o.src_port && pcb->local_port == o.dst_port &&
            is_address(&pcb->remote_ip, o.src, o.v6) && is_address(&pcb->local_ip, o.dst, o.v6)) {
            if (is_newer(&o, pcb)) {
                tcp_abandon(pcb, 0);
            }
            break;
        }
    }
    return 0;
}

void time_wait_prune(void) {
    struct tcp_pcb *pcb = tcp_tw_pcbs; /* the youngest first */
    for (unsigned i = 0; pcb != NULL && i < TIME_WAIT_MAX; i++) {
        pcb = pcb->next;
    }
    while (pcb != NULL) {
        struct tcp_pcb *next = pcb->next;
        tcp_abandon(pcb, 0);
        pcb = next;
    }
}
