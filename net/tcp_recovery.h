/* Loss recovery by selective acknowledgements (RFC 2018, in the manner of RFC 6675), which lwIP reports to its peers
 * but does not use itself. It sends one segment again, after three duplicate acknowledgements, and leaves what
 * else was lost to its timer, for half a second. A frame of many segments is lost as a whole, and behind it few
 * acknowledgements come: here all that is missing before what the peer has goes out at once, as one frame again.
 *
 * Congestion window, timer and queues stay lwIP's. */
#ifndef NET_TCP_RECOVERY_H
#define NET_TCP_RECOVERY_H

#include "lwip/tcp.h"
#include "lwip/prot/tcp.h"

struct tcp_recovery_counters {
    uint64_t recoveries; /* losses that were noticed */
    uint64_t resent;     /* segments that were sent again because of them */
};

extern struct tcp_recovery_counters tcp_recovery_counters;

/* Once, after lwip_init(). */
void tcp_recovery_init(void);

/* Before lwIP looks at a segment for pcb: `header` in host byte order, with so many bytes of options in one
 * piece behind it. */
void tcp_recovery_input(struct tcp_pcb *pcb, const struct tcp_hdr *header, u16_t options_len);

/* Once a millisecond: begins what must not wait for more acknowledgements. */
void tcp_recovery_tick(void);

#endif
