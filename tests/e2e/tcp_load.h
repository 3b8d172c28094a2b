/* What the parts of tcp_load share: options and what was counted. */
#ifndef TESTS_E2E_TCP_LOAD_H
#define TESTS_E2E_TCP_LOAD_H

#include "tests/e2e/load_tool.h"

enum { CONNECTIONS_MAX = 64 };

enum load_mode { MODE_ECHO, MODE_UP, MODE_DOWN, MODE_THROUGH, MODE_HTTP };

struct load_options {
    enum load_mode mode;
    const char *address;
    uint32_t port, size, connections, depth, seconds, timeout_ms, length;
};

struct load {
    struct load_options options;
    uint64_t start_ns, end_ns, now_ns;
    /* Requests: each ends as received or lost. Only echo and http have any. */
    uint64_t sent, received, lost;
    uint64_t in_time; /* received before the end of the sending */
    uint64_t bytes;   /* up: acknowledged; down, through: received and right */
    /* Connections that ended because of wrong bytes, because the other side ended them, and because nothing
     * came for timeout_ms. */
    uint64_t corrupt, resets, timeouts;
    struct histogram rtt_ns; /* of each that was received */
};

/* Starts the clock: loads call it when they are connected. */
void load_start(struct load *l);
/* Whether the time for new requests is over. */
bool load_over(const struct load *l);

/* The whole run of a mode; what it did is counted in l. */
void load_streams(struct load *l);
void load_http(struct load *l);

#endif
