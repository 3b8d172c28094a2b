#include "lib/mac.h"

#include <string.h>

static bool mac_hex_byte(const char **text, uint8_t *byte) {
    unsigned value = 0;
    for (unsigned i = 0; i < 2; i++) {
        const char c = *(*text)++;
        const unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                               : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                               : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
                                                      : 16;
        if (digit == 16) {
            return false;
        }
        value = value * 16 + digit;
    }
    *byte = (uint8_t)value;
    return true;
}

static bool mac_parse(const char *text, uint8_t mac[MAC_LEN]) {
    for (unsigned i = 0; i < MAC_LEN; i++) {
        if ((i > 0 && *text++ != ':') || !mac_hex_byte(&text, &mac[i])) {
            return false;
        }
    }
    const bool zero = (mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]) == 0;
    return (*text == '\0' || *text == ',') && (mac[0] & 1) == 0 && !zero;
}

enum mac_entry mac_parse_entry(const char *list, unsigned index, uint8_t mac[MAC_LEN]) {
    for (unsigned i = 0; i < index && list != NULL; i++) {
        list = strchr(list, ',');
        list = list != NULL ? list + 1 : NULL;
    }
    if (list == NULL || *list == '\0' || *list == ',') {
        return MAC_NONE;
    }
    return mac_parse(list, mac) ? MAC_GIVEN : MAC_BAD;
}
