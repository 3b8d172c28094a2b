/* Between the parts of the device model: what they share and what the layouts provide. */
#ifndef TESTS_MODEL_VQ_DEVICE_LAYOUTS_H
#define TESTS_MODEL_VQ_DEVICE_LAYOUTS_H

#include "tests/model/vq_device.h"

extern const struct vq_device_layout vq_device_split, vq_device_packed;

/* Notes the rule unless it was kept, or one was broken before. Returns `kept`. */
bool vq_device_rule(struct vq_device *d, bool kept, const char *rule);

/* Enters one element into a buffer; false when it breaks a rule. */
bool vq_device_enter(struct vq_device *d, struct vq_device_buffer *b, uint64_t addr, uint32_t len,
                     bool in);

/* Copies the table that a descriptor with INDIRECT points to. Returns how many descriptors it has,
 * 0 when that breaks a rule. */
uint32_t vq_device_open_table(struct vq_device *d, struct vq_device_buffer *b, uint64_t addr,
                              uint32_t len);

/* The table is as it was. */
void vq_device_check_table(struct vq_device *d, const struct vq_device_buffer *b);

/* A complete buffer: it is outstanding from now on. */
void vq_device_accept(struct vq_device *d, const struct vq_device_buffer *b);

/* Memory that hangs on a buffer. Leaves it as one that is not outstanding. */
void vq_device_free_buffer(struct vq_device_buffer *b);

#endif
