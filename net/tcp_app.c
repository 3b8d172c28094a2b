#include "net/tcp_app.h"

#include "lwip/def.h"
#include "lwip/priv/tcp_priv.h"

enum { KEEP_IDLE_MS = 30000, KEEP_INTERVAL_MS = 5000, KEEP_COUNT = 4 };

struct tcp_app_counters tcp_app_counters;

bool tcp_app_listen(uint16_t port, tcp_accept_fn accept) {
    struct tcp_pcb *pcb = tcp_new_ip_type(IPADDR_TYPE_ANY);
    if (pcb == NULL || tcp_bind(pcb, IP_ANY_TYPE, port) != ERR_OK) {
        return false;
    }
    pcb = tcp_listen(pcb);
    if (pcb == NULL) {
        return false;
    }
    tcp_accept(pcb, accept);
    return true;
}

void tcp_app_set_options(struct tcp_pcb *pcb) {
    tcp_nagle_disable(pcb);
    ip_set_option(pcb, SOF_KEEPALIVE);
    pcb->keep_idle = KEEP_IDLE_MS;
    pcb->keep_intvl = KEEP_INTERVAL_MS;
    pcb->keep_cnt = KEEP_COUNT;
}

uint32_t tcp_app_send_room(const struct tcp_pcb *pcb) {
    /* While lwIP has a segment to send again, tcp_write() could take it for the end of the stream and add to it. */
    if (pcb->unsent != NULL &&
        TCP_SEQ_LT(lwip_ntohl(pcb->unsent->tcphdr->seqno), pcb->snd_nxt)) {
        return 0;
    }
    const uint32_t window = LWIP_MIN(pcb->snd_wnd, pcb->cwnd) + 2u * pcb->mss;
    const uint32_t outstanding = pcb->snd_lbb - pcb->lastack;
    const uint32_t useful = window > outstanding ? window - outstanding : 0;
    return LWIP_MIN(useful, tcp_sndbuf(pcb));
}

err_t tcp_app_close(struct tcp_pcb *pcb) {
    tcp_app_counters.open--;
    tcp_arg(pcb, NULL);
    tcp_recv(pcb, NULL);
    tcp_sent(pcb, NULL);
    tcp_err(pcb, NULL);
    tcp_poll(pcb, NULL, 0);
    if (tcp_close(pcb) == ERR_OK) {
        return ERR_OK;
    }
    tcp_app_counters.reset++;
    tcp_abort(pcb);
    return ERR_ABRT;
}

void tcp_app_error(void *arg, err_t err) {
    (void)arg;
    (void)err;
    tcp_app_counters.open--;
    tcp_app_counters.reset++;
}
