/* Everything that Ringlet counts, as one JSON object: the `stats` and `result` lines and
 * /stats.json are the same object. net/metrics.c writes the same tables for Prometheus. */
#ifndef NET_STATS_H
#define NET_STATS_H

#include "lib/json.h"
#include "lib/util.h"

/* A number of the workload or of the protocol stack. */
struct stats_item {
    const char *name; /* unit last */
    const char *help;
    uint64_t (*read)(const void *source);
    const void *source;
    bool gauge; /* goes down too */
};

struct stats_group {
    const char *name;
    const struct stats_item *items;
    size_t count;
    void (*write)(struct json *j); /* adds what is no single number; NULL: there is nothing */
};

/* Reads a counter of 64 bits. */
uint64_t stats_read_u64(const void *source);

/* Names the workload and its numbers. Call once, before any other function here. */
void stats_set_app(const struct stats_group *app);

const struct stats_group *stats_app(void);

/* Numbers of the protocol stack. */
const struct stats_group *stats_stack(void);

/* Writes the items into the open object. */
void stats_write_items(struct json *j, const struct stats_item *items, size_t count);

/* From now on the workload runs: certified_polled speaks of the time since. */
void stats_begin(void);

/* Writes the object. event: "stats" or "result". */
void stats_write(struct json *j, const char *event);

/* Writes the object as a line on the console. */
void stats_print(const char *event);

/* Upper bound for the text of the object, and for that of the metrics: eight NICs whose counters
 * have all digits. */
enum { STATS_TEXT_MAX = 64 * 1024 };

#endif
