/* The sending half of net/netif_virtio.h.
 *
 * A frame on its way to the ring is prepared (checksum, virtio header), then held until the next one shows
 * whether both can become one (net/tx_join.h), at most to the end of the pass. */
#include <string.h>

#include "lib/assert.h"
#include "lib/dma.h"
#include "net/csum_offload.h"
#include "net/netif_priv.h"
#include "net/tx_bundle.h"

/* A frame for the ring, whatever it is made of. */
struct tx_frame {
    const struct vq_seg *seg;
    unsigned n;
    uint32_t len;
    bool cut; /* by the device */
};

/* --- tokens ----------------------------------------------------------------------------------- */

/* Transmit rings hold packets of lwIP, bundles of them, and frames in packet buffers, from net_tx_burst();
 * the lowest bits of the token tell which. */
enum { TOKEN_PACKET = 1, TOKEN_BUNDLE = 2, TOKEN_KINDS = 3 };

static void *token_of_packet(struct pbuf *frame) {
    return (void *)((uintptr_t)frame | TOKEN_PACKET);
}

static void *token_of_bundle(struct tx_bundle *bundle) {
    return (void *)((uintptr_t)bundle | TOKEN_BUNDLE);
}

static void *token_target(void *token) {
    return (void *)((uintptr_t)token & ~(uintptr_t)TOKEN_KINDS);
}

void netif_tx_release(void *token) {
    switch ((uintptr_t)token & TOKEN_KINDS) {
    case TOKEN_PACKET:
        pbuf_free(token_target(token));
        break;
    case TOKEN_BUNDLE:
        tx_bundle_put(token_target(token));
        break;
    default:
        pktbuf_put_frame(token);
    }
}

/* A frame that is ready to be sent has nd->hdr_len bytes of virtio header right in front of its
 * first piece, and at most NET_TX_SEG_MAX pieces. */
static struct tx_frame frame_of_packet(const struct net_dev *nd, const struct pbuf *packet,
                                       struct vq_seg seg[NET_TX_SEG_MAX]) {
    struct tx_frame frame = {.seg = seg, .len = packet->tot_len};
    for (const struct pbuf *p = packet; p != NULL; p = p->next) {
        const uint32_t hdr_len = p == packet ? nd->hdr_len : 0;
        if (p->len + hdr_len == 0) {
            continue; /* a segment of a ring is never empty */
        }
        ASSERT_HOT(frame.n < NET_TX_SEG_MAX);
        seg[frame.n].addr = dma_addr_of((const uint8_t *)p->payload - hdr_len);
        seg[frame.n].len = p->len + hdr_len;
        frame.n++;
    }
    return frame;
}

static struct tx_frame frame_of_bundle(const struct net_dev *nd, const struct tx_bundle *bundle) {
    struct tx_frame frame = {
        .seg = bundle->seg, .n = bundle->seg_count, .cut = bundle->part_count > 1};
    for (unsigned i = 0; i < frame.n; i++) {
        frame.len += bundle->seg[i].len;
    }
    frame.len -= nd->hdr_len;
    return frame;
}

/* `seg` is room for a frame that is no bundle. */
static struct tx_frame frame_of_token(const struct net_dev *nd, void *token,
                                      struct vq_seg seg[NET_TX_SEG_MAX]) {
    return (uintptr_t)token & TOKEN_BUNDLE ? frame_of_bundle(nd, token_target(token))
                                           : frame_of_packet(nd, token_target(token), seg);
}

/* --- into the ring ---------------------------------------------------------------------------- */

void netif_tx_reclaim(struct net_dev *nd) {
    void *tokens[NET_BURST_MAX];
    unsigned count = NET_BURST_MAX;
    /* At most num frames can be outstanding, so this ends. */
    while (count == NET_BURST_MAX && net_tx_room(nd) < nd->tx.vq.num) {
        count = net_tx_done(nd, tokens, NET_BURST_MAX);
        for (unsigned i = 0; i < count; i++) {
            netif_tx_release(tokens[i]);
        }
    }
}

/* Whether the frame's fate can be decided now: the ring has room, or the driver will drop it and
 * count why. */
static bool tx_can_add(const struct net_dev *nd, unsigned n) {
    return net_tx_room(nd) >= vq_slots_needed(&nd->tx.vq, n) || !nd->link_up || nd->tx.vq.broken;
}

static err_t tx_add(struct net_dev *nd, const struct tx_frame *frame, void *token) {
    const bool added = frame->cut
                           ? net_tx_add_gso(nd, frame->seg, frame->n, frame->len, token)
                           : net_tx_add(nd, frame->seg, frame->n, frame->len, token);
    if (!added) {
        netif_tx_release(token); /* and counted */
    }
    return added ? ERR_OK : ERR_IF;
}

static void *backlog_take(struct netif_virtio *nv) {
    void *token = nv->backlog[nv->backlog_head % BACKLOG_MAX];
    nv->backlog_head++;
    nv->backlog_count--;
    return token;
}

void netif_tx_drain_backlog(struct netif_virtio *nv) {
    struct vq_seg seg[NET_TX_SEG_MAX];
    while (nv->backlog_count > 0) {
        void *oldest = nv->backlog[nv->backlog_head % BACKLOG_MAX];
        const struct tx_frame frame = frame_of_token(nv->nd, oldest, seg);
        if (!tx_can_add(nv->nd, frame.n)) {
            break;
        }
        (void)tx_add(nv->nd, &frame, backlog_take(nv));
    }
}

void netif_tx_drop_backlog(struct netif_virtio *nv) {
    while (nv->backlog_count > 0) {
        netif_tx_release(backlog_take(nv));
        nv->nd->tx.stats.drop_reset++;
    }
}

static err_t tx_send(struct netif_virtio *nv, void *token) {
    struct net_dev *nd = nv->nd;
    struct vq_seg seg[NET_TX_SEG_MAX];

    const struct tx_frame frame = frame_of_token(nd, token, seg);
    if (UNLIKELY(nv->backlog_count == 0 && !tx_can_add(nd, frame.n))) {
        netif_tx_reclaim(nd);
    }
    if (LIKELY(nv->backlog_count == 0 && tx_can_add(nd, frame.n))) {
        return tx_add(nd, &frame, token);
    }
    net_tx_full(nd);
    if (nv->backlog_count == BACKLOG_MAX) {
        nd->tx.stats.drop_ring_full++;
        netif_tx_release(token);
        return ERR_MEM;
    }
    nv->backlog[(nv->backlog_head + nv->backlog_count) % BACKLOG_MAX] = token;
    nv->backlog_count++;
    return ERR_OK;
}

/* --- joining ---------------------------------------------------------------------------------- */

static unsigned seg_max(const struct net_dev *nd) {
    return nd->tx.vq.num < NET_TX_SEG_MAX ? nd->tx.vq.num : NET_TX_SEG_MAX;
}

/* Makes the packet part of what is held. False: it cannot be. */
static bool held_add(struct netif_virtio *nv, struct pbuf *packet, const struct tx_join *join) {
    struct netif_held *held = &nv->held;
    const unsigned max = seg_max(nv->nd);
    if (!tx_join_continues(&held->join, join)) {
        return false;
    }
    if (held->bundle == NULL) {
        held->bundle =
            tx_bundle_start(held->frame, nv->nd->hdr_len, held->join.headers_len, max);
        if (held->bundle == NULL) {
            return false;
        }
        held->join.headers = held->bundle->headers;
        held->frame = NULL;
    }
    if (!tx_bundle_add(held->bundle, packet, join->headers_len, max)) {
        return false;
    }
    tx_join_add(&held->join, join, held->bundle->headers);
    nv->tx_joined++;
    return true;
}

void netif_tx_close(struct netif_virtio *nv) {
    struct netif_held *held = &nv->held;
    if (held->frame != NULL) {
        (void)tx_send(nv, token_of_packet(held->frame));
    } else if (held->bundle != NULL) {
        struct tx_bundle *bundle = held->bundle;
        if (bundle->part_count > 1) {
            uint8_t *hdr = bundle->headers - nv->nd->hdr_len;
            tx_join_finish(&held->join, bundle->headers, (struct virtio_net_hdr *)(void *)hdr);
        }
        (void)tx_send(nv, token_of_bundle(bundle));
    }
    held->frame = NULL;
    held->bundle = NULL;
}

/* Holds the frame, or makes it part of what is held, or sends it. */
static err_t tx_queue(struct netif_virtio *nv, struct pbuf *frame, const struct tx_join *join) {
    struct netif_held *held = &nv->held;
    if (held->frame != NULL || held->bundle != NULL) {
        if (held_add(nv, frame, join)) {
            return ERR_OK;
        }
        if (held->frame != NULL && tx_join_supersedes(&held->join, join)) {
            pbuf_free(held->frame);
            held->frame = NULL;
            nv->acks_replaced++;
        }
        netif_tx_close(nv);
    }
    if (join->kind == TX_JOIN_NEVER) {
        return tx_send(nv, token_of_packet(frame));
    }
    held->frame = frame;
    held->join = *join;
    return ERR_OK;
}

/* --- preparing -------------------------------------------------------------------------------- */

static unsigned tx_piece_count(const struct pbuf *p) {
    unsigned count = 0;
    for (; p != NULL; p = p->next) {
        count++;
    }
    return count;
}

static bool tx_has_headroom(struct pbuf *p, uint8_t hdr_len) {
    if (pbuf_add_header(p, hdr_len) != 0) {
        return false;
    }
    pbuf_remove_header(p, hdr_len); /* it was only asked whether there is room */
    return true;
}

/* Sees to the checksum that lwIP left out. False: once more, when the frame is in one piece;
 * *hdr keeps what was found. */
static bool tx_checksum(const struct netif_virtio *nv, struct pbuf *p, enum l4_kind kind,
                        const struct l4_place *place, struct virtio_net_hdr *hdr) {
    if (kind != L4_PLAIN || (!nv->csum && LIKELY(!nv->csum_lost))) {
        return true;
    }
    csum_offload_tx(hdr, p->payload, place);
    if (nv->csum || hdr->flags == 0) {
        return true;
    }
    if (p->next != NULL) {
        return false;
    }
    csum_offload_finish(hdr, p->payload, p->len);
    return true;
}

/* Room for the virtio header in an empty first piece, so that here too it lies in front of it. */
static struct pbuf *tx_add_headroom(const struct net_dev *nd, struct pbuf *p) {
    struct pbuf *header = pbuf_alloc(PBUF_RAW, nd->hdr_len, PBUF_RAM);
    if (header == NULL) {
        pbuf_free(p);
        return NULL;
    }
    pbuf_remove_header(header, nd->hdr_len);
    pbuf_cat(header, p);
    return header;
}

/* Makes a frame of p, whose reference is taken over: puts the virtio header in front of it. NULL
 * when memory is short. */
static struct pbuf *tx_prepare(const struct netif_virtio *nv, struct pbuf *p,
                               struct tx_join *join) {
    const struct net_dev *nd = nv->nd;
    struct virtio_net_hdr hdr = {0};
    struct l4_place place;
    enum l4_kind kind = l4_find(p->payload, p->len, p->tot_len, &place);
    bool headroom = tx_has_headroom(p, nd->hdr_len);
    const bool split = kind == L4_SPLIT || !tx_checksum(nv, p, kind, &place, &hdr);

    if (UNLIKELY(split || tx_piece_count(p) + !headroom > seg_max(nd))) {
        struct pbuf *copy = pbuf_clone(PBUF_RAW_TX, PBUF_RAM, p);
        pbuf_free(p);
        if (copy == NULL) {
            return NULL;
        }
        p = copy;
        headroom = true;
        if (split) {
            kind = l4_find(p->payload, p->len, p->tot_len, &place);
            (void)tx_checksum(nv, p, kind, &place, &hdr); /* now it is in one piece */
        }
    }
    const u16_t first_len = p->len;
    *join = (struct tx_join){.kind = TX_JOIN_NEVER};
    if (UNLIKELY(!headroom)) {
        p = tx_add_headroom(nd, p);
        if (p == NULL) {
            return NULL;
        }
    } else if (kind == L4_PLAIN) {
        tx_join_read(join, p->payload, p->len, p->tot_len, &place, hdr.flags != 0 ? nv->tx_cut : 0);
    }
    if (nv->tx_cut != 0) { /* at least all headers, also of frames that are not cut (5.1.6.2.1) */
        hdr.hdr_len = join->headers_len != 0 ? join->headers_len : first_len;
    }
    uint8_t *header = (uint8_t *)p->payload - nd->hdr_len;
    memset(header, 0, nd->hdr_len);
    memcpy(header, &hdr, sizeof(hdr));
    return p;
}

err_t netif_tx_output(struct netif *netif, struct pbuf *p) {
    struct netif_virtio *nv = netif->state;
    struct tx_join join;

    pbuf_ref(p);
    struct pbuf *frame = tx_prepare(nv, p, &join);
    if (UNLIKELY(frame == NULL)) {
        nv->nd->tx.stats.drop_no_memory++;
        return ERR_MEM;
    }
    return tx_queue(nv, frame, &join);
}
