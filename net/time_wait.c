#include "net/time_wait.h"

#include <string.h>

#include "lib/util.h"
#include "lwip/ip.h"
#include "lwip/priv/tcp_priv.h"
#include "net/ether.h"
#include "net/tcp_option.h"

enum {
    IP4_LEN_MIN = 20,
    IP4_FRAGMENT_OFF = 6,
    IP4_FRAGMENT_MASK = 0x1fff, /* of the offset */
    IP4_PROTOCOL_OFF = 9,
    IP4_SRC_OFF = 12,
    IP4_DST_OFF = 16,
    IP6_LEN = 40,
    IP6_NEXT_OFF = 6,
    IP6_SRC_OFF = 8,
    IP6_DST_OFF = 24,
    IP6_ADDR_LEN = 16,
    TCP_SEQ_OFF = 4,
    TCP_LEN_OFF = 12,
    TCP_FLAGS_OFF = 13,
    TIMESTAMPS_LEN = 10,
};

/* A segment that opens a connection. */
struct opening {
    const uint8_t *src, *dst; /* addresses as they lie in the packet */
    bool v6;
    uint16_t src_port, dst_port;
    uint32_t seq;
    bool has_time;
    uint32_t time; /* its timestamp */
};

/* False: the segment opens nothing. */
static bool read_tcp(struct opening *o, const uint8_t *tcp, uint32_t len) {
    if (len < TCP_HLEN ||
        LIKELY((tcp[TCP_FLAGS_OFF] & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) != TCP_SYN)) {
        return false;
    }
    const uint32_t header_len = (tcp[TCP_LEN_OFF] >> 4) * 4u;
    o->src_port = ether_be16(tcp);
    o->dst_port = ether_be16(tcp + 2);
    o->seq = ether_be32(tcp + TCP_SEQ_OFF);
    const uint8_t *option = NULL;
    if (header_len > TCP_HLEN && header_len <= len) {
        option = tcp_option_find(tcp + TCP_HLEN, header_len - TCP_HLEN, TCP_OPTION_TIMESTAMPS);
    }
    o->has_time = option != NULL && option[1] == TIMESTAMPS_LEN;
    o->time = o->has_time ? ether_be32(option + 2) : 0;
    return true;
}

static bool read_opening(struct opening *o, const uint8_t *ip, uint32_t len) {
    if (len < IP4_LEN_MIN) {
        return false;
    }
    o->v6 = ip[0] >> 4 == 6;
    const uint32_t header_len = o->v6 ? IP6_LEN : (ip[0] & 15) * 4u;
    o->src = ip + (o->v6 ? IP6_SRC_OFF : IP4_SRC_OFF);
    o->dst = ip + (o->v6 ? IP6_DST_OFF : IP4_DST_OFF);
    if (len < header_len || ip[o->v6 ? IP6_NEXT_OFF : IP4_PROTOCOL_OFF] != IP_PROTO_TCP ||
        (!o->v6 && (ether_be16(ip + IP4_FRAGMENT_OFF) & IP4_FRAGMENT_MASK) != 0)) {
        return false;
    }
    return read_tcp(o, ip + header_len, len - header_len);
}

static bool is_address(const ip_addr_t *addr, const uint8_t *at, bool v6) {
    return IP_IS_V6(addr) == v6 && (v6 ? memcmp(ip_2_ip6(addr)->addr, at, IP6_ADDR_LEN) == 0
                                       : memcmp(&ip_2_ip4(addr)->addr, at, 4) == 0);
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
