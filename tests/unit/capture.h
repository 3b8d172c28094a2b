/* Keeps what the code under test prints, for tests that want a clear error. */
#ifndef TESTS_UNIT_CAPTURE_H
#define TESTS_UNIT_CAPTURE_H

#include "tests/unit/unit.h"

#include "lib/log.h"

#include <string.h>

static char capture_text[8192];
static size_t capture_len;

static void capture_write(const char *bytes, size_t count) {
    if (capture_len + count >= sizeof(capture_text)) {
        capture_len = 0; /* only the last lines matter */
    }
    memcpy(capture_text + capture_len, bytes, count);
    capture_len += count;
    capture_text[capture_len] = '\0';
}

static inline void capture_begin(void) {
    static const struct log_sink sink = {.write = capture_write};
    capture_len = 0;
    capture_text[0] = '\0';
    log_set_sink(&sink);
}

/* One line starts with "error: " and holds `words`. */
static inline void expect_logged(const char *words) {
    const char *error = strstr(capture_text, "error: ");
    if (error == NULL || strstr(error, words) == NULL) {
        fail_msg("no error line with '%s', but: %s", words, capture_text);
    }
}

static inline void expect_no_error(void) {
    if (strstr(capture_text, "error: ") != NULL) {
        fail_msg("%s", capture_text);
    }
}

#endif
