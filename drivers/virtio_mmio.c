#include "drivers/virtio_mmio.h"

#include "lib/err.h"
#include "lib/log.h"

#include <stdio.h>

/* All registers are 32 bits wide (4.2.2.2). */
static uint32_t read_register(const struct virtio_dev *v, enum virtio_mmio_register reg) {
    return mmio_read32(CONTAINER_OF(v, const struct virtio_mmio, dev)->slot.base + reg);
}

static void write_register(const struct virtio_dev *v, enum virtio_mmio_register reg,
                           uint32_t value) {
    mmio_write32(CONTAINER_OF(v, const struct virtio_mmio, dev)->slot.base + reg, value);
}

/* --- discovery --------------------------------------------------------------------------------- */

bool virtio_mmio_holds_net(const struct virtio_mmio_slot *slot) {
    const uint32_t magic = mmio_read32(slot->base + VIRTIO_MMIO_MAGIC_VALUE);
    if (magic != VIRTIO_MMIO_MAGIC) {
        log_error("virtio 0x%lx: no virtio device: the magic value is %08x",
                  (unsigned long)slot->base, (unsigned)magic);
        return false;
    }
    const uint32_t version = mmio_read32(slot->base + VIRTIO_MMIO_VERSION);
    if (version != VIRTIO_MMIO_VERSION_MODERN && version != VIRTIO_MMIO_VERSION_LEGACY) {
        log_error("virtio 0x%lx: version %u of the register layout is not known",
                  (unsigned long)slot->base, (unsigned)version);
        return false;
    }
    /* Also of a legacy slot, so that a machine full of empty ones is not a list of errors. */
    const bool is_net = mmio_read32(slot->base + VIRTIO_MMIO_DEVICE_ID) == VIRTIO_DEVICE_ID_NET;
    if (is_net && version == VIRTIO_MMIO_VERSION_LEGACY) {
        log_error("virtio 0x%lx: a legacy device; Ringlet drives modern devices (QEMU: -global "
                  "virtio-mmio.force-legacy=false)", (unsigned long)slot->base);
        return false;
    }
    return is_net;
}

void virtio_mmio_init(struct virtio_mmio *v, const struct virtio_mmio_slot *slot) {
    *v = (struct virtio_mmio){
        .dev.transport = &virtio_mmio_transport,
        .dev.config_len = slot->size - VIRTIO_MMIO_CONFIG,
        .slot = *slot,
    };
    snprintf(v->dev.address, sizeof(v->dev.address), "0x%x", (unsigned)slot->base);
}

/* --- status and features ----------------------------------------------------------------------- */

static uint8_t virtio_mmio_status(const struct virtio_dev *v) {
    return (uint8_t)read_register(v, VIRTIO_MMIO_STATUS);
}

static void virtio_mmio_set_status(struct virtio_dev *v, uint8_t status) {
    write_register(v, VIRTIO_MMIO_STATUS, status);
}

static uint32_t virtio_mmio_offered(struct virtio_dev *v, uint32_t word) {
    write_register(v, VIRTIO_MMIO_DEVICE_FEATURES_SEL, word);
    return read_register(v, VIRTIO_MMIO_DEVICE_FEATURES);
}

/* After a reset nothing is accepted, so a word of zeros need not be written. It must not be, either:
 * QEMU (7.2) takes each word above the first for the second. */
static void virtio_mmio_accept(struct virtio_dev *v, uint32_t word, uint32_t bits) {
    if (bits != 0) {
        write_register(v, VIRTIO_MMIO_DRIVER_FEATURES_SEL, word);
        write_register(v, VIRTIO_MMIO_DRIVER_FEATURES, bits);
    }
}

/* There is no register from which NOTIF_CONFIG_DATA could be read. Bits above 63 cannot be told from a
 * device that shows the second word again in place of the third. */
static void virtio_mmio_limit(const struct virtio_dev *v, struct virtio_features *features) {
    virtio_feature_clear(features, VIRTIO_F_NOTIF_CONFIG_DATA);
    if (v->offered.word[2] == v->offered.word[1]) {
        features->word[2] = 0;
    }
}

/* --- queues ------------------------------------------------------------------------------------ */

static uint16_t virtio_mmio_queue_max(struct virtio_dev *v, uint16_t index) {
    write_register(v, VIRTIO_MMIO_QUEUE_SEL, index);
    const uint32_t max = read_register(v, VIRTIO_MMIO_QUEUE_SIZE_MAX);
    return (uint16_t)min_u64(max, UINT16_MAX); /* above what any queue may have */
}

static void write_address(struct virtio_dev *v, enum virtio_mmio_register reg, uint64_t addr) {
    write_register(v, reg, (uint32_t)addr);
    write_register(v, reg + 4, (uint32_t)(addr >> 32));
}

/* 4.2.3.2 */
static int virtio_mmio_queue_enable(struct virtio_dev *v, uint16_t index, const struct vq *q,
                                    const void *memory, uint16_t msix_entry,
                                    struct virtio_doorbell *doorbell) {
    const struct vq_areas areas = vq_areas(q->layout, q->num);
    const uint64_t base = (uintptr_t)memory;

    (void)msix_entry; /* there are none here */
    write_register(v, VIRTIO_MMIO_QUEUE_SEL, index);
    if (read_register(v, VIRTIO_MMIO_QUEUE_READY) != 0) {
        return ERR_DEVICE;
    }
    write_register(v, VIRTIO_MMIO_QUEUE_SIZE, q->num);
    write_address(v, VIRTIO_MMIO_QUEUE_DESC, base + areas.desc_off);
    write_address(v, VIRTIO_MMIO_QUEUE_DRIVER, base + areas.driver_off);
    write_address(v, VIRTIO_MMIO_QUEUE_DEVICE, base + areas.device_off);
    write_register(v, VIRTIO_MMIO_QUEUE_READY, 1);
    const bool has_position = virtio_feature_get(&v->accepted, VIRTIO_F_NOTIFICATION_DATA);
    *doorbell = (struct virtio_doorbell){
        .addr = CONTAINER_OF(v, struct virtio_mmio, dev)->slot.base + VIRTIO_MMIO_QUEUE_NOTIFY,
        .value = index,
        .position_mask = has_position ? UINT16_MAX : 0,
        .is_wide = true,
    };
    return ERR_OK;
}

static void virtio_mmio_queue_reset(struct virtio_dev *v, uint16_t index) {
    write_register(v, VIRTIO_MMIO_QUEUE_SEL, index);
    write_register(v, VIRTIO_MMIO_QUEUE_RESET, 1);
}

/* QueueReset reads 1 as long as it goes on, and both read 0 when it is over (4.2.2.1). A queue that is
 * ready without a reset under way was not reset: QEMU (7.2) offers RING_RESET here and lacks the
 * register. */
static int virtio_mmio_queue_reset_state(struct virtio_dev *v, uint16_t index) {
    (void)index; /* still selected */
    if (read_register(v, VIRTIO_MMIO_QUEUE_RESET) != 0) {
        return ERR_TIMEOUT;
    }
    return read_register(v, VIRTIO_MMIO_QUEUE_READY) == 0 ? ERR_OK : ERR_DEVICE;
}

/* --- interrupts and configuration -------------------------------------------------------------- */

static int virtio_mmio_config_vector(struct virtio_dev *v, uint16_t msix_entry) {
    (void)v;
    return msix_entry == VIRTIO_MSI_NO_VECTOR ? ERR_OK : ERR_RESOURCE;
}

/* The line stays asserted until the events are acknowledged. What comes after the read and is
 * acknowledged with it, is found all the same: the rings are looked at before each sleep. */
static uint8_t virtio_mmio_take_isr(const struct virtio_dev *v) {
    const uint32_t isr =
        read_register(v, VIRTIO_MMIO_INTERRUPT_STATUS) & (VIRTIO_ISR_QUEUE | VIRTIO_ISR_CONFIG);
    if (isr != 0) {
        write_register(v, VIRTIO_MMIO_INTERRUPT_ACK, isr);
    }
    return (uint8_t)isr;
}

static uint32_t virtio_mmio_generation(const struct virtio_dev *v) {
    return read_register(v, VIRTIO_MMIO_CONFIG_GENERATION);
}

/* In the width of the field (4.2.2.2). */
static uint32_t virtio_mmio_config_read(const struct virtio_dev *v, uint32_t off, unsigned width) {
    const uintptr_t addr =
        CONTAINER_OF(v, const struct virtio_mmio, dev)->slot.base + VIRTIO_MMIO_CONFIG + off;
    return width == 1 ? mmio_read8(addr) : width == 2 ? mmio_read16(addr) : mmio_read32(addr);
}

const struct virtio_transport virtio_mmio_transport = {
    .name = "mmio",
    .status = virtio_mmio_status,
    .set_status = virtio_mmio_set_status,
    .offered = virtio_mmio_offered,
    .accept = virtio_mmio_accept,
    .limit = virtio_mmio_limit,
    .queue_max = virtio_mmio_queue_max,
    .queue_enable = virtio_mmio_queue_enable,
    .queue_reset = virtio_mmio_queue_reset,
    .queue_reset_state = virtio_mmio_queue_reset_state,
    .config_vector = virtio_mmio_config_vector,
    .take_isr = virtio_mmio_take_isr,
    .generation = virtio_mmio_generation,
    .config_read = virtio_mmio_config_read,
};
