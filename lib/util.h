/* Small helpers that every layer uses. No state, no dependencies. */
#ifndef LIB_UTIL_H
#define LIB_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

/* A bus address as the device sees it. A struct, so that a pointer cannot pass for it. */
typedef struct {
    uint64_t v;
} dma_addr;

/* Distance from b to a of two free-running 16-bit indices. Plain `a - b` is an int and goes wrong
 * once the indices have wrapped; always use this. */
ALWAYS_INLINE uint16_t idx_diff(uint16_t a, uint16_t b) {
    return (uint16_t)(a - b);
}

/* align must be a power of two. */
ALWAYS_INLINE uint64_t align_up(uint64_t value, uint64_t align) {
    return (value + align - 1) & ~(align - 1);
}

ALWAYS_INLINE uint64_t align_down(uint64_t value, uint64_t align) {
    return value & ~(align - 1);
}

ALWAYS_INLINE bool is_power_of_two(uint64_t value) {
    return value != 0 && (value & (value - 1)) == 0;
}

ALWAYS_INLINE uint64_t min_u64(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

ALWAYS_INLINE uint64_t max_u64(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

#endif
