/* What the workloads that drive the rings themselves share (app=fwd, gen, sink): the accounting of a
 * pass, and which received frames are for the protocol stack.
 *
 * Such a workload receives with net_rx_burst() and sends with net_tx_burst(). Before it sends it looks
 * for room, and calls netif_virtio_reclaim() when there is little. */
#ifndef NET_RAW_H
#define NET_RAW_H

#include "drivers/virtio_net.h"
#include "lib/config.h"
#include "net/stats.h"

/* Time stamp counter ticks, those asleep left out. Gaps in time: longer than steal_us= between the starts of two passes, of
 * which the first had nothing to do or a burst at most. The CPU was taken away. */
struct raw_counters {
    uint64_t passes;
    uint64_t busy_ticks; /* of passes that had work */
    uint64_t steal_gaps;
    uint64_t steal_ticks;     /* of these gaps together */
    uint64_t steal_max_ticks; /* of the longest one */
    uint64_t steal_gaps_seen; /* when the last statistics line was printed */
};

extern struct raw_counters raw_counters;

/* For struct stats_item of a workload. */
#define RAW_STATS_ITEMS                                                                            \
    {.name = "passes", .help = "Passes of the poll loop", .read = stats_read_u64,                  \
     .source = &raw_counters.passes},                                                              \
    {.name = "busy_cycles", .help = "Time stamp counter ticks of passes that had work",            \
     .read = stats_read_u64, .source = &raw_counters.busy_ticks},                                  \
    {.name = "steal_gaps", .help = "Gaps longer than steal_us= in the CPU's time",                 \
     .read = stats_read_u64, .source = &raw_counters.steal_gaps},                                  \
    {.name = "steal_gaps_now", .help = "Those since the last statistics line",                    \
     .read = raw_read_gaps_now, .source = NULL, .gauge = true},                                    \
    {.name = "steal_ns", .help = "These gaps together", .read = raw_read_ns,                       \
     .source = &raw_counters.steal_ticks},                                                         \
    {.name = "steal_max_ns", .help = "The longest one", .read = raw_read_ns,                       \
     .source = &raw_counters.steal_max_ticks, .gauge = true}

uint64_t raw_read_gaps_now(const void *source);

/* struct app's printed(). */
void raw_printed(void);

/* Reads a counter of ticks as nanoseconds. */
uint64_t raw_read_ns(const void *source);

/* To be called by a workload's start(): from now on it receives. blocked: see netif_virtio_set_raw(). */
void raw_start(const struct config *cfg, bool (*blocked)(unsigned nic));

/* To be called at the start of each pass. worked: the last pass handled frames. Returns the time stamp
 * counter. */
uint64_t raw_pass(bool worked);

/* The guest has addresses, so there may be frames for the protocol stack. */
bool raw_has_stack(void);

/* Whether a frame is for an address of the NIC itself: ARP and neighbour discovery for it, what is sent
 * to it, DHCP. Then netif_virtio_input() takes it. Slow; ask raw_has_stack() first. */
bool raw_is_for_stack(unsigned nic, const struct pktbuf *frame);

#endif
