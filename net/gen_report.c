#include "net/gen_report.h"

static void report_rate(struct json *j, const struct gen_rate *rate) {
    static const char *const units[] = {
        [GEN_RATE_MAX] = "max",
        [GEN_RATE_PPS] = "pps",
        [GEN_RATE_BPS] = "bps",
        [GEN_RATE_L1] = "bps_l1",
    };
    json_object(j, "rate");
    json_string(j, "unit", units[rate->kind]);
    json_u64(j, "per_second", rate->per_second);
    json_u64(j, "linerate_bps", rate->linerate_bps);
    json_string(j, "pace", rate->poisson ? "poisson" : rate->bunch > 1 ? "burst" : "cbr");
    json_u64(j, "burst_frames", rate->bunch);
    json_close(j);
}

void gen_report_spec(struct json *j, const struct gen_spec *spec) {
    report_rate(j, &spec->rate);
    json_u64(j, "flows", spec->flows);
    json_array(j, "sizes");
    for (unsigned i = 0; i < spec->size_count; i++) {
        json_object(j, NULL);
        json_u64(j, "len", spec->sizes[i].len);
        json_u64(j, "weight", spec->sizes[i].weight);
        json_close(j);
    }
    json_close(j);
    json_string(j, "payload", spec->fixed ? "fixed" : "pattern");
    json_u64(j, "seed", spec->seed);
}

void gen_report_pace(struct json *j, const struct gen_pace *pace) {
    const struct histogram *error = &pace->gap_error;
    json_object(j, "pacing");
    json_object(j, "interval_error_ns");
    json_u64(j, "p50", histogram_quantile(error, 500000));
    json_u64(j, "p99", histogram_quantile(error, 990000));
    json_u64(j, "p999", histogram_quantile(error, 999000));
    json_u64(j, "max", error->max);
    json_close(j);
    json_close(j);
}
