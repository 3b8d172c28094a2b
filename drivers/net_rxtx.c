/* The instances of the bursts, and the one choice per burst among them. */
#include "drivers/net_burst.h"

/* The value of CALL with the layout as a constant. */
#define FOR_LAYOUT(layout_value, CALL)                                                             \
    do {                                                                                           \
        switch (layout_value) {                                                                    \
        case VQ_SPLIT:                                                                             \
            return CALL(VQ_SPLIT);                                                                 \
        case VQ_SPLIT_IN_ORDER:                                                                    \
            return CALL(VQ_SPLIT_IN_ORDER);                                                        \
        case VQ_PACKED:                                                                            \
            return CALL(VQ_PACKED);                                                                \
        case VQ_PACKED_IN_ORDER:                                                                   \
            return CALL(VQ_PACKED_IN_ORDER);                                                       \
        }                                                                                          \
        __builtin_unreachable();                                                                   \
    } while (0)

unsigned net_rx_burst(struct net_dev *nd, struct pktbuf **out, unsigned max) {
#define RX_MRG(layout) rx_burst_body(nd, out, max, layout, true)
#define RX_ONE(layout) rx_burst_body(nd, out, max, layout, false)
    if (nd->mrg_rxbuf) {
        FOR_LAYOUT(nd->rx.vq.layout, RX_MRG);
    }
    FOR_LAYOUT(nd->rx.vq.layout, RX_ONE);
}

void net_rx_refill(struct net_dev *nd) {
    rx_refill_body(nd, nd->rx.vq.layout);
}

bool net_tx_add(struct net_dev *nd, const struct vq_seg *seg, unsigned n, uint32_t len,
                void *token) {
#define TX_ADD(layout) tx_add_body(nd, seg, n, len, nd->tx_len_max, token, layout)
    FOR_LAYOUT(nd->tx.vq.layout, TX_ADD);
}

static bool tx_add_gso(struct net_dev *nd, const struct vq_seg *seg, unsigned n, uint32_t len,
                       void *token) {
#define TX_ADD_GSO(layout) tx_add_body(nd, seg, n, len, nd->tx_gso_len_max, token, layout)
    FOR_LAYOUT(nd->tx.vq.layout, TX_ADD_GSO);
}

bool net_tx_add_gso(struct net_dev *nd, const struct vq_seg *seg, unsigned n, uint32_t len,
                    void *token) {
    const bool taken = tx_add_gso(nd, seg, n, len, token);
    nd->tx.stats.gso_frames += taken;
    return taken;
}

unsigned net_tx_burst(struct net_dev *nd, struct pktbuf **frames, unsigned count) {
#define TX_BURST(layout) tx_burst_body(nd, frames, count, layout)
    FOR_LAYOUT(nd->tx.vq.layout, TX_BURST);
}

void net_tx_full(struct net_dev *nd) {
    tx_count_full(&nd->tx);
}

void net_tx_flush(struct net_dev *nd) {
#define TX_FLUSH(layout) tx_flush_body(nd, layout)
    FOR_LAYOUT(nd->tx.vq.layout, TX_FLUSH);
}

unsigned net_tx_done(struct net_dev *nd, void **tokens, unsigned max) {
#define TX_DONE(layout) tx_done_body(nd, tokens, max, layout)
    FOR_LAYOUT(nd->tx.vq.layout, TX_DONE);
}
