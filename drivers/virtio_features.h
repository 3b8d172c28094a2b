/* Feature bits (2.2): sets of them, their names, and what the user masked. */
#ifndef DRIVERS_VIRTIO_FEATURES_H
#define DRIVERS_VIRTIO_FEATURES_H

#include "drivers/virtio_spec.h"
#include "lib/util.h"

/* Feature bits 0 to 95 as the words of the transport. */
struct virtio_features {
    uint32_t word[VIRTIO_FEATURE_WORDS];
};

ALWAYS_INLINE bool virtio_feature_get(const struct virtio_features *f, unsigned bit) {
    return f->word[bit / 32] >> bit % 32 & 1;
}

ALWAYS_INLINE void virtio_feature_set(struct virtio_features *f, unsigned bit) {
    f->word[bit / 32] |= 1u << bit % 32;
}

ALWAYS_INLINE void virtio_feature_clear(struct virtio_features *f, unsigned bit) {
    f->word[bit / 32] &= ~(1u << bit % 32);
}

enum { VIRTIO_FEATURE_NAMES_MAX = 64 };

/* The names of the bits in f, lower case as in the specification; returns how many. Bits without a
 * name are left out. */
unsigned virtio_feature_names(const struct virtio_features *f,
                              const char *names[VIRTIO_FEATURE_NAMES_MAX]);

/* The name of one bit, "?" when it has none. */
const char *virtio_feature_name(unsigned bit);

/* Takes out of f whatever needs a feature that f does not have (5.1.3.1). */
void virtio_feature_close(struct virtio_features *f);

/* What the user says of features. */
struct virtio_wishes {
    struct virtio_features masked; /* must not be negotiated */
    struct virtio_features kept;   /* shall be, though a workload would leave them out */
};

/* Parses "-name,+name". ERR_CONFIG and the reason in error for an unknown name, one that is said twice,
 * or another form; an empty list is fine. */
int virtio_feature_wishes(const char *list, struct virtio_wishes *wishes, char *error,
                          size_t error_size);

#endif
