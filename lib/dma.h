/* Boot-time allocator of memory that devices may reach: rings and packet buffers.
 *
 * Memory is handed out once and never given back. dma_lock() is called before the workload
 * runs; an allocation after it is our own bug (nothing is allocated on the data path). */
#ifndef LIB_DMA_H
#define LIB_DMA_H

#include "lib/util.h"

/* The region [base, base + size) is ordinary memory, mapped at its physical address. */
void dma_init(uintptr_t base, size_t size);

/* Zeroed, physically contiguous memory; align is a power of two. NULL when there is not enough. */
void *dma_alloc(size_t size, size_t align);

/* The same with whatever the memory holds: for large pieces whose user clears what he needs, since
 * touching megabytes takes longer than all the rest of a boot. */
void *dma_alloc_dirty(size_t size, size_t align);

/* Bytes that are left. */
size_t dma_free_bytes(void);

void dma_lock(void);

/* Ringlet maps all memory at its physical address, so the two are equal. This is the one place
 * that knows. */
ALWAYS_INLINE dma_addr dma_addr_of(const void *ptr) {
    return (dma_addr){.v = (uint64_t)(uintptr_t)ptr};
}

#endif
