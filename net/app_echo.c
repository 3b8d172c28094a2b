#include "net/app_echo.h"

#include "drivers/virtio_net.h"
#include "lib/log.h"
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

static bool app_echo_start(const struct config *cfg) {
    (void)cfg;
    http_status_start();
    if (!udp_services_start() || !tcp_echo_start() || !tcp_source_sink_start() ||
        lwiperf_start_tcp_server(IP_ANY_TYPE, LWIPERF_TCP_PORT_DEFAULT, NULL, NULL) == NULL) {
        log_error("app=echo: the protocol stack has no room for its ports");
        return false;
    }
    return true;
}

/* Without an address there may still be IPv6, so it does not wait for ever. */
static bool app_echo_ready(uint64_t waited_ms) {
    return stack_ready() || waited_ms >= READY_WAIT_MS;
}

/* Frames that found no memory, so far. */
static uint64_t app_echo_shortages(void) {
    uint64_t sum = 0;
    for (unsigned nic = 0; nic < net_dev_count; nic++) {
        sum += net_devs[nic].rx.stats.drop_no_memory + net_devs[nic].tx.stats.drop_no_memory;
    }
    return sum;
}

static void app_echo_tick(uint64_t now_ms) {
    static uint64_t relief_ms;
    static uint64_t shortages_before;
    if (now_ms < relief_ms) {
        return;
    }
    const uint64_t shortages = app_echo_shortages();
    relief_ms = now_ms + RELIEF_MS;
    if (shortages != shortages_before) {
        shortages_before = shortages;
        tcp_echo_relieve(now_ms);
    }
}

const struct app app_echo = {
    .stats = &app_echo_group,
    .start = app_echo_start,
    .ready = app_echo_ready,
    .tick = app_echo_tick,
};
