/* The modes of tcp_load whose connections last for the whole run: echo, up, down and through.
 *
 * What goes and comes are bytes of one long period, each connection beginning at another place. Requests
 * are pieces of it, one behind the other, so echo is through with an end to what may be outstanding.
 * Invariant: received <= sent where what comes is an echo, and sent - received <= depth * size in echo. */
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/pattern.h"
#include "tests/e2e/tcp_load.h"

enum {
    CHUNK = 256 * 1024, /* in one system call, at most */
    PERIOD = 1 << 20,   /* of our own bytes; a slip by all of it would not show */
    PHASE = 8200,       /* between the places where connections begin */
    CHARGEN_CHARS = 95,
    CHARGEN_TEXT = 72,
    CHARGEN_LINE = CHARGEN_TEXT + 2,
    CHARGEN_PERIOD = CHARGEN_CHARS * CHARGEN_LINE,
};

struct stream {
    int fd; /* -1: ended */
    uint64_t phase, sent, received, heard_ns;
    uint64_t *sent_ns; /* echo: of request number % depth */
};

static uint8_t expected[PERIOD + CHUNK]; /* any chunk lies in one run */
static uint64_t period;
static uint8_t input[CHUNK];

static void expect_own(void) {
    period = PERIOD;
    pattern_write(0, 0, expected, PERIOD);
    memcpy(expected + PERIOD, expected, CHUNK);
}

static void expect_chargen(void) {
    period = CHARGEN_PERIOD;
    for (size_t i = 0; i < sizeof(expected); i++) {
        const size_t line = i / CHARGEN_LINE, column = i % CHARGEN_LINE;
        expected[i] = (uint8_t)(column < CHARGEN_TEXT ? ' ' + (line + column) % CHARGEN_CHARS
                                                      : (size_t)"\r\n"[column - CHARGEN_TEXT]);
    }
}

static bool is_echo(const struct load *l) {
    return l->options.mode == MODE_ECHO;
}

static bool sends(const struct load *l) {
    return l->options.mode != MODE_DOWN;
}

static bool receives(const struct load *l) {
    return l->options.mode != MODE_UP;
}

/* ---- Connections ---- */

static void stream_open(struct stream *s, const struct load *l, unsigned number) {
    const struct load_options *o = &l->options;
    const int one = 1;
    s->fd = load_connect_to(o->address, o->port, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC);
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    s->phase = o->mode == MODE_DOWN ? 0 : (uint64_t)number * PHASE % PERIOD;
    s->sent_ns = load_allocate(o->depth, sizeof(s->sent_ns[0]));
}

/* Connections are made before the clock starts. */
static void stream_wait_connected(struct stream *s, struct load *l) {
    struct pollfd poll_fd = {.fd = s->fd, .events = POLLOUT};
    int error = 0;
    socklen_t length = sizeof(error);
    if (poll(&poll_fd, 1, (int)l->options.timeout_ms) == 1 &&
        getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == 0) {
        return;
    }
    *(error != 0 ? &l->resets : &l->timeouts) += 1;
    close(s->fd);
    s->fd = -1;
}

/* Bytes still in our own buffers have not moved. */
static void count_acknowledged(const struct stream *s, struct load *l) {
    int queued = 0;
    if (ioctl(s->fd, SIOCOUTQ, &queued) == 0) {
        l->bytes += s->sent - min_u64(s->sent, (uint64_t)queued);
    }
}

/* Its requests without an answer are lost. */
static void stream_end(struct stream *s, struct load *l, uint64_t *why) {
    if (why != NULL) {
        (*why)++;
    }
    if (is_echo(l)) {
        const uint64_t size = l->options.size;
        l->lost += (s->sent + size - 1) / size - s->received / size;
    }
    if (!receives(l)) {
        count_acknowledged(s, l);
    }
    close(s->fd);
    s->fd = -1;
}

/* ---- Data ---- */

/* How far it may send now: a request that was begun is sent to its end. */
static uint64_t stream_goal(const struct stream *s, const struct load *l) {
    const uint64_t size = l->options.size;
    if (!is_echo(l)) {
        return load_over(l) ? s->sent : s->sent + CHUNK;
    }
    return load_over(l) ? (s->sent + size - 1) / size * size
                        : (s->received / size + l->options.depth) * size;
}

static void note_requests(struct stream *s, struct load *l, uint64_t sent_ns, uint64_t count) {
    const uint64_t size = l->options.size;
    const uint64_t first = (s->sent + size - 1) / size, end = (s->sent + count + size - 1) / size;
    for (uint64_t request = first; request < end; request++) {
        s->sent_ns[request % l->options.depth] = sent_ns;
    }
    l->sent += end - first;
}

static void stream_send(struct stream *s, struct load *l) {
    const uint64_t due = min_u64(stream_goal(s, l) - s->sent, CHUNK);
    if (due == 0) {
        return;
    }
    const uint64_t before_ns = load_clock_ns();
    const ssize_t count = send(s->fd, expected + (s->phase + s->sent) % period, due, MSG_NOSIGNAL);
    if (count < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            stream_end(s, l, &l->resets);
        }
        return;
    }
    if (is_echo(l)) {
        note_requests(s, l, before_ns, (uint64_t)count);
    }
    s->sent += (uint64_t)count;
    if (!receives(l) && count > 0) {
        s->heard_ns = before_ns; /* it takes bytes */
    }
}

static bool is_right(const struct stream *s, const struct load *l, uint64_t count) {
    if (sends(l) && count > s->sent - s->received) {
        return false; /* more than there is to answer */
    }
    return memcmp(input, expected + (s->phase + s->received) % period, count) == 0;
}

static void note_answers(struct stream *s, struct load *l, uint64_t count) {
    const uint64_t size = l->options.size;
    for (uint64_t request = s->received / size; request < (s->received + count) / size; request++) {
        histogram_add(&l->rtt_ns, l->now_ns - s->sent_ns[request % l->options.depth]);
        l->received++;
        l->in_time += !load_over(l);
    }
}

/* Where nothing has to come this only notices the end of the connection. */
static void stream_receive(struct stream *s, struct load *l) {
    const ssize_t count = recv(s->fd, input, CHUNK, 0);
    l->now_ns = load_clock_ns();
    if (count < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            stream_end(s, l, &l->resets);
        } else if (l->now_ns - s->heard_ns > l->options.timeout_ms * (NS_PER_S / 1000)) {
            stream_end(s, l, &l->timeouts);
        }
        return;
    }
    if (count == 0) {
        stream_end(s, l, &l->resets);
        return;
    }
    if (!receives(l) || !is_right(s, l, (uint64_t)count)) {
        stream_end(s, l, &l->corrupt);
        return;
    }
    if (is_echo(l)) {
        note_answers(s, l, (uint64_t)count);
    } else {
        l->bytes += (uint64_t)count;
    }
    s->received += (uint64_t)count;
    s->heard_ns = l->now_ns;
}

/* ---- A run ---- */

/* Whether it still has to do. */
static bool stream_step(struct stream *s, struct load *l) {
    if (s->fd >= 0 && sends(l)) {
        stream_send(s, l);
    }
    if (s->fd >= 0) {
        stream_receive(s, l);
    }
    return s->fd >= 0 && (!load_over(l) || (is_echo(l) && s->received < s->sent));
}

void load_streams(struct load *l) {
    static struct stream streams[CONNECTIONS_MAX];
    const unsigned count = l->options.connections;
    if (l->options.mode == MODE_DOWN) {
        expect_chargen();
    } else {
        expect_own();
    }
    for (unsigned i = 0; i < count; i++) {
        stream_open(&streams[i], l, i);
    }
    for (unsigned i = 0; i < count; i++) {
        stream_wait_connected(&streams[i], l);
    }
    load_start(l);
    for (unsigned i = 0; i < count; i++) {
        streams[i].heard_ns = l->start_ns;
    }
    for (bool busy = true; busy;) {
        busy = false;
        for (unsigned i = 0; i < count; i++) {
            busy |= stream_step(&streams[i], l);
        }
    }
    for (unsigned i = 0; i < count; i++) {
        if (streams[i].fd >= 0) {
            stream_end(&streams[i], l, NULL);
        }
    }
}
