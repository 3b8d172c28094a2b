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
        .layout = setup->packed ? &vq_device_packed : &vq_device_split,
        .table = calloc(num, sizeof(*d->table)),
        .owner = calloc(num, sizeof(*d->owner)),
        .buffers = calloc(num, sizeof(*d->buffers)),
        .order = calloc(num, sizeof(*d->order)),
        .packed.held = calloc(num, sizeof(*d->packed.held)),
        .packed.step = calloc(num, sizeof(*d->packed.step)),
        .last_id = UINT32_MAX,
    };
    assert(d->packed.held && d->packed.step);
    assert(d->table && d->owner && d->buffers && d->order);
    for (uint32_t i = 0; i < num; i++) {
        d->table[i].next = (uint16_t)(i + 1); /* the packed ring's list of unused entries */
    }
    vq_device_rule(d, num > 0 && (setup->packed || (num & (num - 1)) == 0) && num <= 32768,
                   "2.7, 2.8: the queue size is up to 32768, and in the split ring a power of two");
    vq_device_rule(d,
                   is_aligned(setup->desc, 16) &&
                       is_aligned(setup->driver, setup->packed ? 4 : 2) &&
                       is_aligned(setup->device, 4),
                   "2.7, 2.8.10.1: alignment of the three areas");
    if (d->violation == NULL) {
        d->layout->take_over(d);
    }
    vq_device_rule(d, d->seen == 0, "4.1.5.1.3: a ring starts empty");
}

void vq_device_fini(struct vq_device *d) {
    free(d->table);
    free(d->owner);
    free(d->buffers);
    free(d->order);
    free(d->packed.held);
    free(d->packed.step);
    *d = (struct vq_device){0};
}

void vq_device_start_at(struct vq_device *d, uint16_t position) {
    assert(d->seen == 0);
    d->layout->start_at(d, position);
}

/* Enters one descriptor into a buffer; false when it breaks a rule. */
bool vq_device_enter(struct vq_device *d, struct vq_device_buffer *b, const struct virtq_desc *desc,
                     bool in) {
    const uint64_t start = (uintptr_t)d->setup.arena;
    const uint64_t end = start + d->setup.arena_size;
    if (!vq_device_rule(d, desc->len != 0, "2.7.13.1, 2.8.21.1: a descriptor of length 0") ||
        !vq_device_rule(d, desc->addr >= start && desc->addr < end && desc->len <= end - desc->addr,
                        "2.7.5, 2.8.4: a descriptor points outside of the memory for buffers") ||
        !vq_device_rule(d, in || b->n_in == 0,
                        "2.7.4.2, 2.8.17: a readable descriptor after a writable one")) {
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
    for (uint32_t at = d->buffers[id].first; done < len; at = d->table[at].next) {
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

bool vq_device_outstanding(const struct vq_device *d, uint32_t id) {
    return id < d->setup.num && d->buffers[id].n_out + d->buffers[id].n_in > 0;
}

void vq_device_check(struct vq_device *d) {
    if (!d->scribbled) {
        d->layout->check(d);
    }
}

void vq_device_use(struct vq_device *d, uint16_t id, uint32_t len) {
    assert(vq_device_outstanding(d, id) && d->placed < d->fetched);
    d->layout->place(d, id, len);
    d->layout->disown(d, id);
    d->buffers[id] = (struct vq_device_buffer){0};
    d->last_id = id;
}

bool vq_device_show(struct vq_device *d) {
    d->layout->take_over(d); /* so that rules on flags are checked here, too */
    return d->layout->show(d);
}

void vq_device_want_notify(struct vq_device *d, bool on) {
    d->layout->take_over(d);
    d->layout->want_notify(d, on);
}

bool vq_device_notify_due(struct vq_device *d, uint64_t count) {
    d->layout->take_over(d);
    return d->layout->notify_due(d, count);
}

/* A fetched buffer with at least so many descriptors, num when there is none. */
static uint32_t find_buffer(const struct vq_device *d, uint32_t n_desc_min) {
    uint32_t id = 0;
    while (id < d->setup.num &&
           (!vq_device_outstanding(d, id) ||
            (uint32_t)d->buffers[id].n_out + d->buffers[id].n_in < n_desc_min)) {
        id++;
    }
    return id;
}

bool vq_device_fault(struct vq_device *d, enum vq_fault fault) {
    const uint32_t num = d->setup.num;
    const uint32_t id = find_buffer(d, fault == VQ_FAULT_NOT_HEAD ? 2 : 1);
    const uint32_t last = d->last_id;
    const bool gone = last != UINT32_MAX && !vq_device_outstanding(d, last);
    const bool split_only = fault == VQ_FAULT_WIDE_ID || fault == VQ_FAULT_NOT_HEAD ||
                            fault == VQ_FAULT_JUMP_FORWARD || fault == VQ_FAULT_JUMP_BACK;
    const bool no_len = d->setup.packed && id < num && d->buffers[id].n_in == 0 &&
                        (fault == VQ_FAULT_LONG_LEN || fault == VQ_FAULT_HUGE_LEN);
    if (id == num || no_len || (split_only && d->setup.packed) ||
        (fault == VQ_FAULT_ID_TWICE && !gone)) {
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
    d->layout->take_over(d);
    d->scribbled = true;
    d->layout->scribble(d, byte);
}
