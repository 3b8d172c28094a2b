/* The configuration: words `key=value` that choose the workload and how the device is driven.
 *
 * They come from several sources: the command line, a file beside the image, the hypervisor. In a later
 * source a key takes the place of the same key in an earlier one; twice in one source is an error, except
 * for keys that add to a list. Words are separated by white space; one that begins with # makes the rest
 * of its line a comment.
 *
 * docs/manual.md lists every key. Addresses and feature names stay text here: the layers that know
 * their meaning parse them and report errors in the same way (one line, exit status 2). */
#ifndef LIB_CONFIG_H
#define LIB_CONFIG_H

#include "lib/util.h"

enum config_app {
    CONFIG_APP_ECHO,
    CONFIG_APP_PING,
    CONFIG_APP_FWD,
    CONFIG_APP_GEN,
    CONFIG_APP_SINK,
    CONFIG_APP_CRASH_TEST,
};
enum config_ring { CONFIG_RING_AUTO, CONFIG_RING_SPLIT, CONFIG_RING_PACKED };
enum config_mode { CONFIG_MODE_POLL, CONFIG_MODE_IRQ, CONFIG_MODE_ADAPTIVE };
enum config_proto { CONFIG_PROTO_ICMP, CONFIG_PROTO_UDP, CONFIG_PROTO_TCP };
enum config_fwd {
    CONFIG_FWD_IO,
    CONFIG_FWD_MAC,
    CONFIG_FWD_MACSWAP,
    CONFIG_FWD_5TSWAP,
    CONFIG_FWD_ICMPECHO,
};
/* What a polled guest does in a pass that found nothing. AUTO: one of the others, by workload. */
enum config_idle_pause {
    CONFIG_IDLE_AUTO,
    CONFIG_IDLE_SPIN,
    CONFIG_IDLE_PAUSE,
    CONFIG_IDLE_YIELD,
};
enum config_trace { CONFIG_TRACE_NONE, CONFIG_TRACE_LATENCY };
enum config_pci { CONFIG_PCI_AUTO, CONFIG_PCI_OFF };
enum config_payload { CONFIG_PAYLOAD_PATTERN, CONFIG_PAYLOAD_FIXED };

struct config {
    uint32_t app;     /* enum config_app */
    uint32_t ring;    /* enum config_ring */
    uint32_t mode;    /* enum config_mode */
    uint32_t intx;    /* 1: interrupts by INTx even where the device has MSI-X */
    uint32_t idle_us; /* adaptive, IDLE_YIELD: poll so long without work before sleeping */
    uint32_t idle_pause; /* enum config_idle_pause; AUTO only in modes that sleep */
    uint32_t yield_us; /* IDLE_YIELD: the longest sleep */
    uint32_t trace;    /* enum config_trace, of echo and ping */
    uint32_t queue;   /* descriptors in a ring, 0: the device's maximum */
    uint32_t seconds; /* stop after so long, 0: never */
    uint32_t stats;   /* seconds between statistics lines, 0: none */
    char ip[128];     /* "dhcp", "off" or A.B.C.D/LEN, one for each NIC, separated by commas */
    char gw[32];      /* IPv4 gateway, empty: none */
    char ip6[128];    /* "auto", "off" or ADDR/LEN */
    char features[256]; /* "-name,-name": features that must not be negotiated */
    char mac[160];      /* "AA:BB:CC:DD:EE:FF", one for each NIC, separated by commas; empty: the
                         * device's own */
    uint32_t vlan;      /* VLAN id that all frames carry, 0: none */
    uint32_t pci;       /* enum config_pci */
    char mmio_devices[512]; /* "SIZE@BASE:IRQ[:ID]", separated by commas: virtio devices without PCI */
    char guest_offloads[48]; /* "NAME,NAME" or "none": receive offloads that stay on; empty: all */
    char coalesce[64];  /* "rx:USECS,FRAMES;tx:USECS,FRAMES", either part may be missing */
    char kind[24];      /* of app=crash-test */

    /* app=ping */
    char dst[96];         /* ping: whom to ask, an IPv4 or IPv6 address; gen: one or a range */
    uint32_t proto;       /* enum config_proto; gen: UDP, or what looks like TCP */
    uint32_t port;        /* UDP or TCP port of the echo service */
    uint32_t count;       /* requests, 0: until `seconds` have passed */
    uint32_t size;        /* bytes of data in each */
    uint32_t interval_us; /* from one request to the next, 0: when the answer came */
    uint32_t timeout_ms;  /* how long to wait for an answer */

    /* app=fwd, gen, sink: the raw workloads */
    uint32_t burst;    /* frames handled at once, at most */
    uint32_t steal_us; /* a longer gap between two passes is counted: the CPU was elsewhere */

    /* app=fwd */
    uint32_t fwd;          /* enum config_fwd */
    uint32_t delay_cycles; /* spent on each frame */
    char dst_mac[160];     /* mac: of the next hop of each NIC, separated by commas; gen: one */

    /* app=gen */
    char rate[24];     /* "max", "Npps", "Nbps" with k, M, G, or "N%" of linerate */
    char linerate[16]; /* bits per second, empty: the device's speed */
    char pace[24];     /* "cbr", "poisson" or "burst:N" */
    char sizes[128];   /* bytes of a frame: "64", "64,128", "imix", "64:7,594:4,1518:1" */
    char src[96];      /* addresses and ports: one, a range A-B, or random:A-B; empty: default */
    char sport[32];
    char dport[32];
    char src_mac[18];     /* empty: the device's */
    uint32_t qinq;        /* VLAN id of an outer tag, 0: none */
    uint32_t payload;     /* enum config_payload */
    uint32_t catchup;     /* frames that may be late and still be sent */
    uint32_t rx;          /* 1: receives, too, as app=sink does */
    uint32_t drain_ms;    /* rx=1: waits so long for frames under way at the end */
    uint64_t frames;      /* gen: sends so many; sink: ends after so many; 0: no limit */

    /* app=gen and app=sink */
    uint32_t flows;    /* gen: 0: as many as the largest range has; sink: numbered flows at most */
    uint32_t seed;     /* of all that is random, and of payloads */
    uint32_t check;    /* 1: compares payloads */
    uint32_t loss_ppm; /* exit status 1 when more millionths are lost; 1000000: never */
};

/* The workloads that drive the rings themselves; the protocol stack gets what is for it. */
ALWAYS_INLINE bool config_is_raw(const struct config *cfg) {
    return cfg->app == CONFIG_APP_FWD || cfg->app == CONFIG_APP_GEN || cfg->app == CONFIG_APP_SINK;
}

/* The guest may halt until a timer or a device interrupts. */
ALWAYS_INLINE bool config_may_halt(const struct config *cfg) {
    return cfg->mode != CONFIG_MODE_POLL || cfg->idle_pause == CONFIG_IDLE_YIELD;
}

struct config_source {
    const char *name; /* before an error in it; NULL: the command line, which needs no name */
    const char *text;
};

enum { CONFIG_SOURCES_MAX = 8 };

/* Fills cfg with the defaults and then with the words of `count` sources, the weakest first. Returns
 * ERR_OK, or ERR_CONFIG with one clear sentence in error (cut to error_size). */
int config_parse_sources(struct config *cfg, const struct config_source *sources, unsigned count,
                         char *error, size_t error_size);

const char *config_app_name(uint32_t app);
const char *config_mode_name(uint32_t mode);
const char *config_idle_pause_name(uint32_t idle_pause);

#endif
