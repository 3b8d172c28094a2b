#include "lib/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct log_sink *log_sink;

void log_set_sink(const struct log_sink *sink) {
    log_sink = sink;
}

void log_bytes(const char *bytes, size_t count) {
    if (log_sink != NULL) {
        log_sink->write(bytes, count);
    }
}

bool log_poll(void) {
    return log_sink != NULL && log_sink->poll();
}

void log_flush(void) {
    if (log_sink != NULL) {
        log_sink->flush();
    }
}

static void PRINTF_LIKE(2, 0) log_line(const char *prefix, const char *format, va_list args) {
    char line[LOG_LINE_MAX];
    const size_t room = sizeof(line) - 1; /* one byte stays for the newline */
    size_t used = strlen(prefix);
    memcpy(line, prefix, used);
    int wanted = vsnprintf(line + used, room - used, format, args);
    if (wanted > 0) {
        used += min_u64((uint64_t)wanted, room - used - 1);
    }
    line[used++] = '\n';
    log_bytes(line, used);
}

void log_info(const char *format, ...) {
    va_list args;
    va_start(args, format);
    log_line("", format, args);
    va_end(args);
}

void log_error(const char *format, ...) {
    va_list args;
    va_start(args, format);
    log_line("error: ", format, args);
    va_end(args);
}
