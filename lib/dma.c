#include "lib/dma.h"

#include "lib/assert.h"

#include <string.h>

static uintptr_t dma_next;
static uintptr_t dma_end;
static bool dma_locked;

void dma_init(uintptr_t base, size_t size) {
    dma_next = base;
    dma_end = base + size;
    dma_locked = false;
}

void *dma_alloc_dirty(size_t size, size_t align) {
    ASSERT(!dma_locked);
    ASSERT(is_power_of_two(align));
    uintptr_t start = align_up(dma_next, align);
    if (start < dma_next || start > dma_end || size > dma_end - start) {
        return NULL;
    }
    dma_next = start + size;
    return (void *)start;
}

void *dma_alloc(size_t size, size_t align) {
    void *memory = dma_alloc_dirty(size, align);
    return memory != NULL ? memset(memory, 0, size) : NULL;
}

size_t dma_free_bytes(void) {
    return dma_end - dma_next;
}

void dma_lock(void) {
    dma_locked = true;
}
