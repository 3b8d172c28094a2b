/* The addresses of the command line, one for each NIC. */
#ifndef NET_ADDR_H
#define NET_ADDR_H

#include "lib/util.h"
#include "lwip/ip_addr.h"

enum addr_mode { ADDR_OFF, ADDR_AUTO, ADDR_STATIC };

struct addr_ip4 {
    enum addr_mode mode; /* ADDR_AUTO: DHCP */
    ip4_addr_t addr;
    ip4_addr_t mask;
};

struct addr_ip6 {
    enum addr_mode mode; /* ADDR_AUTO: link-local and what routers announce */
    ip6_addr_t addr;     /* its prefix has 64 bits: lwIP knows no other */
};

/* Fill out[0..count) from a list with commas. One `dhcp`, `auto` or `off` stands for all NICs;
 * otherwise NICs beyond the list are off. False when the list is wrong or longer than count; the
 * reason was logged. */
bool addr_parse_ip4(const char *text, struct addr_ip4 *out, unsigned count);
bool addr_parse_ip6(const char *text, struct addr_ip6 *out, unsigned count);

/* The address of another station, IPv4 or IPv6, in one of the forms above without a prefix length.
 * False for anything else: unspecified, loopback, multicast, a subnet router. Logs nothing. */
bool addr_parse_station(const char *text, ip_addr_t *out);

/* The gateway and the NIC whose subnet it is in. False when there is none; logged. */
bool addr_parse_gateway(const char *text, const struct addr_ip4 *nics, unsigned count,
                        ip4_addr_t *gateway, unsigned *nic);

/* Whether no NIC before this one has its static address; logged. */
bool addr_check_unique(const struct addr_ip4 *nics, unsigned nic);

#endif
