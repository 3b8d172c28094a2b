/* A histogram as a JSON object: `count`, `min`, `mean` and `max`, which are exact, then `p50`, `p90`,
 * `p99`, `p999`, `p9999` and `p99999`, as near as lib/histogram.h says. All 0 when it is empty. */
#ifndef LIB_HISTOGRAM_JSON_H
#define LIB_HISTOGRAM_JSON_H

#include "lib/histogram.h"
#include "lib/json.h"

void histogram_json(const struct histogram *h, struct json *j, const char *key);

#endif
