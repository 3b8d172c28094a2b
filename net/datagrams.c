#include "net/datagrams.h"

#include <string.h>

#include "net/ether.h"

enum { IP4_ID_OFF = 4 };

static uint32_t data_len(const struct datagrams *d) {
    return d->place.len - L4_UDP_LEN;
}

static uint32_t size_of(const struct datagrams *d, uint32_t i) {
    return (uint32_t)min_u64(d->size, data_len(d) - i * d->size);
}

uint32_t datagrams_count(const struct datagrams *d) {
    return (data_len(d) + d->size - 1) / d->size;
}

uint32_t datagrams_len(const struct datagrams *d, uint32_t i) {
    return d->place.start + L4_UDP_LEN + size_of(d, i);
}

/* Copies len bytes of the frame from off on, which it has. */
static void copy_range(uint8_t *out, const struct pktbuf *buf, uint32_t off, uint32_t len) {
    for (; off >= buf->len; buf = buf->next) {
        off -= buf->len;
    }
    while (len > 0) {
        const uint32_t part = (uint32_t)min_u64(len, buf->len - off);
        memcpy(out, buf->data + off, part);
        out += part;
        len -= part;
        off = 0;
        buf = buf->next;
    }
}

void datagrams_copy(const struct datagrams *d, const struct pktbuf *frame, uint32_t i,
                    uint8_t *out) {
    const uint32_t headers = d->place.start + L4_UDP_LEN;
    uint8_t *ip = out + d->place.ip;

    copy_range(out, frame, 0, headers);
    copy_range(out + headers, frame, headers + i * d->size, size_of(d, i));
    if (d->place.version == 4) {
        ether_put16(ip + IP4_ID_OFF, ether_be16(ip + IP4_ID_OFF) + i);
    }
    l4_set_len(out, d->place.ip, d->place.start, L4_UDP, L4_UDP_LEN + size_of(d, i));
}
