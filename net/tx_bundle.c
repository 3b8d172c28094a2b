#include "net/tx_bundle.h"

#include <string.h>

#include "lib/dma.h"

enum { BUNDLE_COUNT = 64 }; /* that can be outstanding; without one, frames leave one by one */

_Static_assert(offsetof(struct tx_bundle, headers) ==
                   offsetof(struct tx_bundle, header_room) + TX_BUNDLE_HEADER_ROOM,
               "virtio header and headers are one piece");

static struct tx_bundle bundles[BUNDLE_COUNT] __attribute__((section(".bss.large.tx_bundles")));
static struct tx_bundle *bundles_free;
static unsigned bundles_used; /* the others were never used */

static struct tx_bundle *bundle_get(void) {
    struct tx_bundle *bundle = bundles_free;
    if (bundle != NULL) {
        bundles_free = bundle->next_free;
    } else if (bundles_used < BUNDLE_COUNT) {
        bundle = &bundles[bundles_used++];
    } else {
        return NULL;
    }
    bundle->part_count = 0;
    bundle->seg_count = 1;
    return bundle;
}

bool tx_bundle_add(struct tx_bundle *bundle, struct pbuf *packet, uint32_t headers_len,
                   unsigned seg_max) {
    const uint32_t count_before = bundle->seg_count;
    const uint32_t len_before = bundle->seg[count_before - 1].len;
    uint32_t skip = headers_len;

    if (bundle->part_count == TX_BUNDLE_PARTS_MAX) {
        return false;
    }
    for (const struct pbuf *p = packet; p != NULL; p = p->next) {
        const uint32_t off = skip < p->len ? skip : p->len;
        const uint32_t len = p->len - off;
        skip -= off;
        if (len == 0) {
            continue;
        }
        const dma_addr addr = dma_addr_of((const uint8_t *)p->payload + off);
        struct vq_seg *last = &bundle->seg[bundle->seg_count - 1];
        if (bundle->seg_count > 1 && last->addr.v + last->len == addr.v) {
            last->len += len;
        } else if (bundle->seg_count < seg_max) {
            bundle->seg[bundle->seg_count++] = (struct vq_seg){.addr = addr, .len = len};
        } else {
            bundle->seg_count = count_before;
            bundle->seg[count_before - 1].len = len_before;
            return false;
        }
    }
    bundle->part[bundle->part_count++] = packet;
    return true;
}

struct tx_bundle *tx_bundle_start(struct pbuf *packet, uint32_t hdr_len, uint32_t headers_len,
                                  unsigned seg_max) {
    struct tx_bundle *bundle = bundle_get();
    if (bundle == NULL) {
        return NULL;
    }
    uint8_t *start = bundle->headers - hdr_len;
    memcpy(start, (const uint8_t *)packet->payload - hdr_len, hdr_len + headers_len);
    bundle->seg[0] = (struct vq_seg){.addr = dma_addr_of(start), .len = hdr_len + headers_len};
    if (!tx_bundle_add(bundle, packet, headers_len, seg_max)) {
        tx_bundle_put(bundle);
        return NULL;
    }
    return bundle;
}

void tx_bundle_put(struct tx_bundle *bundle) {
    for (unsigned i = 0; i < bundle->part_count; i++) {
        pbuf_free(bundle->part[i]);
    }
    bundle->next_free = bundles_free;
    bundles_free = bundle;
}
