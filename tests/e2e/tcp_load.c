/* Load over TCP, with round trip times: echo with requests outstanding, streams, and HTTP.
 *
 * It never sleeps, so that an answer is seen when it comes. Every byte that comes is compared with what has to
 * come. Nothing goes unnoticed: wrong bytes, connections that end, answers that are missing are
 * counted, and make the exit status 1. It ends timeout_ms after its seconds at the latest. */
#include "tests/e2e/tcp_load.h"

#include <stdio.h>
#include <string.h>

const char load_name[] = "tcp_load";

static const char usage[] =
    "usage: tcp_load MODE ADDRESS [key=value ...]\n"
    "modes:\n"
    "  echo     requests of size= bytes to port 7, depth= of them outstanding on each connection\n"
    "  up       as many bytes as port 9 takes; those that were acknowledged count\n"
    "  down     as many bytes as port 19 sends; they have to be those of RFC 864\n"
    "  through  as many bytes as come back from port 7\n"
    "  http     connect, GET /, read to the end, close; connections= of them at a time\n"
    "options:\n"
    "  port=            another one\n"
    "  size=64          of a request in bytes, 1 to 65536\n"
    "  connections=1    1 to 64\n"
    "  depth=1          1 to 1024\n"
    "  length=0         of the page in bytes; 0: any, but always the same\n"
    "  seconds=3        how long to send\n"
    "  timeout_ms=1000  how long to wait for a connection or an answer, 1 to 10000\n";

static const struct {
    const char *name;
    uint32_t port;
} modes[] = {
    [MODE_ECHO] = {"echo", 7}, [MODE_UP] = {"up", 9},      [MODE_DOWN] = {"down", 19},
    [MODE_THROUGH] = {"through", 7}, [MODE_HTTP] = {"http", 80},
};

static enum load_mode parse_mode(const char *word) {
    for (size_t i = 0; word != NULL && i < ARRAY_SIZE(modes); i++) {
        if (strcmp(word, modes[i].name) == 0) {
            return (enum load_mode)i;
        }
    }
    load_fail("%s\n%s", word == NULL ? "no mode" : "unknown mode", usage);
}

static void parse_options(struct load_options *o, int argc, char **argv) {
    o->mode = parse_mode(argv[1]);
    const struct load_option numbers[] = {
        {"port", &o->port, modes[o->mode].port, 1, 65535},
        {"size", &o->size, 64, 1, 65536},
        {"connections", &o->connections, 1, 1, CONNECTIONS_MAX},
        {"depth", &o->depth, 1, 1, 1024},
        {"length", &o->length, 0, 0, 65536},
        {"seconds", &o->seconds, 3, 1, 3600},
        {"timeout_ms", &o->timeout_ms, 1000, 1, 10000},
    };
    load_parse(numbers, ARRAY_SIZE(numbers), argc - 1, argv + 1, usage);
    o->address = argv[2];
}

void load_start(struct load *l) {
    l->now_ns = l->start_ns = load_clock_ns();
    l->end_ns = l->start_ns + l->options.seconds * NS_PER_S;
}

bool load_over(const struct load *l) {
    return l->now_ns >= l->end_ns;
}

static void load_print(const struct load *l) {
    const struct load_options *o = &l->options;
    printf("{\"event\":\"tcp_load\",\"mode\":\"%s\",", modes[o->mode].name);
    load_print_u64("connections", o->connections);
    load_print_u64("seconds", o->seconds);
    if (o->mode == MODE_ECHO || o->mode == MODE_HTTP) {
        load_print_u64("size", o->size);
        load_print_u64("depth", o->depth);
        load_print_u64("sent", l->sent);
        load_print_u64("received", l->received);
        load_print_u64("lost", l->lost);
        load_print_u64("received_pps", l->in_time / o->seconds);
    } else {
        const uint64_t elapsed_ns = max_u64(l->now_ns - l->start_ns, 1);
        load_print_u64("bytes", l->bytes);
        printf("\"mbit_s\":%.1f,", (double)l->bytes * 8000 / (double)elapsed_ns);
    }
    load_print_u64("resets", l->resets);
    load_print_u64("timeouts", l->timeouts);
    load_print_u64("elapsed_us", (l->now_ns - l->start_ns) / 1000);
    load_print_cpu();
    load_print_rtt(&l->rtt_ns);
    printf("\"corrupt\":%llu}\n", (unsigned long long)l->corrupt);
}

int main(int argc, char **argv) {
    static struct load load;
    parse_options(&load.options, argc, argv);
    if (load.options.mode == MODE_HTTP) {
        load_http(&load);
    } else {
        load_streams(&load);
    }
    load_print(&load);
    const bool moved = load.received > 0 || load.bytes > 0;
    return moved && load.lost + load.corrupt + load.resets + load.timeouts == 0 ? 0 : 1;
}
