/* The TCP echo service (RFC 862): every byte comes back, in order, or the connection is reset.
 *
 * Received packets are sent from where they lie and given back when the peer has acknowledged them;
 * only then does the receive window open again. So a peer that does not read its echo is stopped by
 * its own window, and nothing is lost or copied. */
#ifndef NET_TCP_ECHO_H
#define NET_TCP_ECHO_H

#include "lib/util.h"

/* Listens on port 7. False when lwIP has no room. */
bool tcp_echo_start(void);

/* Memory is short: resets the connection that holds most of it among those whose peer has not
 * acknowledged anything for two seconds. */
void tcp_echo_relieve(uint64_t now_ms);

#endif
