/* trace=latency: where the time of an answer goes inside the guest. The poll loop names the points that
 * it passes, and the times between them go into histograms. Without the key a point is one test of a
 * variable. */
#ifndef NET_LATENCY_H
#define NET_LATENCY_H

#include "lib/cpu.h"
#include "lib/histogram.h"
#include "lib/json.h"

/* Points of a pass, in their order. */
enum latency_point {
    LATENCY_LOOK,     /* about to look at the receive rings */
    LATENCY_SEEN,     /* a burst holds frames; the first one of a pass counts */
    LATENCY_ANSWERED, /* lwIP is done with all of them */
    LATENCY_FLUSHED,  /* answers are published, doorbells rung where the device asked for them */
    LATENCY_WOKEN,    /* a device may have ended a sleep: a frame that came in it was not seen late */
};

enum latency_part {
    LATENCY_SEEN_TO_STACK,
    LATENCY_STACK_TO_DOORBELL,
    LATENCY_PASS, /* from a look that found nothing to the next one: how late a frame is seen at most */
    LATENCY_PARTS,
};

extern const char *const latency_names[LATENCY_PARTS];
extern struct histogram latency_ns[LATENCY_PARTS];

/* trace=latency. Set once, before the first pass. */
extern bool latency_on;

/* tsc: the time stamp counter at that point. */
void latency_note(enum latency_point point, uint64_t tsc);

ALWAYS_INLINE void latency_at(enum latency_point point) {
    if (UNLIKELY(latency_on)) {
        latency_note(point, cpu_tsc());
    }
}

/* Adds the object `latency`, with a histogram for each part; nothing without the key. */
void latency_write(struct json *j);

#endif
