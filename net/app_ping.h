/* The ping workload: asks an echo service, ICMP, UDP or TCP, checks every byte of every answer, and
 * measures the round trips. Its exit status says whether all went well. */
#ifndef NET_APP_PING_H
#define NET_APP_PING_H

#include "net/app.h"

extern const struct app app_ping;

#endif
