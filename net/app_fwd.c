#include "net/app_fwd.h"

#include "lib/cpu.h"
#include "lib/log.h"
#include "lib/mac.h"
#include "net/fwd.h"
#include "net/netif_virtio.h"
#include "net/raw.h"

static struct {
    enum config_fwd what;
    unsigned burst;
    uint32_t delay_cycles;
    bool worked;                       /* the last pass */
    uint8_t dst_mac[NET_DEV_MAX][MAC_LEN]; /* mac: of the next hop */
    unsigned out[NET_DEV_MAX];             /* where frames of each NIC go */

    uint64_t forwarded;
    uint64_t changed;
    uint64_t not_echo;
    uint64_t no_room;
    uint64_t to_stack;
} fwd;

#define COUNTER(item_name, counter, text)                                                          \
    { .name = item_name, .help = text, .read = stats_read_u64, .source = &(counter) }

static const struct stats_item app_fwd_items[] = {
    COUNTER("forwarded", fwd.forwarded, "Frames sent on"),
    COUNTER("changed", fwd.changed, "Frames that fwd= changed; the others went on as they came"),
    COUNTER("not_echo", fwd.not_echo, "Frames that fwd=icmpecho does not answer, dropped"),
    COUNTER("no_room", fwd.no_room, "Frames dropped for lack of room or of a link"),
    COUNTER("to_stack", fwd.to_stack, "Frames for the forwarder's own addresses"),
    RAW_STATS_ITEMS,
};

static const struct stats_group app_fwd_group = {
    .name = "fwd", .items = app_fwd_items, .count = ARRAY_SIZE(app_fwd_items)};

static bool app_fwd_start_mac(const struct config *cfg) {
    uint8_t extra[MAC_LEN];
    if ((cfg->fwd == CONFIG_FWD_MAC) != (cfg->dst_mac[0] != '\0')) {
        log_error("config: %s", cfg->fwd == CONFIG_FWD_MAC
                                    ? "fwd=mac: needs dst_mac=, an address for each network device"
                                    : "dst_mac=: goes with fwd=mac only");
        return false;
    }
    for (unsigned nic = 0; cfg->fwd == CONFIG_FWD_MAC && nic < net_dev_count; nic++) {
        if (mac_parse_entry(cfg->dst_mac, nic, fwd.dst_mac[nic]) != MAC_GIVEN) {
            log_error("config: dst_mac=%s: must be a unicast address like 02:00:00:00:00:01 for each "
                      "of %u network devices", cfg->dst_mac, net_dev_count);
            return false;
        }
    }
    if (mac_parse_entry(cfg->dst_mac, net_dev_count, extra) != MAC_NONE) {
        log_error("config: dst_mac=%s: more addresses than network devices", cfg->dst_mac);
        return false;
    }
    return true;
}

/* Its frames would find no room. */
static bool app_fwd_is_blocked(unsigned nic) {
    return net_tx_room(&net_devs[fwd.out[nic]]) == 0;
}

static bool app_fwd_start(const struct config *cfg) {
    fwd.what = cfg->fwd;
    fwd.burst = cfg->burst;
    fwd.delay_cycles = cfg->delay_cycles;
    for (unsigned nic = 0; nic < net_dev_count; nic++) {
        const unsigned neighbour = nic ^ 1;
        /* An answer goes back where the question came from. */
        fwd.out[nic] = neighbour < net_dev_count && cfg->fwd != CONFIG_FWD_ICMPECHO ? neighbour : nic;
    }
    raw_start(cfg, app_fwd_is_blocked);
    return app_fwd_start_mac(cfg);
}

/* A slow guest: so many cycles pass for each frame. */
static void app_fwd_delay(unsigned count) {
    const uint64_t until = cpu_tsc() + (uint64_t)count * fwd.delay_cycles;
    while (cpu_tsc() < until) {
        cpu_relax();
    }
}

/* Takes out what is for the stack; returns how many others there are. */
static unsigned app_fwd_filter(unsigned nic, struct pktbuf **frames, unsigned count) {
    unsigned kept = 0;
    for (unsigned i = 0; i < count; i++) {
        if (raw_is_for_stack(nic, frames[i])) {
            fwd.to_stack++;
            netif_virtio_input(nic, frames[i]);
        } else {
            frames[kept++] = frames[i];
        }
    }
    return kept;
}

/* Changes the frames one by one; returns how many are to be sent on. */
static unsigned app_fwd_change(unsigned nic, struct pktbuf **frames, unsigned count) {
    const unsigned out = fwd.out[nic];
    unsigned kept = 0;
    for (unsigned i = 0; i < count; i++) {
        const enum fwd_result result =
            fwd_change(fwd.what, frames[i], net_devs[out].mac, fwd.dst_mac[out]);
        if (result == FWD_DROP) {
            fwd.not_echo++;
            pktbuf_put_frame(frames[i]);
        } else {
            fwd.changed += result == FWD_CHANGED;
            frames[kept++] = frames[i];
        }
    }
    return kept;
}

static unsigned app_fwd_frames(unsigned nic, struct pktbuf **frames, unsigned count) {
    if (UNLIKELY(raw_has_stack())) {
        count = app_fwd_filter(nic, frames, count);
    }
    if (fwd.what == CONFIG_FWD_MACSWAP) {
        fwd.changed += fwd_swap_macs_of(frames, count);
    } else if (fwd.what != CONFIG_FWD_IO) {
        count = app_fwd_change(nic, frames, count);
    }
    if (UNLIKELY(fwd.delay_cycles != 0) && count > 0) {
        app_fwd_delay(count);
    }
    return count;
}

/* No more is received than can be sent: what is too much is dropped by the device, not here. */
static unsigned app_fwd_nic(unsigned nic) {
    struct pktbuf *frames[NET_BURST_MAX];
    struct net_dev *out = &net_devs[fwd.out[nic]];
    if (net_tx_room(out) <= out->tx.vq.num / 2u) {
        netif_virtio_reclaim(out->index);
    }
    const unsigned room = net_tx_room(out);
    const unsigned count =
        net_rx_burst(&net_devs[nic], frames, room < fwd.burst ? room : fwd.burst);
    const unsigned kept = app_fwd_frames(nic, frames, count);
    const unsigned sent = kept == 0 ? 0 : net_tx_burst(out, frames, kept);
    fwd.forwarded += sent;
    fwd.no_room += kept - sent;
    for (unsigned i = sent; i < kept; i++) {
        pktbuf_put_frame(frames[i]);
    }
    return count;
}

static unsigned app_fwd_poll(void) {
    unsigned work = 0;
    raw_pass(fwd.worked);
    for (unsigned nic = 0; nic < net_dev_count; nic++) {
        work += app_fwd_nic(nic);
    }
    fwd.worked = work != 0;
    return work;
}

const struct app app_fwd = {
    .stats = &app_fwd_group,
    .start = app_fwd_start,
    .poll = app_fwd_poll,
    .printed = raw_printed,
};
