/* How fast and how evenly app=gen sends: rate=, linerate=, pace=. */
#ifndef NET_GEN_RATE_H
#define NET_GEN_RATE_H

#include "lib/config.h"
#include "lib/util.h"

enum gen_rate_kind {
    GEN_RATE_MAX, /* as fast as the device takes frames */
    GEN_RATE_PPS,
    GEN_RATE_BPS, /* bits of the frames as they lie in the ring */
    GEN_RATE_L1,  /* ... and of what Ethernet adds to each on a wire: GEN_WIRE_OVERHEAD */
};

enum {
    GEN_WIRE_OVERHEAD = 24, /* preamble 8, frame check sequence 4, gap 12 */
    GEN_BUNCH_MAX = 4096,
};

#define GEN_PPS_MAX UINT64_C(1000000000)
#define GEN_BPS_MIN UINT64_C(1000) /* a large frame then takes a minute */
#define GEN_BPS_MAX UINT64_C(10000000000000)

struct gen_rate {
    enum gen_rate_kind kind;
    uint64_t per_second; /* frames or bits */
    uint64_t linerate_bps;
    bool poisson;
    uint32_t bunch; /* frames back to back */
};

/* speed_mbps: of the device, 0: unknown. False when a value is bad; the reason was logged. */
bool gen_rate_parse(struct gen_rate *rate, const struct config *cfg, uint32_t speed_mbps);

#endif
