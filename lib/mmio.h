/* Device registers in memory. Writes start with a compiler barrier, so ring stores come first; reads
 * end with one, so what a register allows (a reset that is over) comes after. x86 keeps the order of
 * write-back accesses around an uncached one. Hosted tests replace this header as
 * a whole with -DMMIO_HEADER='"..."'. */
#ifndef LIB_MMIO_H
#define LIB_MMIO_H

#ifdef MMIO_HEADER
#include MMIO_HEADER
#else

#include "lib/util.h"

#define MMIO_DEFINE(bits)                                                                          \
    ALWAYS_INLINE uint##bits##_t mmio_read##bits(uintptr_t addr) {                                 \
        const uint##bits##_t value = *(volatile uint##bits##_t *)addr;                             \
        __asm__ volatile("" : : : "memory");                                                       \
        return value;                                                                              \
    }                                                                                              \
    ALWAYS_INLINE void mmio_write##bits(uintptr_t addr, uint##bits##_t value) {                    \
        __asm__ volatile("" : : : "memory");                                                       \
        *(volatile uint##bits##_t *)addr = value;                                                  \
    }

MMIO_DEFINE(8)
MMIO_DEFINE(16)
MMIO_DEFINE(32)
#undef MMIO_DEFINE

#endif
#endif
