/* The forwarder: what comes in on one NIC goes out on its neighbour (0 and 1, 2 and 3, ...), on a NIC
 * without one back where it came from. fwd= says what happens to a frame on the way. */
#ifndef NET_APP_FWD_H
#define NET_APP_FWD_H

#include "net/app.h"

extern const struct app app_fwd;

#endif
