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

/* Where bytes go. Set once at start; until then output is dropped. */
void log_set_sink(void (*write)(const char *bytes, size_t count));

/* Raw bytes to the console. */
void log_bytes(const char *bytes, size_t count);

void log_info(const char *format, ...) PRINTF_LIKE(1, 2);
void log_error(const char *format, ...) PRINTF_LIKE(1, 2);

#endif
#endif
