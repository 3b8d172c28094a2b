/* Ethernet addresses as text. */
#ifndef LIB_MAC_H
#define LIB_MAC_H

#include "lib/util.h"

enum { MAC_LEN = 6 };

enum mac_entry { MAC_NONE, MAC_GIVEN, MAC_BAD };

/* Entry `index` (from 0 on) of a list with commas of addresses like 02:00:00:00:00:01. MAC_NONE: the
 * list is shorter, or that entry is empty. MAC_BAD: it is no unicast address. */
enum mac_entry mac_parse_entry(const char *list, unsigned index, uint8_t mac[MAC_LEN]);

#endif
