/* Bring-up, service and restart of virtio-net devices (5.1.3 to 5.1.5). The bursts are in
 * net_burst.h. */
#include "drivers/virtio_net.h"

#include "drivers/net_burst.h"
#include "lib/cpu.h"
#include "lib/dma.h"
#include "lib/err.h"
#include "lib/log.h"

#include <string.h>

enum {
    VLAN_TAG_LEN = 4,       /* room for one, whoever sends it */
    POOL_SPARE_MIN = 64,    /* beside the ring's own */
    POOL_SPARE_MAX = 32768,
};

struct net_dev net_devs[NET_DEV_MAX];
unsigned net_dev_count;

static const uint8_t supported[] = {
    VIRTIO_F_VERSION_1,   VIRTIO_F_ACCESS_PLATFORM, VIRTIO_F_RING_PACKED,
    VIRTIO_NET_F_MAC,     VIRTIO_NET_F_STATUS,      VIRTIO_NET_F_MTU,
};

#define NET_ERROR(nd, format, ...)                                                                 \
    log_error("net%u %02x:%02x.%u: " format, (nd)->index, (nd)->pci.pci.bus, (nd)->pci.pci.dev,    \
              (nd)->pci.pci.fn, ##__VA_ARGS__)

/* --- negotiation ------------------------------------------------------------------------------- */

static enum vq_layout layout(const struct net_dev *nd) {
    return virtio_feature_get(&nd->features, VIRTIO_F_RING_PACKED) ? VQ_PACKED : VQ_SPLIT;
}

/* 5.1.6: by what was negotiated; the largest struct first. */
static uint8_t header_len(const struct virtio_features *f) {
    if (virtio_feature_get(f, VIRTIO_NET_F_OUT_NET_HEADER) ||
        virtio_feature_get(f, VIRTIO_NET_F_IPSEC)) {
        return 32;
    }
    if (virtio_feature_get(f, VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO) ||
        virtio_feature_get(f, VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO)) {
        return 24;
    }
    return virtio_feature_get(f, VIRTIO_NET_F_HASH_REPORT) ? 20 : sizeof(struct virtio_net_hdr);
}

static int read_config(struct net_dev *nd, size_t off, unsigned width, unsigned count, void *out) {
    const int err = virtio_pci_config(&nd->pci, (uint32_t)off, width, count, out);
    if (err != ERR_OK) {
        NET_ERROR(nd, "device configuration cannot be read at offset %zu", off);
    }
    return err;
}

/* An MTU that cannot be served is not accepted (5.1.4.2); the default one is used then. */
static int negotiate_mtu(struct net_dev *nd) {
    uint16_t mtu = 0;
    nd->mtu = NET_MTU_DEFAULT;
    if (!virtio_feature_get(&nd->features, VIRTIO_NET_F_MTU)) {
        return ERR_OK;
    }
    const int err = read_config(nd, offsetof(struct virtio_net_config, mtu), 2, 1, &mtu);
    if (err != ERR_OK) {
        return err;
    }
    if (mtu < NET_MTU_MIN || mtu > NET_MTU_MAX) {
        NET_ERROR(nd, "device offers an MTU of %u, not %u to %u; not accepted", mtu, NET_MTU_MIN,
                  NET_MTU_MAX);
        virtio_feature_clear(&nd->features, VIRTIO_NET_F_MTU);
    } else {
        nd->mtu = mtu;
    }
    return ERR_OK;
}

/* Initialisation steps 1 to 6 of 3.1.1. */
static int negotiate(struct net_dev *nd) {
    struct virtio_pci *v = &nd->pci;
    if (virtio_pci_reset(v) != ERR_OK) {
        NET_ERROR(nd, "device does not finish a reset");
        return ERR_TIMEOUT;
    }
    virtio_pci_add_status(v, VIRTIO_STATUS_ACKNOWLEDGE);
    virtio_pci_add_status(v, VIRTIO_STATUS_DRIVER);
    virtio_pci_read_offer(v);
    for (unsigned i = 0; i < VIRTIO_FEATURE_WORDS; i++) {
        nd->features.word[i] = v->offered.word[i] & nd->wanted.word[i];
    }
    if (!virtio_feature_get(&nd->features, VIRTIO_F_VERSION_1)) {
        const bool masked = virtio_feature_get(&v->offered, VIRTIO_F_VERSION_1);
        NET_ERROR(nd, "feature version_1 is %s; Ringlet cannot work without it",
                  masked ? "masked" : "not offered");
        return masked ? ERR_CONFIG : ERR_DEVICE;
    }
    if (nd->need_packed && layout(nd) != VQ_PACKED) {
        NET_ERROR(nd, "ring=packed: feature ring_packed is %s",
                  virtio_feature_get(&v->offered, VIRTIO_F_RING_PACKED)
                      ? "masked"
                      : "not offered by the device (QEMU: packed=on)");
        return ERR_CONFIG;
    }
    const int err = negotiate_mtu(nd);
    if (err != ERR_OK) {
        return err;
    }
    nd->hdr_len = header_len(&nd->features);
    if (virtio_pci_accept(v, &nd->features) != ERR_OK) {
        NET_ERROR(nd, "device refuses the features %08x %08x %08x", nd->features.word[2],
                  nd->features.word[1], nd->features.word[0]);
        return ERR_DEVICE;
    }
    return ERR_OK;
}

/* A locally administered unicast address where the device gives none (5.1.4.2). */
static void random_mac(uint8_t mac[6]) {
    uint64_t seed = cpu_tsc() * 0x9e3779b97f4a7c15ull;
    memcpy(mac, (const uint8_t *)&seed + 2, 6);
    mac[0] = (uint8_t)((mac[0] & 0xfc) | 2);
}

static int read_mac(struct net_dev *nd) {
    if (virtio_feature_get(&nd->features, VIRTIO_NET_F_MAC)) {
        return read_config(nd, offsetof(struct virtio_net_config, mac), 1, 6, nd->mac);
    }
    if (nd->restarts == 0) {
        random_mac(nd->mac);
    }
    return ERR_OK;
}

/* Without the feature the link counts as up (5.1.4.2). */
static int read_link(struct net_dev *nd, bool *up) {
    uint16_t status = VIRTIO_NET_S_LINK_UP;
    int err = ERR_OK;
    if (virtio_feature_get(&nd->features, VIRTIO_NET_F_STATUS)) {
        err = read_config(nd, offsetof(struct virtio_net_config, status), 2, 1, &status);
    }
    *up = status & VIRTIO_NET_S_LINK_UP;
    return err;
}

/* --- queues ------------------------------------------------------------------------------------ */

/* Size of a queue: what the user asked for, else the device's maximum. A split ring needs a power of
 * two, a packed one takes any. */
static int queue_size(struct net_dev *nd, struct net_queue *queue, uint32_t wish, uint16_t *num) {
    const bool packed = layout(nd) == VQ_PACKED;
    queue->num_max = virtio_pci_queue_max(&nd->pci, queue->index);
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
    queue->memory = dma_alloc(vq_areas(layout(nd), num).size, VQ_AREA_ALIGN);
    queue->slots = dma_alloc(sizeof(*queue->slots) * num, VQ_AREA_ALIGN);
    queue->vq.num = num;
    const uint16_t quarter = (uint16_t)(num / 4);
    queue->refill_at = quarter == 0 ? 1 : (uint16_t)min_u64(quarter, NET_REFILL_BATCH);
    return queue->memory != NULL && queue->slots != NULL ? ERR_OK : ERR_RESOURCE;
}

/* Packet buffers: those that fill the ring, and many more for frames that the stack holds while TCP
 * peers do not read. Unused ones cost nothing, so most of `budget`, this device's share of the memory,
 * becomes buffers. */
static int pool_allocate(struct net_dev *nd, size_t budget) {
    const uint32_t num = nd->rx.vq.num;
    const uint32_t room = NET_ETH_HDR_LEN + VLAN_TAG_LEN + nd->mtu;
    const size_t stride = align_up(sizeof(struct pktbuf) + room, PKTBUF_ALIGN);
    const uint32_t affordable = (uint32_t)min_u64(budget / 4 * 3 / stride, UINT32_MAX);
    if (affordable < num + POOL_SPARE_MIN) {
        NET_ERROR(nd, "%u receive buffers of %zu bytes do not fit into %zu KiB; more memory or a "
                      "smaller queue= is needed",
                  (unsigned)(num + POOL_SPARE_MIN), stride, budget >> 10);
        return ERR_RESOURCE;
    }
    return pktbuf_pool_init(&nd->pool, (uint32_t)min_u64(affordable, num + POOL_SPARE_MAX), room);
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
    const size_t used = before - dma_free_bytes();
    return pool_allocate(nd, budget > used ? budget - used : 0);
}

static int queue_start(struct net_dev *nd, struct net_queue *queue) {
    vq_init(&queue->vq, layout(nd), queue->vq.num, false, queue->memory, queue->slots);
    const int err = virtio_pci_queue_enable(&nd->pci, queue->index, &queue->vq, queue->memory,
                                            &queue->doorbell);
    if (err != ERR_OK) {
        NET_ERROR(nd, "queue %u cannot be set up", queue->index);
    }
    return err;
}

/* Steps 7 and 8 of 3.1.1: queues, then DRIVER_OK; only then a doorbell may ring. */
static int start(struct net_dev *nd) {
    int err = queue_start(nd, &nd->rx);
    if (err == ERR_OK) {
        err = queue_start(nd, &nd->tx);
    }
    if (err == ERR_OK) {
        err = read_link(nd, &nd->link_up);
    }
    if (err != ERR_OK) {
        return err;
    }
    virtio_pci_add_status(&nd->pci, VIRTIO_STATUS_DRIVER_OK);
    nd->running = true;
    net_rx_refill(nd);
    return ERR_OK;
}

/* No use of the rings from here on. A device that does not finish a reset must not be touched until
 * it does (4.1.4.3.2). */
static void give_up(struct net_dev *nd, int err) {
    if (err != ERR_TIMEOUT) {
        virtio_pci_add_status(&nd->pci, VIRTIO_STATUS_FAILED);
    }
    nd->rx.vq.broken = nd->tx.vq.broken = true;
    nd->running = nd->link_up = false;
}

/* --- life -------------------------------------------------------------------------------------- */

static int bring_up(struct net_dev *nd, const struct pci_dev *pci, const struct config *cfg,
                    size_t budget) {
    int err = virtio_pci_init(&nd->pci, pci);
    if (err != ERR_OK) {
        return err;
    }
    nd->rx.index = VIRTIO_NET_QUEUE_RX;
    nd->tx.index = VIRTIO_NET_QUEUE_TX;
    err = negotiate(nd);
    if (err == ERR_OK) {
        err = allocate(nd, cfg, budget);
    }
    if (err == ERR_OK) {
        err = read_mac(nd);
    }
    if (err == ERR_OK) {
        err = start(nd);
    }
    if (err != ERR_OK) {
        give_up(nd, err);
        return err;
    }
    net_print_device(nd, cfg);
    return ERR_OK;
}

static bool is_virtio_net(const struct pci_dev *pci) {
    return pci->vendor == VIRTIO_PCI_VENDOR && (pci->device == VIRTIO_PCI_DEVICE_NET_MODERN ||
                                                pci->device == VIRTIO_PCI_DEVICE_NET_TRANSITIONAL);
}

static int wanted_features(const struct config *cfg, struct virtio_features *wanted) {
    struct virtio_features masked;
    char error[160];
    if (virtio_feature_mask(cfg->features, &masked, error, sizeof(error)) != ERR_OK) {
        log_error("config: %s", error);
        return ERR_CONFIG;
    }
    *wanted = (struct virtio_features){0};
    for (unsigned i = 0; i < ARRAY_SIZE(supported); i++) {
        if (!virtio_feature_get(&masked, supported[i])) {
            virtio_feature_set(wanted, supported[i]);
        }
    }
    if (cfg->ring == CONFIG_RING_SPLIT) {
        virtio_feature_clear(wanted, VIRTIO_F_RING_PACKED);
    }
    return ERR_OK;
}

int net_probe(const struct config *cfg) {
    struct virtio_features wanted;
    unsigned left = 0;
    if (wanted_features(cfg, &wanted) != ERR_OK) {
        return ERR_CONFIG;
    }
    for (unsigned i = 0; i < pci_dev_count; i++) {
        left += is_virtio_net(&pci_devs[i]);
    }
    net_dev_count = 0;
    for (unsigned i = 0; i < pci_dev_count && net_dev_count < NET_DEV_MAX; i++) {
        if (!is_virtio_net(&pci_devs[i])) {
            continue;
        }
        struct net_dev *nd = &net_devs[net_dev_count];
        *nd = (struct net_dev){
            .index = net_dev_count,
            .wanted = wanted,
            .need_packed = cfg->ring == CONFIG_RING_PACKED,
        };
        const int err = bring_up(nd, &pci_devs[i], cfg, dma_free_bytes() / left--);
        if (err == ERR_CONFIG || err == ERR_RESOURCE) {
            return err; /* what was asked for cannot be had */
        }
        net_dev_count += err == ERR_OK;
    }
    if (net_dev_count == 0) {
        log_error("net: no virtio-net device that can be driven");
        return ERR_ABSENT;
    }
    return ERR_OK;
}

/* Takes back what the rings hold; the device was reset before, so it owns nothing any more. */
static void drain(struct net_dev *nd, void (*lost)(struct net_dev *nd, void *token)) {
    uint32_t cursor = 0;
    void *token;
    while ((token = vq_drain(&nd->rx.vq, &cursor)) != NULL) {
        pktbuf_put(token);
    }
    cursor = 0;
    while ((token = vq_drain(&nd->tx.vq, &cursor)) != NULL) {
        nd->tx.stats.drop_reset++;
        lost(nd, token);
    }
}

static bool queue_fits(struct net_dev *nd, const struct net_queue *queue) {
    if (virtio_pci_queue_max(&nd->pci, queue->index) < queue->vq.num) {
        NET_ERROR(nd, "queue %u: the device came back with a smaller one", queue->index);
        return false;
    }
    return true;
}

/* After a restart: buffers and rings keep their size and shape, so the device must not want others. */
static int check_unchanged(struct net_dev *nd) {
    if (nd->mtu + (uint32_t)(NET_ETH_HDR_LEN + VLAN_TAG_LEN) > nd->pool.room ||
        layout(nd) != nd->rx.vq.layout) {
        NET_ERROR(nd, "the device came back with another MTU or ring layout");
        return ERR_DEVICE;
    }
    return queue_fits(nd, &nd->rx) && queue_fits(nd, &nd->tx) ? ERR_OK : ERR_DEVICE;
}

static void restart(struct net_dev *nd, void (*lost)(struct net_dev *nd, void *token)) {
    if (nd->running) {
        give_up(nd, ERR_DEVICE);
    }
    nd->restarts++;
    int err = negotiate(nd);
    if (err == ERR_OK) {
        drain(nd, lost);
        err = check_unchanged(nd);
    }
    if (err == ERR_OK) {
        err = read_mac(nd);
    }
    if (err == ERR_OK) {
        err = start(nd);
    }
    if (err != ERR_OK) {
        give_up(nd, err);
        return;
    }
    log_info("net%u: device was reset and is running again (restart %u)", nd->index,
             (unsigned)nd->restarts);
}

bool net_service(struct net_dev *nd, void (*lost)(struct net_dev *nd, void *token)) {
    bool up = nd->link_up;
    if (!nd->running || nd->rx.vq.broken || nd->tx.vq.broken ||
        (virtio_pci_status(&nd->pci) & VIRTIO_STATUS_NEEDS_RESET)) {
        restart(nd, lost);
        return true;
    }
    if (read_link(nd, &up) != ERR_OK || up == nd->link_up) {
        return false;
    }
    nd->link_up = up;
    log_info("net%u: link %s", nd->index, up ? "up" : "down");
    return true;
}

void net_stop_all(void) {
    for (unsigned i = 0; i < net_dev_count; i++) {
        virtio_pci_reset(&net_devs[i].pci);
        net_devs[i].running = false;
    }
}
