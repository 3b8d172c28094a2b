/* Received frames that stand for several datagrams of UDP (GUEST_USO4, GUEST_USO6; 5.1.6.4): the frame that
 * each would have been. Knows frames as bytes, and no lwIP. */
#ifndef NET_DATAGRAMS_H
#define NET_DATAGRAMS_H

#include "lib/pktbuf.h"
#include "net/l4.h"

/* Datagrams in one frame: its headers, and what each carries. */
struct datagrams {
    struct l4_place place; /* of UDP */
    uint16_t size; /* bytes of data in each but the last, at least 1 */
};

/* Number of datagrams. */
uint32_t datagrams_count(const struct datagrams *d);

/* Bytes of the frame of datagram number i, from 0 on. */
uint32_t datagrams_len(const struct datagrams *d, uint32_t i);

/* Writes this frame to `out`. All is as its sender would have made it, but the checksum of UDP, which is that
 * of the whole: nobody must look at it. */
void datagrams_copy(const struct datagrams *d, const struct pktbuf *frame, uint32_t i,
                    uint8_t *out);

#endif
