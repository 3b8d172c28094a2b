/* What net/netif_virtio.c (life, receiving) and net/netif_tx.c (sending) share. */
#ifndef NET_NETIF_PRIV_H
#define NET_NETIF_PRIV_H

#include "drivers/virtio_net.h"
#include "lwip/netif.h"
#include "lwip/pbuf.h"
#include "net/tx_join.h"

enum { BACKLOG_MAX = 1024 /* frames; a power of two */ };

struct tx_bundle;

/* The last frame of this pass, to which the next one may be added. */
struct netif_held {
    struct pbuf *frame; /* ready to be sent by itself, NULL: it is a bundle, or nothing is held */
    struct tx_bundle *bundle;
    struct tx_join join;
};

struct netif_virtio {
    struct netif netif;
    struct net_dev *nd;
    uint32_t restarts; /* of the device, as far as lwIP was told */
    bool csum;         /* the device makes checksums that the header asks for (CSUM) */
    bool csum_lost;    /* it once did: lwIP may still hold packets that wait for it */
    bool guest_csum;   /* it tells of checksums that need not be checked (GUEST_CSUM) */
    bool mtu_shrunk;   /* connections may have segments of an MTU that the device had before */
    uint8_t tx_cut;    /* kinds of net/gso.h that the device cuts */
    uint8_t rx_uncut;  /* ... that it may deliver uncut */
    u16_t checksums;   /* what lwIP makes and checks itself, NETIF_CHECKSUM_* */
    STAT_COUNTER icmp6_seen; /* ICMPv6 packets when `checksums` was last set */
    struct netif_held held;
    uint32_t backlog_head;
    uint32_t backlog_count;
    uint64_t not_for_us;
    uint64_t wrong_vlan;
    uint64_t tx_joined;     /* segments and datagrams that left in the frame of one before */
    uint64_t acks_replaced; /* acknowledgements that gave way to later ones */
    void *backlog[BACKLOG_MAX]; /* ring of tokens: frames ready to be sent */
};

/* lwIP's linkoutput: p is a complete Ethernet frame that stays the caller's. It reaches the ring at the
 * latest with netif_tx_close(). */
err_t netif_tx_output(struct netif *netif, struct pbuf *p);

/* Puts the held frame into the ring, or the backlog: nothing more will be added to it. */
void netif_tx_close(struct netif_virtio *nv);

/* What a token of the transmit ring stands for goes back to its owner. */
void netif_tx_release(void *token);

/* Takes back the packets of frames that were sent. */
void netif_tx_reclaim(struct net_dev *nd);

/* Sends what waits, as far as there is room. */
void netif_tx_drain_backlog(struct netif_virtio *nv);

/* Gives up what waits; counts it as drop_reset. */
void netif_tx_drop_backlog(struct netif_virtio *nv);

#endif
