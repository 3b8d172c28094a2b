/* Between the parts of the model of a virtio-net device. */
#ifndef TESTS_MODEL_VIRTIO_DEVICE_PARTS_H
#define TESTS_MODEL_VIRTIO_DEVICE_PARTS_H

#include "tests/model/virtio_device.h"

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

bool virtio_device_msix_on(const struct virtio_device *d);

#endif
