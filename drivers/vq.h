/* Virtqueues, driver side, for VIRTIO 1.2 and later: the ring interface of Ringlet.
 *
 * One interface serves both layouts of section 2.6. Every hot call takes the layout as an argument:
 * burst bodies pass a constant, so that the compiler leaves one straight path and no indirect call;
 * cold code passes q->layout. Each layout is one header of static inline functions with the same
 * names behind its prefix (vq_split.h, 2.7; vq_packed.h, 2.8).
 *
 * Fixed slots. What the device reads is written only where it changes, and descriptors (packed: ids)
 * are used in the order in which they came free. So when the same buffers go round a ring, each meets
 * its own descriptor again: all that is stored for a buffer is the one word that hands it over, and
 * the lines of descriptors and of the available ring stay in the caches of both sides. Reading such a
 * line back decides only whether to write it, so a device that scribbles on it harms only itself.
 *
 * What this does not do: allocate memory, ring doorbells, know what is in the buffers.
 *
 * Life of a buffer, by its token:
 *
 *   vq_add         the ring owns it, the device cannot see it yet
 *   vq_publish     the device may use it
 *   vq_take_used   the caller owns it again (or vq_drain, after the device was reset)
 *
 * Invariants, checked by vq_check():
 *   - a buffer id is outstanding exactly while its slot has a token
 *   - out of order: every descriptor (packed: every id) is either in the free list or in exactly
 *     one outstanding buffer; all free descriptors together are free_count
 *   - in order: the outstanding buffers lie one behind the other, from the one that is used next to
 *     the next descriptor to fill; an id is the number of the first descriptor
 *   - split: available index >= published index >= used index (modulo 2^16); from the first to the
 *     last are as many as there are outstanding buffers
 *   - packed: the next slot to fill is as far ahead of the next one to be used, around the ring, as
 *     there are outstanding descriptors; the wrap counters differ when the end lies between
 *
 * The device is not trusted: what it writes is read once, checked, then used. A value that breaks
 * the protocol sets `broken`, counts in `device_errors`, and ends all further use of the ring until
 * it is reset. */
#ifndef DRIVERS_VQ_H
#define DRIVERS_VQ_H

#include "drivers/virtio_spec.h"
#include "lib/assert.h"
#include "lib/ring_mem.h"
#include "lib/util.h"

/* Whether VIRTIO_F_IN_ORDER was negotiated is part of the layout: the rules of section 2.7.9 and
 * 2.8.8 leave out the free list, and a run-time test would cost what that saves. */
enum vq_layout { VQ_SPLIT, VQ_SPLIT_IN_ORDER, VQ_PACKED, VQ_PACKED_IN_ORDER };

ALWAYS_INLINE bool vq_is_packed(enum vq_layout layout) {
    return layout == VQ_PACKED || layout == VQ_PACKED_IN_ORDER;
}

ALWAYS_INLINE bool vq_is_in_order(enum vq_layout layout) {
    return layout == VQ_SPLIT_IN_ORDER || layout == VQ_PACKED_IN_ORDER;
}

enum {
    VQ_NUM_MAX = 32768,
    /* Indirect descriptors (2.7.5.3, 2.8.7). The device reads a chain of two out of the cache line
     * that it has to read anyway, so a table would cost it another miss. A longer chain costs it a
     * second line in any case, and costs us ring descriptors, which a table does not. */
    VQ_INDIRECT_MIN_SEGS = 2, /* a buffer with more segments than this is put into a table ... */
    VQ_INDIRECT_MAX = 64,     /* ... unless it has more than this */
    /* From one table to the next: an odd number of cache lines, so that the first lines of all tables,
     * which are used most, spread over all sets of a cache. */
    VQ_TABLE_STRIDE = VQ_INDIRECT_MAX * sizeof(struct virtq_desc) + 64,
};

/* One piece of a buffer. len is not 0. */
struct vq_seg {
    dma_addr addr;
    uint32_t len;
};

/* A buffer that came back: what vq_add() was given, and the bytes that the device wrote. With
 * IN_ORDER a device may report many buffers through the last one of them. The others then count as
 * used completely (2.7.9, 2.8.8): len is all that the device could write, if it did or not. */
struct vq_done {
    void *token;
    uint32_t len;
};

/* Our own record of a buffer id. Never shared with the device, so it can be trusted. */
struct vq_slot {
    void *token;     /* not NULL while the buffer is outstanding */
    uint32_t in_len; /* bytes that the device may write */
    uint16_t n_desc; /* descriptors of the buffer, in the ring */
    union {
        uint16_t next;      /* out of order: next descriptor of the chain, or of the free list */
        uint16_t avail_idx; /* split, in order: its place among all buffers */
    };
};

struct vq_split {
    struct virtq_desc *desc;
    struct virtq_avail *avail;
    struct virtq_used *used;
    uint16_t *used_event;        /* in the available ring: when we want an interrupt */
    const uint16_t *avail_event; /* in the used ring: when the device wants a doorbell */
    uint16_t avail_idx;          /* next entry of the available ring to fill */
    uint16_t published_idx;      /* what the device was told last */
    uint16_t used_idx;           /* next entry of the used ring to look at */
    uint16_t used_slot;          /* in order: first descriptor of the buffer that is used next */
};

struct vq_packed {
    struct pvirtq_desc *desc;
    struct pvirtq_event_suppress *driver_event;       /* when we want an interrupt */
    const struct pvirtq_event_suppress *device_event; /* when the device wants a doorbell */
    uint16_t avail_slot;     /* next descriptor to fill */
    uint16_t avail_flags;    /* AVAIL and USED as they mark a descriptor there as available */
    uint16_t used_slot;      /* next descriptor that the device marks as used */
    uint16_t used_flags;     /* AVAIL and USED as it will mark it */
    uint16_t head_slot;      /* the first descriptor that is not published ... */
    uint16_t head_flags;     /* ... and its flags, held back until then */
    uint16_t added_count;    /* descriptors that are not published */
    uint16_t free_ids;       /* out of order: in the free list */
};

/* In order: the buffers that the device reported at once and that were not all taken yet. */
struct vq_batch {
    uint16_t left; /* split: buffers, packed: descriptors; 0: none */
    uint32_t len;  /* bytes that the device wrote into the last of them */
};

struct vq {
    uint16_t num;        /* ring size in descriptors */
    uint16_t free_count; /* ring descriptors that vq_add() can still take */
    uint16_t free_slot;  /* head of the free list, unless that is empty; split, in order: next
                          * descriptor to fill */
    uint16_t free_last;  /* ... and its last one, where what comes back is put */
    bool event_idx;      /* VIRTIO_F_EVENT_IDX was negotiated */
    bool broken;         /* the device broke the protocol */
    enum vq_layout layout;
    struct vq_slot *slots;  /* [num] */
    uint8_t *indirect;      /* a table for each buffer id, NULL: none are used */
    dma_addr indirect_addr; /* ... as the device sees it */
    struct vq_batch batch;
    uint64_t unnotified_count; /* published since a doorbell was last considered: split: buffers,
                                * packed: descriptors */
    uint64_t device_errors;
    union {
        struct vq_split split;
        struct vq_packed packed;
    };
};

/* Where the three areas of a ring lie within one piece of memory (2.7, 2.8): offsets in bytes. This
 * one function serves our own pointers and the addresses given to the device. */
struct vq_areas {
    size_t desc_off;   /* descriptor area */
    size_t driver_off; /* driver area */
    size_t device_off; /* device area */
    size_t size;       /* of all three */
};

enum { VQ_AREA_ALIGN = 64 };

struct vq_areas vq_areas(enum vq_layout layout, uint16_t num);

/* Bytes of the tables for indirect descriptors: VQ_TABLE_STRIDE for each buffer id, 272 KiB for a ring of
 * 256. num: 1 to VQ_NUM_MAX. */
size_t vq_indirect_size(uint16_t num);

struct vq_setup {
    enum vq_layout layout;
    uint16_t num;          /* 1 to VQ_NUM_MAX; in a split layout a power of two */
    bool event_idx;        /* VIRTIO_F_EVENT_IDX was negotiated */
    void *memory;          /* vq_areas().size bytes, VQ_AREA_ALIGN aligned */
    struct vq_slot *slots; /* [num], our private record */
    void *indirect;        /* vq_indirect_size() bytes, VQ_AREA_ALIGN aligned; NULL: no tables are
                            * used, as it must be without VIRTIO_F_INDIRECT_DESC */
    dma_addr indirect_addr; /* the device's address of these; 0 with NULL */
};

/* Sets up a ring in the memory that the caller gives, clears it, switches used buffer notifications
 * off. The device must not be using the memory. *q is all zero before the first time;
 * q->device_errors goes on counting over the later ones. */
void vq_init(struct vq *q, const struct vq_setup *setup);

/* After the device or the queue was reset: takes the next outstanding buffer back. Returns its
 * token, NULL when there is none left; the ring must then be set up anew with vq_init(). *cursor
 * starts at 0 and is advanced. The invariants do not hold between the first call and the last. */
void *vq_drain(struct vq *q, uint32_t *cursor);

/* Asserts the invariants above. Linear in num: for tests and for cold paths. */
void vq_check(const struct vq *q);

/* Cold: the device broke the protocol. */
void vq_break(struct vq *q);

/* Whether a buffer of n_segs segments goes into a table. Chain or table, it has at most num
 * descriptors (2.7.5.3.1, 2.8.17). */
ALWAYS_INLINE bool vq_uses_table(const struct vq *q, unsigned n_segs) {
    return n_segs > VQ_INDIRECT_MIN_SEGS && n_segs <= VQ_INDIRECT_MAX && q->indirect != NULL &&
           n_segs <= q->num;
}

/* Ring descriptors that a buffer of n_segs segments (1 to UINT16_MAX) takes: vq_add() needs as many
 * to be free. More than num when the buffer can never be added. */
ALWAYS_INLINE uint16_t vq_slots_needed(const struct vq *q, unsigned n_segs) {
    ASSERT_HOT(n_segs <= UINT16_MAX);
    return vq_uses_table(q, n_segs) ? 1 : (uint16_t)n_segs;
}

/* The table of a buffer id, and the device's address of it. */
ALWAYS_INLINE void *vq_table(const struct vq *q, uint16_t id) {
    return q->indirect + id * (size_t)VQ_TABLE_STRIDE;
}

ALWAYS_INLINE dma_addr vq_table_addr(const struct vq *q, uint16_t id) {
    return (dma_addr){.v = q->indirect_addr.v + id * (uint64_t)VQ_TABLE_STRIDE};
}

/* Bytes of seg[from] to seg[to - 1]. */
ALWAYS_INLINE uint64_t vq_seg_bytes(const struct vq_seg *seg, uint32_t from, uint32_t to) {
    uint64_t bytes = 0;
    for (uint32_t i = from; i < to; i++) {
        bytes += seg[i].len;
    }
    return bytes;
}

/* Stores value where something else is. */
ALWAYS_INLINE void vq_update16(uint16_t *at, uint16_t value) {
    if (rm_load16(at) != value) {
        rm_store16(at, value);
    }
}

ALWAYS_INLINE void vq_update64(uint64_t *at, uint64_t value) {
    if (rm_load64(at) != value) {
        rm_store64(at, value);
    }
}

/* Puts the list from `first` to `last` at the end of the free list. */
ALWAYS_INLINE void vq_free_append(struct vq *q, bool was_empty, uint16_t first, uint16_t last) {
    if (was_empty) {
        q->free_slot = first;
    } else {
        q->slots[q->free_last].next = first;
    }
    q->free_last = last;
}

#include "drivers/vq_packed.h"
#include "drivers/vq_split.h"

/* Makes it faster to add `count` descriptors (at most q->free_count) of buffers at once. Nothing that
 * is visible changes. In a split ring there is nothing to do: its descriptors do not come back. */
ALWAYS_INLINE void vq_claim(struct vq *q, enum vq_layout layout, uint16_t count) {
    if (vq_is_packed(layout)) {
        vq_packed_claim(q, count);
    }
}

/* Makes one buffer available: n_out segments that the device reads, then n_in that it writes. Needs
 * 1 <= n_out + n_in, vq_slots_needed(n_out + n_in) <= q->free_count, less than 2^32 bytes in all,
 * and a token that is not NULL. Not visible to the device before vq_publish(). */
ALWAYS_INLINE void vq_add(struct vq *q, enum vq_layout layout, const struct vq_seg *seg,
                          uint16_t n_out, uint16_t n_in, void *token) {
    ASSERT_HOT(layout == q->layout);
    ASSERT_HOT((uint32_t)n_out + n_in >= 1);
    ASSERT_HOT(vq_slots_needed(q, (uint32_t)n_out + n_in) <= q->free_count);
    ASSERT_HOT(vq_seg_bytes(seg, 0, (uint32_t)n_out + n_in) <= UINT32_MAX); /* 2.7.5.2 */
    ASSERT_HOT(token != NULL);
    if (vq_is_packed(layout)) {
        vq_packed_add(q, vq_is_in_order(layout), seg, n_out, n_in, token);
    } else {
        vq_split_add(q, vq_is_in_order(layout), seg, n_out, n_in, token);
    }
}

/* True when something was added that is not published yet. */
ALWAYS_INLINE bool vq_unpublished(const struct vq *q, enum vq_layout layout) {
    return vq_is_packed(layout) ? q->packed.added_count != 0
                                : q->split.avail_idx != q->split.published_idx;
}

/* Shows the device everything added since the last call: the one release store. */
ALWAYS_INLINE void vq_publish(struct vq *q, enum vq_layout layout) {
    if (vq_is_packed(layout)) {
        vq_packed_publish(q);
    } else {
        vq_split_publish(q);
    }
}

/* After vq_publish(): true when the device asks for an available buffer notification for what was
 * published since the last call. */
ALWAYS_INLINE bool vq_notify_needed(struct vq *q, enum vq_layout layout) {
    return vq_is_packed(layout) ? vq_packed_notify_needed(q) : vq_split_notify_needed(q);
}

/* The device says that it wants no available buffer notifications at all. */
ALWAYS_INLINE bool vq_notify_never(const struct vq *q, enum vq_layout layout) {
    return vq_is_packed(layout) ? vq_packed_notify_never(q) : vq_split_notify_never(q);
}

/* What a notification says of the ring with VIRTIO_F_NOTIFICATION_DATA (2.9): next_off in bits 0 to
 * 14, next_wrap in bit 15. Split: the available index; packed: slot and wrap counter of the next
 * descriptor to become available. Tells what is published, whatever was added since. */
ALWAYS_INLINE uint16_t vq_notify_position(const struct vq *q, enum vq_layout layout) {
    return vq_is_packed(layout) ? vq_packed_notify_position(q) : q->split.published_idx;
}

/* Takes up to max used buffers back into done[]. Returns how many; 0 for ever once q->broken. */
ALWAYS_INLINE unsigned vq_take_used(struct vq *q, enum vq_layout layout, struct vq_done *done,
                                    unsigned max) {
    ASSERT_HOT(layout == q->layout);
    switch (layout) {
    case VQ_SPLIT:
        return vq_split_take_used(q, done, max);
    case VQ_SPLIT_IN_ORDER:
        return vq_split_take_in_order(q, done, max);
    case VQ_PACKED:
        return vq_packed_take_used(q, done, max);
    case VQ_PACKED_IN_ORDER:
        return vq_packed_take_in_order(q, done, max);
    }
    __builtin_unreachable();
}

/* Asks the device for no used buffer notifications. A hint: the device may still send some, and
 * with EVENT_IDX one is due after 65535 buffers unless this is called again. */
ALWAYS_INLINE void vq_event_off(struct vq *q, enum vq_layout layout) {
    if (vq_is_packed(layout)) {
        vq_packed_event_off(q);
    } else {
        vq_split_event_off(q);
    }
}

/* What the device still has to use, published and not taken back, in the unit of
 * vq_event_on_after(): split: buffers, packed: ring descriptors. At most num. */
ALWAYS_INLINE uint16_t vq_pending_count(const struct vq *q, enum vq_layout layout) {
    return vq_is_packed(layout) ? vq_packed_pending_count(q) : vq_split_pending_count(q);
}

/* Asks for a notification once `count` more were used, then looks once more. True: at least one
 * used buffer is already there and must be taken now, for no notification may come for it. False
 * for ever once q->broken.
 *
 * The unit of count is the one in which the device counts: split: buffers, packed: ring
 * descriptors; they are the same where each buffer takes one. In the packed ring the notification
 * comes with the first buffer that makes the number full, for a device passes the descriptors of a
 * buffer, and with IN_ORDER those of a batch, in one step. A count that is larger than
 * vq_pending_count() means all of these, so that the notification comes without further buffers; 0
 * means 1. Without EVENT_IDX the device cannot count and notifies at the next used buffer. */
ALWAYS_INLINE __attribute__((warn_unused_result)) bool
vq_event_on_after(struct vq *q, enum vq_layout layout, uint16_t count) {
    const uint16_t pending = vq_pending_count(q, layout);
    const uint16_t due = count < pending ? count : pending;
    const uint16_t skip = due == 0 ? 0 : (uint16_t)(due - 1);
    return vq_is_packed(layout) ? vq_packed_event_on(q, skip) : vq_split_event_on(q, skip);
}

/* Asks for a notification at the next used buffer: vq_event_on_after() with a count of 1. */
ALWAYS_INLINE __attribute__((warn_unused_result)) bool vq_event_on(struct vq *q,
                                                                   enum vq_layout layout) {
    return vq_event_on_after(q, layout, 1);
}

#endif
