/* Places where lwIP asks us for a decision. Included by lwIP's own files. */
#ifndef NET_LWIP_HOOKS_H
#define NET_LWIP_HOOKS_H

#include "lwip/err.h"
#include "lwip/ip_addr.h"
#include "net/time_wait.h"

struct netif;
struct tcp_hdr;
struct tcp_pcb;

/* The initial sequence number of a connection (RFC 6528): unpredictable from outside, and growing
 * for the same pair of endpoints. */
u32_t lwip_hooks_tcp_isn(const ip_addr_t *local_ip, u16_t local_port, const ip_addr_t *remote_ip,
                         u16_t remote_port);

/* The interface for an IPv4 packet: the one that owns the source address, so that with several NICs
 * in one subnet an answer leaves where the question came in. NULL: lwIP decides. */
struct netif *lwip_hooks_ip4_route(const ip4_addr_t *src, const ip4_addr_t *dest);

/* Before lwIP looks at a segment, with so many bytes of options in one piece behind its header: lets a
 * connection that has lost nothing and has nothing on its way begin with ten segments (RFC 6928) instead of
 * lwIP's three, and looks for losses (net/tcp_recovery.h). Always ERR_OK. */
err_t lwip_hooks_tcp_in(struct tcp_pcb *pcb, const struct tcp_hdr *header, u16_t options_len);

/* The VLAN tag of a frame to be sent: the id of vlan= with priority 0; negative: none. Frames
 * with a wrong one never reach lwIP (net/netif_virtio.c). */
s32_t lwip_hooks_vlan(const struct netif *netif);

#endif
