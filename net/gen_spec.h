/* What app=gen is to send, from the texts of the command line. Knows no protocol stack and no
 * device. */
#ifndef NET_GEN_SPEC_H
#define NET_GEN_SPEC_H

#include "lib/mac.h"
#include "net/gen_rate.h"
#include "net/stamp.h"

enum {
    GEN_SIZES_MAX = 64,       /* entries of size= */
    GEN_SCHEDULE_MAX = 1024,  /* their weights together */
    GEN_HEADERS_MAX = 82,     /* Ethernet, two tags, IPv6, TCP */
};

/* The elements first, first + 1, ... of a field. */
struct gen_range {
    uint64_t first; /* IPv6: the low half of the address */
    uint64_t span;  /* 1 to 2^32 elements */
    bool random;    /* a flow gets any one of them, else flow f gets number f % span */
};

struct gen_size {
    uint32_t len; /* of the frame, in the ring */
    uint32_t weight;
};

struct gen_spec {
    bool v6;
    bool tcp;
    bool has_src;     /* src= was given; if not, the caller may set another address */
    bool has_dst_mac;
    bool fixed;       /* payload=fixed */
    uint8_t src_mac[MAC_LEN];
    uint8_t dst_mac[MAC_LEN];
    uint16_t vlan, qinq; /* 0: none */
    uint64_t src_high, dst_high; /* of IPv6 addresses */
    struct gen_range src, dst, sport, dport;
    uint32_t flows;
    uint32_t seed;
    uint32_t header_len; /* up to the stamp */
    uint32_t size_max;   /* the longest frame */
    unsigned size_count;
    struct gen_size sizes[GEN_SIZES_MAX];
    struct gen_rate rate;
};

/* What is known of the device. */
struct gen_device {
    uint8_t mac[MAC_LEN];
    uint32_t frame_max;  /* bytes of a frame that it sends */
    uint32_t speed_mbps; /* 0: unknown */
};

/* False when a value is bad; the reason was logged. */
bool gen_spec_parse(struct gen_spec *spec, const struct config *cfg,
                    const struct gen_device *device);

#endif
