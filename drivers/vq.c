#include "drivers/vq.h"

#include <string.h>

struct vq_areas vq_areas(enum vq_layout layout, uint16_t num) {
    struct vq_areas areas = {0};
    switch (layout) {
    case VQ_SPLIT: /* 2.7: sizes and alignment; each area starts a cache line of its own */
        areas.driver_off = align_up(sizeof(struct virtq_desc) * num, VQ_AREA_ALIGN);
        areas.device_off =
            areas.driver_off + align_up(sizeof(struct virtq_avail) + 2 * num + 2, VQ_AREA_ALIGN);
        areas.size = areas.device_off + align_up(sizeof(struct virtq_used) +
                                                     sizeof(struct virtq_used_elem) * num + 2,
                                                 VQ_AREA_ALIGN);
        break;
    case VQ_PACKED: /* 2.8 */
        areas.driver_off = align_up(sizeof(struct pvirtq_desc) * num, VQ_AREA_ALIGN);
        areas.device_off = areas.driver_off + VQ_AREA_ALIGN;
        areas.size = areas.device_off + VQ_AREA_ALIGN;
        break;
    }
    return areas;
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

/* Both wrap counters start at 1 (2.8.1): what is available has AVAIL set and USED clear, what is used
 * has both set. */
static void vq_packed_init(struct vq *q, char *base, const struct vq_areas *areas) {
    q->packed = (struct vq_packed){
        .desc = (void *)(base + areas->desc_off),
        .driver_event = (void *)(base + areas->driver_off),
        .device_event = (void *)(base + areas->device_off),
        .avail_flags = VIRTQ_DESC_F_AVAIL,
        .used_flags = VQ_PACKED_WRAP,
    };
}

void vq_init(struct vq *q, enum vq_layout layout, uint16_t num, bool event_idx, void *memory,
             struct vq_slot *slots) {
    const struct vq_areas areas = vq_areas(layout, num);

    ASSERT(num >= 1 && num <= VQ_NUM_MAX);
    ASSERT(layout != VQ_SPLIT || is_power_of_two(num));
    ASSERT((uintptr_t)memory % VQ_AREA_ALIGN == 0);
    memset(memory, 0, areas.size);
    memset(slots, 0, sizeof(*slots) * num);
    for (uint16_t i = 0; i + 1 < num; i++) {
        slots[i].next = (uint16_t)(i + 1);
    }
    *q = (struct vq){
        .num = num,
        .free_count = num,
        .layout = layout,
        .event_idx = event_idx,
        .device_errors = q->device_errors,
        .slots = slots,
    };
    switch (layout) {
    case VQ_SPLIT:
        vq_split_init(q, memory, &areas);
        break;
    case VQ_PACKED:
        vq_packed_init(q, memory, &areas);
        break;
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
    return NULL;
}

void vq_break(struct vq *q) {
    q->broken = true;
    q->device_errors++;
}

/* Follows `count` links from id and marks each; none may have been seen before. */
static void vq_check_chain(const struct vq *q, uint16_t id, uint32_t count, uint8_t *seen) {
    for (uint32_t i = 0; i < count; i++) {
        ASSERT(id < q->num);
        ASSERT((seen[id / 8] & 1u << id % 8) == 0);
        seen[id / 8] |= (uint8_t)(1u << id % 8);
        id = q->slots[id].next;
    }
}

static void vq_check_indices(const struct vq *q, uint32_t outstanding) {
    const struct vq_split *s = &q->split;
    const struct vq_packed *p = &q->packed;
    switch (q->layout) {
    case VQ_SPLIT:
        ASSERT(idx_diff(s->avail_idx, s->used_idx) <= q->num);
        ASSERT(idx_diff(s->published_idx, s->used_idx) <= idx_diff(s->avail_idx, s->used_idx));
        break;
    case VQ_PACKED:
        ASSERT(p->avail_slot < q->num);
        ASSERT(p->used_slot < q->num);
        ASSERT((p->used_slot + outstanding) % q->num == p->avail_slot);
        ASSERT(p->added_count <= outstanding);
        break;
    }
}

void vq_check(const struct vq *q) {
    static uint8_t seen[VQ_NUM_MAX / 8];
    uint32_t outstanding = 0, buffers = 0;

    memset(seen, 0, sizeof(seen));
    ASSERT(q->free_count <= q->num);
    for (uint32_t id = 0; id < q->num; id++) {
        if (q->slots[id].token != NULL) {
            /* A chain of the split ring takes ids as well; of the packed one it has slots only. */
            vq_check_chain(q, (uint16_t)id, q->layout == VQ_SPLIT ? q->slots[id].n_desc : 1, seen);
            outstanding += q->slots[id].n_desc;
            buffers++;
        }
    }
    ASSERT(outstanding + q->free_count == q->num);
    vq_check_chain(q, q->free_slot, q->layout == VQ_SPLIT ? q->free_count : q->num - buffers, seen);
    vq_check_indices(q, outstanding);
}
