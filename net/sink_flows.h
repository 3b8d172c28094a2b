/* Which sequence numbers of each flow came: loss, duplicates, reordering.
 *
 * A flow has the next number that it expects and a window: one bit for each of the numbers below,
 * set when that number came. A number at or above the expected one makes those between missing; one
 * within the window is a duplicate when its bit is set, else it was late and is not missing any
 * more; one below the window is neither for sure, and counted as too old. So lost, duplicates and
 * reordered are exact as long as frames are not further out of order than the window.
 *
 * All windows together have 2 MiB, or 64 bits each if that is more, each a power of two of bits:
 *
 *   flows=            window   table
 *   up to 256          65536   at most 2 MiB
 *   1024               16384   2 MiB
 *   65536                256   4 MiB
 *   above 131072          64   32 bytes a flow, 32 MiB for 2^20
 *
 * A new session starts the table anew without touching it: what a flow holds is valid only if its
 * epoch is that of the table. */
#ifndef NET_SINK_FLOWS_H
#define NET_SINK_FLOWS_H

#include "lib/util.h"

enum {
    SINK_WINDOW_BITS_MIN = 64,
    SINK_WINDOW_BITS_MAX = 65536,
    SINK_WINDOWS_BYTES = 2 << 20, /* of all flows together, unless each has the minimum */
};

/* A number that is so far ahead is not from a generator: 2^40 frames take it hours at least. A sink
 * may start long after the generator, so the first number of a flow may be larger. */
#define SINK_JUMP_MAX (UINT64_C(1) << 40)
#define SINK_FIRST_MAX (UINT64_C(1) << 48)

struct sink_flow {
    uint64_t next;   /* one more than the highest number that came */
    uint64_t lost;   /* numbers from the first one that came up to next that did not */
    uint32_t epoch;  /* other than that of the table: nothing came yet */
    uint32_t span;   /* from the first number that came to next; at most the window's bits */
    uint64_t came[]; /* the window, a ring: number n has bit n modulo its size */
};

/* Sums over all flows, of all sessions unless they say otherwise. */
struct sink_flows {
    uint8_t *memory;
    size_t stride; /* from one flow to the next */
    uint32_t count;
    uint32_t window; /* bits */
    uint32_t epoch;

    uint64_t lost;
    uint64_t duplicates;
    uint64_t reordered;
    uint64_t reorder_max;  /* so far was a late number below the highest one of its flow */
    uint64_t too_old;
    uint64_t missed_start; /* numbers below the first one that came of a flow, and never came */
    uint64_t bad_stamp;    /* absurd numbers */
    uint64_t unknown;      /* frames of flows beyond the table */
    uint64_t seen;         /* flows of this session */
    uint64_t lossy;        /* those of them that miss a number */
};

/* Takes the table from dma_alloc(). False when memory is short; the reason was logged. */
bool sink_flows_init(struct sink_flows *table, uint32_t flows);

/* A new session: no flow has been seen. */
void sink_flows_restart(struct sink_flows *table);

/* Cold half of sink_flows_add(): any number but the expected one. */
void sink_flows_add_other(struct sink_flows *table, struct sink_flow *flow, uint64_t seq);

ALWAYS_INLINE struct sink_flow *sink_flows_get(const struct sink_flows *table, uint32_t flow) {
    return (struct sink_flow *)(void *)(table->memory + flow * table->stride);
}

ALWAYS_INLINE uint64_t *sink_flows_word(const struct sink_flows *table, struct sink_flow *flow,
                                        uint64_t seq) {
    return &flow->came[(seq & (table->window - 1)) / 64];
}

/* The highest number so far, which its bit has to show whatever older number it stood for. */
ALWAYS_INLINE void sink_flows_advance(struct sink_flows *table, struct sink_flow *flow,
                                      uint64_t seq) {
    const uint64_t span = flow->span + (seq + 1 - flow->next);
    *sink_flows_word(table, flow, seq) |= UINT64_C(1) << (seq & 63);
    flow->next = seq + 1;
    flow->span = (uint32_t)min_u64(span, table->window);
}

/* A frame of the flow came. */
ALWAYS_INLINE void sink_flows_add(struct sink_flows *table, uint32_t index, uint64_t seq) {
    if (UNLIKELY(index >= table->count)) {
        table->unknown++;
        return;
    }
    struct sink_flow *flow = sink_flows_get(table, index);
    if (LIKELY(flow->next == seq && flow->epoch == table->epoch)) {
        sink_flows_advance(table, flow, seq);
    } else {
        sink_flows_add_other(table, flow, seq);
    }
}

#endif
