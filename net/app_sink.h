/* app=sink: receives what a generator sends, and tells loss, order, delay and damage. */
#ifndef NET_APP_SINK_H
#define NET_APP_SINK_H

#include "net/app.h"

extern const struct app app_sink;

#endif
