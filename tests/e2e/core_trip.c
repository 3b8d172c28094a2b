/* How far two cores are from each other, and how fast each is. On stdout, in nanoseconds: what a cache
 * line takes to the other core and back, the median of some hundred samples; then what a fixed piece of
 * work without memory takes on the one and on the other core, the best of a few.
 *
 * In a virtual machine this changes from one moment to the next, when the hypervisor moves the
 * processors or a neighbour takes the other half of a physical core, and rings between two cores become
 * slower by as much: bench_dpdk.py asks before and after each measurement. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { SAMPLES = 400, TRIPS = 500, WORKS = 10, WORK_STEPS = 100000 };

static _Alignas(128) atomic_uint ball; /* odd: at the other core */
static _Alignas(128) atomic_bool stop;

static void pin(unsigned core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0) {
        perror("core_trip: sched_setaffinity");
        exit(1);
    }
}

static void *other_side(void *core) {
    pin(*(const unsigned *)core);
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        const unsigned seen = atomic_load_explicit(&ball, memory_order_acquire);
        if (seen % 2 == 1) {
            atomic_store_explicit(&ball, seen + 1, memory_order_release);
        }
    }
    return NULL;
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Nanoseconds of a round trip. */
static int64_t sample(void) {
    const int64_t start = now_ns();
    for (unsigned i = 0; i < TRIPS; i++) {
        const unsigned sent = atomic_load_explicit(&ball, memory_order_relaxed) + 1;
        atomic_store_explicit(&ball, sent, memory_order_release);
        while (atomic_load_explicit(&ball, memory_order_acquire) == sent) {
        }
    }
    return (now_ns() - start) / TRIPS;
}

/* Nanoseconds of work that keeps the arithmetic units of a core busy. */
static int64_t work(unsigned core) {
    int64_t best = INT64_MAX;
    pin(core);
    for (unsigned i = 0; i < WORKS; i++) {
        uint64_t a = 1, b = 2, c = 3, d = 4;
        const int64_t start = now_ns();
        for (unsigned step = 0; step < WORK_STEPS; step++) {
            a += b;
            c += d;
            b ^= c;
            d ^= a;
            __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d)); /* all of it is done */
        }
        const int64_t took = now_ns() - start;
        best = took < best ? took : best;
    }
    return best;
}

static int compare(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    int64_t samples[SAMPLES];
    pthread_t thread;
    if (argc != 3) {
        fputs("usage: core_trip CORE CORE\n", stderr);
        return 2;
    }
    const unsigned one = (unsigned)atoi(argv[1]);
    unsigned other = (unsigned)atoi(argv[2]);
    pin(one);
    if (pthread_create(&thread, NULL, other_side, &other) != 0) {
        fputs("core_trip: no thread\n", stderr);
        return 1;
    }
    for (unsigned i = 0; i < SAMPLES; i++) {
        samples[i] = sample();
    }
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
    qsort(samples, SAMPLES, sizeof(samples[0]), compare);
    printf("%lld %lld %lld\n", (long long)samples[SAMPLES / 2], (long long)work(one),
           (long long)work(other));
    return 0;
}
