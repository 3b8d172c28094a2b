/* What a generator frame carries behind its headers, so that a receiver that knows nothing but the
 * seed can tell loss, order, delay and damage:
 *
 *   2 bytes  STAMP_MAGIC
 *   4 bytes  flow (low 20 bits) and session (the rest): a new number with each start of a generator
 *   8 bytes  sequence number within the flow, from 0 on
 *   8 bytes  time stamp counter of the sender when it made the frame
 *   the rest: payload, a function of seed, flow and sequence number
 *
 * All little endian. 22 bytes fit into a frame of 64 bytes behind Ethernet, IPv4 and UDP.
 *
 * The payload is blocks of 16 bytes: eight bytes of data and their complement. In the checksum of
 * the Internet (RFC 1071) a block counts as nothing, so that a generator need not add it up. */
#ifndef NET_STAMP_H
#define NET_STAMP_H

#include "lib/assert.h"
#include "lib/util.h"

#define STAMP_MAGIC 0x5152u /* "RQ" on the wire */

/* From the data of one block of payload to that of the next. Odd, so that those of a frame
 * differ. */
#define STAMP_STEP UINT64_C(0x9e3779b97f4a7c15)

enum {
    STAMP_LEN = 22,
    STAMP_FLOW_BITS = 20,
    STAMP_FLOW_MAX = 1 << STAMP_FLOW_BITS, /* flows of a session */
    STAMP_BLOCK = 16,
};

struct __attribute__((packed)) stamp {
    uint16_t magic;
    uint32_t flow_session;
    uint64_t seq;
    uint64_t tsc;
};

_Static_assert(sizeof(struct stamp) == STAMP_LEN, "it is as long as this file says");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are stored as they are");

ALWAYS_INLINE uint32_t stamp_flow(const struct stamp *stamp) {
    return stamp->flow_session & (STAMP_FLOW_MAX - 1);
}

ALWAYS_INLINE uint32_t stamp_session(const struct stamp *stamp) {
    return stamp->flow_session >> STAMP_FLOW_BITS;
}

/* What the payload of a frame starts from. */
uint64_t stamp_payload_base(uint32_t seed, uint32_t flow, uint64_t seq);

/* Writes len bytes of payload. */
void stamp_payload_write(uint64_t base, uint8_t *out, size_t len);

/* Whether the len bytes at data are that payload. */
bool stamp_payload_matches(uint64_t base, const uint8_t *data, size_t len);

#endif
