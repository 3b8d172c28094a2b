/* The way on which all UDP services send. */
#ifndef NET_UDP_OUT_H
#define NET_UDP_OUT_H

#include "lwip/udp.h"

/* udp_sendto_if_src(), with a checksum made in software when the datagram will travel in
 * fragments, since that cannot be left to the device. Headers are put in front of p, which stays
 * the caller's. */
err_t udp_out_send(struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *dst, u16_t port,
                   struct netif *netif, const ip_addr_t *src);

#endif
