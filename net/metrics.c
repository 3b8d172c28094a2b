#include "net/metrics.h"

#include <stdarg.h>
#include <stdio.h>

#include "drivers/clock.h"
#include "drivers/virtio_net.h"
#include "net/latency.h"
#include "net/pools.h"
#include "net/stack.h"
#include "net/stats.h"

struct metrics {
    char *text;
    size_t size;
    size_t len;
    bool overflow;
};

static void PRINTF_LIKE(2, 3) metrics_add(struct metrics *m, const char *format, ...) {
    va_list args;
    if (m->overflow) {
        return;
    }
    va_start(args, format);
    const int wanted = vsnprintf(m->text + m->len, m->size - m->len, format, args);
    va_end(args);
    if (wanted < 0 || (size_t)wanted >= m->size - m->len) {
        m->overflow = true;
        return;
    }
    m->len += (size_t)wanted;
}

/* The two lines in front of the samples of a metric. */
static void metrics_head(struct metrics *m, const char *prefix, const char *name,
                         const char *suffix, const char *help, const char *type) {
    metrics_add(m, "# HELP %s%s%s %s\n# TYPE %s%s%s %s\n", prefix, name, suffix, help, prefix,
                name, suffix, type);
}

static void metrics_sample(struct metrics *m, const char *name, unsigned nic, const char *queue,
                           uint64_t value) {
    metrics_add(m, "ringlet_queue_%s_total{nic=\"%u\",queue=\"%s\"} %llu\n", name, nic, queue,
                (unsigned long long)value);
}

static void metrics_queues(struct metrics *m) {
    for (size_t i = 0; i < net_counter_count; i++) {
        const struct net_counter *counter = &net_counters[i];
        metrics_head(m, "ringlet_queue_", counter->name, "_total", counter->help, "counter");
        for (unsigned nic = 0; nic < net_dev_count; nic++) {
            const struct net_dev *nd = &net_devs[nic];
            const uint8_t *rx = (const uint8_t *)&nd->rx.stats + counter->offset;
            const uint8_t *tx = (const uint8_t *)&nd->tx.stats + counter->offset;
            metrics_sample(m, counter->name, nic, "rx", stats_read_u64(rx));
            metrics_sample(m, counter->name, nic, "tx", stats_read_u64(tx));
        }
    }
    metrics_head(m, "ringlet_queue_", "device_errors", "_total",
                 "Times the device broke the ring protocol", "counter");
    for (unsigned nic = 0; nic < net_dev_count; nic++) {
        metrics_sample(m, "device_errors", nic, "rx", net_devs[nic].rx.vq.device_errors);
        metrics_sample(m, "device_errors", nic, "tx", net_devs[nic].tx.vq.device_errors);
    }
}

static void metrics_nics(struct metrics *m) {
    char mac[NET_MAC_TEXT_MAX];
    metrics_head(m, "ringlet_nic_", "info", "", "What the device is", "gauge");
    for (unsigned nic = 0; nic < net_dev_count; nic++) {
        const struct net_dev *nd = &net_devs[nic];
        metrics_add(m, "ringlet_nic_info{nic=\"%u\",mac=\"%s\",layout=\"%s\"} 1\n", nic,
                    net_mac_text(nd, mac), net_layout_name(&nd->rx));
    }
    metrics_head(m, "ringlet_nic_", "link_up", "", "1 while the link is up", "gauge");
    for (unsigned nic = 0; nic < net_dev_count; nic++) {
        metrics_add(m, "ringlet_nic_link_up{nic=\"%u\"} %u\n", nic, net_devs[nic].link_up);
    }
    metrics_head(m, "ringlet_nic_", "restarts", "_total",
                 "Times the device was reset and brought up again", "counter");
    for (unsigned nic = 0; nic < net_dev_count; nic++) {
        metrics_add(m, "ringlet_nic_restarts_total{nic=\"%u\"} %u\n", nic, net_devs[nic].restarts);
    }
    metrics_head(m, "ringlet_nic_", "link_downs", "_total", "Times the link was lost", "counter");
    for (unsigned nic = 0; nic < net_dev_count; nic++) {
        metrics_add(m, "ringlet_nic_link_downs_total{nic=\"%u\"} %u\n", nic,
                    net_devs[nic].link_downs);
    }
    metrics_head(m, "ringlet_nic_", "outage_seconds", "_total",
                 "Time without link or without a working device", "counter");
    for (unsigned nic = 0; nic < net_dev_count; nic++) {
        const uint64_t ms = net_outage_ms(&net_devs[nic], clock_ms());
        metrics_add(m, "ringlet_nic_outage_seconds_total{nic=\"%u\"} %llu.%03u\n", nic,
                    (unsigned long long)(ms / 1000), (unsigned)(ms % 1000));
    }
    metrics_head(m, "ringlet_nic_", "buffers_free", "", "Packet buffers in the pool", "gauge");
    for (unsigned nic = 0; nic < net_dev_count; nic++) {
        metrics_add(m, "ringlet_nic_buffers_free{nic=\"%u\"} %u\n", nic,
                    net_devs[nic].pool.free_count);
    }
}

static void metrics_pools(struct metrics *m) {
    struct pool_level level;
    metrics_head(m, "ringlet_pool_", "used", "", "Elements of a pool of the protocol stack in use",
                 "gauge");
    for (unsigned i = 0; pools_level(i, &level); i++) {
        metrics_add(m, "ringlet_pool_used{pool=\"%s\"} %u\n", level.name, (unsigned)level.used);
    }
    metrics_head(m, "ringlet_pool_", "max", "", "The most that were in use at once", "gauge");
    for (unsigned i = 0; pools_level(i, &level); i++) {
        metrics_add(m, "ringlet_pool_max{pool=\"%s\"} %u\n", level.name, (unsigned)level.max);
    }
}

static void metrics_group(struct metrics *m, const char *prefix, const struct stats_group *group) {
    for (size_t i = 0; i < group->count; i++) {
        const struct stats_item *item = &group->items[i];
        const char *suffix = item->gauge ? "" : "_total";
        metrics_head(m, prefix, item->name, suffix, item->help, item->gauge ? "gauge" : "counter");
        metrics_add(m, "%s%s%s %llu\n", prefix, item->name, suffix,
                    (unsigned long long)item->read(item->source));
    }
}

static void metrics_seconds(struct metrics *m, uint64_t ns) {
    metrics_add(m, " %llu.%09u\n", (unsigned long long)(ns / 1000000000),
                (unsigned)(ns % 1000000000));
}

/* A summary; its quantiles 0 and 1 are the shortest and the longest time. */
static void metrics_latency(struct metrics *m) {
    static const struct {
        const char *name;
        uint32_t ppm;
    } quantiles[] = {{"0", 0},         {"0.5", 500000},   {"0.9", 900000},
                     {"0.99", 990000}, {"0.999", 999000}, {"1", 1000000}};
    metrics_head(m, "ringlet_", "latency_seconds", "", "Where the time of an answer goes (trace=latency)",
                 "summary");
    for (unsigned i = 0; i < LATENCY_PARTS; i++) {
        const struct histogram *times = &latency_ns[i];
        for (size_t q = 0; q < ARRAY_SIZE(quantiles); q++) {
            metrics_add(m, "ringlet_latency_seconds{part=\"%s\",quantile=\"%s\"}", latency_names[i],
                        quantiles[q].name);
            metrics_seconds(m, histogram_quantile(times, quantiles[q].ppm));
        }
        metrics_add(m, "ringlet_latency_seconds_sum{part=\"%s\"}", latency_names[i]);
        metrics_seconds(m, times->sum);
        metrics_add(m, "ringlet_latency_seconds_count{part=\"%s\"} %llu\n", latency_names[i],
                    (unsigned long long)times->count);
    }
}

size_t metrics_write(char *text, size_t size) {
    struct metrics m = {.text = text, .size = size};
    const uint64_t us = clock_us();
    metrics_head(&m, "ringlet_", "info", "", "What runs", "gauge");
    metrics_add(&m, "ringlet_info{app=\"%s\"} 1\n", stats_app()->name);
    metrics_head(&m, "ringlet_", "uptime_seconds", "", "Time since the first instruction", "gauge");
    metrics_add(&m, "ringlet_uptime_seconds %llu.%06u\n", (unsigned long long)(us / 1000000),
                (unsigned)(us % 1000000));
    metrics_head(&m, "ringlet_", "slept_seconds", "_total", "Time asleep", "counter");
    metrics_add(&m, "ringlet_slept_seconds_total %llu.%06u\n",
                (unsigned long long)(stack_slept_us() / 1000000),
                (unsigned)(stack_slept_us() % 1000000));
    metrics_nics(&m);
    metrics_queues(&m);
    metrics_group(&m, "ringlet_app_", stats_app());
    metrics_group(&m, "ringlet_stack_", stats_stack());
    metrics_pools(&m);
    if (latency_on) {
        metrics_latency(&m);
    }
    return m.overflow ? 0 : m.len;
}
