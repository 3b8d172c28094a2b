/* Between the parts of the model of a virtio-net device. */
#ifndef TESTS_MODEL_VIRTIO_DEVICE_PARTS_H
#define TESTS_MODEL_VIRTIO_DEVICE_PARTS_H

#include "tests/model/virtio_device.h"

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
    QUEUE_NOTIF_CONFIG_DATA = 56,
    QUEUE_RESET = 58,
    ADMIN_QUEUE_INDEX = 60,
};

/* Notes the rule when it was not kept, and returns whether it was. */
bool virtio_device_rule(struct virtio_device *d, bool kept, const char *text);

/* An access to the common configuration, within it and of the right width. */
uint32_t virtio_device_read_common(struct virtio_device *d, uint32_t off);
void virtio_device_write_common(struct virtio_device *d, uint32_t off, uint32_t value);
unsigned virtio_device_common_width(uint32_t off);

/* The one register that may be looked at before a reset is over. */
bool virtio_device_is_status(uint32_t off);

/* At FEATURES_OK. */
void virtio_device_check_features(struct virtio_device *d);

uint32_t virtio_device_read_config(struct virtio_device *d, uint32_t off, unsigned width);

/* The driver rings for a queue (NULL: for none), with its position above 16 bits of value. */
void virtio_device_doorbell(struct virtio_device *d, struct virtio_device_queue *q, uint32_t value);

/* As it is after power-on, whatever its bus; `last` is the end of its MAC address. */
void virtio_device_init(struct virtio_device *d, uint8_t last);

bool virtio_device_msix_on(const struct virtio_device *d);

#endif
