#include "lib/pattern.h"

#include <string.h>

#define PATTERN_ODD UINT64_C(0x9e3779b97f4a7c15)

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are stored as they are");

/* Spreads seed and seq over all bits, so that the words of two sequence numbers have nothing to do
 * with each other. */
static uint64_t pattern_base(uint64_t seed, uint64_t seq) {
    uint64_t x = (seed ^ seq * PATTERN_ODD) + PATTERN_ODD;
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* An odd factor keeps the words of all k apart. */
static uint64_t pattern_word(uint64_t base, uint64_t seq, size_t k) {
    return k == 0 ? seq : (base + k) * PATTERN_ODD;
}

void pattern_write(uint64_t seed, uint64_t seq, void *out, size_t len) {
    const uint64_t base = pattern_base(seed, seq);
    uint8_t *to = out;
    for (size_t k = 0; len > 0; k++) {
        const uint64_t word = pattern_word(base, seq, k);
        const size_t n = len < sizeof(word) ? len : sizeof(word);
        memcpy(to, &word, n);
        to += n;
        len -= n;
    }
}

/* A piece of one word: n bytes from byte `skip` of it on. */
static bool pattern_piece_matches(uint64_t word, size_t skip, const uint8_t *from, size_t n) {
    return memcmp(from, (const uint8_t *)&word + skip, n) == 0;
}

bool pattern_matches(uint64_t seed, uint64_t seq, size_t off, const void *data, size_t len) {
    const uint64_t base = pattern_base(seed, seq);
    const uint8_t *from = data;
    size_t k = off / 8;
    const size_t skip = off % 8;
    if (skip != 0) {
        const size_t n = len < 8 - skip ? len : 8 - skip;
        if (!pattern_piece_matches(pattern_word(base, seq, k++), skip, from, n)) {
            return false;
        }
        from += n;
        len -= n;
    }
    for (; len >= 8; from += 8, len -= 8, k++) {
        uint64_t word;
        memcpy(&word, from, 8);
        if (word != pattern_word(base, seq, k)) {
            return false;
        }
    }
    return pattern_piece_matches(pattern_word(base, seq, k), 0, from, len);
}
