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
    }
    return areas;
}

void vq_init(struct vq *q, enum vq_layout layout, uint16_t num, bool event_idx, void *memory,
             struct vq_slot *slots) {
    const struct vq_areas areas = vq_areas(layout, num);
    char *base = memory;

    ASSERT(is_power_of_two(num) && num <= VQ_NUM_MAX);
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
    q->split.desc = (void *)(base + areas.desc_off);
    q->split.avail = (void *)(base + areas.driver_off);
    q->split.used = (void *)(base + areas.device_off);
    q->split.used_event = &q->split.avail->ring[num];
    q->split.avail_event = (const uint16_t *)(const void *)&q->split.used->ring[num];
    vq_event_off(q, layout);
}

void *vq_drain(struct vq *q, uint32_t *cursor) {
    while (*cursor < q->num) {
        const uint16_t id = (uint16_t)(*cursor)++;
        void *token = q->slots[id].token;
        if (token != NULL) {
            vq_split_release(q, id);
            return token;
        }
    }
    return NULL;
}

void vq_break(struct vq *q) {
    q->broken = true;
    q->device_errors++;
}

/* Follows `count` links from descriptor id and marks each; none may have been seen before. */
static void vq_check_chain(const struct vq *q, uint16_t id, uint32_t count, uint8_t *seen) {
    for (uint32_t i = 0; i < count; i++) {
        ASSERT(id < q->num);
        ASSERT((seen[id / 8] & 1u << id % 8) == 0);
        seen[id / 8] |= (uint8_t)(1u << id % 8);
        id = q->slots[id].next;
    }
}

void vq_check(const struct vq *q) {
    static uint8_t seen[VQ_NUM_MAX / 8];
    const struct vq_split *s = &q->split;
    uint32_t outstanding = 0;

    memset(seen, 0, sizeof(seen));
    ASSERT(q->free_count <= q->num);
    vq_check_chain(q, q->free_slot, q->free_count, seen);
    for (uint32_t id = 0; id < q->num; id++) {
        if (q->slots[id].token != NULL) {
            vq_check_chain(q, (uint16_t)id, q->slots[id].n_desc, seen);
            outstanding += q->slots[id].n_desc;
        }
    }
    ASSERT(outstanding + q->free_count == q->num);
    ASSERT(idx_diff(s->avail_idx, s->used_idx) <= q->num);
    ASSERT(idx_diff(s->published_idx, s->used_idx) <= idx_diff(s->avail_idx, s->used_idx));
}
