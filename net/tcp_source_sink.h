/* Two TCP services without state of their own: discard (RFC 863, port 9) takes everything, chargen
 * (RFC 864, port 19) sends the rotating pattern of 72 printable characters a line until the peer
 * closes its side. */
#ifndef NET_TCP_SOURCE_SINK_H
#define NET_TCP_SOURCE_SINK_H

#include "lib/util.h"

/* Listens on both ports. False when lwIP has no room. */
bool tcp_source_sink_start(void);

/* Copies the first len bytes of the pattern, len up to one line of 74 bytes or a multiple of it
 * below 95 lines. */
void tcp_source_sink_pattern(uint8_t *out, size_t len);

#endif
