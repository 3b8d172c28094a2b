/* CPU instructions that ring 3 may execute. */
#ifndef LIB_CPU_H
#define LIB_CPU_H

#include "lib/util.h"

ALWAYS_INLINE uint64_t cpu_tsc(void) {
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

ALWAYS_INLINE void cpu_relax(void) {
    __asm__ volatile("pause" : : : "memory");
}

struct cpuid_regs {
    uint32_t eax, ebx, ecx, edx;
};

ALWAYS_INLINE struct cpuid_regs cpuid(uint32_t leaf) {
    struct cpuid_regs r;
    __asm__ volatile("cpuid"
                     : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
                     : "a"(leaf), "c"(0));
    return r;
}

#endif
