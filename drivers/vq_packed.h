/* The packed virtqueue, driver side (2.8). Included by vq.h, which holds the contract of each call.
 *
 * One ring of descriptors serves both directions: a descriptor is available when its AVAIL bit equals
 * the driver's wrap counter and USED does not, used when both equal the wrap counter of that side
 * (2.8.1). The wrap counters are kept as the flag bits that they stand for.
 *
 * Buffer ids come from a private free list and are independent of slots, so the device may complete
 * buffers in any order; it writes used descriptors one behind the other, each instead of as many slots
 * as the buffer had descriptors. */
#ifndef DRIVERS_VQ_PACKED_H
#define DRIVERS_VQ_PACKED_H

enum { VQ_PACKED_WRAP = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED };

ALWAYS_INLINE void vq_packed_add(struct vq *q, const struct vq_seg *seg, uint16_t n_out,
                                 uint16_t n_in, void *token) {
    struct vq_packed *p = &q->packed;
    const uint16_t n_desc = (uint16_t)(n_out + n_in);
    const uint16_t id = q->free_slot;
    struct vq_slot *slot = &q->slots[id];
    uint64_t len = 0, in_len = 0;

    ASSERT_HOT(n_desc >= 1);
    ASSERT_HOT((uint32_t)n_out + n_in <= q->free_count);
    ASSERT_HOT(token != NULL);
    ASSERT_HOT(slot->token == NULL);
    for (uint16_t i = 0; i < n_desc; i++) {
        struct pvirtq_desc *desc = &p->desc[p->avail_slot];
        const bool in = i >= n_out; /* device-writable segments come last, 2.8.17 */
        const uint16_t flags = (uint16_t)(p->avail_flags | (in ? VIRTQ_DESC_F_WRITE : 0) |
                                          (i + 1 == n_desc ? 0 : VIRTQ_DESC_F_NEXT));
        ASSERT_HOT(seg[i].len > 0);
        rm_store64(&desc->addr, seg[i].addr.v);
        rm_store32(&desc->len, seg[i].len);
        rm_store16(&desc->id, id); /* counts in the last one of a list, 2.8.6 */
        if (p->added_count == 0) {
            /* The device stops at this one until vq_publish(); all behind it can be complete. */
            p->head_slot = p->avail_slot;
            p->head_flags = flags;
        } else {
            rm_store16(&desc->flags, flags);
        }
        p->added_count++;
        if (++p->avail_slot == q->num) {
            p->avail_slot = 0;
            p->avail_flags ^= VQ_PACKED_WRAP;
        }
        len += seg[i].len;
        in_len += in ? seg[i].len : 0;
    }
    ASSERT_HOT(len <= UINT32_MAX);
    slot->token = token;
    slot->in_len = (uint32_t)in_len;
    slot->n_desc = n_desc;
    q->free_slot = slot->next;
    q->free_count = (uint16_t)(q->free_count - n_desc);
}

ALWAYS_INLINE void vq_packed_publish(struct vq *q) {
    struct vq_packed *p = &q->packed;
    if (p->added_count == 0) {
        return;
    }
    /* The device may read from here on. Release: all descriptors of the batch are visible before the
     * flags of the first; pairs with the device's load of them. 2.8.21.1.1. */
    rm_store_release16(&p->desc[p->head_slot].flags, p->head_flags);
    p->unnotified_count = (uint16_t)(p->unnotified_count + p->added_count);
    p->added_count = 0;
}

ALWAYS_INLINE bool vq_packed_notify_needed(struct vq *q) {
    struct vq_packed *p = &q->packed;
    const uint16_t count = p->unnotified_count;
    if (count == 0) {
        return false;
    }
    p->unnotified_count = 0;
    /* The flags are visible before we read whether the device sleeps; the device does the same the
     * other way round, so one of the two sees the other. 2.8.21.3.1. */
    rm_fence_full();
    /* Both halves in one load, so that they belong together. */
    const uint32_t event = rm_load32((const uint32_t *)(const void *)p->device_event);
    const uint16_t off_wrap = (uint16_t)event;
    const uint16_t flags = (uint16_t)(event >> 16) & RING_EVENT_FLAGS_MASK;
    if (flags != RING_EVENT_FLAGS_DESC || !q->event_idx) {
        return flags != RING_EVENT_FLAGS_DISABLE;
    }
    /* Slots counted back from avail_slot: was the one asked for among the last `count`? An offset of
     * the other lap lies a whole ring behind. 2.8.10. */
    uint16_t off = off_wrap & (RING_EVENT_WRAP - 1);
    const bool their_wrap = off_wrap & RING_EVENT_WRAP;
    const bool our_wrap = p->avail_flags & VIRTQ_DESC_F_AVAIL;
    if (their_wrap != our_wrap) {
        off = (uint16_t)(off - q->num);
    }
    return idx_diff(p->avail_slot, (uint16_t)(off + 1)) < count;
}

ALWAYS_INLINE void vq_packed_release(struct vq *q, uint16_t id) {
    struct vq_slot *slot = &q->slots[id];
    slot->next = q->free_slot;
    q->free_slot = id;
    q->free_count = (uint16_t)(q->free_count + slot->n_desc);
    slot->token = NULL;
}

ALWAYS_INLINE unsigned vq_packed_take_used(struct vq *q, struct vq_done *done, unsigned max) {
    struct vq_packed *p = &q->packed;
    if (UNLIKELY(q->broken)) {
        return 0;
    }
    for (unsigned i = 0; i < max; i++) {
        const struct pvirtq_desc *desc = &p->desc[p->used_slot];
        /* Acquire: id and length are read after the flags that mark them as used; pairs with the
         * device's release of the flags. 2.8.22. */
        const uint16_t flags = rm_load_acquire16(&desc->flags);
        if ((flags & VQ_PACKED_WRAP) != p->used_flags) {
            return i;
        }
        const uint16_t id = rm_load16(&desc->id);
        const uint32_t written = rm_load32(&desc->len);
        /* More descriptors than were published cannot have been used. */
        const uint16_t published = (uint16_t)(q->num - q->free_count - p->added_count);
        if (UNLIKELY(id >= q->num || q->slots[id].token == NULL ||
                     q->slots[id].n_desc > published)) {
            vq_break(q);
            return i;
        }
        /* By the text the length counts only beside the flag WRITE (2.8.4), but common devices never
         * set that flag; in a buffer that they cannot write the length means nothing. */
        const uint32_t len = q->slots[id].in_len != 0 ? written : 0;
        if (UNLIKELY(len > q->slots[id].in_len)) {
            vq_break(q);
            return i;
        }
        done[i] = (struct vq_done){.token = q->slots[id].token, .len = len};
        p->used_slot = (uint16_t)(p->used_slot + q->slots[id].n_desc);
        if (p->used_slot >= q->num) {
            p->used_slot = (uint16_t)(p->used_slot - q->num);
            p->used_flags ^= VQ_PACKED_WRAP;
        }
        vq_packed_release(q, id);
    }
    return max;
}

ALWAYS_INLINE void vq_packed_event_off(struct vq *q) {
    rm_store16(&q->packed.driver_event->flags, RING_EVENT_FLAGS_DISABLE);
}

ALWAYS_INLINE bool vq_packed_event_on(struct vq *q) {
    struct vq_packed *p = &q->packed;
    if (q->event_idx) {
        const uint16_t off_wrap = (uint16_t)(p->used_slot | (p->used_flags & RING_EVENT_WRAP));
        /* Both halves in one store, so that the device never sees one of them alone. */
        rm_store32((uint32_t *)(void *)p->driver_event,
                   (uint32_t)RING_EVENT_FLAGS_DESC << 16 | off_wrap);
    } else {
        rm_store16(&p->driver_event->flags, RING_EVENT_FLAGS_ENABLE);
    }
    /* The device sees the request before we look for the last time. 2.8.22. */
    rm_fence_full();
    const uint16_t flags = rm_load_acquire16(&p->desc[p->used_slot].flags);
    return (flags & VQ_PACKED_WRAP) == p->used_flags && !q->broken;
}

#endif
