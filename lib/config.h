/* The command line: words `key=value` that choose the workload and how the device is driven.
 *
 * docs/manual.md lists every key. Addresses and feature names stay text here: the layers that know
 * their meaning parse them and report errors in the same way (one line, exit status 2). */
#ifndef LIB_CONFIG_H
#define LIB_CONFIG_H

#include "lib/util.h"

enum config_app { CONFIG_APP_ECHO, CONFIG_APP_CRASH_TEST };
enum config_ring { CONFIG_RING_AUTO, CONFIG_RING_SPLIT, CONFIG_RING_PACKED };
enum config_mode { CONFIG_MODE_POLL };

struct config {
    uint32_t app;     /* enum config_app */
    uint32_t ring;    /* enum config_ring */
    uint32_t mode;    /* enum config_mode */
    uint32_t queue;   /* descriptors in a ring, 0: the device's maximum */
    uint32_t seconds; /* stop after so long, 0: never */
    uint32_t stats;   /* seconds between statistics lines, 0: none */
    char ip[128];     /* "dhcp", "off" or A.B.C.D/LEN, one for each NIC, separated by commas */
    char gw[32];      /* IPv4 gateway, empty: none */
    char ip6[128];    /* "auto", "off" or ADDR/LEN */
    char features[256]; /* "-name,-name": features that must not be negotiated */
    char kind[24];      /* of app=crash-test */
};

/* Fills cfg with the defaults and then with the words of cmdline. Returns ERR_OK, or ERR_CONFIG with
 * one clear sentence in error (cut to error_size). */
int config_parse(struct config *cfg, const char *cmdline, char *error, size_t error_size);

const char *config_app_name(uint32_t app);
const char *config_mode_name(uint32_t mode);

#endif
