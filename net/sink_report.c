#include "net/sink_report.h"

#include "drivers/clock.h"
#include "lib/histogram_json.h"

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
    json_bool(j, "one_clock", sink->clock_skewed == 0);
    histogram_json(&sink->latency, j, "latency_ns");
}
