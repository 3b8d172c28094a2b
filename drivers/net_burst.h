/* Receive and transmit bursts of virtio-net. Written once, with the ring layout and whether frames may
 * come in several buffers as arguments that are constant in each instance (net_rxtx.c), so that every
 * ring operation is inlined and nothing is called through a pointer. */
#ifndef DRIVERS_NET_BURST_H
#define DRIVERS_NET_BURST_H

#include "drivers/clock.h"
#include "drivers/virtio_net.h"
#include "lib/cpu.h"
#include "lib/dma.h"

/* Free descriptors before received buffers are posted again: one index store for many of them. */
enum { NET_REFILL_BATCH = 32 };

ALWAYS_INLINE void burst_publish(struct net_queue *queue, enum vq_layout layout) {
    vq_publish(&queue->vq, layout);
    if (vq_notify_needed(&queue->vq, layout)) {
        virtio_dev_ring(&queue->doorbell, vq_notify_position(&queue->vq, layout));
        queue->stats.kicks++;
    }
}

ALWAYS_INLINE unsigned occupancy_of(uint32_t count) {
    return count == 0 ? 0 : 32 - (unsigned)__builtin_clz(count);
}

/* A look at the used ring that found so many. */
ALWAYS_INLINE void burst_count_look(struct net_queue *queue, unsigned used) {
    queue->stats.polls++;
    queue->stats.empty_polls += used == 0;
    queue->occupancy.used[occupancy_of(used)]++;
    queue->occupancy.free[occupancy_of(queue->vq.free_count)]++;
}

/* When the device had used every buffer it did so after the last look. */
ALWAYS_INLINE void rx_count_dry(struct net_queue *rx, unsigned used) {
    const uint64_t now = cpu_tsc();
    if (UNLIKELY(used != 0 && rx->vq.free_count == rx->vq.num)) {
        rx->stats.ring_empty++;
        rx->stats.dry_ns += rx->since_tsc != 0 ? clock_ns_of_ticks(now - rx->since_tsc) : 0;
    }
    rx->since_tsc = now;
}

ALWAYS_INLINE void tx_count_full(struct net_queue *tx) {
    tx->stats.ring_full++;
    if (tx->since_tsc == 0) {
        tx->since_tsc = cpu_tsc();
    }
}

ALWAYS_INLINE void tx_count_room(struct net_queue *tx) {
    if (UNLIKELY(tx->since_tsc != 0)) {
        tx->stats.full_ns += clock_ns_of_ticks(cpu_tsc() - tx->since_tsc);
        tx->since_tsc = 0;
    }
}

/* Posts free buffers while there are free descriptors. The virtio header lands in the last bytes of
 * the headroom, the frame at the start of the room: one descriptor for both (5.1.6.3, 2.7.4.2). */
ALWAYS_INLINE void rx_refill_body(struct net_dev *nd, enum vq_layout layout) {
    struct net_queue *rx = &nd->rx;
    bool posted = false;
    while (rx->vq.free_count > 0 && !rx->vq.broken) {
        struct pktbuf *buf = pktbuf_get(&nd->pool);
        if (buf == NULL) {
            break;
        }
        const struct vq_seg seg = {
            .addr = dma_addr_of(pktbuf_room(buf) - nd->hdr_len),
            .len = nd->hdr_len + nd->pool.room,
        };
        vq_add(&rx->vq, layout, &seg, 0, 1, buf);
        posted = true;
    }
    if (posted) {
        rx->stats.refills++;
        pktbuf_pool_note(&nd->pool);
        burst_publish(rx, layout);
    }
}

/* Of the lengths of whole frames. One comparison for both ends. */
ALWAYS_INLINE bool rx_len_is_good(uint32_t frame_len) {
    return frame_len - NET_FRAME_MIN <= NET_FRAME_MAX - NET_FRAME_MIN;
}

/* A frame that is too short or too long. */
static inline void rx_drop(struct net_dev *nd, struct pktbuf *frame) {
    if (frame->frame_len > NET_FRAME_MAX) {
        nd->rx.stats.drop_too_long++;
    } else {
        nd->rx.stats.drop_short++;
    }
    pktbuf_put_frame(frame);
}

/* The first buffers of a frame whose rest is not used yet; taken up by the next call. */
ALWAYS_INLINE void rx_begin(struct net_dev *nd, struct pktbuf *buf, uint32_t missing) {
    nd->rx_first = nd->rx_last = buf;
    nd->rx_missing = missing;
}

/* A further buffer of a frame: no header, data from its first byte on (5.1.6.4). Returns the frame
 * when this was its last one, NULL before, and for a frame that is dropped. */
ALWAYS_INLINE struct pktbuf *rx_continue(struct net_dev *nd, struct pktbuf *buf, uint32_t len) {
    struct pktbuf *first = nd->rx_first;
    buf->data = pktbuf_room(buf) - nd->hdr_len;
    buf->len = len;
    buf->next = NULL;
    nd->rx_last->next = buf;
    nd->rx_last = buf;
    first->frame_len += len;
    if (--nd->rx_missing > 0) {
        return NULL;
    }
    if (rx_len_is_good(first->frame_len)) {
        return first;
    }
    rx_drop(nd, first);
    return NULL;
}

/* The first buffer of a frame, most often its only one. Returns the frame when it is complete. */
ALWAYS_INLINE struct pktbuf *rx_first(struct net_dev *nd, struct pktbuf *buf, uint32_t len,
                                      const bool mrg_rxbuf) {
    if (UNLIKELY(len < nd->hdr_len)) {
        nd->rx.stats.drop_short++;
        pktbuf_put(buf);
        return NULL;
    }
    buf->len = buf->frame_len = len - nd->hdr_len;
    buf->next = NULL;
    if (mrg_rxbuf) {
        /* Without MRG_RXBUF the field says nothing new, and not every device sets it. */
        const uint16_t buffers = rm_load16(&net_rx_header(nd, buf)->num_buffers);
        if (UNLIKELY(buffers != 1)) {
            if (buffers == 0 || buffers > nd->rx.vq.num) {
                vq_break(&nd->rx.vq); /* such a frame cannot be */
                nd->rx.stats.drop_short++;
                pktbuf_put(buf);
            } else {
                rx_begin(nd, buf, buffers - 1u);
            }
            return NULL;
        }
    }
    if (UNLIKELY(!rx_len_is_good(buf->len))) {
        rx_drop(nd, buf);
        return NULL;
    }
    return buf;
}

ALWAYS_INLINE unsigned rx_burst_body(struct net_dev *nd, struct pktbuf **out, unsigned max,
                                     enum vq_layout layout, const bool mrg_rxbuf) {
    struct net_queue *rx = &nd->rx;
    struct vq_done done[NET_BURST_MAX];
    unsigned count = 0;

    ASSERT_HOT(max <= NET_BURST_MAX);
    const unsigned used = vq_take_used(&rx->vq, layout, done, max);
    burst_count_look(rx, used);
    rx_count_dry(rx, used);
    for (unsigned i = 0; i < used; i++) { /* the device's core has them: ask for all at once */
        const struct pktbuf *buf = done[i].token;
        __builtin_prefetch(buf->headroom + PKTBUF_HEADROOM);
        if (mrg_rxbuf) {
            __builtin_prefetch(buf->headroom + PKTBUF_HEADROOM - 1);
        }
    }
    for (unsigned i = 0; i < used; i++) {
        struct pktbuf *frame = mrg_rxbuf && UNLIKELY(nd->rx_missing > 0)
                                   ? rx_continue(nd, done[i].token, done[i].len)
                                   : rx_first(nd, done[i].token, done[i].len, mrg_rxbuf);
        if (LIKELY(frame != NULL)) {
            rx->stats.bytes += frame->frame_len;
            if (mrg_rxbuf) { /* no device sends others (net_features.c) */
                rx->stats.gso_frames +=
                    net_rx_header(nd, frame)->gso_type != VIRTIO_NET_HDR_GSO_NONE;
            }
            out[count++] = frame;
        }
    }
    rx->stats.packets += count;
    if (rx->vq.free_count >= rx->refill_at) {
        rx_refill_body(nd, layout);
    }
    return count;
}

ALWAYS_INLINE bool tx_add_body(struct net_dev *nd, const struct vq_seg *seg, unsigned n,
                               uint32_t len, uint32_t len_max, void *token,
                               enum vq_layout layout) {
    struct net_queue *tx = &nd->tx;
    if (UNLIKELY(!nd->link_up || tx->vq.broken)) {
        tx->stats.drop_link_down++;
        return false;
    }
    if (UNLIKELY(len > len_max || n > NET_TX_SEG_MAX || n > tx->vq.num)) {
        tx->stats.drop_too_long++;
        return false;
    }
    if (UNLIKELY(vq_slots_needed(&tx->vq, n) > tx->vq.free_count)) {
        tx_count_full(tx);
        tx->stats.drop_ring_full++;
        return false;
    }
    vq_add(&tx->vq, layout, seg, (uint16_t)n, 0, token);
    tx->stats.packets++;
    tx->stats.bytes += len;
    return true;
}

/* All zero: no checksum to make, no segments, and num_buffers counts in the other direction only
 * (5.1.6.2). A received frame brings the header that the device wrote. */
ALWAYS_INLINE void tx_zero_header(const struct net_dev *nd, uint8_t *header) {
    uint64_t first;
    uint32_t last;
    _Static_assert(sizeof(struct virtio_net_hdr) == sizeof(first) + sizeof(last), "12 bytes");
    ASSERT_HOT(nd->hdr_len == sizeof(struct virtio_net_hdr));
    __builtin_memcpy(&first, header, sizeof(first));
    __builtin_memcpy(&last, header + sizeof(first), sizeof(last));
    if (UNLIKELY((first | last) != 0)) {
        __builtin_memset(header, 0, sizeof(struct virtio_net_hdr));
    }
}

/* A tag is part of the header, for which the MTU has no limit (5.1.4.2). Cold. */
static inline bool tx_is_too_long(const struct net_dev *nd, const struct pktbuf *frame) {
    uint32_t max = nd->tx_len_max;
    for (unsigned i = 0; i < NET_VLAN_TAGS_MAX; i++) {
        const uint32_t off = 12 + i * NET_VLAN_TAG_LEN; /* of the type */
        const uint32_t type = off + 2 > frame->len
                                  ? 0
                                  : (uint32_t)frame->data[off] << 8 | frame->data[off + 1];
        if (type != 0x8100 && type != 0x88a8) {
            break;
        }
        max += NET_VLAN_TAG_LEN;
    }
    return frame->frame_len > max;
}

enum tx_result { TX_TAKEN, TX_DROPPED, TX_NO_ROOM };

ALWAYS_INLINE struct vq_seg tx_first_segment(const struct net_dev *nd, const struct pktbuf *frame) {
    return (struct vq_seg){
        .addr = dma_addr_of(frame->data - nd->hdr_len),
        .len = frame->len + nd->hdr_len,
    };
}

/* A frame of several buffers. */
static inline enum tx_result tx_add_pieces(struct net_dev *nd, struct pktbuf *frame,
                                           enum vq_layout layout) {
    struct net_queue *tx = &nd->tx;
    struct vq_seg seg[NET_TX_SEG_MAX];
    unsigned n = 0;
    seg[n++] = tx_first_segment(nd, frame);
    for (const struct pktbuf *buf = frame->next; buf != NULL; buf = buf->next) {
        if (buf->len == 0) {
            continue; /* a segment of a ring is never empty */
        }
        if (n == NET_TX_SEG_MAX || n == tx->vq.num) {
            return TX_DROPPED;
        }
        seg[n].addr = dma_addr_of(buf->data);
        seg[n++].len = buf->len;
    }
    if (vq_slots_needed(&tx->vq, n) > tx->vq.free_count) {
        return TX_NO_ROOM;
    }
    vq_add(&tx->vq, layout, seg, (uint16_t)n, 0, frame);
    return TX_TAKEN;
}

ALWAYS_INLINE enum tx_result tx_add_frame(struct net_dev *nd, struct pktbuf *frame,
                                          uint32_t len_max, enum vq_layout layout) {
    struct vq *q = &nd->tx.vq;
    if (UNLIKELY(frame->frame_len > len_max && tx_is_too_long(nd, frame))) {
        return TX_DROPPED;
    }
    tx_zero_header(nd, frame->data - nd->hdr_len);
    if (UNLIKELY(frame->next != NULL)) {
        return tx_add_pieces(nd, frame, layout);
    }
    if (UNLIKELY(q->free_count == 0)) {
        return TX_NO_ROOM;
    }
    const struct vq_seg seg = tx_first_segment(nd, frame);
    vq_add(q, layout, &seg, 1, 0, frame);
    return TX_TAKEN;
}

ALWAYS_INLINE unsigned tx_burst_body(struct net_dev *nd, struct pktbuf **frames, unsigned count,
                                     enum vq_layout layout) {
    struct net_queue *tx = &nd->tx;
    const uint32_t len_max = nd->tx_len_max;
    uint64_t packets = 0, bytes = 0;
    unsigned i = 0;
    ASSERT_HOT(count <= NET_BURST_MAX);
    if (UNLIKELY(!nd->link_up || tx->vq.broken)) {
        return 0;
    }
    vq_claim(&tx->vq, layout, count < tx->vq.free_count ? (uint16_t)count : tx->vq.free_count);
    for (; i < count; i++) {
        const enum tx_result result = tx_add_frame(nd, frames[i], len_max, layout);
        if (LIKELY(result == TX_TAKEN)) {
            packets++;
            bytes += frames[i]->frame_len;
        } else if (result == TX_DROPPED) {
            tx->stats.drop_too_long++;
            pktbuf_put_frame(frames[i]);
        } else {
            tx_count_full(tx);
            break;
        }
    }
    tx->stats.packets += packets;
    tx->stats.bytes += bytes;
    if (vq_unpublished(&tx->vq, layout)) {
        burst_publish(tx, layout);
    }
    return i;
}

ALWAYS_INLINE void tx_flush_body(struct net_dev *nd, enum vq_layout layout) {
    if (vq_unpublished(&nd->tx.vq, layout) && LIKELY(!nd->tx.vq.broken)) {
        burst_publish(&nd->tx, layout);
    }
}

ALWAYS_INLINE unsigned tx_done_body(struct net_dev *nd, void **tokens, unsigned max,
                                    enum vq_layout layout) {
    struct vq_done done[NET_BURST_MAX];
    ASSERT_HOT(max <= NET_BURST_MAX);
    const unsigned used = vq_take_used(&nd->tx.vq, layout, done, max);
    burst_count_look(&nd->tx, used);
    nd->tx.done += used;
    if (used != 0) {
        tx_count_room(&nd->tx);
    }
    for (unsigned i = 0; i < used; i++) {
        tokens[i] = done[i].token;
    }
    return used;
}

#endif
