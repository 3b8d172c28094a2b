/* Which memory becomes the arena: plain arithmetic on ranges, for all boot paths. */
#ifndef BOOT_MEMORY_H
#define BOOT_MEMORY_H

#include "boot/boot_info.h"

/* The arena ends here at the latest. */
#define MEMORY_ARENA_END_MAX (1ull << 30)

/* Takes account of a range of usable memory: of its size, and of its end when that is not above 4 GiB.
 * What of it lies from arena_from, the end of the image, to MEMORY_ARENA_END_MAX becomes the arena when it
 * is the largest piece so far. Its bounds are rounded inwards to multiples of granule, a power of two of
 * 4096 or more, but for arena_from itself, a multiple of 4096. Ranges that touch must come as one. */
void memory_add(struct boot_info *info, struct memory_range ram, uint64_t arena_from,
                uint64_t granule);

/* Whether the arena has what it has in a machine of BOOT_MEMORY_MIN_MIB, where firmware keeps less than
 * one of them. */
bool memory_is_enough(const struct boot_info *info, uint64_t arena_from);

/* Sorts ranges and joins those that touch or overlap; empty ones are dropped. Returns how many are left. */
unsigned memory_merge(struct memory_range *ranges, unsigned count);

/* Whether one of the ranges holds all of `part`. */
bool memory_contains(const struct memory_range *ranges, unsigned count, struct memory_range part);

#endif
