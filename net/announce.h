/* Tells the network where this station is: after a move of the guest, or of the cable, switches and
 * neighbours send elsewhere until they hear from it. */
#ifndef NET_ANNOUNCE_H
#define NET_ANNOUNCE_H

#include "lwip/netif.h"

/* IPv6: an unsolicited neighbour advertisement (RFC 4861, 7.2.6) for each address, to all nodes. */
void announce_ip6(struct netif *netif);

/* The IPv4 address with a gratuitous ARP request, the IPv6 addresses as above, and the multicast
 * groups with MLD reports, which leave within half a second. */
void announce_all(struct netif *netif);

#endif
