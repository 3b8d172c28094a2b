/* Between the parts of the device model: what the layouts share and provide. */
#ifndef TESTS_MODEL_VQ_DEVICE_LAYOUTS_H
#define TESTS_MODEL_VQ_DEVICE_LAYOUTS_H

#include "tests/model/vq_device.h"

extern const struct vq_device_layout vq_device_split, vq_device_packed;

/* Notes the rule when it was not kept, and returns whether it was. */
bool vq_device_rule(struct vq_device *d, bool kept, const char *rule);

/* Was the buffer made available, and not used yet? */
bool vq_device_outstanding(const struct vq_device *d, uint32_t id);

/* Enters one descriptor into a buffer; false when it breaks a rule. */
bool vq_device_enter(struct vq_device *d, struct vq_device_buffer *b, const struct virtq_desc *desc,
                     bool in);

#endif
