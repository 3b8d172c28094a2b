#include "net/sink.h"

#include <string.h>

#include "drivers/clock.h"
#include "net/ether.h"
#include "net/sink_check.h"
#include "net/stamp.h"

enum {
    PROTO_TCP = 6,
    PROTO_UDP = 17,
    IP4_HLEN = 20,
    IP6_HLEN = 40,
    UDP_HLEN = 8,
    TCP_HLEN = 20,
    FRAGMENT = 0x3fff, /* offset, and whether more follow */
};

bool sink_init(struct sink *sink, const struct config *cfg) {
    *sink = (struct sink){
        .check = cfg->check != 0,
        .seed = cfg->seed,
        .silence_ticks = clock_ticks_of_us(SINK_SILENCE_US),
        .age_max_ticks = clock_ticks_of_us(SINK_AGE_MAX_US),
    };
    return sink_flows_init(&sink->flows, cfg->flows);
}

/* The IP header at h->ip: finds the one behind it and where the packet ends. Returns the protocol,
 * 0 when there is none that can hold a stamp. */
ALWAYS_INLINE unsigned sink_parse_ip(const uint8_t *data, uint32_t len, uint32_t type,
                                     struct sink_headers *h, uint32_t *end) {
    const uint8_t *ip = data + h->ip;
    const uint32_t left = len - h->ip;
    if (LIKELY(type == ETHER_IP4)) {
        if (left < IP4_HLEN || ip[0] >> 4 != 4 || (ether_be16(ip + 6) & FRAGMENT) != 0) {
            return 0;
        }
        const uint32_t hlen = (ip[0] & 15u) * 4;
        h->l4 = h->ip + hlen;
        *end = h->ip + ether_be16(ip + 2);
        return hlen >= IP4_HLEN ? ip[9] : 0;
    }
    if (type != ETHER_IP6 || left < IP6_HLEN || ip[0] >> 4 != 6) {
        return 0;
    }
    h->ip6 = true;
    h->l4 = h->ip + IP6_HLEN;
    *end = h->l4 + ether_be16(ip + 4);
    return ip[6];
}

/* Whether the frame is a generator's, and whether its headers have the right lengths. */
ALWAYS_INLINE bool sink_parse(const struct pktbuf *frame, struct sink_headers *h,
                              struct stamp *stamp, bool *whole) {
    const uint8_t *data = frame->data;
    const uint32_t len = frame->len;
    uint32_t end = 0;
    uint16_t type;
    const uint32_t off = ether_packet(data, len, &type);
    if (UNLIKELY(off == 0)) {
        return false;
    }
    *h = (struct sink_headers){.ip = off};
    const unsigned protocol = sink_parse_ip(data, len, type, h, &end);
    *whole = end == frame->frame_len;
    if (LIKELY(protocol == PROTO_UDP)) {
        h->stamp = h->l4 + UDP_HLEN;
    } else if (protocol == PROTO_TCP && h->l4 + TCP_HLEN <= len) {
        const uint32_t hlen = (data[h->l4 + 12] >> 4) * 4u;
        h->tcp = true;
        h->stamp = h->l4 + hlen;
        if (hlen < TCP_HLEN) {
            return false;
        }
    } else {
        return false;
    }
    if (h->stamp + STAMP_LEN > len) {
        return false;
    }
    if (!h->tcp) {
        *whole = *whole && h->l4 + ether_be16(data + h->l4 + 4) == end;
    }
    memcpy(stamp, data + h->stamp, STAMP_LEN);
    return stamp->magic == STAMP_MAGIC;
}

/* Whether a frame of another session than the latest one begins a new one. */
static bool sink_begin_session(struct sink *sink, uint32_t number, uint64_t tsc) {
    if (sink->sessions != 0 && tsc - sink->session.last_tsc < sink->silence_ticks) {
        sink->other_session++;
        return false;
    }
    if (sink->sessions != 0) {
        sink_flows_restart(&sink->flows);
    }
    sink->sessions++;
    memset(&sink->session, 0, sizeof(sink->session));
    sink->session.number = number;
    sink->session.first_tsc = tsc;
    return true;
}

static void sink_check(struct sink *sink, const struct pktbuf *frame, const struct sink_headers *h,
                       const struct stamp *stamp) {
    const uint64_t base = stamp_payload_base(sink->seed, stamp_flow(stamp), stamp->seq);
    sink->bad_checksum += !sink_check_sums(frame, h);
    sink->corrupt += !sink_check_payload(frame, h, base);
}

bool sink_frame(struct sink *sink, const struct pktbuf *frame, uint64_t tsc) {
    struct sink_headers headers;
    struct stamp stamp;
    bool whole;
    if (!sink_parse(frame, &headers, &stamp, &whole)) {
        return false;
    }
    sink->frames++;
    sink->bytes += frame->frame_len;
    sink->bad_length += !whole;
    const uint32_t number = stamp_session(&stamp);
    if (UNLIKELY(number != sink->session.number || sink->sessions == 0) &&
        !sink_begin_session(sink, number, tsc)) {
        return true;
    }
    sink->session.frames++;
    sink->session.bytes += frame->frame_len;
    sink->session.last_tsc = tsc;
    sink_flows_add(&sink->flows, stamp_flow(&stamp), stamp.seq);

    const uint64_t age = tsc - stamp.tsc; /* of a stamp in the future: a huge one */
    if (LIKELY(age <= sink->age_max_ticks)) {
        histogram_add(&sink->latency, clock_ns_of_ticks(age));
    } else {
        sink->clock_skewed++;
    }
    if (UNLIKELY(sink->check) && whole) {
        sink_check(sink, frame, &headers, &stamp);
    }
    return true;
}

uint64_t sink_received(const struct sink *sink) {
    const struct sink_flows *flows = &sink->flows;
    return sink->frames - sink->other_session - flows->unknown - flows->bad_stamp -
           flows->duplicates - flows->too_old;
}

bool sink_passed(const struct sink *sink, uint32_t loss_ppm) {
    const uint64_t lost = sink->flows.lost;
    const unsigned __int128 sent = (unsigned __int128)sink_received(sink) + lost;
    return sink->corrupt == 0 && sink->bad_checksum == 0 && sink->bad_length == 0 &&
           (unsigned __int128)lost * 1000000 <= sent * loss_ppm;
}
