#include "lib/histogram_json.h"

void histogram_json(const struct histogram *h, struct json *j, const char *key) {
    static const struct {
        const char *name;
        uint32_t ppm;
    } quantiles[] = {
        {"p50", 500000},   {"p90", 900000},   {"p99", 990000},
        {"p999", 999000},  {"p9999", 999900}, {"p99999", 999990},
    };
    json_object(j, key);
    json_u64(j, "count", h->count);
    json_u64(j, "min", h->min);
    json_u64(j, "mean", histogram_mean(h));
    json_u64(j, "max", h->max);
    for (size_t i = 0; i < ARRAY_SIZE(quantiles); i++) {
        json_u64(j, quantiles[i].name, histogram_quantile(h, quantiles[i].ppm));
    }
    json_close(j);
}
