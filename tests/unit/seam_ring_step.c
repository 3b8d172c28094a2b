#include "tests/unit/seam_ring_step.h"

#include <assert.h>
#include <string.h>

enum { STORES = 64 };

struct store {
    void *at;
    unsigned bytes;
    uint64_t value;
};

void (*ring_step)(void);

static struct store stores[STORES]; /* oldest first, as they become visible */
static unsigned store_count;

void ring_drain(void) {
    for (unsigned i = 0; i < store_count; i++) {
        memcpy(stores[i].at, &stores[i].value, stores[i].bytes);
    }
    store_count = 0;
}

static void step(void) {
    if (ring_step != NULL) {
        ring_step();
    }
}

static void store(void *at, unsigned bytes, uint64_t value) {
    step();
    if (ring_step == NULL) {
        ring_drain();
        memcpy(at, &value, bytes);
        return;
    }
    assert(store_count < STORES);
    stores[store_count++] = (struct store){.at = at, .bytes = bytes, .value = value};
}

/* A CPU sees its own stores at once, byte by byte. */
static uint64_t load(const void *at, unsigned bytes) {
    uint8_t value[8] = {0};
    uint64_t word;
    step();
    memcpy(value, at, bytes);
    for (unsigned i = 0; i < store_count; i++) {
        for (unsigned k = 0; k < stores[i].bytes; k++) {
            const size_t off = (uintptr_t)stores[i].at + k - (uintptr_t)at;
            if (off < bytes) {
                value[off] = (uint8_t)(stores[i].value >> 8 * k);
            }
        }
    }
    memcpy(&word, value, sizeof(word));
    return word;
}

void rm_store_release16(uint16_t *p, uint16_t value) {
    store(p, sizeof(value), value);
}

void rm_store16(uint16_t *p, uint16_t value) {
    store(p, sizeof(value), value);
}

void rm_store32(uint32_t *p, uint32_t value) {
    store(p, sizeof(value), value);
}

void rm_store64(uint64_t *p, uint64_t value) {
    store(p, sizeof(value), value);
}

uint16_t rm_load_acquire16(const uint16_t *p) {
    return (uint16_t)load(p, sizeof(*p));
}

uint16_t rm_load16(const uint16_t *p) {
    return (uint16_t)load(p, sizeof(*p));
}

uint32_t rm_load32(const uint32_t *p) {
    return (uint32_t)load(p, sizeof(*p));
}

uint64_t rm_load64(const uint64_t *p) {
    return load(p, sizeof(*p));
}

void rm_fence_full(void) {
    step();
    ring_drain();
}
