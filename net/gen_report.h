/* What the result line says of how app=gen was to send, and of how evenly it did. */
#ifndef NET_GEN_REPORT_H
#define NET_GEN_REPORT_H

#include "lib/json.h"
#include "net/gen_pace.h"

void gen_report_spec(struct json *j, const struct gen_spec *spec);
void gen_report_pace(struct json *j, const struct gen_pace *pace);

#endif
