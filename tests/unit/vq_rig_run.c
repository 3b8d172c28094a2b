/* Sets a rig up and runs a case over all of them. */
#include "tests/unit/vq_rig.h"

#include <stdlib.h>
#include <string.h>

static struct rig rig;
static bool rig_running; /* within a body; still set after one that failed */

/* test_start_is_ordinary shows that traffic leads to the same state. */
static void skip_to_start(struct rig *r) {
    struct vq_split *s = &r->q.split;
    struct vq_packed *p = &r->q.packed;
    if (!vq_is_packed(r->layout)) {
        s->avail_idx = s->published_idx = s->used_idx = r->start;
        if (vq_is_in_order(r->layout)) {
            r->q.free_slot = s->used_slot = r->start % r->num;
        }
        s->avail->idx = r->start;
        vq_event_off(&r->q, r->layout);
    } else {
        p->avail_slot = p->used_slot = r->start % r->num;
        if (r->start / r->num % 2 != 0) { /* both wrap counters are 0 */
            p->avail_flags = VIRTQ_DESC_F_USED;
            p->used_flags = 0;
        }
    }
    vq_device_start_at(&r->dev, r->start);
}

static void rig_init_queue(struct rig *r) {
    const struct vq_areas areas = vq_areas(r->layout, r->num);
    uint8_t *ring = r->ring;
    vq_init(&r->q, &(struct vq_setup){
                       .layout = r->layout,
                       .num = r->num,
                       .event_idx = r->event_idx,
                       .memory = ring,
                       .slots = r->slots,
                       .indirect = r->tables,
                       .indirect_addr = {(uintptr_t)r->tables},
                   });
    vq_device_init(&r->dev, &(struct vq_device_setup){
                                .num = r->num,
                                .packed = vq_is_packed(r->layout),
                                .in_order = vq_is_in_order(r->layout),
                                .event_idx = r->event_idx,
                                .indirect = r->indirect,
                                .desc = ring + areas.desc_off,
                                .driver = ring + areas.driver_off,
                                .device = ring + areas.device_off,
                                .arena = r->arena,
                                .arena_size = (size_t)r->pieces * RIG_PIECE,
                                .tables = r->tables,
                                .tables_size = r->indirect ? vq_indirect_size(r->num) : 0,
                            });
    if (r->start != 0) {
        skip_to_start(r);
    }
}

void rig_up(struct rig *r) {
    const struct rig how = *r;
    const uint16_t num = how.num;
    const size_t size = vq_areas(how.layout, num).size;
    const uint32_t pieces = num * (how.indirect ? 4u : 1u);
    *r = (struct rig){
        .layout = how.layout,
        .event_idx = how.event_idx,
        .indirect = how.indirect,
        .num = num,
        .start = how.start,
        .pieces = pieces,
        .pieces_left = pieces,
        .ring = aligned_alloc(VQ_AREA_ALIGN, size),
        .tables = how.indirect ? aligned_alloc(VQ_AREA_ALIGN, vq_indirect_size(num)) : NULL,
        .slots = malloc(num * sizeof(*r->slots)),
        .arena = malloc((size_t)pieces * RIG_PIECE),
        .piece_next = malloc(pieces * sizeof(*r->piece_next)),
        .buffers = calloc(pieces, sizeof(*r->buffers)),
        .by_id = calloc(num, sizeof(*r->by_id)),
        .segs = calloc(num, sizeof(*r->segs)),
        .done = calloc(num, sizeof(*r->done)),
        .added.item = calloc(num, sizeof(*r->added.item)),
        .fetched.item = calloc(num, sizeof(*r->fetched.item)),
        .used.item = calloc(num, sizeof(*r->used.item)),
        .random.state = 0x9e3779b97f4a7c15 + num + how.start,
    };
    assert_true(r->ring && r->slots && r->arena && r->piece_next && r->buffers && r->by_id);
    assert_true(r->segs && r->done && r->added.item && r->fetched.item && r->used.item);
    assert_int_equal(r->tables != NULL, r->indirect);
    /* What was there before must not matter. */
    memset(r->ring, 0xa5, size);
    memset(r->slots, 0xa5, num * sizeof(*r->slots));
    for (uint32_t i = 0; i < pieces; i++) {
        r->piece_next[i] = i + 1;
    }
    rig_init_queue(r);
}

void rig_down(struct rig *r) {
    vq_device_fini(&r->dev);
    free(r->ring);
    free(r->tables);
    free(r->slots);
    free(r->arena);
    free(r->piece_next);
    free(r->buffers);
    free(r->by_id);
    free(r->segs);
    free(r->done);
    free(r->added.item);
    free(r->fetched.item);
    free(r->used.item);
}

void rig_restart(struct rig *r) {
    assert_int_equal(r->n_desc, 0);
    r->added.count = r->fetched.count = r->used.count = r->unshown = 0;
    r->unpublished = r->unnotified = 0;
    vq_device_fini(&r->dev);
    rig_init_queue(r);
}

static void run_one(const struct rig_case *c, const struct rig *how) {
    rig = *how;
    rig_up(&rig);
    rig_running = true;
    c->body(&rig);
    rig_check(&rig);
    rig_running = false;
    rig_down(&rig);
}

static void run_size(const struct rig_case *c, enum vq_layout layout, uint16_t num) {
    const uint16_t near_wrap =
        vq_is_packed(layout) ? (uint16_t)(2 * num - (num < 16 ? num : 16)) : 0xfff0;
    const uint16_t starts[] = {0, near_wrap, (uint16_t)(num - 1)};
    for (unsigned i = 0; i < 4 * ARRAY_SIZE(starts); i++) {
        if (num == VQ_NUM_MAX && (i % 2 != i / 2 % 2 || starts[i / 4] != near_wrap)) {
            continue; /* so large a ring takes its time: both or none of the two, near the wrap */
        }
        run_one(c, &(struct rig){.layout = layout,
                                 .num = num,
                                 .event_idx = i % 2,
                                 .indirect = i / 2 % 2,
                                 .start = starts[i / 4]});
    }
}

void rig_run(void **state) {
    static const uint16_t sizes[] = {1, 2, 3, 4, 240, 256, VQ_NUM_MAX};
    const struct rig_case *c = *state;
    for (unsigned i = 0; i < ARRAY_SIZE(sizes) && sizes[i] <= c->num_max; i++) {
        for (enum vq_layout layout = VQ_SPLIT; layout <= VQ_PACKED_IN_ORDER; layout++) {
            if (vq_is_packed(layout) || is_power_of_two(sizes[i])) {
                run_size(c, layout, sizes[i]);
            }
        }
    }
}

int rig_teardown(void **state) {
    (void)state;
    if (rig_running) {
        print_error("... failed with packed=%d in_order=%d event_idx=%d indirect=%d num=%u "
                    "start=%#x\n",
                    vq_is_packed(rig.layout), vq_is_in_order(rig.layout), rig.event_idx,
                    rig.indirect, rig.num, rig.start);
        rig_running = false;
        rig_down(&rig);
    }
    return 0;
}
