/* What a buffer consists of: elements of memory, listed in the ring or in a table of indirect
 * descriptors. */
#include "tests/model/vq_device_layouts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static bool lies_within(uint64_t addr, uint64_t len, const void *area, size_t size) {
    const uint64_t start = (uintptr_t)area;
    return addr >= start && addr < start + size && len <= start + size - addr;
}

bool vq_device_enter(struct vq_device *d, struct vq_device_buffer *b, uint64_t addr, uint32_t len,
                     bool in) {
    const uint32_t count = (uint32_t)b->n_out + b->n_in;
    if (!vq_device_rule(d, count < d->setup.num,
                        "2.7.5.3.1, 2.8.17: more descriptors in a buffer than the queue size") ||
        !vq_device_rule(d, len != 0, "2.7.13.1, 2.8.21.1: a descriptor of length 0") ||
        !vq_device_rule(d, lies_within(addr, len, d->setup.arena, d->setup.arena_size),
                        "2.7.5, 2.8.4: a descriptor points outside of the memory for buffers") ||
        !vq_device_rule(d, in || b->n_in == 0,
                        "2.7.4.2, 2.8.17: a readable descriptor after a writable one")) {
        return false;
    }
    if ((count & (count - 1)) == 0) { /* grows at powers of two */
        b->elem = realloc(b->elem, (count == 0 ? 1 : 2 * count) * sizeof(*b->elem));
        assert(b->elem != NULL);
    }
    b->elem[count] = (struct vq_device_elem){.addr = addr, .len = len, .in = in};
    b->n_in += in;
    b->n_out += !in;
    b->in_len += in ? len : 0;
    b->out_len += in ? 0 : len;
    return vq_device_rule(d, b->in_len + b->out_len <= UINT64_C(1) << 32,
                          "2.7.5.2: a buffer of more than 2^32 bytes");
}

uint32_t vq_device_open_table(struct vq_device *d, struct vq_device_buffer *b, uint64_t addr,
                              uint32_t len) {
    const struct vq_device_setup *s = &d->setup;
    const bool apart = s->tables != NULL;
    if (!vq_device_rule(d, s->indirect,
                        "2.7.5.3.1, 2.8.19: INDIRECT without VIRTIO_F_INDIRECT_DESC") ||
        !vq_device_rule(d, len != 0 && len % sizeof(struct virtq_desc) == 0,
                        "2.7.5.3, 2.8.7: the length of a table is no multiple of 16, or 0") ||
        !vq_device_rule(d, len / sizeof(struct virtq_desc) <= s->num,
                        "2.7.5.3.1, 2.8.17: a table of more descriptors than the queue size") ||
        !vq_device_rule(d,
                        lies_within(addr, len, apart ? s->tables : s->arena,
                                    apart ? s->tables_size : s->arena_size),
                        "2.7.5.3, 2.8.7: a table outside of the memory for tables")) {
        return 0;
    }
    b->table = (void *)(uintptr_t)addr;
    b->table_size = len;
    b->table_copy = malloc(len);
    assert(b->table_copy != NULL);
    memcpy(b->table_copy, b->table, len);
    return len / (uint32_t)sizeof(struct virtq_desc);
}

void vq_device_check_table(struct vq_device *d, const struct vq_device_buffer *b) {
    vq_device_rule(d, b->table == NULL || memcmp(b->table, b->table_copy, b->table_size) == 0,
                   "2.7.13.1, 2.8.21: a table was changed while the device owned it");
}

void vq_device_accept(struct vq_device *d, const struct vq_device_buffer *b) {
    d->buffers[b->id] = *b;
    d->order[d->seen % d->setup.num] = b->id;
    d->seen++;
}

void vq_device_free_buffer(struct vq_device_buffer *b) {
    free(b->elem);
    free(b->table_copy);
    *b = (struct vq_device_buffer){0};
}

/* Walks the device's own copy, so that a driver which changes descriptors too early is found by
 * vq_device_check() and not by a stray access here. */
static size_t copy_bytes(const struct vq_device *d, uint16_t id, uint8_t *to, const uint8_t *from,
                         size_t len) {
    const struct vq_device_buffer *b = &d->buffers[id];
    const bool in = from != NULL;
    size_t done = 0;
    for (uint32_t i = 0; i < (uint32_t)b->n_out + b->n_in && done < len; i++) {
        const struct vq_device_elem *elem = &b->elem[i];
        if (elem->in == in) {
            const size_t part = elem->len < len - done ? elem->len : len - done;
            uint8_t *piece = (uint8_t *)(uintptr_t)elem->addr;
            memcpy(in ? piece : to + done, in ? from + done : piece, part);
            done += part;
        }
    }
    return done;
}

size_t vq_device_read(const struct vq_device *d, uint16_t id, void *bytes, size_t len) {
    return copy_bytes(d, id, bytes, NULL, len);
}

size_t vq_device_write(const struct vq_device *d, uint16_t id, const void *bytes, size_t len) {
    return copy_bytes(d, id, NULL, bytes, len);
}
