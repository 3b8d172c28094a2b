#include "net/tcp_echo.h"

#include <string.h>

#include "lib/assert.h"
#include "lwip/pbuf.h"
#include "net/stack.h"
#include "net/tcp_app.h"

enum {
    ECHO_PORT = 7,
    ECHO_CONN_MAX = 1024,
    ECHO_STALLED_MS = 2000,
    ECHO_PACK_WAITING = 8, /* with so many packets unsent, small ones are packed together ... */
    ECHO_PACK_MAX = 512,   /* ... small: up to so many bytes */
    ECHO_POLL_TICKS = 1,
};

/* Invariants: packets are linked by `next` from oldest to newest, each with the one reference that
 * is ours. Bytes before (oldest, acked_off) are acknowledged, bytes before (unsent, unsent_off)
 * were handed to TCP; unsent is NULL when all were. */
struct echo_conn {
    struct tcp_pcb *pcb;
    struct echo_conn *next_free;
    struct pbuf *oldest;
    struct pbuf *newest;
    struct pbuf *unsent;
    uint16_t acked_off;
    uint16_t unsent_off;
    uint16_t pack_room;     /* bytes that can still be packed into newest */
    uint32_t held_count;    /* packets in the list */
    uint32_t waiting_count; /* ... from unsent on */
    bool peer_closed;       /* the peer will send no more */
    bool closed;            /* our FIN is queued behind the last byte */
    uint64_t progress_ms;   /* the last acknowledgement, or when there began to be data */
};

static struct echo_conn echo_conns[ECHO_CONN_MAX];
static struct echo_conn *echo_free;

static void echo_append(struct echo_conn *conn, struct pbuf *p) {
    if (conn->oldest == NULL) {
        conn->oldest = p;
        conn->acked_off = 0;
        conn->progress_ms = stack_now_ms();
    } else {
        conn->newest->next = p;
    }
    if (conn->unsent == NULL) {
        conn->unsent = p;
        conn->unsent_off = 0;
    }
    conn->newest = p;
    conn->pack_room = 0;
    conn->held_count++;
    conn->waiting_count++;
}

/* A packet occupies a whole buffer however few bytes it holds. When many wait, small ones are
 * copied together, so that a window of single bytes cannot take all memory. */
static bool echo_pack(struct echo_conn *conn, const struct pbuf *p) {
    if (conn->waiting_count < ECHO_PACK_WAITING || p->len > ECHO_PACK_MAX) {
        return false;
    }
    if (conn->pack_room < p->len) {
        struct pbuf *packed = pbuf_alloc(PBUF_RAW, PBUF_POOL_BUFSIZE, PBUF_POOL);
        if (packed == NULL) {
            return false;
        }
        packed->len = 0;
        echo_append(conn, packed);
        conn->pack_room = PBUF_POOL_BUFSIZE;
    }
    memcpy((uint8_t *)conn->newest->payload + conn->newest->len, p->payload, p->len);
    conn->newest->len = (u16_t)(conn->newest->len + p->len);
    conn->pack_room = (uint16_t)(conn->pack_room - p->len);
    return true;
}

/* Takes over a received chain. */
static void echo_take(struct echo_conn *conn, struct pbuf *chain) {
    struct pbuf *next;
    for (struct pbuf *p = chain; p != NULL; p = next) {
        next = p->next;
        p->next = NULL;
        if (p->len == 0 || echo_pack(conn, p)) {
            pbuf_free(p);
        } else {
            echo_append(conn, p);
        }
    }
}

/* The peer acknowledged len more bytes: gives back the packets that are done.
 *
 * A copy of such a packet that TCP sent a second time can still be in the transmit ring and then
 * carries whatever the memory holds by then: the peer ignores it, since the bytes are behind its
 * window. */
static void echo_release(struct echo_conn *conn, uint32_t len) {
    while (conn->oldest != NULL && len > 0) {
        struct pbuf *p = conn->oldest;
        const uint32_t left = (uint32_t)p->len - conn->acked_off;
        if (len < left) {
            conn->acked_off = (uint16_t)(conn->acked_off + len);
            return;
        }
        ASSERT(p != conn->unsent);
        len -= left;
        conn->oldest = p->next;
        conn->acked_off = 0;
        conn->held_count--;
        p->next = NULL;
        pbuf_free(p);
    }
    if (conn->oldest == NULL) {
        conn->newest = NULL;
        conn->pack_room = 0;
    }
}

/* Hands to TCP what it takes now. What it does not take is tried again when the peer acknowledges
 * something, or by the poll timer. */
static void echo_send(struct echo_conn *conn) {
    struct tcp_pcb *pcb = conn->pcb;
    while (conn->unsent != NULL) {
        struct pbuf *p = conn->unsent;
        const uint32_t left = (uint32_t)p->len - conn->unsent_off;
        const uint16_t len = (uint16_t)LWIP_MIN(left, tcp_app_send_room(pcb));
        const u8_t more = p->next != NULL || len < left ? TCP_WRITE_FLAG_MORE : 0;
        if (len == 0 ||
            tcp_write(pcb, (uint8_t *)p->payload + conn->unsent_off, len, more) != ERR_OK) {
            break;
        }
        conn->unsent_off = (uint16_t)(conn->unsent_off + len);
        if (len == left) {
            conn->unsent = p->next;
            conn->unsent_off = 0;
            conn->waiting_count--;
        }
    }
    if (conn->peer_closed && conn->unsent == NULL && !conn->closed) {
        conn->closed = tcp_shutdown(pcb, 0, 1) == ERR_OK;
    }
    tcp_output(pcb);
}

static void echo_forget(struct echo_conn *conn) {
    conn->unsent = NULL;
    while (conn->oldest != NULL) {
        struct pbuf *p = conn->oldest;
        conn->oldest = p->next;
        p->next = NULL;
        pbuf_free(p);
    }
    conn->pcb = NULL;
    conn->next_free = echo_free;
    echo_free = conn;
    tcp_app_counters.open--;
}

static err_t echo_received(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err) {
    struct echo_conn *conn = arg;
    (void)pcb;
    (void)err;
    if (p == NULL) {
        conn->peer_closed = true;
    } else {
        tcp_app_counters.received_bytes += p->tot_len;
        echo_take(conn, p);
    }
    echo_send(conn);
    return ERR_OK;
}

static err_t echo_acknowledged(void *arg, struct tcp_pcb *pcb, u16_t len) {
    struct echo_conn *conn = arg;
    tcp_app_counters.echoed_bytes += len;
    conn->progress_ms = stack_now_ms();
    echo_release(conn, len);
    tcp_recved(pcb, len);
    echo_send(conn);
    return ERR_OK;
}

static err_t echo_retry(void *arg, struct tcp_pcb *pcb) {
    struct echo_conn *conn = arg;
    (void)pcb;
    if (conn->unsent != NULL || (conn->peer_closed && !conn->closed)) {
        echo_send(conn);
    }
    return ERR_OK;
}

/* The connection is gone: ERR_CLSD after both sides closed, anything else before. */
static void echo_gone(void *arg, err_t err) {
    if (err != ERR_CLSD) {
        tcp_app_counters.reset++;
    }
    echo_forget(arg);
}

static err_t echo_accept(void *arg, struct tcp_pcb *pcb, err_t err) {
    struct echo_conn *conn = echo_free;
    (void)arg;
    if (err != ERR_OK || pcb == NULL || conn == NULL) {
        tcp_app_counters.refused++;
        return ERR_MEM; /* lwIP resets the connection */
    }
    echo_free = conn->next_free;
    *conn = (struct echo_conn){.pcb = pcb, .progress_ms = stack_now_ms()};
    tcp_app_set_options(pcb);
    tcp_arg(pcb, conn);
    tcp_recv(pcb, echo_received);
    tcp_sent(pcb, echo_acknowledged);
    tcp_poll(pcb, echo_retry, ECHO_POLL_TICKS);
    tcp_err(pcb, echo_gone);
    tcp_app_counters.accepted++;
    tcp_app_counters.open++;
    return ERR_OK;
}

bool tcp_echo_start(void) {
    for (unsigned i = 0; i < ECHO_CONN_MAX; i++) {
        echo_conns[i].next_free = echo_free;
        echo_free = &echo_conns[i];
    }
    return tcp_app_listen(ECHO_PORT, echo_accept);
}

void tcp_echo_relieve(uint64_t now_ms) {
    struct echo_conn *worst = NULL;
    for (unsigned i = 0; i < ECHO_CONN_MAX; i++) {
        struct echo_conn *conn = &echo_conns[i];
        if (conn->pcb != NULL && conn->held_count > 0 &&
            now_ms - conn->progress_ms >= ECHO_STALLED_MS &&
            (worst == NULL || conn->held_count > worst->held_count)) {
            worst = conn;
        }
    }
    if (worst != NULL) {
        tcp_app_counters.stalled++;
        tcp_abort(worst->pcb); /* calls echo_gone() */
    }
}
