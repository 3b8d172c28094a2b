#include "tests/e2e/load_tool.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

void load_fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s: ", load_name);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(2);
}

uint64_t load_clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

void *load_allocate(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (memory == NULL) {
        load_fail("out of memory");
    }
    return memory;
}

/* ---- Options ---- */

static uint32_t parse_number(const char *word, const char *value, uint32_t min, uint32_t max) {
    char *end;
    errno = 0;
    const unsigned long number = strtoul(value, &end, 10);
    if (value[0] < '0' || value[0] > '9' || *end != '\0' || errno != 0 || number < min ||
        number > max) {
        load_fail("%s: must be a whole number from %" PRIu32 " to %" PRIu32, word, min, max);
    }
    return (uint32_t)number;
}

void load_parse(const struct load_option *options, size_t count, int argc, char **argv,
                const char *usage) {
    for (size_t k = 0; k < count; k++) {
        *options[k].field = options[k].value;
    }
    if (argc < 2) {
        load_fail("no address\n%s", usage);
    }
    for (int i = 2; i < argc; i++) {
        const char *equals = strchr(argv[i], '=');
        const size_t length = equals == NULL ? 0 : (size_t)(equals - argv[i]);
        size_t k = 0;
        while (k < count && !(strlen(options[k].name) == length &&
                              strncmp(argv[i], options[k].name, length) == 0)) {
            k++;
        }
        if (k == count) {
            load_fail("%s: unknown option\n%s", argv[i], usage);
        }
        *options[k].field = parse_number(argv[i], equals + 1, options[k].min, options[k].max);
    }
}

int load_connect_to(const char *address, uint32_t port, int type) {
    const struct addrinfo hints = {.ai_socktype = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC),
                                   .ai_flags = AI_NUMERICHOST};
    struct addrinfo *found;
    char text[8];
    snprintf(text, sizeof(text), "%" PRIu32, port);
    const int error = getaddrinfo(address, text, &hints, &found);
    if (error != 0) {
        load_fail("%s: %s", address, gai_strerror(error));
    }
    const int fd = socket(found->ai_family, type, 0);
    if (fd < 0 || (connect(fd, found->ai_addr, found->ai_addrlen) != 0 && errno != EINPROGRESS)) {
        load_fail("%s: %s", address, strerror(errno));
    }
    freeaddrinfo(found);
    return fd;
}

/* ---- Output ---- */

void load_print_u64(const char *name, uint64_t value) {
    printf("\"%s\":%" PRIu64 ",", name, value);
}

void load_print_us(const char *name, uint64_t ns) {
    printf("\"%s\":%.2f,", name, (double)ns / 1000);
}

void load_print_cpu(void) {
    struct timespec cpu;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    load_print_u64("cpu_us", (uint64_t)cpu.tv_sec * 1000000 + (uint64_t)cpu.tv_nsec / 1000);
}

void load_print_rtt(const struct histogram *rtt_ns) {
    if (rtt_ns->count > 0) {
        load_print_us("rtt_min_us", rtt_ns->min);
        load_print_us("rtt_mean_us", histogram_mean(rtt_ns));
        load_print_us("rtt_p50_us", histogram_quantile(rtt_ns, 500000));
        load_print_us("rtt_p99_us", histogram_quantile(rtt_ns, 990000));
        load_print_us("rtt_p99_9_us", histogram_quantile(rtt_ns, 999000));
        load_print_us("rtt_max_us", rtt_ns->max);
    }
}
