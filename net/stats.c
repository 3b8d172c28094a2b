#include "net/stats.h"

#include <stdio.h>

#include "drivers/clock.h"
#include "drivers/virtio_net.h"
#include "lwip/memp.h"
#include "lwip/stats.h"
#include "net/latency.h"
#include "net/netif_virtio.h"
#include "net/pools.h"
#include "net/stack.h"
#include "net/tcp_recovery.h"

static const struct stats_group *stats_app_group;
static bool stats_running;                  /* the workload */
static uint64_t stats_notifications_before; /* when it began */
static char stats_line[STATS_TEXT_MAX] __attribute__((section(".bss.large.stats_line")));

uint64_t stats_read_u64(const void *source) {
    return *(const uint64_t *)source;
}

/* A counter of lwIP. */
static uint64_t stats_read_lwip(const void *source) {
    return *(const STAT_COUNTER *)source;
}

static uint64_t stats_read_memp_used(const void *source) {
    return memp_pools[*(const memp_t *)source]->stats->used;
}

static uint64_t stats_read_memp_errors(const void *source) {
    uint64_t sum = 0;
    (void)source;
    for (unsigned i = 0; i < MEMP_MAX; i++) {
        sum += memp_pools[i]->stats->err;
    }
    return sum;
}

typedef uint64_t stats_of_nic(unsigned nic);

/* Of all NICs together; the source is a pointer to a function that answers for one. */
static uint64_t stats_read_nics(const void *source) {
    stats_of_nic *const read = *(stats_of_nic *const *)source;
    uint64_t sum = 0;
    for (unsigned nic = 0; nic < net_dev_count; nic++) {
        sum += read(nic);
    }
    return sum;
}

#define LWIP_ITEM(item_name, field, text)                                                          \
    { .name = item_name, .help = text, .read = stats_read_lwip, .source = &lwip_stats.field }
#define NICS_ITEM(item_name, function, text)                                                       \
    .name = item_name, .help = text, .read = stats_read_nics,                                      \
    .source = &(stats_of_nic *const) { function }
#define USED_ITEM(item_name, pool, text)                                                           \
    { .name = item_name, .help = text, .read = stats_read_memp_used,                               \
      .source = &(const memp_t){pool}, .gauge = true }

static const struct stats_item stats_stack_items[] = {
    {NICS_ITEM("not_for_us", netif_virtio_not_for_us, "Unicast frames for another station")},
    {NICS_ITEM("wrong_vlan", netif_virtio_wrong_vlan,
               "Frames of another VLAN, or with a tag though there is none")},
    {NICS_ITEM("tx_joined", netif_virtio_tx_joined,
               "Segments and datagrams that left in the frame of one before, for the device to cut")},
    {NICS_ITEM("acks_replaced", netif_virtio_acks_replaced,
               "TCP acknowledgements that gave way to a later one of the same pass")},
    LWIP_ITEM("link_drops", link.drop, "Frames of unknown type"),
    LWIP_ITEM("arp_drops", etharp.drop, "ARP packets that were not understood"),
    LWIP_ITEM("ip_drops", ip.drop, "IPv4 packets dropped"),
    LWIP_ITEM("ip_frag_drops", ip_frag.drop, "IPv4 fragments dropped"),
    LWIP_ITEM("icmp_packets", icmp.recv, "ICMP packets received"),
    LWIP_ITEM("icmp_drops", icmp.drop, "ICMP packets dropped"),
    LWIP_ITEM("ip6_drops", ip6.drop, "IPv6 packets dropped"),
    LWIP_ITEM("ip6_frag_drops", ip6_frag.drop, "IPv6 fragments dropped"),
    LWIP_ITEM("icmp6_packets", icmp6.recv, "ICMPv6 packets received"),
    LWIP_ITEM("icmp6_drops", icmp6.drop, "ICMPv6 packets dropped"),
    LWIP_ITEM("udp_drops", udp.drop, "UDP datagrams dropped"),
    LWIP_ITEM("tcp_drops", tcp.drop, "TCP segments dropped"),
    LWIP_ITEM("checksum_errors_tcp", tcp.chkerr, "TCP segments with a wrong checksum"),
    LWIP_ITEM("checksum_errors_udp", udp.chkerr, "UDP datagrams with a wrong checksum"),
    {.name = "tcp_recoveries", .help = "Losses that peers told of by selective acknowledgements",
     .read = stats_read_u64, .source = &tcp_recovery_counters.recoveries},
    {.name = "tcp_resent", .help = "Segments sent again because of these",
     .read = stats_read_u64, .source = &tcp_recovery_counters.resent},
    {.name = "memory_errors", .help = "Allocations that found a pool of the stack empty",
     .read = stats_read_memp_errors},
    USED_ITEM("tcp_connections", MEMP_TCP_PCB, "TCP connections in any state"),
    USED_ITEM("tcp_segments", MEMP_TCP_SEG, "TCP segments on their way"),
    USED_ITEM("copied_frames", MEMP_PBUF_POOL, "Frames held in copies"),
    {NICS_ITEM("backlog_frames", netif_virtio_backlog, "Frames waiting for room in a transmit ring"),
     .gauge = true},
};

static const struct stats_group stats_stack_group = {
    .name = "stack", .items = stats_stack_items, .count = ARRAY_SIZE(stats_stack_items)};

void stats_set_app(const struct stats_group *app) {
    stats_app_group = app;
}

const struct stats_group *stats_app(void) {
    return stats_app_group;
}

const struct stats_group *stats_stack(void) {
    return &stats_stack_group;
}

void stats_write_items(struct json *j, const struct stats_item *items, size_t count) {
    for (size_t i = 0; i < count; i++) {
        json_u64(j, items[i].name, items[i].read(items[i].source));
    }
}

static void stats_write_group(struct json *j, const struct stats_group *group) {
    json_object(j, group->name);
    stats_write_items(j, group->items, group->count);
    if (group->write != NULL) {
        group->write(j);
    }
    json_close(j);
}

/* Without the zeros at the end. */
static void stats_write_occupancy(struct json *j, const char *key,
                                  const uint64_t counts[NET_OCCUPANCY]) {
    unsigned count = NET_OCCUPANCY;
    while (count > 0 && counts[count - 1] == 0) {
        count--;
    }
    json_array(j, key);
    for (unsigned i = 0; i < count; i++) {
        json_u64(j, NULL, counts[i]);
    }
    json_close(j);
}

static void stats_write_queue(struct json *j, const char *key, const struct net_queue *queue) {
    json_object(j, key);
    json_u64(j, "size", queue->vq.num);
    for (size_t i = 0; i < net_counter_count; i++) {
        const void *counter = (const uint8_t *)&queue->stats + net_counters[i].offset;
        json_u64(j, net_counters[i].name, stats_read_u64(counter));
    }
    json_u64(j, "device_errors", queue->vq.device_errors);
    stats_write_occupancy(j, "looks_by_used", queue->occupancy.used);
    stats_write_occupancy(j, "looks_by_free", queue->occupancy.free);
    json_close(j);
}

static void stats_write_addresses(struct json *j, unsigned nic) {
    char ip4[STACK_IP4_TEXT_MAX];
    char ip6[STACK_IP6_TEXT_MAX];
    const char *state;
    json_string(j, "ip", stack_ip4_text(nic, true, ip4));
    json_array(j, "ip6");
    for (unsigned i = 0; i < STACK_IP6_MAX; i++) {
        const char *addr = stack_ip6_text(nic, i, ip6, &state);
        if (addr != NULL) {
            json_object(j, NULL);
            json_string(j, "addr", addr);
            json_string(j, "state", state);
            json_close(j);
        }
    }
    json_close(j);
}

static void stats_write_nic(struct json *j, const struct net_dev *nd) {
    char mac[NET_MAC_TEXT_MAX];
    const char *names[VIRTIO_FEATURE_NAMES_MAX];
    const unsigned count = net_feature_names(nd, names);
    json_object(j, NULL);
    json_u64(j, "nic", nd->index);
    json_string(j, "mac", net_mac_text(nd, mac));
    json_bool(j, "link", nd->link_up);
    json_u64(j, "mtu", nd->mtu);
    json_u64(j, "restarts", nd->restarts);
    json_u64(j, "link_downs", nd->link_downs);
    json_u64(j, "outage_ms", net_outage_ms(nd, clock_ms()));
    json_u64(j, "ctrl_errors", nd->ctrl.errors);
    stats_write_addresses(j, nd->index);
    json_string(j, "layout", net_layout_name(&nd->rx));
    json_array(j, "features");
    for (unsigned i = 0; i < count; i++) {
        json_string(j, NULL, names[i]);
    }
    json_close(j);
    stats_write_queue(j, "rx", &nd->rx);
    stats_write_queue(j, "tx", &nd->tx);
    json_u64(j, "buffers", nd->pool.total);
    json_u64(j, "buffers_free", nd->pool.free_count);
    json_u64(j, "buffers_free_min", nd->pool.free_min);
    json_close(j);
}

static void stats_write_pools(struct json *j) {
    struct pool_level level;
    json_object(j, "pools");
    for (unsigned i = 0; pools_level(i, &level); i++) {
        json_object(j, level.name);
        json_u64(j, "size", level.size);
        json_u64(j, "count", level.count);
        json_u64(j, "used", level.used);
        json_u64(j, "max", level.max);
        json_u64(j, "errors", level.errors);
        json_close(j);
    }
    json_close(j);
}

/* Doorbells and interrupts so far. */
static uint64_t stats_notifications(void) {
    uint64_t count = 0;
    for (unsigned nic = 0; nic < net_dev_count; nic++) {
        const struct net_dev *nd = &net_devs[nic];
        count += nd->rx.stats.kicks + nd->rx.stats.interrupts;
        count += nd->tx.stats.kicks + nd->tx.stats.interrupts;
    }
    return count;
}

void stats_begin(void) {
    stats_running = true;
    stats_notifications_before = stats_notifications();
}

void stats_write(struct json *j, const char *event) {
    json_object(j, NULL);
    json_string(j, "event", event);
    json_string(j, "app", stats_app_group->name);
    json_u64(j, "uptime_us", clock_us());
    json_u64(j, "slept_us", stack_slept_us());
    json_bool(j, "certified_polled",
              stats_running && net_devs[0].mode == CONFIG_MODE_POLL &&
                  stats_notifications() == stats_notifications_before);
    json_array(j, "nics");
    for (unsigned nic = 0; nic < net_dev_count; nic++) {
        stats_write_nic(j, &net_devs[nic]);
    }
    json_close(j);
    stats_write_group(j, stats_app_group);
    stats_write_group(j, &stats_stack_group);
    stats_write_pools(j);
    latency_write(j);
    json_close(j);
}

void stats_print(const char *event) {
    struct json j;
    json_begin(&j, stats_line, sizeof(stats_line));
    stats_write(&j, event);
    json_print(&j);
}
