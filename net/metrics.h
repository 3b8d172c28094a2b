/* The counters of net/stats.h as Prometheus text, format 0.0.4. */
#ifndef NET_METRICS_H
#define NET_METRICS_H

#include "lib/util.h"

/* Writes the text without a terminating zero. Returns its length, 0 when it does not fit. */
size_t metrics_write(char *text, size_t size);

#endif
