/* The frames of app=gen, one after the other: flows round robin, sizes by a schedule, all
 * headers, lengths and checksums right, a stamp (net/stamp.h) where it fits, payload.
 *
 * What a flow consists of is not stored but counted along, and a random field is a hash of its
 * flow, so that a million flows cost no memory. Checksums are a sum for each size plus the
 * fields that change; whole blocks of payload add nothing to them (net/stamp.h).
 *
 * Sequence numbers count the frames of a flow that have a stamp. Payload of the others is zero.
 * The sequence number of TCP moves on by as much as the largest frame carries, with each frame
 * of the flow. */
#ifndef NET_GEN_STREAM_H
#define NET_GEN_STREAM_H

#include "lib/prng.h"
#include "net/gen_spec.h"

enum {
    GEN_HEAD_LEN = 112, /* headers, stamp and the payload between them and there, as one copy */
    GEN_HEAD_SHORT = 64,
    GEN_ROOM_MIN = 128,
};

_Static_assert(GEN_HEADERS_MAX + STAMP_LEN <= GEN_HEAD_LEN, "they fit");

/* A field of a flow. */
struct gen_field {
    uint64_t first, span;
    uint64_t off; /* of the next flow's element, when not random */
    uint64_t key; /* of the hash */
    bool random;
};

/* All frames of one entry of size=. Sums are 16-bit words in memory order, not folded (RFC
 * 1071). */
struct gen_class {
    uint8_t head[GEN_HEAD_LEN]; /* a frame's beginning, with fields that change left out */
    uint64_t ip_sum;
    uint64_t l4_sum;
    uint64_t last_step; /* from the payload's base to the word of its last, incomplete block */
    uint64_t last_low, last_high; /* the bits of it and of its complement that are sent */
    uint32_t len;
    uint32_t payload_len; /* behind the stamp; 0 when the frame has none */
    uint32_t payload_room; /* in whole blocks */
    bool stamped;
};

/* For sizes of which some have no room for a stamp. From one frame of a flow to its next the
 * schedule moves by a fixed step, and so runs through all slots before it comes back to the
 * first one. */
struct gen_lap {
    uint16_t position; /* of the slot, in this order */
    uint16_t stamped;  /* slots with a stamp at the positions before */
};

struct gen_stream {
    bool v6, tcp, fixed;
    bool mixed; /* frames with and without a stamp */
    uint32_t seed;
    uint32_t ip_off, l4_off, stamp_off;
    uint32_t head_len; /* GEN_HEAD_SHORT or GEN_HEAD_LEN */
    uint32_t payload_max;

    uint32_t flow, flows;
    uint32_t session_bits; /* as the stamp has them */
    uint64_t seq;          /* of every flow, since they take turns; mixed: as the lap began */
    uint32_t tcp_seq, tcp_step;
    struct gen_field src, dst, sport, dport;

    uint32_t slot, slots; /* of the schedule */
    uint32_t slot_skip;   /* more when the flows begin anew */
    uint32_t slot_first;  /* of the next flow's first frame */
    uint32_t lap_rounds;  /* done of the current lap */
    uint32_t lap_stamped; /* frames with a stamp in a whole lap of a flow */
    uint64_t unstamped;   /* frames so far */

    uint8_t schedule[GEN_SCHEDULE_MAX]; /* class of each slot */
    struct gen_lap laps[GEN_SCHEDULE_MAX]; /* of each slot */
    struct gen_class classes[GEN_SIZES_MAX];
};

/* session: a number that other starts do not have; its low 12 bits count. */
void gen_stream_init(struct gen_stream *stream, const struct gen_spec *spec, uint32_t session);

/* What a buffer must have room for: the last block of payload is written as a whole. */
ALWAYS_INLINE uint32_t gen_stream_room(const struct gen_spec *spec) {
    return (uint32_t)max_u64(spec->size_max + STAMP_BLOCK, GEN_ROOM_MIN);
}

/* Call once for each buffer before frames are written to it. With payload=fixed this is what
 * writes the payload. */
void gen_stream_prepare(const struct gen_stream *stream, uint8_t *frame);

/* Writes the next frame and returns its length. Nobody else has written to the buffer since
 * gen_stream_prepare(). */
uint32_t gen_stream_next(struct gen_stream *stream, uint8_t *frame, uint64_t tsc);

/* The entry of size= that the next frame belongs to. */
ALWAYS_INLINE unsigned gen_stream_class(const struct gen_stream *stream) {
    return stream->schedule[stream->slot];
}

#endif
