/* Frames by hand for the forwarder, each changed in memory of exactly its size. */
#ifndef TESTS_UNIT_FWD_FRAMES_H
#define TESTS_UNIT_FWD_FRAMES_H

#include "tests/unit/unit.h"

#include "net/fwd.h"

#include <stdlib.h>
#include <string.h>

enum { FRAME_MAX = 192, ETH = 14, UDP = 17, TCP = 6, ICMP = 1, DATA = 40 };
enum { LEN_MIN = 14, LEN_MAX = 100 }; /* of cut frames */

#define FOR_KINDS(what)                                                                            \
    for (enum config_fwd what = CONFIG_FWD_IO; what <= CONFIG_FWD_ICMPECHO; what++)

/* Ends of a frame: those of the sender and of the receiver. */
struct end {
    uint8_t mac[MAC_LEN];
    uint8_t ip4[4];
    uint8_t ip6[16];
    uint16_t port;
};

static const struct end a = {{0x02, 1, 2, 3, 4, 5}, {10, 1, 2, 3}, {0xfd, 1, 2, 3, [15] = 4}, 1234};
static const struct end b = {{0x06, 9, 8, 7, 6, 5}, {192, 168, 77, 9}, {0xfd, 77, [15] = 9}, 53};
static const uint8_t own_mac[MAC_LEN] = {0x52, 0x54, 0, 0xaa, 0xbb, 0xcc};
static const uint8_t next_mac[MAC_LEN] = {0x02, 0, 0, 0xde, 0xad, 1};

/* --- frames by hand --------------------------------------------------------------------------- */

struct frame {
    uint8_t bytes[FRAME_MAX];
    uint32_t len;
    uint32_t ip, l4; /* offsets of headers, 0: there is none */
};

static inline void put(struct frame *f, const void *bytes, size_t len) {
    assert_true(f->len + len <= FRAME_MAX);
    memcpy(f->bytes + f->len, bytes, len);
    f->len += (uint32_t)len;
}

static inline void put16(struct frame *f, unsigned value) {
    put(f, (uint8_t[]){(uint8_t)(value >> 8), (uint8_t)value}, 2);
}

/* The sum of RFC 1071, folded at each step; 0xffff over something with a right checksum. */
static inline uint16_t sum_of(const uint8_t *bytes, size_t len, uint16_t start) {
    uint32_t sum = start;
    for (size_t i = 0; i < len; i++) {
        sum += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
        sum = sum > 0xffff ? sum - 0xffff : sum;
    }
    return (uint16_t)sum;
}

static inline void put_sum(struct frame *f, uint32_t at, uint16_t sum) {
    f->bytes[at] = (uint8_t)(~sum >> 8);
    f->bytes[at + 1] = (uint8_t)~sum;
}

/* tags: types of VLAN tags, from the outer one on, 0 ends them. */
static inline void put_ethernet(struct frame *f, const struct end *from, const struct end *to,
                         const uint16_t *tags, uint16_t type) {
    *f = (struct frame){.len = 0};
    put(f, to->mac, MAC_LEN);
    put(f, from->mac, MAC_LEN);
    for (; *tags != 0; tags++) {
        put16(f, *tags);
        put16(f, 0x6123);
    }
    put16(f, type);
}

static inline void put_data(struct frame *f) {
    for (unsigned i = 0; i < DATA; i++) {
        put(f, &(uint8_t){(uint8_t)(i * 7 + 1)}, 1);
    }
}

/* UDP or what looks like TCP, with a checksum over the pseudo-header; others are data only. */
static inline void put_l4(struct frame *f, const struct end *from, const struct end *to,
                          uint8_t proto, const uint8_t *addrs, size_t addrs_len) {
    const uint32_t sum_off = proto == UDP ? 6 : 16;
    f->l4 = f->len;
    if (proto != UDP && proto != TCP) {
        put_data(f);
        return;
    }
    put16(f, from->port);
    put16(f, to->port);
    if (proto == UDP) {
        put16(f, 8 + DATA);
        put16(f, 0);
    } else {
        put(f, (uint8_t[16]){0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 0x20, 0}, 16);
    }
    put_data(f);
    uint16_t sum = sum_of(addrs, addrs_len, (uint16_t)(proto + f->len - f->l4));
    sum = sum_of(f->bytes + f->l4, f->len - f->l4, sum);
    put_sum(f, f->l4 + sum_off, sum);
}

struct shape {
    const char *name;
    uint16_t tags[3];
    bool ip6;
    uint8_t proto;
    uint8_t options;   /* IPv4: bytes of them */
    uint16_t fragment; /* IPv4: flags and offset */
};

static const struct shape shapes[] = {
    {"udp", .proto = UDP},
    {"tcp", .proto = TCP},
    {"other protocol", .proto = 47},
    {"vlan", {0x8100}, .proto = UDP},
    {"vlan in vlan", {0x8100, 0x8100}, .proto = TCP},
    {"qinq", {0x88a8, 0x8100}, .proto = UDP},
    {"options", .proto = UDP, .options = 4},
    {"all options", .proto = TCP, .options = 40},
    {"first fragment", .proto = UDP, .fragment = 0x2000},
    {"middle fragment", .proto = UDP, .fragment = 0x2001},
    {"last fragment", .proto = TCP, .fragment = 0x1000},
    {"not to be fragmented", .proto = TCP, .fragment = 0x4000},
    {"udp6", .ip6 = true, .proto = UDP},
    {"tcp6", .ip6 = true, .proto = TCP},
    {"fragment6", .ip6 = true, .proto = 44},
    {"vlan6", {0x8100}, .ip6 = true, .proto = UDP},
};

static inline void put_ip6(struct frame *f, const struct end *from, const struct end *to,
                           uint8_t proto) {
    const uint32_t l4_len = DATA + (proto == UDP ? 8 : proto == TCP ? 20 : 0);
    put(f, (uint8_t[]){0x60, 1, 2, 3, 0, (uint8_t)l4_len, proto, 64}, 8);
    put(f, from->ip6, 16);
    put(f, to->ip6, 16);
    put_l4(f, from, to, proto, f->bytes + f->ip + 8, 32);
}

static inline void put_ip4(struct frame *f, const struct end *from, const struct end *to,
                    const struct shape *shape) {
    const unsigned hlen = 20u + shape->options;
    put(f, (uint8_t[]){(uint8_t)(0x40 | hlen / 4), 0, 0, 99, 0x12, 0x34}, 6);
    put16(f, shape->fragment);
    put(f, (uint8_t[]){64, shape->proto, 0, 0}, 4);
    put(f, from->ip4, 4);
    put(f, to->ip4, 4);
    for (unsigned i = 0; i < shape->options; i++) {
        put(f, &(uint8_t){1}, 1); /* no operation */
    }
    put_sum(f, f->ip + 10, sum_of(f->bytes + f->ip, hlen, 0));
    put_l4(f, from, to, shape->proto, f->bytes + f->ip + 12, 8);
}

static inline void build(struct frame *f, const struct shape *shape, const struct end *from,
                  const struct end *to) {
    put_ethernet(f, from, to, shape->tags, shape->ip6 ? 0x86dd : 0x0800);
    f->ip = f->len;
    if (shape->ip6) {
        put_ip6(f, from, to, shape->proto);
    } else {
        put_ip4(f, from, to, shape);
    }
}

static inline void put_ping(struct frame *f, const struct shape *shape, const struct end *from,
                     const struct end *to, uint8_t type, const uint8_t rest[6]) {
    struct shape plain = *shape;
    plain.proto = ICMP;
    build(f, &plain, from, to);
    f->len = f->l4;
    put(f, (uint8_t[]){type, 0}, 2);
    put(f, rest, 6); /* checksum, identifier, number */
    put_data(f);
}

/* With a right checksum. */
static inline void put_right_ping(struct frame *f, const struct shape *shape,
                                  const struct end *from, const struct end *to, uint8_t type) {
    put_ping(f, shape, from, to, type, (const uint8_t[]){0, 0, 0x12, 0x34, 0, 7});
    put_sum(f, f->l4 + 2, sum_of(f->bytes + f->l4, f->len - f->l4, 0));
}

/* --- running ---------------------------------------------------------------------------------- */

/* Changes len bytes in memory of just that size, which the address sanitizer watches. */
static inline enum fwd_result change(enum config_fwd what, uint8_t *bytes, uint32_t len) {
    uint8_t *data = malloc(len);
    struct pktbuf buf = {.data = data, .len = len, .frame_len = len};
    assert_non_null(data);
    memcpy(data, bytes, len);
    const enum fwd_result result = fwd_change(what, &buf, own_mac, next_mac);
    assert_ptr_equal(buf.data, data);
    assert_int_equal(buf.len, len);
    assert_int_equal(buf.frame_len, len);
    memcpy(bytes, data, len);
    free(data);
    return result;
}

static inline void expect(const char *name, enum config_fwd what, struct frame *f,
                          enum fwd_result result, const struct frame *expected) {
    const enum fwd_result got = change(what, f->bytes, f->len);
    if (got != result) {
        fail_msg("%s, fwd=%d: result %d, not %d", name, what, got, result);
    }
    for (uint32_t i = 0; i < f->len && result != FWD_DROP; i++) {
        if (f->bytes[i] != expected->bytes[i]) {
            fail_msg("%s, fwd=%d: byte %u of %u is %#x, not %#x", name, what, i, f->len,
                     f->bytes[i], expected->bytes[i]);
        }
    }
}

#endif
