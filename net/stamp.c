#include "net/stamp.h"

#include <string.h>

uint64_t stamp_payload_base(uint32_t seed, uint32_t flow, uint64_t seq) {
    uint64_t x = ((uint64_t)seed << 32 | flow) * STAMP_STEP ^ seq;
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static void stamp_block(uint64_t word, uint8_t block[STAMP_BLOCK]) {
    const uint64_t other = ~word;
    memcpy(block, &word, 8);
    memcpy(block + 8, &other, 8);
}

void stamp_payload_write(uint64_t base, uint8_t *out, size_t len) {
    /* A block is one vector. Where the data grows by a step, its complement shrinks by it. */
    typedef uint64_t block __attribute__((vector_size(STAMP_BLOCK)));
    const block step = {STAMP_STEP, -STAMP_STEP};
    block words = {base, ~base};
    for (; len >= STAMP_BLOCK; out += STAMP_BLOCK, len -= STAMP_BLOCK, words += step) {
        __builtin_memcpy(out, &words, STAMP_BLOCK);
    }
    if (len > 0) {
        uint8_t last[STAMP_BLOCK];
        __builtin_memcpy(last, &words, STAMP_BLOCK);
        memcpy(out, last, len);
    }
}

bool stamp_payload_matches(uint64_t base, const uint8_t *data, size_t len) {
    uint64_t word = base;
    uint64_t wrong = 0;
    for (; len >= STAMP_BLOCK; data += STAMP_BLOCK, len -= STAMP_BLOCK, word += STAMP_STEP) {
        uint64_t low, high;
        memcpy(&low, data, 8);
        memcpy(&high, data + 8, 8);
        wrong |= (low ^ word) | ~(high ^ word);
    }
    uint8_t last[STAMP_BLOCK];
    stamp_block(word, last);
    return wrong == 0 && memcmp(data, last, len) == 0;
}
