/* What Ringlet's web server shows, through lwIP's httpd: `/` a page for people, `/stats.json` the
 * object of net/stats.h, `/metrics` Prometheus text. All else is 404. */
#ifndef NET_HTTP_STATUS_H
#define NET_HTTP_STATUS_H

#include "lib/util.h"

struct http_status_counters {
    uint64_t requests;
    uint64_t not_found;
    uint64_t busy; /* answered with 503: as many answers as there is room for were on their way */
};

extern struct http_status_counters http_status_counters;

/* Listens on port 80. Call after stats_set_app(). */
void http_status_start(void);

#endif
