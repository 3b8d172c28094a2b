/* Packet buffers: a pool of equal buffers with headroom, so that a header can be put in front of a
 * received frame without a copy or a second descriptor.
 *
 *   struct pktbuf | owner area | headroom          | room for the frame            |
 *                 |            | ...| virtio header | frame                         |
 *                                                  ^ data
 *
 * Invariants: a buffer is free or owned by exactly one party (a ring, the protocol stack, a workload).
 * free_count counts the first kind: those in the free list and those that were never used, which lie
 * behind `unused` and are not touched before they are needed. */
#ifndef LIB_PKTBUF_H
#define LIB_PKTBUF_H

#include "lib/util.h"

enum {
    PKTBUF_HEADROOM = 64,
    PKTBUF_ALIGN = 64,
    PKTBUF_OWNER_SIZE = 32,
};

struct pktbuf_pool;

struct pktbuf {
    struct pktbuf *next; /* free list; of a received frame: its next piece, NULL in the last */
    struct pktbuf_pool *pool;
    uint8_t *data; /* first byte of the frame, or of this piece of it */
    uint32_t len;  /* bytes from there on in this buffer */
    uint32_t frame_len; /* of the whole frame, in its first piece */
    /* For whoever owns the buffer, directly in front of the headroom: the protocol stack keeps its
     * own packet header here. */
    uint64_t owner[PKTBUF_OWNER_SIZE / 8];
    uint8_t headroom[PKTBUF_HEADROOM];
};

_Static_assert(offsetof(struct pktbuf, headroom) == 64, "owner area and headroom fill whole lines");
_Static_assert(sizeof(struct pktbuf) == 128, "the frame starts on a cache line");

struct pktbuf_pool {
    struct pktbuf *free; /* the longest free one; they hang together by `next` */
    struct pktbuf *free_last;
    uint32_t free_count;
    uint32_t free_min; /* the lowest that pktbuf_pool_note() has seen */
    uint32_t total;
    uint32_t room;   /* bytes for the frame in each buffer */
    uint32_t stride; /* from one buffer to the next */
    uint8_t *unused; /* the first buffer that was never used */
};

/* From one buffer with so much room to the next: an odd number of cache lines, so that the frames of all
 * buffers spread over all sets of a cache. */
ALWAYS_INLINE size_t pktbuf_stride(uint32_t room) {
    return align_up(sizeof(struct pktbuf) + room, PKTBUF_ALIGN) | PKTBUF_ALIGN;
}

/* Takes `total` buffers with at least `room` bytes each from dma_alloc(). ERR_RESOURCE when there
 * is not enough memory. */
int pktbuf_pool_init(struct pktbuf_pool *pool, uint32_t total, uint32_t room);

ALWAYS_INLINE uint8_t *pktbuf_room(struct pktbuf *buf) {
    return (uint8_t *)(buf + 1);
}

/* Cold half of pktbuf_get(): a buffer that was never used, NULL when there is none. */
struct pktbuf *pktbuf_get_unused(struct pktbuf_pool *pool);

/* NULL when the pool is empty. */
ALWAYS_INLINE struct pktbuf *pktbuf_get(struct pktbuf_pool *pool) {
    struct pktbuf *buf = pool->free;
    if (UNLIKELY(buf == NULL)) {
        return pktbuf_get_unused(pool);
    }
    pool->free = buf->next;
    pool->free_count--;
    return buf;
}

/* Stores a word at the start of the frames of the next `count` buffers, which are about to be written.
 * Each such line was read by the device's core, so the first store has to wait until that one has given
 * up its copy, and the stores behind it wait, too. Here only first stores are in a row, so all lines
 * are asked for at the same time. (PREFETCHW does not help: of a line that is still in this core's
 * cache it asks for nothing.) */
ALWAYS_INLINE void pktbuf_claim(const struct pktbuf_pool *pool, unsigned count) {
    struct pktbuf *buf = pool->free;
    for (unsigned i = 0; i < count && i < pool->free_count && buf != NULL; i++) {
        __atomic_store_n((uint64_t *)(void *)pktbuf_room(buf), 0, __ATOMIC_RELAXED);
        buf = buf->next;
    }
}

/* Buffers are taken in the order in which they came back. So they go around a ring in the same order
 * each time, each meets its own descriptor again, and that need not be written anew (drivers/vq.h). */
ALWAYS_INLINE void pktbuf_put(struct pktbuf *buf) {
    struct pktbuf_pool *pool = buf->pool;
    buf->data = pktbuf_room(buf);
    buf->len = 0;
    buf->next = NULL;
    if (pool->free == NULL) {
        pool->free = buf;
    } else {
        pool->free_last->next = buf;
    }
    pool->free_last = buf;
    pool->free_count++;
}

/* Takes note of how few buffers are free. Not part of each pktbuf_get(): call it after many of them. */
ALWAYS_INLINE void pktbuf_pool_note(struct pktbuf_pool *pool) {
    pool->free_min = pool->free_count < pool->free_min ? pool->free_count : pool->free_min;
}

/* All buffers of a received frame. */
ALWAYS_INLINE void pktbuf_put_frame(struct pktbuf *buf) {
    while (buf != NULL) {
        struct pktbuf *next = buf->next;
        pktbuf_put(buf);
        buf = next;
    }
}

#endif
