/* Test data that is a function of a seed and a sequence number, so that what comes back can be
 * checked without keeping what was sent. Its first eight bytes are the sequence number, low byte
 * first; no eight bytes in a row occur again at another multiple of eight, so that lost, doubled
 * and misplaced parts show. */
#ifndef LIB_PATTERN_H
#define LIB_PATTERN_H

#include "lib/util.h"

/* The first len bytes of the data of seq. */
void pattern_write(uint64_t seed, uint64_t seq, void *out, size_t len);

/* Whether the len bytes at data are those from offset off on. */
bool pattern_matches(uint64_t seed, uint64_t seq, size_t off, const void *data, size_t len);

#endif
