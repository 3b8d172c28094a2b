#include "boot/memory.h"

#define FOUR_GIB (1ull << 32)

void memory_add(struct boot_info *info, struct memory_range ram, uint64_t arena_from,
                uint64_t granule) {
    info->ram_bytes += ram.end - ram.start;
    if (ram.end <= FOUR_GIB && ram.end > info->low_ram_end) {
        info->low_ram_end = ram.end;
    }
    const uint64_t start = ram.start <= arena_from ? arena_from : align_up(ram.start, granule);
    const uint64_t end = align_down(min_u64(ram.end, MEMORY_ARENA_END_MAX), granule);
    if (start < end && end - start > info->arena_size) {
        info->arena_base = start;
        info->arena_size = end - start;
    }
}

bool memory_is_enough(const struct boot_info *info, uint64_t arena_from) {
    return arena_from + info->arena_size >= (BOOT_MEMORY_MIN_MIB - 1ull) << 20;
}

static void memory_sort(struct memory_range *ranges, unsigned count) {
    for (unsigned i = 1; i < count; i++) { /* firmware has them in order, or nearly so */
        const struct memory_range range = ranges[i];
        unsigned at = i;
        for (; at > 0 && ranges[at - 1].start > range.start; at--) {
            ranges[at] = ranges[at - 1];
        }
        ranges[at] = range;
    }
}

unsigned memory_merge(struct memory_range *ranges, unsigned count) {
    unsigned merged = 0;
    memory_sort(ranges, count);
    for (unsigned i = 0; i < count; i++) {
        if (ranges[i].start >= ranges[i].end) {
            continue;
        }
        if (merged > 0 && ranges[i].start <= ranges[merged - 1].end) {
            ranges[merged - 1].end = max_u64(ranges[merged - 1].end, ranges[i].end);
        } else {
            ranges[merged++] = ranges[i];
        }
    }
    return merged;
}

bool memory_contains(const struct memory_range *ranges, unsigned count, struct memory_range part) {
    for (unsigned i = 0; i < count; i++) {
        if (ranges[i].start <= part.start && part.end <= ranges[i].end) {
            return true;
        }
    }
    return false;
}
