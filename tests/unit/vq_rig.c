#include "tests/unit/vq_rig.h"

#include <stdlib.h>
#include <string.h>

static struct rig rig;
static bool rig_running; /* within a body; still set after one that failed */

static void fifo_put(struct rig_fifo *f, uint32_t num, struct rig_buffer *b) {
    assert_true(f->count < num);
    f->item[(f->head + f->count++) % num] = b;
}

static struct rig_buffer *fifo_take(struct rig_fifo *f, uint32_t num) {
    assert_true(f->count > 0);
    struct rig_buffer *b = f->item[f->head];
    f->head = (f->head + 1) % num;
    f->count--;
    return b;
}

/* Lengths and contents follow from the serial number alone. */
static uint32_t seg_len(uint32_t serial, uint32_t i) {
    return 1 + (serial * 7 + i * 5) % RIG_PIECE;
}

static uint8_t content(uint32_t serial, uint32_t i) {
    return (uint8_t)(serial * 31 + i * 3 + 1);
}

static uint32_t out_len(const struct rig_buffer *b) {
    uint32_t len = 0;
    for (uint32_t i = 0; i < b->n_out; i++) {
        len += seg_len(b->serial, i);
    }
    return len;
}

static uint32_t in_len(const struct rig_buffer *b) {
    uint32_t len = 0;
    for (uint32_t i = b->n_out; i < (uint32_t)b->n_out + b->n_in; i++) {
        len += seg_len(b->serial, i);
    }
    return len;
}

/* test_start_is_ordinary shows that traffic leads to the same state. */
static void skip_to_start(struct rig *r) {
    struct vq_split *s = &r->q.split;
    struct vq_packed *p = &r->q.packed;
    if (!vq_is_packed(r->layout)) {
        s->avail_idx = s->published_idx = s->used_idx = r->start;
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
                   });
    vq_device_init(&r->dev, &(struct vq_device_setup){
                                .num = r->num,
                                .packed = r->layout == VQ_PACKED,
                                .event_idx = r->event_idx,
                                .desc = ring + areas.desc_off,
                                .driver = ring + areas.driver_off,
                                .device = ring + areas.device_off,
                                .arena = r->arena,
                                .arena_size = (size_t)r->num * RIG_PIECE,
                            });
    if (r->start != 0) {
        skip_to_start(r);
    }
}

void rig_up(struct rig *r, enum vq_layout layout, bool event_idx, uint16_t num, uint16_t start) {
    const size_t size = vq_areas(layout, num).size;
    *r = (struct rig){
        .layout = layout,
        .event_idx = event_idx,
        .num = num,
        .start = start,
        .ring = aligned_alloc(VQ_AREA_ALIGN, size),
        .slots = malloc(num * sizeof(*r->slots)),
        .arena = malloc((size_t)num * RIG_PIECE),
        .piece_next = malloc(num * sizeof(*r->piece_next)),
        .buffers = calloc(num, sizeof(*r->buffers)),
        .by_id = calloc(num, sizeof(*r->by_id)),
        .segs = calloc(num, sizeof(*r->segs)),
        .done = calloc(num, sizeof(*r->done)),
        .added.item = calloc(num, sizeof(*r->added.item)),
        .used.item = calloc(num, sizeof(*r->used.item)),
        .random.state = 0x9e3779b97f4a7c15 + num + start,
    };
    assert_true(r->ring && r->slots && r->arena && r->piece_next && r->buffers && r->by_id);
    assert_true(r->segs && r->done && r->added.item && r->used.item);
    /* What was there before must not matter. */
    memset(r->ring, 0xa5, size);
    memset(r->slots, 0xa5, num * sizeof(*r->slots));
    for (uint32_t i = 0; i < num; i++) {
        r->piece_next[i] = (uint16_t)(i + 1);
    }
    rig_init_queue(r);
}

void rig_down(struct rig *r) {
    vq_device_fini(&r->dev);
    free(r->ring);
    free(r->slots);
    free(r->arena);
    free(r->piece_next);
    free(r->buffers);
    free(r->by_id);
    free(r->segs);
    free(r->done);
    free(r->added.item);
    free(r->used.item);
}

void rig_restart(struct rig *r) {
    assert_int_equal(r->n_desc, 0);
    r->added.count = r->used.count = r->unshown = 0;
    r->unpublished = r->unnotified = 0;
    vq_device_fini(&r->dev);
    rig_init_queue(r);
}

static void run_size(const struct rig_case *c, enum vq_layout layout, uint16_t num) {
    const uint16_t near_wrap =
        layout == VQ_SPLIT ? 0xfff0 : (uint16_t)(2 * num - (num < 16 ? num : 16));
    const uint16_t starts[] = {0, near_wrap, (uint16_t)(num - 1)};
    for (unsigned j = 0; j < 2 * ARRAY_SIZE(starts); j++) {
        rig_up(&rig, layout, j % 2, num, starts[j / 2]);
        rig_running = true;
        c->body(&rig);
        rig_check(&rig);
        rig_running = false;
        rig_down(&rig);
    }
}

void rig_run(void **state) {
    static const uint16_t sizes[] = {1, 2, 3, 4, 240, 256, VQ_NUM_MAX};
    const struct rig_case *c = *state;
    for (unsigned i = 0; i < ARRAY_SIZE(sizes) && sizes[i] <= c->num_max; i++) {
        run_size(c, VQ_PACKED, sizes[i]);
        if (is_power_of_two(sizes[i])) {
            run_size(c, VQ_SPLIT, sizes[i]);
        }
    }
}

int rig_teardown(void **state) {
    (void)state;
    if (rig_running) {
        print_error("... failed with packed=%d event_idx=%d num=%u start=%#x\n",
                    rig.layout == VQ_PACKED, rig.event_idx, rig.num, rig.start);
        rig_running = false;
        rig_down(&rig);
    }
    return 0;
}

/* Every descriptor is in the free list or in one outstanding buffer, and in only one of them; in
 * the packed ring every id. */
static void check_each_descriptor_once(const struct rig *r) {
    const struct vq *q = &r->q;
    const bool packed = r->layout == VQ_PACKED;
    uint8_t *marks = calloc(q->num, 1);
    uint32_t marked = 0;
    uint32_t free_count = q->free_count;
    uint16_t at;
    for (uint32_t id = 0; id < q->num; id++) {
        const uint16_t n_desc = q->slots[id].token == NULL ? 0 : q->slots[id].n_desc;
        free_count += packed && n_desc > 0 ? n_desc - 1u : 0; /* a chain takes one id */
        at = (uint16_t)id;
        for (uint32_t i = 0; i < (packed && n_desc > 0 ? 1 : n_desc); i++) {
            assert_true(at < q->num && !marks[at]);
            marks[at] = 1;
            marked++;
            at = q->slots[at].next;
        }
    }
    at = q->free_slot;
    for (uint32_t i = 0; i < free_count; i++, at = q->slots[at].next) {
        assert_true(at < q->num && !marks[at]);
        marks[at] = 1;
        marked++;
    }
    free(marks);
    assert_int_equal(marked, q->num);
}

void rig_check(const struct rig *r) {
    vq_check(&r->q);
    vq_device_check((struct vq_device *)&r->dev);
    if (r->dev.violation != NULL) {
        fail_msg("the driver broke a rule: %s", r->dev.violation);
    }
    assert_int_equal(r->n_desc + r->q.free_count, r->num);
    check_each_descriptor_once(r);
}

struct rig_buffer *rig_add(struct rig *r, uint16_t n_out, uint16_t n_in) {
    struct rig_buffer *b = &r->buffers[r->piece_free]; /* free pieces mean free buffers */
    uint16_t piece = r->piece_free;
    uint32_t offset = 0;
    assert_true(b->serial == 0);
    *b = (struct rig_buffer){.serial = ++r->serial, .n_out = n_out, .n_in = n_in, .piece = piece};
    for (uint32_t i = 0; i < (uint32_t)n_out + n_in; i++) {
        uint8_t *bytes = r->arena + (size_t)piece * RIG_PIECE;
        const uint32_t len = seg_len(b->serial, i);
        for (uint32_t k = 0; k < len; k++) {
            bytes[k] = i < n_out ? content(b->serial, offset + k) : 0xee;
        }
        offset += len;
        r->segs[i] = (struct vq_seg){.addr = {(uintptr_t)bytes}, .len = len};
        r->piece_free = r->piece_next[piece];
        piece = r->piece_free;
    }
    r->n_desc += (uint32_t)n_out + n_in;
    r->unpublished += r->layout == VQ_PACKED ? (uint32_t)n_out + n_in : 1;
    fifo_put(&r->added, r->num, b);
    vq_add(&r->q, r->layout, r->segs, n_out, n_in, b);
    memset(r->segs, 0, (n_out + n_in) * sizeof(*r->segs)); /* they are the caller's again */
    return b;
}

void rig_add_single(struct rig *r, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        rig_add(r, 0, 1);
    }
}

void rig_publish(struct rig *r) {
    vq_publish(&r->q, r->layout);
    r->unnotified += r->unpublished;
    r->unpublished = 0;
}

/* The device's view of what is asked for, from the specification, and the driver's, are one. */
bool rig_notify_needed(struct rig *r) {
    const bool due = vq_device_notify_due(&r->dev, r->unnotified);
    const bool needed = vq_notify_needed(&r->q, r->layout);
    assert_int_equal(needed, due);
    r->unnotified = 0;
    return needed;
}

static void give_back_memory(struct rig *r, struct rig_buffer *b) {
    const uint32_t n_desc = (uint32_t)b->n_out + b->n_in;
    uint16_t last = b->piece;
    for (uint32_t i = 1; i < n_desc; i++) {
        last = r->piece_next[last];
    }
    r->piece_next[last] = r->piece_free;
    r->piece_free = b->piece;
    r->n_desc -= n_desc;
    b->serial = 0;
}

/* The bytes that the device reported are its own, those behind them are untouched. */
static void check_bytes(const struct rig *r, const struct rig_buffer *b) {
    uint32_t offset = 0;
    uint16_t piece = b->piece;
    for (uint32_t i = 0; i < (uint32_t)b->n_out + b->n_in; i++, piece = r->piece_next[piece]) {
        const uint8_t *bytes = r->arena + (size_t)piece * RIG_PIECE;
        for (uint32_t k = 0; i >= b->n_out && k < seg_len(b->serial, i); k++, offset++) {
            assert_int_equal(bytes[k], offset < b->used_len ? content(~b->serial, offset) : 0xee);
        }
    }
}

unsigned rig_take(struct rig *r, unsigned max) {
    const uint32_t visible = r->used.count - r->unshown;
    const unsigned count = vq_take_used(&r->q, r->layout, r->done, max);
    assert_true(count <= max && count <= visible);
    for (unsigned i = 0; i < count; i++) {
        struct rig_buffer *b = fifo_take(&r->used, r->num);
        assert_ptr_equal(r->done[i].token, b);
        assert_int_equal(r->done[i].len, b->used_len);
        check_bytes(r, b);
        give_back_memory(r, b);
    }
    return count;
}

uint32_t rig_drain(struct rig *r) {
    uint32_t cursor = 0;
    uint32_t count = 0;
    struct rig_buffer *b;
    while ((b = vq_drain(&r->q, &cursor)) != NULL) {
        assert_true(b >= r->buffers && b < r->buffers + r->num);
        assert_int_not_equal(b->serial, 0); /* not twice */
        give_back_memory(r, b);
        count++;
        assert_true(count <= r->num);
    }
    assert_null(vq_drain(&r->q, &cursor));
    return count;
}

int rig_fetch(struct rig *r) {
    struct vq_device_buffer found;
    static uint8_t bytes[256 * RIG_PIECE];
    if (!vq_device_fetch(&r->dev, &found)) {
        if (r->dev.violation != NULL) {
            fail_msg("the driver broke a rule: %s", r->dev.violation);
        }
        return -1;
    }
    struct rig_buffer *b = fifo_take(&r->added, r->num);
    assert_int_equal(found.n_out, b->n_out);
    assert_int_equal(found.n_in, b->n_in);
    assert_int_equal(found.in_len, in_len(b));
    assert_int_equal(found.out_len, out_len(b));
    const size_t len = vq_device_read(&r->dev, found.id, bytes, sizeof(bytes));
    assert_int_equal(len, min_u64(sizeof(bytes), out_len(b)));
    for (uint32_t i = 0; i < len; i++) {
        assert_int_equal(bytes[i], content(b->serial, i));
    }
    r->by_id[found.id] = b;
    return found.id;
}

uint32_t rig_in_len(const struct rig *r, uint16_t id) {
    return in_len(r->by_id[id]);
}

void rig_use(struct rig *r, uint16_t id, uint32_t len) {
    struct rig_buffer *b = r->by_id[id];
    uint8_t *bytes = malloc(len + 1);
    for (uint32_t i = 0; i < len; i++) {
        bytes[i] = content(~b->serial, i);
    }
    b->used_len = len;
    assert_int_equal(vq_device_write(&r->dev, id, bytes, len), len);
    free(bytes);
    vq_device_use(&r->dev, id, len);
    fifo_put(&r->used, r->num, b);
    r->unshown++;
}

bool rig_show(struct rig *r) {
    r->unshown = 0;
    return vq_device_show(&r->dev);
}

uint32_t rig_use_all(struct rig *r) {
    uint32_t count = 0;
    for (int id; (id = rig_fetch(r)) >= 0; count++) {
        rig_use(r, (uint16_t)id, rig_in_len(r, (uint16_t)id));
    }
    return count;
}
