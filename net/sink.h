/* The receiver of generator frames (net/stamp.h): loss and order of each flow, delay, and with
 * check=1 damage. It knows nothing of who sends; app=sink is one with a guest around it.
 *
 * A generator frame is Ethernet, any number of VLAN tags, IPv4 that is no fragment or IPv6 without
 * extension headers, UDP or TCP, then a stamp: all of that in the frame's first buffer. Nothing is
 * taken on trust, all lengths are checked against the buffer. Where the stamp lies is not kept from
 * frame to frame: frames that look alike go the same way through the same branches, and the
 * processor remembers that by itself.
 *
 * A session is one run of a generator. Another number begins a new session when the latest one has
 * been silent for SINK_SILENCE_US; before, its frames are from a second generator, late or damaged,
 * and are counted but not looked at: so neither can undo the results of the session. */
#ifndef NET_SINK_H
#define NET_SINK_H

#include "lib/config.h"
#include "lib/histogram.h"
#include "lib/pktbuf.h"
#include "net/sink_flows.h"

enum {
    SINK_SILENCE_US = 10000,
    SINK_AGE_MAX_US = 10000000, /* an older stamp is of another clock */
};

struct sink {
    bool check;
    uint32_t seed;
    uint64_t silence_ticks;
    uint64_t age_max_ticks;

    uint64_t frames; /* of generators, all of them */
    uint64_t bytes;  /* of these frames, without Ethernet's checksum */
    uint64_t other_session;
    uint64_t bad_length;   /* IP or UDP say another length than that of the frame */
    uint64_t bad_checksum; /* check=1: of the IPv4 header, UDP or TCP */
    uint64_t corrupt;      /* check=1: the payload is another one */
    uint64_t clock_skewed; /* frames whose delay cannot be told: stamped by another clock */
    struct sink_flows flows;
    struct histogram latency; /* nanoseconds */

    uint64_t sessions;
    struct {
        uint32_t number;
        uint64_t frames;
        uint64_t bytes;
        uint64_t first_tsc;
        uint64_t last_tsc;
    } session; /* the latest one */
};

/* Call before dma_lock(). False when there is not enough memory; the reason was logged. */
bool sink_init(struct sink *sink, const struct config *cfg);

/* Accounts the frame if it is a generator's; false: it is not, nothing was counted. tsc: the time
 * stamp counter, read after the frame was taken from the ring, once for a burst, and never less
 * than the last one. The frame stays the caller's. */
bool sink_frame(struct sink *sink, const struct pktbuf *frame, uint64_t tsc);

/* Frames of which each number counts once. */
uint64_t sink_received(const struct sink *sink);

/* No damage, and of what was sent as far as known not more than loss_ppm millionths lost. */
bool sink_passed(const struct sink *sink, uint32_t loss_ppm);

#endif
