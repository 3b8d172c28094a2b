#include "net/netif_virtio.h"

#include <string.h>

#include "drivers/clock.h"
#include "drivers/virtio_net.h"
#include "lib/assert.h"
#include "lib/dma.h"
#include "lwip/etharp.h"
#include "lwip/ethip6.h"
#include "lwip/mld6.h"
#include "lwip/pbuf.h"
#include "netif/ethernet.h"

enum {
    BACKLOG_MAX = 1024, /* frames; a power of two */
    COPY_SMALL = 128,   /* frames up to this size are copied into the pool of small blocks */
};

struct netif_virtio {
    struct netif netif;
    struct net_dev *nd;
    uint32_t restarts; /* of the device, as far as lwIP was told */
    uint32_t backlog_head;
    uint32_t backlog_count;
    uint64_t not_for_us;
    struct pbuf *backlog[BACKLOG_MAX]; /* ring of frames ready to be sent */
};

static struct netif_virtio netif_virtio_nics[NET_DEV_MAX];

/* lwIP puts headers in front of a received packet when it answers in place. It checks that the
 * new start stays behind struct pbuf, but not behind the function pointer that follows it in
 * struct pbuf_custom. That pointer is safe: all headers together are virtio 12 + Ethernet 14 +
 * IPv6 40 + UDP 8 = 74 bytes (TCP never extends what it received), while every received packet
 * had its 14 bytes of Ethernet header removed before anything is put in front, and 64 bytes of
 * headroom lie before them. */
_Static_assert(sizeof(struct pbuf_custom) == PKTBUF_OWNER_SIZE, "the header fills the owner area");
_Static_assert(12 + NET_ETH_HDR_LEN + 40 + 8 <= NET_ETH_HDR_LEN + PKTBUF_HEADROOM,
               "no header can reach the owner area");

static void rx_free(struct pbuf *p) {
    pktbuf_put(CONTAINER_OF((uint64_t(*)[PKTBUF_OWNER_SIZE / 8])(void *)p, struct pktbuf, owner));
}

/* The buffer itself as an lwIP packet. */
static struct pbuf *rx_wrap(struct pktbuf *buf) {
    struct pbuf_custom *custom = (struct pbuf_custom *)(void *)buf->owner;
    custom->custom_free_function = rx_free;
    /* PBUF_POOL says that data follows the header in one piece and stays as it is, so lwIP extends
     * and queues it without a copy. */
    return pbuf_alloced_custom(PBUF_RAW, (u16_t)buf->len, PBUF_POOL, custom, buf->data,
                               (u16_t)buf->len);
}

/* A copy of the frame; the buffer is given back. Small frames have a pool of their own, so that the
 * acknowledgements which free memory still get in when the pool of full frames is empty. */
static struct pbuf *rx_copy(struct net_dev *nd, struct pktbuf *buf) {
    const bool small = buf->len <= COPY_SMALL;
    struct pbuf *p = pbuf_alloc(PBUF_RAW_TX, (u16_t)buf->len, small ? PBUF_RAM : PBUF_POOL);
    if (p == NULL) {
        nd->rx.stats.drop_no_memory++;
    } else {
        pbuf_take(p, buf->data, (u16_t)buf->len);
        nd->rx.stats.copies++;
    }
    pktbuf_put(buf);
    return p;
}

static void rx_frame(struct netif_virtio *nv, struct pktbuf *buf) {
    struct net_dev *nd = nv->nd;
    struct pbuf *p;

    if ((buf->data[0] & 1) == 0 && memcmp(buf->data, nv->netif.hwaddr, ETH_HWADDR_LEN) != 0) {
        nv->not_for_us++;
        pktbuf_put(buf);
        return;
    }
    p = LIKELY(net_rx_can_keep(nd)) ? rx_wrap(buf) : rx_copy(nd, buf);
    if (p != NULL && nv->netif.input(p, &nv->netif) != ERR_OK) {
        pbuf_free(p);
    }
}

/* A frame that is ready to be sent has nd->hdr_len zero bytes of virtio header right in front of
 * its first piece, and at most NET_TX_SEG_MAX pieces. Fills seg, returns the number of segments. */
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

/* Makes a frame of p, whose reference is taken over, by clearing the virtio header in front of it.
 * NULL when memory is short. */
static struct pbuf *tx_prepare(struct net_dev *nd, struct pbuf *p) {
    const unsigned seg_max = nd->tx.vq.num < NET_TX_SEG_MAX ? nd->tx.vq.num : NET_TX_SEG_MAX;
    bool headroom = pbuf_add_header(p, nd->hdr_len) == 0;

    if (LIKELY(headroom)) {
        pbuf_remove_header(p, nd->hdr_len); /* it was only asked whether there is room */
    }
    if (UNLIKELY(tx_piece_count(p) + !headroom > seg_max)) {
        struct pbuf *copy = pbuf_clone(PBUF_RAW_TX, PBUF_RAM, p);
        pbuf_free(p);
        if (copy == NULL) {
            return NULL;
        }
        p = copy;
        headroom = true;
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
    memset((uint8_t *)p->payload - nd->hdr_len, 0, nd->hdr_len);
    return p;
}

/* Takes back the packets of frames that were sent. */
static void tx_reclaim(struct net_dev *nd) {
    void *tokens[NET_BURST_MAX];
    unsigned count = NET_BURST_MAX;
    /* At most num frames can be outstanding, so this ends. */
    while (count == NET_BURST_MAX && net_tx_room(nd) < nd->tx.vq.num) {
        count = net_tx_done(nd, tokens, NET_BURST_MAX);
        for (unsigned i = 0; i < count; i++) {
            pbuf_free(tokens[i]);
        }
    }
}

/* Whether the frame's fate can be decided now: the ring has room, or the driver will drop it and
 * count why. */
static bool tx_can_add(const struct net_dev *nd, unsigned n) {
    return net_tx_room(nd) >= n || !nd->link_up || nd->tx.vq.broken;
}

static err_t tx_add(struct net_dev *nd, struct pbuf *frame, const struct vq_seg *seg, unsigned n) {
    if (net_tx_add(nd, seg, n, frame->tot_len, frame)) {
        return ERR_OK;
    }
    pbuf_free(frame);
    return ERR_IF;
}

/* Sends what waits, as far as there is room. */
static void tx_drain_backlog(struct netif_virtio *nv) {
    struct vq_seg seg[NET_TX_SEG_MAX];
    while (nv->backlog_count > 0) {
        struct pbuf *frame = nv->backlog[nv->backlog_head % BACKLOG_MAX];
        const unsigned n = tx_segments(nv->nd, frame, seg);
        if (!tx_can_add(nv->nd, n)) {
            break;
        }
        nv->backlog_head++;
        nv->backlog_count--;
        (void)tx_add(nv->nd, frame, seg, n); /* a frame that was not taken is counted */
    }
}

/* lwIP's linkoutput: p is a complete Ethernet frame that stays the caller's. */
static err_t netif_virtio_output(struct netif *netif, struct pbuf *p) {
    struct netif_virtio *nv = netif->state;
    struct net_dev *nd = nv->nd;
    struct vq_seg seg[NET_TX_SEG_MAX];

    pbuf_ref(p);
    struct pbuf *frame = tx_prepare(nd, p);
    if (UNLIKELY(frame == NULL)) {
        nd->tx.stats.drop_no_memory++;
        return ERR_MEM;
    }
    const unsigned n = tx_segments(nd, frame, seg);
    if (UNLIKELY(nv->backlog_count == 0 && !tx_can_add(nd, n))) {
        tx_reclaim(nd);
    }
    if (LIKELY(nv->backlog_count == 0 && tx_can_add(nd, n))) {
        return tx_add(nd, frame, seg, n);
    }
    nd->tx.stats.ring_full++;
    if (nv->backlog_count == BACKLOG_MAX) {
        nd->tx.stats.drop_ring_full++;
        pbuf_free(frame);
        return ERR_MEM;
    }
    nv->backlog[(nv->backlog_head + nv->backlog_count) % BACKLOG_MAX] = frame;
    nv->backlog_count++;
    return ERR_OK;
}

static err_t netif_virtio_init(struct netif *netif) {
    struct netif_virtio *nv = netif->state;
    netif->name[0] = 'e';
    netif->name[1] = 'n';
    netif->output = etharp_output;
    netif->output_ip6 = ethip6_output;
    netif->linkoutput = netif_virtio_output;
    netif->mtu = nv->nd->mtu;
    netif->hwaddr_len = ETH_HWADDR_LEN;
    memcpy(netif->hwaddr, nv->nd->mac, ETH_HWADDR_LEN);
    netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET |
                   NETIF_FLAG_MLD6;
    netif_set_hostname(netif, "ringlet");
    return ERR_OK;
}

struct netif *netif_virtio_add(unsigned nic) {
    struct netif_virtio *nv = &netif_virtio_nics[nic];
    ASSERT(nic < net_dev_count);
    nv->nd = &net_devs[nic];
    ASSERT(nv->nd->hdr_len <= PBUF_LINK_ENCAPSULATION_HLEN);
    nv->restarts = nv->nd->restarts;
    return netif_add_noaddr(&nv->netif, nv, netif_virtio_init, ethernet_input);
}

struct netif *netif_virtio_get(unsigned nic) {
    ASSERT(nic < net_dev_count);
    return &netif_virtio_nics[nic].netif;
}

unsigned netif_virtio_poll(unsigned nic) {
    struct netif_virtio *nv = &netif_virtio_nics[nic];
    struct net_dev *nd = nv->nd;
    struct pktbuf *bufs[NET_BURST_MAX];

    if (net_tx_room(nd) <= nd->tx.vq.num / 2u || nv->backlog_count > 0) {
        tx_reclaim(nd);
        tx_drain_backlog(nv);
    }
    /* A received frame may ask for an answer: receive none while there is no room for it. This
     * waits for nothing but the device; timers and other NICs go on. */
    const unsigned room = net_tx_room(nd);
    if (UNLIKELY(nv->backlog_count > 0 || room == 0)) {
        return 0;
    }
    const unsigned count = net_rx_burst(nd, bufs, room < NET_BURST_MAX ? room : NET_BURST_MAX);
    for (unsigned i = 0; i < count; i++) {
        rx_frame(nv, bufs[i]);
    }
    if (count == 0) {
        tx_reclaim(nd);
    }
    return count;
}

void netif_virtio_flush(unsigned nic) {
    net_tx_flush(netif_virtio_nics[nic].nd);
}

static void netif_virtio_lost(struct net_dev *nd, void *token) {
    (void)nd;
    pbuf_free(token);
}

static void netif_virtio_announce(unsigned nic) {
    struct netif *netif = &netif_virtio_nics[nic].netif;
    etharp_gratuitous(netif);
    mld6_report_groups(netif);
}

void netif_virtio_service(unsigned nic) {
    struct netif_virtio *nv = &netif_virtio_nics[nic];
    struct net_dev *nd = nv->nd;

    const unsigned found = net_service(nd, clock_ms(), netif_virtio_lost);
    if (found & NET_ANNOUNCE) {
        netif_virtio_announce(nic);
        net_announced(nd);
    }
    if (!(found & NET_CHANGED)) {
        return;
    }
    if (nv->restarts != nd->restarts) {
        /* Down and up again, so that lwIP announces its addresses to a back end that is new. */
        nv->restarts = nd->restarts;
        memcpy(nv->netif.hwaddr, nd->mac, ETH_HWADDR_LEN);
        netif_set_link_down(&nv->netif);
    }
    if (nd->link_up) {
        netif_set_link_up(&nv->netif);
    } else {
        netif_set_link_down(&nv->netif);
    }
}

bool netif_virtio_arm(unsigned nic) {
    const struct netif_virtio *nv = &netif_virtio_nics[nic];
    return net_arm(nv->nd, nv->backlog_count > 0 || net_tx_room(nv->nd) == 0);
}

uint64_t netif_virtio_not_for_us(unsigned nic) {
    return netif_virtio_nics[nic].not_for_us;
}

unsigned netif_virtio_backlog(unsigned nic) {
    return netif_virtio_nics[nic].backlog_count;
}
