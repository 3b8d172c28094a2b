/* Closed TCP connections whose late segments are still waited for (TIME-WAIT). lwIP keeps them for a minute, and
 * refuses a peer that wants to use the same ports again. */
#ifndef NET_TIME_WAIT_H
#define NET_TIME_WAIT_H

#include "lwip/netif.h"
#include "lwip/pbuf.h"

enum { TIME_WAIT_MAX = 128 }; /* each SYN looks at all of them */

/* Before lwIP gets an IPv4 or IPv6 packet: when it opens a connection anew that waits (its sequence number, or
 * its timestamp, is behind all that the old one can have sent; RFC 1122 4.2.2.13, RFC 6191), the old one is
 * forgotten. Always 0, so that lwIP goes on with the packet. */
int time_wait_input(const struct pbuf *p, const struct netif *netif);

/* Forgets the oldest ones when there are more than TIME_WAIT_MAX. */
void time_wait_prune(void);

#endif
