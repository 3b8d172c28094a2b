/* What check=1 looks at in a generator frame, in one buffer or several: checksums and payload. */
#ifndef NET_SINK_CHECK_H
#define NET_SINK_CHECK_H

#include "lib/pktbuf.h"

/* Where the parts of a generator frame lie, as offsets. All up to the stamp's end is in its first
 * buffer; the packet ends where the frame does. */
struct sink_headers {
    uint32_t ip;
    uint32_t l4; /* UDP or TCP */
    uint32_t stamp;
    bool ip6;
    bool tcp;
};

/* The checksums of the IPv4 header and of UDP or TCP are right. Zero in UDP over IPv4 stands for
 * none (RFC 768), over IPv6 it is wrong (RFC 8200, 8.1). */
bool sink_check_sums(const struct pktbuf *frame, const struct sink_headers *headers);

/* What follows the stamp is the payload that stamp_payload_write() makes of base. */
bool sink_check_payload(const struct pktbuf *frame, const struct sink_headers *headers,
                        uint64_t base);

#endif
