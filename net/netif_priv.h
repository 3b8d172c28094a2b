/* What net/netif_virtio.c (life, receiving) and net/netif_tx.c (sending) share. */
#ifndef NET_NETIF_PRIV_H
#define NET_NETIF_PRIV_H

#include "drivers/virtio_net.h"
#include "lwip/netif.h"
#include "lwip/pbuf.h"

enum { BACKLOG_MAX = 1024 /* frames; a power of two */ };

struct netif_virtio {
    struct netif netif;
    struct net_dev *nd;
    uint32_t restarts; /* of the device, as far as lwIP was told */
    bool csum;         /* the device makes checksums that the header asks for (CSUM) */
    bool csum_lost;    /* it once did: lwIP may still hold packets that wait for it */
    bool guest_csum;   /* it tells of checksums that need not be checked (GUEST_CSUM) */
    bool mtu_shrunk;   /* connections may have segments of an MTU that the device had before */
    u16_t checksums;   /* what lwIP makes and checks itself, NETIF_CHECKSUM_* */
    STAT_COUNTER icmp6_seen; /* ICMPv6 packets when `checksums` was last set */
    uint32_t backlog_head;
    uint32_t backlog_count;
    uint64_t not_for_us;
    uint64_t wrong_vlan;
    struct pbuf *backlog[BACKLOG_MAX]; /* ring of frames ready to be sent */
};

/* lwIP's linkoutput: p is a complete Ethernet frame that stays the caller's. */
err_t netif_tx_output(struct netif *netif, struct pbuf *p);

/* What a token of the transmit ring stands for goes back to its owner. */
void netif_tx_release(void *token);

/* Takes back the packets of frames that were sent. */
void netif_tx_reclaim(struct net_dev *nd);

/* Sends what waits, as far as there is room. */
void netif_tx_drain_backlog(struct netif_virtio *nv);

/* Gives up what waits; counts it as drop_reset. */
void netif_tx_drop_backlog(struct netif_virtio *nv);

#endif
