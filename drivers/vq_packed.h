/* The packed virtqueue, driver side (2.8). Included by vq.h, which holds the contract of each call.
 *
 * One ring of descriptors serves both directions: a descriptor is available when its AVAIL bit
 * equals the driver's wrap counter and USED does not, used when both equal the wrap counter of that
 * side (2.8.1). The wrap counters are kept as the flag bits that they stand for.
 *
 * Out of order, buffer ids come from a private free list and are independent of slots, so the
 * device may complete buffers in any order; it writes used descriptors one behind the other, each
 * instead of as many slots as the buffer had descriptors. In order, a buffer's id is its first
 * slot, and the one that comes back next starts where the last one ended. */
#ifndef DRIVERS_VQ_PACKED_H
#define DRIVERS_VQ_PACKED_H

enum { VQ_PACKED_WRAP = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED };

/* Fills the next descriptor of the ring. flags: without AVAIL and USED. */
ALWAYS_INLINE void vq_packed_put(struct vq *q, dma_addr addr, uint32_t len, uint16_t id,
                                 uint16_t flags) {
    struct vq_packed *p = &q->packed;
    struct pvirtq_desc *desc = &p->desc[p->avail_slot];
    flags = (uint16_t)(flags | p->avail_flags);
    ASSERT_HOT(len > 0);
    vq_update64(&desc->addr, addr.v);
    /* The id counts in the last one of a list, 2.8.6. */
    if (p->added_count == 0) {
        /* The device stops at this one until vq_publish(); all behind it can be complete. */
        rm_store32(&desc->len, len);
        rm_store16(&desc->id, id);
        p->head_slot = p->avail_slot;
        p->head_flags = flags;
    } else { /* len, id and flags as they lie */
        rm_store64((uint64_t *)(void *)&desc->len,
                   len | (uint64_t)id << 32 | (uint64_t)flags << 48);
    }
    p->added_count++;
    if (++p->avail_slot == q->num) {
        p->avail_slot = 0;
        p->avail_flags ^= VQ_PACKED_WRAP;
    }
}

_Static_assert(offsetof(struct pvirtq_desc, len) == 8 && offsetof(struct pvirtq_desc, id) == 12 &&
                   offsetof(struct pvirtq_desc, flags) == 14 &&
                   __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "they are one word");

enum { VQ_LINE_SLOTS = 64 / sizeof(struct pvirtq_desc) }; /* descriptors in a cache line */

/* One store in a row to each cache line of the next `count` descriptors, all of them free: each waits
 * until the device's core has given the line up, and so they all wait at the same time. What is
 * stored is what is there. */
ALWAYS_INLINE void vq_packed_claim(struct vq *q, uint16_t count) {
    struct pvirtq_desc *desc = q->packed.desc;
    uint32_t slot = q->packed.avail_slot;
    ASSERT_HOT(count <= q->free_count);
    for (uint32_t end = slot + count; slot < end; slot = (slot | (VQ_LINE_SLOTS - 1)) + 1) {
        struct pvirtq_desc *at = &desc[slot < q->num ? slot : slot - q->num];
        rm_store64(&at->addr, rm_load64(&at->addr));
    }
}

/* Device-writable segments come last, 2.8.17. */
ALWAYS_INLINE uint16_t vq_packed_write_flag(uint16_t i, uint16_t n_out) {
    return i >= n_out ? VIRTQ_DESC_F_WRITE : 0;
}

/* Fills a table. All entries count, so there is no NEXT; the ids are reserved. 2.8.7, 2.8.19 */
ALWAYS_INLINE void vq_packed_fill_table(struct pvirtq_desc *table, const struct vq_seg *seg,
                                        uint16_t n_out, uint16_t n_segs) {
    for (uint16_t i = 0; i < n_segs; i++) {
        ASSERT_HOT(seg[i].len > 0);
        vq_update64(&table[i].addr, seg[i].addr.v);
        vq_update64((uint64_t *)(void *)&table[i].len,
                    seg[i].len | (uint64_t)vq_packed_write_flag(i, n_out) << 48);
    }
}

ALWAYS_INLINE void vq_packed_add(struct vq *q, bool in_order, const struct vq_seg *seg,
                                 uint16_t n_out, uint16_t n_in, void *token) {
    const uint16_t n_segs = (uint16_t)(n_out + n_in);
    const uint16_t id = in_order ? q->packed.avail_slot : q->free_slot;
    struct vq_slot *slot = &q->slots[id];

    ASSERT_HOT(slot->token == NULL);
    if (vq_uses_table(q, n_segs)) {
        vq_packed_fill_table(vq_table(q, id), seg, n_out, n_segs);
        vq_packed_put(q, vq_table_addr(q, id), n_segs * (uint32_t)sizeof(struct pvirtq_desc), id,
                      VIRTQ_DESC_F_INDIRECT);
        slot->n_desc = 1;
    } else {
        for (uint16_t i = 0; i < n_segs; i++) {
            vq_packed_put(q, seg[i].addr, seg[i].len, id,
                          (uint16_t)(vq_packed_write_flag(i, n_out) |
                                     (i + 1 == n_segs ? 0 : VIRTQ_DESC_F_NEXT)));
        }
        slot->n_desc = n_segs;
    }
    slot->token = token;
    slot->in_len = (uint32_t)vq_seg_bytes(seg, n_out, n_segs);
    if (!in_order) {
        q->free_slot = slot->next;
        q->packed.free_ids--;
    }
    q->free_count = (uint16_t)(q->free_count - slot->n_desc);
}

ALWAYS_INLINE void vq_packed_publish(struct vq *q) {
    struct vq_packed *p = &q->packed;
    if (p->added_count == 0) {
        return;
    }
    /* The device may read from here on. Release: all descriptors of the batch and their tables are
     * visible before the flags of the first; pairs with the device's load of them. 2.8.21.1.1. */
    rm_store_release16(&p->desc[p->head_slot].flags, p->head_flags);
    q->unnotified_count += p->added_count;
    p->added_count = 0;
}

/* Slot and wrap counter of the first descriptor that is not published, as off_wrap has them. */
ALWAYS_INLINE uint16_t vq_packed_notify_position(const struct vq *q) {
    const struct vq_packed *p = &q->packed;
    const bool held = p->added_count != 0;
    const uint16_t slot = held ? p->head_slot : p->avail_slot;
    const uint16_t flags = held ? p->head_flags : p->avail_flags;
    return (uint16_t)(slot | (flags & VIRTQ_DESC_F_AVAIL ? RING_EVENT_WRAP : 0));
}

/* Where a slot lies in two laps around the ring, of which the first has the wrap counter 1. */
ALWAYS_INLINE uint32_t vq_packed_position(const struct vq *q, uint16_t off_wrap) {
    const uint32_t off = off_wrap & (RING_EVENT_WRAP - 1u);
    return off_wrap & RING_EVENT_WRAP ? off : off + q->num;
}

ALWAYS_INLINE bool vq_packed_notify_needed(struct vq *q) {
    struct vq_packed *p = &q->packed;
    const uint64_t count = q->unnotified_count;
    if (count == 0) {
        return false;
    }
    q->unnotified_count = 0;
    /* The flags are visible before we read whether the device sleeps; the device does the same the
     * other way round, so one of the two sees the other. 2.8.21.3.1. */
    rm_fence_full();
    /* Both halves in one load, so that they belong together. */
    const uint32_t event = rm_load32((const uint32_t *)(const void *)p->device_event);
    const uint16_t flags = (uint16_t)(event >> 16) & RING_EVENT_FLAGS_MASK;
    if (flags != RING_EVENT_FLAGS_DESC || !q->event_idx) {
        return flags != RING_EVENT_FLAGS_DISABLE;
    }
    /* Was the descriptor asked for among the last `count`? Going back from the next one, it is met
     * within two laps, after which slots and wrap counters repeat. 2.8.10. */
    const uint32_t asked = vq_packed_position(q, (uint16_t)event);
    const uint32_t next = vq_packed_position(q, vq_packed_notify_position(q));
    return (next > asked ? next : next + 2u * q->num) - asked - 1 < count;
}

ALWAYS_INLINE bool vq_packed_notify_never(const struct vq *q) {
    return (rm_load16(&q->packed.device_event->flags) & RING_EVENT_FLAGS_MASK) ==
           RING_EVENT_FLAGS_DISABLE;
}

ALWAYS_INLINE uint16_t vq_packed_pending_count(const struct vq *q) {
    return (uint16_t)(q->num - q->free_count - q->packed.added_count);
}

ALWAYS_INLINE void vq_packed_release(struct vq *q, uint16_t id) {
    struct vq_slot *slot = &q->slots[id];
    vq_free_append(q, q->packed.free_ids == 0, id, id);
    q->packed.free_ids++;
    q->free_count = (uint16_t)(q->free_count + slot->n_desc);
    slot->token = NULL;
}

/* Where the device marks the next used descriptor, and which AVAIL and USED it will give to it. */
struct vq_packed_cursor {
    uint16_t slot;
    uint16_t flags;
};

ALWAYS_INLINE struct vq_packed_cursor vq_packed_cursor(const struct vq *q) {
    return (struct vq_packed_cursor){.slot = q->packed.used_slot, .flags = q->packed.used_flags};
}

ALWAYS_INLINE void vq_packed_advance(struct vq_packed_cursor *at, uint16_t num, uint16_t n_desc) {
    if (LIKELY(n_desc == 1)) { /* predicted: the next look need not wait for n_desc to be loaded */
        if (++at->slot == num) {
            at->slot = 0;
            at->flags ^= VQ_PACKED_WRAP;
        }
        return;
    }
    at->slot = (uint16_t)(at->slot + n_desc);
    if (at->slot >= num) {
        at->slot = (uint16_t)(at->slot - num);
        at->flags ^= VQ_PACKED_WRAP;
    }
}

ALWAYS_INLINE bool vq_packed_is_used(const struct pvirtq_desc *desc, uint16_t used_flags) {
    /* Acquire: id and length are read after the flags that mark them as used; pairs with the
     * device's release of the flags. 2.8.22. */
    return (rm_load_acquire16(&desc->flags) & VQ_PACKED_WRAP) == used_flags;
}

/* By the text the length counts only beside the flag WRITE (2.8.4), but common devices never set
 * that flag; in a buffer that they cannot write the length means nothing. */
ALWAYS_INLINE uint32_t vq_packed_len(const struct vq_slot *slot, uint32_t written) {
    return slot->in_len != 0 ? written : 0;
}

ALWAYS_INLINE unsigned vq_packed_take_used(struct vq *q, struct vq_done *done, unsigned max) {
    struct vq_packed_cursor at = vq_packed_cursor(q);
    unsigned i = 0;
    if (UNLIKELY(q->broken)) {
        return 0;
    }
    for (; i < max; i++) {
        const struct pvirtq_desc *desc = &q->packed.desc[at.slot];
        if (!vq_packed_is_used(desc, at.flags)) {
            break;
        }
        const uint16_t id = rm_load16(&desc->id);
        const uint32_t written = rm_load32(&desc->len);
        if (UNLIKELY(id >= q->num || q->slots[id].token == NULL)) {
            vq_break(q);
            break;
        }
        const struct vq_slot *slot = &q->slots[id];
        /* More descriptors than were published cannot have been used. */
        if (UNLIKELY(slot->n_desc > vq_packed_pending_count(q) ||
                     vq_packed_len(slot, written) > slot->in_len)) {
            vq_break(q);
            break;
        }
        done[i] = (struct vq_done){.token = slot->token, .len = vq_packed_len(slot, written)};
        vq_packed_advance(&at, q->num, slot->n_desc);
        vq_packed_release(q, id);
    }
    q->packed.used_slot = at.slot;
    q->packed.used_flags = at.flags;
    return i;
}

/* 2.8.8: the used descriptor at the start of a batch, in slot `first`, names its last buffer; the
 * batch reaches from here to the end of that one. Returns how many descriptors that are, 0 when no
 * outstanding buffer has the id. */
ALWAYS_INLINE uint32_t vq_packed_batch_size(const struct vq *q, uint16_t id, uint16_t first) {
    if (UNLIKELY(id >= q->num || q->slots[id].token == NULL)) {
        return 0;
    }
    return (id >= first ? 0u : q->num) + id - first + q->slots[id].n_desc;
}

/* The state is held in variables until the end, since what is written to done[] could be a part of
 * it for all that the compiler knows. */
ALWAYS_INLINE unsigned vq_packed_take_in_order(struct vq *q, struct vq_done *done, unsigned max) {
    struct vq_packed_cursor at = vq_packed_cursor(q);
    struct vq_slot *slots = q->slots;
    struct vq_batch batch = q->batch;
    const uint16_t num = q->num, pending = vq_packed_pending_count(q);
    uint16_t freed = 0;
    unsigned i = 0;
    if (UNLIKELY(q->broken)) {
        return 0;
    }
    for (; i < max; i++) {
        struct vq_slot *slot = &slots[at.slot];
        if (batch.left == 0) {
            const struct pvirtq_desc *desc = &q->packed.desc[at.slot];
            if (!vq_packed_is_used(desc, at.flags)) {
                break;
            }
            const uint16_t id = rm_load16(&desc->id);
            const uint32_t written = rm_load32(&desc->len);
            /* Most often it is the next one. Only what is published can be used: as long as that
             * is something, the next one is outstanding. */
            const uint32_t n_desc =
                LIKELY(id == at.slot) ? slot->n_desc : vq_packed_batch_size(q, id, at.slot);
            if (UNLIKELY(n_desc == 0 || freed + n_desc > pending ||
                         vq_packed_len(&slots[id], written) > slots[id].in_len)) {
                vq_break(q);
                break;
            }
            batch = (struct vq_batch){
                .left = (uint16_t)n_desc,
                .len = vq_packed_len(&slots[id], written),
            };
        }
        batch.left = (uint16_t)(batch.left - slot->n_desc);
        done[i] = (struct vq_done){
            .token = slot->token,
            .len = batch.left == 0 ? batch.len : slot->in_len,
        };
        slot->token = NULL;
        freed = (uint16_t)(freed + slot->n_desc);
        vq_packed_advance(&at, num, slot->n_desc);
    }
    q->packed.used_slot = at.slot;
    q->packed.used_flags = at.flags;
    q->free_count = (uint16_t)(q->free_count + freed);
    q->batch = batch;
    return i;
}

ALWAYS_INLINE void vq_packed_event_off(struct vq *q) {
    rm_store16(&q->packed.driver_event->flags, RING_EVENT_FLAGS_DISABLE);
}

ALWAYS_INLINE bool vq_packed_event_on(struct vq *q, uint16_t skip) {
    struct vq_packed *p = &q->packed;
    if (q->event_idx) {
        const bool lap = p->used_slot + (uint32_t)skip >= q->num; /* the wrap counter changes */
        const uint16_t slot = (uint16_t)(p->used_slot + skip - (lap ? q->num : 0));
        const uint16_t flags = lap ? (uint16_t)(p->used_flags ^ VQ_PACKED_WRAP) : p->used_flags;
        const uint16_t off_wrap = (uint16_t)(slot | (flags & RING_EVENT_WRAP));
        /* Both halves in one store, so that the device never sees one of them alone. */
        rm_store32((uint32_t *)(void *)p->driver_event,
                   (uint32_t)RING_EVENT_FLAGS_DESC << 16 | off_wrap);
    } else {
        rm_store16(&p->driver_event->flags, RING_EVENT_FLAGS_ENABLE);
    }
    /* The device sees the request before we look for the last time. 2.8.22. */
    rm_fence_full();
    /* The slots of a batch that is not all taken are not marked one by one. */
    return (q->batch.left != 0 ||
            vq_packed_is_used(&p->desc[p->used_slot], p->used_flags)) && !q->broken;
}

#endif
