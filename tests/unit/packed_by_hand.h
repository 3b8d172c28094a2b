/* A packed ring filled by hand, with the device model on its other side. */
#ifndef TESTS_UNIT_PACKED_BY_HAND_H
#define TESTS_UNIT_PACKED_BY_HAND_H

#include "tests/unit/unit.h"

#include "tests/model/vq_device.h"

#include <string.h>

enum {
    NUM = 4,
    ARENA_SIZE = 256,
    AVAIL = VIRTQ_DESC_F_AVAIL,
    USED = VIRTQ_DESC_F_USED,
    NEXT = VIRTQ_DESC_F_NEXT,
    WRITE = VIRTQ_DESC_F_WRITE,
    INDIRECT = VIRTQ_DESC_F_INDIRECT,
};

static struct {
    struct pvirtq_desc desc[NUM];
    struct pvirtq_event_suppress driver, device;
    struct pvirtq_desc table[NUM + 1]; /* the last one is beyond its memory */
    _Alignas(16) uint8_t arena[ARENA_SIZE];
} m;

static struct vq_device dev;

static inline struct vq_device_setup setup(void) {
    return (struct vq_device_setup){
        .num = NUM,
        .packed = true,
        .indirect = true,
        .desc = m.desc,
        .driver = &m.driver,
        .device = &m.device,
        .arena = m.arena,
        .arena_size = sizeof(m.arena),
        .tables = m.table,
        .tables_size = NUM * sizeof(m.table[0]),
    };
}

static inline void open_with(const struct vq_device_setup *s) {
    memset(&m, 0, sizeof(m));
    for (unsigned i = 0; i < ARENA_SIZE; i++) {
        m.arena[i] = (uint8_t)i;
    }
    vq_device_init(&dev, s);
}

static inline int open_ring(void **state) {
    (void)state;
    const struct vq_device_setup s = setup();
    open_with(&s);
    return 0;
}

static inline int close_ring(void **state) {
    (void)state;
    vq_device_fini(&dev);
    return 0;
}

/* Slot i gets eight bytes of its own; flags besides AVAIL in the first lap. */
static inline void put(unsigned i, uint16_t id, uint16_t flags) {
    m.desc[i] = (struct pvirtq_desc){(uintptr_t)&m.arena[16 * i], 8, id, flags};
}

/* Two lists, 0-1 with the id 3 and 2-3 with the id 1, each of eight bytes out and eight in. */
static inline void put_two_lists(void) {
    put(3, 1, AVAIL | WRITE);
    put(2, 1, AVAIL | NEXT);
    put(1, 3, AVAIL | WRITE);
    put(0, 0xffff, AVAIL | NEXT); /* the id counts in the last one */
}

#endif
