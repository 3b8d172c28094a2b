/* The UDP services of the echo workload: echo (port 7), discard (9), chargen (19).
 *
 * None of them can be used to make noise: nothing is answered that came for a broadcast or
 * multicast address, or from a port where a service of this kind listens (two of them would
 * answer each other for ever), and no answer is longer than its question. RFC 864 wants chargen
 * to answer any datagram with up to 512 characters; here it is as many as the question had, at
 * most 512. */
#ifndef NET_UDP_SERVICES_H
#define NET_UDP_SERVICES_H

#include "lib/util.h"

struct udp_services_counters {
    uint64_t echoed;
    uint64_t echoed_bytes;
    uint64_t discarded;
    uint64_t generated;
    uint64_t ignored;     /* not answered, for the reasons above */
    uint64_t send_failed; /* lwIP had no memory or no route for the answer */
};

extern struct udp_services_counters udp_services_counters;

/* False when lwIP has no room. */
bool udp_services_start(void);

#endif
