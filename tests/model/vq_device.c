#include "tests/model/vq_device.h"

#include "tests/model/vq_device_layouts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

bool vq_device_rule(struct vq_device *d, bool kept, const char *rule) {
    if (!kept && d->violation == NULL) {
        d->violation = rule;
    }
    return kept;
}

static bool is_aligned(const void *area, uintptr_t align) {
    return (uintptr_t)area % align == 0;
}

void vq_device_init(struct vq_device *d, const struct vq_device_setup *setup) {
    const size_t num = setup->num;
    *d = (struct vq_device){
        .setup = *setup,
        .layout = &vq_device_split,
        .table = calloc(num, sizeof(*d->table)),
        .owner = calloc(num, sizeof(*d->owner)),
        .buffers = calloc(num, sizeof(*d->buffers)),
        .order = calloc(num, sizeof(*d->order)),
        .last_id = UINT32_MAX,
    };
    assert(d->table && d->owner && d->buffers && d->order);
    vq_device_rule(d, num > 0 && (num & (num - 1)) == 0 && num <= 32768,
                   "2.7: the queue size is a power of two up to 32768");
    vq_device_rule(d,
                   is_aligned(setup->desc, 16) && is_aligned(setup->driver, 2) &&
                       is_aligned(setup->device, 4),
                   "2.7.1: alignment of the three areas");
    if (d->violation == NULL) {
        d->layout->take_over(d);
    }
    vq_device_rule(d, d->seen == 0, "4.1.5.1.3: an empty ring starts with index 0");
}

void vq_device_fini(struct vq_device *d) {
    free(d->table);
    free(d->owner);
    free(d->buffers);
    free(d->order);
    *d = (struct vq_device){0};
}

void vq_device_start_at(struct vq_device *d, uint16_t position) {
    assert(d->seen == 0);
    d->seen = d->fetched = d->placed = position;
    d->layout->show(d);
}

/* Enters one descriptor into a buffer; false when it breaks a rule. */
bool vq_device_enter(struct vq_device *d, struct vq_device_buffer *b, const struct virtq_desc *desc,
                     bool in) {
    const uint64_t start = (uintptr_t)d->setup.arena;
    const uint64_t end = start + d->setup.arena_size;
    if (!vq_device_rule(d, desc->len != 0, "2.7.13.1: a descriptor of length 0") ||
        !vq_device_rule(d, desc->addr >= start && desc->addr < end && desc->len <= end - desc->addr,
                        "2.7.5: a descriptor points outside of the memory for buffers") ||
        !vq_device_rule(d, in || b->n_in == 0,
                        "2.7.4.2: a device-readable descriptor after a device-writable one")) {
        return false;
    }
    b->n_in += in;
    b->n_out += !in;
    b->in_len += in ? desc->len : 0;
    b->out_len += in ? 0 : desc->len;
    return vq_device_rule(d, b->in_len + b->out_len <= UINT64_C(1) << 32,
                          "2.7.5.2: a buffer of more than 2^32 bytes");
}

bool vq_device_fetch(struct vq_device *d, struct vq_device_buffer *buffer) {
    if (d->violation == NULL) {
        d->layout->take_over(d);
    }
    if (d->violation != NULL || d->fetched == d->seen) {
        return false;
    }
    *buffer = d->buffers[d->order[d->fetched % d->setup.num]];
    d->fetched++;
    return true;
}

/* Walks the device's own copy, so that a driver which changes descriptors too early is found by
 * vq_device_check() and not by a stray access here. */
static size_t copy_bytes(const struct vq_device *d, uint16_t id, uint8_t *to, const uint8_t *from,
                         size_t len) {
    const bool in = from != NULL;
    size_t done = 0;
    for (uint32_t at = id; done < len; at = d->table[at].next) {
        const struct virtq_desc *desc = &d->table[at];
        assert(d->owner[at] == id + 1u);
        if (((desc->flags & VIRTQ_DESC_F_WRITE) != 0) == in) {
            const size_t part = desc->len < len - done ? desc->len : len - done;
            uint8_t *piece = (uint8_t *)(uintptr_t)desc->addr;
            memcpy(in ? piece : to + done, in ? from + done : piece, part);
            done += part;
        }
        if (!(desc->flags & VIRTQ_DESC_F_NEXT)) {
            break;
        }
    }
    return done;
}

size_t vq_device_read(const struct vq_device *d, uint16_t id, void *bytes, size_t len) {
    return copy_bytes(d, id, bytes, NULL, len);
}

size_t vq_device_write(const struct vq_device *d, uint16_t id, const void *bytes, size_t len) {
    return copy_bytes(d, id, NULL, bytes, len);
}

static bool is_head(const struct vq_device *d, uint32_t id) {
    return d->owner[id] == id + 1;
}

void vq_device_check(struct vq_device *d) {
    for (uint32_t at = 0; at < d->setup.num && !d->scribbled; at++) {
        struct virtq_desc *desc = (struct virtq_desc *)d->setup.desc + at;
        vq_device_rule(d, d->owner[at] == 0 || memcmp(desc, &d->table[at], sizeof(*desc)) == 0,
                       "2.7.13.1: a descriptor was changed while the device owned it");
    }
}

/* The descriptors of a buffer belong to the driver again. */
static void disown(struct vq_device *d, uint16_t id) {
    const struct virtq_desc *live = d->setup.desc;
    uint32_t at = id;
    uint32_t left = (uint32_t)d->buffers[id].n_out + d->buffers[id].n_in;
    for (; left > 0; left--, at = d->table[at].next) {
        vq_device_rule(d, d->scribbled || memcmp(&live[at], &d->table[at], sizeof(*live)) == 0,
                       "2.7.13.1: a descriptor was changed while the device owned it");
        d->owner[at] = 0;
    }
}

void vq_device_use(struct vq_device *d, uint16_t id, uint32_t len) {
    assert(id < d->setup.num && is_head(d, id) && d->placed < d->fetched);
    disown(d, id);
    d->last_id = id;
    d->layout->place(d, id, len);
}

bool vq_device_show(struct vq_device *d) {
    d->layout->take_over(d); /* so that rules on flags are checked here, too */
    return d->layout->show(d);
}

void vq_device_want_notify(struct vq_device *d, bool on) {
    d->layout->take_over(d);
    d->layout->want_notify(d, on);
}

bool vq_device_notify_due(struct vq_device *d, uint64_t from) {
    d->layout->take_over(d);
    return d->layout->notify_due(d, from);
}

/* A fetched buffer with at least so many descriptors, num when there is none. */
static uint32_t find_buffer(const struct vq_device *d, uint32_t n_desc_min) {
    uint32_t id = 0;
    while (id < d->setup.num &&
           (!is_head(d, id) || d->buffers[id].n_out + d->buffers[id].n_in < (int)n_desc_min)) {
        id++;
    }
    return id;
}

bool vq_device_fault(struct vq_device *d, enum vq_fault fault) {
    const uint32_t num = d->setup.num;
    const uint32_t id = find_buffer(d, fault == VQ_FAULT_NOT_HEAD ? 2 : 1);
    const uint32_t last = d->last_id;
    const bool gone = last != UINT32_MAX && d->owner[last] == 0;
    if (id == num || (fault == VQ_FAULT_ID_TWICE && !gone)) {
        return false;
    }
    switch (fault) {
    case VQ_FAULT_UNKNOWN_ID:
        d->layout->place(d, num, 0);
        break;
    case VQ_FAULT_HUGE_ID:
        d->layout->place(d, UINT32_MAX, 0);
        break;
    case VQ_FAULT_WIDE_ID:
        d->layout->place(d, id + 0x10000, 0);
        break;
    case VQ_FAULT_ID_TWICE:
        d->layout->place(d, last, 0);
        break;
    case VQ_FAULT_NOT_HEAD:
        d->layout->place(d, d->table[id].next, 0);
        break;
    case VQ_FAULT_LONG_LEN:
        d->layout->place(d, id, (uint32_t)d->buffers[id].in_len + 1);
        break;
    case VQ_FAULT_HUGE_LEN:
        d->layout->place(d, id, UINT32_MAX);
        break;
    case VQ_FAULT_JUMP_FORWARD:
        d->layout->place(d, id, 0); /* what is beyond would be believed */
        d->placed = d->seen + 1;
        break;
    case VQ_FAULT_JUMP_BACK:
        d->placed = d->shown - 1;
        break;
    case VQ_FAULT_COUNT:
        assert(false);
    }
    d->layout->show(d);
    return true;
}

void vq_device_scribble(struct vq_device *d, uint8_t byte) {
    struct virtq_avail *avail = d->setup.driver;
    struct virtq_used *used = d->setup.device;
    d->layout->take_over(d);
    d->scribbled = true;
    memset(d->setup.desc, byte, sizeof(struct virtq_desc) * d->setup.num);
    memset(avail->ring, byte, sizeof(avail->ring[0]) * d->setup.num);
    for (uint64_t at = d->placed; at < d->seen; at++) {
        memset(&used->ring[at % d->setup.num], byte, sizeof(used->ring[0]));
    }
}
