/* What the load generators share: clock, options key=value, JSON on stdout. */
#ifndef TESTS_E2E_LOAD_TOOL_H
#define TESTS_E2E_LOAD_TOOL_H

#include "lib/histogram.h"
#include "lib/util.h"

#define NS_PER_S UINT64_C(1000000000)

/* A word name=N of the command line. */
struct load_option {
    const char *name;
    uint32_t *field, value, min, max; /* value: where none is given */
};

/* The program's name, for messages. */
extern const char load_name[];

/* Says why, and ends the program with status 2. */
void PRINTF_LIKE(1, 2) __attribute__((noreturn)) load_fail(const char *format, ...);

/* Monotonic time. */
uint64_t load_clock_ns(void);

/* Zeroed memory; ends the program when there is none. */
void *load_allocate(size_t count, size_t size);

/* Fills all fields from the words behind the address, which is argv[1]; ends the program with the usage
 * when one is wrong. */
void load_parse(const struct load_option *options, size_t count, int argc, char **argv,
                const char *usage);

/* A socket of that type, connected or, if it cannot block, connecting to a numeric address. */
int load_connect_to(const char *address, uint32_t port, int type);

/* Members of a JSON object, each with a comma behind. */
void load_print_u64(const char *name, uint64_t value);
void load_print_us(const char *name, uint64_t ns);
/* Processor time of the program so far, in microseconds. */
void load_print_cpu(void);
/* Minimum, mean, percentiles and maximum; nothing when it is empty. */
void load_print_rtt(const struct histogram *rtt_ns);

#endif
