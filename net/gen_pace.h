/* When the frames of app=gen are due, in ticks of the time stamp counter.
 *
 * Times are fixed point with 64 bits behind the point, and each interval is added to the time
 * before: no division for a frame, and no drift. A frame that is late leaves the schedule as it
 * is, so that what a pause cost is made up for, up to `catchup` frames; what is late beyond that
 * is given up, and all that follows is due later. */
#ifndef NET_GEN_PACE_H
#define NET_GEN_PACE_H

#include "lib/histogram.h"
#include "lib/prng.h"
#include "net/gen_spec.h"

typedef unsigned __int128 gen_ticks; /* 2^64 are one tick */

struct gen_pace {
    bool max; /* everything is due at once */
    bool poisson;
    uint32_t bunch;     /* frames that are due together */
    uint32_t bunch_left;
    gen_ticks due;      /* of the next frame */
    gen_ticks bunch_ticks; /* from there to the next bunch, as far as its frames are known */
    gen_ticks mean;     /* interval over the whole schedule */
    uint64_t catchup_ticks;

    int64_t last_late; /* of the frame before; signed, for a schedule that was shifted in between */
    bool has_last;
    uint64_t late_max; /* ticks */
    uint64_t deficit;  /* frames given up */
    struct histogram gap_error; /* nanoseconds: actual gaps between frames against planned ones */

    struct prng prng;
    gen_ticks intervals[GEN_SIZES_MAX]; /* behind a frame of each entry of size= */
    uint32_t log2_table[257]; /* of 1 + i/256, times 2^31 */
};

/* hz: of the time stamp counter. */
void gen_pace_init(struct gen_pace *pace, const struct gen_spec *spec, uint32_t catchup,
                   uint64_t hz);

/* The first frame is due now. */
void gen_pace_start(struct gen_pace *pace, uint64_t now);

/* To be called before frames are sent: gives up what is too late. */
void gen_pace_catch_up(struct gen_pace *pace, uint64_t now);

ALWAYS_INLINE uint64_t gen_pace_due(const struct gen_pace *pace) {
    return (uint64_t)(pace->due >> 64);
}

ALWAYS_INLINE bool gen_pace_is_due(const struct gen_pace *pace, uint64_t now) {
    return gen_pace_due(pace) <= now;
}

/* A frame of that entry of size= departs now, and it was due. Moves on to the next one. */
void gen_pace_sent(struct gen_pace *pace, unsigned class, uint64_t now);

#endif
