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

/* A CPU sees its own stores at once; those of the driver never overlap a load in part. */
static uint64_t load(const void *at, unsigned bytes) {
    uint64_t value = 0;
    step();
    memcpy(&value, at, bytes);
    for (unsigned i = 0; i < store_count; i++) {
        if (stores[i].at == at) {
            assert(stores[i].bytes == bytes);
            value = stores[i].value;
        }
    }
    return value;
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

void rm_fence_full(void) {
    step();
    ring_drain();
}
