#include "net/udp_services.h"

#include "lwip/ip.h"
#include "lwip/pbuf.h"
#include "lwip/udp.h"
#include "net/tcp_source_sink.h"
#include "net/udp_out.h"

enum {
    ECHO_PORT = 7,
    DISCARD_PORT = 9,
    DAYTIME_PORT = 13,
    QOTD_PORT = 17,
    CHARGEN_PORT = 19,
    TIME_PORT = 37,
    CHARGEN_MAX = 512,
};

struct udp_services_counters udp_services_counters;

static bool udp_may_answer(uint16_t port) {
    switch (port) {
    case 0:
    case ECHO_PORT:
    case DISCARD_PORT:
    case DAYTIME_PORT:
    case QOTD_PORT:
    case CHARGEN_PORT:
    case TIME_PORT:
        return false;
    default:
        return !ip_addr_ismulticast(ip_current_dest_addr()) &&
               !ip_addr_isbroadcast(ip_current_dest_addr(), ip_current_input_netif());
    }
}

/* Answers from the address that was asked, through the NIC where the question came in. */
static bool udp_answer(struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *addr, u16_t port) {
    /* lwIP overwrites its notion of the current packet only on input, so these stay valid. */
    if (udp_out_send(pcb, p, addr, port, ip_current_input_netif(), ip_current_dest_addr()) !=
        ERR_OK) {
        udp_services_counters.send_failed++;
        return false;
    }
    return true;
}

static void udp_echo(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *addr,
                     u16_t port) {
    const uint16_t len = p->tot_len; /* sending puts headers in front */
    (void)arg;
    if (!udp_may_answer(port)) {
        udp_services_counters.ignored++;
    } else if (udp_answer(pcb, p, addr, port)) {
        udp_services_counters.echoed++;
        udp_services_counters.echoed_bytes += len;
    }
    pbuf_free(p);
}

static void udp_discard(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *addr,
                        u16_t port) {
    (void)arg;
    (void)pcb;
    (void)addr;
    (void)port;
    udp_services_counters.discarded++;
    pbuf_free(p);
}

static void udp_chargen(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *addr,
                        u16_t port) {
    const uint16_t len = LWIP_MIN(p->tot_len, CHARGEN_MAX);
    (void)arg;
    pbuf_free(p);
    if (!udp_may_answer(port)) {
        udp_services_counters.ignored++;
        return;
    }
    struct pbuf *answer = pbuf_alloc(PBUF_TRANSPORT, len, PBUF_RAM);
    if (answer == NULL) {
        udp_services_counters.send_failed++;
        return;
    }
    tcp_source_sink_pattern(answer->payload, len);
    udp_services_counters.generated += udp_answer(pcb, answer, addr, port);
    pbuf_free(answer);
}

static bool udp_serve(uint16_t port, udp_recv_fn receive) {
    struct udp_pcb *pcb = udp_new_ip_type(IPADDR_TYPE_ANY);
    if (pcb == NULL || udp_bind(pcb, IP_ANY_TYPE, port) != ERR_OK) {
        return false;
    }
    udp_recv(pcb, receive, NULL);
    return true;
}

bool udp_services_start(void) {
    return udp_serve(ECHO_PORT, udp_echo) && udp_serve(DISCARD_PORT, udp_discard) &&
           udp_serve(CHARGEN_PORT, udp_chargen);
}
