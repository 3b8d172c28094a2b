/* The only program of the Linux guest that bench_echo.py measures Ringlet against: process 1.
 *
 * It loads the modules of the network device, sets address and link, and serves what Ringlet's
 * app=echo serves, the way a fast single-threaded server does: one loop over epoll (level-triggered),
 * sockets that never block, datagrams by recvmmsg and sendmmsg, an answer written in the turn that
 * read the request. UDP and TCP echo on port 7, discard on 9, chargen on 19 (RFC 864), the page of
 * Ringlet's status on 80.
 *
 * The last two words of its command line are address and prefix length. The kernel hands on what is behind `--`
 * in its own, and before that words it does not know.
 * It says {"event":"ready"} or error: ... on the serial port, by its registers; what it cannot set up ends
 * the kernel. A connection that fails is closed. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    ECHO_PORT = 7,
    DISCARD_PORT = 9,
    CHARGEN_PORT = 19,
    HTTP_PORT = 80,
    EVENTS = 64,
    DATAGRAMS = 64, /* in one system call */
    DATAGRAM_LEN = 65536,
    CHUNK = 256 * 1024, /* of a stream, at a time */
    BACKLOG = 1024,
    FDS_MAX = 1024,
    REQUEST_MAX = 1024,
    UDP_BUFFER = 4 << 20,
    SERIAL = 0x3f8, /* registers of the 8250 */
    SERIAL_STATUS = SERIAL + 5,
    SERIAL_EMPTY = 0x20,
    CHARGEN_CHARS = 95,
    CHARGEN_LINE = 74, /* with its end */
    CHARGEN_PERIOD = CHARGEN_CHARS * CHARGEN_LINE,
    CHARGEN_LINES = CHUNK / CHARGEN_LINE + 1 + CHARGEN_CHARS, /* any chunk lies in one run */
};

enum kind { UNUSED, UDP_ECHO, LISTENER, ECHO, DISCARD, CHARGEN, HTTP };

struct service {
    uint16_t port;
    enum kind kind;
};

/* What stands behind a descriptor, which is the index. */
struct socket_state {
    enum kind kind;
    enum kind accepts;    /* of a listener */
    char *pending;        /* echo: CHUNK bytes, for those that the peer has no room for */
    size_t start, end;    /* of what is pending; http: end of the request so far */
    size_t position;      /* chargen: in the pattern; http: in the answer */
    char request_tail[4]; /* http: the last bytes of the request */
};

static const struct service services[] = {
    {ECHO_PORT, ECHO}, {DISCARD_PORT, DISCARD}, {CHARGEN_PORT, CHARGEN}, {HTTP_PORT, HTTP}};

/* The page that Ringlet serves, behind a header of the same lines. */
__asm__(".section .rodata\n"
        "page_start: .incbin \"net/status.html\"\n"
        "page_end:\n"
        ".previous");
extern const char page_start[], page_end[];

static struct socket_state sockets[FDS_MAX];
static char chunk[CHUNK];
static char chargen_pattern[CHARGEN_LINES * CHARGEN_LINE];
static char answer[64 * 1024];
static size_t answer_len;
static struct mmsghdr messages[DATAGRAMS];
static struct iovec vectors[DATAGRAMS];
static struct sockaddr_in peers[DATAGRAMS];
static char datagrams[DATAGRAMS][DATAGRAM_LEN];
static int events_fd;

/* ---- Start ---- */

static void say(const char *text) {
    for (; *text != '\0'; text++) {
        while ((inb(SERIAL_STATUS) & SERIAL_EMPTY) == 0) {
        }
        outb((unsigned char)*text, SERIAL);
    }
}

/* The end of process 1 is a panic of the kernel, and with panic=-1 the end of QEMU. */
static void __attribute__((noreturn)) fail(const char *what) {
    say("error: linux_init: ");
    say(what);
    say(": ");
    say(strerror(errno));
    say("\n");
    _exit(1);
}

static int checked(int result, const char *what) {
    if (result < 0) {
        fail(what);
    }
    return result;
}

/* /modules/0, /modules/1 ...: in the order in which they need each other. */
static void load_modules(void) {
    for (unsigned i = 0;; i++) {
        char path[32];
        snprintf(path, sizeof(path), "/modules/%u", i);
        const int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 && errno == ENOENT && i > 0) {
            return;
        }
        checked(fd, path);
        checked((int)syscall(SYS_finit_module, fd, "", 0), path);
        close(fd);
    }
}

static void set_address(int fd, struct ifreq *request, unsigned long what, struct in_addr address) {
    const struct sockaddr_in value = {.sin_family = AF_INET, .sin_addr = address};
    memcpy(&request->ifr_addr, &value, sizeof(value));
    checked(ioctl(fd, what, request), "address");
}

static void link_up(int fd, const char *name) {
    struct ifreq request = {0};
    strcpy(request.ifr_name, name);
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    checked(ioctl(fd, SIOCSIFFLAGS, &request), name);
}

static void set_up_network(const char *address, const char *prefix_len) {
    const int fd = checked(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");
    const unsigned bits = (unsigned)atoi(prefix_len);
    const struct in_addr mask = {htonl(bits == 0 ? 0 : UINT32_MAX << (32 - bits))};
    struct ifreq request = {.ifr_name = "eth0"};
    struct in_addr own;
    if (inet_pton(AF_INET, address, &own) != 1 || bits > 32) {
        errno = EINVAL;
        fail(address);
    }
    set_address(fd, &request, SIOCSIFADDR, own);
    set_address(fd, &request, SIOCSIFNETMASK, mask);
    link_up(fd, "lo");
    link_up(fd, "eth0");
    close(fd);
}

/* ---- Sockets ---- */

static void watch(int operation, int fd, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    checked(epoll_ctl(events_fd, operation, fd, &event), "epoll_ctl");
}

static int bound(int kind, uint16_t port) {
    const struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
    const int one = 1;
    const int fd = checked(socket(AF_INET, kind | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket");
    checked(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), "SO_REUSEADDR");
    checked(bind(fd, (const struct sockaddr *)&any, sizeof(any)), "bind");
    return fd;
}

static void serve_udp(void) {
    const int bytes = UDP_BUFFER;
    const int fd = bound(SOCK_DGRAM, ECHO_PORT);
    checked(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)), "SO_RCVBUFFORCE");
    checked(setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)), "SO_SNDBUFFORCE");
    sockets[fd].kind = UDP_ECHO;
    watch(EPOLL_CTL_ADD, fd, EPOLLIN);
}

/* What it accepts takes TCP_NODELAY over. Sizes of buffers are left to the kernel, which grows them. */
static void serve_tcp(const struct service *service) {
    const int one = 1;
    const int fd = bound(SOCK_STREAM, service->port);
    checked(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), "TCP_NODELAY");
    checked(listen(fd, BACKLOG), "listen");
    sockets[fd] = (struct socket_state){.kind = LISTENER, .accepts = service->kind};
    watch(EPOLL_CTL_ADD, fd, EPOLLIN);
}

static void close_socket(int fd) {
    free(sockets[fd].pending);
    sockets[fd] = (struct socket_state){.kind = UNUSED};
    close(fd);
}

static void accept_one(int listener) {
    const int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    if (fd >= FDS_MAX) {
        close(fd);
        return;
    }
    const enum kind kind = sockets[listener].accepts;
    sockets[fd] = (struct socket_state){.kind = kind};
    watch(EPOLL_CTL_ADD, fd, kind == CHARGEN ? EPOLLOUT : EPOLLIN);
}

/* ---- Services ---- */

static void echo_datagrams(int fd) {
    for (unsigned i = 0; i < DATAGRAMS; i++) {
        vectors[i].iov_len = DATAGRAM_LEN;
        messages[i].msg_hdr.msg_namelen = sizeof(peers[i]);
    }
    const int count = recvmmsg(fd, messages, DATAGRAMS, MSG_DONTWAIT, NULL);
    for (int i = 0; i < count; i++) {
        vectors[i].iov_len = messages[i].msg_len;
    }
    if (count > 0) {
        sendmmsg(fd, messages, (unsigned)count, 0); /* as with any datagram, what finds no room is lost */
    }
}

static void echo_drain(int fd, struct socket_state *s) {
    const ssize_t sent = send(fd, s->pending + s->start, s->end - s->start, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        close_socket(fd);
        return;
    }
    s->start += sent > 0 ? (size_t)sent : 0;
    if (s->start == s->end) {
        watch(EPOLL_CTL_MOD, fd, EPOLLIN);
    }
}

/* No more is read before all that was read is written. */
static void echo_stream(int fd, struct socket_state *s) {
    const ssize_t got = recv(fd, chunk, CHUNK, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) {
            close_socket(fd);
        }
        return;
    }
    ssize_t sent = send(fd, chunk, (size_t)got, MSG_NOSIGNAL);
    if (sent == got) {
        return;
    }
    if (sent < 0 && errno == EAGAIN) {
        sent = 0;
    }
    s->pending = s->pending == NULL ? malloc(CHUNK) : s->pending;
    if (sent < 0 || s->pending == NULL) {
        close_socket(fd);
        return;
    }
    s->start = 0;
    s->end = (size_t)(got - sent);
    memcpy(s->pending, chunk + sent, s->end);
    watch(EPOLL_CTL_MOD, fd, EPOLLOUT);
}

/* With MSG_TRUNC TCP drops the bytes without a copy. */
static void discard_stream(int fd) {
    const ssize_t got = recv(fd, NULL, 16 << 20, MSG_TRUNC);
    if (got == 0 || (got < 0 && errno != EAGAIN)) {
        close_socket(fd);
    }
}

static void chargen_stream(int fd, struct socket_state *s) {
    const ssize_t sent = send(fd, chargen_pattern + s->position, CHUNK, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        close_socket(fd);
    } else if (sent > 0) {
        s->position = (s->position + (size_t)sent) % CHARGEN_PERIOD;
    }
}

static void http_answer(int fd, struct socket_state *s) {
    const ssize_t sent = send(fd, answer + s->position, answer_len - s->position, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        close_socket(fd);
        return;
    }
    s->position += sent > 0 ? (size_t)sent : 0;
    if (s->position == answer_len) {
        close_socket(fd);
    } else {
        watch(EPOLL_CTL_MOD, fd, EPOLLOUT);
    }
}

/* Each request that ends in an empty line gets the page. */
static void http_stream(int fd, struct socket_state *s) {
    if (s->position > 0) {
        http_answer(fd, s);
        return;
    }
    const ssize_t got = recv(fd, chunk, REQUEST_MAX, 0);
    if (got < 0 && errno == EAGAIN) {
        return;
    }
    if (got <= 0 || s->end + (size_t)got > REQUEST_MAX) {
        close_socket(fd);
        return;
    }
    s->end += (size_t)got;
    for (ssize_t i = got < 4 ? 0 : got - 4; i < got; i++) {
        memmove(s->request_tail, s->request_tail + 1, 3);
        s->request_tail[3] = chunk[i];
    }
    if (memcmp(s->request_tail, "\r\n\r\n", 4) == 0) {
        http_answer(fd, s);
    }
}

static void serve(const struct epoll_event *event) {
    const int fd = event->data.fd;
    struct socket_state *s = &sockets[fd];
    switch (s->kind) {
    case UNUSED: break; /* closed in this turn */
    case UDP_ECHO: echo_datagrams(fd); break;
    case LISTENER: accept_one(fd); break;
    case ECHO: (s->start < s->end ? echo_drain : echo_stream)(fd, s); break;
    case DISCARD: discard_stream(fd); break;
    case CHARGEN: chargen_stream(fd, s); break;
    case HTTP: http_stream(fd, s); break;
    }
}

static void prepare(void) {
    const size_t page_len = (size_t)(page_end - page_start);
    const int head_len = snprintf(answer, sizeof(answer),
        "HTTP/1.1 200 OK\r\nServer: Linux  \r\nContent-Type: text/html; charset=utf-8\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\nContent-Length: %05zu\r\n\r\n", page_len);
    answer_len = (size_t)head_len + page_len;
    if (answer_len > sizeof(answer)) {
        errno = EFBIG;
        fail("page");
    }
    memcpy(answer + head_len, page_start, page_len);
    for (unsigned line = 0; line < CHARGEN_LINES; line++) {
        char *out = chargen_pattern + line * CHARGEN_LINE;
        for (unsigned i = 0; i < CHARGEN_LINE - 2; i++) {
            out[i] = (char)(' ' + (line + i) % CHARGEN_CHARS);
        }
        memcpy(out + CHARGEN_LINE - 2, "\r\n", 2);
    }
    for (unsigned i = 0; i < DATAGRAMS; i++) {
        vectors[i].iov_base = datagrams[i];
        messages[i].msg_hdr.msg_iov = &vectors[i];
        messages[i].msg_hdr.msg_iovlen = 1;
        messages[i].msg_hdr.msg_name = &peers[i];
    }
}

int main(int argc, char **argv) {
    if (ioperm(SERIAL, 8, 1) != 0) {
        return 1;
    }
    if (argc < 3) {
        errno = EINVAL;
        fail("words: ADDRESS PREFIX-LENGTH");
    }
    prepare();
    load_modules();
    set_up_network(argv[argc - 2], argv[argc - 1]);
    events_fd = checked(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    serve_udp();
    for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
        serve_tcp(&services[i]);
    }
    say("{\"event\":\"ready\"}\n");
    for (;;) {
        struct epoll_event events[EVENTS];
        const int count = epoll_wait(events_fd, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            serve(&events[i]);
        }
    }
}
