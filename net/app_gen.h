/* app=gen: sends frames on the first NIC, as fast or as evenly as asked for. */
#ifndef NET_APP_GEN_H
#define NET_APP_GEN_H

#include "net/app.h"

extern const struct app app_gen;

#endif
