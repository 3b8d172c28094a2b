#include "net/netif_virtio.h"

#include <string.h>

#include "drivers/clock.h"
#include "lib/assert.h"
#include "lwip/etharp.h"
#include "lwip/ethip6.h"
#include "lwip/stats.h"
#include "net/announce.h"
#include "net/csum_offload.h"
#include "net/gso.h"
#include "net/latency.h"
#include "net/netif_priv.h"
#include "net/path_mtu.h"
#include "netif/ethernet.h"

enum {
    COPY_SMALL = 128,  /* frames up to this size are copied into the pool of small blocks */
    RECLAIM_AT = 32,   /* descriptors: what was sent holds memory of lwIP, so not too much of it */
    HEADERS_MAX = 256, /* Ethernet with a tag, IP and TCP with all their options are 138 bytes */
};

static struct netif_virtio netif_virtio_nics[NET_DEV_MAX];
static bool netif_virtio_raw; /* a workload receives ... */
static bool (*netif_virtio_blocked)(unsigned nic); /* ... but not from a NIC of which this is true */

/* lwIP puts headers in front of a received packet when it answers in place. It checks that the
 * new start stays behind struct pbuf, but not behind the function pointer that follows it in
 * struct pbuf_custom. That pointer is safe: all headers together are virtio 12 + Ethernet 14 +
 * IPv6 40 + UDP 8 = 74 bytes (TCP never extends what it received), while every received packet
 * had its 14 bytes of Ethernet header removed before anything is put in front, and 64 bytes of
 * headroom lie before them. A VLAN tag is in both or in none. Further buffers of a frame have less
 * headroom, but never come first. */
_Static_assert(sizeof(struct pbuf_custom) == PKTBUF_OWNER_SIZE, "the header fills the owner area");
_Static_assert(12 + NET_ETH_HDR_LEN + 40 + 8 <= NET_ETH_HDR_LEN + PKTBUF_HEADROOM,
               "no header can reach the owner area");

static void rx_free(struct pbuf *p) {
    pktbuf_put(CONTAINER_OF((uint64_t(*)[PKTBUF_OWNER_SIZE / 8])(void *)p, struct pktbuf, owner));
}

/* The buffers of the frame themselves as an lwIP packet, each one with the length of it and what
 * follows, as lwIP wants it in a chain. */
static struct pbuf *rx_wrap(struct pktbuf *frame) {
    struct pbuf *first = NULL;
    struct pbuf **link = &first;
    uint32_t left = frame->frame_len;
    for (struct pktbuf *buf = frame; buf != NULL; buf = buf->next) {
        struct pbuf_custom *custom = (struct pbuf_custom *)(void *)buf->owner;
        custom->custom_free_function = rx_free;
        /* PBUF_POOL says that data follows the header in one piece and stays as it is, so lwIP
         * extends and queues it without a copy. */
        struct pbuf *p = pbuf_alloced_custom(PBUF_RAW, (u16_t)buf->len, PBUF_POOL, custom,
                                             buf->data, (u16_t)buf->len);
        p->tot_len = (u16_t)left;
        left -= buf->len;
        *link = p;
        link = &p->next;
    }
    return first;
}

/* A copy of the frame; the buffers are given back. Small frames have a pool of their own, so
 * that the acknowledgements which free memory still get in when the pool of full frames is
 * empty. */
static struct pbuf *rx_copy(struct net_dev *nd, struct pktbuf *frame) {
    const bool small = frame->frame_len <= COPY_SMALL;
    struct pbuf *p = pbuf_alloc(PBUF_RAW_TX, (u16_t)frame->frame_len, small ? PBUF_RAM : PBUF_POOL);
    if (p == NULL) {
        nd->rx.stats.drop_no_memory++;
    } else {
        uint32_t off = 0;
        for (const struct pktbuf *buf = frame; buf != NULL; buf = buf->next) {
            pbuf_take_at(p, buf->data, (u16_t)buf->len, (u16_t)off);
            off += buf->len;
        }
        nd->rx.stats.copies++;
    }
    pktbuf_put_frame(frame);
    return p;
}

/* --- checksums -------------------------------------------------------------------------------- */

/* What lwIP makes and checks itself. The checksum of a packet that is cut into fragments cannot be
 * left to the device, which sees a fragment at a time. UDP knows the size (net/udp_out.h); TCP does
 * not cut as long as no path is narrower than it was when a connection began. */
static void checksums_update(struct netif_virtio *nv) {
    nv->icmp6_seen = lwip_stats.icmp6.recv;
    nv->checksums = NETIF_CHECKSUM_ENABLE_ALL;
    if (nv->csum) {
        nv->checksums &= (u16_t)~NETIF_CHECKSUM_GEN_UDP;
        if (!nv->mtu_shrunk && !path_mtu_is_narrow(&nv->netif)) {
            nv->checksums &= (u16_t)~NETIF_CHECKSUM_GEN_TCP;
        }
    }
    NETIF_SET_CHECKSUM_CTRL(&nv->netif, nv->checksums);
}

static unsigned gso_kind(const struct net_dev *nd, enum virtio_feature feature, unsigned kinds) {
    return virtio_feature_get(&nd->features, feature) ? kinds : 0;
}

/* After the device was brought up, maybe with other features than before. */
static void offloads_negotiated(struct netif_virtio *nv) {
    const struct net_dev *nd = nv->nd;
    const bool csum = virtio_feature_get(&nd->features, VIRTIO_NET_F_CSUM);
    const unsigned tx_cut = gso_kind(nd, VIRTIO_NET_F_HOST_TSO4, GSO_TCP4) |
                            gso_kind(nd, VIRTIO_NET_F_HOST_TSO6, GSO_TCP6) |
                            gso_kind(nd, VIRTIO_NET_F_HOST_USO, GSO_UDP4 | GSO_UDP6);
    if ((nv->csum && !csum) || (nv->tx_cut & ~tx_cut) != 0) {
        netif_tx_drop_backlog(nv); /* their headers ask for what this device does not do */
        nv->csum_lost |= nv->csum && !csum;
    }
    nv->csum = csum;
    nv->tx_cut = (uint8_t)tx_cut;
    nv->guest_csum = virtio_feature_get(&nd->features, VIRTIO_NET_F_GUEST_CSUM);
    nv->rx_uncut = (uint8_t)(gso_kind(nd, VIRTIO_NET_F_GUEST_TSO4, GSO_TCP4) |
                             gso_kind(nd, VIRTIO_NET_F_GUEST_TSO6, GSO_TCP6) |
                             gso_kind(nd, VIRTIO_NET_F_GUEST_USO4, GSO_UDP4) |
                             gso_kind(nd, VIRTIO_NET_F_GUEST_USO6, GSO_UDP6));
    checksums_update(nv);
}

/* Tells lwIP whether to check the frame that it gets next. Fragments are never trusted, so what lwIP
 * reassembles is checked with the last of them. */
static enum csum_rx rx_checksum(struct netif_virtio *nv, struct pktbuf *frame,
                                struct datagrams *datagrams) {
    u16_t checksums = nv->checksums;
    const enum csum_rx verdict =
        csum_offload_rx(net_rx_header(nv->nd, frame), frame, nv->rx_uncut, datagrams);
    if (verdict == CSUM_RX_BAD) {
        nv->nd->rx.stats.drop_bad_header++;
        return verdict;
    }
    if (verdict != CSUM_RX_CHECK) {
        checksums &= (u16_t)~(NETIF_CHECKSUM_CHECK_TCP | NETIF_CHECKSUM_CHECK_UDP);
    }
    NETIF_SET_CHECKSUM_CTRL(&nv->netif, checksums);
    return verdict;
}

/* lwIP looks for all headers in the first piece of a packet. A device that cuts a frame within them
 * makes us copy it; so does one that owns too many of our buffers. */
static bool rx_can_wrap(const struct net_dev *nd, const struct pktbuf *frame) {
    return net_rx_can_keep(nd) && (frame->next == NULL || frame->len >= HEADERS_MAX);
}

/* Whether the frame is for this station and its VLAN; counts it when not. */
static bool rx_is_ours(struct netif_virtio *nv, const struct pbuf *p) {
    const struct eth_hdr *eth = p->payload;
    const struct eth_vlan_hdr *tag = (const void *)(eth + 1);
    const uint16_t vlan = nv->nd->ctrl.vlan;

    ASSERT_HOT(p->len >= NET_ETH_HDR_LEN);
    if (UNLIKELY((eth->dest.addr[0] & 1) == 0 &&
                 memcmp(&eth->dest, nv->netif.hwaddr, ETH_HWADDR_LEN) != 0)) {
        nv->not_for_us++;
        return false;
    }
    const bool tagged = eth->type == PP_HTONS(ETHTYPE_VLAN);
    if (UNLIKELY(tagged != (vlan != 0) ||
                 (tagged && (p->len < sizeof(*eth) + sizeof(*tag) || VLAN_ID(tag) != vlan)))) {
        nv->wrong_vlan++;
        return false;
    }
    return true;
}

static void rx_input(struct netif_virtio *nv, struct pbuf *p) {
    if (UNLIKELY(!rx_is_ours(nv, p))) {
        pbuf_free(p);
        return;
    }
    if (nv->netif.input(p, &nv->netif) != ERR_OK) {
        pbuf_free(p);
    }
    if (UNLIKELY(nv->icmp6_seen != lwip_stats.icmp6.recv)) { /* maybe news of a path */
        path_mtu_check();
        checksums_update(nv);
    }
}

/* Each of the datagrams in a frame becomes a packet of its own, which lwIP wants in one piece. */
static void rx_datagrams(struct netif_virtio *nv, struct pktbuf *frame,
                         const struct datagrams *datagrams) {
    const u16_t checksums = nv->netif.chksum_flags; /* for all of them; ours may change meanwhile */
    const uint32_t count = datagrams_count(datagrams);
    for (uint32_t i = 0; i < count; i++) {
        struct pbuf *p =
            pbuf_alloc(PBUF_RAW_TX, (u16_t)datagrams_len(datagrams, i), PBUF_RAM);
        if (p == NULL) {
            nv->nd->rx.stats.drop_no_memory++;
            continue;
        }
        datagrams_copy(datagrams, frame, i, p->payload);
        NETIF_SET_CHECKSUM_CTRL(&nv->netif, checksums);
        rx_input(nv, p);
    }
    pktbuf_put_frame(frame);
}

static void rx_frame(struct netif_virtio *nv, struct pktbuf *frame) {
    struct net_dev *nd = nv->nd;
    struct datagrams datagrams;

    const enum csum_rx verdict =
        nv->guest_csum ? rx_checksum(nv, frame, &datagrams) : CSUM_RX_CHECK;
    if (UNLIKELY(verdict == CSUM_RX_BAD)) {
        pktbuf_put_frame(frame);
        return;
    }
    if (UNLIKELY(verdict == CSUM_RX_DATAGRAMS)) {
        rx_datagrams(nv, frame, &datagrams);
        return;
    }
    struct pbuf *p = LIKELY(rx_can_wrap(nd, frame)) ? rx_wrap(frame) : rx_copy(nd, frame);
    if (LIKELY(p != NULL)) {
        rx_input(nv, p);
    }
}

/* --- life ------------------------------------------------------------------------------------- */

static err_t netif_virtio_init(struct netif *netif) {
    struct netif_virtio *nv = netif->state;
    netif->name[0] = 'e';
    netif->name[1] = 'n';
    netif->output = etharp_output;
    netif->output_ip6 = ethip6_output;
    netif->linkoutput = netif_tx_output;
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
    struct netif *netif = netif_add_noaddr(&nv->netif, nv, netif_virtio_init, ethernet_input);
    offloads_negotiated(nv);
    return netif;
}

struct netif *netif_virtio_get(unsigned nic) {
    ASSERT(nic < net_dev_count);
    return &netif_virtio_nics[nic].netif;
}

void netif_virtio_set_raw(bool (*blocked)(unsigned nic)) {
    netif_virtio_raw = true;
    netif_virtio_blocked = blocked;
}

void netif_virtio_input(unsigned nic, struct pktbuf *frame) {
    rx_frame(&netif_virtio_nics[nic], frame);
}

void netif_virtio_reclaim(unsigned nic) {
    struct netif_virtio *nv = &netif_virtio_nics[nic];
    netif_tx_reclaim(nv->nd);
    netif_tx_drain_backlog(nv);
}

unsigned netif_virtio_poll(unsigned nic) {
    struct netif_virtio *nv = &netif_virtio_nics[nic];
    struct net_dev *nd = nv->nd;
    struct pktbuf *frames[NET_BURST_MAX];

    const unsigned held = nd->tx.vq.num - net_tx_room(nd);
    if (netif_virtio_raw) { /* and looks after the transmit ring */
        if (UNLIKELY(nv->backlog_count > 0)) {
            netif_virtio_reclaim(nic);
        }
        return 0;
    }
    if (held > RECLAIM_AT || held >= nd->tx.vq.num / 2u || nv->backlog_count > 0) {
        netif_virtio_reclaim(nic);
    }
    /* A received frame may ask for an answer: receive none while there is no room for it. This
     * waits for nothing but the device; timers and other NICs go on. */
    const unsigned room = net_tx_room(nd);
    if (UNLIKELY(nv->backlog_count > 0 || room == 0)) {
        return 0;
    }
    const unsigned count = net_rx_burst(nd, frames, room < NET_BURST_MAX ? room : NET_BURST_MAX);
    if (count > 0) {
        latency_at(LATENCY_SEEN);
    }
    for (unsigned i = 0; i < count; i++) {
        rx_frame(nv, frames[i]);
    }
    if (count == 0) {
        netif_tx_reclaim(nd);
    }
    return count;
}

void netif_virtio_flush(unsigned nic) {
    struct netif_virtio *nv = &netif_virtio_nics[nic];
    netif_tx_close(nv);
    net_tx_flush(nv->nd);
}

static void netif_virtio_lost(struct net_dev *nd, void *token) {
    (void)nd;
    netif_tx_release(token);
}

/* A device that came back may have another address or MTU. */
static void netif_virtio_restarted(struct netif_virtio *nv) {
    const struct net_dev *nd = nv->nd;
    nv->restarts = nd->restarts;
    memcpy(nv->netif.hwaddr, nd->mac, ETH_HWADDR_LEN);
    if (nv->netif.mtu != nd->mtu) {
        nv->mtu_shrunk |= nd->mtu < nv->netif.mtu;
        nv->netif.mtu = nv->netif.mtu6 = nd->mtu;
        path_mtu_check();
    }
    offloads_negotiated(nv);
}

void netif_virtio_service(unsigned nic) {
    struct netif_virtio *nv = &netif_virtio_nics[nic];
    struct net_dev *nd = nv->nd;

    netif_tx_close(nv); /* before the device may become another one */
    netif_tx_reclaim(nd);
    const unsigned found = net_service(nd, clock_ms(), netif_virtio_lost);
    if (found & NET_ANNOUNCE) {
        announce_all(&nv->netif);
        net_announced(nd);
    }
    if (!(found & NET_CHANGED)) {
        return;
    }
    if (nv->restarts != nd->restarts) {
        /* Down and up again, so that lwIP announces its addresses to a back end that is new. */
        netif_virtio_restarted(nv);
        netif_set_link_down(&nv->netif);
    }
    if (nd->link_up && !netif_is_link_up(&nv->netif)) {
        netif_set_link_up(&nv->netif); /* this announces IPv4 and multicast groups */
        announce_ip6(&nv->netif);
    } else if (!nd->link_up) {
        netif_set_link_down(&nv->netif);
    }
}

bool netif_virtio_arm(unsigned nic) {
    const struct netif_virtio *nv = &netif_virtio_nics[nic];
    const bool tx_waits = nv->backlog_count > 0 || net_tx_room(nv->nd) == 0;
    if (netif_virtio_raw) {
        return net_arm(nv->nd, netif_virtio_blocked == NULL || !netif_virtio_blocked(nic), tx_waits);
    }
    return net_arm(nv->nd, !tx_waits, tx_waits);
}

uint64_t netif_virtio_not_for_us(unsigned nic) {
    return netif_virtio_nics[nic].not_for_us;
}

uint64_t netif_virtio_wrong_vlan(unsigned nic) {
    return netif_virtio_nics[nic].wrong_vlan;
}

uint64_t netif_virtio_backlog(unsigned nic) {
    return netif_virtio_nics[nic].backlog_count;
}

uint64_t netif_virtio_tx_joined(unsigned nic) {
    return netif_virtio_nics[nic].tx_joined;
}

uint64_t netif_virtio_acks_replaced(unsigned nic) {
    return netif_virtio_nics[nic].acks_replaced;
}
