/* The Internet checksum (RFC 1071), 32 bytes at a time. */
#ifndef NET_CHECKSUM_H
#define NET_CHECKSUM_H

#include "lib/pktbuf.h"

/* Sum of len bytes as 16-bit words in memory order, folded, not inverted: what lwIP expects of
 * LWIP_CHKSUM. */
uint16_t checksum_add(const void *data, int len);

/* The same of the frame's bytes from off on, in whatever buffers; not folded. */
uint64_t checksum_frame(const struct pktbuf *frame, uint32_t off);

#endif
