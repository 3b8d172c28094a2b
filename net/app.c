#include "net/app.h"

#include "drivers/clock.h"
#include "drivers/power_button.h"
#include "drivers/virtio_net.h"
#include "lib/dma.h"
#include "lib/json.h"
#include "net/stack.h"

/* Between the looks at two NICs (net/stack.c), since each makes for a slow pass. */
enum { BUTTON_MS = 1000, BUTTON_PHASE_MS = BUTTON_MS / NET_DEV_MAX / 2 };

static void app_print_ready(const struct app *app) {
    char line[256];
    char ip4[STACK_IP4_TEXT_MAX];
    char ip6[STACK_IP6_TEXT_MAX];
    const char *state;
    struct json j;
    json_event(&j, line, sizeof(line), "ready");
    json_string(&j, "app", app->stats->name);
    json_string(&j, "ip", stack_ip4_text(0, false, ip4));
    json_string(&j, "ip6", stack_ip6_text(0, 0, ip6, &state));
    json_u64(&j, "boot_us", clock_us());
    json_close(&j);
    json_print(&j);
}

struct app_loop {
    uint64_t start_ms;
    uint64_t now_ms;
    uint64_t stats_ms;  /* when the next statistics line is due */
    uint64_t button_ms; /* when the power button is looked at next */
    bool ready;
    bool stopped; /* the power button was pressed */
};

static enum app_end app_end_now(const struct config *cfg, const struct app_loop *loop) {
    const bool time_is_up =
        cfg->seconds != 0 && loop->now_ms - loop->start_ms >= cfg->seconds * (uint64_t)1000;
    return loop->stopped ? APP_STOPPED : time_is_up ? APP_TIME_IS_UP : APP_GOES_ON;
}

static bool app_is_done(const struct config *cfg, const struct app *app,
                        const struct app_loop *loop) {
    const enum app_end end = app_end_now(cfg, loop);
    return app->done != NULL ? app->done(end) : end != APP_GOES_ON;
}

static void app_check_ready(const struct app *app, struct app_loop *loop) {
    if (app->ready == NULL || app->ready(loop->now_ms - loop->start_ms)) {
        loop->ready = true;
        stats_begin();
        app_print_ready(app);
    }
}

static void app_look_at_button(struct app_loop *loop) {
    char line[64];
    struct json j;
    loop->button_ms = loop->now_ms + BUTTON_MS;
    if (!power_button_pressed()) {
        return;
    }
    loop->stopped = true;
    json_event(&j, line, sizeof(line), "stop");
    json_string(&j, "reason", "power button");
    json_close(&j);
    json_print(&j);
}

/* What is due once a millisecond. True when the workload is to be stopped from now on. */
static bool app_tick(const struct config *cfg, const struct app *app, struct app_loop *loop) {
    if (cfg->stats != 0 && loop->now_ms >= loop->stats_ms) {
        loop->stats_ms += cfg->stats * (uint64_t)1000;
        stats_print("stats");
        if (app->printed != NULL) {
            app->printed();
        }
    }
    if (app->tick != NULL) {
        app->tick(loop->now_ms);
    }
    if (loop->stopped || loop->now_ms < loop->button_ms) {
        return false;
    }
    app_look_at_button(loop);
    return loop->stopped;
}

/* When the loop has something to do though no frame comes: the workload's own time, the next
 * statistics line, a look at the power button, the end. */
static uint64_t app_wake_tsc(const struct config *cfg, const struct app *app,
                             const struct app_loop *loop) {
    uint64_t due_ms = loop->stopped ? UINT64_MAX : loop->button_ms;
    if (cfg->stats != 0) {
        due_ms = min_u64(due_ms, loop->stats_ms);
    }
    if (cfg->seconds != 0) {
        due_ms = min_u64(due_ms, loop->start_ms + cfg->seconds * (uint64_t)1000);
    }
    const uint64_t wake_tsc = app->wake_tsc != NULL ? app->wake_tsc() : UINT64_MAX;
    if (due_ms == UINT64_MAX) {
        return wake_tsc;
    }
    const uint64_t now_ms = clock_ms();
    const uint64_t left_ms = due_ms > now_ms ? due_ms - now_ms : 0;
    return min_u64(wake_tsc, cpu_tsc() + clock_ticks_of_us(left_ms * 1000));
}

enum exit_status app_run(const struct config *cfg, const struct app *app) {
    struct app_loop loop = {.start_ms = stack_now_ms()};

    stats_set_app(app->stats);
    if (app->start != NULL && !app->start(cfg)) {
        return EXIT_STATUS_USAGE;
    }
    dma_lock();
    loop.now_ms = loop.start_ms;
    loop.stats_ms = loop.start_ms + cfg->stats * (uint64_t)1000;
    loop.button_ms = loop.start_ms + BUTTON_PHASE_MS;

    while (!app_is_done(cfg, app, &loop)) {
        unsigned work = app->poll != NULL ? app->poll() : 0;
        work += stack_poll();
        if (UNLIKELY(!loop.ready)) {
            app_check_ready(app, &loop);
        }
        if (loop.now_ms != stack_now_ms()) {
            loop.now_ms = stack_now_ms();
            work += app_tick(cfg, app, &loop);
        }
        if (stack_wants_rest(work)) {
            stack_rest(app_wake_tsc(cfg, app, &loop));
        }
    }
    stats_print("result");
    return app->verdict != NULL ? app->verdict() : EXIT_STATUS_OK;
}
