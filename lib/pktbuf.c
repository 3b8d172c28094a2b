#include "lib/pktbuf.h"

#include "lib/dma.h"
#include "lib/err.h"

int pktbuf_pool_init(struct pktbuf_pool *pool, uint32_t total, uint32_t room) {
    const size_t stride = pktbuf_stride(room);
    uint8_t *memory = dma_alloc_dirty(stride * total, PKTBUF_ALIGN);
    if (memory == NULL) {
        return ERR_RESOURCE;
    }
    *pool = (struct pktbuf_pool){
        .free_count = total,
        .free_min = total,
        .total = total,
        .room = (uint32_t)(stride - sizeof(struct pktbuf)),
        .stride = (uint32_t)stride,
        .unused = memory,
    };
    return ERR_OK;
}

struct pktbuf *pktbuf_get_unused(struct pktbuf_pool *pool) {
    if (pool->free_count == 0) {
        return NULL;
    }
    /* The free list is empty, so all that are free were never used. */
    struct pktbuf *buf = (struct pktbuf *)(void *)pool->unused;
    pool->unused += pool->stride;
    pool->free_count--;
    buf->pool = pool;
    buf->data = pktbuf_room(buf);
    buf->len = 0;
    return buf;
}
