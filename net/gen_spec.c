#include "net/gen_spec.h"

#include "lib/log.h"
#include "net/gen_text.h"

enum {
    SPAN_BITS = 32,
    ETH_LEN = 14,
    TAG_LEN = 4,
    IP4_LEN = 20,
    IP6_LEN = 40,
    UDP_LEN = 8,
    TCP_LEN = 20,
    WEIGHT_MAX = 255,
};

#define SRC_DEFAULT 0xc6120001u /* 198.18.0.1: RFC 2544 has these networks for tests */
#define DST_DEFAULT 0xc6130001u /* 198.19.0.1 */

/* --- ranges ----------------------------------------------------------------------------------- */

/* A number of one kind; IPv6 has a high half. */
typedef bool gen_spec_reader(const char **text, uint64_t *high, uint64_t *low);

static bool gen_spec_read_port(const char **text, uint64_t *high, uint64_t *low) {
    *high = 0;
    return gen_text_number(text, UINT16_MAX, low);
}

static bool gen_spec_read_ip4(const char **text, uint64_t *high, uint64_t *low) {
    uint32_t addr;
    *high = 0;
    if (!gen_text_ip4(text, &addr)) {
        return false;
    }
    *low = addr;
    return true;
}

/* One, A-B, or random:A-B. */
static bool gen_spec_read_range(const char *value, gen_spec_reader *read, struct gen_range *range,
                                uint64_t *high) {
    uint64_t last_high, last;
    range->random = gen_text_word(&value, "random:");
    if (!read(&value, high, &range->first)) {
        return false;
    }
    last_high = *high;
    last = range->first;
    if (gen_text_word(&value, "-") && !read(&value, &last_high, &last)) {
        return false;
    }
    if (*value != '\0' || last_high != *high || last < range->first ||
        last - range->first >= UINT64_C(1) << SPAN_BITS) {
        return false;
    }
    range->span = last - range->first + 1;
    return true;
}

static bool gen_spec_ports(const char *key, const char *value, struct gen_range *range) {
    uint64_t high;
    if (!gen_spec_read_range(value, gen_spec_read_port, range, &high)) {
        log_error("config: %s=%s: must be a port from 0 to 65535, a range A-B, or random:A-B", key,
                  value);
        return false;
    }
    return true;
}

static bool gen_spec_is_ip6(const char *value) {
    (void)gen_text_word(&value, "random:");
    for (; *value != '\0'; value++) {
        if (*value == ':') {
            return true;
        }
    }
    return false;
}

static bool gen_spec_addresses(const char *key, const char *value, bool v6, struct gen_range *range,
                               uint64_t *high) {
    if (!gen_spec_read_range(value, v6 ? gen_text_ip6 : gen_spec_read_ip4, range, high)) {
        log_error("config: %s=%s: must be an address, a range A-B of at most 2^32 (IPv6: with the "
                  "same first 64 bits), or random:A-B", key, value);
        return false;
    }
    return true;
}

static bool gen_spec_parse_addresses(struct gen_spec *spec, const struct config *cfg) {
    const bool has_dst = cfg->dst[0] != '\0';
    spec->has_src = cfg->src[0] != '\0';
    spec->v6 = has_dst && gen_spec_is_ip6(cfg->dst);
    if (spec->has_src ? gen_spec_is_ip6(cfg->src) != spec->v6 : spec->v6) {
        log_error("config: src=%s: must be of the same family as dst=%s", cfg->src,
                  has_dst ? cfg->dst : "198.19.0.1");
        return false;
    }
    spec->src = (struct gen_range){.first = SRC_DEFAULT, .span = 1};
    spec->dst = (struct gen_range){.first = DST_DEFAULT, .span = 1};
    return (!spec->has_src ||
            gen_spec_addresses("src", cfg->src, spec->v6, &spec->src, &spec->src_high)) &&
           (!has_dst || gen_spec_addresses("dst", cfg->dst, spec->v6, &spec->dst, &spec->dst_high));
}

static void gen_spec_set_flows(struct gen_spec *spec, uint32_t flows) {
    const uint64_t most = max_u64(max_u64(spec->src.span, spec->dst.span),
                                  max_u64(spec->sport.span, spec->dport.span));
    spec->flows = flows != 0 ? flows : (uint32_t)min_u64(most, STAMP_FLOW_MAX);
}

/* --- sizes ------------------------------------------------------------------------------------ */

static bool gen_spec_read_sizes(struct gen_spec *spec, const char *text) {
    uint64_t sum = 0;
    do {
        uint64_t len, weight = 1;
        if (spec->size_count == GEN_SIZES_MAX || !gen_text_number(&text, UINT16_MAX, &len) ||
            (gen_text_word(&text, ":") && !gen_text_number(&text, WEIGHT_MAX, &weight)) ||
            weight == 0) {
            return false;
        }
        sum += weight;
        spec->sizes[spec->size_count++] =
            (struct gen_size){.len = (uint32_t)len, .weight = (uint32_t)weight};
        spec->size_max = (uint32_t)max_u64(spec->size_max, len);
    } while (gen_text_word(&text, ","));
    return *text == '\0' && sum <= GEN_SCHEDULE_MAX;
}

/* Its largest frame is as large as the device can send, where that is less. */
static bool gen_spec_read_imix(struct gen_spec *spec, const char *text, uint32_t frame_max) {
    if (!gen_text_word(&text, "imix") || *text != '\0') {
        return false;
    }
    spec->size_max = (uint32_t)min_u64(1518, frame_max);
    spec->sizes[0] = (struct gen_size){.len = 64, .weight = 7};
    spec->sizes[1] = (struct gen_size){.len = 594, .weight = 4};
    spec->sizes[2] = (struct gen_size){.len = spec->size_max, .weight = 1};
    spec->size_count = 3;
    return true;
}

static bool gen_spec_parse_sizes(struct gen_spec *spec, const char *value, uint32_t frame_max) {
    spec->header_len = ETH_LEN + (spec->vlan != 0 ? TAG_LEN : 0) + (spec->qinq != 0 ? TAG_LEN : 0) +
                       (spec->v6 ? IP6_LEN : IP4_LEN) + (spec->tcp ? TCP_LEN : UDP_LEN);
    if (!gen_spec_read_imix(spec, value, frame_max) && !gen_spec_read_sizes(spec, value)) {
        log_error("config: size=%s: must be imix, or up to %u sizes with commas, each with :WEIGHT "
                  "(1 to %u, together at most %u) behind it or not", value, GEN_SIZES_MAX,
                  WEIGHT_MAX, GEN_SCHEDULE_MAX);
        return false;
    }
    for (unsigned i = 0; i < spec->size_count; i++) {
        const uint32_t len = spec->sizes[i].len;
        if (len < spec->header_len || len > frame_max) {
            log_error("config: size=%s: %u bytes: must be from %u (the headers) to %u (the MTU)",
                      value, len, spec->header_len, frame_max);
            return false;
        }
    }
    return true;
}

/* --- the rest --------------------------------------------------------------------------------- */

static bool gen_spec_parse_mac(const char *key, const char *value, uint8_t mac[MAC_LEN]) {
    uint8_t extra[MAC_LEN];
    if (mac_parse_entry(value, 0, mac) != MAC_GIVEN ||
        mac_parse_entry(value, 1, extra) != MAC_NONE) {
        log_error("config: %s=%s: must be one unicast address like 02:00:00:00:00:01", key, value);
        return false;
    }
    return true;
}

bool gen_spec_parse(struct gen_spec *spec, const struct config *cfg,
                    const struct gen_device *device) {
    *spec = (struct gen_spec){
        .tcp = cfg->proto == CONFIG_PROTO_TCP,
        .has_dst_mac = cfg->dst_mac[0] != '\0',
        .fixed = cfg->payload == CONFIG_PAYLOAD_FIXED,
        .vlan = (uint16_t)cfg->vlan,
        .qinq = (uint16_t)cfg->qinq,
        .seed = cfg->seed,
    };
    for (unsigned i = 0; i < MAC_LEN; i++) {
        spec->src_mac[i] = device->mac[i];
    }
    if ((cfg->src_mac[0] != '\0' && !gen_spec_parse_mac("src_mac", cfg->src_mac, spec->src_mac)) ||
        (spec->has_dst_mac && !gen_spec_parse_mac("dst_mac", cfg->dst_mac, spec->dst_mac)) ||
        !gen_spec_parse_addresses(spec, cfg) ||
        !gen_spec_ports("sport", cfg->sport, &spec->sport) ||
        !gen_spec_ports("dport", cfg->dport, &spec->dport) ||
        !gen_spec_parse_sizes(spec, cfg->sizes, device->frame_max) ||
        !gen_rate_parse(&spec->rate, cfg, device->speed_mbps)) {
        return false;
    }
    gen_spec_set_flows(spec, cfg->flows);
    return true;
}
