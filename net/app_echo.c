#include "net/app_echo.h"

#include "drivers/clock.h"
#include "drivers/virtio_net.h"
#include "lib/exit.h"
#include "lib/json.h"
#include "lwip/apps/lwiperf.h"
#include "net/http_status.h"
#include "net/stack.h"
#include "net/stats.h"
#include "net/tcp_app.h"
#include "net/tcp_echo.h"
#include "net/tcp_source_sink.h"
#include "net/udp_services.h"

enum {
    READY_WAIT_MS = 10000, /* then the workload is called ready without an address */
    RELIEF_MS = 50,        /* between two connections that are reset because memory is short */
};

#define COUNTER(item_name, counter, text)                                                          \
    { .name = item_name, .help = text, .read = stats_read_u64, .source = &(counter) }

static const struct stats_item app_echo_items[] = {
    {.name = "tcp_open", .help = "Connections of echo, discard and chargen", .read = stats_read_u64,
     .source = &tcp_app_counters.open, .gauge = true},
    COUNTER("tcp_accepted", tcp_app_counters.accepted, "Connections accepted"),
    COUNTER("tcp_refused", tcp_app_counters.refused, "Connections refused for lack of room"),
    COUNTER("tcp_reset", tcp_app_counters.reset, "Connections that ended with a reset"),
    COUNTER("tcp_stalled", tcp_app_counters.stalled,
            "Connections reset because memory was short and they did not move"),
    COUNTER("tcp_received_bytes", tcp_app_counters.received_bytes, "Bytes received"),
    COUNTER("tcp_echoed_bytes", tcp_app_counters.echoed_bytes, "Bytes echoed and acknowledged"),
    COUNTER("tcp_discarded_bytes", tcp_app_counters.discarded_bytes, "Bytes discarded"),
    COUNTER("tcp_generated_bytes", tcp_app_counters.generated_bytes,
            "Bytes generated and acknowledged"),
    COUNTER("udp_echoed", udp_services_counters.echoed, "Datagrams echoed"),
    COUNTER("udp_echoed_bytes", udp_services_counters.echoed_bytes, "Bytes of datagrams echoed"),
    COUNTER("udp_discarded", udp_services_counters.discarded, "Datagrams discarded"),
    COUNTER("udp_generated", udp_services_counters.generated, "Datagrams generated"),
    COUNTER("udp_ignored", udp_services_counters.ignored,
            "Datagrams not answered: broadcast, multicast, or from a port that would answer back"),
    COUNTER("udp_send_failed", udp_services_counters.send_failed,
            "Answers for which there was no memory or route"),
    COUNTER("http_requests", http_status_counters.requests, "HTTP requests"),
    COUNTER("http_not_found", http_status_counters.not_found, "HTTP requests for unknown paths"),
    COUNTER("http_busy", http_status_counters.busy, "HTTP requests answered with 503"),
};

static const struct stats_group app_echo_group = {
    .name = "echo", .items = app_echo_items, .count = ARRAY_SIZE(app_echo_items)};

bool app_echo_start(void) {
    stats_set_app(&app_echo_group);
    http_status_start();
    return udp_services_start() && tcp_echo_start() && tcp_source_sink_start() &&
           lwiperf_start_tcp_server(IP_ANY_TYPE, LWIPERF_TCP_PORT_DEFAULT, NULL, NULL) != NULL;
}

static void app_echo_print_ready(void) {
    char line[256];
    char ip4[STACK_IP4_TEXT_MAX];
    char ip6[STACK_IP6_TEXT_MAX];
    const char *state;
    struct json j;
    json_event(&j, line, sizeof(line), "ready");
    json_string(&j, "app", app_echo_group.name);
    json_string(&j, "ip", stack_ip4_text(0, false, ip4));
    json_string(&j, "ip6", stack_ip6_text(0, 0, ip6, &state));
    json_u64(&j, "boot_us", clock_us());
    json_close(&j);
    json_print(&j);
}

/* Frames that found no memory, so far. */
static uint64_t app_echo_shortages(void) {
    uint64_t sum = 0;
    for (unsigned nic = 0; nic < net_dev_count; nic++) {
        sum += net_devs[nic].rx.stats.drop_no_memory + net_devs[nic].tx.stats.drop_no_memory;
    }
    return sum;
}

struct app_echo_state {
    uint64_t stats_ms; /* when the next statistics line is due */
    uint64_t relief_ms;
    uint64_t shortages;
    bool ready;
};

/* What is due once a millisecond. */
static void app_echo_tick(const struct config *cfg, struct app_echo_state *state, uint64_t now_ms) {
    if (cfg->stats != 0 && now_ms >= state->stats_ms) {
        state->stats_ms += cfg->stats * (uint64_t)1000;
        stats_print("stats");
    }
    if (now_ms >= state->relief_ms) {
        const uint64_t shortages = app_echo_shortages();
        state->relief_ms = now_ms + RELIEF_MS;
        if (shortages != state->shortages) {
            state->shortages = shortages;
            tcp_echo_relieve(now_ms);
        }
    }
}

/* When the loop has something to do by itself. */
static uint64_t app_echo_due_ms(const struct config *cfg, const struct app_echo_state *state,
                                uint64_t start_ms) {
    const uint64_t end_ms = cfg->seconds != 0 ? start_ms + cfg->seconds * (uint64_t)1000 : UINT64_MAX;
    return cfg->stats != 0 ? min_u64(state->stats_ms, end_ms) : end_ms;
}

int app_echo_run(const struct config *cfg) {
    const uint64_t start_ms = stack_now_ms();
    struct app_echo_state state = {
        .stats_ms = start_ms + cfg->stats * (uint64_t)1000,
    };
    uint64_t now_ms = start_ms;

    while (cfg->seconds == 0 || now_ms < start_ms + cfg->seconds * (uint64_t)1000) {
        const unsigned received = stack_poll();
        if (UNLIKELY(!state.ready) &&
            (stack_ready() || now_ms - start_ms >= READY_WAIT_MS)) {
            state.ready = true;
            app_echo_print_ready();
        }
        if (now_ms != stack_now_ms()) {
            now_ms = stack_now_ms();
            app_echo_tick(cfg, &state, now_ms);
        }
        stack_rest(received, app_echo_due_ms(cfg, &state, start_ms));
    }
    stats_print("result");
    return EXIT_STATUS_OK;
}
