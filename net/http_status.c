#include "net/http_status.h"

#include <stdio.h>
#include <string.h>

#include "lib/assert.h"
#include "lib/json.h"
#include "lwip/apps/fs.h"
#include "lwip/apps/httpd.h"
#include "net/metrics.h"
#include "net/stats.h"

enum {
    ANSWER_COUNT = 4,      /* rendered at the same time */
    ANSWER_HEAD_MAX = 256, /* for the HTTP header in front of the text */
};

/* A rendered answer. httpd copies from it piece by piece until it closes the file. */
struct answer {
    bool used;
    char bytes[ANSWER_HEAD_MAX + STATS_TEXT_MAX];
};

#define HEAD(status, type, length)                                                                 \
    "HTTP/1.1 " status "\r\nServer: Ringlet\r\nContent-Type: " type "\r\nContent-Length: " length  \
    "\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"

/* An answer with a short constant text; the length is written out because it is part of the
 * text. */
struct constant_answer {
    const char *path;
    const char *bytes;
};

static const struct constant_answer constant_answers[] = {
    {"/404.html", HEAD("404 Not Found", "text/plain", "10") "Not found\n"},
    {"/400.html", HEAD("400 Bad Request", "text/plain", "12") "Bad request\n"},
    {"/501.html", HEAD("501 Not Implemented", "text/plain", "16") "Use GET instead\n"},
};

static const char answer_busy[] = HEAD("503 Service Unavailable", "text/plain", "5") "Busy\n";
static const char answer_too_long[] =
    HEAD("500 Internal Server Error", "text/plain", "9") "Too long\n";

struct http_status_counters http_status_counters;

static struct answer answers[ANSWER_COUNT] __attribute__((section(".bss.large.answers")));

/* net/status_page.S: the page with its HTTP header. */
extern const char status_page_start[];
extern const char status_page_end[];

static void http_set_file(struct fs_file *file, const char *bytes, size_t len) {
    file->data = bytes;
    file->len = (int)len;
    file->index = (int)len; /* all of it is in place, nothing to be read later */
    file->flags = FS_FILE_FLAGS_HEADER_INCLUDED;
    file->pextension = NULL;
}

static size_t http_render_json(char *text, size_t size) {
    struct json j;
    json_begin(&j, text, size);
    stats_write(&j, "stats");
    return json_finish(&j);
}

/* Renders into a free answer, with the header right in front of the text. */
static void http_open_rendered(struct fs_file *file, const char *type,
                               size_t (*render)(char *text, size_t size)) {
    struct answer *answer = NULL;
    for (unsigned i = 0; i < ANSWER_COUNT; i++) {
        if (!answers[i].used) {
            answer = &answers[i];
        }
    }
    if (answer == NULL) {
        http_status_counters.busy++;
        http_set_file(file, answer_busy, sizeof(answer_busy) - 1);
        return;
    }
    char *body = answer->bytes + ANSWER_HEAD_MAX;
    char head[ANSWER_HEAD_MAX];
    const size_t len = render(body, STATS_TEXT_MAX);
    if (len == 0) {
        http_set_file(file, answer_too_long, sizeof(answer_too_long) - 1);
        return;
    }
    const int head_len = snprintf(head, sizeof(head), HEAD("200 OK", "%s", "%u"), type,
                                  (unsigned)len);
    ASSERT(head_len > 0 && head_len < ANSWER_HEAD_MAX);
    memcpy(body - head_len, head, (size_t)head_len);
    http_set_file(file, body - head_len, (size_t)head_len + len);
    answer->used = true;
    file->pextension = answer;
}

/* Called by lwIP's httpd. Returns 1 when there is such a file. */
int fs_open_custom(struct fs_file *file, const char *name) {
    if (strcmp(name, "/stats.json") == 0) {
        http_status_counters.requests++;
        http_open_rendered(file, "application/json", http_render_json);
        return 1;
    }
    if (strcmp(name, "/metrics") == 0) {
        http_status_counters.requests++;
        http_open_rendered(file, "text/plain; version=0.0.4", metrics_write);
        return 1;
    }
    if (strcmp(name, "/index.html") == 0 || strcmp(name, "/") == 0) {
        http_status_counters.requests++;
        http_set_file(file, status_page_start, (size_t)(status_page_end - status_page_start));
        return 1;
    }
    for (size_t i = 0; i < ARRAY_SIZE(constant_answers); i++) {
        if (strcmp(name, constant_answers[i].path) == 0) {
            http_status_counters.requests++;
            http_status_counters.not_found += i == 0;
            http_set_file(file, constant_answers[i].bytes, strlen(constant_answers[i].bytes));
            return 1;
        }
    }
    return 0;
}

/* Called by lwIP's httpd when the answer was handed to TCP or its connection is gone. */
void fs_close_custom(struct fs_file *file) {
    struct answer *answer = file->pextension;
    if (answer != NULL) {
        answer->used = false;
        file->pextension = NULL;
    }
}

void http_status_start(void) {
    httpd_init();
}
