/* A queue, a device on its other side, and buffers that know what must come back for them.
 *
 * Each case is one body that runs over the four layouts, EVENT_IDX off and on, tables of indirect
 * descriptors off and on, ring sizes, and three starts: index 0, 16 entries before the wrap (split:
 * of the 16-bit indices; packed: of the lap whose wrap counter is 0) and the last slot. A body uses
 * the rig_ calls, which check whatever passes: order, lengths, bytes in both directions, where
 * notifications point to, and that the driver breaks no rule. */
#ifndef TESTS_UNIT_VQ_RIG_H
#define TESTS_UNIT_VQ_RIG_H

#include "tests/unit/unit.h"

#include "drivers/vq.h"
#include "tests/model/vq_device.h"

enum { RIG_PIECE = 16, RIG_CHAIN_MAX = 68 };

/* A buffer of the driver; its address is the token. */
struct rig_buffer {
    uint32_t serial; /* number of the vq_add(), selects lengths and contents; 0: not in use */
    uint16_t n_out, n_in;
    uint16_t n_desc;   /* descriptors in the ring */
    uint16_t id;       /* once it was fetched */
    uint32_t piece;    /* first of its pieces of memory */
    uint32_t used_len; /* what must come back as its length */
};

/* First in, first out; at most num entries. */
struct rig_fifo {
    struct rig_buffer **item;
    uint32_t head, count;
};

struct rig {
    struct vq q;
    struct vq_device dev;
    enum vq_layout layout;
    bool event_idx;
    bool indirect;
    uint16_t num;
    uint16_t start; /* single buffers that have gone round already */
    void *ring;
    void *tables; /* NULL without indirect */
    struct vq_slot *slots;
    uint8_t *arena;       /* `pieces` pieces of RIG_PIECE bytes: one for each segment */
    uint32_t *piece_next; /* chains of pieces, as in a free list */
    uint32_t piece_free;
    uint32_t pieces, pieces_left;
    struct rig_buffer *buffers; /* [pieces] */
    struct rig_buffer **by_id;  /* [num] of the fetched ones */
    struct vq_seg *segs;        /* [num] scratch */
    struct vq_done *done;       /* [num] scratch */
    struct rig_fifo added;      /* not fetched by the device yet */
    struct rig_fifo fetched;    /* in order: not given back by it yet */
    struct rig_fifo used;       /* given back by the device, in that order */
    uint32_t unshown;           /* the last of them are not visible yet */
    uint32_t serial;
    uint32_t n_desc;      /* ring descriptors that we think are outstanding */
    uint32_t unpublished; /* in the device's positions: buffers, packed: descriptors */
    uint32_t unnotified;  /* ... published since rig_notify_needed() */
    struct unit_random random;
};

struct rig_case {
    void (*body)(struct rig *r);
    uint32_t num_max; /* leave out larger rings */
};

#define RIG_CASE(name) RIG_CASE_UP_TO(name, VQ_NUM_MAX)
#define RIG_CASE_UP_TO(name, max)                                                                  \
    {                                                                                              \
#name, rig_run, NULL, rig_teardown, &(struct rig_case) {                                   \
            name, max                                                                              \
        }                                                                                          \
    }

void rig_run(void **state);
int rig_teardown(void **state); /* says which rig was up when a case failed */

/* What is set in *r says how: layout, event_idx, indirect, num, start. */
void rig_up(struct rig *r);
void rig_down(struct rig *r);

/* The device was reset: a new ring in the same memory. All buffers must have come back. */
void rig_restart(struct rig *r);

/* Conservation and the driver's and the device's own checks. Linear in num. */
void rig_check(const struct rig *r);

/* Driver. */
bool rig_fits(const struct rig *r, uint32_t n_segs); /* can such a buffer be added? */
struct rig_buffer *rig_add(struct rig *r, uint16_t n_out, uint16_t n_in);
void rig_add_single(struct rig *r, uint32_t count); /* so many of one in-segment each */
void rig_publish(struct rig *r);
bool rig_notify_needed(struct rig *r);
unsigned rig_take(struct rig *r, unsigned max);
uint32_t rig_drain(struct rig *r); /* returns how many came back */

/* Device. fetch returns the id, or -1; use gives back, len at most the buffer's. With IN_ORDER,
 * buffers are used in the order in which they were fetched; use_batch gives the next `count` back
 * at once, and len belongs to the last one. */
int rig_fetch(struct rig *r);
uint32_t rig_in_len(const struct rig *r, uint16_t id);
void rig_use(struct rig *r, uint16_t id, uint32_t len);
void rig_use_batch(struct rig *r, uint32_t count, uint32_t len);
bool rig_show(struct rig *r);
uint32_t rig_use_all(struct rig *r); /* fetches and gives back all there is, not shown */

#endif
