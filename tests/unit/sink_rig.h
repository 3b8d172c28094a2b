/* Generator frames for the tests of a sink, built byte by byte from the RFCs, in memory of exactly
 * their size; and the clock, of which two ticks are a nanosecond. */
#ifndef TESTS_UNIT_SINK_RIG_H
#define TESTS_UNIT_SINK_RIG_H

#include "net/sink.h"
#include "net/stamp.h"

enum {
    RIG_TICKS_PER_NS = 2,
    RIG_SEED = 77,
    RIG_PIECES_MAX = 8,
    RIG_FRAME_MAX = 10000,
};

struct rig_shape {
    unsigned tags;     /* 0 to 3: 0x8100, of several the outer ones 0x88a8 */
    bool ip6;
    bool tcp;
    unsigned options;     /* words of IPv4 options */
    unsigned tcp_options; /* words */
    uint32_t payload;     /* bytes behind the stamp */
    bool no_sum;          /* UDP: 0 instead of a checksum */
};

struct rig_stamp {
    uint32_t flow;
    uint32_t session;
    uint64_t seq;
    uint64_t tsc;
};

/* The frame that rig_build() made, and where its parts are. */
extern uint8_t rig_bytes[RIG_FRAME_MAX];
extern uint32_t rig_len;
extern uint32_t rig_ip, rig_l4, rig_stamp;

void rig_build(const struct rig_shape *shape, const struct rig_stamp *stamp);

/* Makes the checksums right again after a change of the headers. */
void rig_sums(const struct rig_shape *shape);

/* A frame of these bytes in `count` buffers: of len[0], ... bytes, the last one has the rest. */
struct pktbuf *rig_frame(const uint8_t *bytes, uint32_t total, const uint32_t *len,
                         unsigned count);
void rig_free(struct pktbuf *frame);

/* Gives the built frame to the sink in one buffer. */
bool rig_give(struct sink *sink, uint64_t now);

/* A new sink, and the memory of its flow table. */
void rig_open(struct sink *sink, uint32_t flows, bool check);
void rig_close(void);

#endif
