/* Checksums of TCP and UDP that the device makes or has checked (5.1.6.2 and 5.1.6.4): where
 * they lie in a frame, and what the virtio header says about them. Knows frames as bytes, and no
 * lwIP.
 *
 * A frame is understood when it is IPv4 and no fragment, or IPv6 without extension headers, and
 * holds TCP or UDP; one VLAN tag may come before. Of all others the checksums are made and
 * checked in software. */
#ifndef NET_CSUM_OFFLOAD_H
#define NET_CSUM_OFFLOAD_H

#include "drivers/virtio_net.h"
#include "lib/pktbuf.h"

enum csum_tx {
    CSUM_TX_DONE,  /* the header is right: it asks for a checksum, or there is none to be made */
    CSUM_TX_SPLIT, /* the frame's headers are not in one piece */
};

/* A frame to be sent whose first len bytes (of frame_len) are at data. When its checksum field
 * is zero, which means that the protocol stack left it out, the sum of the pseudo-header goes
 * there and the device is asked in *hdr, which was all zero, for the rest. Requires CSUM. */
enum csum_tx csum_offload_tx(struct virtio_net_hdr *hdr, uint8_t *data, uint32_t len,
                             uint32_t frame_len);

/* Makes the checksum that *hdr asks for, if any, of a frame in one piece, and clears *hdr: for a
 * device that does not. */
void csum_offload_finish(struct virtio_net_hdr *hdr, uint8_t *data, uint32_t len);

enum csum_rx {
    CSUM_RX_CHECK, /* nothing is known about its checksum, or it was completed here */
    CSUM_RX_TRUST, /* need not be checked, or cannot be since the sender has not made it */
    CSUM_RX_BAD,   /* the header points out of the frame */
};

/* A received frame, in one piece or several. A checksum that its sender left out, in a frame
 * that is not understood, is completed in place. Requires GUEST_CSUM. */
enum csum_rx csum_offload_rx(const struct virtio_net_hdr *hdr, struct pktbuf *frame);

#endif
