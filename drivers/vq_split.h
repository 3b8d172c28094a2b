/* The split virtqueue, driver side (2.7). Included by vq.h, which holds the contract of each call.
 *
 * A buffer's id is the number of its first descriptor. Out of order, descriptors come from a
 * private free list; in order, they are taken one behind the other (2.7.5), so there is no list,
 * and the buffer that comes back next is known. */
#ifndef DRIVERS_VQ_SPLIT_H
#define DRIVERS_VQ_SPLIT_H

/* One descriptor, of the ring or of a table. */
ALWAYS_INLINE void vq_split_write(struct virtq_desc *desc, dma_addr addr, uint32_t len,
                                  uint16_t flags, uint16_t next) {
    const uint64_t rest = len | (uint64_t)flags << 32 | (uint64_t)next << 48;
    ASSERT_HOT(len > 0);
    vq_update64(&desc->addr, addr.v);
    vq_update64((uint64_t *)(void *)&desc->len, rest); /* len, flags and next as they lie */
}

_Static_assert(offsetof(struct virtq_desc, len) == 8 && offsetof(struct virtq_desc, flags) == 12 &&
                   offsetof(struct virtq_desc, next) == 14 &&
                   __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "they are one word");

/* Device-writable segments come last, 2.7.4.2. */
ALWAYS_INLINE uint16_t vq_split_flags(uint16_t i, uint16_t n_out, uint16_t n_segs) {
    return (uint16_t)((i >= n_out ? VIRTQ_DESC_F_WRITE : 0) |
                      (i + 1 == n_segs ? 0 : VIRTQ_DESC_F_NEXT));
}

/* Fills a table: entry 0 links to 1, 1 to 2 and so on, as IN_ORDER demands and others may as well
 * have it (2.7.5.3.1). None of them has INDIRECT. */
ALWAYS_INLINE void vq_split_fill_table(struct virtq_desc *table, const struct vq_seg *seg,
                                       uint16_t n_out, uint16_t n_segs) {
    for (uint16_t i = 0; i < n_segs; i++) {
        vq_split_write(&table[i], seg[i].addr, seg[i].len, vq_split_flags(i, n_out, n_segs),
                       i + 1 == n_segs ? 0 : (uint16_t)(i + 1));
    }
}

/* The descriptor that is filled after `id`: in order the next one of the table, around its end
 * (2.7.5.2). */
ALWAYS_INLINE uint16_t vq_split_after(const struct vq *q, bool in_order, uint16_t id) {
    return in_order ? (uint16_t)((id + 1) & (q->num - 1)) : q->slots[id].next;
}

/* Fills a chain that starts at head. Returns the descriptor after it. */
ALWAYS_INLINE uint16_t vq_split_fill_chain(struct vq *q, bool in_order, uint16_t head,
                                           const struct vq_seg *seg, uint16_t n_out,
                                           uint16_t n_segs) {
    uint16_t id = head;
    for (uint16_t i = 0; i < n_segs; i++) {
        const uint16_t next = vq_split_after(q, in_order, id);
        vq_split_write(&q->split.desc[id], seg[i].addr, seg[i].len,
                       vq_split_flags(i, n_out, n_segs), i + 1 == n_segs ? 0 : next);
        id = next;
    }
    return id;
}

ALWAYS_INLINE void vq_split_add(struct vq *q, bool in_order, const struct vq_seg *seg,
                                uint16_t n_out, uint16_t n_in, void *token) {
    struct vq_split *s = &q->split;
    const uint16_t n_segs = (uint16_t)(n_out + n_in);
    const uint16_t head = q->free_slot;
    struct vq_slot *slot = &q->slots[head];

    ASSERT_HOT(slot->token == NULL);
    if (vq_uses_table(q, n_segs)) {
        q->free_slot = vq_split_after(q, in_order, head);
        vq_split_fill_table(vq_table(q, head), seg, n_out, n_segs);
        vq_split_write(&s->desc[head], vq_table_addr(q, head),
                       n_segs * (uint32_t)sizeof(struct virtq_desc), VIRTQ_DESC_F_INDIRECT, 0);
        slot->n_desc = 1;
    } else {
        q->free_slot = vq_split_fill_chain(q, in_order, head, seg, n_out, n_segs);
        slot->n_desc = n_segs;
    }
    slot->token = token;
    slot->in_len = (uint32_t)vq_seg_bytes(seg, n_out, n_segs);
    if (in_order) {
        slot->avail_idx = s->avail_idx;
    }
    q->free_count = (uint16_t)(q->free_count - slot->n_desc);
    vq_update16(&s->avail->ring[s->avail_idx & (q->num - 1)], head);
    s->avail_idx++;
}

ALWAYS_INLINE void vq_split_publish(struct vq *q) {
    struct vq_split *s = &q->split;
    /* The device may read from here on. Release: descriptors, tables and ring entries are visible
     * before the index; pairs with the device's load of it. 2.7.13.3.1. */
    rm_store_release16(&s->avail->idx, s->avail_idx);
    q->unnotified_count += idx_diff(s->avail_idx, s->published_idx);
    s->published_idx = s->avail_idx;
}

ALWAYS_INLINE bool vq_split_notify_needed(struct vq *q) {
    struct vq_split *s = &q->split;
    const uint64_t count = q->unnotified_count;
    if (count == 0) {
        return false;
    }
    q->unnotified_count = 0;
    /* The index is visible before we read whether the device sleeps; the device does the same the
     * other way round, so one of the two sees the other. 2.7.13.4.1. */
    rm_fence_full();
    if (q->event_idx) {
        /* Is avail_event one of the last `count` entries, modulo 2^16? 2.7.10.1. */
        return idx_diff(s->published_idx, (uint16_t)(rm_load16(s->avail_event) + 1)) < count;
    }
    return (rm_load16(&s->used->flags) & VIRTQ_USED_F_NO_NOTIFY) == 0;
}

ALWAYS_INLINE bool vq_split_notify_never(const struct vq *q) {
    return !q->event_idx && (rm_load16(&q->split.used->flags) & VIRTQ_USED_F_NO_NOTIFY) != 0;
}

ALWAYS_INLINE uint16_t vq_split_pending_count(const struct vq *q) {
    return idx_diff(q->split.published_idx, q->split.used_idx);
}

/* Gives the chain that starts at head back to the free list. */
ALWAYS_INLINE void vq_split_release(struct vq *q, uint16_t head) {
    struct vq_slot *slot = &q->slots[head];
    uint16_t tail = head;
    for (uint16_t i = 1; i < slot->n_desc; i++) {
        tail = q->slots[tail].next;
    }
    vq_free_append(q, q->free_count == 0, head, tail);
    q->free_count = (uint16_t)(q->free_count + slot->n_desc);
    slot->token = NULL;
}

/* Buffers that the device has used, up to the index in *end. Marks the ring broken when these are
 * more than were ever made available. */
ALWAYS_INLINE uint16_t vq_split_ready(struct vq *q, uint16_t *end) {
    /* Acquire: the entries are read after the index that covers them; pairs with the device's
     * release of it. 2.7.8.2, 2.7.14. */
    *end = rm_load_acquire16(&q->split.used->idx);
    const uint16_t ready = idx_diff(*end, q->split.used_idx);
    if (UNLIKELY(ready > vq_split_pending_count(q))) {
        vq_break(q);
        return 0;
    }
    return ready;
}

ALWAYS_INLINE unsigned vq_split_take_used(struct vq *q, struct vq_done *done, unsigned max) {
    struct vq_split *s = &q->split;
    uint16_t end;
    if (UNLIKELY(q->broken)) {
        return 0;
    }
    const unsigned ready = vq_split_ready(q, &end);
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

/* 2.7.9: the element at the start of a batch, at used_idx, names its last buffer, so how far that
 * one is ahead is the size of the batch. Only buffers below the index `end`, which are all
 * published, can be in it. Returns how many they are, 0 when the device broke the protocol. */
ALWAYS_INLINE uint16_t vq_split_batch_size(const struct vq *q, uint32_t id, uint16_t used_idx,
                                           uint16_t end) {
    if (UNLIKELY(id >= q->num || q->slots[id].token == NULL)) {
        return 0;
    }
    const uint16_t ahead = idx_diff(q->slots[id].avail_idx, used_idx);
    return LIKELY(ahead < idx_diff(end, used_idx)) ? (uint16_t)(ahead + 1) : 0;
}

/* The state is held in variables until the end, since what is written to done[] could be a part of
 * it for all that the compiler knows. */
ALWAYS_INLINE unsigned vq_split_take_in_order(struct vq *q, struct vq_done *done, unsigned max) {
    struct vq_split *s = &q->split;
    struct vq_slot *slots = q->slots;
    struct vq_batch batch = q->batch;
    const uint16_t mask = (uint16_t)(q->num - 1);
    uint16_t at = s->used_slot, used_idx = s->used_idx, freed = 0, end;
    unsigned i = 0;
    if (UNLIKELY(q->broken)) {
        return 0;
    }
    const unsigned ready = vq_split_ready(q, &end);
    const unsigned count = ready < max ? ready : max;
    for (; i < count; i++) {
        struct vq_slot *slot = &slots[at];
        if (batch.left == 0) {
            const struct virtq_used_elem *elem = &s->used->ring[used_idx & mask];
            const uint32_t id = rm_load32(&elem->id);
            batch.len = rm_load32(&elem->len);
            /* Most often it is the next one; since `ready` covers it, it is outstanding. */
            batch.left = LIKELY(id == at) ? 1 : vq_split_batch_size(q, id, used_idx, end);
            if (UNLIKELY(batch.left == 0 || batch.len > slots[id].in_len)) {
                batch.left = 0;
                vq_break(q);
                break;
            }
        }
        batch.left--;
        done[i] = (struct vq_done){
            .token = slot->token,
            .len = batch.left == 0 ? batch.len : slot->in_len,
        };
        slot->token = NULL;
        if (LIKELY(slot->n_desc == 1)) { /* predicted: the next one need not wait for this load */
            at = (uint16_t)((at + 1) & mask);
            freed++;
        } else {
            at = (uint16_t)((at + slot->n_desc) & mask);
            freed = (uint16_t)(freed + slot->n_desc);
        }
        used_idx++;
    }
    s->used_slot = at;
    s->used_idx = used_idx;
    q->free_count = (uint16_t)(q->free_count + freed);
    q->batch = batch;
    return i;
}

ALWAYS_INLINE void vq_split_event_off(struct vq *q) {
    /* With EVENT_IDX the flags must stay 0 (2.7.7.1); an event index that the device has just
     * passed is as far away as can be. */
    if (q->event_idx) {
        rm_store16(q->split.used_event, (uint16_t)(q->split.used_idx - 1));
    } else {
        rm_store16(&q->split.avail->flags, VIRTQ_AVAIL_F_NO_INTERRUPT);
    }
}

ALWAYS_INLINE bool vq_split_event_on(struct vq *q, uint16_t skip) {
    struct vq_split *s = &q->split;
    if (q->event_idx) {
        /* The notification comes when the entry of this index is written. 2.7.7.1. */
        rm_store16(s->used_event, (uint16_t)(s->used_idx + skip));
    } else {
        rm_store16(&s->avail->flags, 0);
    }
    /* The device sees the request before we look for the last time; without the fence both sides
     * could miss each other. 2.7.7.1, 2.7.14. */
    rm_fence_full();
    return rm_load_acquire16(&s->used->idx) != s->used_idx && !q->broken;
}

#endif
