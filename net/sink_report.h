/* The numbers of a sink, for the workload that has one. */
#ifndef NET_SINK_REPORT_H
#define NET_SINK_REPORT_H

#include "net/sink.h"
#include "net/stats.h"

#define SINK_COUNTER(item_name, counter, text)                                                     \
    {.name = item_name, .help = text, .read = stats_read_u64, .source = &(counter)}
#define SINK_GAUGE(item_name, counter, text)                                                       \
    {.name = item_name, .help = text, .read = stats_read_u64, .source = &(counter), .gauge = true}
#define SINK_READ(item_name, sink, text)                                                           \
    {.name = #item_name, .help = text, .read = sink_read_##item_name, .source = &(sink),           \
     .gauge = true}

/* For struct stats_item of a workload; sink is a static struct. */
#define SINK_STATS_ITEMS(sink)                                                                     \
    SINK_COUNTER("frames", (sink).frames, "Generator frames"),                                     \
    SINK_COUNTER("bytes", (sink).bytes, "Bytes of these frames"),                                  \
    SINK_READ(received, sink, "Generator frames, each number once"),                               \
    SINK_GAUGE("lost", (sink).flows.lost, "Numbers that were left out"),                           \
    SINK_COUNTER("duplicates", (sink).flows.duplicates, "Numbers that had come before"),           \
    SINK_COUNTER("reordered", (sink).flows.reordered, "Numbers that came after a higher one"),     \
    SINK_GAUGE("reorder_max", (sink).flows.reorder_max, "... by so much at most"),                 \
    SINK_COUNTER("too_old", (sink).flows.too_old, "Late or twice, too late to tell"),              \
    SINK_GAUGE("missed_start", (sink).flows.missed_start, "Numbers below the first one of a flow"),\
    SINK_COUNTER("bad_stamp", (sink).flows.bad_stamp, "Absurd numbers"),                           \
    SINK_COUNTER("unknown_flows", (sink).flows.unknown, "Frames of flows beyond flows="),          \
    SINK_COUNTER("other_session", (sink).other_session, "Frames of another generator meanwhile"),  \
    SINK_COUNTER("bad_length", (sink).bad_length, "Frames whose packet has another length"),       \
    SINK_COUNTER("bad_checksum", (sink).bad_checksum, "Frames with a wrong checksum"),             \
    SINK_COUNTER("corrupt", (sink).corrupt, "Frames with another payload"),                        \
    SINK_COUNTER("clock_skewed", (sink).clock_skewed, "Frames stamped by another clock"),          \
    SINK_COUNTER("sessions", (sink).sessions, "Runs of generators"),                               \
    SINK_READ(session, sink, "Number of the latest one"),                                          \
    SINK_GAUGE("session_frames", (sink).session.frames, "Its frames"),                             \
    SINK_GAUGE("session_bytes", (sink).session.bytes, "Bytes of these frames"),                    \
    SINK_READ(duration_ns, sink, "From its first frame to its latest one"),                        \
    SINK_READ(rate_pps, sink, "Its frames in a second"),                                           \
    SINK_READ(rate_bps, sink, "Bits of its frames in a second"),                                   \
    SINK_GAUGE("flows_seen", (sink).flows.seen, "Its flows"),                                      \
    SINK_GAUGE("flows_lossy", (sink).flows.lossy, "Those of them that miss a frame")

uint64_t sink_read_received(const void *sink);
uint64_t sink_read_session(const void *sink);
uint64_t sink_read_duration_ns(const void *sink);
uint64_t sink_read_rate_pps(const void *sink);
uint64_t sink_read_rate_bps(const void *sink);

/* Adds "one_clock" and "latency_ns" to the open object. */
void sink_write(const struct sink *sink, struct json *j);

#endif
