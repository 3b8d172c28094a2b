/* Reads the pieces that the values of app=gen are made of. Each function moves *text behind what
 * it took, and returns false, with *text anywhere, when that is not what it reads. */
#ifndef NET_GEN_TEXT_H
#define NET_GEN_TEXT_H

#include "lib/util.h"

/* The word, if the text starts with it. */
bool gen_text_word(const char **text, const char *word);

/* Decimal digits; the number is at most max. */
bool gen_text_number(const char **text, uint64_t max, uint64_t *number);

/* A decimal fraction such as 1.5 with an optional k, M or G behind it, as number / divisor. */
bool gen_text_fraction(const char **text, uint64_t *number, uint64_t *divisor);

/* Addresses, up to a '-' or the end of the text. The first byte on the wire is the highest one. */
bool gen_text_ip4(const char **text, uint32_t *addr);
bool gen_text_ip6(const char **text, uint64_t *high, uint64_t *low);

#endif
