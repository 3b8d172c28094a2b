/* The Internet checksum (RFC 1071), 32 bytes at a time. */
#ifndef NET_CHECKSUM_H
#define NET_CHECKSUM_H

#include "lib/util.h"

/* Sum of len bytes as 16-bit words in memory order, folded, not inverted: what lwIP expects of
 * LWIP_CHKSUM. */
uint16_t checksum_add(const void *data, int len);

#endif
