#include "drivers/vq.h"

#include <string.h>

struct vq_areas vq_areas(enum vq_layout layout, uint16_t num) {
    /* Each area starts a cache line of its own. */
    struct vq_areas areas = {.driver_off =
                                 align_up(sizeof(struct virtq_desc) * num, VQ_AREA_ALIGN)};
    if (vq_is_packed(layout)) { /* 2.8.10.1; descriptors are as large as those of a split ring */
        areas.device_off = areas.driver_off + VQ_AREA_ALIGN;
        areas.size = areas.device_off + VQ_AREA_ALIGN;
    } else { /* 2.7 */
        areas.device_off =
            areas.driver_off + align_up(sizeof(struct virtq_avail) + 2 * num + 2, VQ_AREA_ALIGN);
        areas.size = areas.device_off + align_up(sizeof(struct virtq_used) +
                                                     sizeof(struct virtq_used_elem) * num + 2,
                                                 VQ_AREA_ALIGN);
    }
    return areas;
}

size_t vq_indirect_size(uint16_t num) {
    return (size_t)VQ_TABLE_STRIDE * num;
}

static void vq_split_init(struct vq *q, char *base, const struct vq_areas *areas) {
    q->split = (struct vq_split){
        .desc = (void *)(base + areas->desc_off),
        .avail = (void *)(base + areas->driver_off),
        .used = (void *)(base + areas->device_off),
    };
    q->split.used_event = &q->split.avail->ring[q->num];
    q->split.avail_event = (const uint16_t *)(const void *)&q->split.used->ring[q->num];
}

/* Both wrap counters start at 1 (2.8.1): what is available has AVAIL set and USED clear, what is
 * used has both set. */
static void vq_packed_init(struct vq *q, char *base, const struct vq_areas *areas) {
    q->packed = (struct vq_packed){
        .desc = (void *)(base + areas->desc_off),
        .driver_event = (void *)(base + areas->driver_off),
        .device_event = (void *)(base + areas->device_off),
        .avail_flags = VIRTQ_DESC_F_AVAIL,
        .used_flags = VQ_PACKED_WRAP,
        .free_ids = q->num,
    };
}

void vq_init(struct vq *q, const struct vq_setup *setup) {
    const enum vq_layout layout = setup->layout;
    const uint16_t num = setup->num;
    const struct vq_areas areas = vq_areas(layout, num);

    ASSERT(num >= 1 && num <= VQ_NUM_MAX);
    ASSERT(vq_is_packed(layout) || is_power_of_two(num));
    ASSERT((uintptr_t)setup->memory % VQ_AREA_ALIGN == 0);
    ASSERT((uintptr_t)setup->indirect % VQ_AREA_ALIGN == 0);
    ASSERT((setup->indirect != NULL) == (setup->indirect_addr.v != 0));
    memset(setup->memory, 0, areas.size);
    memset(setup->slots, 0, sizeof(*setup->slots) * num);
    for (uint16_t i = 0; i + 1 < num; i++) {
        setup->slots[i].next = (uint16_t)(i + 1);
    }
    *q = (struct vq){
        .num = num,
        .free_count = num,
        .free_last = (uint16_t)(num - 1),
        .layout = layout,
        .event_idx = setup->event_idx,
        .device_errors = q->device_errors,
        .slots = setup->slots,
        .indirect = setup->indirect,
        .indirect_addr = setup->indirect_addr,
    };
    if (vq_is_packed(layout)) {
        vq_packed_init(q, setup->memory, &areas);
    } else {
        vq_split_init(q, setup->memory, &areas);
    }
    vq_event_off(q, layout);
}

static void vq_release(struct vq *q, uint16_t id) {
    switch (q->layout) {
    case VQ_SPLIT:
        vq_split_release(q, id);
        break;
    case VQ_PACKED:
        vq_packed_release(q, id);
        break;
    case VQ_SPLIT_IN_ORDER:
    case VQ_PACKED_IN_ORDER:
        q->free_count = (uint16_t)(q->free_count + q->slots[id].n_desc);
        q->slots[id].token = NULL;
        break;
    }
}

/* Nothing is outstanding: the next buffer to be used is the next one that is added. */
static void vq_forget(struct vq *q) {
    struct vq_split *s = &q->split;
    struct vq_packed *p = &q->packed;
    q->batch.left = 0;
    if (vq_is_packed(q->layout)) {
        p->used_slot = p->avail_slot;
        p->used_flags = p->avail_flags & VIRTQ_DESC_F_AVAIL ? VQ_PACKED_WRAP : 0;
        p->added_count = 0;
    } else {
        s->used_idx = s->published_idx = s->avail_idx;
        s->used_slot = q->free_slot;
    }
}

void *vq_drain(struct vq *q, uint32_t *cursor) {
    while (*cursor < q->num) {
        const uint16_t id = (uint16_t)(*cursor)++;
        void *token = q->slots[id].token;
        if (token != NULL) {
            vq_release(q, id);
            return token;
        }
    }
    vq_forget(q);
    return NULL;
}

void vq_break(struct vq *q) {
    q->broken = true;
    q->device_errors++;
}

/* Follows `count` links from id and marks each; none may have been seen before. Returns the last. */
static uint16_t vq_check_chain(const struct vq *q, uint16_t id, uint32_t count, uint8_t *seen) {
    uint16_t last = id;
    for (uint32_t i = 0; i < count; i++) {
        ASSERT(id < q->num);
        ASSERT((seen[id / 8] & 1u << id % 8) == 0);
        seen[id / 8] |= (uint8_t)(1u << id % 8);
        last = id;
        id = q->slots[id].next;
    }
    return last;
}

/* Outstanding buffers and the free list together are all descriptors, packed: all ids. */
static void vq_check_lists(const struct vq *q, uint32_t buffers) {
    static uint8_t seen[VQ_NUM_MAX / 8];
    const bool chained = !vq_is_packed(q->layout); /* by ids */
    memset(seen, 0, sizeof(seen));
    for (uint32_t id = 0; id < q->num; id++) {
        if (q->slots[id].token != NULL) {
            vq_check_chain(q, (uint16_t)id, chained ? q->slots[id].n_desc : 1, seen);
        }
    }
    const uint32_t free_links = chained ? q->free_count : q->num - buffers;
    ASSERT(chained || q->packed.free_ids == free_links);
    const uint16_t last = vq_check_chain(q, q->free_slot, free_links, seen);
    ASSERT(free_links == 0 || q->free_last == last);
}

/* One behind the other, these are all outstanding buffers; the free descriptors follow. */
static void vq_check_order(const struct vq *q, uint32_t buffers) {
    const bool packed = vq_is_packed(q->layout);
    const uint16_t first = packed ? q->packed.used_slot : q->split.used_slot;
    const uint16_t next = packed ? q->packed.avail_slot : q->free_slot;
    uint32_t at = first;
    ASSERT(q->batch.left <= vq_pending_count(q, q->layout));
    for (uint32_t i = 0; i < buffers; i++) {
        const struct vq_slot *slot = &q->slots[at % q->num];
        ASSERT(slot->token != NULL);
        ASSERT(packed || idx_diff(slot->avail_idx, q->split.used_idx) == i);
        at += slot->n_desc;
    }
    ASSERT(at % q->num == next);
    ASSERT(at - first + q->free_count == q->num);
}

static void vq_check_indices(const struct vq *q, uint32_t outstanding, uint32_t buffers) {
    const struct vq_split *s = &q->split;
    const struct vq_packed *p = &q->packed;
    if (vq_is_packed(q->layout)) {
        ASSERT(p->avail_slot < q->num);
        ASSERT(p->used_slot < q->num);
        ASSERT((p->used_slot + outstanding) % q->num == p->avail_slot);
        const bool lap = p->used_slot + outstanding >= q->num;
        const uint16_t differ = p->used_flags ^ p->avail_flags;
        ASSERT((differ & VIRTQ_DESC_F_AVAIL) == (lap ? VIRTQ_DESC_F_AVAIL : 0));
        ASSERT(p->added_count <= outstanding);
    } else {
        ASSERT(idx_diff(s->avail_idx, s->used_idx) == buffers);
        ASSERT(idx_diff(s->published_idx, s->used_idx) <= idx_diff(s->avail_idx, s->used_idx));
    }
}

void vq_check(const struct vq *q) {
    uint32_t outstanding = 0, buffers = 0;

    ASSERT(q->free_count <= q->num);
    for (uint32_t id = 0; id < q->num; id++) {
        if (q->slots[id].token != NULL) {
            ASSERT(q->slots[id].n_desc >= 1);
            outstanding += q->slots[id].n_desc;
            buffers++;
        }
    }
    ASSERT(outstanding + q->free_count == q->num);
    vq_check_indices(q, outstanding, buffers);
    if (vq_is_in_order(q->layout)) {
        vq_check_order(q, buffers);
    } else {
        vq_check_lists(q, buffers);
    }
}
