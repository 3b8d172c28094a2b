/* What becomes one of the frames that leave in the same pass:
 *
 *   - consecutive segments of a TCP connection, or datagrams of one flow: one frame that the device cuts
 *     again (HOST_TSO4, HOST_TSO6, HOST_USO; 5.1.6.2),
 *   - an acknowledgement without data, and the next frame of its connection that acknowledges more: only
 *     the latter.
 *
 * The protocol stack goes on seeing its own segments, so windows, retransmission and the sizes of what
 * arrives stay what they are. Knows frames as bytes, and no lwIP; net/netif_tx.c keeps the data. */
#ifndef NET_TX_JOIN_H
#define NET_TX_JOIN_H

#include "drivers/virtio_net.h"
#include "net/l4.h"

enum {
    TX_JOIN_HEADERS_MAX = 144, /* Ethernet with a tag, IP and TCP with all their options are 138 bytes */
    TX_JOIN_IP_MAX = 65535,    /* bytes that the length of an IP packet can say */
};

enum tx_join_kind {
    TX_JOIN_NEVER,
    TX_JOIN_ACK, /* of TCP, without data */
    TX_JOIN_SEGMENT,
    TX_JOIN_DATAGRAM,
};

/* What counts of a frame, or of several that became one. */
struct tx_join {
    enum tx_join_kind kind;
    uint8_t gso_type; /* how the device would cut it; VIRTIO_NET_HDR_GSO_NONE: it would not */
    bool ended;       /* the last one was shorter, or ends the connection: nothing may follow it */
    uint16_t ip, l4;  /* offsets of the headers */
    uint16_t headers_len; /* all of them */
    uint32_t piece;   /* bytes behind the headers of the first, and at most of the others */
    uint32_t payload; /* of all */
    uint32_t seq, ack;
    const uint8_t *headers;
};

/* Reads a frame of frame_len bytes whose first len are at data and stay there. `place` is from
 * l4_find(). `cut`: the kinds of net/gso.h that the device cuts, as far as this frame's checksum is left to it. */
void tx_join_read(struct tx_join *frame, const uint8_t *data, uint32_t len, uint32_t frame_len,
                  const struct l4_place *place, unsigned cut);

/* Whether `next`, sent after the acknowledgement `held`, says all that it says. */
bool tx_join_supersedes(const struct tx_join *held, const struct tx_join *next);

/* Whether `next` can become part of `held`. */
bool tx_join_continues(const struct tx_join *held, const struct tx_join *next);

/* Makes `next` part of `held`, whose headers have been copied to `headers`: they get what is newer. */
void tx_join_add(struct tx_join *held, const struct tx_join *next, uint8_t *headers);

/* Completes the headers at `headers`, and the virtio header, which had the checksum's place already,
 * for the device to cut the frame (5.1.6.2). */
void tx_join_finish(const struct tx_join *held, uint8_t *headers, struct virtio_net_hdr *hdr);

#endif
