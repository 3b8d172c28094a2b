/* Path MTUs of IPv6 (RFC 8201): what lwIP leaves open about packets that must be smaller than
 * the NIC allows.
 *
 * Beside these functions the file replaces lwIP's ip6_frag() for TCP (the linker's --wrap),
 * since that moves through the packet and leaves it changed, while TCP keeps it to send it
 * again. */
#ifndef NET_PATH_MTU_H
#define NET_PATH_MTU_H

#include "lib/util.h"
#include "lwip/netif.h"

/* Brings what the network said of paths within bounds: not below 1280 bytes, which no station
 * may ask for, and not above what NICs can send. Call after each received ICMPv6 packet: lwIP
 * believes anything, and cuts packets for a tiny MTU for ever. */
void path_mtu_check(void);

/* Whether packets to some station must be smaller than the NIC's MTU. TCP then cuts segments of the
 * old size into fragments. */
bool path_mtu_is_narrow(const struct netif *netif);

#endif
