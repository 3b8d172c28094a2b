#include "net/gen_text.h"

#include <string.h>

enum { FRACTION_DIGITS_MAX = 6, IP6_GROUPS = 8 };

#define FRACTION_WHOLE_MAX UINT64_C(10000000000000) /* fits 64 bits with a fraction */

bool gen_text_word(const char **text, const char *word) {
    const size_t len = strlen(word);
    if (strncmp(*text, word, len) != 0) {
        return false;
    }
    *text += len;
    return true;
}

static bool gen_text_is_digit(char c) {
    return c >= '0' && c <= '9';
}

bool gen_text_number(const char **text, uint64_t max, uint64_t *number) {
    uint64_t value = 0;
    if (!gen_text_is_digit(**text)) {
        return false;
    }
    for (; gen_text_is_digit(**text); (*text)++) {
        const uint64_t digit = (uint64_t)(**text - '0');
        if (value > max / 10 || value * 10 > max - digit) {
            return false;
        }
        value = value * 10 + digit;
    }
    *number = value;
    return true;
}

bool gen_text_fraction(const char **text, uint64_t *number, uint64_t *divisor) {
    static const struct {
        const char *name;
        uint64_t factor;
    } units[] = {{"k", 1000}, {"M", 1000000}, {"G", 1000000000}};
    *divisor = 1;
    if (!gen_text_number(text, FRACTION_WHOLE_MAX, number)) {
        return false;
    }
    if (gen_text_word(text, ".")) {
        unsigned digits = 0;
        for (; gen_text_is_digit(**text) && digits < FRACTION_DIGITS_MAX; (*text)++, digits++) {
            *number = *number * 10 + (uint64_t)(**text - '0');
            *divisor *= 10;
        }
        if (digits == 0) {
            return false;
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (gen_text_word(text, units[i].name)) {
            if (*number > UINT64_MAX / units[i].factor) {
                return false;
            }
            *number *= units[i].factor;
            break;
        }
    }
    return true;
}

bool gen_text_ip4(const char **text, uint32_t *addr) {
    *addr = 0;
    for (unsigned i = 0; i < 4; i++) {
        uint64_t byte;
        const char *start = *text + (i > 0);
        if ((i > 0 && !gen_text_word(text, ".")) || !gen_text_number(text, 255, &byte) ||
            (*start == '0' && *text - start > 1)) { /* elsewhere that means octal */
            return false;
        }
        *addr = *addr << 8 | (uint32_t)byte;
    }
    return true;
}

static int gen_text_hex_digit(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* One to four hexadecimal digits. */
static bool gen_text_group(const char **text, uint16_t *group) {
    unsigned digits = 0;
    *group = 0;
    for (; digits < 4 && gen_text_hex_digit(**text) >= 0; (*text)++, digits++) {
        *group = (uint16_t)(*group << 4 | gen_text_hex_digit(**text));
    }
    return digits > 0;
}

bool gen_text_ip6(const char **text, uint64_t *high, uint64_t *low) {
    uint16_t groups[IP6_GROUPS] = {0};
    unsigned count = 0;
    unsigned gap = IP6_GROUPS; /* groups in front of "::", IP6_GROUPS: there is none */
    if (gen_text_word(text, "::")) {
        gap = 0;
    }
    while (count < IP6_GROUPS && gen_text_hex_digit(**text) >= 0) {
        if (!gen_text_group(text, &groups[count++])) {
            return false;
        }
        if (gen_text_word(text, "::")) {
            if (gap != IP6_GROUPS || count == IP6_GROUPS) {
                return false;
            }
            gap = count;
        } else if (**text != ':') {
            break;
        } else {
            (*text)++;
            if (gen_text_hex_digit(**text) < 0) {
                return false;
            }
        }
    }
    if (gap == IP6_GROUPS ? count != IP6_GROUPS : count == IP6_GROUPS) {
        return false;
    }
    const unsigned missing = IP6_GROUPS - count;
    *high = *low = 0;
    for (unsigned i = 0; i < IP6_GROUPS; i++) {
        const uint16_t group = i < gap || missing == 0 ? groups[i]
                               : i < gap + missing     ? 0
                                                       : groups[i - missing];
        uint64_t *half = i < IP6_GROUPS / 2 ? high : low;
        *half = *half << 16 | group;
    }
    return true;
}
