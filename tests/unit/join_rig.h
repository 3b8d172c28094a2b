/* For tests of net/tx_join.h: packets as lwIP leaves them, the driver that joins them as net/netif_tx.c does, and a
 * device that cuts frames (5.1.6.2, and what TCP and UDP ask for). */
#ifndef TESTS_UNIT_JOIN_RIG_H
#define TESTS_UNIT_JOIN_RIG_H

#include "tests/unit/unit.h"

#include "net/csum_offload.h"
#include "net/ether.h"
#include "net/gso.h"
#include "net/tx_join.h"

#include <stdlib.h>
#include <string.h>

enum {
    LEN_MAX = 70000,
    STREAM_MAX = 400,
    FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, URG = 32,
};

static struct unit_random rnd = {.state = 99};

struct flow {
    bool v6, vlan, udp;
    uint16_t port;
    uint8_t options; /* words of TCP options */
    uint8_t ttl;
};

struct packet {
    uint8_t *data;
    uint32_t len;
    uint32_t headers_len;
    struct virtio_net_hdr hdr;
    struct tx_join join;
};

static uint32_t get32(const uint8_t *at) {
    return (uint32_t)ether_be16(at) << 16 | ether_be16(at + 2);
}

static void put32(uint8_t *at, uint32_t value) {
    ether_put16(at, value >> 16);
    ether_put16(at + 2, value);
}

static uint32_t ip_offset(const struct flow *f) {
    return f->vlan ? 18 : 14;
}

/* A packet as lwIP leaves it, with the checksum left to the device. */
static struct packet make(const struct flow *f, uint8_t flags, uint32_t seq, uint32_t ack,
                          uint32_t data_len, unsigned cut) {
    const uint32_t ip = ip_offset(f);
    const uint32_t l4 = ip + (f->v6 ? 40 : 20);
    const uint32_t l4_head = f->udp ? 8 : 20 + 4u * f->options;
    struct packet p = {.len = l4 + l4_head + data_len, .headers_len = l4 + l4_head};
    p.data = calloc(1, p.len);
    memset(p.data, 0x22, 12);
    if (f->vlan) {
        ether_put16(p.data + 12, 0x8100);
        ether_put16(p.data + 14, 9);
    }
    ether_put16(p.data + ip - 2, f->v6 ? 0x86dd : 0x0800);
    if (f->v6) {
        p.data[ip] = 0x60;
        ether_put16(p.data + ip + 4, l4_head + data_len);
        p.data[ip + 6] = f->udp ? 17 : 6;
        p.data[ip + 7] = f->ttl;
        memset(p.data + ip + 8, 0x33, 32);
    } else {
        p.data[ip] = 0x45;
        ether_put16(p.data + ip + 2, 20 + l4_head + data_len);
        ether_put16(p.data + ip + 4, (uint32_t)unit_random(&rnd));
        p.data[ip + 8] = f->ttl;
        p.data[ip + 9] = f->udp ? 17 : 6;
        memset(p.data + ip + 12, 0x44, 8);
    }
    ether_put16(p.data + l4, 7);
    ether_put16(p.data + l4 + 2, f->port);
    if (f->udp) {
        ether_put16(p.data + l4 + 4, 8 + data_len);
    } else {
        put32(p.data + l4 + 4, seq);
        put32(p.data + l4 + 8, ack);
        p.data[l4 + 12] = (uint8_t)(l4_head / 4 << 4);
        p.data[l4 + 13] = flags;
        ether_put16(p.data + l4 + 14, ack & 0xffff); /* a window that goes with it */
        for (uint32_t i = 20; i < l4_head; i++) {
            p.data[l4 + i] = (uint8_t)(ack + i); /* options, too */
        }
    }
    for (uint32_t i = 0; i < data_len; i++) {
        p.data[l4 + l4_head + i] = (uint8_t)unit_random(&rnd);
    }
    struct l4_place place;
    assert_int_equal(l4_find(p.data, p.len, p.len, &place), L4_PLAIN);
    csum_offload_tx(&p.hdr, p.data, &place);
    tx_join_read(&p.join, p.data, p.headers_len, p.len, &place, cut);
    return p;
}

/* --- the device ------------------------------------------------------------------------------- */

static uint16_t sum_of(const uint8_t *data, uint32_t len, uint64_t sum) {
    for (uint32_t i = 0; i < len; i++) {
        sum += i % 2 == 0 ? (uint64_t)data[i] << 8 : data[i];
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)sum;
}

/* The pseudo-header's sum for so many bytes of TCP or UDP. */
static uint16_t pseudo(const uint8_t *ip, bool v6, uint32_t l4_len) {
    return v6 ? sum_of(ip + 8, 32, (uint64_t)l4_len + ip[6])
              : sum_of(ip + 12, 8, (uint64_t)l4_len + ip[9]);
}

static struct packet out[STREAM_MAX];
static unsigned out_count;

static void emit(const uint8_t *data, uint32_t len) {
    assert_true(out_count < STREAM_MAX);
    struct packet *p = &out[out_count++];
    p->data = malloc(len);
    p->len = len;
    memcpy(p->data, data, len);
}

/* Cuts a frame, or passes it on. */
static void device(const struct flow *f, const uint8_t *frame, uint32_t len,
                   const struct virtio_net_hdr *hdr) {
    const uint32_t ip = ip_offset(f);
    const uint32_t l4 = ip + (f->v6 ? 40 : 20);
    const uint32_t ip_len = f->v6 ? 40u + ether_be16(frame + ip + 4) : ether_be16(frame + ip + 2);
    assert_int_equal(ip + ip_len, len);
    assert_int_equal(hdr->flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
    assert_int_equal(hdr->csum_start, l4);
    assert_int_equal(hdr->csum_offset, f->udp ? 6 : 16);
    assert_int_equal(ether_be16(frame + l4 + hdr->csum_offset),
                     pseudo(frame + ip, f->v6, len - l4));
    if (hdr->gso_type == VIRTIO_NET_HDR_GSO_NONE) {
        emit(frame, len);
        return;
    }
    assert_int_equal(hdr->gso_type, f->udp  ? VIRTIO_NET_HDR_GSO_UDP_L4
                                    : f->v6 ? VIRTIO_NET_HDR_GSO_TCPV6
                                            : VIRTIO_NET_HDR_GSO_TCPV4);
    assert_int_equal(hdr->hdr_len, l4 + (f->udp ? 8 : 20 + 4u * f->options));
    assert_true(hdr->gso_size > 0 && len - hdr->hdr_len > hdr->gso_size);
    if (!f->v6) {
        assert_int_equal(sum_of(frame + ip, 20, 0), 0xffff);
    }
    if (f->udp) {
        assert_int_equal(ether_be16(frame + l4 + 4), len - l4);
    }
    for (uint32_t off = hdr->hdr_len; off < len; off += hdr->gso_size) {
        const uint32_t part = len - off < hdr->gso_size ? len - off : hdr->gso_size;
        uint8_t *cut = malloc(hdr->hdr_len + part);
        memcpy(cut, frame, hdr->hdr_len);
        memcpy(cut + hdr->hdr_len, frame + off, part);
        if (!f->udp) {
            put32(cut + l4 + 4, get32(frame + l4 + 4) + off - hdr->hdr_len);
            if (off + part < len) {
                cut[l4 + 13] &= (uint8_t)~(FIN | PSH);
            }
        }
        emit(cut, hdr->hdr_len + part);
        free(cut);
    }
}

/* --- the driver, as net/netif_tx.c -------------------------------------------------------------- */

static struct {
    bool used, bundle;
    struct flow flow;
    struct tx_join join;
    struct virtio_net_hdr hdr;
    uint32_t len;
    uint8_t data[LEN_MAX];
} held;

static unsigned joined, replaced;

static void close_held(void) {
    if (held.used && held.bundle) {
        tx_join_finish(&held.join, held.data, &held.hdr);
    }
    if (held.used) {
        device(&held.flow, held.data, held.len, &held.hdr);
    }
    held.used = held.bundle = false;
}

static void send(const struct flow *f, const struct packet *p) {
    if (held.used && tx_join_continues(&held.join, &p->join)) {
        memcpy(held.data + held.len, p->data + p->headers_len, p->len - p->headers_len);
        held.len += p->len - p->headers_len;
        tx_join_add(&held.join, &p->join, held.data);
        held.bundle = true;
        joined++;
        return;
    }
    if (held.used && !held.bundle && tx_join_supersedes(&held.join, &p->join)) {
        held.used = false;
        replaced++;
    }
    close_held();
    memcpy(held.data, p->data, p->len);
    held.used = true;
    held.flow = *f;
    held.hdr = p->hdr;
    held.len = p->len;
    held.join = p->join;
    held.join.headers = held.data;
    if (p->join.kind == TX_JOIN_NEVER) {
        close_held();
    }
}

#endif
