#include "net/app_ping.h"

#include <string.h>

#include "drivers/clock.h"
#include "drivers/virtio_net.h"
#include "lib/assert.h"
#include "lib/histogram.h"
#include "lib/log.h"
#include "lwip/dhcp.h"
#include "lwip/ip.h"
#include "lwip/netif.h"
#include "net/addr.h"
#include "net/netif_virtio.h"
#include "net/ping.h"

enum {
    RETRY_US = 50,     /* between two tries to send the same request */
    HISTORY_MAX = 64,  /* so many requests are known as answered or lost */
};

enum ping_phase {
    PING_PAUSE,   /* until due_tsc */
    PING_SENDING, /* the latest request has not gone out yet */
    PING_WAITING, /* ... has not been answered yet */
};

/* Invariant: sent = received + lost + (phase == PING_PAUSE ? 0 : 1). */
static struct {
    struct ping_task task;
    const struct ping_transport *transport;
    uint64_t count_max; /* 0: no limit */
    uint64_t interval_ticks;
    uint64_t timeout_ticks;

    enum ping_phase phase;
    bool started;          /* there is an address and a way */
    bool stopping;         /* no further request */
    bool closed;
    uint64_t seq;          /* the latest request */
    uint64_t answered;     /* bit i: request seq - i was answered */
    uint64_t sent_tsc;     /* of the latest request */
    uint64_t due_tsc;      /* of the next one */
    uint64_t deadline_tsc; /* the latest one is lost then */
    uint64_t wake_tsc;     /* poll() has nothing to do before */

    uint64_t sent;
    uint64_t received;
    uint64_t lost;
    uint64_t send_failed;
    uint64_t late;
    uint64_t duplicate;
    uint64_t corrupt;
    struct histogram rtt;
} ping;

static uint64_t ping_read_min(const void *h) {
    return ((const struct histogram *)h)->min;
}

static uint64_t ping_read_mean(const void *h) {
    return histogram_mean(h);
}

static uint64_t ping_read_max(const void *h) {
    return ((const struct histogram *)h)->max;
}

static uint64_t ping_read_p50(const void *h) {
    return histogram_quantile(h, 500000);
}

static uint64_t ping_read_p90(const void *h) {
    return histogram_quantile(h, 900000);
}

static uint64_t ping_read_p99(const void *h) {
    return histogram_quantile(h, 990000);
}

static uint64_t ping_read_p999(const void *h) {
    return histogram_quantile(h, 999000);
}

#define COUNTER(item_name, counter, text)                                                          \
    { .name = item_name, .help = text, .read = stats_read_u64, .source = &(counter) }
#define RTT(which, text)                                                                           \
    { .name = "rtt_" #which "_ns", .help = text, .read = ping_read_##which, .source = &ping.rtt,   \
      .gauge = true }

static const struct stats_item app_ping_items[] = {
    COUNTER("sent", ping.sent, "Requests"),
    COUNTER("received", ping.received, "Requests that were answered right and in time"),
    COUNTER("lost", ping.lost, "Requests that were not"),
    COUNTER("send_failed", ping.send_failed,
            "Lost requests that could not be sent: no way, no memory, no connection"),
    COUNTER("late", ping.late, "Right answers to requests that had been given up"),
    COUNTER("duplicate", ping.duplicate, "Right answers to requests that had been answered"),
    COUNTER("corrupt", ping.corrupt, "Answers with a wrong length, byte or number"),
    COUNTER("tcp_connects", ping_tcp_counters.connects, "Connections that were established"),
    COUNTER("tcp_disconnects", ping_tcp_counters.disconnects,
            "Connections that the other side or the network ended"),
    RTT(min, "Shortest round trip"),
    RTT(mean, "Mean round trip"),
    RTT(max, "Longest round trip"),
    RTT(p50, "Median round trip"),
    RTT(p90, "90 of 100 round trips were not longer"),
    RTT(p99, "99 of 100 round trips were not longer"),
    RTT(p999, "999 of 1000 round trips were not longer"),
};

static const struct stats_group app_ping_group = {
    .name = "ping", .items = app_ping_items, .count = ARRAY_SIZE(app_ping_items)};

/* --- addresses -------------------------------------------------------------------------------- */

static bool ping_ip6_preferred(const struct netif *netif, const ip6_addr_t *addr) {
    for (unsigned i = 0; i < LWIP_IPV6_NUM_ADDRESSES; i++) {
        if (ip6_addr_eq(netif_ip6_addr(netif, i), addr)) {
            return ip6_addr_ispreferred(netif_ip6_addr_state(netif, i));
        }
    }
    return false;
}

struct netif *ping_route(const ip_addr_t *dst, const ip_addr_t **src) {
    struct netif *netif = ip_route(IP_IS_V6(dst) ? IP6_ADDR_ANY : IP4_ADDR_ANY, dst);
    *src = netif == NULL ? NULL : ip_netif_get_local_ip(netif, dst);
    if (*src == NULL || ip_addr_isany(*src)) {
        return NULL;
    }
    /* While the right address is still being checked, lwIP would choose the link-local one. */
    if (IP_IS_V6(dst) && (!ping_ip6_preferred(netif, ip_2_ip6(*src)) ||
                          ip6_addr_islinklocal(ip_2_ip6(*src)) !=
                              ip6_addr_islinklocal(ip_2_ip6(dst)))) {
        return NULL;
    }
    return netif;
}

/* Whether any NIC has, or may get, an address of the family. */
static bool ping_has_family(bool v6) {
    for (unsigned nic = 0; nic < net_dev_count; nic++) {
        const struct netif *netif = netif_virtio_get(nic);
        if (v6 ? !ip6_addr_isinvalid(netif_ip6_addr_state(netif, 0))
               : !ip4_addr_isany(netif_ip4_addr(netif)) || netif_dhcp_data(netif) != NULL) {
            return true;
        }
    }
    return false;
}

static bool ping_check_dst(const char *text, ip_addr_t *dst) {
    if (!addr_parse_station(text, dst)) {
        log_error("config: dst=%s: not the IPv4 or IPv6 address of a station", text);
        return false;
    }
    if (!ping_has_family(IP_IS_V6(dst))) {
        log_error("config: dst=%s: IPv%c is off on every network device", text,
                  IP_IS_V6(dst) ? '6' : '4');
        return false;
    }
    if (IP_IS_V6(dst)) { /* a link-local one lies behind the first NIC */
        ip6_addr_assign_zone(ip_2_ip6(dst), IP6_UNICAST, netif_virtio_get(0));
    }
    return true;
}

/* --- requests and answers --------------------------------------------------------------------- */

uint64_t ping_latest(void) {
    return ping.seq;
}

void ping_try_now(void) {
    ping.wake_tsc = 0;
}

static void ping_pause(void) {
    ping.phase = PING_PAUSE;
    ping.wake_tsc = ping.due_tsc;
}

void ping_answered(uint64_t seq, bool right, uint64_t tsc) {
    if (!right || seq == 0 || seq > ping.seq) {
        ping.corrupt++;
        return;
    }
    const uint64_t age = ping.seq - seq;
    if (age == 0 && ping.phase == PING_WAITING) {
        ping.received++;
        ping.answered |= 1;
        histogram_add(&ping.rtt, clock_ns_of_ticks(tsc - ping.sent_tsc));
        ping_pause();
    } else if (age < HISTORY_MAX && (ping.answered >> age & 1) != 0) {
        ping.duplicate++;
    } else {
        ping.late++;
    }
}

static void ping_lose(void) {
    const bool was_sent = ping.phase == PING_WAITING;
    ping.lost++;
    ping.send_failed += !was_sent;
    ping_pause();
    if (ping.transport->lost != NULL) {
        ping.transport->lost(was_sent);
    }
}

static void ping_begin(uint64_t now) {
    ping.phase = PING_SENDING;
    ping.seq++;
    ping.sent++;
    ping.answered <<= 1;
    ping.due_tsc = now + ping.interval_ticks;
    ping.deadline_tsc = now + ping.timeout_ticks;
}

static void ping_try_send(uint64_t now) {
    if (ping.transport->send(ping.seq, &ping.sent_tsc)) {
        ping.phase = PING_WAITING;
        ping.deadline_tsc = ping.sent_tsc + ping.timeout_ticks;
        ping.wake_tsc = ping.deadline_tsc;
    } else {
        ping.wake_tsc = min_u64(now + clock_ticks_of_us(RETRY_US), ping.deadline_tsc);
    }
}

static bool ping_may_begin(void) {
    return ping.started && !ping.stopping && (ping.count_max == 0 || ping.sent < ping.count_max);
}

static unsigned app_ping_poll(void) {
    const uint64_t now = cpu_tsc();
    if (LIKELY(now < ping.wake_tsc)) {
        return 0;
    }
    if (ping.phase != PING_PAUSE && now >= ping.deadline_tsc) {
        ping_lose();
    }
    if (ping.phase == PING_PAUSE) {
        ping.wake_tsc = ping_may_begin() ? ping.due_tsc : UINT64_MAX;
        if (now < ping.wake_tsc) {
            return 0;
        }
        ping_begin(now);
    }
    if (ping.phase == PING_SENDING) {
        ping_try_send(now);
    }
    return 1;
}

/* --- life ------------------------------------------------------------------------------------- */

static uint64_t app_ping_wake_tsc(void) {
    return ping.wake_tsc;
}

static bool app_ping_start(const struct config *cfg) {
    static const struct ping_transport *const transports[] = {
        [CONFIG_PROTO_ICMP] = &ping_icmp,
        [CONFIG_PROTO_UDP] = &ping_udp,
        [CONFIG_PROTO_TCP] = &ping_tcp,
    };
    ASSERT(cfg->size <= PING_SIZE_MAX);
    if (!ping_check_dst(cfg->dst, &ping.task.dst)) {
        return false;
    }
    if (cfg->proto == CONFIG_PROTO_TCP && cfg->size == 0) {
        log_error("config: size=0: a request over TCP has at least one byte");
        return false;
    }
    ping.task.port = (uint16_t)cfg->port;
    ping.task.size = cfg->size;
    /* The same data in every run, and other data for every station. */
    memcpy(&ping.task.seed, net_devs[0].mac, sizeof(net_devs[0].mac));
    ping.transport = transports[cfg->proto];
    ping.count_max = cfg->count;
    ping.interval_ticks = clock_ticks_of_us(cfg->interval_us);
    ping.timeout_ticks = clock_ticks_of_us((uint64_t)cfg->timeout_ms * 1000);
    ping.wake_tsc = UINT64_MAX;
    if (!ping.transport->open(&ping.task)) {
        log_error("app=ping: the protocol stack has no room for its port");
        return false;
    }
    return true;
}

static bool app_ping_ready(uint64_t waited_ms) {
    const ip_addr_t *src;
    (void)waited_ms;
    ping.started = ping_route(&ping.task.dst, &src) != NULL;
    if (ping.started) {
        ping.wake_tsc = 0;
    }
    return ping.started;
}

/* A request that is on its way is still waited for, so that the verdict does not depend on the
 * moment at which the time was up. */
static bool app_ping_done(enum app_end end) {
    ping.stopping |= end != APP_GOES_ON || (ping.count_max != 0 && ping.sent == ping.count_max);
    if (!ping.stopping || ping.phase != PING_PAUSE) {
        return false;
    }
    if (!ping.closed && ping.transport->close != NULL) {
        ping.closed = true;
        ping.transport->close();
        return false; /* one more pass sends what it says to the other side */
    }
    return true;
}

static enum exit_status app_ping_verdict(void) {
    const bool good = ping.sent > 0 && ping.received == ping.sent && ping.corrupt == 0;
    return good ? EXIT_STATUS_OK : EXIT_STATUS_FAILED;
}

const struct app app_ping = {
    .stats = &app_ping_group,
    .start = app_ping_start,
    .ready = app_ping_ready,
    .poll = app_ping_poll,
    .wake_tsc = app_ping_wake_tsc,
    .done = app_ping_done,
    .verdict = app_ping_verdict,
};
