/* Finds the virtio-net devices of the machine, on PCI and on MMIO, and brings up each. */
#include "drivers/net_parts.h"
#include "drivers/virtio_mmio_find.h"
#include "lib/dma.h"
#include "lib/err.h"

struct net_dev net_devs[NET_DEV_MAX];
unsigned net_dev_count;

/* A place where a device was found: one of the two. */
struct place {
    const struct pci_dev *pci;
    const struct virtio_mmio_slot *slot;
};

enum { PLACES_MAX = PCI_DEV_MAX + VIRTIO_MMIO_SLOT_MAX };

static bool is_virtio_net(const struct pci_dev *pci) {
    return pci->vendor == VIRTIO_PCI_VENDOR && (pci->device == VIRTIO_PCI_DEVICE_NET_MODERN ||
                                                pci->device == VIRTIO_PCI_DEVICE_NET_TRANSITIONAL);
}

static unsigned find_places(struct place places[PLACES_MAX]) {
    unsigned count = 0;
    for (unsigned i = 0; i < pci_dev_count; i++) {
        if (is_virtio_net(&pci_devs[i])) {
            places[count++] = (struct place){.pci = &pci_devs[i]};
        }
    }
    for (unsigned i = 0; i < virtio_mmio_slot_count; i++) {
        if (virtio_mmio_holds_net(&virtio_mmio_slots[i])) {
            places[count++] = (struct place){.slot = &virtio_mmio_slots[i]};
        }
    }
    return count;
}

/* One address for each device at most. */
static int check_macs(const struct config *cfg, unsigned count) {
    unsigned entries = cfg->mac[0] != '\0';
    for (const char *c = cfg->mac; *c != '\0'; c++) {
        entries += *c == ',';
    }
    if (entries > count) {
        log_error("config: mac=: %u addresses for %u network devices", entries, count);
        return ERR_CONFIG;
    }
    return ERR_OK;
}

static int open_device(struct net_dev *nd, const struct place *place, const struct config *cfg,
                       size_t budget) {
    if (place->slot != NULL) {
        virtio_mmio_init(&nd->mmio, place->slot);
    } else {
        const int err = virtio_pci_init(&nd->pci, place->pci);
        if (err != ERR_OK) {
            return err;
        }
    }
    return net_bring_up(nd, cfg, budget);
}

int net_probe(const struct config *cfg) {
    static struct place places[PLACES_MAX];
    struct virtio_features wanted, kept;
    if (net_features_wanted(cfg, &wanted, &kept) != ERR_OK) {
        return ERR_CONFIG;
    }
    const unsigned count = find_places(places);
    if (count > 0 && check_macs(cfg, count) != ERR_OK) {
        return ERR_CONFIG;
    }
    net_dev_count = 0;
    for (unsigned i = 0; i < count && net_dev_count < NET_DEV_MAX; i++) {
        struct net_dev *nd = &net_devs[net_dev_count];
        *nd = (struct net_dev){
            .index = net_dev_count,
            .wanted = wanted,
            .need_packed = cfg->ring == CONFIG_RING_PACKED,
            .raw = config_is_raw(cfg),
            .leave_event_idx = config_is_raw(cfg) && cfg->mode == CONFIG_MODE_POLL &&
                               !virtio_feature_get(&kept, VIRTIO_F_EVENT_IDX),
            .ctrl.promiscuous = config_is_raw(cfg),
            .mode = cfg->mode,
        };
        const int err = open_device(nd, &places[i], cfg, dma_free_bytes() / (count - i));
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

void net_stop_all(void) {
    for (unsigned i = 0; i < net_dev_count; i++) {
        virtio_dev_reset(&net_devs[i].dev);
        net_devs[i].running = false;
    }
}
