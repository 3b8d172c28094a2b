#include "drivers/virtio_pci.h"

#include "lib/err.h"
#include "lib/log.h"

#include <stdio.h>

enum {
    CAP_BAR_OFF = offsetof(struct virtio_pci_cap, bar),
    CAP_TYPE_OFF = offsetof(struct virtio_pci_cap, cfg_type),
};

/* --- registers --------------------------------------------------------------------------------- */

#define REGION_DEFINE(bits)                                                                        \
    static uint##bits##_t region_read##bits(const struct virtio_pci_region *r, uint32_t off) {     \
        return r->is_io ? io_read##bits((uint16_t)(r->base + off)) : mmio_read##bits(r->base + off); \
    }

REGION_DEFINE(8)
REGION_DEFINE(16)
REGION_DEFINE(32)
#undef REGION_DEFINE

#define REGION_DEFINE(bits)                                                                        \
    static void region_write##bits(const struct virtio_pci_region *r, uint32_t off,                \
                                   uint##bits##_t value) {                                         \
        if (r->is_io) {                                                                            \
            io_write##bits((uint16_t)(r->base + off), value);                                      \
        } else {                                                                                   \
            mmio_write##bits(r->base + off, value);                                                \
        }                                                                                          \
    }

REGION_DEFINE(8)
REGION_DEFINE(16)
REGION_DEFINE(32)
#undef REGION_DEFINE

/* The width of the access is the width of the field (4.1.3.1); a wrong one does not compile. */
#define FIELD_OFF(bits, field)                                                                     \
    ((uint32_t)offsetof(struct virtio_pci_common_cfg, field) +                                     \
     0 * sizeof(char[sizeof(((struct virtio_pci_common_cfg *)0)->field) * 8 == (bits) ? 1 : -1]))
#define COMMON_READ(v, bits, field)                                                                \
    region_read##bits(&(v)->common, (uint32_t)FIELD_OFF(bits, field))
#define COMMON_WRITE(v, bits, field, value)                                                        \
    region_write##bits(&(v)->common, (uint32_t)FIELD_OFF(bits, field), value)

#define FIELD_END(field)                                                                           \
    (offsetof(struct virtio_pci_common_cfg, field) +                                               \
     sizeof(((struct virtio_pci_common_cfg *)0)->field))

/* 64-bit fields go as two 32-bit writes (4.1.3.1). */
#define COMMON_WRITE64(v, field, value)                                                            \
    do {                                                                                           \
        const uint64_t value64 = (value);                                                          \
        region_write32(&(v)->common, (uint32_t)FIELD_OFF(64, field), (uint32_t)value64);           \
        region_write32(&(v)->common, (uint32_t)FIELD_OFF(64, field) + 4,                           \
                       (uint32_t)(value64 >> 32));                                                 \
    } while (0)

/* --- capabilities ------------------------------------------------------------------------------ */

/* The area that a capability describes, if it is one that can be used (4.1.4). */
static bool cap_region(const struct pci_dev *pci, unsigned at, uint32_t need, uint32_t align,
                       struct virtio_pci_region *region) {
    const uint8_t bar_index = pci_read8(pci, at + CAP_BAR_OFF);
    if (bar_index >= PCI_BAR_COUNT) {
        return false; /* reserved, MUST be ignored (4.1.4.1) */
    }
    const struct pci_bar *bar = &pci->bar[bar_index];
    const uint32_t off = pci_read32(pci, at + offsetof(struct virtio_pci_cap, offset));
    const uint32_t len = pci_read32(pci, at + offsetof(struct virtio_pci_cap, length));
    if (bar->addr == 0 || off >= bar->size || off % align != 0) {
        return false;
    }
    /* A length beyond the BAR is no reason to refuse: only `need` bytes are used. */
    const uint64_t usable = min_u64(len, bar->size - off);
    if (usable < need) {
        return false;
    }
    *region = (struct virtio_pci_region){
        .base = bar->addr + off,
        .len = (uint32_t)usable,
        .is_io = bar->is_io,
    };
    return true;
}

/* The first usable capability of each type counts (4.1.4.1). */
static void cap_take(struct virtio_pci *v, unsigned at) {
    static const struct {
        uint8_t len, align; /* at least; 4.1.4.3.1, 4.1.4.4.1, 4.1.4.5.1, 4.1.4.6.1 */
    } needs[] = {
        [VIRTIO_PCI_CAP_COMMON_CFG] = {FIELD_END(queue_device), 4},
        [VIRTIO_PCI_CAP_NOTIFY_CFG] = {2, 2},
        [VIRTIO_PCI_CAP_ISR_CFG] = {1, 1},
        [VIRTIO_PCI_CAP_DEVICE_CFG] = {1, 4},
    };
    struct virtio_pci_region *const regions[] = {
        [VIRTIO_PCI_CAP_COMMON_CFG] = &v->common,
        [VIRTIO_PCI_CAP_NOTIFY_CFG] = &v->notify,
        [VIRTIO_PCI_CAP_ISR_CFG] = &v->isr,
        [VIRTIO_PCI_CAP_DEVICE_CFG] = &v->device,
    };
    const uint8_t len = pci_read8(&v->pci, at + offsetof(struct virtio_pci_cap, cap_len));
    const uint8_t type = pci_read8(&v->pci, at + CAP_TYPE_OFF);
    const bool is_notify = type == VIRTIO_PCI_CAP_NOTIFY_CFG;
    const size_t cap_len =
        is_notify ? sizeof(struct virtio_pci_notify_cap) : sizeof(struct virtio_pci_cap);

    if (type >= ARRAY_SIZE(regions) || regions[type] == NULL || regions[type]->base != 0 ||
        len < cap_len || at + cap_len > PCI_CFG_SIZE) {
        return;
    }
    if (cap_region(&v->pci, at, needs[type].len, needs[type].align, regions[type]) && is_notify) {
        v->notify_multiplier =
            pci_read32(&v->pci, at + offsetof(struct virtio_pci_notify_cap, notify_off_multiplier));
    }
}

int virtio_pci_init(struct virtio_pci *v, const struct pci_dev *pci) {
    bool any = false;
    unsigned at = 0;
    *v = (struct virtio_pci){.dev.transport = &virtio_pci_transport, .pci = *pci};
    snprintf(v->dev.address, sizeof(v->dev.address), "%02x:%02x.%u", pci->bus, pci->dev,
             pci->fn & 7u);
    for (unsigned i = 0; i < PCI_CAP_MAX; i++) {
        at = pci_cap_find(pci, PCI_CAP_ID_VENDOR, at);
        if (at == 0) {
            break;
        }
        any = true;
        cap_take(v, at);
    }
    if (!any) {
        log_error("virtio %s: a legacy-only device, without the capabilities of VIRTIO 1; "
                  "Ringlet drives modern devices (QEMU: disable-modern=off)",
                  v->dev.address);
        return ERR_ABSENT;
    }
    if (v->common.base == 0 || v->notify.base == 0 || v->device.base == 0) {
        log_error("virtio %s: no usable %s capability", v->dev.address,
                  v->common.base == 0   ? "common configuration"
                  : v->notify.base == 0 ? "notification"
                                        : "device configuration");
        return ERR_DEVICE;
    }
    v->dev.config_len = v->device.len;
    const bool uses_io =
        v->common.is_io || v->notify.is_io || v->isr.is_io || v->device.is_io;
    pci_write16(pci, PCI_COMMAND,
                (uint16_t)(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE |
                           (uses_io ? PCI_COMMAND_IO : 0)));
    return ERR_OK;
}

/* --- status and features ----------------------------------------------------------------------- */

static const struct virtio_pci *of(const struct virtio_dev *v) {
    return CONTAINER_OF(v, const struct virtio_pci, dev);
}

static uint8_t virtio_pci_status(const struct virtio_dev *v) {
    return COMMON_READ(of(v), 8, device_status);
}

static void virtio_pci_set_status(struct virtio_dev *v, uint8_t status) {
    COMMON_WRITE(of(v), 8, device_status, status);
}

static uint32_t virtio_pci_offered(struct virtio_dev *v, uint32_t word) {
    COMMON_WRITE(of(v), 32, device_feature_select, word);
    return COMMON_READ(of(v), 32, device_feature);
}

static void virtio_pci_accept(struct virtio_dev *v, uint32_t word, uint32_t bits) {
    COMMON_WRITE(of(v), 32, driver_feature_select, word);
    COMMON_WRITE(of(v), 32, driver_feature, bits);
}

static void virtio_pci_limit(const struct virtio_dev *v, struct virtio_features *features) {
    if (of(v)->common.len < FIELD_END(queue_notif_config_data)) {
        virtio_feature_clear(features, VIRTIO_F_NOTIF_CONFIG_DATA);
    }
    if (of(v)->common.len < FIELD_END(queue_reset)) {
        virtio_feature_clear(features, VIRTIO_F_RING_RESET);
    }
}

/* --- queues and configuration ------------------------------------------------------------------ */

static uint16_t virtio_pci_queue_max(struct virtio_dev *v, uint16_t index) {
    COMMON_WRITE(of(v), 16, queue_select, index);
    return COMMON_READ(of(v), 16, queue_size);
}

/* Needs the queue to be selected. */
static int find_doorbell(const struct virtio_pci *v, uint16_t index, struct virtio_doorbell *doorbell) {
    const bool has_position = virtio_feature_get(&v->dev.accepted, VIRTIO_F_NOTIFICATION_DATA);
    const uint32_t width = has_position ? sizeof(uint32_t) : sizeof(uint16_t);
    const uint64_t off = (uint64_t)COMMON_READ(v, 16, queue_notify_off) * v->notify_multiplier;

    if (off + width > v->notify.len || (v->notify.base + off) % width != 0) {
        return ERR_DEVICE;
    }
    *doorbell = (struct virtio_doorbell){
        .addr = v->notify.base + off,
        .value = virtio_feature_get(&v->dev.accepted, VIRTIO_F_NOTIF_CONFIG_DATA)
                     ? COMMON_READ(v, 16, queue_notif_config_data)
                     : index,
        .position_mask = has_position ? UINT16_MAX : 0,
        .is_io = v->notify.is_io,
        .is_wide = has_position,
    };
    return ERR_OK;
}

static int virtio_pci_queue_enable(struct virtio_dev *dev, uint16_t index, const struct vq *q,
                            const void *memory, uint16_t msix_entry,
                            struct virtio_doorbell *doorbell) {
    const struct virtio_pci *v = of(dev);
    const struct vq_areas areas = vq_areas(q->layout, q->num);
    const uint64_t base = (uintptr_t)memory;

    COMMON_WRITE(v, 16, queue_select, index);
    const int err = find_doorbell(v, index, doorbell);
    if (err != ERR_OK) {
        return err;
    }
    COMMON_WRITE(v, 16, queue_size, q->num);
    COMMON_WRITE64(v, queue_desc, base + areas.desc_off);
    COMMON_WRITE64(v, queue_driver, base + areas.driver_off);
    COMMON_WRITE64(v, queue_device, base + areas.device_off);
    if (msix_entry != VIRTIO_MSI_NO_VECTOR) { /* which is what a reset leaves there */
        COMMON_WRITE(v, 16, queue_msix_vector, msix_entry);
        if (COMMON_READ(v, 16, queue_msix_vector) != msix_entry) {
            return ERR_RESOURCE;
        }
    }
    COMMON_WRITE(v, 16, queue_enable, 1);
    return ERR_OK;
}

static void virtio_pci_queue_reset(struct virtio_dev *v, uint16_t index) {
    COMMON_WRITE(of(v), 16, queue_select, index);
    COMMON_WRITE(of(v), 16, queue_reset, 1);
}

/* Both read 0 when it is over (4.1.4.3.1). */
static int virtio_pci_queue_reset_state(struct virtio_dev *v, uint16_t index) {
    (void)index; /* still selected */
    return COMMON_READ(of(v), 16, queue_reset) != 0 ||
                   COMMON_READ(of(v), 16, queue_enable) != 0
               ? ERR_TIMEOUT
               : ERR_OK;
}

static int virtio_pci_config_vector(struct virtio_dev *v, uint16_t msix_entry) {
    COMMON_WRITE(of(v), 16, config_msix_vector, msix_entry);
    return COMMON_READ(of(v), 16, config_msix_vector) == msix_entry ? ERR_OK : ERR_RESOURCE;
}

/* Reading clears it (4.1.4.5). */
static uint8_t virtio_pci_take_isr(const struct virtio_dev *v) {
    return of(v)->isr.base != 0 ? region_read8(&of(v)->isr, 0) : 0;
}

static uint32_t virtio_pci_generation(const struct virtio_dev *v) {
    return COMMON_READ(of(v), 8, config_generation);
}

static uint32_t virtio_pci_config_read(const struct virtio_dev *v, uint32_t off, unsigned width) {
    const struct virtio_pci_region *device = &of(v)->device;
    return width == 1   ? region_read8(device, off)
           : width == 2 ? region_read16(device, off)
                        : region_read32(device, off);
}

const struct virtio_transport virtio_pci_transport = {
    .name = "pci",
    .status = virtio_pci_status,
    .set_status = virtio_pci_set_status,
    .offered = virtio_pci_offered,
    .accept = virtio_pci_accept,
    .limit = virtio_pci_limit,
    .queue_max = virtio_pci_queue_max,
    .queue_enable = virtio_pci_queue_enable,
    .queue_reset = virtio_pci_queue_reset,
    .queue_reset_state = virtio_pci_queue_reset_state,
    .config_vector = virtio_pci_config_vector,
    .take_isr = virtio_pci_take_isr,
    .generation = virtio_pci_generation,
    .config_read = virtio_pci_config_read,
};
