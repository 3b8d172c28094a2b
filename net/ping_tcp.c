/* Requests of app=ping over a TCP connection, one after the other; the echo service sends the
 * bytes back. A request that is lost leaves the connection as it is, since TCP may still bring
 * its answer, which then counts as late. After a wrong byte, or when the connection takes no
 * more, the next request gets a new connection. */
#include <string.h>

#include "lib/cpu.h"
#include "lib/pattern.h"
#include "net/ping.h"
#include "net/tcp_app.h"

struct ping_tcp_counters ping_tcp_counters;

static uint8_t ping_tcp_data[PING_SIZE_MAX] __attribute__((section(".bss.large.ping_tcp_data")));

/* Invariant: on one connection requests have consecutive numbers, so answers do too. */
static struct {
    const struct ping_task *task;
    struct tcp_pcb *pcb;
    bool connected;
    uint64_t answer_seq; /* whose bytes come next; 0: no request was sent on this connection */
    uint32_t answer_off; /* how many of them have come */
} ping_conn;

static void ping_tcp_forget(void) {
    ping_conn.pcb = NULL;
    ping_conn.connected = false;
    ping_conn.answer_seq = 0;
    ping_conn.answer_off = 0;
}

/* The connection is gone, or was never established. */
static void ping_tcp_gone(void *arg, err_t err) {
    (void)arg;
    (void)err;
    ping_tcp_counters.disconnects += ping_conn.connected;
    ping_tcp_forget();
}

/* From within a callback of the connection its result must be returned. */
static err_t ping_tcp_abort(void) {
    struct tcp_pcb *pcb = ping_conn.pcb;
    tcp_err(pcb, NULL);
    ping_tcp_forget();
    tcp_abort(pcb);
    return ERR_ABRT;
}

/* Takes a piece of the stream. False: it is wrong. */
static bool ping_tcp_take(const uint8_t *data, uint32_t len, uint64_t tsc) {
    const struct ping_task *task = ping_conn.task;
    while (len > 0) {
        const uint32_t n = (uint32_t)min_u64(len, task->size - ping_conn.answer_off);
        const bool right = ping_conn.answer_seq != 0 && ping_conn.answer_seq <= ping_latest() &&
                           pattern_matches(task->seed, ping_conn.answer_seq, ping_conn.answer_off,
                                           data, n);
        if (!right) {
            ping_answered(ping_conn.answer_seq, false, tsc);
            return false;
        }
        ping_conn.answer_off += n;
        if (ping_conn.answer_off == task->size) {
            ping_answered(ping_conn.answer_seq, true, tsc);
            ping_conn.answer_seq++;
            ping_conn.answer_off = 0;
        }
        data += n;
        len -= n;
    }
    return true;
}

static err_t ping_tcp_received(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err) {
    const uint64_t tsc = cpu_tsc();
    bool right = true;
    (void)arg;
    (void)err;
    if (p == NULL) { /* the other side sends no more, so it is of no use */
        ping_tcp_counters.disconnects++;
        return ping_tcp_abort();
    }
    for (const struct pbuf *q = p; q != NULL && right; q = q->next) {
        right = ping_tcp_take(q->payload, q->len, tsc);
    }
    if (right) {
        tcp_recved(pcb, p->tot_len);
    }
    pbuf_free(p);
    return right ? ERR_OK : ping_tcp_abort();
}

static err_t ping_tcp_connected(void *arg, struct tcp_pcb *pcb, err_t err) {
    (void)arg;
    (void)pcb;
    (void)err; /* always ERR_OK */
    ping_conn.connected = true;
    ping_tcp_counters.connects++;
    ping_try_now();
    return ERR_OK;
}

static void ping_tcp_connect(void) {
    const ip_addr_t *src;
    if (ping_route(&ping_conn.task->dst, &src) == NULL) {
        return;
    }
    struct tcp_pcb *pcb = tcp_new_ip_type(IP_GET_TYPE(&ping_conn.task->dst));
    if (pcb == NULL) {
        return;
    }
    ping_conn.pcb = pcb;
    tcp_app_set_options(pcb);
    tcp_recv(pcb, ping_tcp_received);
    tcp_err(pcb, ping_tcp_gone);
    if (tcp_connect(pcb, &ping_conn.task->dst, ping_conn.task->port, ping_tcp_connected) !=
        ERR_OK) {
        (void)ping_tcp_abort();
    }
}

static bool ping_tcp_send(uint64_t seq, uint64_t *sent_tsc) {
    const uint16_t size = (uint16_t)ping_conn.task->size;
    if (ping_conn.pcb == NULL) {
        ping_tcp_connect();
    }
    if (!ping_conn.connected) {
        return false;
    }
    pattern_write(ping_conn.task->seed, seq, ping_tcp_data, size);
    *sent_tsc = cpu_tsc();
    if (tcp_write(ping_conn.pcb, ping_tcp_data, size, TCP_WRITE_FLAG_COPY) != ERR_OK) {
        return false;
    }
    if (ping_conn.answer_seq == 0) {
        ping_conn.answer_seq = seq;
    }
    tcp_output(ping_conn.pcb);
    return true;
}

static void ping_tcp_lost(bool sent) {
    if (!sent && ping_conn.pcb != NULL) {
        (void)ping_tcp_abort();
    }
}

static void ping_tcp_close(void) {
    if (ping_conn.pcb == NULL) {
        return;
    }
    struct tcp_pcb *pcb = ping_conn.pcb;
    tcp_recv(pcb, NULL);
    tcp_err(pcb, NULL);
    ping_tcp_forget();
    if (tcp_close(pcb) != ERR_OK) {
        tcp_abort(pcb);
    }
}

static bool ping_tcp_open(const struct ping_task *task) {
    ping_conn.task = task;
    return true;
}

const struct ping_transport ping_tcp = {
    .open = ping_tcp_open,
    .send = ping_tcp_send,
    .lost = ping_tcp_lost,
    .close = ping_tcp_close,
};
