/* Checksums of TCP and UDP that the device makes or has checked, and frames that stand for several
 * packets (5.1.6.2 and 5.1.6.4): what the virtio header says about them. Knows frames as bytes, and no
 * lwIP. Of frames that are not understood (net/l4.h) checksums are made and checked in software. */
#ifndef NET_CSUM_OFFLOAD_H
#define NET_CSUM_OFFLOAD_H

#include "drivers/virtio_net.h"
#include "lib/pktbuf.h"
#include "net/datagrams.h"

/* A frame to be sent, at data, with TCP or UDP at `place` (l4_find()). When its checksum field is zero,
 * which means that the protocol stack left it out, the sum of the pseudo-header goes there and the device
 * is asked in *hdr, which was all zero, for the rest. Requires CSUM. */
void csum_offload_tx(struct virtio_net_hdr *hdr, uint8_t *data, const struct l4_place *place);

/* Makes the checksum that *hdr asks for, if any, of a frame in one piece, and clears *hdr: for a
 * device that does not. */
void csum_offload_finish(struct virtio_net_hdr *hdr, uint8_t *data, uint32_t len);

enum csum_rx {
    CSUM_RX_CHECK, /* nothing is known about its checksum, or it was completed here */
    CSUM_RX_TRUST, /* need not be checked, or cannot be since the sender has not made it */
    CSUM_RX_BAD,   /* the header points out of the frame, or says what was not negotiated */
    CSUM_RX_DATAGRAMS, /* several datagrams, to be trusted, in one frame */
};

/* A received frame, in one piece or several. A checksum that its sender left out, in a frame that is not
 * understood, is completed in place. `gso`: the kinds of net/gso.h that were negotiated. *datagrams is
 * filled with CSUM_RX_DATAGRAMS only. Requires GUEST_CSUM. */
enum csum_rx csum_offload_rx(const struct virtio_net_hdr *hdr, struct pktbuf *frame, unsigned gso,
                             struct datagrams *datagrams);

#endif
