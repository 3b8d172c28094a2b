/* Virtqueues, driver side, for VIRTIO 1.2 and later: the ring interface of Ringlet.
 *
 * One interface serves both layouts of section 2.6. Every hot call takes the layout as an argument:
 * burst bodies pass a constant, so that the compiler leaves one straight path and no indirect call;
 * cold code passes q->layout. Each layout is one header of static inline functions with the same
 * names behind its prefix (vq_split.h, 2.7; vq_packed.h, 2.8).
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
 *   - every descriptor is either in the free list, which has free_count of them, or in the chain of
 *     exactly one outstanding buffer
 *   - a buffer id is outstanding exactly while its slot has a token
 *   - split: available index >= published index >= used index, at most num apart (modulo 2^16)
 *   - packed: the next slot to fill is as far ahead of the next one to be used, around the ring, as
 *     there are outstanding descriptors
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

enum vq_layout { VQ_SPLIT, VQ_PACKED };

enum { VQ_NUM_MAX = 32768 };

/* One piece of a buffer. len is not 0. */
struct vq_seg {
    dma_addr addr;
    uint32_t len;
};

/* A buffer that came back: what vq_add() was given, and the bytes that the device wrote. */
struct vq_done {
    void *token;
    uint32_t len;
};

/* Our own record of a buffer id. Never shared with the device, so it can be trusted. */
struct vq_slot {
    void *token;      /* not NULL while the buffer is outstanding */
    uint32_t in_len;  /* bytes that the device may write */
    uint16_t n_desc;  /* descriptors of the buffer */
    uint16_t next;    /* next descriptor of the chain, or of the free list */
};

struct vq_split {
    struct virtq_desc *desc;
    struct virtq_avail *avail;
    struct virtq_used *used;
    uint16_t *used_event;        /* in the available ring: when we want an interrupt */
    const uint16_t *avail_event; /* in the used ring: when the device wants a doorbell */
    uint16_t avail_idx;          /* next entry of the available ring to fill */
    uint16_t published_idx;      /* what the device was told last */
    uint16_t notified_idx;       /* published_idx when a doorbell was last considered */
    uint16_t used_idx;           /* next entry of the used ring to look at */
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
    uint16_t unnotified_count; /* published ones since a doorbell was last considered */
};

struct vq {
    uint16_t num;        /* ring size in descriptors */
    uint16_t free_count; /* descriptors that vq_add() can still take */
    uint16_t free_slot;  /* head of the free list, meaningful while free_count > 0 */
    enum vq_layout layout;
    bool event_idx; /* VIRTIO_F_EVENT_IDX was negotiated */
    bool broken;    /* the device broke the protocol */
    uint64_t device_errors;
    struct vq_slot *slots; /* [num] */
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

/* Sets up a ring of num descriptors in `memory` (vq_areas().size bytes, VQ_AREA_ALIGN aligned) with
 * `slots` ([num]) as our private record. Clears both, switches used buffer notifications off. num
 * is at most VQ_NUM_MAX, and for the split layout a power of two. The device must not be using the memory. *q is all zero before
 * the first time; q->device_errors goes on counting over the later ones. */
void vq_init(struct vq *q, enum vq_layout layout, uint16_t num, bool event_idx, void *memory,
             struct vq_slot *slots);

/* After the device or the queue was reset: takes the next outstanding buffer back. Returns its
 * token, NULL when there is none left; the ring must then be set up anew with vq_init(). *cursor
 * starts at 0 and is advanced. */
void *vq_drain(struct vq *q, uint32_t *cursor);

/* Asserts the invariants above. Linear in num: for tests and for cold paths. */
void vq_check(const struct vq *q);

/* Cold: the device broke the protocol. */
void vq_break(struct vq *q);

#include "drivers/vq_packed.h"
#include "drivers/vq_split.h"

/* Makes one buffer available: n_out segments that the device reads, then n_in that it writes. Needs
 * 1 <= n_out + n_in <= q->free_count, less than 2^32 bytes in all, and a token that is not NULL. Not visible to the device before
 * vq_publish(). */
ALWAYS_INLINE void vq_add(struct vq *q, enum vq_layout layout, const struct vq_seg *seg,
                          uint16_t n_out, uint16_t n_in, void *token) {
    switch (layout) {
    case VQ_SPLIT:
        vq_split_add(q, seg, n_out, n_in, token);
        break;
    case VQ_PACKED:
        vq_packed_add(q, seg, n_out, n_in, token);
        break;
    }
}

/* True when something was added that is not published yet. */
ALWAYS_INLINE bool vq_unpublished(const struct vq *q, enum vq_layout layout) {
    switch (layout) {
    case VQ_SPLIT:
        return q->split.avail_idx != q->split.published_idx;
    case VQ_PACKED:
        return q->packed.added_count != 0;
    }
    __builtin_unreachable();
}

/* Shows the device everything added since the last call: the one release store. */
ALWAYS_INLINE void vq_publish(struct vq *q, enum vq_layout layout) {
    switch (layout) {
    case VQ_SPLIT:
        vq_split_publish(q);
        break;
    case VQ_PACKED:
        vq_packed_publish(q);
        break;
    }
}

/* After vq_publish(): true when the device asks for an available buffer notification for what was
 * published since the last call. */
ALWAYS_INLINE bool vq_notify_needed(struct vq *q, enum vq_layout layout) {
    switch (layout) {
    case VQ_SPLIT:
        return vq_split_notify_needed(q);
    case VQ_PACKED:
        return vq_packed_notify_needed(q);
    }
    __builtin_unreachable();
}

/* Takes up to max used buffers back into done[]. Returns how many; 0 for ever once q->broken. */
ALWAYS_INLINE unsigned vq_take_used(struct vq *q, enum vq_layout layout, struct vq_done *done,
                                    unsigned max) {
    switch (layout) {
    case VQ_SPLIT:
        return vq_split_take_used(q, done, max);
    case VQ_PACKED:
        return vq_packed_take_used(q, done, max);
    }
    __builtin_unreachable();
}

/* Asks the device for no used buffer notifications. A hint: the device may still send some, and with
 * EVENT_IDX one is due after 65535 buffers unless this is called again. */
ALWAYS_INLINE void vq_event_off(struct vq *q, enum vq_layout layout) {
    switch (layout) {
    case VQ_SPLIT:
        vq_split_event_off(q);
        break;
    case VQ_PACKED:
        vq_packed_event_off(q);
        break;
    }
}

/* Asks for a notification at the next used buffer, then looks once more. True: work is already
 * there and must be taken now, for no notification may come for it. False for ever once q->broken. */
ALWAYS_INLINE __attribute__((warn_unused_result)) bool vq_event_on(struct vq *q,
                                                                   enum vq_layout layout) {
    switch (layout) {
    case VQ_SPLIT:
        return vq_split_event_on(q);
    case VQ_PACKED:
        return vq_packed_event_on(q);
    }
    __builtin_unreachable();
}

#endif
