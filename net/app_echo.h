/* The echo workload: UDP and TCP echo, discard and chargen, a web server with the guest's
 * status, and a throughput server for iperf 2 on port 5001. */
#ifndef NET_APP_ECHO_H
#define NET_APP_ECHO_H

#include "net/app.h"

extern const struct app app_echo;

#endif
