/* Looking after virtio-net devices while they run: link, queues that broke, devices that ask for a
 * reset or stop working (2.1.1, 2.6, 5.1.4). Nothing here allocates. */
#include "drivers/clock.h"
#include "drivers/net_parts.h"
#include "lib/err.h"

enum {
    TX_STALL_LOOKS = 5, /* of net_service(), about one a second ... */
    TX_LOOK_MS = 500,   /* ... but interrupts ask for more of them: sooner they do not count */
};

/* --- outages ----------------------------------------------------------------------------------- */

static uint64_t ms_since(uint64_t from_ms, uint64_t now_ms) {
    return now_ms > from_ms ? now_ms - from_ms : 0;
}

/* The time without link or device begins, or ends. */
void net_track_outage(struct net_dev *nd, uint64_t now_ms) {
    const bool up = nd->running && nd->link_up;
    if (!up && nd->down_since_ms == 0) {
        nd->down_since_ms = max_u64(now_ms, 1);
    } else if (up && nd->down_since_ms != 0) {
        nd->outage_ms += ms_since(nd->down_since_ms, now_ms);
        nd->down_since_ms = 0;
    }
}

uint64_t net_outage_ms(const struct net_dev *nd, uint64_t now_ms) {
    return nd->outage_ms +
           (nd->down_since_ms != 0 ? ms_since(nd->down_since_ms, now_ms) : 0);
}

/* --- restart ----------------------------------------------------------------------------------- */

/* Take back what a ring holds; device or queue was reset before, so it owns nothing any more. */
static void drain_rx(struct net_dev *nd) {
    uint32_t cursor = 0;
    void *token;
    while ((token = vq_drain(&nd->rx.vq, &cursor)) != NULL) {
        pktbuf_put(token);
    }
    while (nd->rx_missing > 0 && nd->rx_first != NULL) {
        struct pktbuf *buf = nd->rx_first;
        nd->rx_first = buf->next;
        pktbuf_put(buf);
    }
    nd->rx.stats.drop_reset += nd->rx_missing > 0;
    nd->rx_missing = 0;
}

static void drain_tx(struct net_dev *nd, void (*lost)(struct net_dev *nd, void *token)) {
    uint32_t cursor = 0;
    void *token;
    while ((token = vq_drain(&nd->tx.vq, &cursor)) != NULL) {
        nd->tx.stats.drop_reset++;
        lost(nd, token);
    }
}

static bool queue_fits(struct net_dev *nd, const struct net_queue *queue) {
    if (virtio_dev_queue_max(&nd->dev, queue->index) < queue->vq.num) {
        NET_ERROR(nd, "queue %u: the device came back with a smaller one", queue->index);
        return false;
    }
    return true;
}

/* After a restart: buffers and rings keep their size, so the device must not want others; and what the
 * user insisted on is still to be had. Features that nobody asked for may go. */
static int check_unchanged(struct net_dev *nd) {
    if (nd->mtu + (uint32_t)(NET_ETH_HDR_LEN + NET_VLAN_TAG_LEN) > nd->pool.room ||
        vq_is_packed(net_layout(nd)) != vq_is_packed(nd->rx.vq.layout)) {
        NET_ERROR(nd, "the device came back with another MTU or ring layout");
        return ERR_DEVICE;
    }
    if (!net_ctrl_serves_keys(nd)) {
        NET_ERROR(nd, "the device came back without a feature that mac=, guest_offloads= or "
                      "coalesce= needs");
        return ERR_DEVICE;
    }
    const bool ctrl = net_has(nd, VIRTIO_NET_F_CTRL_VQ);
    return queue_fits(nd, &nd->rx) && queue_fits(nd, &nd->tx) &&
                   (!ctrl || queue_fits(nd, &nd->ctrl.queue))
               ? ERR_OK
               : ERR_DEVICE;
}

static void restart(struct net_dev *nd, void (*lost)(struct net_dev *nd, void *token)) {
    if (nd->running) {
        net_give_up(nd, ERR_DEVICE);
    }
    nd->restarts++;
    net_track_outage(nd, clock_ms());
    int err = net_negotiate(nd);
    if (err == ERR_OK) {
        drain_rx(nd);
        drain_tx(nd, lost);
        err = check_unchanged(nd);
    }
    if (err == ERR_OK) {
        err = net_read_mac(nd);
    }
    if (err == ERR_OK) {
        err = net_start(nd);
    }
    if (err == ERR_RESOURCE) {
        NET_ERROR(nd, "the device came back with fewer MSI-X vectors");
    }
    net_track_outage(nd, clock_ms());
    if (err != ERR_OK) {
        net_give_up(nd, err);
        return;
    }
    log_info("net%u: device was reset and is running again (restart %u)", nd->index,
             (unsigned)nd->restarts);
}

/* A queue that broke, alone (2.6). False when the device cannot do that. */
static bool queue_recover(struct net_dev *nd, struct net_queue *queue,
                          void (*lost)(struct net_dev *nd, void *token)) {
    if (!net_has(nd, VIRTIO_F_RING_RESET) ||
        virtio_dev_queue_reset(&nd->dev, queue->index) != ERR_OK) {
        return false;
    }
    if (queue == &nd->rx) {
        drain_rx(nd);
    } else {
        drain_tx(nd, lost);
    }
    if (net_queue_start(nd, queue) != ERR_OK) {
        return false;
    }
    queue->stats.resets++;
    if (queue == &nd->rx) {
        net_rx_refill(nd);
    }
    log_info("net%u: queue %u was reset and is running again", nd->index, queue->index);
    /* Coalescing of a queue that was reset is back at its default (5.1.6.5.7). */
    return net_ctrl_start(nd) == ERR_OK;
}

/* --- service ----------------------------------------------------------------------------------- */

/* Devices miss notifications: QEMU 7.2 takes frames past the event index that it asked for in a packed
 * ring while its back end is busy, and then sleeps. One too many does no harm, but none is sent to a
 * device that wants none (2.7.10.1, 2.8.10.1). */
static void tx_remind(struct net_dev *nd) {
    if (vq_notify_never(&nd->tx.vq, nd->tx.vq.layout)) {
        return;
    }
    virtio_dev_ring(&nd->tx.doorbell, vq_notify_position(&nd->tx.vq, nd->tx.vq.layout));
    nd->tx.stats.kicks++;
}

/* A device that holds frames and has given none back for several looks, with the link up. Looks, and not
 * only time, because a machine that stood still has had no time to send. */
static bool tx_is_stalled(struct net_dev *nd, uint64_t now_ms) {
    const bool idle = nd->tx.vq.free_count == nd->tx.vq.num;
    if (idle || !nd->link_up || nd->tx.done != nd->tx_done_seen) {
        nd->tx_stalled = 0;
        nd->tx_look_ms = now_ms;
    } else if (ms_since(nd->tx_look_ms, now_ms) >= TX_LOOK_MS) {
        nd->tx_stalled++;
        nd->tx_look_ms = now_ms;
        tx_remind(nd);
    }
    nd->tx_done_seen = nd->tx.done;
    if (nd->tx_stalled < TX_STALL_LOOKS) {
        return false;
    }
    NET_ERROR(nd, "the device has not returned a frame for %u s", TX_STALL_LOOKS);
    return true;
}

/* Brings a device that stopped working back. True when there was something to do. */
static bool recover(struct net_dev *nd, uint64_t now_ms,
                    void (*lost)(struct net_dev *nd, void *token)) {
    const bool ctrl_broken = net_has(nd, VIRTIO_NET_F_CTRL_VQ) && nd->ctrl.queue.vq.broken;
    if (!nd->running || ctrl_broken ||
        (virtio_dev_status(&nd->dev) & VIRTIO_STATUS_NEEDS_RESET) || tx_is_stalled(nd, now_ms)) {
        restart(nd, lost);
        return true;
    }
    if (!nd->rx.vq.broken && !nd->tx.vq.broken) {
        return false;
    }
    if ((nd->rx.vq.broken && !queue_recover(nd, &nd->rx, lost)) ||
        (nd->tx.vq.broken && !queue_recover(nd, &nd->tx, lost))) {
        restart(nd, lost);
    }
    return true;
}

unsigned net_service(struct net_dev *nd, uint64_t now_ms,
                     void (*lost)(struct net_dev *nd, void *token)) {
    uint16_t status;
    if (recover(nd, now_ms, lost)) {
        return NET_CHANGED;
    }
    if (net_read_status(nd, &status) != ERR_OK) {
        return 0;
    }
    unsigned found = 0;
    if (net_has(nd, VIRTIO_NET_F_GUEST_ANNOUNCE) && (status & VIRTIO_NET_S_ANNOUNCE)) {
        found = NET_ANNOUNCE;
    }
    const bool up = status & VIRTIO_NET_S_LINK_UP;
    const uint32_t generation = virtio_dev_generation(&nd->dev);
    if (up != nd->link_up || generation != nd->generation) {
        /* A link that came back may have another back end behind it. QEMU tells that one where a split
         * ring stands, by its used index; of a packed ring it does not know. Down and up are two changes,
         * by which a flap between two looks shows; to announce is one. */
        const bool flapped = (uint8_t)(generation - nd->generation) >= 2;
        nd->generation = generation;
        if (up && (!nd->link_up || flapped) && vq_is_packed(nd->rx.vq.layout)) {
            restart(nd, lost);
            return NET_CHANGED;
        }
        (void)net_read_speed(nd);
    }
    if (up != nd->link_up) {
        nd->link_up = up;
        nd->link_downs += !up;
        net_track_outage(nd, now_ms);
        log_info("net%u: link %s", nd->index, up ? "up" : "down");
        found |= NET_CHANGED;
    }
    return found;
}
