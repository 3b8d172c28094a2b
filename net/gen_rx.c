#include "net/gen_rx.h"

#include "drivers/virtio_net.h"
#include "lib/cpu.h"
#include "net/netif_virtio.h"
#include "net/raw.h"
#include "net/sink.h"
#include "net/sink_report.h"

struct gen_rx_counters gen_rx_counters;

static struct {
    bool on; /* rx=1 */
    unsigned burst;
    uint32_t loss_ppm;
    struct sink sink;
} gen_rx;

static const struct stats_item gen_rx_items[] = {SINK_STATS_ITEMS(gen_rx.sink)};

bool gen_rx_start(const struct config *cfg, uint32_t flows) {
    static struct config own;
    own = *cfg;
    own.flows = flows;
    gen_rx.on = cfg->rx != 0;
    gen_rx.burst = cfg->burst;
    gen_rx.loss_ppm = cfg->loss_ppm;
    return !gen_rx.on || sink_init(&gen_rx.sink, &own);
}

unsigned gen_rx_poll(unsigned nic) {
    struct pktbuf *frames[NET_BURST_MAX];
    const unsigned count = net_rx_burst(&net_devs[nic], frames, gen_rx.burst);
    if (count == 0) {
        return 0;
    }
    const bool has_stack = raw_has_stack();
    const uint64_t now = cpu_tsc(); /* no frame can carry a later stamp */
    for (unsigned i = 0; i < count; i++) {
        if (gen_rx.on && sink_frame(&gen_rx.sink, frames[i], now)) {
            pktbuf_put_frame(frames[i]);
        } else if (has_stack && (!gen_rx.on || raw_is_for_stack(nic, frames[i]))) {
            gen_rx_counters.to_stack++;
            netif_virtio_input(nic, frames[i]);
        } else {
            gen_rx_counters.ignored++;
            pktbuf_put_frame(frames[i]);
        }
    }
    return count;
}

/* Stamped frames that have not come back. */
static uint64_t gen_rx_unreturned(uint64_t stamped) {
    const uint64_t received = sink_received(&gen_rx.sink);
    return stamped > received ? stamped - received : 0;
}

bool gen_rx_is_complete(uint64_t stamped) {
    return gen_rx.on && gen_rx_unreturned(stamped) == 0;
}

void gen_rx_write(struct json *j, uint64_t stamped) {
    json_object(j, "rx");
    stats_write_items(j, gen_rx_items, ARRAY_SIZE(gen_rx_items));
    json_u64(j, "unreturned", gen_rx_unreturned(stamped));
    sink_write(&gen_rx.sink, j);
    json_close(j);
}

bool gen_rx_passed(uint64_t stamped) {
    const unsigned __int128 lost = (unsigned __int128)gen_rx_unreturned(stamped) * 1000000;
    return !gen_rx.on || (sink_passed(&gen_rx.sink, gen_rx.loss_ppm) &&
                          lost <= (unsigned __int128)stamped * gen_rx.loss_ppm);
}
