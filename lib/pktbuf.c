#include "lib/pktbuf.h"

#include "lib/dma.h"
#include "lib/err.h"

int pktbuf_pool_init(struct pktbuf_pool *pool, uint32_t total, uint32_t room) {
    size_t stride = align_up(sizeof(struct pktbuf) + room, PKTBUF_ALIGN);
    uint8_t *memory = dma_alloc(stride * total, PKTBUF_ALIGN);
    if (memory == NULL) {
        return ERR_RESOURCE;
    }
    *pool = (struct pktbuf_pool){
        .total = total,
        .room = (uint32_t)(stride - sizeof(struct pktbuf)),
    };
    /* From the last to the first, so that buffers are first handed out in address order. */
    for (uint32_t i = total; i-- > 0;) {
        struct pktbuf *buf = (struct pktbuf *)(void *)(memory + i * stride);
        buf->pool = pool;
        pktbuf_put(buf);
    }
    return ERR_OK;
}
