#include "tests/unit/vq_rig.h"

#include <stdlib.h>
#include <string.h>

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

/* Out of order: every descriptor is in the free list or in one outstanding buffer, and in only one
 * of them; in the packed ring every id. */
static void check_each_descriptor_once(const struct rig *r) {
    const struct vq *q = &r->q;
    const bool packed = vq_is_packed(r->layout);
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
    if (!vq_is_in_order(r->layout)) {
        check_each_descriptor_once(r);
    }
}

/* By the contract, not by vq_slots_needed(). */
static uint32_t slots_needed(const struct rig *r, uint32_t n_segs) {
    return r->indirect && n_segs > VQ_INDIRECT_MIN_SEGS && n_segs <= VQ_INDIRECT_MAX ? 1 : n_segs;
}

bool rig_fits(const struct rig *r, uint32_t n_segs) {
    return n_segs <= r->num && n_segs <= r->pieces_left &&
           slots_needed(r, n_segs) <= r->q.free_count;
}

struct rig_buffer *rig_add(struct rig *r, uint16_t n_out, uint16_t n_in) {
    struct rig_buffer *b = &r->buffers[r->piece_free]; /* free pieces mean free buffers */
    const uint32_t n_segs = (uint32_t)n_out + n_in;
    uint32_t piece = r->piece_free;
    uint32_t offset = 0;
    assert_true(rig_fits(r, n_segs) && b->serial == 0);
    *b = (struct rig_buffer){
        .serial = ++r->serial,
        .n_out = n_out,
        .n_in = n_in,
        .n_desc = (uint16_t)slots_needed(r, n_segs),
        .piece = piece,
    };
    for (uint32_t i = 0; i < n_segs; i++) {
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
    r->pieces_left -= n_segs;
    r->n_desc += b->n_desc;
    r->unpublished += vq_is_packed(r->layout) ? b->n_desc : 1;
    fifo_put(&r->added, r->num, b);
    assert_int_equal(vq_slots_needed(&r->q, n_segs), b->n_desc);
    vq_add(&r->q, r->layout, r->segs, n_out, n_in, b);
    memset(r->segs, 0, n_segs * sizeof(*r->segs)); /* they are the caller's again */
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
    vq_device_check_position(&r->dev, vq_notify_position(&r->q, r->layout));
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
    const uint32_t n_segs = (uint32_t)b->n_out + b->n_in;
    uint32_t last = b->piece;
    for (uint32_t i = 1; i < n_segs; i++) {
        last = r->piece_next[last];
    }
    r->piece_next[last] = r->piece_free;
    r->piece_free = b->piece;
    r->pieces_left += n_segs;
    r->n_desc -= b->n_desc;
    b->serial = 0;
}

/* The bytes that the device reported are its own, those behind them are untouched. */
static void check_bytes(const struct rig *r, const struct rig_buffer *b) {
    uint32_t offset = 0;
    uint32_t piece = b->piece;
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
        assert_true(b >= r->buffers && b < r->buffers + r->pieces);
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
    assert_int_equal(found.n_desc, b->n_desc);
    r->by_id[found.id] = b;
    b->id = found.id;
    if (vq_is_in_order(r->layout)) {
        fifo_put(&r->fetched, r->num, b);
    }
    return found.id;
}

uint32_t rig_in_len(const struct rig *r, uint16_t id) {
    return in_len(r->by_id[id]);
}

/* The device writes len bytes into the buffer. */
static void fill(struct rig *r, struct rig_buffer *b, uint32_t len) {
    uint8_t *bytes = malloc(len + 1);
    for (uint32_t i = 0; i < len; i++) {
        bytes[i] = content(~b->serial, i);
    }
    b->used_len = len;
    assert_int_equal(vq_device_write(&r->dev, b->id, bytes, len), len);
    free(bytes);
    fifo_put(&r->used, r->num, b);
    r->unshown++;
}

void rig_use(struct rig *r, uint16_t id, uint32_t len) {
    struct rig_buffer *b = r->by_id[id];
    if (vq_is_in_order(r->layout)) {
        assert_ptr_equal(fifo_take(&r->fetched, r->num), b);
    }
    fill(r, b, len);
    vq_device_use(&r->dev, id, len);
}

void rig_use_batch(struct rig *r, uint32_t count, uint32_t len) {
    for (uint32_t i = 1; i <= count; i++) {
        struct rig_buffer *b = fifo_take(&r->fetched, r->num);
        fill(r, b, i < count ? in_len(b) : len);
    }
    vq_device_use_batch(&r->dev, count, len);
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
