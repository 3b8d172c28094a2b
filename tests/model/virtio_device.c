#include "tests/model/virtio_device.h"

#include "tests/model/virtio_device_parts.h"

#include <limits.h>
#include <string.h>

enum {
    ACKNOWLEDGE = 1,
    DRIVER = 2,
    DRIVER_OK = 4,
    NEEDS_RESET = 64,
    FAILED = 128,
    F_NET_MAC = 5,
    F_NET_STATUS = 16,
    F_VERSION_1 = 32,
    F_NOTIFICATION_DATA = 38,
    F_NOTIF_CONFIG_DATA = 39,
    CTRL = 2, /* queue */
    COMMON = 1,
    NOTIFY = 2,
    ISR = 3,
    CONFIG = 4,
    ISR_QUEUE = 1,
    ISR_CONFIG = 2,
    PCI_COMMAND = 4,
    PCI_INTX_DISABLE = 1 << 10,
    MSIX_CONTROL = 2,
    MSIX_ENABLE = 1 << 15,
};

bool virtio_device_rule(struct virtio_device *d, bool kept, const char *text) {
    if (!kept && d->violation == NULL) {
        d->violation = text;
    }
    return kept;
}

/* --- doorbells -------------------------------------------------------------------------------- */

/* The queue that a doorbell names, in the way that was negotiated (4.1.5.2.1); NULL: none. */
static struct virtio_device_queue *named_queue(struct virtio_device *d, uint16_t name) {
    const bool chosen = virtio_device_accepted(d, F_NOTIF_CONFIG_DATA);
    for (unsigned i = 0; i < VIRTIO_DEVICE_QUEUES; i++) {
        if (name == (chosen ? d->queue[i].notify_data : i)) {
            return &d->queue[i];
        }
    }
    return NULL;
}

void virtio_device_doorbell(struct virtio_device *d, struct virtio_device_queue *q,
                            uint32_t value) {
    const bool has_position = virtio_device_accepted(d, F_NOTIFICATION_DATA);
    if (!virtio_device_rule(d, q != NULL, "4.1.5.2.1, 4.2.3.3: the doorbell's value") ||
        !virtio_device_rule(d, (d->status & (DRIVER_OK | FAILED)) == DRIVER_OK && q->enabled && !q->resetting,
              "3.1.1: a doorbell while the device or the queue is not live")) {
        return;
    }
    q->doorbells++;
    if (q->ring.setup.num != 0 && has_position && !q->lied) {
        vq_device_check_position(&q->ring, (uint16_t)(value >> 16));
    }
    if (q == &d->queue[CTRL] && !d->ctrl.waits) {
        virtio_device_ctrl_run(d);
    }
}

static void ring_doorbell(struct virtio_device *d, uint64_t off, unsigned width, uint32_t value) {
    const bool has_position = virtio_device_accepted(d, F_NOTIFICATION_DATA);
    struct virtio_device_queue *q = named_queue(d, (uint16_t)value);
    if (virtio_device_rule(d, width == (has_position ? 4 : 2), "4.1.5.2.1: width of a doorbell") &&
        virtio_device_rule(d, q == NULL || off == (uint64_t)q->notify_off * d->notify_multiplier,
                           "4.1.4.4: the doorbell's address")) {
        virtio_device_doorbell(d, q, value);
    }
}

/* --- register areas --------------------------------------------------------------------------- */

/* The area that an address in a BAR belongs to; 0 when to none. */
static unsigned find_area(const struct virtio_device *d, unsigned bar, uint64_t off,
                          unsigned width) {
    for (unsigned type = COMMON; type <= CONFIG; type++) {
        const struct virtio_device_area *a = &d->area[type];
        if (a->bar == bar && off >= a->off && off - a->off + width <= a->len) {
            return type;
        }
    }
    return 0;
}

static bool is_common(struct virtio_device *d, unsigned type, uint32_t at, unsigned width) {
    return type == COMMON &&
           virtio_device_rule(d,
                              at + width <= VIRTIO_DEVICE_COMMON_SIZE &&
                                  width == virtio_device_common_width(at) && at % width == 0,
                              "4.1.3.1: width of an access");
}

/* 4.1.4.5: reading takes the interrupt back. */
static uint32_t read_isr(struct virtio_device *d, unsigned width) {
    const uint8_t isr = d->isr;
    virtio_device_rule(d, width == 1, "4.1.3.1: width of an access");
    virtio_device_rule(d, !virtio_device_msix_on(d),
                       "4.1.4.5.2: the ISR register was read with MSI-X on");
    d->isr = 0;
    d->isr_reads++;
    return isr;
}

static uint32_t device_read(void *context, unsigned bar, uint64_t off, unsigned width) {
    struct virtio_device *d = context;
    const unsigned type = find_area(d, bar, off, width);
    const uint32_t at = (uint32_t)off - d->area[type].off;
    if (d->gone) {
        return UINT32_MAX;
    }
    virtio_device_rule(d, !d->reset_pending || (type == COMMON && virtio_device_is_status(at)),
                       "4.1.4.3.2: an access before the reset was over");
    if (is_common(d, type, at, width)) {
        return virtio_device_read_common(d, at);
    }
    if (type == CONFIG && at + width <= sizeof(d->config)) {
        return virtio_device_read_config(d, at, width);
    }
    if (type == ISR) {
        return read_isr(d, width);
    }
    virtio_device_rule(d, false, "a read outside of the areas");
    return 0;
}

static void device_write(void *context, unsigned bar, uint64_t off, unsigned width,
                         uint32_t value) {
    struct virtio_device *d = context;
    const unsigned type = find_area(d, bar, off, width);
    const uint32_t at = (uint32_t)off - d->area[type].off;
    if (d->gone) {
        return;
    }
    /* Meanwhile the driver may give up or try again, but not start. */
    const bool gives_up =
        type == COMMON && virtio_device_is_status(at) && (value == 0 || (value & FAILED));
    virtio_device_rule(d, !d->reset_pending || gives_up,
                       "4.1.4.3.2: an access before the reset was over");
    if (is_common(d, type, at, width)) {
        virtio_device_write_common(d, at, value);
    } else if (type == NOTIFY) {
        ring_doorbell(d, at, width, value);
    } else {
        virtio_device_rule(d, type != CONFIG, "5.1.4: device configuration is read-only");
        virtio_device_rule(d, false, "a write outside of the areas that can be written");
    }
}

/* --- interrupts ------------------------------------------------------------------------------- */

bool virtio_device_msix_on(const struct virtio_device *d) {
    return d->fn != NULL && d->fn->msix != NULL &&
           (pci_bus_get16(d->fn, d->fn->msix->cap + MSIX_CONTROL) & MSIX_ENABLE);
}

static void interrupt_by_message(struct virtio_device *d, uint16_t vector) {
    uint64_t addr;
    uint32_t data;
    if (vector != VIRTIO_DEVICE_NO_VECTOR && pci_msix_fire(d->fn, vector, &addr, &data) &&
        d->on_interrupt != NULL) {
        d->on_interrupt(d, true, data);
    }
}

void virtio_device_interrupt(struct virtio_device *d, unsigned event) {
    const bool config = event == VIRTIO_DEVICE_CONFIG;
    if (virtio_device_msix_on(d)) {
        interrupt_by_message(d, config ? d->config_vector : d->queue[event].vector);
        return;
    }
    d->isr |= config ? ISR_CONFIG : ISR_QUEUE;
    const bool disabled =
        d->fn != NULL && (pci_bus_get16(d->fn, PCI_COMMAND) & PCI_INTX_DISABLE);
    if (!disabled && d->on_interrupt != NULL) {
        d->on_interrupt(d, false, 0);
    }
}

/* 2.5.1, 4.1.5.4. Before DRIVER_OK there are no notifications (3.1.1). */
static void config_changed(struct virtio_device *d) {
    if (d->status & DRIVER_OK) {
        virtio_device_interrupt(d, VIRTIO_DEVICE_CONFIG);
    }
}

void virtio_device_configure(struct virtio_device *d, uint32_t off, uint8_t value) {
    d->config[off] = value;
    d->generation++;
    config_changed(d);
}

void virtio_device_need_reset(struct virtio_device *d) {
    d->status |= NEEDS_RESET;
    config_changed(d);
}

/* --- lies ------------------------------------------------------------------------------------- */

bool virtio_device_fault(struct virtio_device *d, unsigned queue, enum vq_fault fault) {
    struct virtio_device_queue *q = &d->queue[queue];
    const bool possible = vq_device_fault(&q->ring, fault);
    q->lied = q->lied || possible;
    return possible;
}

void virtio_device_lie(struct virtio_device *d, unsigned queue, uint32_t id, uint32_t len) {
    struct virtio_device_queue *q = &d->queue[queue];
    vq_device_place(&q->ring, id, len);
    vq_device_show(&q->ring);
    q->lied = true;
}

/* --- building --------------------------------------------------------------------------------- */

void virtio_device_offer(struct virtio_device *d, unsigned bit, bool on) {
    d->offered[bit / 32] &= ~(1u << bit % 32);
    d->offered[bit / 32] |= (uint32_t)on << bit % 32;
}

bool virtio_device_accepted(const struct virtio_device *d, unsigned bit) {
    return d->accepted[bit / 32] >> bit % 32 & 1;
}

void virtio_device_init(struct virtio_device *d, uint8_t last) {
    *d = (struct virtio_device){
        .area = {[COMMON] = {VIRTIO_DEVICE_BAR, 0x0000, VIRTIO_DEVICE_COMMON_SIZE},
                 [NOTIFY] = {VIRTIO_DEVICE_BAR, 0x3000, 0x4000},
                 [ISR] = {VIRTIO_DEVICE_BAR, 0x1000, 1},
                 [CONFIG] = {VIRTIO_DEVICE_BAR, 0x2000, 0x40}},
        .notify_multiplier = 4,
        .config = {0x52, 0x54, 0x00, 0x12, 0x34, last, 1},
        .config_vector = VIRTIO_DEVICE_NO_VECTOR,
        .vector_room = UINT_MAX,
        .ctrl.answer_class = CLASS_ANY,
    };
    virtio_device_offer(d, F_VERSION_1, true);
    virtio_device_offer(d, F_NET_MAC, true);
    virtio_device_offer(d, F_NET_STATUS, true);
    for (unsigned i = 0; i < VIRTIO_DEVICE_QUEUES; i++) {
        d->queue[i].max = d->queue[i].size = 256;
        d->queue[i].notify_off = (uint16_t)i;
        d->queue[i].notify_data = (uint16_t)i;
        d->queue[i].vector = VIRTIO_DEVICE_NO_VECTOR;
    }
    /* As another driver may have left it: only a reset leads out of this. */
    d->status = ACKNOWLEDGE | DRIVER | FAILED;
}

void virtio_device_add(struct virtio_device *d, uint8_t dev, uint64_t bar_addr) {
    virtio_device_init(d, dev);
    d->fn = pci_bus_add(NULL, dev, 0, 0x1af4, 0x1041, 0x0200, 0);
    d->fn->read = device_read;
    d->fn->write = device_write;
    d->fn->context = d;
    pci_bus_set_bar(d->fn, VIRTIO_DEVICE_BAR, 4, VIRTIO_DEVICE_BAR_SIZE, bar_addr);
}

void virtio_device_fini(struct virtio_device *d) {
    virtio_device_reset(d);
}

void virtio_device_add_cap(struct virtio_device *d, uint8_t cfg_type) {
    const struct virtio_device_area *a = &d->area[cfg_type];
    uint8_t body[18] = {cfg_type == NOTIFY ? 20 : 16, cfg_type, a->bar};
    memcpy(body + 6, &a->off, 4);
    memcpy(body + 10, &a->len, 4);
    memcpy(body + 14, &d->notify_multiplier, 4);
    pci_bus_add_cap(d->fn, 0x09, body, body[0]);
}

void virtio_device_add_caps(struct virtio_device *d) {
    for (uint8_t type = COMMON; type <= CONFIG; type++) {
        virtio_device_add_cap(d, type);
    }
}

void virtio_device_add_msix(struct virtio_device *d, uint16_t entries) {
    if (d->fn != NULL) {
        pci_msix_add(d->fn, &d->msix, VIRTIO_DEVICE_BAR, VIRTIO_DEVICE_MSIX, entries);
    }
}
