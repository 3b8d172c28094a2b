#include "drivers/virtio_pci.h"

#include "drivers/clock.h"
#include "lib/cpu.h"
#include "lib/err.h"
#include "lib/log.h"

#include <string.h>

enum {
    RESET_TIMEOUT_MS = 1000,
    GENERATION_TRIES = 16,
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
    *v = (struct virtio_pci){.pci = *pci};
    for (unsigned i = 0; i < PCI_CAP_MAX; i++) {
        at = pci_cap_find(pci, PCI_CAP_ID_VENDOR, at);
        if (at == 0) {
            break;
        }
        any = true;
        cap_take(v, at);
    }
    if (!any) {
        log_error("virtio %02x:%02x.%u: a legacy-only device, without the capabilities of VIRTIO 1; "
                  "Ringlet drives modern devices (QEMU: disable-modern=off)",
                  pci->bus, pci->dev, pci->fn);
        return ERR_ABSENT;
    }
    if (v->common.base == 0 || v->notify.base == 0 || v->device.base == 0) {
        log_error("virtio %02x:%02x.%u: no usable %s capability", pci->bus, pci->dev, pci->fn,
                  v->common.base == 0   ? "common configuration"
                  : v->notify.base == 0 ? "notification"
                                        : "device configuration");
        return ERR_DEVICE;
    }
    const bool uses_io =
        v->common.is_io || v->notify.is_io || v->isr.is_io || v->device.is_io;
    pci_write16(pci, PCI_COMMAND,
                (uint16_t)(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE |
                           (uses_io ? PCI_COMMAND_IO : 0)));
    return ERR_OK;
}

/* --- status and features ----------------------------------------------------------------------- */

uint8_t virtio_pci_status(const struct virtio_pci *v) {
    return COMMON_READ(v, 8, device_status);
}

void virtio_pci_add_status(struct virtio_pci *v, uint8_t bit) {
    COMMON_WRITE(v, 8, device_status, (uint8_t)(virtio_pci_status(v) | bit));
}

int virtio_pci_reset(struct virtio_pci *v) {
    COMMON_WRITE(v, 8, device_status, 0);
    const uint64_t end = clock_ms() + RESET_TIMEOUT_MS;
    while (virtio_pci_status(v) != 0) {
        if (clock_ms() > end) {
            return ERR_TIMEOUT;
        }
        cpu_relax();
    }
    return ERR_OK;
}

void virtio_pci_read_offer(struct virtio_pci *v) {
    for (uint32_t word = 0; word < VIRTIO_FEATURE_WORDS; word++) {
        COMMON_WRITE(v, 32, device_feature_select, word);
        v->offered.word[word] = COMMON_READ(v, 32, device_feature);
    }
}

void virtio_pci_limit(const struct virtio_pci *v, struct virtio_features *features) {
    if (v->common.len < FIELD_END(queue_notif_config_data)) {
        virtio_feature_clear(features, VIRTIO_F_NOTIF_CONFIG_DATA);
    }
    if (v->common.len < FIELD_END(queue_reset)) {
        virtio_feature_clear(features, VIRTIO_F_RING_RESET);
    }
}

int virtio_pci_accept(struct virtio_pci *v, const struct virtio_features *accepted) {
    v->accepted = *accepted;
    for (uint32_t word = 0; word < VIRTIO_FEATURE_WORDS; word++) {
        COMMON_WRITE(v, 32, driver_feature_select, word);
        COMMON_WRITE(v, 32, driver_feature, accepted->word[word]);
    }
    virtio_pci_add_status(v, VIRTIO_STATUS_FEATURES_OK);
    return virtio_pci_status(v) & VIRTIO_STATUS_FEATURES_OK ? ERR_OK : ERR_DEVICE;
}

/* --- queues and configuration ------------------------------------------------------------------ */

uint16_t virtio_pci_queue_max(struct virtio_pci *v, uint16_t index) {
    COMMON_WRITE(v, 16, queue_select, index);
    return COMMON_READ(v, 16, queue_size);
}

/* Needs the queue to be selected. */
static int find_doorbell(struct virtio_pci *v, uint16_t index, struct virtio_pci_doorbell *doorbell) {
    const bool has_position = virtio_feature_get(&v->accepted, VIRTIO_F_NOTIFICATION_DATA);
    const uint32_t width = has_position ? sizeof(uint32_t) : sizeof(uint16_t);
    const uint64_t off = (uint64_t)COMMON_READ(v, 16, queue_notify_off) * v->notify_multiplier;

    if (off + width > v->notify.len || (v->notify.base + off) % width != 0) {
        return ERR_DEVICE;
    }
    *doorbell = (struct virtio_pci_doorbell){
        .addr = v->notify.base + off,
        .value = virtio_feature_get(&v->accepted, VIRTIO_F_NOTIF_CONFIG_DATA)
                     ? COMMON_READ(v, 16, queue_notif_config_data)
                     : index,
        .is_io = v->notify.is_io,
        .has_position = has_position,
    };
    return ERR_OK;
}

int virtio_pci_queue_enable(struct virtio_pci *v, uint16_t index, const struct vq *q,
                            const void *memory, uint16_t msix_entry,
                            struct virtio_pci_doorbell *doorbell) {
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

int virtio_pci_queue_reset(struct virtio_pci *v, uint16_t index) {
    COMMON_WRITE(v, 16, queue_select, index);
    COMMON_WRITE(v, 16, queue_reset, 1);
    const uint64_t end = clock_ms() + RESET_TIMEOUT_MS;
    while (COMMON_READ(v, 16, queue_reset) != 0 || COMMON_READ(v, 16, queue_enable) != 0) {
        if (clock_ms() > end) {
            return ERR_TIMEOUT;
        }
        cpu_relax();
    }
    return ERR_OK;
}

int virtio_pci_config_vector(struct virtio_pci *v, uint16_t msix_entry) {
    COMMON_WRITE(v, 16, config_msix_vector, msix_entry);
    return COMMON_READ(v, 16, config_msix_vector) == msix_entry ? ERR_OK : ERR_RESOURCE;
}

uint8_t virtio_pci_isr(const struct virtio_pci *v) {
    return v->isr.base != 0 ? region_read8(&v->isr, 0) : 0;
}

static void config_copy(const struct virtio_pci *v, uint32_t off, unsigned width, unsigned count,
                        uint8_t *out) {
    for (unsigned i = 0; i < count; i++, off += width, out += width) {
        uint32_t value = width == 1   ? region_read8(&v->device, off)
                         : width == 2 ? region_read16(&v->device, off)
                                      : region_read32(&v->device, off);
        memcpy(out, &value, width);
    }
}

uint8_t virtio_pci_generation(const struct virtio_pci *v) {
    return COMMON_READ(v, 8, config_generation);
}

int virtio_pci_config(struct virtio_pci *v, uint32_t off, unsigned width, unsigned count,
                      void *out) {
    if (off + width * count > v->device.len) {
        return ERR_DEVICE;
    }
    uint8_t before = COMMON_READ(v, 8, config_generation);
    for (unsigned i = 0; i < GENERATION_TRIES; i++) {
        config_copy(v, off, width, count, out);
        const uint8_t after = COMMON_READ(v, 8, config_generation);
        if (after == before) {
            return ERR_OK;
        }
        before = after;
    }
    return ERR_DEVICE;
}
