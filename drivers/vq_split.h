/* The split virtqueue, driver side (2.7). Included by vq.h, which holds the contract of each call.
 *
 * Descriptors come from a private free list; a buffer's id is the number of its first descriptor.
 * The descriptor table is written and never read back, so that a device which scribbles on it harms
 * only itself. */
#ifndef DRIVERS_VQ_SPLIT_H
#define DRIVERS_VQ_SPLIT_H

ALWAYS_INLINE void vq_split_add(struct vq *q, const struct vq_seg *seg, uint16_t n_out,
                                uint16_t n_in, void *token) {
    struct vq_split *s = &q->split;
    const uint16_t n_desc = (uint16_t)(n_out + n_in);
    const uint16_t head = q->free_slot;
    uint64_t len = 0, in_len = 0;
    uint16_t id = head;
    uint16_t tail = head;

    ASSERT_HOT(n_desc >= 1);
    ASSERT_HOT((uint32_t)n_out + n_in <= q->free_count);
    ASSERT_HOT(token != NULL);
    ASSERT_HOT(q->slots[head].token == NULL);
    for (uint16_t i = 0; i < n_desc; i++) {
        struct virtq_desc *desc = &s->desc[id];
        const bool last = i + 1 == n_desc;
        const bool in = i >= n_out; /* device-writable segments come last, 2.7.4.2 */
        ASSERT_HOT(seg[i].len > 0);
        rm_store64(&desc->addr, seg[i].addr.v);
        rm_store32(&desc->len, seg[i].len);
        rm_store16(&desc->flags, (uint16_t)((in ? VIRTQ_DESC_F_WRITE : 0) |
                                            (last ? 0 : VIRTQ_DESC_F_NEXT)));
        rm_store16(&desc->next, last ? 0 : q->slots[id].next);
        len += seg[i].len;
        in_len += in ? seg[i].len : 0;
        tail = id;
        id = q->slots[id].next;
    }
    q->slots[head].token = token;
    ASSERT_HOT(len <= UINT32_MAX); /* 2.7.5.2 */
    q->slots[head].in_len = (uint32_t)in_len;
    q->slots[head].n_desc = n_desc;
    q->free_slot = q->slots[tail].next;
    q->free_count = (uint16_t)(q->free_count - n_desc);
    rm_store16(&s->avail->ring[s->avail_idx & (q->num - 1)], head);
    s->avail_idx++;
}

ALWAYS_INLINE void vq_split_publish(struct vq *q) {
    struct vq_split *s = &q->split;
    /* The device may read from here on. Release: descriptors and ring entries are visible before
     * the index; pairs with the device's load of it. 2.7.13.3.1. */
    rm_store_release16(&s->avail->idx, s->avail_idx);
    s->published_idx = s->avail_idx;
}

ALWAYS_INLINE bool vq_split_notify_needed(struct vq *q) {
    struct vq_split *s = &q->split;
    const uint16_t before = s->notified_idx;
    const uint16_t now = s->published_idx;
    if (before == now) {
        return false;
    }
    s->notified_idx = now;
    /* The index is visible before we read whether the device sleeps; the device does the same the
     * other way round, so one of the two sees the other. 2.7.13.4.1. */
    rm_fence_full();
    if (q->event_idx) {
        /* Is avail_event one of the entries before..now-1, modulo 2^16? 2.7.10.1. */
        return idx_diff(now, (uint16_t)(rm_load16(s->avail_event) + 1)) < idx_diff(now, before);
    }
    return (rm_load16(&s->used->flags) & VIRTQ_USED_F_NO_NOTIFY) == 0;
}

/* Gives the chain that starts at head back to the free list. */
ALWAYS_INLINE void vq_split_release(struct vq *q, uint16_t head) {
    struct vq_slot *slot = &q->slots[head];
    uint16_t tail = head;
    for (uint16_t i = 1; i < slot->n_desc; i++) {
        tail = q->slots[tail].next;
    }
    q->slots[tail].next = q->free_slot;
    q->free_slot = head;
    q->free_count = (uint16_t)(q->free_count + slot->n_desc);
    slot->token = NULL;
}

ALWAYS_INLINE unsigned vq_split_take_used(struct vq *q, struct vq_done *done, unsigned max) {
    struct vq_split *s = &q->split;
    if (UNLIKELY(q->broken)) {
        return 0;
    }
    /* Acquire: the entries are read after the index that covers them; pairs with the device's
     * release of it. 2.7.8.2, 2.7.14. */
    const uint16_t ready = idx_diff(rm_load_acquire16(&s->used->idx), s->used_idx);
    if (UNLIKELY(ready > idx_diff(s->published_idx, s->used_idx))) {
        vq_break(q); /* more than was ever made available */
        return 0;
    }
    const unsigned count = ready < max ? ready : max;
    for (unsigned i = 0; i < count; i++) {
        const struct virtq_used_elem *elem = &s->used->ring[s->used_idx & (q->num - 1)];
        const uint32_t id = rm_load32(&elem->id);
        const uint32_t len = rm_load32(&elem->len);
        if (UNLIKELY(id >= q->num || q->slots[id].token == NULL || len > q->slots[id].in_len)) {
            vq_break(q);
            return i;
        }
        done[i] = (struct vq_done){.token = q->slots[id].token, .len = len};
        vq_split_release(q, (uint16_t)id);
        s->used_idx++;
    }
    return count;
}

ALWAYS_INLINE void vq_split_event_off(struct vq *q) {
    /* With EVENT_IDX the flags must stay 0 (2.7.7.1); an event index that the device has just passed
     * is as far away as can be. */
    if (q->event_idx) {
        rm_store16(q->split.used_event, (uint16_t)(q->split.used_idx - 1));
    } else {
        rm_store16(&q->split.avail->flags, VIRTQ_AVAIL_F_NO_INTERRUPT);
    }
}

ALWAYS_INLINE bool vq_split_event_on(struct vq *q) {
    struct vq_split *s = &q->split;
    if (q->event_idx) {
        rm_store16(s->used_event, s->used_idx);
    } else {
        rm_store16(&s->avail->flags, 0);
    }
    /* The device sees the request before we look for the last time; without the fence both sides
     * could miss each other. 2.7.7.1, 2.7.14. */
    rm_fence_full();
    return rm_load_acquire16(&s->used->idx) != s->used_idx && !q->broken;
}

#endif
