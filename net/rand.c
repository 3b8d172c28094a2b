#include "net/rand.h"

#include "lib/cpu.h"

enum { RAND_CPUID_FEATURES = 1, RAND_CPUID_ECX_RDRAND = 1u << 30, RAND_TRIES = 10 };

static struct {
    uint64_t key[2];
    uint64_t counter;
} rand_state;

ALWAYS_INLINE uint64_t rand_rotate(uint64_t x, unsigned bits) {
    return x << bits | x >> (64 - bits);
}

static void rand_round(uint64_t v[4]) {
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rand_rotate(v[1], 13) ^ v[0];
    v[3] = rand_rotate(v[3], 16) ^ v[2];
    v[0] = rand_rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rand_rotate(v[1], 17) ^ v[2];
    v[3] = rand_rotate(v[3], 21) ^ v[0];
    v[2] = rand_rotate(v[2], 32);
}

uint64_t rand_hash(const uint64_t *words, unsigned count) {
    uint64_t v[4] = {
        rand_state.key[0] ^ 0x736f6d6570736575u, rand_state.key[1] ^ 0x646f72616e646f6du,
        rand_state.key[0] ^ 0x6c7967656e657261u, rand_state.key[1] ^ 0x7465646279746573u,
    };
    /* The last word of SipHash carries the length in its top byte; all our input is whole words. */
    for (unsigned i = 0; i <= count; i++) {
        const uint64_t word = i < count ? words[i] : (uint64_t)count << 59;
        v[3] ^= word;
        rand_round(v);
        rand_round(v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    for (unsigned i = 0; i < 4; i++) {
        rand_round(v);
    }
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint32_t rand_u32(void) {
    const uint64_t words[2] = {rand_state.counter++, cpu_tsc()};
    return (uint32_t)rand_hash(words, 2);
}

/* 0 when the CPU has no number ready. */
static uint64_t rand_from_cpu(void) {
    uint64_t value = 0;
    bool ok = false;
    for (unsigned i = 0; i < RAND_TRIES && !ok; i++) {
        __asm__ volatile("rdrand %0" : "=r"(value), "=@ccc"(ok));
    }
    return ok ? value : 0;
}

void rand_init(void) {
    const bool has_rdrand = (cpuid(RAND_CPUID_FEATURES).ecx & RAND_CPUID_ECX_RDRAND) != 0;
    /* Without RDRAND the low bits of the time of start are all that differs between two boots. */
    for (unsigned i = 0; i < 2; i++) {
        rand_state.key[i] ^= cpu_tsc();
        rand_state.key[i] ^= has_rdrand ? rand_from_cpu() : 0;
    }
    for (unsigned i = 0; i < 2; i++) {
        const uint64_t words[2] = {i, cpu_tsc()};
        rand_state.key[i] = rand_hash(words, 2);
    }
}
