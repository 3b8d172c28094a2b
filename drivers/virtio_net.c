/* Bring-up of a virtio-net device (5.1.3 to 5.1.5). The bursts are in
 * net_burst.h. */
#include "drivers/virtio_net.h"

#include "drivers/clock.h"
#include "drivers/net_burst.h"
#include "drivers/net_parts.h"
#include "lib/cpu.h"
#include "lib/dma.h"
#include "lib/err.h"

#include <string.h>

enum {
    NET_FCS_LEN = 4,
    POOL_SPARE_MIN = 64,    /* beside the ring's own */
    POOL_SPARE_MAX = 32768,
    POOL_SPARE_RAW = 2048, /* no stack keeps frames, but transmit rings of a forwarder do */
    POOL_SPARE_MIN_LEN = 64 * 1536, /* ... or so many bytes, where buffers are larger */
    INDIRECT_PART = 4,      /* tables of descriptors are at most a fourth of the memory */
    CTRL_QUEUE_SIZE = 16,
    CTRL_DESCRIPTORS = 2,   /* of a command */
};

/* --- configuration ----------------------------------------------------------------------------- */

/* A locally administered unicast address where the device gives none (5.1.4.2). */
static void random_mac(uint8_t mac[6]) {
    uint64_t seed = cpu_tsc() * 0x9e3779b97f4a7c15ull;
    memcpy(mac, (const uint8_t *)&seed + 2, 6);
    mac[0] = (uint8_t)((mac[0] & 0xfc) | 2);
}

int net_read_mac(struct net_dev *nd) {
    if (net_has(nd, VIRTIO_NET_F_MAC)) {
        return net_read_config(nd, offsetof(struct virtio_net_config, mac), 1, 6, nd->mac);
    }
    if (nd->restarts == 0) {
        random_mac(nd->mac);
    }
    return ERR_OK;
}

/* Without the feature the link counts as up (5.1.4.2). */
int net_read_status(struct net_dev *nd, uint16_t *status) {
    *status = VIRTIO_NET_S_LINK_UP;
    return net_has(nd, VIRTIO_NET_F_STATUS)
               ? net_read_config(nd, offsetof(struct virtio_net_config, status), 2, 1, status)
               : ERR_OK;
}

/* Both may change with the link (5.1.4). */
int net_read_speed(struct net_dev *nd) {
    nd->speed = UINT32_MAX;
    nd->duplex = UINT8_MAX;
    if (!net_has(nd, VIRTIO_NET_F_SPEED_DUPLEX)) {
        return ERR_OK;
    }
    const int err =
        net_read_config(nd, offsetof(struct virtio_net_config, speed), 4, 1, &nd->speed);
    return err == ERR_OK ? net_read_config(nd, offsetof(struct virtio_net_config, duplex), 1, 1,
                                           &nd->duplex)
                         : err;
}

/* --- queues ------------------------------------------------------------------------------------ */

/* Size of a queue: what the user asked for, else the device's maximum. A split ring needs a power of
 * two, a packed one takes any. */
static int queue_size(struct net_dev *nd, struct net_queue *queue, uint32_t wish, uint16_t *num) {
    const bool packed = vq_is_packed(net_layout(nd));
    queue->num_max = virtio_dev_queue_max(&nd->dev, queue->index);
    if (queue->num_max == 0 || queue->num_max > VQ_NUM_MAX) {
        NET_ERROR(nd, "queue %u: the device gives a size of %u", queue->index, queue->num_max);
        return ERR_DEVICE;
    }
    if (wish > queue->num_max || (!packed && wish != 0 && !is_power_of_two(wish))) {
        NET_ERROR(nd, "queue=%u: must be %s up to the %u of the device's queue %u", (unsigned)wish,
                  packed ? "a number" : "a power of two", queue->num_max, queue->index);
        return ERR_CONFIG;
    }
    uint16_t size = packed ? queue->num_max : 1;
    while (!packed && size <= queue->num_max / 2) {
        size = (uint16_t)(size * 2);
    }
    *num = wish != 0 ? (uint16_t)wish : size;
    return ERR_OK;
}

/* Memory of a queue, once; a restart uses it again. */
static int queue_allocate(const struct net_dev *nd, struct net_queue *queue, uint16_t num) {
    queue->memory = dma_alloc(vq_areas(net_layout(nd), num).size, VQ_AREA_ALIGN);
    queue->slots = dma_alloc(sizeof(*queue->slots) * num, VQ_AREA_ALIGN);
    queue->vq.num = num;
    const uint16_t quarter = (uint16_t)(num / 4);
    queue->refill_at = quarter == 0 ? 1 : (uint16_t)min_u64(quarter, NET_REFILL_BATCH);
    return queue->memory != NULL && queue->slots != NULL ? ERR_OK : ERR_RESOURCE;
}

/* Frames to send are the only buffers of many pieces. Without tables they are chains, which take more
 * descriptors but no memory: tables of a large ring must not take what receive buffers need. */
static void indirect_allocate(const struct net_dev *nd, struct net_queue *tx, size_t budget) {
    const size_t size = vq_indirect_size(tx->vq.num);
    if (net_has(nd, VIRTIO_F_INDIRECT_DESC) && size <= budget / INDIRECT_PART) {
        tx->indirect = dma_alloc_dirty(size, VQ_AREA_ALIGN);
    }
}

/* The control queue is small, whatever queue= says; the device may make it smaller still. */
static int ctrl_allocate(struct net_dev *nd) {
    struct net_queue *queue = &nd->ctrl.queue;
    uint16_t num;
    if (!net_has(nd, VIRTIO_NET_F_CTRL_VQ)) {
        return ERR_OK;
    }
    int err = queue_size(nd, queue, 0, &num);
    if (err == ERR_OK && num < CTRL_DESCRIPTORS) {
        NET_ERROR(nd, "the control queue has %u descriptors, a command needs %u", num,
                  CTRL_DESCRIPTORS);
        err = ERR_DEVICE;
    }
    if (err == ERR_OK) {
        err = queue_allocate(nd, queue, (uint16_t)min_u64(num, CTRL_QUEUE_SIZE));
    }
    return err == ERR_OK ? net_ctrl_allocate(nd) : err;
}

/* Bytes for the frame in each buffer: at least what 5.1.6.3.1 wants, whatever the MTU. A device that
 * merges segments needs room for the longest frame in the buffers that are always posted, or it would wait
 * for more for ever: so few of them have to be larger. */
static uint32_t buffer_room(const struct net_dev *nd) {
    const uint32_t posted = nd->rx.vq.num - nd->rx.refill_at + 1u;
    const uint32_t room = NET_ETH_HDR_LEN + NET_VLAN_TAGS_MAX * NET_VLAN_TAG_LEN +
                          (uint32_t)max_u64(nd->mtu, NET_MTU_DEFAULT);
    const uint32_t part = (NET_RX_GSO_LEN + posted - 1) / posted;
    return net_takes_long_frames(nd) && part > room + nd->hdr_len ? part - nd->hdr_len : room;
}

/* Packet buffers: those that fill the ring, and many more for frames that the stack holds while TCP
 * peers do not read. Unused ones cost nothing, so most of `budget`, this device's share of the memory,
 * becomes buffers. */
static int pool_allocate(struct net_dev *nd, const struct config *cfg, size_t budget) {
    const uint32_t num = nd->rx.vq.num;
    const uint32_t room = buffer_room(nd);
    const size_t stride = pktbuf_stride(room);
    const uint32_t affordable = (uint32_t)min_u64(budget / 4 * 3 / stride, UINT32_MAX);
    const uint32_t spare_min = (uint32_t)min_u64(POOL_SPARE_MIN, POOL_SPARE_MIN_LEN / stride + 1);
    if (affordable < num + spare_min) {
        NET_ERROR(nd, "%u receive buffers of %zu bytes do not fit into %zu KiB; more memory or a "
                      "smaller queue= is needed",
                  (unsigned)(num + spare_min), stride, budget >> 10);
        return ERR_RESOURCE;
    }
    const uint32_t spare = config_is_raw(cfg) ? POOL_SPARE_RAW : POOL_SPARE_MAX;
    return pktbuf_pool_init(&nd->pool, (uint32_t)min_u64(affordable, num + spare), room);
}

static int allocate(struct net_dev *nd, const struct config *cfg, size_t budget) {
    uint16_t rx_num, tx_num;
    int err = queue_size(nd, &nd->rx, cfg->queue, &rx_num);
    if (err == ERR_OK) {
        err = queue_size(nd, &nd->tx, cfg->queue, &tx_num);
    }
    if (err != ERR_OK) {
        return err;
    }
    const size_t before = dma_free_bytes();
    if (queue_allocate(nd, &nd->rx, rx_num) != ERR_OK ||
        queue_allocate(nd, &nd->tx, tx_num) != ERR_OK) {
        NET_ERROR(nd, "no memory for the rings");
        return ERR_RESOURCE;
    }
    indirect_allocate(nd, &nd->tx, budget);
    err = ctrl_allocate(nd);
    if (err != ERR_OK) {
        NET_ERROR(nd, "the control queue cannot be set up");
        return err;
    }
    const size_t used = before - dma_free_bytes();
    return pool_allocate(nd, cfg, budget > used ? budget - used : 0);
}

int net_queue_start(struct net_dev *nd, struct net_queue *queue) {
    const bool indirect = net_has(nd, VIRTIO_F_INDIRECT_DESC) && queue->indirect != NULL;
    const struct vq_setup setup = {
        .layout = net_layout(nd),
        .num = queue->vq.num,
        .event_idx = net_has(nd, VIRTIO_F_EVENT_IDX),
        .memory = queue->memory,
        .slots = queue->slots,
        .indirect = indirect ? queue->indirect : NULL,
        .indirect_addr = dma_addr_of(indirect ? queue->indirect : NULL),
    };
    vq_init(&queue->vq, &setup);
    queue->since_tsc = 0;
    const int err = virtio_dev_queue_enable(&nd->dev, queue->index, &queue->vq, queue->memory,
                                            queue->msix_entry, &queue->doorbell);
    if (err == ERR_DEVICE) {
        NET_ERROR(nd, "queue %u cannot be set up", queue->index);
    }
    return err;
}

static int queues_start(struct net_dev *nd) {
    int err = net_queue_start(nd, &nd->rx);
    if (err == ERR_OK) {
        err = net_queue_start(nd, &nd->tx);
    }
    return err == ERR_OK && net_has(nd, VIRTIO_NET_F_CTRL_VQ) ? net_queue_start(nd, &nd->ctrl.queue)
                                                              : err;
}

/* Without the feature MTU there is no limit but the usual one of Ethernet, 1518 bytes and tags: so long a
 * frame may be that a workload makes. */
static uint32_t tx_len_max(const struct net_dev *nd) {
    const uint32_t len = nd->mtu + (uint32_t)NET_ETH_HDR_LEN;
    if (nd->raw) {
        return net_has(nd, VIRTIO_NET_F_MTU) ? len : len + NET_FCS_LEN;
    }
    return nd->ctrl.vlan != 0 ? len + NET_VLAN_TAG_LEN : len;
}

static uint32_t tx_gso_len_max(const struct net_dev *nd) {
    const bool cuts = net_has(nd, VIRTIO_NET_F_HOST_TSO4) || net_has(nd, VIRTIO_NET_F_HOST_TSO6) ||
                      net_has(nd, VIRTIO_NET_F_HOST_USO);
    return cuts ? NET_TX_GSO_LEN_MAX + (nd->ctrl.vlan != 0 ? NET_VLAN_TAG_LEN : 0) : 0;
}

/* Steps 7 and 8 of 3.1.1: queues, then DRIVER_OK; only then a doorbell may ring. */
int net_start(struct net_dev *nd) {
    uint16_t status;
    int err = net_irq_start(nd);
    if (err == ERR_OK) {
        err = queues_start(nd);
    }
    if (err == ERR_OK) {
        nd->generation = virtio_dev_generation(&nd->dev); /* first: a later change is noticed */
        err = net_read_status(nd, &status);
    }
    if (err == ERR_OK) {
        err = net_read_speed(nd);
    }
    if (err != ERR_OK) {
        return err;
    }
    virtio_dev_add_status(&nd->dev, VIRTIO_STATUS_DRIVER_OK);
    nd->running = true;
    nd->link_up = status & VIRTIO_NET_S_LINK_UP;
    nd->mrg_rxbuf = net_has(nd, VIRTIO_NET_F_MRG_RXBUF);
    nd->tx_len_max = tx_len_max(nd);
    nd->tx_gso_len_max = tx_gso_len_max(nd);
    nd->tx_stalled = 0;
    net_rx_refill(nd);
    return net_ctrl_start(nd);
}

/* No use of the rings from here on. A device that does not finish a reset must not be touched until
 * it does (4.1.4.3.2). */
void net_give_up(struct net_dev *nd, int err) {
    if (err != ERR_TIMEOUT) {
        virtio_dev_add_status(&nd->dev, VIRTIO_STATUS_FAILED);
    }
    nd->rx.vq.broken = nd->tx.vq.broken = true;
    nd->running = nd->link_up = false;
}

/* --- life -------------------------------------------------------------------------------------- */

/* A device that has no room for all MSI-X entries is asked again with fewer (4.1.5.1.2.2). */
static int start_first(struct net_dev *nd) {
    int err = net_start(nd);
    while (err == ERR_RESOURCE) {
        if (!net_irq_fewer(nd)) {
            NET_ERROR(nd, "mode=%s: the device has no interrupt vectors", config_mode_name(nd->mode));
            return ERR_CONFIG;
        }
        err = net_negotiate(nd);
        if (err == ERR_OK) {
            err = net_start(nd);
        }
    }
    return err;
}

int net_bring_up(struct net_dev *nd, const struct config *cfg, size_t budget) {
    nd->rx.index = VIRTIO_NET_QUEUE_RX;
    nd->tx.index = VIRTIO_NET_QUEUE_TX;
    nd->ctrl.queue.index = VIRTIO_NET_QUEUE_CTRL;
    nd->ctrl.queue.msix_entry = VIRTIO_MSI_NO_VECTOR;
    int err = net_negotiate(nd);
    if (err == ERR_OK) {
        err = net_ctrl_config(nd, cfg);
    }
    if (err == ERR_OK) {
        err = allocate(nd, cfg, budget);
    }
    if (err == ERR_OK) {
        err = net_read_mac(nd);
    }
    if (err == ERR_OK) {
        err = net_irq_init(nd, cfg);
    }
    if (err == ERR_OK) {
        err = start_first(nd);
    }
    net_track_outage(nd, clock_ms());
    if (err != ERR_OK) {
        if (nd->running && virtio_dev_reset(&nd->dev) != ERR_OK) { /* it has buffers of ours */
            err = ERR_TIMEOUT;
        }
        net_give_up(nd, err);
        net_irq_stop(nd);
        return err;
    }
    nd->wanted = nd->features; /* what appears later has no memory, and no key that was checked */
    net_print_device(nd, cfg);
    return ERR_OK;
}
