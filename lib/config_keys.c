#include "lib/config_keys.h"

#include <string.h>

static const struct config_choice config_apps[] = {
    {"echo", CONFIG_APP_ECHO},
    {"ping", CONFIG_APP_PING},
    {"fwd", CONFIG_APP_FWD},
    {"gen", CONFIG_APP_GEN},
    {"sink", CONFIG_APP_SINK},
    {"crash-test", CONFIG_APP_CRASH_TEST},
    {NULL, 0},
};

static const struct config_choice config_rings[] = {
    {"auto", CONFIG_RING_AUTO},
    {"split", CONFIG_RING_SPLIT},
    {"packed", CONFIG_RING_PACKED},
    {NULL, 0},
};

static const struct config_choice config_modes[] = {
    {"poll", CONFIG_MODE_POLL},
    {"irq", CONFIG_MODE_IRQ},
    {"adaptive", CONFIG_MODE_ADAPTIVE},
    {NULL, 0},
};

static const struct config_choice config_idle_pauses[] = {
    {"auto", CONFIG_IDLE_AUTO},
    {"spin", CONFIG_IDLE_SPIN},
    {"pause", CONFIG_IDLE_PAUSE},
    {"yield", CONFIG_IDLE_YIELD},
    {NULL, 0},
};

static const struct config_choice config_traces[] = {
    {"none", CONFIG_TRACE_NONE},
    {"latency", CONFIG_TRACE_LATENCY},
    {NULL, 0},
};

static const struct config_choice config_protos[] = {
    {"icmp", CONFIG_PROTO_ICMP},
    {"udp", CONFIG_PROTO_UDP},
    {"tcp", CONFIG_PROTO_TCP},
    {NULL, 0},
};

static const struct config_choice config_gen_protos[] = {
    {"udp", CONFIG_PROTO_UDP},
    {"tcp", CONFIG_PROTO_TCP},
    {NULL, 0},
};

static const struct config_choice config_fwds[] = {
    {"io", CONFIG_FWD_IO},
    {"mac", CONFIG_FWD_MAC},
    {"macswap", CONFIG_FWD_MACSWAP},
    {"5tswap", CONFIG_FWD_5TSWAP},
    {"icmpecho", CONFIG_FWD_ICMPECHO},
    {NULL, 0},
};

static const struct config_choice config_pcis[] = {
    {"auto", CONFIG_PCI_AUTO},
    {"off", CONFIG_PCI_OFF},
    {NULL, 0},
};

static const struct config_choice config_payloads[] = {
    {"pattern", CONFIG_PAYLOAD_PATTERN},
    {"fixed", CONFIG_PAYLOAD_FIXED},
    {NULL, 0},
};

enum {
    APPS_ECHO = 1 << CONFIG_APP_ECHO,
    APPS_PING = 1 << CONFIG_APP_PING,
    APPS_FWD = 1 << CONFIG_APP_FWD,
    APPS_GEN = 1 << CONFIG_APP_GEN,
    APPS_SINK = 1 << CONFIG_APP_SINK,
    APPS_CRASH_TEST = 1 << CONFIG_APP_CRASH_TEST,
    APPS_RAW = APPS_FWD | APPS_GEN | APPS_SINK,
    APPS_STACK = APPS_ECHO | APPS_PING,
    APPS_ALL = APPS_RAW | APPS_STACK | APPS_CRASH_TEST,
};

#define CHOICE(key, list, apps)                                                                    \
    {#key, CONFIG_CHOICE, offsetof(struct config, key), 0, list, 0, 0, apps}
#define NUMBER(key, min, max, apps)                                                                \
    {#key, CONFIG_NUMBER, offsetof(struct config, key), 0, NULL, min, max, apps}
#define NUMBER64(key, min, max, apps)                                                              \
    {#key, CONFIG_NUMBER64, offsetof(struct config, key), 0, NULL, min, max, apps}
#define TEXT_NAMED(name, key, apps)                                                                \
    {name, CONFIG_TEXT, offsetof(struct config, key), sizeof(((struct config *)0)->key), NULL, 0,  \
     0, apps}
#define TEXT(key, apps) TEXT_NAMED(#key, key, apps)
#define LIST_NAMED(name, key, apps)                                                                \
    {name, CONFIG_LIST, offsetof(struct config, key), sizeof(((struct config *)0)->key), NULL, 0,  \
     0, apps}

const struct config_key config_keys[] = {
    CHOICE(app, config_apps, APPS_ALL),
    CHOICE(ring, config_rings, APPS_ALL),
    CHOICE(mode, config_modes, APPS_ALL),
    NUMBER(intx, 0, 1, APPS_ALL),
    NUMBER(idle_us, 0, 1000000, APPS_ALL),
    CHOICE(idle_pause, config_idle_pauses, APPS_ALL),
    NUMBER(yield_us, 1, 100000, APPS_ALL),
    CHOICE(trace, config_traces, APPS_STACK),
    NUMBER(queue, 1, 32768, APPS_ALL),
    NUMBER(seconds, 0, 1000000, APPS_ALL),
    NUMBER(stats, 0, 86400, APPS_ALL),
    TEXT(ip, APPS_ALL),
    TEXT(gw, APPS_ALL),
    TEXT(ip6, APPS_ALL),
    TEXT(features, APPS_ALL),
    TEXT(mac, APPS_ALL),
    NUMBER(vlan, 1, 4094, APPS_ALL),
    TEXT(guest_offloads, APPS_STACK),
    TEXT(coalesce, APPS_ALL),
    CHOICE(pci, config_pcis, APPS_ALL),
    LIST_NAMED("virtio_mmio.device", mmio_devices, APPS_ALL),
    TEXT(kind, APPS_CRASH_TEST),
    TEXT(dst, APPS_PING | APPS_GEN),
    CHOICE(proto, config_protos, APPS_PING),
    CHOICE(proto, config_gen_protos, APPS_GEN),
    NUMBER(port, 1, 65535, APPS_PING),
    NUMBER(count, 0, 1000000000, APPS_PING),
    NUMBER(size, 0, 65000, APPS_PING),
    NUMBER(interval_us, 0, 10000000, APPS_PING),
    NUMBER(timeout_ms, 1, 60000, APPS_PING),
    NUMBER(burst, 1, 64, APPS_RAW),
    NUMBER(steal_us, 1, 1000000, APPS_RAW),
    CHOICE(fwd, config_fwds, APPS_FWD),
    NUMBER(delay_cycles, 0, 10000000, APPS_FWD),
    TEXT(dst_mac, APPS_FWD | APPS_GEN),
    TEXT(rate, APPS_GEN),
    TEXT(linerate, APPS_GEN),
    TEXT(pace, APPS_GEN),
    TEXT_NAMED("size", sizes, APPS_GEN),
    TEXT(src, APPS_GEN),
    TEXT(sport, APPS_GEN),
    TEXT(dport, APPS_GEN),
    TEXT(src_mac, APPS_GEN),
    NUMBER(qinq, 1, 4094, APPS_GEN),
    CHOICE(payload, config_payloads, APPS_GEN),
    NUMBER(catchup, 0, 1000000, APPS_GEN),
    NUMBER(rx, 0, 1, APPS_GEN),
    NUMBER(drain_ms, 0, 60000, APPS_GEN),
    NUMBER64(frames, 0, UINT64_MAX / 10 - 1, APPS_GEN | APPS_SINK),
    NUMBER(flows, 1, 1 << 20, APPS_GEN | APPS_SINK),
    NUMBER(seed, 0, UINT32_MAX, APPS_GEN | APPS_SINK),
    NUMBER(check, 0, 1, APPS_GEN | APPS_SINK),
    NUMBER(loss_ppm, 0, 1000000, APPS_GEN | APPS_SINK),
};

_Static_assert(ARRAY_SIZE(config_keys) <= CONFIG_KEYS_MAX, "as many as can be marked as seen");

const size_t config_key_count = ARRAY_SIZE(config_keys);

void config_defaults(struct config *cfg, uint32_t app) {
    *cfg = (struct config){
        .app = app,
        .ip = "dhcp",
        .ip6 = "auto",
        .idle_us = CONFIG_IDLE_US_AUTO,
        .yield_us = 250,
        .port = 7,
        .count = 10,
        .size = 56,
        .interval_us = 100000,
        .timeout_ms = 1000,
        .burst = 32,
        .steal_us = 100,
        .rate = "max",
        .pace = "cbr",
        .sizes = "64",
        .sport = "49152",
        .dport = "9",
        .catchup = 1024,
        .drain_ms = 200,
        .seed = 1,
        .loss_ppm = 1000000,
    };
    if (app == CONFIG_APP_GEN) {
        cfg->proto = CONFIG_PROTO_UDP;
    }
    if (app == CONFIG_APP_SINK) {
        cfg->flows = 65536;
    }
    if (config_is_raw(cfg)) { /* their frames shall be alone on the wire */
        strcpy(cfg->ip, "off");
        strcpy(cfg->ip6, "off");
    }
}

static const char *config_choice_name(const struct config_choice *choices, uint32_t value) {
    for (const struct config_choice *c = choices; c->name != NULL; c++) {
        if (c->value == value) {
            return c->name;
        }
    }
    return "?";
}

const char *config_app_name(uint32_t app) {
    return config_choice_name(config_apps, app);
}

const char *config_mode_name(uint32_t mode) {
    return config_choice_name(config_modes, mode);
}

const char *config_idle_pause_name(uint32_t idle_pause) {
    return config_choice_name(config_idle_pauses, idle_pause);
}
