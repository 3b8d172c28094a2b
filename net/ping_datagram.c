/* Requests of app=ping as datagrams: ICMP echo for both families, and UDP.
 *
 * Which request a datagram answers is told by the sequence number in the ICMP header, or by the
 * first eight bytes of the data; of shorter data by as many low bytes of the number as there
 * are. UDP without data cannot be told apart and counts as the answer to the latest request. */
#include "lib/assert.h"
#include "lib/cpu.h"
#include "lib/pattern.h"
#include "lwip/icmp.h"
#include "lwip/inet_chksum.h"
#include "lwip/ip.h"
#include "lwip/prot/icmp6.h"
#include "lwip/raw.h"
#include "lwip/udp.h"
#include "net/ping.h"
#include "net/rand.h"
#include "net/udp_out.h"

enum {
    REQUEST_MEMORY = LWIP_MEM_ALIGN_SIZE(PBUF_TRANSPORT) + sizeof(struct icmp_echo_hdr) +
                     PING_SIZE_MAX,
    REQUEST_COUNT = 2, /* one is free while the device still holds the other */
};

/* A request in static memory, as large as they come: the pools have no such pieces. As with
 * received frames (netif_virtio.c) headers go in front of the data, which follows struct pbuf. */
struct ping_request {
    struct pbuf_custom custom; /* first: what lwIP gives back is the request */
    bool used;
    uint8_t memory[REQUEST_MEMORY];
};

static struct ping_request ping_requests[REQUEST_COUNT]
    __attribute__((section(".bss.large.ping_requests")));

static struct {
    const struct ping_task *task;
    struct raw_pcb *raw;
    struct udp_pcb *udp;
    uint16_t icmp_id;
} ping_datagram;

static void ping_request_free(struct pbuf *p) {
    ((struct ping_request *)(void *)p)->used = false;
}

/* A packet of header_len bytes, and behind them the data of request seq. NULL while the device
 * holds them all. */
static struct pbuf *ping_request_make(pbuf_layer layer, uint16_t header_len, uint64_t seq) {
    const struct ping_task *task = ping_datagram.task;
    for (unsigned i = 0; i < REQUEST_COUNT; i++) {
        struct ping_request *request = &ping_requests[i];
        if (request->used) {
            continue;
        }
        request->used = true;
        request->custom.custom_free_function = ping_request_free;
        struct pbuf *p = pbuf_alloced_custom(layer, (u16_t)(header_len + task->size), PBUF_POOL,
                                             &request->custom, request->memory,
                                             sizeof(request->memory));
        ASSERT(p != NULL);
        pattern_write(task->seed, seq, (uint8_t *)p->payload + header_len, task->size);
        return p;
    }
    return NULL;
}

/* Whether the bytes of p from skip on are the data of request seq, all of it and no more. */
static bool ping_data_right(const struct pbuf *p, size_t skip, uint64_t seq) {
    const struct ping_task *task = ping_datagram.task;
    size_t off = 0;
    if (p->tot_len != skip + task->size) {
        return false;
    }
    for (; p != NULL; p = p->next) {
        const size_t before = skip < p->len ? skip : p->len;
        const size_t len = p->len - before;
        if (!pattern_matches(task->seed, seq, off, (const uint8_t *)p->payload + before, len)) {
            return false;
        }
        skip -= before;
        off += len;
    }
    return true;
}

/* The latest request whose number ends in these bits. */
static uint64_t ping_number(uint64_t low, unsigned bits) {
    const uint64_t mask = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
    const uint64_t latest = ping_latest();
    return latest - ((latest - low) & mask);
}

/* --- ICMP ------------------------------------------------------------------------------------- */

static bool ping_icmp_send(uint64_t seq, uint64_t *sent_tsc) {
    const ip_addr_t *dst = &ping_datagram.task->dst;
    const ip_addr_t *src;
    struct netif *netif = ping_route(dst, &src);
    const struct icmp_echo_hdr header = {
        .type = IP_IS_V6(dst) ? ICMP6_TYPE_EREQ : ICMP_ECHO,
        .id = ping_datagram.icmp_id,
        .seqno = lwip_htons((u16_t)seq),
    };
    struct pbuf *p = netif == NULL ? NULL : ping_request_make(PBUF_IP, sizeof(header), seq);
    if (p == NULL) {
        return false;
    }
    struct icmp_echo_hdr *to = p->payload;
    *to = header;
    *sent_tsc = cpu_tsc();
    if (!IP_IS_V6(dst)) { /* of ICMPv6 the checksum covers addresses too, and lwIP makes it */
        to->chksum = inet_chksum_pbuf(p);
    }
    const err_t err = raw_sendto_if_src(ping_datagram.raw, p, dst, netif, src);
    pbuf_free(p);
    return err == ERR_OK;
}

static bool ping_icmp_checksum_right(struct pbuf *p) {
    return (ip_current_is_v6()
                ? ip6_chksum_pseudo(p, IP6_NEXTH_ICMP6, p->tot_len, ip6_current_src_addr(),
                                    ip6_current_dest_addr())
                : inet_chksum_pbuf(p)) == 0;
}

/* lwIP shows every packet of the protocol, with its IP header. Nonzero: it was ours. */
static u8_t ping_icmp_received(void *arg, struct raw_pcb *pcb, struct pbuf *p,
                               const ip_addr_t *addr) {
    const uint64_t tsc = cpu_tsc();
    const uint16_t ip_len = ip_current_header_tot_len();
    const uint8_t reply = ip_current_is_v6() ? ICMP6_TYPE_EREP : ICMP_ER;
    struct icmp_echo_hdr header;
    (void)arg;
    (void)pcb;
    if (pbuf_copy_partial(p, &header, sizeof(header), ip_len) != sizeof(header) ||
        header.type != reply || header.code != 0 || header.id != ping_datagram.icmp_id ||
        !ip_addr_eq(addr, &ping_datagram.task->dst) || pbuf_remove_header(p, ip_len) != 0) {
        return 0;
    }
    const uint64_t seq = ping_number(lwip_ntohs(header.seqno), 16);
    ping_answered(seq, ping_data_right(p, sizeof(header), seq) && ping_icmp_checksum_right(p), tsc);
    pbuf_free(p);
    return 1;
}

static bool ping_icmp_open(const struct ping_task *task) {
    const bool v6 = IP_IS_V6(&task->dst);
    ping_datagram.task = task;
    ping_datagram.icmp_id = (uint16_t)rand_u32();
    ping_datagram.raw = raw_new_ip_type(v6 ? IPADDR_TYPE_V6 : IPADDR_TYPE_V4,
                                        v6 ? IP6_NEXTH_ICMP6 : IP_PROTO_ICMP);
    if (ping_datagram.raw == NULL) {
        return false;
    }
    if (v6) {
        ping_datagram.raw->chksum_reqd = 1;
        ping_datagram.raw->chksum_offset = offsetof(struct icmp_echo_hdr, chksum);
    }
    raw_recv(ping_datagram.raw, ping_icmp_received, NULL);
    return true;
}

const struct ping_transport ping_icmp = {.open = ping_icmp_open, .send = ping_icmp_send};

/* --- UDP -------------------------------------------------------------------------------------- */

static bool ping_udp_send(uint64_t seq, uint64_t *sent_tsc) {
    const struct ping_task *task = ping_datagram.task;
    const ip_addr_t *src;
    struct netif *netif = ping_route(&task->dst, &src);
    struct pbuf *p = netif == NULL ? NULL : ping_request_make(PBUF_TRANSPORT, 0, seq);
    if (p == NULL) {
        return false;
    }
    *sent_tsc = cpu_tsc();
    const err_t err = udp_out_send(ping_datagram.udp, p, &task->dst, task->port, netif, src);
    pbuf_free(p);
    return err == ERR_OK;
}

static void ping_udp_received(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *addr,
                              u16_t port) {
    const uint64_t tsc = cpu_tsc();
    uint64_t low = 0;
    (void)arg;
    (void)pcb;
    (void)addr;
    (void)port;
    const unsigned bits = 8u * pbuf_copy_partial(p, &low, sizeof(low), 0);
    const uint64_t seq = ping_number(low, bits);
    ping_answered(seq, ping_data_right(p, 0, seq), tsc);
    pbuf_free(p);
}

static bool ping_udp_open(const struct ping_task *task) {
    const u8_t type = IP_GET_TYPE(&task->dst);
    ping_datagram.task = task;
    ping_datagram.udp = udp_new_ip_type(type);
    /* Connected: lwIP gives us what comes from there and nothing else. */
    if (ping_datagram.udp == NULL ||
        udp_connect(ping_datagram.udp, &task->dst, task->port) != ERR_OK) {
        return false;
    }
    udp_recv(ping_datagram.udp, ping_udp_received, NULL);
    return true;
}

const struct ping_transport ping_udp = {.open = ping_udp_open, .send = ping_udp_send};
