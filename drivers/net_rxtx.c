/* The instances of the bursts, one for each ring layout, and the one test per burst that chooses. */
#include "drivers/net_burst.h"

unsigned net_rx_burst(struct net_dev *nd, struct pktbuf **out, unsigned max) {
    switch (nd->rx.vq.layout) {
    case VQ_SPLIT:
        return rx_burst_body(nd, out, max, VQ_SPLIT);
    case VQ_PACKED:
        return rx_burst_body(nd, out, max, VQ_PACKED);
    }
    __builtin_unreachable();
}

void net_rx_refill(struct net_dev *nd) {
    rx_refill_body(nd, nd->rx.vq.layout);
}

bool net_tx_add(struct net_dev *nd, const struct vq_seg *seg, unsigned n, uint32_t len,
                void *token) {
    switch (nd->tx.vq.layout) {
    case VQ_SPLIT:
        return tx_add_body(nd, seg, n, len, token, VQ_SPLIT);
    case VQ_PACKED:
        return tx_add_body(nd, seg, n, len, token, VQ_PACKED);
    }
    __builtin_unreachable();
}

void net_tx_flush(struct net_dev *nd) {
    switch (nd->tx.vq.layout) {
    case VQ_SPLIT:
        tx_flush_body(nd, VQ_SPLIT);
        break;
    case VQ_PACKED:
        tx_flush_body(nd, VQ_PACKED);
        break;
    }
}

unsigned net_tx_done(struct net_dev *nd, void **tokens, unsigned max) {
    switch (nd->tx.vq.layout) {
    case VQ_SPLIT:
        return tx_done_body(nd, tokens, max, VQ_SPLIT);
    case VQ_PACKED:
        return tx_done_body(nd, tokens, max, VQ_PACKED);
    }
    __builtin_unreachable();
}
