/* Ordered access to memory shared with a virtio device.
 *
 * Both ring layouts hand over through one 16-bit word: split through avail.idx and used.idx,
 * packed through the flags of the next descriptor. So there are three ordering points and no more:
 *
 *   publish   rm_store_release16   everything stored before is visible before the word
 *   poll      rm_load_acquire16    nothing loaded after comes from before the word
 *   arm/kick  rm_fence_full        a store is visible before a later load is done; the only point
 *                                  where x86-64 needs a real instruction
 *
 * All other accesses are relaxed single copies (rm_load, rm_store), so that the compiler neither
 * tears nor repeats them: what the device wrote is read once, checked, then used.
 *
 * Why CPU barriers are enough: without VIRTIO_F_ORDER_PLATFORM the device is software on a CPU of
 * the same coherent machine (6, reserved feature bit 36), ring memory is ordinary write-back
 * memory, and neither side uses non-temporal stores on it. No volatile, no sfence, no lfence.
 * With it, the device may be hardware, and the same holds: its DMA is coherent with these caches,
 * x86 shows it write-back stores in program order, keeps loads in order, and the fence empties the
 * store buffer. (Linux agrees: its dma_wmb() and dma_rmb() are mere compiler barriers on x86.)
 *
 * Hosted models replace this header as a whole with -DRING_MEM_HEADER='"..."'. */
#ifndef LIB_RING_MEM_H
#define LIB_RING_MEM_H

#ifdef RING_MEM_HEADER
#include RING_MEM_HEADER
#else

#include "lib/util.h"

ALWAYS_INLINE void rm_store_release16(uint16_t *p, uint16_t value) {
    __atomic_store_n(p, value, __ATOMIC_RELEASE);
}

ALWAYS_INLINE uint16_t rm_load_acquire16(const uint16_t *p) {
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

ALWAYS_INLINE void rm_fence_full(void) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

ALWAYS_INLINE uint16_t rm_load16(const uint16_t *p) {
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}

ALWAYS_INLINE uint32_t rm_load32(const uint32_t *p) {
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}

ALWAYS_INLINE uint64_t rm_load64(const uint64_t *p) {
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}

ALWAYS_INLINE void rm_store16(uint16_t *p, uint16_t value) {
    __atomic_store_n(p, value, __ATOMIC_RELAXED);
}

ALWAYS_INLINE void rm_store32(uint32_t *p, uint32_t value) {
    __atomic_store_n(p, value, __ATOMIC_RELAXED);
}

ALWAYS_INLINE void rm_store64(uint64_t *p, uint64_t value) {
    __atomic_store_n(p, value, __ATOMIC_RELAXED);
}

#endif
#endif
