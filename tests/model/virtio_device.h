/* A virtio-net device on the machine of pci_bus.h: the registers of 4.1.4 and two or three queues.
 *
 * It keeps the device's rules, except where a test sets one of the faults below, and watches the
 * driver's: the first rule that was broken is kept in `violation`. The queues are played by
 * vq_device.h from the moment they are enabled. */
#ifndef TESTS_MODEL_VIRTIO_DEVICE_H
#define TESTS_MODEL_VIRTIO_DEVICE_H

#include "tests/model/pci_bus.h"
#include "tests/model/vq_device.h"

enum {
    VIRTIO_DEVICE_QUEUES = 3,
    VIRTIO_DEVICE_LOG = 64,
    VIRTIO_DEVICE_BAR = 4,
    VIRTIO_DEVICE_BAR_SIZE = 0x10000,
};

struct virtio_device_queue {
    uint16_t max; /* what it offers after a reset */
    uint16_t size;
    uint16_t notify_off;
    uint32_t half[6];       /* desc, driver, device; low half first */
    uint8_t halves_written; /* one bit each */
    bool enabled;
    unsigned doorbells;
    struct vq_device ring; /* while enabled */
};

/* Where an area lies; len 0: it does not exist. */
struct virtio_device_area {
    uint8_t bar;
    uint32_t off, len;
};

struct virtio_device {
    struct pci_fn *fn;
    struct virtio_device_area area[5]; /* by cfg_type; 0 is not used */
    uint32_t notify_multiplier;
    uint32_t offered[3], accepted[3];
    uint32_t device_select, driver_select;
    uint8_t status;
    bool reset_pending; /* not yet read back as 0 */
    uint8_t status_log[VIRTIO_DEVICE_LOG];
    unsigned status_count; /* writes of the status */
    uint16_t queue_select;
    struct virtio_device_queue queue[VIRTIO_DEVICE_QUEUES];
    uint8_t generation;
    uint8_t config[64];
    void *arena; /* the memory that buffers may lie in */
    size_t arena_size;

    /* Faults and freedoms. */
    unsigned reset_reads; /* status reads until a reset is over, UINT_MAX: never */
    bool refuse_features;
    void (*on_config_read)(struct virtio_device *d, uint32_t off); /* may be NULL */
    const char *violation;
};

/* Adds the function with one BAR at bar_addr, an offer of VERSION_1, MAC and STATUS, and queues of
 * 256 descriptors. The areas are set, but no capability tells of them yet. */
void virtio_device_add(struct virtio_device *d, uint8_t dev, uint64_t bar_addr);
void virtio_device_fini(struct virtio_device *d);

/* Appends the capability of one area, or of all four. */
void virtio_device_add_cap(struct virtio_device *d, uint8_t cfg_type);
void virtio_device_add_caps(struct virtio_device *d);

void virtio_device_offer(struct virtio_device *d, unsigned bit, bool on);
bool virtio_device_accepted(const struct virtio_device *d, unsigned bit);

/* Takes the rings out of use as a reset does; faults stay. */
void virtio_device_reset(struct virtio_device *d);

#endif
