/* Human lines on the console. Machine lines are made with lib/json.h.
 *
 * `log_info("vq rx: size=%u", n)`: module, object, key=value. A line longer than LOG_LINE_MAX is cut.
 * Hot paths have counters, not logs. */
#ifndef LIB_LOG_H
#define LIB_LOG_H

#include "lib/util.h"

#ifdef LOG_HEADER
#include LOG_HEADER
#else

enum { LOG_LINE_MAX = 320 };

/* The console: write() takes bytes and may buffer them, poll() sends a few of the buffered ones
 * and says whether there are more, flush() sends all. */
struct log_sink {
    void (*write)(const char *bytes, size_t count);
    bool (*poll)(void);
    void (*flush)(void);
};

/* Set once at start; until then output is dropped. */
void log_set_sink(const struct log_sink *sink);

/* Moves buffered output on; for poll loops, cheap when there is none. True while there is more: a
 * caller that wants to sleep does so only after false. */
bool log_poll(void);

/* Waits until everything is out; before the guest ends. */
void log_flush(void);

/* Raw bytes to the console. */
void log_bytes(const char *bytes, size_t count);

void log_info(const char *format, ...) PRINTF_LIKE(1, 2);
void log_error(const char *format, ...) PRINTF_LIKE(1, 2);

#endif
#endif
