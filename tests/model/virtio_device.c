#include "tests/model/virtio_device.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

enum {
    ACKNOWLEDGE = 1,
    DRIVER = 2,
    DRIVER_OK = 4,
    FEATURES_OK = 8,
    NEEDS_RESET = 64,
    FAILED = 128,
    F_NET_MTU = 3,
    F_NET_SPEED_DUPLEX = 63,
    F_NET_MAC = 5,
    F_NET_STATUS = 16,
    F_EVENT_IDX = 29,
    F_VERSION_1 = 32,
};

/* Offsets in the common configuration structure (4.1.4.3). */
enum {
    DEVICE_FEATURE_SELECT = 0,
    DEVICE_FEATURE = 4,
    DRIVER_FEATURE_SELECT = 8,
    DRIVER_FEATURE = 12,
    CONFIG_MSIX_VECTOR = 16,
    NUM_QUEUES = 18,
    DEVICE_STATUS = 20,
    CONFIG_GENERATION = 21,
    QUEUE_SELECT = 22,
    QUEUE_SIZE = 24,
    QUEUE_MSIX_VECTOR = 26,
    QUEUE_ENABLE = 28,
    QUEUE_NOTIFY_OFF = 30,
    QUEUE_DESC = 32,
    COMMON_END = 56,
};

static bool rule(struct virtio_device *d, bool kept, const char *text) {
    if (!kept && d->violation == NULL) {
        d->violation = text;
    }
    return kept;
}

/* --- queues ----------------------------------------------------------------------------------- */

void virtio_device_reset(struct virtio_device *d) {
    d->status = 0;
    memset(d->accepted, 0, sizeof(d->accepted));
    d->device_select = d->driver_select = d->queue_select = 0;
    for (unsigned i = 0; i < VIRTIO_DEVICE_QUEUES; i++) {
        struct virtio_device_queue *q = &d->queue[i];
        if (q->enabled) {
            rule(d, q->ring.violation == NULL, q->ring.violation);
            vq_device_fini(&q->ring);
        }
        q->enabled = false;
        q->size = q->max;
        q->halves_written = 0;
    }
}

static struct virtio_device_queue *selected(struct virtio_device *d) {
    static struct virtio_device_queue absent;
    return d->queue_select < VIRTIO_DEVICE_QUEUES ? &d->queue[d->queue_select] : &absent;
}

static void *queue_area(const struct virtio_device_queue *q, unsigned which) {
    return (void *)(uintptr_t)(q->half[2 * which] | (uint64_t)q->half[2 * which + 1] << 32);
}

static void enable_queue(struct virtio_device *d, struct virtio_device_queue *q, uint32_t value) {
    if (!rule(d, value == 1, "4.1.4.3.2: only 1 is written to queue_enable") ||
        !rule(d, q->halves_written == 0x3f, "4.1.4.3.2: enabled before all addresses were given")) {
        return;
    }
    q->enabled = true;
    if (d->arena != NULL) {
        vq_device_init(&q->ring, &(struct vq_device_setup){
                                     .num = q->size,
                                     .event_idx = virtio_device_accepted(d, F_EVENT_IDX),
                                     .desc = queue_area(q, 0),
                                     .driver = queue_area(q, 1),
                                     .device = queue_area(q, 2),
                                     .arena = d->arena,
                                     .arena_size = d->arena_size,
                                 });
    }
}

static void write_queue(struct virtio_device *d, uint32_t off, uint32_t value) {
    struct virtio_device_queue *q = selected(d);
    rule(d, (d->status & (FEATURES_OK | DRIVER_OK | FAILED)) == FEATURES_OK,
         "3.1.1: queues are set up between FEATURES_OK and DRIVER_OK");
    rule(d, !q->enabled, "4.1.4.3.2: a queue was changed after it was enabled");
    rule(d, q->size != 0, "4.1.4.3: a queue that does not exist was written to");
    if (off == QUEUE_SIZE) {
        rule(d, value != 0 && (value & (value - 1)) == 0, "4.1.4.3.2: size not a power of two");
        rule(d, value <= q->max, "4.1.4.3: size above the device's maximum");
        q->size = (uint16_t)value;
    } else if (off == QUEUE_ENABLE) {
        enable_queue(d, q, value);
    } else if (off >= QUEUE_DESC) {
        q->half[(off - QUEUE_DESC) / 4] = value;
        q->halves_written |= (uint8_t)(1u << (off - QUEUE_DESC) / 4);
    }
}

/* --- common configuration --------------------------------------------------------------------- */

static void write_status(struct virtio_device *d, uint8_t value) {
    const uint8_t kept = d->status & (uint8_t)~NEEDS_RESET;
    if (d->status_count < VIRTIO_DEVICE_LOG) {
        d->status_log[d->status_count] = value;
    }
    d->status_count++;
    if (value == 0) {
        virtio_device_reset(d);
        d->reset_pending = true;
        return;
    }
    rule(d, (value & kept) == kept, "2.1.1: a status bit was cleared without a reset");
    rule(d, !(d->status & FAILED) || value == d->status, "2.1.1: after FAILED only a reset");
    rule(d, !(value & DRIVER_OK) || (d->status & FEATURES_OK), "3.1.1: DRIVER_OK too early");
    value = (uint8_t)((value & ~NEEDS_RESET) | (d->status & NEEDS_RESET));
    if ((value & FEATURES_OK) && !(d->status & FEATURES_OK)) {
        for (unsigned i = 0; i < 3; i++) {
            rule(d, !(d->accepted[i] & ~d->offered[i]), "2.2.1: accepted but not offered");
        }
        rule(d, !(d->offered[1] & 1) || (d->accepted[1] & 1), "6.1: VERSION_1 is to be accepted");
        value &= (uint8_t)(d->refuse_features ? ~FEATURES_OK : 0xff);
    }
    d->status = value;
}

static uint32_t read_status(struct virtio_device *d) {
    if (d->reset_pending && d->reset_reads > 0) {
        d->reset_reads -= d->reset_reads != UINT_MAX;
        return ACKNOWLEDGE | DRIVER;
    }
    d->reset_pending = false;
    return d->status;
}

static unsigned common_width(uint32_t off) {
    return off < CONFIG_MSIX_VECTOR                           ? 4
           : off == DEVICE_STATUS || off == CONFIG_GENERATION ? 1
           : off < QUEUE_DESC                                 ? 2
                                                              : 4;
}

static uint32_t read_common(struct virtio_device *d, uint32_t off) {
    const struct virtio_device_queue *q = selected(d);
    switch (off) {
    case DEVICE_FEATURE_SELECT:
        return d->device_select;
    case DEVICE_FEATURE:
        return d->device_select < 3 ? d->offered[d->device_select] : 0;
    case DRIVER_FEATURE_SELECT:
        return d->driver_select;
    case DRIVER_FEATURE:
        return d->driver_select < 3 ? d->accepted[d->driver_select] : 0;
    case NUM_QUEUES:
        return VIRTIO_DEVICE_QUEUES;
    case DEVICE_STATUS:
        return read_status(d);
    case CONFIG_GENERATION:
        return d->generation;
    case QUEUE_SELECT:
        return d->queue_select;
    case QUEUE_SIZE:
        return q->size;
    case QUEUE_ENABLE:
        return q->enabled;
    case QUEUE_NOTIFY_OFF:
        return q->notify_off;
    default:
        return off >= QUEUE_DESC ? q->half[(off - QUEUE_DESC) / 4] : 0xffff;
    }
}

static void write_common(struct virtio_device *d, uint32_t off, uint32_t value) {
    switch (off) {
    case DEVICE_FEATURE_SELECT:
        d->device_select = value;
        break;
    case DRIVER_FEATURE_SELECT:
        d->driver_select = value;
        break;
    case DRIVER_FEATURE:
        rule(d, (d->status & (DRIVER | FEATURES_OK | FAILED)) == DRIVER,
             "3.1.1: features are accepted between DRIVER and FEATURES_OK");
        rule(d, d->driver_select < 3 || value == 0, "6: feature bits above 95");
        if (d->driver_select < 3) {
            d->accepted[d->driver_select] = value;
        }
        break;
    case DEVICE_STATUS:
        write_status(d, (uint8_t)value);
        break;
    case QUEUE_SELECT:
        d->queue_select = (uint16_t)value;
        break;
    case DEVICE_FEATURE:
    case NUM_QUEUES:
    case CONFIG_GENERATION:
    case QUEUE_NOTIFY_OFF:
        rule(d, false, "4.1.4.3.2: a read-only field was written");
        break;
    case CONFIG_MSIX_VECTOR:
        break;
    default:
        write_queue(d, off, value);
    }
}

/* --- the other areas -------------------------------------------------------------------------- */

static void ring_doorbell(struct virtio_device *d, uint64_t off, unsigned width, uint32_t value) {
    if (!rule(d, value < VIRTIO_DEVICE_QUEUES && width == 2, "4.1.5.2: the doorbell's value") ||
        !rule(d, off == (uint64_t)d->queue[value].notify_off * d->notify_multiplier,
              "4.1.4.4: the doorbell's address")) {
        return;
    }
    rule(d, (d->status & (DRIVER_OK | FAILED)) == DRIVER_OK && d->queue[value].enabled,
         "3.1.1: a doorbell while the device is not live");
    d->queue[value].doorbells++;
}

/* The fields of 5.1.4 that depend on a feature, and their widths (4.1.3.1). */
static uint32_t read_config(struct virtio_device *d, uint32_t off, unsigned width) {
    const bool mac = d->offered[0] >> F_NET_MAC & 1;
    const bool status = d->offered[0] >> F_NET_STATUS & 1;
    const bool mtu = d->offered[0] >> F_NET_MTU & 1;
    const bool speed = d->offered[1] >> (F_NET_SPEED_DUPLEX - 32) & 1;
    uint32_t value = 0;
    rule(d, (off < 6 && mac) || (off == 6 && status) || (off == 10 && mtu) ||
                ((off == 12 || off == 16) && speed),
         "2.5.1: a field was read whose feature was not offered");
    rule(d, width == (off < 6 || off == 16 ? 1 : off == 12 ? 4 : 2),
         "4.1.3.1: width of an access");
    if (d->on_config_read != NULL) {
        d->on_config_read(d, off);
    }
    for (unsigned i = 0; i < width; i++) {
        value |= (uint32_t)d->config[off + i] << 8 * i;
    }
    return value;
}

/* The area that an address in a BAR belongs to; 0 when to none. */
static unsigned find_area(const struct virtio_device *d, unsigned bar, uint64_t off,
                          unsigned width) {
    for (unsigned type = 1; type < 5; type++) {
        const struct virtio_device_area *a = &d->area[type];
        if (a->bar == bar && off >= a->off && off - a->off + width <= a->len) {
            return type;
        }
    }
    return 0;
}

static uint32_t device_read(void *context, unsigned bar, uint64_t off, unsigned width) {
    struct virtio_device *d = context;
    const unsigned type = find_area(d, bar, off, width);
    const uint32_t at = (uint32_t)off - d->area[type].off;
    rule(d, !d->reset_pending || (type == 1 && at == DEVICE_STATUS),
         "4.1.4.3.2: an access before the reset was over");
    if (type == 1 && rule(d, at < COMMON_END && width == common_width(at) && at % width == 0,
                          "4.1.3.1: width of an access")) {
        return read_common(d, at);
    }
    if (type == 4 && at + width <= sizeof(d->config)) {
        return read_config(d, at, width);
    }
    rule(d, type == 3, "a read outside of the areas");
    return 0;
}

static void device_write(void *context, unsigned bar, uint64_t off, unsigned width,
                         uint32_t value) {
    struct virtio_device *d = context;
    const unsigned type = find_area(d, bar, off, width);
    const uint32_t at = (uint32_t)off - d->area[type].off;
    /* Meanwhile the driver may give up or try again, but not start. */
    const bool gives_up = type == 1 && at == DEVICE_STATUS && (value == 0 || (value & FAILED));
    rule(d, !d->reset_pending || gives_up, "4.1.4.3.2: an access before the reset was over");
    if (type == 1 && rule(d, at < COMMON_END && width == common_width(at) && at % width == 0,
                          "4.1.3.1: width of an access")) {
        write_common(d, at, value);
    } else if (type == 2) {
        ring_doorbell(d, at, width, value);
    } else {
        rule(d, false, "a write outside of the areas that can be written");
    }
}

/* --- building --------------------------------------------------------------------------------- */

void virtio_device_offer(struct virtio_device *d, unsigned bit, bool on) {
    d->offered[bit / 32] &= ~(1u << bit % 32);
    d->offered[bit / 32] |= (uint32_t)on << bit % 32;
}

bool virtio_device_accepted(const struct virtio_device *d, unsigned bit) {
    return d->accepted[bit / 32] >> bit % 32 & 1;
}

void virtio_device_add(struct virtio_device *d, uint8_t dev, uint64_t bar_addr) {
    *d = (struct virtio_device){
        .fn = pci_bus_add(NULL, dev, 0, 0x1af4, 0x1041, 0x0200, 0),
        .area = {[1] = {VIRTIO_DEVICE_BAR, 0x0000, COMMON_END},
                 [2] = {VIRTIO_DEVICE_BAR, 0x3000, 0x4000},
                 [3] = {VIRTIO_DEVICE_BAR, 0x1000, 1},
                 [4] = {VIRTIO_DEVICE_BAR, 0x2000, 0x40}},
        .notify_multiplier = 4,
        .config = {0x52, 0x54, 0x00, 0x12, 0x34, dev, 1},
    };
    d->fn->read = device_read;
    d->fn->write = device_write;
    d->fn->context = d;
    pci_bus_set_bar(d->fn, VIRTIO_DEVICE_BAR, 4, VIRTIO_DEVICE_BAR_SIZE, bar_addr);
    virtio_device_offer(d, F_VERSION_1, true);
    virtio_device_offer(d, F_NET_MAC, true);
    virtio_device_offer(d, F_NET_STATUS, true);
    for (unsigned i = 0; i < VIRTIO_DEVICE_QUEUES; i++) {
        d->queue[i].max = d->queue[i].size = 256;
        d->queue[i].notify_off = (uint16_t)i;
    }
    /* As another driver may have left it: only a reset leads out of this. */
    d->status = ACKNOWLEDGE | DRIVER | FAILED;
}

void virtio_device_fini(struct virtio_device *d) {
    virtio_device_reset(d);
}

void virtio_device_add_cap(struct virtio_device *d, uint8_t cfg_type) {
    const struct virtio_device_area *a = &d->area[cfg_type];
    uint8_t body[18] = {cfg_type == 2 ? 20 : 16, cfg_type, a->bar};
    memcpy(body + 6, &a->off, 4);
    memcpy(body + 10, &a->len, 4);
    memcpy(body + 14, &d->notify_multiplier, 4);
    pci_bus_add_cap(d->fn, 0x09, body, body[0]);
}

void virtio_device_add_caps(struct virtio_device *d) {
    for (uint8_t type = 1; type < 5; type++) {
        virtio_device_add_cap(d, type);
    }
}
