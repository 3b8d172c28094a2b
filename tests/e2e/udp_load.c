/* Load and round trip times over a UDP echo service.
 *
 * Open loop (rate=N): datagram n leaves n/N seconds after the start, whatever has come back, so a
 * slow guest is not spared. One that leaves late leaves as soon as it can, and is counted.
 * Closed loop (rate=0): as many datagrams as the window allows are on their way; window=1 is
 * ping-pong.
 *
 * Each datagram carries its number and the time when it was sent, then bytes of a pattern that
 * depends on both. Every byte of an answer is checked, and the time compared with a note of our
 * own, so that only a datagram that was sent, and has no answer yet, can be received. A round trip time
 * goes from the call that sends to the return of the one that receives; the datagrams of one call
 * share a time. Each that was sent ends as received or lost: sent = received + lost. */
#include "lib/histogram.h"
#include "lib/pattern.h"
#include "tests/e2e/load_tool.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/sched/types.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    BATCH = 32,             /* datagrams in one system call */
    TABLE_LEN = 1 << 20,    /* outstanding ones; at most rate * timeout_ms, see load_options */
    SIZE_MAX_UDP = 65507,
    SOCKET_BUFFER = 4 << 20,
    TURN_NS = 100000,       /* of the scheduler, its minimum */
    LATE_NS = 50000,        /* a datagram that leaves more than this after its time is late */
};

struct header { uint64_t number, sent_ns; };

struct options {
    const char *address;
    uint32_t port, size, rate, window, seconds, timeout_ms, sleep;
};

struct batch {
    struct mmsghdr messages[BATCH];
    struct iovec vectors[BATCH];
};

struct load {
    struct options options;
    int fd;
    uint64_t start_ns, end_ns, now_ns;
    uint64_t next;     /* number of the datagram to send next: so many were sent */
    uint64_t oldest;   /* all before this one were answered or given up */
    uint64_t open;     /* sent, neither answered nor given up */
    uint64_t *sent_ns; /* of number % TABLE_LEN; 0: not open */
    uint64_t in_time;  /* answers that came before the end of the sending */
    uint64_t lost, corrupt, stale, refused;
    uint64_t late, late_max_ns;
    struct histogram rtt_ns; /* of each that was received */
    struct batch out, in;
};

const char load_name[] = "udp_load";

/* ---- Options ---- */

static const char usage[] =
    "usage: udp_load ADDRESS [key=value ...]\n"
    "  port=7            of the echo service\n"
    "  size=64           bytes of data in a datagram, 16 to 65507\n"
    "  rate=0            datagrams per second, at most 1000000; 0: as fast as the window allows\n"
    "  window=64         of rate=0: datagrams on their way, 1 to 65536\n"
    "  seconds=3         how long to send\n"
    "  timeout_ms=500    a datagram without an answer for so long is lost, 1 to 1000\n"
    "  sleep=0           1: sleeps until an answer comes or a datagram is due, to leave the\n"
    "                    processor to others; 0: never sleeps\n";

static void load_options(struct options *o, int argc, char **argv) {
    /* rate times timeout_ms stays below TABLE_LEN. */
    const struct load_option numbers[] = {
        {"port", &o->port, 7, 1, 65535},
        {"size", &o->size, 64, sizeof(struct header), SIZE_MAX_UDP},
        {"rate", &o->rate, 0, 0, 1000000},
        {"window", &o->window, 0, 1, 65536},
        {"seconds", &o->seconds, 3, 1, 3600},
        {"timeout_ms", &o->timeout_ms, 500, 1, 1000},
        {"sleep", &o->sleep, 0, 0, 1},
    };
    load_parse(numbers, ARRAY_SIZE(numbers), argc, argv, usage);
    o->address = argv[1];
    if (o->rate != 0 && o->window != 0) {
        load_fail("window= is for rate=0: an open loop has no window");
    }
    o->window = o->rate == 0 && o->window == 0 ? 64 : o->window;
}

/* ---- Set-up ---- */

/* From Linux 6.12 on a process of short turns, when it wakes up, need not wait for the end of the
 * turn of one that never sleeps. Earlier ones do not care. */
static void ask_for_short_turns(void) {
    struct sched_attr attributes = {0};
    if (syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0) == 0) {
        attributes.sched_runtime = TURN_NS;
        syscall(SYS_sched_setattr, 0, &attributes, 0);
    }
}

static int load_connect(const struct options *o) {
    const int fd = load_connect_to(o->address, o->port,
                                   SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC);
    /* So much as is allowed: answers that come while we do not run must not be lost here. */
    const int bytes = SOCKET_BUFFER;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    }
    return fd;
}

static void batch_init(struct batch *batch, size_t stride) {
    uint8_t *bytes = load_allocate(BATCH, stride);
    for (unsigned i = 0; i < BATCH; i++) {
        batch->vectors[i] = (struct iovec){bytes + i * stride, stride};
        batch->messages[i].msg_hdr.msg_iov = &batch->vectors[i];
        batch->messages[i].msg_hdr.msg_iovlen = 1;
    }
}

static void load_init(struct load *l) {
    l->fd = load_connect(&l->options);
    l->sent_ns = load_allocate(TABLE_LEN, sizeof(l->sent_ns[0]));
    batch_init(&l->out, l->options.size);
    batch_init(&l->in, l->options.size + 1); /* an answer that is too long shows */
    if (l->options.sleep) {
        prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
        ask_for_short_turns();
    }
    memset(l->sent_ns, 0, TABLE_LEN * sizeof(l->sent_ns[0])); /* no page faults while it measures */
    l->now_ns = l->start_ns = load_clock_ns();
    l->end_ns = l->start_ns + l->options.seconds * NS_PER_S;
}

/* ---- Sending ---- */

static uint64_t due_ns(const struct load *l, uint64_t number) {
    return l->start_ns + number * NS_PER_S / l->options.rate;
}

/* How many datagrams should leave now. */
static unsigned load_due(const struct load *l) {
    uint64_t due = l->options.window - l->open;
    if (l->options.rate != 0) {
        due = max_u64((l->now_ns - l->start_ns) * l->options.rate / NS_PER_S + 1, l->next) - l->next;
    }
    const uint64_t room = TABLE_LEN - (l->next - l->oldest);
    return (unsigned)min_u64(min_u64(due, room), BATCH);
}

static void note_sent(struct load *l, uint64_t number) {
    l->sent_ns[number % TABLE_LEN] = l->now_ns;
    if (l->options.rate != 0) {
        const uint64_t late_ns = l->now_ns - due_ns(l, number);
        l->late += late_ns > LATE_NS;
        l->late_max_ns = max_u64(l->late_max_ns, late_ns);
    }
}

static void load_send(struct load *l, unsigned count) {
    const size_t body_len = l->options.size - sizeof(struct header);
    l->now_ns = load_clock_ns();
    for (unsigned i = 0; i < count; i++) {
        const struct header header = {l->next + i, l->now_ns};
        uint8_t *datagram = l->out.vectors[i].iov_base;
        memcpy(datagram, &header, sizeof(header));
        pattern_write(header.sent_ns, header.number, datagram + sizeof(header), body_len);
    }
    int sent = sendmmsg(l->fd, l->out.messages, count, 0);
    if (sent < 0) {
        /* Refused: an earlier datagram met a closed port, and the socket says so now. */
        if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS && errno != ECONNREFUSED) {
            load_fail("send: %s", strerror(errno));
        }
        l->refused += errno == ECONNREFUSED;
        sent = 0;
    }
    for (int i = 0; i < sent; i++) {
        note_sent(l, l->next + (unsigned)i);
    }
    l->next += (unsigned)sent;
    l->open += (unsigned)sent;
}

/* ---- Receiving ---- */

static void load_judge(struct load *l, const uint8_t *answer, size_t length) {
    struct header header;
    memcpy(&header, answer, sizeof(header)); /* the buffer is never shorter */
    if (length != l->options.size || header.number >= l->next ||
        !pattern_matches(header.sent_ns, header.number, 0, answer + sizeof(header),
                         length - sizeof(header))) {
        l->corrupt++;
        return;
    }
    uint64_t *sent_ns = &l->sent_ns[header.number % TABLE_LEN];
    if (header.number < l->oldest || *sent_ns == 0) {
        l->stale++; /* a second answer, or one after it was given up */
    } else if (*sent_ns != header.sent_ns) {
        l->corrupt++;
    } else {
        histogram_add(&l->rtt_ns, l->now_ns - header.sent_ns);
        l->in_time += l->now_ns <= l->end_ns;
        l->open--;
        *sent_ns = 0;
    }
}

static unsigned load_receive(struct load *l) {
    const int count = recvmmsg(l->fd, l->in.messages, BATCH, MSG_DONTWAIT, NULL);
    l->now_ns = load_clock_ns();
    if (count < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNREFUSED) {
            load_fail("receive: %s", strerror(errno));
        }
        l->refused += errno == ECONNREFUSED;
        return 0;
    }
    for (int i = 0; i < count; i++) {
        load_judge(l, l->in.vectors[i].iov_base, l->in.messages[i].msg_len);
    }
    return (unsigned)count;
}

/* Gives up those that have waited too long, and moves on over those that are done. */
static void load_expire(struct load *l) {
    const uint64_t timeout_ns = l->options.timeout_ms * (NS_PER_S / 1000);
    for (; l->oldest < l->next; l->oldest++) {
        uint64_t *sent_ns = &l->sent_ns[l->oldest % TABLE_LEN];
        if (*sent_ns == 0) {
            continue;
        }
        if (l->now_ns - *sent_ns <= timeout_ns) {
            break;
        }
        *sent_ns = 0;
        l->lost++;
        l->open--;
    }
}

/* ---- A run ---- */

static void load_sleep(struct load *l, uint64_t until_ns) {
    struct pollfd poll_fd = {.fd = l->fd, .events = POLLIN};
    if (until_ns > l->now_ns) {
        const uint64_t left_ns = until_ns - l->now_ns;
        const struct timespec left = {(time_t)(left_ns / NS_PER_S), (long)(left_ns % NS_PER_S)};
        ppoll(&poll_fd, 1, &left, NULL);
    }
    l->now_ns = load_clock_ns();
}

static void load_run(struct load *l) {
    const uint64_t timeout_ns = l->options.timeout_ms * (NS_PER_S / 1000);
    while (l->now_ns < l->end_ns || l->open > 0) {
        const bool sending = l->now_ns < l->end_ns;
        const unsigned due = sending ? load_due(l) : 0;
        if (due > 0) {
            load_send(l, due);
        }
        const unsigned came = load_receive(l);
        load_expire(l);
        if (l->options.sleep && due == 0 && came == 0) {
            uint64_t until_ns = sending && l->options.rate != 0 ? due_ns(l, l->next) : UINT64_MAX;
            const uint64_t give_up_ns = l->open > 0 ? l->now_ns + timeout_ns : l->end_ns;
            load_sleep(l, min_u64(until_ns, give_up_ns));
        }
    }
}

static void load_print(const struct load *l) {
    const struct options *o = &l->options;
    const struct histogram *rtt = &l->rtt_ns;
    const uint64_t planned = (uint64_t)o->rate * o->seconds;
    printf("{\"event\":\"udp_load\",");
    load_print_u64("size", o->size);
    load_print_u64("rate", o->rate);
    load_print_u64("window", o->window);
    load_print_u64("seconds", o->seconds);
    load_print_u64("sent", l->next);
    load_print_u64("received", rtt->count);
    load_print_u64("lost", l->lost);
    load_print_u64("stale", l->stale);
    load_print_u64("refused", l->refused);
    load_print_u64("unsent", planned > l->next ? planned - l->next : 0);
    load_print_u64("late", l->late);
    load_print_us("late_max_us", l->late_max_ns);
    load_print_u64("received_pps", l->in_time / o->seconds);
    load_print_u64("elapsed_us", (l->now_ns - l->start_ns) / 1000);
    load_print_cpu();
    load_print_rtt(rtt);
    printf("\"corrupt\":%" PRIu64 "}\n", l->corrupt);
}

int main(int argc, char **argv) {
    static struct load load;
    load_options(&load.options, argc, argv);
    load_init(&load);
    load_run(&load);
    load_print(&load);
    return load.rtt_ns.count > 0 ? 0 : 1;
}
