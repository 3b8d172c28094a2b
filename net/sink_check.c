#include "net/sink_check.h"

#include <string.h>

#include "net/checksum.h"
#include "net/stamp.h"

enum {
    IP4_ADDRS_OFF = 12,
    IP4_ADDRS_LEN = 8,
    IP6_ADDRS_OFF = 8,
    IP6_ADDRS_LEN = 32,
    PROTO_TCP = 6,
    PROTO_UDP = 17,
    UDP_SUM_OFF = 6,
    SUM_RIGHT = 0xffff, /* of words among which is the complement of the others' sum */
};

static uint16_t sink_fold(uint64_t sum) {
    while (sum >> 16 != 0) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)sum;
}

bool sink_check_sums(const struct pktbuf *frame, const struct sink_headers *headers) {
    const uint8_t *ip = frame->data + headers->ip;
    const uint8_t *l4 = frame->data + headers->l4;
    const uint32_t len = frame->frame_len - headers->l4;
    if (!headers->ip6 && checksum_add(ip, (int)(headers->l4 - headers->ip)) != SUM_RIGHT) {
        return false;
    }
    if (!headers->tcp && l4[UDP_SUM_OFF] == 0 && l4[UDP_SUM_OFF + 1] == 0) {
        return !headers->ip6;
    }
    uint64_t sum = headers->ip6 ? checksum_add(ip + IP6_ADDRS_OFF, IP6_ADDRS_LEN)
                                : checksum_add(ip + IP4_ADDRS_OFF, IP4_ADDRS_LEN);
    sum += __builtin_bswap16((uint16_t)len);
    sum += __builtin_bswap16(headers->tcp ? PROTO_TCP : PROTO_UDP);
    return sink_fold(sum + checksum_frame(frame, headers->l4)) == SUM_RIGHT;
}

/* By what the word of a block exceeds that of the block before: the same all along, so it shows in
 * the second block of any payload. */
static uint64_t sink_block_step(void) {
    uint8_t blocks[2 * STAMP_BLOCK];
    uint64_t step;
    stamp_payload_write(0, blocks, sizeof(blocks));
    memcpy(&step, blocks + STAMP_BLOCK, sizeof(step));
    return step;
}

/* The payload begins at off in the frame. A block that a piece's end cuts is compared in parts. */
static bool sink_pieces_match(const struct pktbuf *piece, uint32_t off, uint32_t len,
                              uint64_t base) {
    const uint64_t step = sink_block_step();
    uint64_t word = base; /* of the current block */
    uint32_t begun = 0;   /* bytes of it that were compared */
    while (len > 0 && piece != NULL) {
        if (off >= piece->len) {
            off -= piece->len;
            piece = piece->next;
            continue;
        }
        const uint8_t *data = piece->data + off;
        uint32_t part = (uint32_t)min_u64(piece->len - off, len);
        if (begun == 0 && part >= STAMP_BLOCK) {
            part -= part % STAMP_BLOCK;
            if (!stamp_payload_matches(word, data, part)) {
                return false;
            }
            word += part / STAMP_BLOCK * step;
        } else {
            uint8_t block[STAMP_BLOCK];
            part = (uint32_t)min_u64(part, STAMP_BLOCK - begun);
            stamp_payload_write(word, block, sizeof(block));
            if (memcmp(data, block + begun, part) != 0) {
                return false;
            }
            begun = (begun + part) % STAMP_BLOCK;
            word += begun == 0 ? step : 0;
        }
        off += part;
        len -= part;
    }
    return len == 0;
}

bool sink_check_payload(const struct pktbuf *frame, const struct sink_headers *headers,
                        uint64_t base) {
    const uint32_t off = headers->stamp + STAMP_LEN;
    const uint32_t len = frame->frame_len - off;
    return frame->len == frame->frame_len
               ? stamp_payload_matches(base, frame->data + off, len)
               : sink_pieces_match(frame, off, len, base);
}
