#include "net/gen_stream.h"

#include <string.h>

#include "net/ether.h"

enum {
    ETH_ADDRESSES = 2 * MAC_LEN,
    IP4_LEN = 20,
    IP6_LEN = 40,
    IP4_SUM_OFF = 10,
    IP4_SRC_OFF = 12,
    IP6_SRC_LOW_OFF = 16,
    IP6_DST_LOW_OFF = 32,
    PROTO_TCP = 6,
    PROTO_UDP = 17,
    TCP_LEN = 20,
    UDP_LEN = 8,
    TCP_SEQ_OFF = 4,
    TCP_SUM_OFF = 16,
    UDP_SUM_OFF = 6,
    TTL = 64,
};

/* --- sums ------------------------------------------------------------------------------------- */

/* Of the four 16-bit words of a number, not folded. */
ALWAYS_INLINE uint64_t sum_halves(uint64_t word) {
    return (word & UINT32_MAX) + (word >> 32);
}

/* Of a sum below 2^40, so that three steps suffice. Not inverted. */
ALWAYS_INLINE uint32_t sum_fold(uint64_t sum) {
    sum = (sum & UINT32_MAX) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    return (uint32_t)((sum & 0xffff) + (sum >> 16));
}

static uint64_t sum_bytes(const uint8_t *bytes, uint32_t len) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < len; i++) {
        sum += (uint64_t)bytes[i] << (i % 2 * 8);
    }
    return sum;
}

/* --- setting up ------------------------------------------------------------------------------- */

static void put64(uint8_t *at, uint64_t value) {
    value = __builtin_bswap64(value);
    memcpy(at, &value, sizeof(value));
}

static uint8_t *stream_put_tag(uint8_t *at, uint32_t ethertype, uint32_t id) {
    if (id == 0) {
        return at;
    }
    ether_put16(at, ethertype);
    ether_put16(at + 2, id);
    return at + 4;
}

/* len: of the packet behind the Ethernet header. Addresses, as far as they change, stay zero. */
static void stream_put_ip(const struct gen_spec *spec, uint8_t *ip, uint32_t len) {
    const uint8_t proto = spec->tcp ? PROTO_TCP : PROTO_UDP;
    if (spec->v6) {
        ip[0] = 0x60;
        ether_put16(ip + 4, len - IP6_LEN);
        ip[6] = proto;
        ip[7] = TTL;
        put64(ip + 8, spec->src_high);
        put64(ip + 24, spec->dst_high);
    } else {
        ip[0] = 0x45;
        ether_put16(ip + 2, len);
        ip[6] = 0x40; /* is not to be cut, so it needs no identification (RFC 6864) */
        ip[8] = TTL;
        ip[9] = proto;
    }
}

static void stream_put_l4(const struct gen_spec *spec, uint8_t *l4, uint32_t len) {
    if (!spec->tcp) {
        ether_put16(l4 + 4, len);
        return;
    }
    ether_put16(l4 + 10, 1);           /* acknowledges byte 0 of nobody's stream */
    l4[12] = TCP_LEN / 4 << 4;
    l4[13] = 0x10;               /* ACK */
    ether_put16(l4 + 14, UINT16_MAX);  /* window */
}

static void stream_init_class(const struct gen_stream *stream, const struct gen_spec *spec,
                              uint32_t len, struct gen_class *class) {
    uint8_t *head = class->head;
    uint8_t *at = head + ETH_ADDRESSES;
    const uint32_t l4_len = len - stream->l4_off;
    const uint32_t room = len - stream->stamp_off;
    *class = (struct gen_class){.len = len, .stamped = room >= STAMP_LEN};

    memcpy(head, spec->dst_mac, MAC_LEN);
    memcpy(head + MAC_LEN, spec->src_mac, MAC_LEN);
    at = stream_put_tag(at, ETHER_QINQ, spec->qinq);
    at = stream_put_tag(at, ETHER_VLAN, spec->vlan);
    ether_put16(at, spec->v6 ? ETHER_IP6 : ETHER_IP4);
    stream_put_ip(spec, head + stream->ip_off, len - stream->ip_off);
    stream_put_l4(spec, head + stream->l4_off, l4_len);

    uint8_t *stamp = head + stream->stamp_off;
    const uint16_t magic = STAMP_MAGIC;
    if (class->stamped) {
        const uint32_t start = stream->stamp_off + STAMP_LEN;
        memcpy(stamp, &magic, sizeof(magic));
        class->payload_len = room - STAMP_LEN;
        class->payload_room = (uint32_t)align_up(class->payload_len, STAMP_BLOCK);
        stamp_payload_write(stamp_payload_base(spec->seed, 0, 0), head + start,
                            GEN_HEAD_LEN - start);
    }

    const uint32_t rest = class->payload_len % STAMP_BLOCK;
    const uint32_t low = rest < 8 ? rest : 8;
    class->last_step = class->payload_len / STAMP_BLOCK * STAMP_STEP;
    class->last_low = low == 8 ? UINT64_MAX : (UINT64_C(1) << low * 8) - 1;
    class->last_high = (UINT64_C(1) << (rest - low) * 8) - 1;

    /* The pseudo header: addresses, length, protocol. */
    const uint32_t ip_len = stream->l4_off - stream->ip_off;
    const uint32_t proto = spec->tcp ? PROTO_TCP : PROTO_UDP;
    class->ip_sum = sum_bytes(head + stream->ip_off, ip_len);
    class->l4_sum = (spec->v6 ? sum_bytes(head + stream->ip_off + 8, ip_len - 8) : 0) +
                    sum_bytes(head + stream->l4_off, stream->stamp_off - stream->l4_off) +
                    __builtin_bswap16((uint16_t)l4_len) + __builtin_bswap16((uint16_t)proto) +
                    (class->stamped ? magic : 0);
    if (spec->fixed && class->stamped) {
        const uint64_t word = stamp_payload_base(spec->seed, 0, 0) + class->last_step;
        class->l4_sum += sum_halves(word & class->last_low) + sum_halves(~word & class->last_high);
    }
}

static struct gen_field stream_field(const struct gen_range *range, uint32_t seed,
                                     uint32_t number) {
    return (struct gen_field){
        .first = range->first,
        .span = range->span,
        .random = range->random,
        .key = prng_mix((uint64_t)seed << 32 | number),
    };
}

static uint32_t stream_gcd(uint32_t a, uint32_t b) {
    while (b != 0) {
        const uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Each entry as often as its weight says, as evenly as can be: the one that is most behind is
 * next.
 *
 * A flow meets every slot when the steps of one round have no factor in common with their
 * number; so all flows get all sizes in exact shares, and no flow keeps one size. */
static void stream_init_schedule(struct gen_stream *stream, const struct gen_spec *spec) {
    int32_t behind[GEN_SIZES_MAX] = {0};
    stream->slots = 0;
    for (unsigned i = 0; i < spec->size_count; i++) {
        stream->slots += spec->sizes[i].weight;
    }
    for (uint32_t slot = 0; slot < stream->slots; slot++) {
        unsigned next = 0;
        for (unsigned i = 0; i < spec->size_count; i++) {
            behind[i] += (int32_t)spec->sizes[i].weight;
            next = behind[i] > behind[next] ? i : next;
        }
        behind[next] -= (int32_t)stream->slots;
        stream->schedule[slot] = (uint8_t)next;
    }
    stream->slot_skip = 0;
    while (stream_gcd(stream->slots, stream->flows + stream->slot_skip) != 1) {
        stream->slot_skip++;
    }
}

/* Needs the classes and the schedule. */
static void stream_init_laps(struct gen_stream *stream) {
    uint32_t slot = 0;
    for (uint32_t position = 0; position < stream->slots; position++) {
        stream->laps[slot] = (struct gen_lap){(uint16_t)position, (uint16_t)stream->lap_stamped};
        stream->lap_stamped += stream->classes[stream->schedule[slot]].stamped;
        slot = (slot + stream->flows + stream->slot_skip) % stream->slots;
    }
    stream->mixed = stream->lap_stamped != 0 && stream->lap_stamped != stream->slots;
}

void gen_stream_init(struct gen_stream *stream, const struct gen_spec *spec, uint32_t session) {
    *stream = (struct gen_stream){
        .v6 = spec->v6,
        .tcp = spec->tcp,
        .fixed = spec->fixed,
        .seed = spec->seed,
        .flows = spec->flows,
        .session_bits = session << STAMP_FLOW_BITS,
        .stamp_off = spec->header_len,
        .l4_off = spec->header_len - (spec->tcp ? TCP_LEN : UDP_LEN),
        .src = stream_field(&spec->src, spec->seed, 0),
        .dst = stream_field(&spec->dst, spec->seed, 1),
        .sport = stream_field(&spec->sport, spec->seed, 2),
        .dport = stream_field(&spec->dport, spec->seed, 3),
        .tcp_step = spec->size_max - spec->header_len,
    };
    stream->ip_off = stream->l4_off - (spec->v6 ? IP6_LEN : IP4_LEN);
    stream->head_len =
        spec->header_len + STAMP_LEN <= GEN_HEAD_SHORT ? GEN_HEAD_SHORT : GEN_HEAD_LEN;
    stream_init_schedule(stream, spec);
    for (unsigned i = 0; i < spec->size_count; i++) {
        stream_init_class(stream, spec, spec->sizes[i].len, &stream->classes[i]);
        stream->payload_max =
            (uint32_t)max_u64(stream->payload_max, stream->classes[i].payload_len);
    }
    stream_init_laps(stream);
}

void gen_stream_prepare(const struct gen_stream *stream, uint8_t *frame) {
    if (stream->fixed) {
        stamp_payload_write(stamp_payload_base(stream->seed, 0, 0),
                            frame + stream->stamp_off + STAMP_LEN, stream->payload_max);
    }
}

/* --- the next frame --------------------------------------------------------------------------- */

ALWAYS_INLINE uint64_t stream_take(struct gen_field *field, uint32_t flow) {
    if (field->random) {
        return field->first + ((prng_mix(field->key + flow) >> 32) * field->span >> 32);
    }
    const uint64_t off = field->off;
    field->off = off + 1 == field->span ? 0 : off + 1;
    return field->first + off;
}

static void stream_next_round(struct gen_stream *stream) {
    stream->flow = 0;
    if (!stream->mixed) {
        stream->seq++;
    } else if (++stream->lap_rounds == stream->slots) {
        stream->lap_rounds = 0;
        stream->seq += stream->lap_stamped;
    }
    stream->slot_first = 0;
    stream->tcp_seq += stream->tcp_step;
    stream->src.off = stream->dst.off = stream->sport.off = stream->dport.off = 0;
    stream->slot += stream->slot_skip;
    stream->slot -= stream->slot >= stream->slots ? stream->slots : 0;
}

/* Writes addresses and, with IPv4, the header's checksum. Returns what the addresses add to
 * sums. */
ALWAYS_INLINE uint64_t stream_addresses(struct gen_stream *stream, const struct gen_class *class,
                                        uint8_t *ip) {
    const uint64_t src = stream_take(&stream->src, stream->flow);
    const uint64_t dst = stream_take(&stream->dst, stream->flow);
    if (stream->v6) {
        const uint64_t wire[2] = {__builtin_bswap64(src), __builtin_bswap64(dst)};
        __builtin_memcpy(ip + IP6_SRC_LOW_OFF, &wire[0], 8);
        __builtin_memcpy(ip + IP6_DST_LOW_OFF, &wire[1], 8);
        return sum_halves(wire[0]) + sum_halves(wire[1]);
    }
    const uint64_t wire =
        __builtin_bswap32((uint32_t)src) | (uint64_t)__builtin_bswap32((uint32_t)dst) << 32;
    const uint64_t sum = sum_halves(wire);
    const uint16_t checksum = (uint16_t)~sum_fold(class->ip_sum + sum);
    __builtin_memcpy(ip + IP4_SRC_OFF, &wire, 8);
    __builtin_memcpy(ip + IP4_SUM_OFF, &checksum, 2);
    return sum;
}

/* Frames with a stamp that the flow had before this one. */
ALWAYS_INLINE uint64_t stream_seq(const struct gen_stream *stream) {
    if (LIKELY(!stream->mixed)) {
        return stream->seq;
    }
    const struct gen_lap first = stream->laps[stream->slot_first];
    const struct gen_lap now = stream->laps[stream->slot];
    const uint32_t around = now.position < first.position ? stream->lap_stamped : 0;
    return stream->seq + around + now.stamped - first.stamped;
}

/* Writes stamp and payload. Returns what they add to the sum. */
ALWAYS_INLINE uint64_t stream_stamp(const struct gen_stream *stream, const struct gen_class *class,
                                    uint8_t *at, uint64_t tsc) {
    const struct stamp stamp = {
        .magic = STAMP_MAGIC,
        .flow_session = stream->session_bits | stream->flow,
        .seq = stream_seq(stream),
        .tsc = tsc,
    };
    __builtin_memcpy(at, &stamp, sizeof(stamp));
    uint64_t sum = stamp.flow_session + sum_halves(stamp.seq) + sum_halves(tsc);
    if (!stream->fixed && class->payload_len != 0) {
        const uint64_t base = stamp_payload_base(stream->seed, stream->flow, stamp.seq);
        const uint64_t word = base + class->last_step;
        stamp_payload_write(base, at + STAMP_LEN, class->payload_room);
        sum += sum_halves(word & class->last_low) + sum_halves(~word & class->last_high);
    }
    return sum;
}

uint32_t gen_stream_next(struct gen_stream *stream, uint8_t *frame, uint64_t tsc) {
    const struct gen_class *class = &stream->classes[gen_stream_class(stream)];
    uint8_t *l4 = frame + stream->l4_off;

    __builtin_memcpy(frame, class->head, GEN_HEAD_SHORT);
    if (stream->head_len != GEN_HEAD_SHORT) {
        __builtin_memcpy(frame + GEN_HEAD_SHORT, class->head + GEN_HEAD_SHORT,
                         GEN_HEAD_LEN - GEN_HEAD_SHORT);
    }
    uint64_t sum = class->l4_sum + stream_addresses(stream, class, frame + stream->ip_off);

    const uint32_t sport = (uint32_t)stream_take(&stream->sport, stream->flow);
    const uint32_t dport = (uint32_t)stream_take(&stream->dport, stream->flow);
    const uint32_t ports = __builtin_bswap32(sport << 16 | dport);
    __builtin_memcpy(l4, &ports, 4);
    sum += ports;
    if (class->stamped) {
        sum += stream_stamp(stream, class, frame + stream->stamp_off, tsc);
    } else {
        stream->unstamped++;
    }
    if (stream->tcp) {
        const uint32_t seq = __builtin_bswap32(stream->tcp_seq);
        const uint16_t checksum = (uint16_t)~sum_fold(sum + seq);
        __builtin_memcpy(l4 + TCP_SEQ_OFF, &seq, 4);
        __builtin_memcpy(l4 + TCP_SUM_OFF, &checksum, 2);
    } else { /* UDP: 0 would mean that there is none */
        const uint16_t checksum = (uint16_t)~sum_fold(sum);
        const uint16_t sent = checksum == 0 ? UINT16_MAX : checksum;
        __builtin_memcpy(l4 + UDP_SUM_OFF, &sent, 2);
    }

    stream->slot = stream->slot + 1 == stream->slots ? 0 : stream->slot + 1;
    stream->slot_first = stream->slot_first + 1 == stream->slots ? 0 : stream->slot_first + 1;
    if (++stream->flow == stream->flows) {
        stream_next_round(stream);
    }
    return class->len;
}
