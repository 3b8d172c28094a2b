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
        .buffers = calloc(num, sizeof(*d->buffers)),
        .order = calloc(num, sizeof(*d->order)),
        .split.held = calloc(num, sizeof(*d->split.held)),
        .split.owner = calloc(num, sizeof(*d->split.owner)),
        .packed.held = calloc(num, sizeof(*d->packed.held)),
        .last_id = UINT32_MAX,
    };
    assert(d->buffers && d->order && d->split.held && d->split.owner && d->packed.held);
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
    for (uint32_t id = 0; id < d->setup.num; id++) {
        vq_device_free_buffer(&d->buffers[id]);
    }
    free(d->buffers);
    free(d->order);
    free(d->split.held);
    free(d->split.owner);
    free(d->packed.held);
    *d = (struct vq_device){0};
}

void vq_device_start_at(struct vq_device *d, uint16_t position) {
    assert(d->seen == 0);
    d->layout->start_at(d, position);
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

bool vq_device_outstanding(const struct vq_device *d, uint32_t id) {
    return id < d->setup.num && d->buffers[id].n_desc > 0;
}

void vq_device_check(struct vq_device *d) {
    if (d->scribbled) {
        return;
    }
    d->layout->check(d);
    for (uint32_t id = 0; id < d->setup.num; id++) {
        vq_device_check_table(d, &d->buffers[id]);
    }
}

static void give_back(struct vq_device *d, uint16_t id) {
    if (!d->scribbled) {
        vq_device_check_table(d, &d->buffers[id]);
    }
    d->layout->disown(d, &d->buffers[id]);
    vq_device_free_buffer(&d->buffers[id]);
    d->last_id = id;
}

void vq_device_use(struct vq_device *d, uint16_t id, uint32_t len) {
    assert(vq_device_outstanding(d, id) && d->placed < d->fetched);
    assert(!d->setup.in_order || id == d->order[d->placed % d->setup.num]);
    d->layout->place(d, id, len, 1, d->buffers[id].n_desc);
    give_back(d, id);
}

void vq_device_use_batch(struct vq_device *d, uint32_t count, uint32_t len) {
    const uint64_t from = d->placed;
    uint32_t n_desc = 0;
    assert(d->setup.in_order && count > 0 && count <= d->fetched - from);
    for (uint64_t at = from; at < from + count; at++) {
        n_desc += d->buffers[d->order[at % d->setup.num]].n_desc;
    }
    d->layout->place(d, d->order[(from + count - 1) % d->setup.num], len, count, n_desc);
    for (uint64_t at = from; at < from + count; at++) {
        give_back(d, d->order[at % d->setup.num]);
    }
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

uint16_t vq_device_position(struct vq_device *d) {
    d->layout->take_over(d);
    return d->layout->position(d);
}

bool vq_device_check_position(struct vq_device *d, uint16_t position) {
    return vq_device_rule(d, position == vq_device_position(d),
                          "2.9, 2.8.16: a notification with a wrong next_off or next_wrap");
}

/* A buffer that can be lied about: fetched and not used, with at least so many descriptors; num
 * when there is none. In order only the next one is in question. */
static uint32_t find_buffer(const struct vq_device *d, uint32_t n_desc_min) {
    const uint32_t num = d->setup.num;
    if (d->setup.in_order) {
        const uint32_t id = d->order[d->placed % num];
        return d->placed < d->fetched && d->buffers[id].n_desc >= n_desc_min ? id : num;
    }
    uint32_t id = 0;
    while (id < num && (!vq_device_outstanding(d, id) || d->buffers[id].n_desc < n_desc_min)) {
        id++;
    }
    return id;
}

static uint32_t find_free_id(const struct vq_device *d) {
    uint32_t id = 0;
    while (id < d->setup.num && vq_device_outstanding(d, id)) {
        id++;
    }
    return id;
}

/* Can this be done now, to the buffer id? */
static bool fault_is_possible(const struct vq_device *d, enum vq_fault fault, uint32_t id) {
    const bool packed = d->setup.packed;
    if (id == d->setup.num) {
        return false;
    }
    switch (fault) {
    case VQ_FAULT_WIDE_ID:
    case VQ_FAULT_NOT_HEAD:
    case VQ_FAULT_JUMP_FORWARD:
    case VQ_FAULT_JUMP_BACK:
        return !packed;
    case VQ_FAULT_LONG_BATCH:
        return !packed && d->setup.in_order && d->fetched - d->placed >= 2;
    case VQ_FAULT_FREE_ID:
        return find_free_id(d) < d->setup.num;
    case VQ_FAULT_ID_TWICE:
        return d->last_id != UINT32_MAX && !vq_device_outstanding(d, d->last_id);
    case VQ_FAULT_LONG_LEN:
    case VQ_FAULT_HUGE_LEN:
        return !packed || d->buffers[id].n_in != 0;
    default:
        return true;
    }
}

void vq_device_place(struct vq_device *d, uint32_t id, uint32_t len) {
    d->layout->place(d, id, len, 1, vq_device_outstanding(d, id) ? d->buffers[id].n_desc : 1);
}

bool vq_device_fault(struct vq_device *d, enum vq_fault fault) {
    const uint32_t num = d->setup.num;
    const uint32_t id = find_buffer(d, fault == VQ_FAULT_NOT_HEAD ? 2 : 1);
    if (!fault_is_possible(d, fault, id)) {
        return false;
    }
    switch (fault) {
    case VQ_FAULT_UNKNOWN_ID:
        vq_device_place(d, num, 0);
        break;
    case VQ_FAULT_HUGE_ID:
        vq_device_place(d, UINT32_MAX, 0);
        break;
    case VQ_FAULT_WIDE_ID:
        vq_device_place(d, id + 0x10000, 0);
        break;
    case VQ_FAULT_FREE_ID:
        vq_device_place(d, find_free_id(d), 0);
        break;
    case VQ_FAULT_ID_TWICE:
        vq_device_place(d, d->last_id, 0);
        break;
    case VQ_FAULT_NOT_HEAD:
        vq_device_place(d, d->split.held[id].next, 0);
        break;
    case VQ_FAULT_LONG_LEN:
        vq_device_place(d, id, (uint32_t)d->buffers[id].in_len + 1);
        break;
    case VQ_FAULT_HUGE_LEN:
        vq_device_place(d, id, UINT32_MAX);
        break;
    case VQ_FAULT_JUMP_FORWARD:
        vq_device_place(d, id, 0); /* what is beyond would be believed */
        d->placed = d->seen + 1;
        break;
    case VQ_FAULT_JUMP_BACK:
        d->placed = d->shown - 1;
        break;
    case VQ_FAULT_LONG_BATCH:
        vq_device_place(d, d->order[(d->placed + 1) % num], 0);
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
    for (uint32_t id = 0; id < d->setup.num; id++) {
        if (d->buffers[id].table != NULL) {
            memset(d->buffers[id].table, byte, d->buffers[id].table_size);
        }
    }
}
