/* What lies behind the addresses of an Ethernet frame. */
#ifndef NET_ETHER_H
#define NET_ETHER_H

#include "lib/util.h"

enum {
    ETHER_TYPE_OFF = 12,
    ETHER_TYPE_LEN = 2,
    ETHER_TAG_LEN = 4,
    ETHER_IP4 = 0x0800,
    ETHER_ARP = 0x0806,
    ETHER_IP6 = 0x86dd,
    ETHER_VLAN = 0x8100,
    ETHER_QINQ = 0x88a8,
};

ALWAYS_INLINE uint16_t ether_be16(const uint8_t *at) {
    return (uint16_t)(at[0] << 8 | at[1]);
}

ALWAYS_INLINE uint32_t ether_be32(const uint8_t *at) {
    return (uint32_t)ether_be16(at) << 16 | ether_be16(at + 2);
}

ALWAYS_INLINE void ether_put16(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* Offset of the packet behind the header and all its VLAN tags, and the packet's type. 0 when the len
 * bytes at data end before: then there is no type. */
ALWAYS_INLINE uint32_t ether_packet(const uint8_t *data, uint32_t len, uint16_t *type) {
    uint32_t off = ETHER_TYPE_OFF;
    while (off + ETHER_TYPE_LEN <= len) {
        *type = ether_be16(data + off);
        if (LIKELY(*type != ETHER_VLAN && *type != ETHER_QINQ)) {
            return off + ETHER_TYPE_LEN;
        }
        off += ETHER_TAG_LEN;
    }
    return 0;
}

#endif
