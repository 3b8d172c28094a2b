#include "drivers/virtio_dev.h"

#include "drivers/clock.h"
#include "lib/cpu.h"
#include "lib/err.h"

#include <string.h>

enum {
    RESET_TIMEOUT_MS = 1000,
    GENERATION_TRIES = 16,
};

uint8_t virtio_dev_status(const struct virtio_dev *v) {
    return v->transport->status(v);
}

void virtio_dev_add_status(struct virtio_dev *v, uint8_t bit) {
    v->transport->set_status(v, (uint8_t)(virtio_dev_status(v) | bit));
}

int virtio_dev_reset(struct virtio_dev *v) {
    v->transport->set_status(v, 0);
    const uint64_t end = clock_ms() + RESET_TIMEOUT_MS;
    while (virtio_dev_status(v) != 0) {
        if (clock_ms() > end) {
            return ERR_TIMEOUT;
        }
        cpu_relax();
    }
    return ERR_OK;
}

void virtio_dev_read_offer(struct virtio_dev *v) {
    for (uint32_t word = 0; word < VIRTIO_FEATURE_WORDS; word++) {
        v->offered.word[word] = v->transport->offered(v, word);
    }
}

void virtio_dev_limit(const struct virtio_dev *v, struct virtio_features *features) {
    v->transport->limit(v, features);
}

int virtio_dev_accept(struct virtio_dev *v, const struct virtio_features *accepted) {
    v->accepted = *accepted;
    for (uint32_t word = 0; word < VIRTIO_FEATURE_WORDS; word++) {
        v->transport->accept(v, word, accepted->word[word]);
    }
    virtio_dev_add_status(v, VIRTIO_STATUS_FEATURES_OK);
    return virtio_dev_status(v) & VIRTIO_STATUS_FEATURES_OK ? ERR_OK : ERR_DEVICE;
}

uint16_t virtio_dev_queue_max(struct virtio_dev *v, uint16_t index) {
    return v->transport->queue_max(v, index);
}

int virtio_dev_queue_enable(struct virtio_dev *v, uint16_t index, const struct vq *q,
                            const void *memory, uint16_t msix_entry,
                            struct virtio_doorbell *doorbell) {
    return v->transport->queue_enable(v, index, q, memory, msix_entry, doorbell);
}

int virtio_dev_queue_reset(struct virtio_dev *v, uint16_t index) {
    int state;
    v->transport->queue_reset(v, index);
    const uint64_t end = clock_ms() + RESET_TIMEOUT_MS;
    while ((state = v->transport->queue_reset_state(v, index)) == ERR_TIMEOUT &&
           clock_ms() <= end) {
        cpu_relax();
    }
    return state;
}

int virtio_dev_config_vector(struct virtio_dev *v, uint16_t msix_entry) {
    return v->transport->config_vector(v, msix_entry);
}

uint8_t virtio_dev_take_isr(const struct virtio_dev *v) {
    return v->transport->take_isr(v);
}

uint32_t virtio_dev_generation(const struct virtio_dev *v) {
    return v->transport->generation(v);
}

static void config_copy(const struct virtio_dev *v, uint32_t off, unsigned width, unsigned count,
                        uint8_t *out) {
    for (unsigned i = 0; i < count; i++, off += width, out += width) {
        const uint32_t value = v->transport->config_read(v, off, width);
        memcpy(out, &value, width);
    }
}

int virtio_dev_config(struct virtio_dev *v, uint32_t off, unsigned width, unsigned count,
                      void *out) {
    if (off + width * count > v->config_len) {
        return ERR_DEVICE;
    }
    uint32_t before = virtio_dev_generation(v);
    for (unsigned i = 0; i < GENERATION_TRIES; i++) {
        config_copy(v, off, width, count, out);
        const uint32_t after = virtio_dev_generation(v);
        if (after == before) {
            return ERR_OK;
        }
        before = after;
    }
    return ERR_DEVICE;
}
