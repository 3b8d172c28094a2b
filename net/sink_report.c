#include "net/sink_report.h"

#include "drivers/clock.h"

uint64_t sink_read_received(const void *sink) {
    return sink_received(sink);
}

uint64_t sink_read_session(const void *sink) {
    return ((const struct sink *)sink)->session.number;
}

uint64_t sink_read_duration_ns(const void *source) {
    const struct sink *sink = source;
    return clock_ns_of_ticks(sink->session.last_tsc - sink->session.first_tsc);
}

/* The first frame begins the time that is measured, so the others came in it. */
static uint64_t sink_rate(const struct sink *sink, uint64_t count) {
    const uint64_t ns = sink_read_duration_ns(sink);
    const uint64_t frames = sink->session.frames;
    if (ns == 0 || frames == 0) {
        return 0;
    }
    const unsigned __int128 others = (unsigned __int128)count * (frames - 1) / frames;
    return (uint64_t)(others * 1000000000 / ns);
}

uint64_t sink_read_rate_pps(const void *source) {
    const struct sink *sink = source;
    return sink_rate(sink, sink->session.frames);
}

uint64_t sink_read_rate_bps(const void *source) {
    const struct sink *sink = source;
    return sink_rate(sink, sink->session.bytes * 8);
}

void sink_write(const struct sink *sink, struct json *j) {
    static const struct {
        const char *name;
        uint32_t ppm;
    } quantiles[] = {
        {"p50", 500000},   {"p90", 900000},   {"p99", 990000},
        {"p999", 999000},  {"p9999", 999900}, {"p99999", 999990},
    };
    const struct histogram *latency = &sink->latency;
    json_bool(j, "one_clock", sink->clock_skewed == 0);
    json_object(j, "latency_ns");
    json_u64(j, "count", latency->count);
    json_u64(j, "min", latency->min);
    json_u64(j, "mean", histogram_mean(latency));
    json_u64(j, "max", latency->max);
    for (size_t i = 0; i < ARRAY_SIZE(quantiles); i++) {
        json_u64(j, quantiles[i].name, histogram_quantile(latency, quantiles[i].ppm));
    }
    json_close(j);
}
