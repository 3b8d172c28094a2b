/* A split ring filled by hand, as a good driver would fill it, with the device model on its other
 * side. */
#ifndef TESTS_UNIT_SPLIT_BY_HAND_H
#define TESTS_UNIT_SPLIT_BY_HAND_H

#include "tests/unit/unit.h"

#include "tests/model/vq_device.h"

#include <string.h>

enum { NUM = 4, ARENA_SIZE = 256 };

/* A ring laid out by hand, as a driver would keep it. */
static struct {
    struct virtq_desc desc[NUM];
    struct {
        uint16_t flags, idx, ring[NUM], used_event;
    } avail;
    struct {
        uint16_t flags, idx;
        struct virtq_used_elem ring[NUM];
        uint16_t avail_event;
    } used;
    struct virtq_desc table[NUM + 1]; /* the last one is beyond its memory */
    _Alignas(16) uint8_t arena[ARENA_SIZE];
} m;

static struct vq_device dev;

static inline struct vq_device_setup setup(bool event_idx) {
    return (struct vq_device_setup){
        .num = NUM,
        .event_idx = event_idx,
        .desc = m.desc,
        .driver = &m.avail,
        .device = &m.used,
        .arena = m.arena,
        .arena_size = sizeof(m.arena),
        .tables = m.table,
        .tables_size = NUM * sizeof(m.table[0]),
    };
}

/* Two chains, 0-1 and 2-3, each of eight bytes out and eight bytes in. */
static inline void fill(void) {
    memset(&m, 0, sizeof(m));
    for (uint16_t i = 0; i < NUM; i++) {
        const bool in = i % 2;
        m.desc[i] = (struct virtq_desc){
            .addr = (uintptr_t)&m.arena[16 * i],
            .len = 8,
            .flags = in ? VIRTQ_DESC_F_WRITE : VIRTQ_DESC_F_NEXT,
            .next = in ? 0 : (uint16_t)(i + 1),
        };
    }
    m.avail.ring[1] = 2;
    for (unsigned i = 0; i < ARENA_SIZE; i++) {
        m.arena[i] = (uint8_t)i;
    }
}

static inline int open_ring(void **state) {
    (void)state;
    fill();
    const struct vq_device_setup s = setup(false);
    vq_device_init(&dev, &s);
    return 0;
}

static inline void open_with(bool in_order, bool indirect) {
    struct vq_device_setup s = setup(false);
    s.in_order = in_order;
    s.indirect = indirect;
    fill();
    vq_device_init(&dev, &s);
}

static inline int close_ring(void **state) {
    (void)state;
    vq_device_fini(&dev);
    return 0;
}

/* A table of an entry out and an entry in, all as it should be. */
static inline void table(void) {
    m.desc[0] = (struct virtq_desc){(uintptr_t)m.table, 32, VIRTQ_DESC_F_INDIRECT, 0};
    m.table[0] = (struct virtq_desc){(uintptr_t)&m.arena[0], 8, VIRTQ_DESC_F_NEXT, 1};
    m.table[1] = (struct virtq_desc){(uintptr_t)&m.arena[64], 16, VIRTQ_DESC_F_WRITE, 0};
}

/* Of three entries that link 0, 2, 1. */
static inline void table_backwards(void) {
    table();
    m.desc[0].len = 48;
    m.table[2] = m.table[1];
    m.table[1] = m.table[0];
    m.table[0].next = 2;
    m.table[2].flags |= VIRTQ_DESC_F_NEXT;
    m.table[2].next = 1;
    m.table[1].flags = VIRTQ_DESC_F_WRITE;
}

#endif
