#include "net/addr.h"

#include <string.h>

#include "lib/log.h"

enum { WORD_MAX = 64, IP6_PREFIX_LEN = 64 };

/* Copies the word of the list that starts at *list into out and moves *list behind its comma, or to
 * NULL at the end. False when it is empty or too long. */
static bool addr_next_word(const char **list, char out[WORD_MAX]) {
    const char *comma = strchr(*list, ',');
    const size_t len = comma != NULL ? (size_t)(comma - *list) : strlen(*list);
    if (len == 0 || len >= WORD_MAX) {
        return false;
    }
    memcpy(out, *list, len);
    out[len] = '\0';
    *list = comma != NULL ? comma + 1 : NULL;
    return true;
}

/* A number of one to three digits without leading zeros, at most max, up to the end of the text. */
static bool addr_parse_number(const char *text, unsigned max, unsigned *out) {
    unsigned value = 0;
    const size_t len = strlen(text);
    if (len == 0 || len > 3 || (text[0] == '0' && len > 1)) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        value = value * 10 + (unsigned)(text[i] - '0');
    }
    *out = value;
    return value <= max;
}

/* Four decimal numbers. lwIP's parser also takes 1.2.3, octal and hexadecimal; what it read is
 * written back, and must then be the same text. */
static bool addr_parse_quad(const char *text, ip4_addr_t *out) {
    char again[IP4ADDR_STRLEN_MAX];
    return ip4addr_aton(text, out) != 0 &&
           ip4addr_ntoa_r(out, again, sizeof(again)) != NULL && strcmp(text, again) == 0;
}

/* Whether a station may have the address: not in 0/8, 127/8 or above 223. */
static bool addr_is_station(const ip4_addr_t *addr) {
    const uint8_t first = ip4_addr1(addr);
    return first != 0 && first != 127 && first < 224;
}

/* Whether the address means a whole subnet or all stations of it (RFC 3021: not with 31 bits). */
static bool addr_is_reserved(const ip4_addr_t *addr, const ip4_addr_t *mask) {
    const uint32_t host_mask = ~lwip_ntohl(mask->addr);
    const uint32_t host = lwip_ntohl(addr->addr) & host_mask;
    return host_mask > 1 && (host == 0 || host == host_mask);
}

/* Splits WORD/LEN in place. */
static bool addr_split_prefix(char *word, unsigned max, unsigned *len) {
    char *slash = strchr(word, '/');
    if (slash == NULL) {
        return false;
    }
    *slash = '\0';
    return addr_parse_number(slash + 1, max, len) && *len > 0;
}

static bool addr_parse_static4(char *word, struct addr_ip4 *out) {
    unsigned len;
    if (!addr_split_prefix(word, 32, &len) || !addr_parse_quad(word, &out->addr) ||
        !addr_is_station(&out->addr)) {
        return false;
    }
    out->mask.addr = lwip_htonl(0xffffffffu << (32 - len));
    out->mode = ADDR_STATIC;
    return !addr_is_reserved(&out->addr, &out->mask);
}

/* Up to eight groups of up to four hexadecimal digits, with `::` at most once. lwIP's parser is
 * more lenient. */
static bool addr_is_ip6_text(const char *text) {
    unsigned groups = 0;
    unsigned digits = 0;
    bool gap = false;
    const char *c = text;
    if (c[0] == ':' && c[1] != ':') {
        return false;
    }
    for (; *c != '\0'; c++) {
        if (*c != ':') {
            if (strchr("0123456789abcdefABCDEF", *c) == NULL || ++digits > 4) {
                return false;
            }
            groups += digits == 1;
            continue;
        }
        if (c[1] == ':') {
            if (gap) {
                return false;
            }
            gap = true;
            c++;
        } else if (digits == 0 || c[1] == '\0') {
            return false;
        }
        digits = 0;
    }
    return gap ? groups < 8 : groups == 8;
}

static bool addr_parse_station6(const char *text, ip6_addr_t *out) {
    if (!addr_is_ip6_text(text) || ip6addr_aton(text, out) == 0) {
        return false;
    }
    return !ip6_addr_isany(out) && !ip6_addr_isloopback(out) && !ip6_addr_ismulticast(out) &&
           (out->addr[2] != 0 || out->addr[3] != 0); /* any router of the subnet: RFC 4291, 2.6.1 */
}

static bool addr_parse_static6(char *word, struct addr_ip6 *out) {
    unsigned len;
    if (!addr_split_prefix(word, 128, &len) || len != IP6_PREFIX_LEN ||
        !addr_parse_station6(word, &out->addr)) {
        return false;
    }
    out->mode = ADDR_STATIC;
    return true;
}

bool addr_parse_station(const char *text, ip_addr_t *out) {
    if (strchr(text, ':') != NULL) {
        IP_SET_TYPE(out, IPADDR_TYPE_V6);
        return addr_parse_station6(text, ip_2_ip6(out));
    }
    IP_SET_TYPE(out, IPADDR_TYPE_V4);
    return addr_parse_quad(text, ip_2_ip4(out)) && addr_is_station(ip_2_ip4(out));
}

/* Walks a list with the words of one address family. */
struct addr_family {
    const char *key;
    const char *automatic;
    const char *form; /* for the message */
    bool (*parse)(char *word, void *out);
    void (*set_mode)(void *out, enum addr_mode mode);
    size_t size; /* of an element of out */
};

static bool addr_parse_list(const struct addr_family *family, const char *text, void *out,
                            unsigned count) {
    unsigned i = 0;
    char word[WORD_MAX];
    char copy[WORD_MAX];
    enum addr_mode rest = ADDR_OFF;

    for (const char *list = text; list != NULL; i++) {
        uint8_t *item = (uint8_t *)out + i * family->size;
        if (i == count) {
            log_error("config: %s=%s: more entries than network devices (%u)", family->key, text,
                      count);
            return false;
        }
        if (!addr_next_word(&list, word)) {
            log_error("config: %s=%s: an entry is empty or too long", family->key, text);
            return false;
        }
        memcpy(copy, word, sizeof(copy));
        if (strcmp(word, "off") == 0) {
            family->set_mode(item, ADDR_OFF);
        } else if (strcmp(word, family->automatic) == 0) {
            family->set_mode(item, ADDR_AUTO);
            rest = i == 0 && list == NULL ? ADDR_AUTO : ADDR_OFF;
        } else if (!family->parse(copy, item)) {
            log_error("config: %s=%s: not %s, off or %s", family->key, word, family->automatic,
                      family->form);
            return false;
        }
    }
    for (; i < count; i++) {
        family->set_mode((uint8_t *)out + i * family->size, rest);
    }
    return true;
}

static bool addr_parse_word4(char *word, void *out) {
    return addr_parse_static4(word, out);
}

static bool addr_parse_word6(char *word, void *out) {
    return addr_parse_static6(word, out);
}

static void addr_set_mode4(void *out, enum addr_mode mode) {
    *(struct addr_ip4 *)out = (struct addr_ip4){.mode = mode};
}

static void addr_set_mode6(void *out, enum addr_mode mode) {
    *(struct addr_ip6 *)out = (struct addr_ip6){.mode = mode};
}

bool addr_parse_ip4(const char *text, struct addr_ip4 *out, unsigned count) {
    static const struct addr_family family = {
        .key = "ip",
        .automatic = "dhcp",
        .form = "the address of a station as A.B.C.D/LEN",
        .parse = addr_parse_word4,
        .set_mode = addr_set_mode4,
        .size = sizeof(struct addr_ip4),
    };
    return addr_parse_list(&family, text, out, count);
}

bool addr_parse_ip6(const char *text, struct addr_ip6 *out, unsigned count) {
    static const struct addr_family family = {
        .key = "ip6",
        .automatic = "auto",
        .form = "the address of a station as ADDR/64",
        .parse = addr_parse_word6,
        .set_mode = addr_set_mode6,
        .size = sizeof(struct addr_ip6),
    };
    return addr_parse_list(&family, text, out, count);
}

bool addr_parse_gateway(const char *text, const struct addr_ip4 *nics, unsigned count,
                        ip4_addr_t *gateway, unsigned *nic) {
    if (!addr_parse_quad(text, gateway) || !addr_is_station(gateway)) {
        log_error("config: gw=%s: not the address of a station as A.B.C.D", text);
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        if (nics[i].mode != ADDR_STATIC ||
            !ip4_addr_net_eq(gateway, &nics[i].addr, &nics[i].mask)) {
            continue;
        }
        if (ip4_addr_eq(gateway, &nics[i].addr)) {
            log_error("config: gw=%s: is the address of network device %u itself", text, i);
            return false;
        }
        if (addr_is_reserved(gateway, &nics[i].mask)) {
            log_error("config: gw=%s: is not a station but the subnet or its broadcast address",
                      text);
            return false;
        }
        *nic = i;
        return true;
    }
    log_error("config: gw=%s: not in the subnet of any static address of ip=", text);
    return false;
}

bool addr_check_unique(const struct addr_ip4 *nics, unsigned nic) {
    for (unsigned i = 0; i < nic; i++) {
        if (nics[i].mode == ADDR_STATIC && nics[nic].mode == ADDR_STATIC &&
            ip4_addr_eq(&nics[i].addr, &nics[nic].addr)) {
            log_error("config: ip: network devices %u and %u have the same address", i, nic);
            return false;
        }
    }
    return true;
}
