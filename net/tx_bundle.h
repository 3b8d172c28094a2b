/* Several packets of lwIP that leave as one frame, for the device to cut: one copy of their headers, and the data
 * where it lies. The headers of each stay behind in it. */
#ifndef NET_TX_BUNDLE_H
#define NET_TX_BUNDLE_H

#include "drivers/virtio_net.h"
#include "lwip/pbuf.h"
#include "net/tx_join.h"

enum {
    TX_BUNDLE_PARTS_MAX = 48,   /* full segments of Ethernet in the longest IP packet, and a few more */
    TX_BUNDLE_HEADER_ROOM = 16, /* the virtio header lies at its end */
};

struct tx_bundle {
    struct tx_bundle *next_free;
    uint32_t seg_count;
    uint32_t part_count;
    struct pbuf *part[TX_BUNDLE_PARTS_MAX];
    struct vq_seg seg[NET_TX_SEG_MAX]; /* the first: virtio header and `headers` */
    uint8_t header_room[TX_BUNDLE_HEADER_ROOM];
    uint8_t headers[TX_JOIN_HEADERS_MAX];
};

/* A bundle of one packet, which has hdr_len bytes of virtio header in front of its headers_len bytes of headers
 * and whose reference becomes the bundle's; at most seg_max segments. NULL when no bundle is free, or the packet has more
 * pieces: nothing has changed then. */
struct tx_bundle *tx_bundle_start(struct pbuf *packet, uint32_t hdr_len, uint32_t headers_len,
                                  unsigned seg_max);

/* Adds the data of one more packet, as above; what follows in memory makes the last segment longer. False: there is no
 * room, and nothing has changed. */
bool tx_bundle_add(struct tx_bundle *bundle, struct pbuf *packet, uint32_t headers_len,
                   unsigned seg_max);

/* Gives the packets back to lwIP, and the bundle to the others. */
void tx_bundle_put(struct tx_bundle *bundle);

#endif
