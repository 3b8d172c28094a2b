/* What the TCP services of the echo workload share. */
#ifndef NET_TCP_APP_H
#define NET_TCP_APP_H

#include "lib/util.h"
#include "lwip/tcp.h"

/* Counts of the TCP services, shown as those of the workload. */
struct tcp_app_counters {
    uint64_t open;            /* connections now */
    uint64_t accepted;
    uint64_t refused;         /* no room for one more */
    uint64_t reset;           /* ended otherwise than by closing both directions */
    uint64_t stalled;         /* ... because memory was short and they did not move */
    uint64_t received_bytes;
    uint64_t echoed_bytes;    /* of the echo service, acknowledged by the peer */
    uint64_t discarded_bytes;
    uint64_t generated_bytes; /* of chargen, acknowledged by the peer */
};

extern struct tcp_app_counters tcp_app_counters;

/* Listens on a port of all addresses of both families. False when lwIP has no room. */
bool tcp_app_listen(uint16_t port, tcp_accept_fn accept);

/* Sends without Nagle's delay, and notices a peer that is gone: after 30 s without a sign of life
 * it is asked every 5 s, and given up after the fourth question. */
void tcp_app_set_options(struct tcp_pcb *pcb);

/* Bytes worth handing to TCP now: what the windows allow plus two segments, so that memory for
 * segments is not spent on data that the peer does not let through. */
uint32_t tcp_app_send_room(const struct tcp_pcb *pcb);

/* Closes an accepted connection from within its receive callback and counts it. Returns what the
 * callback must return. */
err_t tcp_app_close(struct tcp_pcb *pcb);

/* The error callback of services without state: counts the reset. */
void tcp_app_error(void *arg, err_t err);

#endif
