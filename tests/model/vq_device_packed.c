/* The device side of the packed virtqueue (2.8). */
#include "tests/model/vq_device_layouts.h"

#include <string.h>

enum { OWNER_FLAGS = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED };

static struct pvirtq_desc *packed_at(const struct vq_device *d, uint64_t at) {
    return (struct pvirtq_desc *)d->setup.desc + at % d->setup.num;
}

/* 2.8.1: both wrap counters start at 1 and change with each lap. */
static bool packed_wrap(const struct vq_device *d, uint64_t at) {
    return at / d->setup.num % 2 == 0;
}

/* 2.8.14: bits 0 to 14 are the offset, bit 15 is the wrap counter. */
static uint16_t packed_off_wrap(const struct vq_device *d, uint64_t at) {
    return (uint16_t)(at % d->setup.num + (packed_wrap(d, at) ? 0x8000 : 0));
}

/* Both halves of an event suppression structure in one load. */
static struct pvirtq_event_suppress packed_event(const void *area) {
    const uint32_t both = __atomic_load_n((const uint32_t *)area, __ATOMIC_RELAXED);
    return (struct pvirtq_event_suppress){.off_wrap = (uint16_t)both,
                                          .flags = (uint16_t)(both >> 16)};
}

static bool packed_is_available(const struct vq_device *d, uint64_t at) {
    /* Acquire: pairs with the driver's store of the flags, 2.8.21.1.1. */
    const uint16_t flags = __atomic_load_n(&packed_at(d, at)->flags, __ATOMIC_ACQUIRE);
    const bool avail = flags & VIRTQ_DESC_F_AVAIL;
    const bool used = flags & VIRTQ_DESC_F_USED;
    return avail == packed_wrap(d, at) && used != packed_wrap(d, at);
}

/* All entries of a table count, one behind the other. 2.8.7 */
static bool packed_walk_table(struct vq_device *d, struct vq_device_buffer *buffer,
                              const struct pvirtq_desc *outer) {
    const uint32_t count = vq_device_open_table(d, buffer, outer->addr, outer->len);
    for (uint32_t i = 0; i < count; i++) {
        const struct pvirtq_desc *desc = (const struct pvirtq_desc *)buffer->table_copy + i;
        if (!vq_device_rule(d, !(desc->flags & ~VIRTQ_DESC_F_WRITE),
                            "2.8.19: a flag other than WRITE within a table") ||
            !vq_device_enter(d, buffer, desc->addr, desc->len, desc->flags & VIRTQ_DESC_F_WRITE)) {
            return false;
        }
    }
    return count > 0;
}

/* Takes over one descriptor, which is the next one of the buffer. */
static bool packed_take_one(struct vq_device *d, uint64_t at, struct vq_device_buffer *buffer) {
    const struct pvirtq_desc copy = *packed_at(d, at);
    const uint16_t flags = copy.flags & (uint16_t)~OWNER_FLAGS;
    const bool alone = buffer->n_desc == 0 && !(flags & VIRTQ_DESC_F_NEXT);
    d->packed.held[at % d->setup.num] = copy;
    buffer->id = copy.id; /* the last one counts, 2.8.6 */
    buffer->n_desc++;
    if (!vq_device_rule(
            d, !(flags & ~(VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_INDIRECT)),
            "2.8.13: an unknown descriptor flag")) {
        return false;
    }
    if (!(flags & VIRTQ_DESC_F_INDIRECT)) {
        return vq_device_enter(d, buffer, copy.addr, copy.len, flags & VIRTQ_DESC_F_WRITE);
    }
    return vq_device_rule(d, alone, "2.8.19: INDIRECT in a list that NEXT links") &&
           packed_walk_table(d, buffer, &copy);
}

/* The descriptors of the next buffer, from d->desc_seen on. False when they break a rule. */
static bool packed_take_list(struct vq_device *d, struct vq_device_buffer *buffer) {
    bool more = true;
    for (uint64_t at = d->desc_seen; more; at++) {
        if (!vq_device_rule(d, at - d->packed.shown < d->setup.num,
                            "2.8.21: more descriptors than the ring holds") ||
            !vq_device_rule(d, packed_is_available(d, at),
                            "2.8.21.1: the first of a list is made available before the others") ||
            !packed_take_one(d, at, buffer)) {
            return false;
        }
        more = d->packed.held[at % d->setup.num].flags & VIRTQ_DESC_F_NEXT;
    }
    return vq_device_rule(d, buffer->id < d->setup.num, "a buffer id too large for this model") &&
           vq_device_rule(d, !vq_device_outstanding(d, buffer->id),
                          "2.8.13: the id of a buffer that is outstanding");
}

static bool packed_walk(struct vq_device *d) {
    struct vq_device_buffer buffer = {.first = (uint16_t)(d->desc_seen % d->setup.num)};
    if (!packed_take_list(d, &buffer)) {
        vq_device_free_buffer(&buffer);
        return false;
    }
    d->desc_seen += buffer.n_desc;
    vq_device_accept(d, &buffer);
    return true;
}

static void packed_take_over(struct vq_device *d) {
    const struct pvirtq_event_suppress event = packed_event(d->setup.driver);
    const bool desc = event.flags == RING_EVENT_FLAGS_DESC;
    vq_device_rule(d, event.flags <= RING_EVENT_FLAGS_DISABLE || (desc && d->setup.event_idx),
                   "2.8.14: flags of the driver's event suppression");
    vq_device_rule(d, !desc || event.off_wrap % 0x8000 < d->setup.num,
                   "2.8.14: an event offset beyond the ring");
    while (d->violation == NULL && packed_is_available(d, d->desc_seen) && packed_walk(d)) {
    }
}

static void packed_check_range(struct vq_device *d, uint64_t from, uint64_t to) {
    for (uint64_t at = from; at < to; at++) {
        const struct pvirtq_desc *held = &d->packed.held[at % d->setup.num];
        vq_device_rule(d, memcmp(packed_at(d, at), held, sizeof(*held)) == 0,
                       "2.8.21: a descriptor was changed while the device owned it");
    }
}

/* One used descriptor stands for all those of its buffer, and with IN_ORDER of the batch that ends
 * with it (2.8.6, 2.8.8). What a driver has to ignore in it is filled with something: the address,
 * the length of a buffer that cannot be written (2.8.4), NEXT (2.8.6). WRITE is there in every
 * other one only: common devices never set it. The flags of the first one that is not shown come
 * last. */
static void packed_place(struct vq_device *d, uint32_t id, uint32_t len, uint32_t count,
                         uint32_t n_desc) {
    const uint64_t at = d->packed.placed;
    struct pvirtq_desc *desc = packed_at(d, at);
    const bool readable = vq_device_outstanding(d, id) && d->buffers[id].n_in == 0;
    const uint16_t flags = (uint16_t)((packed_wrap(d, at) ? OWNER_FLAGS : 0) |
                                      (len > 0 && at % 2 == 0 ? VIRTQ_DESC_F_WRITE : 0) |
                                      (at % 3 == 0 ? VIRTQ_DESC_F_NEXT : 0));
    if (!d->scribbled && at + n_desc <= d->desc_seen) {
        packed_check_range(d, at, at + n_desc);
    }
    desc->addr = UINT64_MAX - at;
    desc->len = readable ? UINT32_MAX - (uint32_t)(at % 2) : len;
    desc->id = (uint16_t)id;
    if (at == d->packed.shown) {
        d->packed.head_flags = flags;
    } else {
        __atomic_store_n(&desc->flags, flags, __ATOMIC_RELEASE);
    }
    d->packed.placed += n_desc;
    d->placed += count;
}

/* 2.8.10: with DESC, an interrupt is due when the descriptor asked for was among those, be it one
 * that was skipped: devices compare positions, as QEMU does. */
static bool packed_show(struct vq_device *d) {
    const uint64_t from = d->packed.shown;
    if (from < d->packed.placed) {
        __atomic_store_n(&packed_at(d, from)->flags, d->packed.head_flags, __ATOMIC_RELEASE);
    }
    d->packed.shown = d->packed.placed;
    d->shown = d->placed;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    const struct pvirtq_event_suppress event = packed_event(d->setup.driver);
    if (event.flags != RING_EVENT_FLAGS_DESC) {
        return from < d->packed.placed && event.flags == RING_EVENT_FLAGS_ENABLE;
    }
    for (uint64_t at = from; at < d->packed.placed; at++) {
        if (packed_off_wrap(d, at) == event.off_wrap) {
            return true;
        }
    }
    return false;
}

/* Says it in each way that was negotiated, by turns. The half that does not count is set to the
 * contrary, so that a driver which looks at the wrong one is found. */
static void packed_want_notify(struct vq_device *d, bool on) {
    const bool desc = d->setup.event_idx && d->seen % 2 == 0;
    const uint16_t next = packed_off_wrap(d, d->desc_seen);
    const uint16_t gone = packed_off_wrap(d, d->desc_seen + 2u * d->setup.num - 1);
    const uint32_t flags = desc ? RING_EVENT_FLAGS_DESC
                           : on ? RING_EVENT_FLAGS_ENABLE
                                : RING_EVENT_FLAGS_DISABLE;
    __atomic_store_n((uint32_t *)d->setup.device, flags << 16 | (on == desc ? next : gone),
                     __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static bool packed_notify_due(const struct vq_device *d, uint64_t count) {
    const struct pvirtq_event_suppress event = packed_event(d->setup.device);
    if (event.flags != RING_EVENT_FLAGS_DESC) {
        return count > 0 && event.flags == RING_EVENT_FLAGS_ENABLE;
    }
    for (uint64_t at = d->desc_seen - count; at < d->desc_seen; at++) {
        if (packed_off_wrap(d, at) == event.off_wrap) {
            return true;
        }
    }
    return false;
}

/* 2.9: the slot and the wrap counter of the next descriptor. */
static uint16_t packed_position(const struct vq_device *d) {
    return packed_off_wrap(d, d->desc_seen);
}

static void packed_check(struct vq_device *d) {
    packed_check_range(d, d->packed.placed, d->desc_seen);
}

/* The slots went back to the driver with the used descriptor. */
static void packed_disown(struct vq_device *d, const struct vq_device_buffer *b) {
    (void)d;
    (void)b;
}

/* Each descriptor stands as it was used last: in this lap, or in the one before. */
static void packed_start_at(struct vq_device *d, uint16_t position) {
    const bool wrap = packed_wrap(d, position);
    d->desc_seen = d->packed.placed = d->packed.shown = position;
    for (uint16_t slot = 0; slot < d->setup.num; slot++) {
        const bool both = slot < position % d->setup.num ? wrap : !wrap;
        packed_at(d, slot)->flags = both ? OWNER_FLAGS : 0;
    }
}

static void packed_scribble(struct vq_device *d, uint8_t byte) {
    for (uint64_t at = d->packed.placed; at < d->desc_seen; at++) {
        struct pvirtq_desc *desc = packed_at(d, at);
        const uint16_t kept = desc->flags & OWNER_FLAGS;
        memset(desc, byte, sizeof(*desc));
        desc->flags = (uint16_t)((desc->flags & ~OWNER_FLAGS) | kept);
    }
}

const struct vq_device_layout vq_device_packed = {
    .take_over = packed_take_over,
    .place = packed_place,
    .show = packed_show,
    .want_notify = packed_want_notify,
    .notify_due = packed_notify_due,
    .position = packed_position,
    .check = packed_check,
    .disown = packed_disown,
    .start_at = packed_start_at,
    .scribble = packed_scribble,
};
