/* The MAC address that frames of app=gen go to, asked for through the protocol stack. */
#ifndef NET_GEN_RESOLVE_H
#define NET_GEN_RESOLVE_H

#include "net/gen_spec.h"

/* Whether NIC 0 has, or may get, an address to ask with. */
bool gen_resolve_can(const struct gen_spec *spec);

/* The IPv4 address of NIC 0; false while it has none. */
bool gen_resolve_own_ip4(uint32_t *addr);

/* The address of the station, or gateway, that frames to the first element of dst= go to. Asks
 * for it when needed; false while it is unknown. Call again and again, a few times a second at
 * most. */
bool gen_resolve_dst(const struct gen_spec *spec, uint8_t mac[MAC_LEN]);

#endif
