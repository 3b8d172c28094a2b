#include "net/checksum.h"

/* Carries that leave the top of the 64-bit sum come back at its bottom, which is what the 16-bit
 * ones' complement sum does too: 2^64 and 2^16 both leave 1 when divided by 65535. */
ALWAYS_INLINE uint64_t checksum_add_word(uint64_t sum, uint64_t word) {
    sum += word;
    return sum + (sum < word);
}

uint16_t checksum_add(const void *data, int len) {
    const uint8_t *p = data;
    size_t left = (size_t)len;
    uint64_t sum = 0;

    for (; left >= 32; left -= 32, p += 32) {
        __asm__("addq 0(%1), %0\n\t"
                "adcq 8(%1), %0\n\t"
                "adcq 16(%1), %0\n\t"
                "adcq 24(%1), %0\n\t"
                "adcq $0, %0"
                : "+r"(sum)
                : "r"(p), "m"(*(const uint8_t(*)[32])p)
                : "cc");
    }
    for (; left >= 8; left -= 8, p += 8) {
        uint64_t word;
        __builtin_memcpy(&word, p, sizeof(word));
        sum = checksum_add_word(sum, word);
    }
    /* The rest by its bits; a last single byte is the first half of a word whose other is zero. */
    if ((left & 4) != 0) {
        uint32_t word;
        __builtin_memcpy(&word, p, sizeof(word));
        sum = checksum_add_word(sum, word);
        p += 4;
    }
    if ((left & 2) != 0) {
        uint16_t word;
        __builtin_memcpy(&word, p, sizeof(word));
        sum = checksum_add_word(sum, word);
        p += 2;
    }
    if ((left & 1) != 0) {
        sum = checksum_add_word(sum, *p);
    }
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* A piece that begins in the middle of a word has its bytes the other way round. */
uint64_t checksum_frame(const struct pktbuf *frame, uint32_t off) {
    uint64_t sum = 0;
    bool odd = false;
    for (const struct pktbuf *piece = frame; piece != NULL; piece = piece->next) {
        if (off >= piece->len) {
            off -= piece->len;
            continue;
        }
        const uint32_t len = piece->len - off;
        const uint16_t part = checksum_add(piece->data + off, (int)len);
        sum += odd ? __builtin_bswap16(part) : part;
        odd ^= len & 1;
        off = 0;
    }
    return sum;
}
