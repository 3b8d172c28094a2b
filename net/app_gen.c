#include "net/app_gen.h"

#include <string.h>

#include "drivers/clock.h"
#include "lib/assert.h"
#include "lib/cpu.h"
#include "lib/log.h"
#include "lib/pktbuf.h"
#include "net/gen_pace.h"
#include "net/gen_report.h"
#include "net/gen_resolve.h"
#include "net/gen_rx.h"
#include "net/gen_stream.h"
#include "net/netif_virtio.h"
#include "net/raw.h"
#include "net/stack.h"

enum {
    READY_MAX_MS = 10000, /* for link, address and the destination's MAC address */
    RESOLVE_MS = 250,     /* between two tries */
    EMPTY_MAX_MS = 1000,  /* for the device to take what is in the ring at the end */
};

enum gen_phase {
    GEN_WAITING,  /* for what start() left open */
    GEN_SENDING,
    GEN_EMPTYING, /* the transmit ring */
    GEN_DRAINING, /* frames that are under way to us */
    GEN_ENDED,
};

static struct {
    struct gen_spec spec;
    struct gen_stream stream;
    struct gen_pace pace;
    struct pktbuf_pool pool;
    uint32_t session;
    unsigned burst;
    bool receives; /* rx=1 */
    uint64_t run_ticks;   /* seconds=, 0: no limit */
    uint64_t drain_ticks;
    uint64_t frames_max; /* 0: no limit */

    enum gen_phase phase;
    bool worked; /* the last pass */
    bool failed;
    bool stopped; /* by the power button */
    uint64_t resolve_ms;  /* next try, after the loop began */
    uint64_t first_tsc;   /* of the first frame, 0: there was none */
    uint64_t last_tsc;    /* of the last burst */
    uint64_t before_last; /* frames sent before that burst */
    uint64_t phase_tsc;   /* when the phase began */

    /* Frames with their numbers that the device did not take yet. */
    struct pktbuf *pending[NET_BURST_MAX];
    unsigned pending_count;

    uint64_t made; /* frames, pending ones included */
    uint64_t sent;
    uint64_t bytes;
    uint64_t link_waits;
    uint64_t ring_waits;
} gen;

/* --- numbers ---------------------------------------------------------------------------------- */

#define COUNTER(item_name, counter, text)                                                          \
    { .name = item_name, .help = text, .read = stats_read_u64, .source = &(counter) }

static const struct stats_item app_gen_items[] = {
    COUNTER("frames", gen.sent, "Frames given to the device"),
    COUNTER("bytes", gen.bytes, "Bytes of them"),
    COUNTER("unstamped", gen.stream.unstamped, "Frames too short for a stamp"),
    COUNTER("deficit_frames", gen.pace.deficit, "Frames given up because too many were late"),
    {.name = "late_max_ns", .help = "Most that a frame was later than planned", .read = raw_read_ns,
     .source = &gen.pace.late_max, .gauge = true},
    COUNTER("link_waits", gen.link_waits, "Passes in which frames waited for link or device"),
    COUNTER("ring_waits", gen.ring_waits, "Passes in which frames were due and the ring was full"),
    COUNTER("ignored", gen_rx_counters.ignored, "Other received frames, dropped"),
    COUNTER("to_stack", gen_rx_counters.to_stack, "Received frames for the protocol stack"),
    RAW_STATS_ITEMS,
};

/* Frames that left before the last burst, in the time until then: exact for an even rate. */
static uint64_t gen_sent_rate(void) {
    uint64_t frames = gen.before_last;
    uint64_t ns = clock_ns_of_ticks(gen.last_tsc - gen.first_tsc);
    while (frames > UINT64_MAX / 1000000000) {
        frames >>= 1;
        ns >>= 1;
    }
    return ns == 0 ? 0 : frames * 1000000000 / ns;
}

/* Frames with a stamp so far. */
static uint64_t gen_stamped(void) {
    return gen.made - gen.stream.unstamped;
}

static void app_gen_write(struct json *j) {
    if (gen.receives) {
        gen_rx_write(j, gen_stamped());
    }
    json_u64(j, "sent_rate_pps", gen_sent_rate());
    json_u64(j, "duration_ns", clock_ns_of_ticks(gen.last_tsc - gen.first_tsc));
    gen_report_pace(j, &gen.pace);
    gen_report_spec(j, &gen.spec);
    json_u64(j, "session", gen.session);
}

static const struct stats_group app_gen_group = {.name = "gen",
                                                 .items = app_gen_items,
                                                 .count = ARRAY_SIZE(app_gen_items),
                                                 .write = app_gen_write};

/* --- start ------------------------------------------------------------------------------------ */

static bool app_gen_start(const struct config *cfg) {
    const struct net_dev *nd = &net_devs[0];
    struct gen_device device = {
        .frame_max = nd->tx_len_max + NET_VLAN_TAG_LEN * ((cfg->vlan != 0) + (cfg->qinq != 0)),
        .speed_mbps = nd->speed <= VIRTIO_NET_SPEED_MAX ? nd->speed : 0,
    };
    memcpy(device.mac, nd->mac, MAC_LEN);
    if (!gen_spec_parse(&gen.spec, cfg, &device)) {
        return false;
    }
    if (!gen.spec.has_dst_mac && !gen_resolve_can(&gen.spec)) {
        log_error("config: dst_mac=: must be given, since the first network device has no address "
                  "to ask with (%s=)", gen.spec.v6 ? "ip6" : "ip");
        return false;
    }
    /* As many buffers as descriptors, so that each meets its own one again. */
    if (pktbuf_pool_init(&gen.pool, nd->tx.vq.num, gen_stream_room(&gen.spec)) != ERR_OK) {
        log_error("app=gen: no memory for %u frames of %u bytes; use a smaller queue=",
                  nd->tx.vq.num, gen.spec.size_max);
        return false;
    }
    gen.session = (uint32_t)prng_mix(cpu_tsc()) & ((1u << (32 - STAMP_FLOW_BITS)) - 1);
    gen.burst = cfg->burst;
    gen.receives = cfg->rx != 0;
    gen.frames_max = cfg->frames;
    gen.run_ticks = clock_ticks_of_us(cfg->seconds * UINT64_C(1000000));
    gen.drain_ticks = gen.receives ? clock_ticks_of_us(cfg->drain_ms * UINT64_C(1000)) : 0;
    gen_pace_init(&gen.pace, &gen.spec, cfg->catchup, clock_khz() * 1000);
    raw_start(cfg, NULL);
    return gen_rx_start(cfg, gen.spec.flows);
}

/* What is missing, NULL: nothing. */
static const char *gen_missing(uint64_t waited_ms) {
    if (!net_devs[0].link_up) {
        return "no link";
    }
    if (!stack_ready()) {
        return "no IPv4 address";
    }
    if (gen.spec.has_dst_mac) {
        return NULL;
    }
    if (waited_ms >= gen.resolve_ms) {
        gen.resolve_ms = waited_ms + RESOLVE_MS;
        if (gen_resolve_dst(&gen.spec, gen.spec.dst_mac)) {
            return NULL;
        }
    }
    return "the MAC address of dst=, or of the gateway to it, is unknown; give dst_mac=";
}

/* Every buffer of the pool gets what gen_stream_prepare() writes; they go back in the same
 * order. */
static void gen_prepare_buffers(void) {
    for (uint32_t i = 0; i < gen.pool.total; i++) {
        struct pktbuf *buf = pktbuf_get_unused(&gen.pool);
        gen_stream_prepare(&gen.stream, pktbuf_room(buf));
        pktbuf_put(buf);
    }
}

static bool app_gen_ready(uint64_t waited_ms) {
    uint32_t own;
    if (gen.phase != GEN_WAITING) {
        return false;
    }
    const char *missing = gen_missing(waited_ms);
    if (missing != NULL) {
        if (waited_ms >= READY_MAX_MS) {
            log_error("app=gen: after %u s: %s", READY_MAX_MS / 1000, missing);
            gen.failed = true;
            gen.phase = GEN_ENDED;
        }
        return false;
    }
    if (!gen.spec.has_src && gen_resolve_own_ip4(&own)) {
        gen.spec.src.first = own;
    }
    gen_stream_init(&gen.stream, &gen.spec, gen.session);
    gen_prepare_buffers();
    gen.phase = GEN_SENDING;
    return true;
}

/* --- sending ---------------------------------------------------------------------------------- */

/* Makes the frames that are due, at most up to max pending ones. */
static void gen_make(unsigned max, uint64_t now) {
    uint64_t left = gen.frames_max == 0 ? UINT64_MAX : gen.frames_max - gen.made;
    if (gen_pace_is_due(&gen.pace, now)) {
        pktbuf_claim(&gen.pool, max);
    }
    while (gen.pending_count < max && left > 0 && gen_pace_is_due(&gen.pace, now)) {
        struct pktbuf *buf = pktbuf_get(&gen.pool);
        ASSERT(buf != NULL); /* max is the room in the ring, and the pool is as large */
        gen_pace_sent(&gen.pace, gen_stream_class(&gen.stream), now);
        buf->next = NULL; /* one buffer is the whole frame */
        buf->len = buf->frame_len = gen_stream_next(&gen.stream, buf->data, now);
        gen.pending[gen.pending_count++] = buf;
        gen.made++;
        left--;
    }
}

static unsigned gen_transmit(uint64_t now) {
    struct net_dev *nd = &net_devs[0];
    uint64_t bytes = 0;
    const unsigned taken = net_tx_burst(nd, gen.pending, gen.pending_count);
    /* The buffers are the device's now, but nobody touches their lengths before they come back. */
    for (unsigned i = 0; i < taken; i++) {
        bytes += gen.pending[i]->frame_len;
    }
    gen.pending_count -= taken;
    if (UNLIKELY(gen.pending_count > 0)) {
        gen.link_waits++;
        memmove(gen.pending, gen.pending + taken, gen.pending_count * sizeof(gen.pending[0]));
    }
    if (taken > 0) {
        gen.before_last = gen.sent;
        gen.last_tsc = now;
        gen.sent += taken;
        gen.bytes += bytes;
    }
    return taken;
}

static unsigned gen_send(uint64_t now) {
    struct net_dev *nd = &net_devs[0];
    if (UNLIKELY(gen.first_tsc == 0)) {
        gen.first_tsc = gen.last_tsc = now;
        gen_pace_start(&gen.pace, now);
    }
    gen_pace_catch_up(&gen.pace, now);
    if (net_tx_room(nd) <= nd->tx.vq.num / 2u) {
        netif_virtio_reclaim(0);
    }
    const unsigned room = net_tx_room(nd);
    if (UNLIKELY(room == 0)) {
        if (gen_pace_is_due(&gen.pace, now)) {
            gen.ring_waits++;
            net_tx_full(nd);
        }
        return 0;
    }
    gen_make(room < gen.burst ? room : gen.burst, now);
    return gen.pending_count == 0 ? 0 : gen_transmit(now);
}

/* --- life ------------------------------------------------------------------------------------- */

static void gen_enter(enum gen_phase phase, uint64_t now) {
    gen.phase = phase;
    gen.phase_tsc = now;
}

static void gen_check_end(uint64_t now) {
    const struct net_dev *nd = &net_devs[0];
    switch (gen.phase) {
    case GEN_SENDING:
        if ((gen.frames_max != 0 && gen.sent >= gen.frames_max) ||
            (gen.run_ticks != 0 && now - gen.first_tsc >= gen.run_ticks) || gen.stopped) {
            gen_enter(GEN_EMPTYING, now);
        }
        break;
    case GEN_EMPTYING:
        netif_virtio_reclaim(0);
        if (net_tx_room(nd) == nd->tx.vq.num ||
            now - gen.phase_tsc >= clock_ticks_of_us(EMPTY_MAX_MS * 1000)) {
            gen_enter(GEN_DRAINING, now);
        }
        break;
    case GEN_DRAINING:
        if (now - gen.phase_tsc >= gen.drain_ticks || gen_rx_is_complete(gen_stamped())) {
            gen_enter(GEN_ENDED, now);
        }
        break;
    case GEN_WAITING:
    case GEN_ENDED:
        break;
    }
}

static unsigned app_gen_poll(void) {
    const uint64_t now = raw_pass(gen.worked);
    unsigned work = 0;
    for (unsigned nic = 0; nic < net_dev_count; nic++) {
        work += gen_rx_poll(nic);
    }
    if (LIKELY(gen.phase == GEN_SENDING)) {
        work += gen_send(now);
    }
    gen_check_end(now);
    gen.worked = work != 0;
    return work;
}

/* A full ring wakes by an interrupt, the link does not. */
static uint64_t gen_next_send_tsc(void) {
    if (net_tx_room(&net_devs[0]) == 0) {
        return UINT64_MAX;
    }
    return gen.pending_count > 0 ? cpu_tsc() + clock_ticks_of_us(1000) : gen_pace_due(&gen.pace);
}

static uint64_t app_gen_wake_tsc(void) {
    switch (gen.phase) {
    case GEN_SENDING:
        return min_u64(gen_next_send_tsc(),
                       gen.run_ticks == 0 ? UINT64_MAX : gen.first_tsc + gen.run_ticks);
    case GEN_WAITING:
    case GEN_EMPTYING:
        return cpu_tsc() + clock_ticks_of_us(1000);
    case GEN_DRAINING:
        return gen.phase_tsc + gen.drain_ticks;
    case GEN_ENDED:
        break;
    }
    return 0;
}

/* seconds= count from the first frame on, so it looks at the clock itself. */
static bool app_gen_done(enum app_end end) {
    gen.stopped |= end == APP_STOPPED;
    return gen.phase == GEN_ENDED || (gen.stopped && gen.phase == GEN_WAITING);
}

static enum exit_status app_gen_verdict(void) {
    const bool all = gen.frames_max == 0 || gen.sent == gen.frames_max || gen.run_ticks != 0 ||
                     gen.stopped;
    const bool good = !gen.failed && gen.sent > 0 && all && gen_rx_passed(gen_stamped());
    return good ? EXIT_STATUS_OK : EXIT_STATUS_FAILED;
}

const struct app app_gen = {
    .stats = &app_gen_group,
    .start = app_gen_start,
    .ready = app_gen_ready,
    .poll = app_gen_poll,
    .printed = raw_printed,
    .wake_tsc = app_gen_wake_tsc,
    .done = app_gen_done,
    .verdict = app_gen_verdict,
};
