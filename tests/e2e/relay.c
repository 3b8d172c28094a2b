/* Carries frames between two taps, and loses, repeats, swaps and delays some of them on the way.
 *
 *   guest - QEMU - guest's tap = packet socket - relay - file of the host's tap = host's network
 *
 * It holds the host's tap as a hypervisor would, and sits at the kernel's end of the guest's with a packet
 * socket. On both sides each frame has a virtio header of 10 bytes, the size that a packet socket knows, so
 * packets whose checksum or segmentation is left to the other side go through as they are: one that stands
 * for many segments is lost, or comes twice, with all of them. offload=0 has the host send segments one by
 * one. VLAN tags do not go through: the kernel takes them out of what a packet socket receives.
 *
 * Faults are set for each direction, "to" the guest and "from" it, by words on the command line or in lines
 * on stdin. They are drawn frame by frame from a seeded sequence. Delayed frames keep their order; a
 * swapped one waits until the next has gone, at most SWAP_NS. What is late waits in a bounded queue. */
#include "lib/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    FRAME_MAX = sizeof(struct virtio_net_hdr) + 14 + 65535,
    QUEUE_MAX = 4096,         /* frames that wait, in each direction */
    BURST = 64,               /* frames read before others are looked after */
    SOCKET_BUFFER = 16 << 20,
    LINE_LEN_MAX = 256,
    PPM = 1000000, /* also the longest delay, in microseconds */
};
#define NS_PER_S UINT64_C(1000000000)
#define SWAP_NS UINT64_C(5000000)
#ifndef TUN_F_USO4 /* Linux 6.2 */
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

struct frame {
    uint64_t due_ns;
    size_t len; /* with the virtio header */
    uint8_t data[];
};

/* One way. */
struct direction {
    const char *name;
    int in, out;
    uint32_t loss, dup, swap; /* of PPM frames */
    uint32_t delay_us, jitter_us;
    struct frame *queue[QUEUE_MAX]; /* a ring, in the order of due_ns */
    unsigned first, waiting;
    bool blocked;       /* `out` takes no more at the moment */
    struct frame *held; /* the one that the next is to overtake */
    uint64_t last_due_ns;
    uint64_t frames, bytes, gso_frames, csum_frames; /* received; bytes without the virtio header */
    uint64_t sent, lost, duplicated, swapped;
    uint64_t overflows; /* no room in the queue */
    uint64_t refused;   /* by the kernel, on the way in or out */
    uint64_t overruns;  /* not read in time from the packet socket */
};

static struct direction to = {.name = "to"}, from = {.name = "from"};
static uint64_t random_state = 1;
static volatile sig_atomic_t ended;

static void PRINTF_LIKE(1, 2) __attribute__((noreturn)) fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("relay: ", stderr);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(2);
}

static uint64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* From 0 to limit - 1; the upper half of a linear congruential generator (Knuth, MMIX). */
static uint32_t random_below(uint32_t limit) {
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((random_state >> 32) * limit >> 32);
}

/* ---- Options ---- */

static const char usage[] =
    "usage: relay GUEST-TAP HOST-TAP [word ...]\n"
    "Words, also in lines on stdin; to. is the way to the guest, from. the one from it:\n"
    "  to.loss=0 from.loss=0     lost, of a million frames\n"
    "  to.dup=0 from.dup=0       repeated, of a million frames\n"
    "  to.swap=0 from.swap=0     overtaken by the next one, of a million frames\n"
    "  to.delay_us=0 ...         later by so much, at most 1000000\n"
    "  to.jitter_us=0 ...        and by up to so much more, at most 1000000\n"
    "  seed=1                    of the sequence that decides, 0 to 1000000\n"
    "  offload=1                 0: the host cuts segments and makes checksums itself\n"
    "  stats                     on stdin: prints the counters so far\n"
    "The first line on stdout is {\"event\":\"ready\"}. At the end of stdin, or at SIGTERM, it prints its\n"
    "counters and ends.\n";

/* USO, which older kernels do not have, goes for both versions of IP or for none. */
static void set_offload(bool on) {
    const unsigned long tso = on ? TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN : 0;
    const unsigned long uso = on ? TUN_F_USO4 | TUN_F_USO6 : 0;
    if (ioctl(to.in, TUNSETOFFLOAD, tso | uso) != 0 && ioctl(to.in, TUNSETOFFLOAD, tso) != 0) {
        fail("TUNSETOFFLOAD: %s", strerror(errno));
    }
}

static void take_word(const char *word) {
    uint32_t offload = 1, seed = 1;
    const struct {
        const char *name;
        uint32_t *field;
    } words[] = {
        {"to.loss=", &to.loss},           {"from.loss=", &from.loss},
        {"to.dup=", &to.dup},             {"from.dup=", &from.dup},
        {"to.swap=", &to.swap},           {"from.swap=", &from.swap},
        {"to.delay_us=", &to.delay_us},   {"from.delay_us=", &from.delay_us},
        {"to.jitter_us=", &to.jitter_us}, {"from.jitter_us=", &from.jitter_us},
        {"seed=", &seed},                 {"offload=", &offload},
    };
    size_t i = 0;
    while (i < ARRAY_SIZE(words) && strncmp(word, words[i].name, strlen(words[i].name)) != 0) {
        i++;
    }
    const char *digits = i < ARRAY_SIZE(words) ? word + strlen(words[i].name) : "";
    char *end;
    const unsigned long value = strtoul(digits, &end, 10);
    if (digits[0] < '0' || digits[0] > '9' || *end != '\0' || value > PPM ||
        (words[i].field == &offload && value > 1)) {
        fail("%s: unknown word or wrong value\n%s", word, usage);
    }
    *words[i].field = (uint32_t)value;
    if (words[i].field == &offload) {
        set_offload(value != 0);
    } else if (words[i].field == &seed) {
        random_state = value;
    }
}

/* ---- Both ends ---- */

static int open_host_tap(const char *name) {
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    const int header_len = sizeof(struct virtio_net_hdr);
    const int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        fail("/dev/net/tun: %s", strerror(errno));
    }
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    if (ioctl(fd, TUNSETIFF, &request) != 0 || ioctl(fd, TUNSETVNETHDRSZ, &header_len) != 0) {
        fail("%s: %s", name, strerror(errno));
    }
    return fd;
}

static int open_guest_tap(const char *name) {
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    const int on = 1, buffer = SOCKET_BUFFER;
    const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    address.sll_ifindex = (int)if_nametoindex(name);
    /* Without PACKET_IGNORE_OUTGOING it would get what the host itself sends to the guest's tap. */
    if (fd < 0 || address.sll_ifindex == 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) != 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer)) != 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        fail("%s: %s", name, strerror(errno));
    }
    return fd;
}

/* ---- Frames ---- */

static void append(struct direction *d, struct frame *frame) {
    if (d->waiting == QUEUE_MAX) {
        d->overflows++;
        free(frame);
        return;
    }
    d->queue[(d->first + d->waiting++) % QUEUE_MAX] = frame;
}

/* A copy in the queue. Frames keep their order: none is due before the last one. */
static struct frame *make_frame(struct direction *d, const uint8_t *data, size_t len, uint64_t now) {
    struct frame *frame = malloc(sizeof(*frame) + len);
    if (frame == NULL) {
        fail("no memory");
    }
    const uint64_t due = now + UINT64_C(1000) * (d->delay_us + random_below(d->jitter_us + 1));
    d->last_due_ns = due > d->last_due_ns ? due : d->last_due_ns;
    frame->due_ns = d->last_due_ns;
    frame->len = len;
    memcpy(frame->data, data, len);
    return frame;
}

static void release_held(struct direction *d, uint64_t due_ns) {
    struct frame *held = d->held;
    d->held = NULL;
    held->due_ns = due_ns;
    append(d, held);
}

/* Decides what becomes of a frame that came in. */
static void take_frame(struct direction *d, const uint8_t *data, size_t len, uint64_t now) {
    struct virtio_net_hdr header;
    memcpy(&header, data, sizeof(header));
    d->frames++;
    d->bytes += len - sizeof(header);
    d->gso_frames += header.gso_type != VIRTIO_NET_HDR_GSO_NONE;
    d->csum_frames += (header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0;
    if (random_below(PPM) < d->loss) {
        d->lost++;
        return;
    }
    if (d->held == NULL && random_below(PPM) < d->swap) {
        d->held = make_frame(d, data, len, now);
        return;
    }
    append(d, make_frame(d, data, len, now));
    if (random_below(PPM) < d->dup) {
        d->duplicated++;
        append(d, make_frame(d, data, len, now));
    }
    if (d->held != NULL) {
        d->swapped++;
        release_held(d, d->last_due_ns);
    }
}

static void receive(struct direction *d, uint64_t now) {
    static uint8_t data[FRAME_MAX];
    for (unsigned i = 0; i < BURST; i++) {
        const ssize_t len = read(d->in, data, sizeof(data));
        if (len < 0 && errno == EAGAIN) {
            return;
        }
        if (len < (ssize_t)sizeof(struct virtio_net_hdr)) {
            d->refused++; /* EINVAL: a kind of packet that its virtio header cannot describe */
            return;
        }
        take_frame(d, data, (size_t)len, now);
    }
}

/* Sends what is due. */
static void send_due(struct direction *d, uint64_t now) {
    if (d->held != NULL && now >= d->held->due_ns + SWAP_NS) {
        release_held(d, d->last_due_ns);
    }
    d->blocked = false;
    while (d->waiting > 0 && d->queue[d->first]->due_ns <= now) {
        struct frame *frame = d->queue[d->first];
        const bool sent = write(d->out, frame->data, frame->len) == (ssize_t)frame->len;
        if (!sent && errno == EAGAIN) {
            d->blocked = true;
            return;
        }
        d->sent += sent;
        d->refused += !sent;
        free(frame);
        d->first = (d->first + 1) % QUEUE_MAX;
        d->waiting--;
    }
}

/* When something is to be done next in that direction, UINT64_MAX: when something comes. */
static uint64_t next_ns(const struct direction *d) {
    const uint64_t sends = d->waiting > 0 && !d->blocked ? d->queue[d->first]->due_ns : UINT64_MAX;
    const uint64_t swaps = d->held != NULL ? d->held->due_ns + SWAP_NS : UINT64_MAX;
    return sends < swaps ? sends : swaps;
}

/* ---- Results ---- */

static void print_direction(const struct direction *d) {
    printf(",\"%s\":{\"frames\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"gso_frames\":%" PRIu64,
           d->name, d->frames, d->bytes, d->gso_frames);
    printf(",\"csum_frames\":%" PRIu64 ",\"sent\":%" PRIu64 ",\"lost\":%" PRIu64,
           d->csum_frames, d->sent, d->lost);
    printf(",\"duplicated\":%" PRIu64 ",\"swapped\":%" PRIu64 ",\"overflows\":%" PRIu64,
           d->duplicated, d->swapped, d->overflows);
    printf(",\"refused\":%" PRIu64 ",\"overruns\":%" PRIu64 "}", d->refused, d->overruns);
}

static void print_counts(void) {
    struct tpacket_stats stats; /* since it was last asked for */
    socklen_t len = sizeof(stats);
    if (getsockopt(from.in, SOL_PACKET, PACKET_STATISTICS, &stats, &len) != 0) {
        fail("PACKET_STATISTICS: %s", strerror(errno));
    }
    from.overruns += stats.tp_drops;
    fputs("{\"event\":\"relay\"", stdout);
    print_direction(&to);
    print_direction(&from);
    puts("}");
    fflush(stdout);
}

/* Obeys whole lines on stdin; false at its end. */
static bool take_lines(void) {
    static char text[LINE_LEN_MAX];
    static size_t len;
    const ssize_t got = read(STDIN_FILENO, text + len, sizeof(text) - len);
    if (got <= 0) {
        return false;
    }
    len += (size_t)got;
    char *end;
    while ((end = memchr(text, '\n', len)) != NULL) {
        *end = '\0';
        if (strcmp(text, "stats") == 0) {
            print_counts();
        } else {
            take_word(text);
        }
        len -= (size_t)(end + 1 - text);
        memmove(text, end + 1, len);
    }
    if (len == sizeof(text)) {
        fail("a line on stdin is longer than %d bytes", LINE_LEN_MAX);
    }
    return true;
}

static void on_term(int number) {
    (void)number;
    ended = 1;
}

/* Waits for a frame, a line or the time of a frame that waits. Signals come in here only. */
static void wait_for(struct pollfd polled[3], const sigset_t *unblocked, uint64_t now) {
    const uint64_t next = next_ns(&to) < next_ns(&from) ? next_ns(&to) : next_ns(&from);
    const uint64_t left = next > now ? next - now : 0;
    const struct timespec time = {.tv_sec = (time_t)(left / NS_PER_S),
                                  .tv_nsec = (long)(left % NS_PER_S)};
    polled[0] = (struct pollfd){.fd = to.in, .events = from.blocked ? POLLIN | POLLOUT : POLLIN};
    polled[1] = (struct pollfd){.fd = from.in, .events = to.blocked ? POLLIN | POLLOUT : POLLIN};
    polled[2] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    if (ppoll(polled, 3, next == UINT64_MAX ? NULL : &time, unblocked) < 0 && errno != EINTR) {
        fail("ppoll: %s", strerror(errno));
    }
}

static void run(void) {
    sigset_t term, unblocked;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, &unblocked);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_term}, NULL);
    puts("{\"event\":\"ready\"}");
    fflush(stdout);
    while (!ended) {
        struct pollfd polled[3] = {0};
        wait_for(polled, &unblocked, clock_ns());
        if (polled[2].revents != 0 && !take_lines()) {
            break;
        }
        const uint64_t now = clock_ns();
        receive(&to, now);
        receive(&from, now);
        send_due(&to, now);
        send_due(&from, now);
    }
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fail("no taps\n%s", usage);
    }
    from.in = to.out = open_guest_tap(argv[1]);
    to.in = from.out = open_host_tap(argv[2]);
    set_offload(true);
    for (int i = 3; i < argc; i++) {
        take_word(argv[i]);
    }
    run();
    print_counts();
    return 0;
}
