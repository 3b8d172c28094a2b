/* The device side of the split virtqueue (2.7). */
#include "tests/model/vq_device_layouts.h"

#include <string.h>

static struct virtq_avail *split_avail(const struct vq_device *d) {
    return d->setup.driver;
}

static struct virtq_used *split_used(const struct vq_device *d) {
    return d->setup.device;
}

/* 2.7.7: behind the last entry of the available ring. */
static uint16_t split_used_event(const struct vq_device *d) {
    return __atomic_load_n(split_avail(d)->ring + d->setup.num, __ATOMIC_RELAXED);
}

/* 2.7.10: behind the last element of the used ring. */
static uint16_t *split_avail_event(const struct vq_device *d) {
    return (uint16_t *)(void *)(split_used(d)->ring + d->setup.num);
}

enum { KNOWN_FLAGS = VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_INDIRECT };

/* The elements of a table, from entry 0 along the links. It may have entries that no link leads to
 * (2.7.5.3). */
static bool split_walk_table(struct vq_device *d, struct vq_device_buffer *buffer,
                             const struct virtq_desc *outer) {
    const uint32_t count = vq_device_open_table(d, buffer, outer->addr, outer->len);
    uint32_t at = 0;
    for (uint32_t steps = 0; count > 0; steps++) {
        if (!vq_device_rule(d, at < count, "2.7.5.3: an entry number beyond the table") ||
            !vq_device_rule(d, steps < count, "2.7.5.2: a table with a loop")) {
            return false;
        }
        const struct virtq_desc *desc = (const struct virtq_desc *)buffer->table_copy + at;
        if (!vq_device_rule(d, !(desc->flags & VIRTQ_DESC_F_INDIRECT),
                            "2.7.5.3.1: INDIRECT within a table") ||
            !vq_device_rule(d, !(desc->flags & ~KNOWN_FLAGS),
                            "2.7.5: an unknown descriptor flag") ||
            !vq_device_enter(d, buffer, desc->addr, desc->len, desc->flags & VIRTQ_DESC_F_WRITE)) {
            return false;
        }
        if (!(desc->flags & VIRTQ_DESC_F_NEXT)) {
            return true;
        }
        if (!vq_device_rule(d, !d->setup.in_order || desc->next == at + 1,
                            "2.7.5.3.1: with IN_ORDER entries of a table link to the next one")) {
            return false;
        }
        at = desc->next;
    }
    return false;
}

/* One descriptor of the ring's table, which is the next one of the buffer. */
static bool split_take_one(struct vq_device *d, uint32_t at, struct vq_device_buffer *buffer) {
    const struct virtq_desc copy = ((const struct virtq_desc *)d->setup.desc)[at];
    const bool more = copy.flags & VIRTQ_DESC_F_NEXT;
    d->split.owner[at] = buffer->id + 1u;
    d->split.held[at] = copy;
    d->desc_seen++;
    buffer->n_desc++;
    if (!vq_device_rule(d, !(copy.flags & ~KNOWN_FLAGS), "2.7.5: an unknown descriptor flag") ||
        !vq_device_rule(d, !d->setup.in_order || !more || copy.next == (at + 1) % d->setup.num,
                        "2.7.5.2: with IN_ORDER a descriptor links to the next one")) {
        return false;
    }
    if (!(copy.flags & VIRTQ_DESC_F_INDIRECT)) {
        return vq_device_enter(d, buffer, copy.addr, copy.len, copy.flags & VIRTQ_DESC_F_WRITE);
    }
    return vq_device_rule(d, !more, "2.7.5.3.1: INDIRECT together with NEXT") &&
           split_walk_table(d, buffer, &copy);
}

/* Follows the chain from its head and takes its descriptors over. */
static bool split_walk(struct vq_device *d, uint16_t head) {
    struct vq_device_buffer buffer = {.id = head, .first = head};
    uint32_t at = head;
    bool more = vq_device_rule(d, !d->setup.in_order || head == d->desc_seen % d->setup.num,
                               "2.7.5: with IN_ORDER descriptors are taken in table order");
    while (more) {
        if (!vq_device_rule(d, at < d->setup.num, "2.7.5: a descriptor number beyond the table") ||
            !vq_device_rule(d, d->split.owner[at] != head + 1u, "2.7.5.2: a chain with a loop") ||
            !vq_device_rule(d, d->split.owner[at] == 0, "2.7.13.1: a descriptor in two buffers") ||
            !split_take_one(d, at, &buffer)) {
            break;
        }
        more = d->split.held[at].flags & VIRTQ_DESC_F_NEXT;
        at = d->split.held[at].next;
    }
    if (d->violation != NULL) {
        vq_device_free_buffer(&buffer);
        return false;
    }
    vq_device_accept(d, &buffer);
    return true;
}

static void split_take_over(struct vq_device *d) {
    const struct virtq_avail *avail = split_avail(d);
    const uint16_t num = d->setup.num;
    const uint16_t flags = __atomic_load_n(&avail->flags, __ATOMIC_RELAXED);
    vq_device_rule(d, flags <= (d->setup.event_idx ? 0 : VIRTQ_AVAIL_F_NO_INTERRUPT),
                   "2.7.7.1: flags of the available ring");
    const uint64_t next = d->fetched % num;
    vq_device_rule(d, d->fetched == d->seen || d->scribbled || avail->ring[next] == d->order[next],
                   "2.7.6: an entry of the available ring was changed after its publication");
    /* Acquire: pairs with the driver's store of the index, 2.7.13.3.1. */
    const uint16_t idx = __atomic_load_n(&avail->idx, __ATOMIC_ACQUIRE);
    uint64_t fresh = (0x10000 + idx - d->seen % 0x10000) % 0x10000;
    if (!vq_device_rule(d, fresh <= num - (d->seen - d->placed),
                        "2.7.6.1: the available index went back, or past what the ring holds")) {
        return;
    }
    for (; fresh > 0; fresh--) {
        if (!split_walk(d, avail->ring[d->seen % num])) {
            return;
        }
    }
}

/* 2.7.9: one element at the start of a batch; the index goes on by the size of it. */
static void split_place(struct vq_device *d, uint32_t id, uint32_t len, uint32_t count,
                        uint32_t n_desc) {
    (void)n_desc;
    split_used(d)->ring[d->placed % d->setup.num] = (struct virtq_used_elem){.id = id, .len = len};
    d->placed += count;
}

/* 2.7.7.2: with EVENT_IDX, an interrupt is due when the entry at used_event was among those. */
static bool split_show(struct vq_device *d) {
    const struct virtq_avail *avail = split_avail(d);
    const uint64_t from = d->shown;
    __atomic_store_n(&split_used(d)->idx, (uint16_t)d->placed, __ATOMIC_RELEASE);
    d->shown = d->placed;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!d->setup.event_idx) {
        const uint16_t flags = __atomic_load_n(&avail->flags, __ATOMIC_RELAXED);
        return from < d->placed && !(flags & VIRTQ_AVAIL_F_NO_INTERRUPT);
    }
    const uint16_t event = split_used_event(d);
    for (uint64_t at = from; at < d->placed; at++) {
        if (at % 0x10000 == event) {
            return true;
        }
    }
    return false;
}

/* 2.7.10.2. The half that does not count is set to the contrary, so that a driver which looks at
 * the wrong one is found. */
static void split_want_notify(struct vq_device *d, bool on) {
    const uint16_t next = (uint16_t)d->seen;
    const bool flag = d->setup.event_idx ? on : !on;
    __atomic_store_n(&split_used(d)->flags, flag ? VIRTQ_USED_F_NO_NOTIFY : 0, __ATOMIC_RELAXED);
    __atomic_store_n(split_avail_event(d),
                     (on == d->setup.event_idx) ? next : (uint16_t)(next + 0x8000),
                     __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* 2.7.10.1: with EVENT_IDX, when the entry at avail_event is among those made available. */
static bool split_notify_due(const struct vq_device *d, uint64_t count) {
    const uint64_t from = d->seen - count;
    if (!d->setup.event_idx) {
        return from < d->seen && !(split_used(d)->flags & VIRTQ_USED_F_NO_NOTIFY);
    }
    for (uint64_t at = from; at < d->seen; at++) {
        if (at % 0x10000 == *split_avail_event(d)) {
            return true;
        }
    }
    return false;
}

/* 2.9: next_off and next_wrap are the low 15 bits and bit 15 of the available index. */
static uint16_t split_position(const struct vq_device *d) {
    return (uint16_t)(d->seen % 0x8000 + (d->seen / 0x8000 % 2 == 0 ? 0 : 0x8000));
}

static void split_check_one(struct vq_device *d, uint32_t at) {
    const struct virtq_desc *live = d->setup.desc;
    vq_device_rule(d, memcmp(&live[at], &d->split.held[at], sizeof(*live)) == 0,
                   "2.7.13.1: a descriptor was changed while the device owned it");
}

static void split_check(struct vq_device *d) {
    for (uint32_t at = 0; at < d->setup.num; at++) {
        if (d->split.owner[at] != 0) {
            split_check_one(d, at);
        }
    }
}

static void split_disown(struct vq_device *d, const struct vq_device_buffer *b) {
    uint32_t at = b->first;
    for (uint32_t left = b->n_desc; left > 0; left--, at = d->split.held[at].next) {
        if (!d->scribbled) {
            split_check_one(d, at);
        }
        d->split.owner[at] = 0;
    }
}

static void split_start_at(struct vq_device *d, uint16_t position) {
    d->seen = d->fetched = d->placed = d->desc_seen = position;
    split_show(d);
}

static void split_scribble(struct vq_device *d, uint8_t byte) {
    memset(d->setup.desc, byte, sizeof(struct virtq_desc) * d->setup.num);
    memset(split_avail(d)->ring, byte, sizeof(uint16_t) * d->setup.num);
    for (uint64_t at = d->placed; at < d->seen; at++) {
        memset(&split_used(d)->ring[at % d->setup.num], byte, sizeof(struct virtq_used_elem));
    }
}

const struct vq_device_layout vq_device_split = {
    .take_over = split_take_over,
    .place = split_place,
    .show = split_show,
    .want_notify = split_want_notify,
    .notify_due = split_notify_due,
    .position = split_position,
    .check = split_check,
    .disown = split_disown,
    .start_at = split_start_at,
    .scribble = split_scribble,
};
