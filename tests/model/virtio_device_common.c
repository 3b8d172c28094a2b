/* The common configuration of a virtio device (4.1.4.3): status, features, queues. */
#include "tests/model/virtio_device_parts.h"

#include <limits.h>
#include <string.h>

enum {
    ACKNOWLEDGE = 1,
    DRIVER = 2,
    DRIVER_OK = 4,
    FEATURES_OK = 8,
    NEEDS_RESET = 64,
    FAILED = 128,
    F_INDIRECT_DESC = 28,
    F_EVENT_IDX = 29,
    F_RING_PACKED = 34,
    F_IN_ORDER = 35,
    F_NOTIF_CONFIG_DATA = 39,
    F_RING_RESET = 40,
    ALL_HALVES = 0x3f,
};

static bool rule(struct virtio_device *d, bool kept, const char *text) {
    return virtio_device_rule(d, kept, text);
}

bool virtio_device_is_status(uint32_t off) {
    return off == DEVICE_STATUS;
}

unsigned virtio_device_common_width(uint32_t off) {
    return off < CONFIG_MSIX_VECTOR                             ? 4
           : off == DEVICE_STATUS || off == CONFIG_GENERATION   ? 1
           : off < QUEUE_DESC || off >= QUEUE_NOTIF_CONFIG_DATA ? 2
                                                                : 4;
}

/* --- memory under reset ----------------------------------------------------------------------- */

static uint64_t sum_of(const void *area, size_t size, uint64_t sum) {
    const uint8_t *bytes = area;
    for (size_t i = 0; i < size; i++) {
        sum = (sum ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
    return sum;
}

/* Of the areas that the driver writes (2.7, 2.8.10.1). */
static uint64_t ring_sum(const struct vq_device_setup *ring) {
    const uint64_t sum = sum_of(ring->desc, (size_t)16 * ring->num, 1);
    return sum_of(ring->driver, ring->packed ? 4 : (size_t)6 + 2 * ring->num, sum);
}

static void guard_begin(struct virtio_device_queue *q) {
    if (q->ring.setup.num == 0) { /* a test without memory */
        return;
    }
    q->guard = (struct virtio_device_guard){.on = true, .ring = q->ring.setup};
    q->guard.sum = ring_sum(&q->guard.ring);
}

/* 2.6.1: until the reset is over, the memory is the device's. */
static void guard_end(struct virtio_device *d, struct virtio_device_queue *q) {
    if (q->guard.on) {
        rule(d, ring_sum(&q->guard.ring) == q->guard.sum,
             "2.4.1, 2.6.1: memory of a ring was changed before the reset was over");
        q->guard.on = false;
    }
}

/* --- queues ----------------------------------------------------------------------------------- */

static void forget_queue(struct virtio_device *d, struct virtio_device_queue *q) {
    if (q->enabled) {
        rule(d, q->lied || q->ring.violation == NULL, q->ring.violation);
        vq_device_fini(&q->ring);
    }
    q->enabled = q->resetting = q->size_written = q->vector_unread = q->lied = false;
    q->size = q->max;
    q->halves_written = 0;
    q->vector = VIRTIO_DEVICE_NO_VECTOR;
}

void virtio_device_reset(struct virtio_device *d) {
    d->status = 0;
    memset(d->accepted, 0, sizeof(d->accepted));
    d->device_select = d->driver_select = d->queue_select = 0;
    d->config_vector = VIRTIO_DEVICE_NO_VECTOR;
    d->config_vector_unread = false;
    d->isr = 0;
    memset(&d->ctrl, 0, offsetof(struct virtio_device_ctrl, log));
    for (unsigned i = 0; i < VIRTIO_DEVICE_QUEUES; i++) {
        forget_queue(d, &d->queue[i]);
        d->queue[i].was_reset = false;
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
        !rule(d, q->halves_written == ALL_HALVES && q->size_written,
              "4.1.4.3.2, 2.6.2: enabled before size and all addresses were given") ||
        !rule(d, !q->vector_unread, "4.1.5.1.2.2: a vector was mapped and not read back")) {
        return;
    }
    q->enabled = true;
    if (d->arena != NULL) {
        vq_device_init(&q->ring, &(struct vq_device_setup){
                                     .num = q->size,
                                     .packed = virtio_device_accepted(d, F_RING_PACKED),
                                     .in_order = virtio_device_accepted(d, F_IN_ORDER),
                                     .indirect = virtio_device_accepted(d, F_INDIRECT_DESC),
                                     .event_idx = virtio_device_accepted(d, F_EVENT_IDX),
                                     .desc = queue_area(q, 0),
                                     .driver = queue_area(q, 1),
                                     .device = queue_area(q, 2),
                                     .arena = d->arena,
                                     .arena_size = d->arena_size,
                                 });
    }
    if (q == &d->queue[0] || q == &d->queue[1]) { /* 5.1.6.5.7: as for all of its kind */
        d->ctrl.coalesce[q - d->queue] = d->ctrl.all_queues[q - d->queue];
    }
}

static void write_size(struct virtio_device *d, struct virtio_device_queue *q, uint32_t value) {
    const bool packed = virtio_device_accepted(d, F_RING_PACKED);
    rule(d, value != 0 && (packed || (value & (value - 1)) == 0),
         "4.1.4.3.2: a size of 0, or in a split ring no power of two");
    rule(d, value <= q->max, "4.1.4.3: size above the device's maximum");
    q->size = (uint16_t)value;
    q->size_written = true;
}

/* --- MSI-X entries (4.1.5.1.2) ---------------------------------------------------------------- */

/* Entries in use if an event were mapped to one more. */
static unsigned entries_with(const struct virtio_device *d, unsigned event, uint16_t entry) {
    uint16_t used[VIRTIO_DEVICE_QUEUES + 1];
    unsigned count = 0;
    for (unsigned i = 0; i <= VIRTIO_DEVICE_QUEUES; i++) {
        const uint16_t of_event =
            i == VIRTIO_DEVICE_CONFIG ? d->config_vector : d->queue[i].vector;
        const uint16_t vector = i == event ? entry : of_event;
        bool known = vector == VIRTIO_DEVICE_NO_VECTOR;
        for (unsigned k = 0; k < count; k++) {
            known = known || used[k] == vector;
        }
        if (!known) {
            used[count++] = vector;
        }
    }
    return count;
}

/* What an event is mapped to after a write. */
static uint16_t map_vector(struct virtio_device *d, unsigned event, uint32_t value) {
    if (value == VIRTIO_DEVICE_NO_VECTOR ||
        !rule(d, d->fn->msix != NULL && value < d->fn->msix->count,
              "4.1.5.1.2.2: an event was mapped to an entry outside of the table") ||
        !rule(d, virtio_device_msix_on(d), "4.1.5.1.2: mapped before MSI-X was switched on") ||
        (d->vectors_refused >> event & 1) ||
        entries_with(d, event, (uint16_t)value) > d->vector_room) {
        return VIRTIO_DEVICE_NO_VECTOR;
    }
    return (uint16_t)value;
}

/* --- queue registers -------------------------------------------------------------------------- */

static void reset_queue(struct virtio_device *d, struct virtio_device_queue *q, uint32_t value) {
    if (!rule(d, value == 1, "4.1.4.3: only 1 is written to queue_reset") ||
        !rule(d, (d->status & (DRIVER_OK | FAILED)) == DRIVER_OK && q->enabled,
              "2.6.1: a queue was reset that is not in use") ||
        !rule(d, !q->resetting, "2.6.1: a queue was reset that is being reset")) {
        return;
    }
    q->resetting = true;
    q->reset_reads = d->queue_reset_reads;
    guard_begin(q);
}

static uint32_t read_queue_reset(struct virtio_device *d, struct virtio_device_queue *q) {
    if (q->resetting && q->reset_reads > 0) {
        q->reset_reads -= q->reset_reads != UINT_MAX;
        return 1;
    }
    if (q->resetting) {
        guard_end(d, q);
        forget_queue(d, q);
        q->was_reset = true;
        q->resets++;
    }
    return 0;
}

static void write_queue(struct virtio_device *d, uint32_t off, uint32_t value) {
    struct virtio_device_queue *q = selected(d);
    const uint8_t live = q->was_reset ? 0 : DRIVER_OK;
    rule(d, (d->status & (FEATURES_OK | live | FAILED)) == FEATURES_OK,
         "3.1.1: queues are set up between FEATURES_OK and DRIVER_OK");
    rule(d, !q->enabled, "4.1.4.3.2: a queue was changed after it was enabled");
    rule(d, q->size != 0, "4.1.4.3: a queue that does not exist was written to");
    if (off == QUEUE_SIZE) {
        write_size(d, q, value);
    } else if (off == QUEUE_MSIX_VECTOR) {
        q->vector = map_vector(d, (unsigned)(q - d->queue), value);
        q->vector_unread = true;
    } else if (off == QUEUE_ENABLE) {
        enable_queue(d, q, value);
    } else {
        q->half[(off - QUEUE_DESC) / 4] = value;
        q->halves_written |= (uint8_t)(1u << (off - QUEUE_DESC) / 4);
    }
}

/* --- status ----------------------------------------------------------------------------------- */

static void write_status(struct virtio_device *d, uint8_t value) {
    const uint8_t kept = d->status & (uint8_t)~NEEDS_RESET;
    if (d->status_count < VIRTIO_DEVICE_LOG) {
        d->status_log[d->status_count] = value;
    }
    d->status_count++;
    if (value == 0) {
        for (unsigned i = 0; i < VIRTIO_DEVICE_QUEUES; i++) {
            if (d->queue[i].enabled && !d->queue[i].guard.on) {
                guard_begin(&d->queue[i]);
            }
        }
        virtio_device_reset(d);
        d->reset_pending = true;
        return;
    }
    rule(d, (value & kept) == kept, "2.1.1: a status bit was cleared without a reset");
    rule(d, !(d->status & FAILED) || value == d->status, "2.1.1: after FAILED only a reset");
    rule(d, !(value & DRIVER_OK) || (d->status & FEATURES_OK), "3.1.1: DRIVER_OK too early");
    rule(d, !(value & DRIVER_OK) || !d->config_vector_unread,
         "4.1.5.1.2.2: a vector was mapped and not read back");
    value = (uint8_t)((value & ~NEEDS_RESET) | (d->status & NEEDS_RESET));
    if ((value & FEATURES_OK) && !(d->status & FEATURES_OK)) {
        virtio_device_check_features(d);
        value &= (uint8_t)(d->refuse_features ? ~FEATURES_OK : 0xff);
    }
    d->status = value;
}

static uint32_t read_status(struct virtio_device *d) {
    if (d->reset_pending && d->reset_reads > 0) {
        d->reset_reads -= d->reset_reads != UINT_MAX;
        return ACKNOWLEDGE | DRIVER;
    }
    if (d->reset_pending) {
        for (unsigned i = 0; i < VIRTIO_DEVICE_QUEUES; i++) {
            guard_end(d, &d->queue[i]);
        }
    }
    d->reset_pending = false;
    return d->status;
}

/* --- registers -------------------------------------------------------------------------------- */

/* Fields that are there only once their feature was negotiated (4.1.4.3). */
static bool has_field(struct virtio_device *d, uint32_t off) {
    const unsigned bit = off == QUEUE_RESET ? F_RING_RESET : F_NOTIF_CONFIG_DATA;
    return rule(d,
                off < ADMIN_QUEUE_INDEX &&
                    (off < QUEUE_NOTIF_CONFIG_DATA ||
                     ((d->status & FEATURES_OK) && virtio_device_accepted(d, bit))),
                "4.1.4.3: a field was used whose feature was not negotiated");
}

uint32_t virtio_device_read_common(struct virtio_device *d, uint32_t off) {
    struct virtio_device_queue *q = selected(d);
    if (!has_field(d, off)) {
        return 0;
    }
    switch (off) {
    case DEVICE_FEATURE_SELECT:
        return d->device_select;
    case DEVICE_FEATURE:
        return d->device_select < 3 ? d->offered[d->device_select] : 0;
    case DRIVER_FEATURE_SELECT:
        return d->driver_select;
    case DRIVER_FEATURE:
        return d->driver_select < 3 ? d->accepted[d->driver_select] : 0;
    case CONFIG_MSIX_VECTOR:
        d->config_vector_unread = false;
        return d->config_vector;
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
    case QUEUE_MSIX_VECTOR:
        q->vector_unread = false;
        return q->vector;
    case QUEUE_ENABLE:
        return q->enabled;
    case QUEUE_NOTIFY_OFF:
        return q->notify_off;
    case QUEUE_NOTIF_CONFIG_DATA:
        return q->notify_data;
    case QUEUE_RESET:
        return read_queue_reset(d, q);
    default:
        return q->half[(off - QUEUE_DESC) / 4];
    }
}

void virtio_device_write_common(struct virtio_device *d, uint32_t off, uint32_t value) {
    if (!has_field(d, off)) {
        return;
    }
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
    case CONFIG_MSIX_VECTOR:
        d->config_vector = map_vector(d, VIRTIO_DEVICE_CONFIG, value);
        d->config_vector_unread = true;
        break;
    case DEVICE_STATUS:
        write_status(d, (uint8_t)value);
        break;
    case QUEUE_SELECT:
        d->queue_select = (uint16_t)value;
        break;
    case QUEUE_RESET:
        reset_queue(d, selected(d), value);
        break;
    case DEVICE_FEATURE:
    case NUM_QUEUES:
    case CONFIG_GENERATION:
    case QUEUE_NOTIFY_OFF:
    case QUEUE_NOTIF_CONFIG_DATA:
        rule(d, false, "4.1.4.3.2: a read-only field was written");
        break;
    default:
        write_queue(d, off, value);
    }
}
