#include "net/app_sink.h"

#include <string.h>

#include "lib/cpu.h"
#include "net/netif_virtio.h"
#include "net/raw.h"
#include "net/sink_report.h"
#include "net/stack.h"

enum { LOSS_PPM_ANY = 1000000 };

static struct {
    struct sink sink;
    unsigned burst;
    uint64_t frames_max; /* 0: no limit */
    uint32_t loss_ppm;
    bool waits_for_address;
    bool worked; /* the last pass */

    uint64_t other;
    uint64_t to_stack;
} app;

static const struct stats_item app_sink_items[] = {
    SINK_STATS_ITEMS(app.sink),
    SINK_COUNTER("other", app.other, "Frames of no generator, dropped"),
    SINK_COUNTER("to_stack", app.to_stack, "Frames for the sink's own addresses"),
    RAW_STATS_ITEMS,
};

static void app_sink_write(struct json *j) {
    sink_write(&app.sink, j);
}

static const struct stats_group app_sink_group = {
    .name = "sink",
    .items = app_sink_items,
    .count = ARRAY_SIZE(app_sink_items),
    .write = app_sink_write,
};

static bool app_sink_start(const struct config *cfg) {
    app.burst = cfg->burst;
    app.frames_max = cfg->frames;
    app.loss_ppm = cfg->loss_ppm;
    app.waits_for_address = strcmp(cfg->ip, "off") != 0;
    raw_start(cfg, NULL);
    return sink_init(&app.sink, cfg);
}

static bool app_sink_ready(uint64_t waited_ms) {
    (void)waited_ms;
    for (unsigned nic = 0; nic < net_dev_count; nic++) {
        if (!net_devs[nic].link_up) {
            return false;
        }
    }
    return !app.waits_for_address || stack_ready();
}

/* Not of a generator. */
static void app_sink_other(unsigned nic, struct pktbuf *frame) {
    if (raw_has_stack() && raw_is_for_stack(nic, frame)) {
        app.to_stack++;
        netif_virtio_input(nic, frame);
        return;
    }
    app.other++;
    pktbuf_put_frame(frame);
}

static unsigned app_sink_nic(unsigned nic) {
    struct pktbuf *frames[NET_BURST_MAX];
    const unsigned count = net_rx_burst(&net_devs[nic], frames, app.burst);
    if (count == 0) {
        return 0;
    }
    const uint64_t now = cpu_tsc(); /* they are here, so no stamp of this clock is later */
    for (unsigned i = 0; i < count; i++) {
        if (LIKELY(sink_frame(&app.sink, frames[i], now))) {
            pktbuf_put_frame(frames[i]);
        } else {
            app_sink_other(nic, frames[i]);
        }
    }
    return count;
}

static unsigned app_sink_poll(void) {
    unsigned work = 0;
    raw_pass(app.worked);
    for (unsigned nic = 0; nic < net_dev_count; nic++) {
        work += app_sink_nic(nic);
    }
    app.worked = work != 0;
    return work;
}

static bool app_sink_done(enum app_end end) {
    return end != APP_GOES_ON || (app.frames_max != 0 && app.sink.frames >= app.frames_max);
}

/* Who sets a limit for loss expects frames: with frames= so many, as the last ones leave no gap when
 * they are lost, without it any. */
static enum exit_status app_sink_verdict(void) {
    const uint64_t expected = app.loss_ppm < LOSS_PPM_ANY ? max_u64(app.frames_max, 1) : 0;
    const uint64_t came = app.sink.frames;
    const uint64_t missing = expected > came ? expected - came : 0;
    const bool enough = (unsigned __int128)missing * (LOSS_PPM_ANY) <=
                        (unsigned __int128)expected * app.loss_ppm;
    return sink_passed(&app.sink, app.loss_ppm) && enough ? EXIT_STATUS_OK : EXIT_STATUS_FAILED;
}

const struct app app_sink = {
    .stats = &app_sink_group,
    .start = app_sink_start,
    .ready = app_sink_ready,
    .poll = app_sink_poll,
    .printed = raw_printed,
    .done = app_sink_done,
    .verdict = app_sink_verdict,
};
