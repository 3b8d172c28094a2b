/* The echo workload: UDP and TCP echo, discard and chargen, a web server with the guest's
 * status, and a throughput server for iperf 2 on port 5001. */
#ifndef NET_APP_ECHO_H
#define NET_APP_ECHO_H

#include "lib/config.h"
#include "lib/util.h"

/* Opens all ports. Call after stack_init(). False when lwIP has no room, which its configuration
 * excludes. */
bool app_echo_start(void);

/* Runs the poll loop for cfg->seconds, 0: for ever. Prints the ready line, a statistics line each
 * cfg->stats seconds and the result line. Returns the exit status. */
int app_echo_run(const struct config *cfg);

#endif
