/* The parts of app=ping: who asks (app_ping.c keeps time and judges answers), and how requests
 * travel (ping_datagram.c, ping_tcp.c). Requests are numbered from 1; the data of each is that of
 * lib/pattern.h for its number. */
#ifndef NET_PING_H
#define NET_PING_H

#include "lib/util.h"
#include "lwip/ip_addr.h"
#include "lwip/pbuf.h"

enum { PING_SIZE_MAX = 65000 }; /* as in the command line's table */

struct netif;

struct ping_task {
    ip_addr_t dst; /* with its zone when it is link-local */
    uint16_t port;
    uint32_t size; /* bytes of data in each request */
    uint64_t seed;
};

/* One way in which requests travel. */
struct ping_transport {
    /* Called once; task stays valid. False: the protocol stack has no room. */
    bool (*open)(const struct ping_task *task);

    /* Sends the request and tells when, by the time stamp counter. False: it cannot go now; it is
     * tried again soon, until its time is over. */
    bool (*send)(uint64_t seq, uint64_t *sent_tsc);

    /* The time of a request is over; sent: send() had been successful. May be NULL. */
    void (*lost)(bool sent);

    /* The last one. May be NULL. */
    void (*close)(void);
};

extern const struct ping_transport ping_icmp;
extern const struct ping_transport ping_udp;
extern const struct ping_transport ping_tcp;

/* Counted by the TCP transport. */
struct ping_tcp_counters {
    uint64_t connects;    /* connections that were established */
    uint64_t disconnects; /* ... that ended otherwise than at our own wish */
};

extern struct ping_tcp_counters ping_tcp_counters;

/* An answer came at the time tsc. seq: the request it belongs to, which may be any number, as the
 * network wrote it. right: it had the right length and every byte was right. */
void ping_answered(uint64_t seq, bool right, uint64_t tsc);

/* Something came up that lets send() succeed now. */
void ping_try_now(void);

/* The latest request's number. */
uint64_t ping_latest(void);

/* Where packets for dst leave, and their source address. NULL: there is no way, or no address yet
 * that is valid for good. */
struct netif *ping_route(const ip_addr_t *dst, const ip_addr_t **src);

#endif
