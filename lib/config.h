/* The command line: words `key=value` that choose the workload and how the device is driven.
 *
 * docs/manual.md lists every key. Addresses and feature names stay text here: the layers that know
 * their meaning parse them and report errors in the same way (one line, exit status 2). */
#ifndef LIB_CONFIG_H
#define LIB_CONFIG_H

#include "lib/util.h"

enum config_app { CONFIG_APP_ECHO, CONFIG_APP_PING, CONFIG_APP_CRASH_TEST };
enum config_ring { CONFIG_RING_AUTO, CONFIG_RING_SPLIT, CONFIG_RING_PACKED };
enum config_mode { CONFIG_MODE_POLL, CONFIG_MODE_IRQ, CONFIG_MODE_ADAPTIVE };
enum config_proto { CONFIG_PROTO_ICMP, CONFIG_PROTO_UDP, CONFIG_PROTO_TCP };

struct config {
    uint32_t app;     /* enum config_app */
    uint32_t ring;    /* enum config_ring */
    uint32_t mode;    /* enum config_mode */
    uint32_t intx;    /* 1: interrupts by INTx even where the device has MSI-X */
    uint32_t idle_us; /* mode=adaptive: poll so long without work before sleeping */
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
    char coalesce[64];  /* "rx:USECS,FRAMES;tx:USECS,FRAMES", either part may be missing */
    char kind[24];      /* of app=crash-test */
    char dst[64];       /* of app=ping: whom to ask, an IPv4 or IPv6 address */
    uint32_t proto;     /* of app=ping: enum config_proto */
    uint32_t port;      /* of app=ping: UDP or TCP port of the echo service */
    uint32_t count;     /* of app=ping: requests, 0: until `seconds` have passed */
    uint32_t size;      /* of app=ping: bytes of data in each */
    uint32_t interval_us; /* of app=ping: from one request to the next, 0: when the answer came */
    uint32_t timeout_ms;  /* of app=ping: how long to wait for an answer */
};

/* Fills cfg with the defaults and then with the words of cmdline. Returns ERR_OK, or ERR_CONFIG with
 * one clear sentence in error (cut to error_size). */
int config_parse(struct config *cfg, const char *cmdline, char *error, size_t error_size);

const char *config_app_name(uint32_t app);
const char *config_mode_name(uint32_t mode);

#endif
