/* The mode http of tcp_load: a new connection for each page. The status has to be 200, the length that of the
 * header, and the body the same each time. A round trip goes from connect to the end of the answer. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/e2e/tcp_load.h"

enum { ANSWER_MAX = 128 * 1024 };

struct fetch {
    int fd; /* -1: none under way */
    bool asked;
    uint64_t started_ns;
    size_t len;
    char answer[ANSWER_MAX + 1]; /* with a NUL */
};

static const char request[] = "GET / HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n\r\n";
static const char status_line[] = "HTTP/1.1 200 ";
static const char length_name[] = "\r\nContent-Length: ";

static char first_body[ANSWER_MAX];
static size_t first_len;
static bool have_first;

/* What comes later is compared with the first body. */
static bool is_same_body(const char *body, size_t len) {
    if (!have_first) {
        have_first = true;
        first_len = len;
        memcpy(first_body, body, len);
    }
    return len == first_len && memcmp(body, first_body, len) == 0;
}

static bool is_right(struct fetch *f, const struct load *l) {
    f->answer[f->len] = '\0';
    const char *end = strstr(f->answer, "\r\n\r\n");
    const char *length = strstr(f->answer, length_name);
    if (strncmp(f->answer, status_line, sizeof(status_line) - 1) != 0 || end == NULL ||
        length == NULL || length > end) {
        return false;
    }
    const char *body = end + 4;
    const size_t body_len = f->len - (size_t)(body - f->answer);
    return strtoul(length + sizeof(length_name) - 1, NULL, 10) == body_len &&
           (l->options.length == 0 || l->options.length == body_len) && is_same_body(body, body_len);
}

/* why: NULL for an answer that was right. */
static void fetch_end(struct fetch *f, struct load *l, uint64_t *why) {
    if (why == NULL) {
        histogram_add(&l->rtt_ns, l->now_ns - f->started_ns);
        l->received++;
        l->in_time += !load_over(l);
    } else {
        (*why)++;
        l->lost++;
    }
    close(f->fd);
    f->fd = -1;
}

static void fetch_start(struct fetch *f, struct load *l) {
    f->started_ns = load_clock_ns();
    f->fd = load_connect_to(l->options.address, l->options.port,
                            SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC);
    f->asked = false;
    f->len = 0;
    l->sent++;
}

/* Fails with EAGAIN until there is a connection. */
static bool fetch_ask(struct fetch *f) {
    const ssize_t count = send(f->fd, request, sizeof(request) - 1, MSG_NOSIGNAL);
    f->asked = count == (ssize_t)sizeof(request) - 1; /* a new connection has room for all of it */
    return count >= 0;
}

static void fetch_step(struct fetch *f, struct load *l) {
    ssize_t count = -1;
    if (f->asked || fetch_ask(f)) {
        count = recv(f->fd, f->answer + f->len, ANSWER_MAX - f->len, 0);
    }
    const int error = errno;
    l->now_ns = load_clock_ns();
    if (count > 0) {
        f->len += (size_t)count;
    }
    if (count == 0) {
        fetch_end(f, l, is_right(f, l) ? NULL : &l->corrupt);
    } else if (f->len == ANSWER_MAX) {
        fetch_end(f, l, &l->corrupt); /* without an end */
    } else if (count < 0 && error != EAGAIN && error != EINTR) {
        fetch_end(f, l, &l->resets);
    } else if (l->now_ns - f->started_ns > l->options.timeout_ms * (NS_PER_S / 1000)) {
        fetch_end(f, l, &l->timeouts);
    }
}

void load_http(struct load *l) {
    static struct fetch fetches[CONNECTIONS_MAX];
    const unsigned count = l->options.connections;
    for (unsigned i = 0; i < CONNECTIONS_MAX; i++) {
        fetches[i].fd = -1;
    }
    load_start(l);
    for (bool busy = true; busy;) {
        busy = false;
        l->now_ns = load_clock_ns();
        for (unsigned i = 0; i < count; i++) {
            struct fetch *f = &fetches[i];
            if (f->fd < 0 && !load_over(l)) {
                fetch_start(f, l);
            }
            if (f->fd >= 0) {
                fetch_step(f, l);
                busy = true;
            }
        }
        busy |= !load_over(l);
    }
}
