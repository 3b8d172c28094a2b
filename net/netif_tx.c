/* The sending half of net/netif_virtio.h. */
#include <string.h>

#include "lib/assert.h"
#include "lib/dma.h"
#include "net/csum_offload.h"
#include "net/netif_priv.h"

/* A frame that is ready to be sent has nd->hdr_len bytes of virtio header right in front of its
 * first piece, and at most NET_TX_SEG_MAX pieces. Fills seg, returns the number of segments. */
static unsigned tx_segments(const struct net_dev *nd, const struct pbuf *frame,
                            struct vq_seg seg[NET_TX_SEG_MAX]) {
    unsigned n = 0;
    for (const struct pbuf *p = frame; p != NULL; p = p->next) {
        const uint32_t hdr_len = p == frame ? nd->hdr_len : 0;
        if (p->len + hdr_len == 0) {
            continue; /* a segment of a ring is never empty */
        }
        ASSERT_HOT(n < NET_TX_SEG_MAX);
        seg[n].addr = dma_addr_of((const uint8_t *)p->payload - hdr_len);
        seg[n].len = p->len + hdr_len;
        n++;
    }
    return n;
}

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
static bool tx_checksum(const struct netif_virtio *nv, struct pbuf *p, struct virtio_net_hdr *hdr) {
    if (!nv->csum && LIKELY(!nv->csum_lost)) {
        return true;
    }
    if (csum_offload_tx(hdr, p->payload, p->len, p->tot_len) == CSUM_TX_SPLIT) {
        return false;
    }
    if (nv->csum || hdr->flags == 0) {
        return true;
    }
    if (p->next != NULL) {
        return false;
    }
    csum_offload_finish(hdr, p->payload, p->len);
    return true;
}

/* Makes a frame of p, whose reference is taken over: puts the virtio header in front of it. NULL
 * when memory is short. */
static struct pbuf *tx_prepare(const struct netif_virtio *nv, struct pbuf *p) {
    const struct net_dev *nd = nv->nd;
    const unsigned seg_max = nd->tx.vq.num < NET_TX_SEG_MAX ? nd->tx.vq.num : NET_TX_SEG_MAX;
    struct virtio_net_hdr hdr = {0};
    bool headroom = tx_has_headroom(p, nd->hdr_len);
    const bool split = !tx_checksum(nv, p, &hdr);

    if (UNLIKELY(split || tx_piece_count(p) + !headroom > seg_max)) {
        struct pbuf *copy = pbuf_clone(PBUF_RAW_TX, PBUF_RAM, p);
        pbuf_free(p);
        if (copy == NULL) {
            return NULL;
        }
        p = copy;
        headroom = true;
        if (split) {
            (void)tx_checksum(nv, p, &hdr); /* now it is in one piece */
        }
    }
    if (UNLIKELY(!headroom)) {
        struct pbuf *header = pbuf_alloc(PBUF_RAW, nd->hdr_len, PBUF_RAM);
        if (header == NULL) {
            pbuf_free(p);
            return NULL;
        }
        /* An empty first piece, so that here too the virtio header lies in front of it. */
        pbuf_remove_header(header, nd->hdr_len);
        pbuf_cat(header, p);
        p = header;
    }
    uint8_t *header = (uint8_t *)p->payload - nd->hdr_len;
    memset(header, 0, nd->hdr_len);
    memcpy(header, &hdr, sizeof(hdr));
    return p;
}

/* Transmit rings hold packets of lwIP and frames in packet buffers, from net_tx_burst(); the lowest
 * bit of the token tells which. */
static void *tx_token(struct pbuf *frame) {
    return (void *)((uintptr_t)frame | 1);
}

void netif_tx_release(void *token) {
    if ((uintptr_t)token & 1) {
        pbuf_free((struct pbuf *)((uintptr_t)token - 1));
    } else {
        pktbuf_put_frame(token);
    }
}

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
    return net_tx_room(nd) >= n || !nd->link_up || nd->tx.vq.broken;
}

static err_t tx_add(struct net_dev *nd, struct pbuf *frame, const struct vq_seg *seg, unsigned n) {
    if (net_tx_add(nd, seg, n, frame->tot_len, tx_token(frame))) {
        return ERR_OK;
    }
    pbuf_free(frame);
    return ERR_IF;
}

static struct pbuf *tx_oldest(const struct netif_virtio *nv) {
    return nv->backlog[nv->backlog_head % BACKLOG_MAX];
}

static void tx_remove_oldest(struct netif_virtio *nv) {
    nv->backlog_head++;
    nv->backlog_count--;
}

void netif_tx_drain_backlog(struct netif_virtio *nv) {
    struct vq_seg seg[NET_TX_SEG_MAX];
    while (nv->backlog_count > 0) {
        struct pbuf *frame = tx_oldest(nv);
        const unsigned n = tx_segments(nv->nd, frame, seg);
        if (!tx_can_add(nv->nd, n)) {
            break;
        }
        tx_remove_oldest(nv);
        (void)tx_add(nv->nd, frame, seg, n); /* a frame that was not taken is counted */
    }
}

void netif_tx_drop_backlog(struct netif_virtio *nv) {
    while (nv->backlog_count > 0) {
        pbuf_free(tx_oldest(nv));
        tx_remove_oldest(nv);
        nv->nd->tx.stats.drop_reset++;
    }
}

err_t netif_tx_output(struct netif *netif, struct pbuf *p) {
    struct netif_virtio *nv = netif->state;
    struct net_dev *nd = nv->nd;
    struct vq_seg seg[NET_TX_SEG_MAX];

    pbuf_ref(p);
    struct pbuf *frame = tx_prepare(nv, p);
    if (UNLIKELY(frame == NULL)) {
        nd->tx.stats.drop_no_memory++;
        return ERR_MEM;
    }
    const unsigned n = tx_segments(nd, frame, seg);
    if (UNLIKELY(nv->backlog_count == 0 && !tx_can_add(nd, n))) {
        netif_tx_reclaim(nd);
    }
    if (LIKELY(nv->backlog_count == 0 && tx_can_add(nd, n))) {
        return tx_add(nd, frame, seg, n);
    }
    net_tx_full(nd);
    if (nv->backlog_count == BACKLOG_MAX) {
        nd->tx.stats.drop_ring_full++;
        pbuf_free(frame);
        return ERR_MEM;
    }
    nv->backlog[(nv->backlog_head + nv->backlog_count) % BACKLOG_MAX] = frame;
    nv->backlog_count++;
    return ERR_OK;
}
