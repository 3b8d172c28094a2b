/* The device side of a virtqueue, for tests: written from the specification, not from the driver.
 *
 * It plays two parts. As a checker it looks at everything that the driver shows it and keeps the
 * first rule that was broken in `violation`; from then on it stands still. As an adversary it
 * breaks the device's own rules when asked to (vq_device_fault, vq_device_scribble).
 *
 * Its arithmetic differs from the driver's on purpose: positions are 64-bit counts of buffers that
 * never wrap; an index of the ring is a position modulo 2^16, a slot is a position modulo num. In
 * the packed ring a second set of positions counts descriptors, and whether its lap is an even one
 * is the wrap counter.
 *
 * Everything that depends on the layout of the ring stands behind struct vq_device_layout, one
 * table of functions for each of the two; what a buffer consists of is in vq_device_buffer.c. No
 * cmocka in here, so that fuzzers and explorers can use the model too. */
#ifndef TESTS_MODEL_VQ_DEVICE_H
#define TESTS_MODEL_VQ_DEVICE_H

#include "drivers/virtio_spec.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the driver told the device about a queue, and where buffers may lie. */
struct vq_device_setup {
    uint16_t num;
    bool packed;
    bool event_idx;
    bool in_order;
    bool indirect;
    void *desc, *driver, *device; /* the three areas */
    void *arena;
    size_t arena_size;
    void *tables; /* where tables of indirect descriptors may lie; NULL: in the arena, too */
    size_t tables_size;
};

struct vq_device_elem {
    uint64_t addr;
    uint32_t len;
    bool in; /* device-writable */
};

/* A buffer as the device found it. */
struct vq_device_buffer {
    uint16_t id;
    uint16_t first;  /* slot of its first descriptor in the ring */
    uint16_t n_desc; /* ... and how many it has there */
    uint16_t n_out, n_in;
    uint64_t out_len, in_len;
    struct vq_device_elem *elem; /* [n_out + n_in], the device's own copy */
    void *table;                 /* of indirect descriptors, in the driver's memory, or NULL */
    void *table_copy;            /* ... as it was when taken over */
    size_t table_size;
};

struct vq_device;

struct vq_device_layout {
    void (*take_over)(struct vq_device *d); /* looks at all that was published since */
    /* One used element that stands for so many buffers, and their ring descriptors. */
    void (*place)(struct vq_device *d, uint32_t id, uint32_t len, uint32_t count, uint32_t n_desc);
    bool (*show)(struct vq_device *d); /* ... visible; true: an interrupt is due */
    void (*want_notify)(struct vq_device *d, bool on);
    bool (*notify_due)(const struct vq_device *d, uint64_t count);
    uint16_t (*position)(const struct vq_device *d);
    void (*check)(struct vq_device *d); /* is what the driver gave away unchanged? */
    void (*disown)(struct vq_device *d, const struct vq_device_buffer *b); /* it was used */
    void (*start_at)(struct vq_device *d, uint16_t position);
    void (*scribble)(struct vq_device *d, uint8_t byte);
};

/* Positions: shown <= placed <= fetched <= seen, seen - placed <= num. */
struct vq_device {
    struct vq_device_setup setup;
    const struct vq_device_layout *layout;
    uint64_t seen;                    /* buffers that the driver made available */
    uint64_t fetched;                 /* ... that vq_device_fetch() returned */
    uint64_t placed;                  /* ... that used elements were written for */
    uint64_t shown;                   /* ... that the driver was told of */
    uint64_t desc_seen;               /* ring descriptors that the driver made available */
    struct vq_device_buffer *buffers; /* [num] by id */
    uint16_t *order;                  /* [num] ids in the order in which they came */
    struct vq_device_split {
        struct virtq_desc *held; /* [num] descriptors as they were when taken over */
        uint32_t *owner;         /* [num] the buffer that one is part of, plus 1 */
    } split;
    struct vq_device_packed {
        uint64_t placed, shown;   /* as above, in descriptors */
        struct pvirtq_desc *held; /* [num] by slot: what was taken over there */
        uint16_t head_flags;      /* of the used descriptor at `shown`, until it is */
    } packed;
    uint32_t last_id;      /* what was given back last, for VQ_FAULT_ID_TWICE */
    bool scribbled;        /* the device itself spoilt the driver's areas */
    const char *violation; /* the rule that the driver broke first */
};

/* Starts with an empty ring. The areas must be as vq_init() leaves them. */
void vq_device_init(struct vq_device *d, const struct vq_device_setup *setup);
void vq_device_fini(struct vq_device *d);

/* Continues as if `position` buffers of one descriptor had gone round already. Only right after
 * vq_device_init(). */
void vq_device_start_at(struct vq_device *d, uint16_t position);

/* The next available buffer, false when there is none. What it points to lasts until it is used. */
bool vq_device_fetch(struct vq_device *d, struct vq_device_buffer *buffer);

/* Copies from what the driver wrote, or into what the device may write, of a fetched buffer;
 * returns the number of bytes, at most len. */
size_t vq_device_read(const struct vq_device *d, uint16_t id, void *bytes, size_t len);
size_t vq_device_write(const struct vq_device *d, uint16_t id, const void *bytes, size_t len);

/* Gives a fetched buffer back, in any order, but with IN_ORDER in the order in which they came. The
 * driver sees it after vq_device_show(), which returns true when the driver asked for a
 * notification of it. */
void vq_device_use(struct vq_device *d, uint16_t id, uint32_t len);
bool vq_device_show(struct vq_device *d);

/* With IN_ORDER: gives the next `count` fetched buffers back by one used element, that of the last
 * of them (2.7.9, 2.8.8). len is that one's; the others must have been used completely. */
void vq_device_use_batch(struct vq_device *d, uint32_t count, uint32_t len);

/* Asks for a notification of the next buffer that becomes available, or for none. */
void vq_device_want_notify(struct vq_device *d, bool on);

/* Must the driver notify for the last `count` of what it made available? Counts buffers, in the
 * packed ring descriptors. */
bool vq_device_notify_due(struct vq_device *d, uint64_t count);

/* What a notification must say with NOTIFICATION_DATA, next_off and next_wrap (2.9), by what the
 * driver has published; and a check that it did. Returns whether it is right. */
uint16_t vq_device_position(struct vq_device *d);
bool vq_device_check_position(struct vq_device *d, uint16_t position);

/* All that the driver gave away is still as it was. */
void vq_device_check(struct vq_device *d);

/* Is there a fetched or available buffer of this id that was not used? */
bool vq_device_outstanding(const struct vq_device *d, uint32_t id);

enum vq_fault {
    VQ_FAULT_UNKNOWN_ID,   /* num, the first that does not exist */
    VQ_FAULT_HUGE_ID,      /* 2^32 - 1, packed 2^16 - 1 */
    VQ_FAULT_WIDE_ID,      /* split: right in its low 16 bits only */
    VQ_FAULT_FREE_ID,      /* one that exists, but that no outstanding buffer has */
    VQ_FAULT_ID_TWICE,     /* the one given back last, again */
    VQ_FAULT_NOT_HEAD,     /* split: the second descriptor of a buffer */
    VQ_FAULT_LONG_LEN,     /* one byte more than the buffer holds; packed: if it holds any */
    VQ_FAULT_HUGE_LEN,     /* 2^32 - 1; packed: likewise */
    VQ_FAULT_JUMP_FORWARD, /* split: one more buffer used than was made available */
    VQ_FAULT_JUMP_BACK,    /* split: one less used than before */
    VQ_FAULT_LONG_BATCH,   /* split, in order: one that ends beyond the index, by one buffer */
    VQ_FAULT_COUNT,
};

/* Does it, and shows it. False when it cannot be done now: no buffer outstanding, none with two
 * descriptors, nothing given back yet, not in this layout. Only vq_device_init() is allowed
 * afterwards. */
bool vq_device_fault(struct vq_device *d, enum vq_fault fault);

/* One used element with any content, not shown yet, behind which the device then believes itself.
 * For lies of other kinds; as above, only vq_device_init() is allowed afterwards. */
void vq_device_place(struct vq_device *d, uint32_t id, uint32_t len);

/* Fills all that the driver must not read back, or not yet, with `byte`: the descriptor table, the
 * entries of the available ring, the used elements that are still to come; in the packed ring the
 * device's descriptors, but for the two flags that say whose they are; tables of indirect
 * descriptors. */
void vq_device_scribble(struct vq_device *d, uint8_t byte);

#endif
