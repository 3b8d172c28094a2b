/* What a forwarder does to a frame (fwd=). */
#ifndef NET_FWD_H
#define NET_FWD_H

#include "lib/config.h"
#include "lib/mac.h"
#include "lib/pktbuf.h"

enum fwd_result {
    FWD_UNCHANGED, /* there was nothing to do, or nothing that is understood */
    FWD_CHANGED,
    FWD_DROP, /* icmpecho: no question that is answered */
};

/* fwd=macswap for a burst of up to FWD_BURST_MAX frames. Returns how many were changed. */
enum { FWD_BURST_MAX = 64 };
unsigned fwd_swap_macs_of(struct pktbuf **frames, unsigned count);

/* Changes the frame in place, in its first buffer alone. What lies behind VLAN tags is found.
 *
 *   io        nothing
 *   mac       source src_mac, destination dst_mac
 *   macswap   source and destination of Ethernet change places
 *   5tswap    those of IPv4 or IPv6 and the ports of UDP or TCP do, too; checksums stay right by that
 *   icmpecho  ARP and ICMP echo requests become their answers, whatever address they ask for, but
 *             not those to or from groups; the sender of an ARP answer is src_mac */
enum fwd_result fwd_change(enum config_fwd what, struct pktbuf *frame,
                           const uint8_t src_mac[MAC_LEN], const uint8_t dst_mac[MAC_LEN]);

#endif
