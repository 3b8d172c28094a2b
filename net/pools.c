#include "net/pools.h"

#include "lwip/memp.h"
#include "lwip/stats.h"

static const struct {
    const char *name;
    memp_t pool;
} pools[] = {
    {"tcp_connections", MEMP_TCP_PCB},
    {"tcp_segments", MEMP_TCP_SEG},     /* on their way, or early */
    {"references", MEMP_PBUF},          /* to data that TCP sends from where it lies */
    {"headers", MEMP_POOL_192},         /* of sent segments, and small frames that are copied */
    {"blocks", MEMP_POOL_1664},
    {"large_blocks", MEMP_POOL_16640},
    {"copied_frames", MEMP_PBUF_POOL},
    {"ip4_reassembly", MEMP_REASSDATA},
    {"ip6_reassembly", MEMP_IP6_REASSDATA},
    {"fragments", MEMP_FRAG_PBUF},
    {"timers", MEMP_SYS_TIMEOUT},
};

bool pools_level(unsigned i, struct pool_level *level) {
    if (i >= ARRAY_SIZE(pools)) {
        return false;
    }
    const struct memp_desc *desc = memp_pools[pools[i].pool];
    *level = (struct pool_level){
        .name = pools[i].name,
        .size = desc->size,
        .count = desc->num,
        .used = (uint32_t)desc->stats->used,
        .max = (uint32_t)desc->stats->max,
        .errors = desc->stats->err,
    };
    return true;
}
