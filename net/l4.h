/* Where TCP and UDP lie in a frame. Knows frames as bytes, and no lwIP.
 *
 * A frame is understood when it is IPv4 and no fragment, or IPv6 without extension headers, and holds TCP
 * or UDP; one VLAN tag may come before. */
#ifndef NET_L4_H
#define NET_L4_H

#include "lib/util.h"

enum {
    L4_IP4_LEN_MIN = 20,
    L4_IP4_FRAGMENT_OFF = 6,
    L4_IP4_ADDRESSES_OFF = 12,
    L4_IP6_LEN = 40,
    L4_IP6_NEXT_OFF = 6,
    L4_TCP = 6,
    L4_UDP = 17,
    L4_TCP_LEN_MIN = 20,
    L4_TCP_CHECKSUM_OFF = 16,
    L4_UDP_LEN = 8,
    L4_UDP_CHECKSUM_OFF = 6,
};

enum l4_kind {
    L4_OTHER, /* not understood, or broken */
    L4_PLAIN,
    L4_SPLIT, /* the bytes at hand end in the middle of its headers */
};

struct l4_place {
    uint32_t ip;    /* offset of the IP header in the frame */
    uint32_t start; /* of the TCP or UDP header in the frame */
    uint32_t field; /* of the checksum, in that header */
    uint32_t len;   /* of header and data */
    uint8_t version;  /* of IP */
    uint8_t protocol; /* L4_TCP or L4_UDP */
    const uint8_t *addresses; /* source and destination, part of the pseudo-header */
    uint32_t addresses_len;
};

/* Judges by the first len bytes, at data, of a frame of frame_len. *place is whole only with L4_PLAIN;
 * then all of it lies in the frame, and the header up to its checksum in these bytes. */
enum l4_kind l4_find(const uint8_t *data, uint32_t len, uint32_t frame_len,
                     struct l4_place *place);

/* Gives a packet another length: that of IP (with the header's checksum), and UDP's. `headers`: a frame from its
 * first byte, with the IP header at offset `ip` and that of `protocol` at `start`; len: bytes from
 * there on. The checksum of TCP or UDP stays as it is. */
void l4_set_len(uint8_t *headers, uint32_t ip, uint32_t start, uint8_t protocol, uint32_t len);

#endif
