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

/* Follows the chain from its head and takes its descriptors over. */
static bool split_walk(struct vq_device *d, uint16_t head) {
    const struct virtq_desc *desc = d->setup.desc;
    struct vq_device_buffer buffer = {.id = head, .first = head};
    uint32_t at = head;
    bool more = true;
    while (more) {
        if (!vq_device_rule(d, at < d->setup.num, "2.7.5: a descriptor number beyond the table") ||
            !vq_device_rule(d, d->owner[at] != head + 1u, "2.7.5.2: a chain with a loop") ||
            !vq_device_rule(d, d->owner[at] == 0, "2.7.13.1: a descriptor in two buffers")) {
            return false;
        }
        const struct virtq_desc copy = desc[at];
        d->owner[at] = head + 1u;
        d->table[at] = copy;
        if (!vq_device_rule(d, !(copy.flags & ~(VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE)),
                            "2.7.5: a descriptor flag that was not negotiated") ||
            !vq_device_enter(d, &buffer, &copy, copy.flags & VIRTQ_DESC_F_WRITE)) {
            return false;
        }
        more = copy.flags & VIRTQ_DESC_F_NEXT;
        at = copy.next;
    }
    d->buffers[head] = buffer;
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
        const uint16_t head = avail->ring[d->seen % num];
        if (!split_walk(d, head)) {
            return;
        }
        d->order[d->seen % num] = head;
        d->seen++;
    }
}

static void split_place(struct vq_device *d, uint32_t id, uint32_t len) {
    split_used(d)->ring[d->placed % d->setup.num] = (struct virtq_used_elem){.id = id, .len = len};
    d->placed++;
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

static void split_check_one(struct vq_device *d, uint32_t at) {
    const struct virtq_desc *live = d->setup.desc;
    vq_device_rule(d, memcmp(&live[at], &d->table[at], sizeof(*live)) == 0,
                   "2.7.13.1: a descriptor was changed while the device owned it");
}

static void split_check(struct vq_device *d) {
    for (uint32_t at = 0; at < d->setup.num; at++) {
        if (d->owner[at] != 0) {
            split_check_one(d, at);
        }
    }
}

static void split_disown(struct vq_device *d, uint16_t id) {
    uint32_t at = id;
    uint32_t left = (uint32_t)d->buffers[id].n_out + d->buffers[id].n_in;
    for (; left > 0; left--, at = d->table[at].next) {
        if (!d->scribbled) {
            split_check_one(d, at);
        }
        d->owner[at] = 0;
    }
}

static void split_start_at(struct vq_device *d, uint16_t position) {
    d->seen = d->fetched = d->placed = position;
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
    .check = split_check,
    .disown = split_disown,
    .start_at = split_start_at,
    .scribble = split_scribble,
};
