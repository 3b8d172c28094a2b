/* Options of a TCP header (RFC 9293, 3.1). */
#ifndef NET_TCP_OPTION_H
#define NET_TCP_OPTION_H

#include "lib/util.h"

enum {
    TCP_OPTION_END = 0,
    TCP_OPTION_NOP = 1,
    TCP_OPTION_SACK = 5,
    TCP_OPTION_TIMESTAMPS = 8,
};

/* The first option of that kind among len bytes of options: its kind, its length, which counts both and ends
 * within these bytes, and its data. NULL when there is none, or what comes before is broken. */
static inline const uint8_t *tcp_option_find(const uint8_t *option, uint32_t len, uint8_t kind) {
    const uint8_t *end = option + len;
    while (option < end && *option != TCP_OPTION_END) {
        if (*option == TCP_OPTION_NOP) {
            option++;
            continue;
        }
        if (end - option < 2 || option[1] < 2 || option[1] > end - option) {
            return NULL;
        }
        if (*option == kind) {
            return option;
        }
        option += option[1];
    }
    return NULL;
}

#endif
