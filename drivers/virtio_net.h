/* virtio-net (5.1): one receive and one transmit queue of a network device, driven by bursts, and its
 * control queue.
 *
 * Frames go in and out without a copy: received ones arrive in packet buffers of the device's pool,
 * sent ones are lists of segments that belong to the caller until their token comes back.
 *
 * Everything is polled. To sleep, a caller arms the notifications of each device with net_arm(), which
 * looks once more, and waits only if nothing was there; after the wake-up come net_interrupts_take()
 * and net_disarm(). In poll mode the device is never given a way to interrupt.
 *
 * What this does not do: protocols, checksums, segmentation, several queue pairs. */
#ifndef DRIVERS_VIRTIO_NET_H
#define DRIVERS_VIRTIO_NET_H

#include "drivers/msix.h"
#include "drivers/virtio_mmio.h"
#include "drivers/virtio_pci.h"
#include "drivers/vq.h"
#include "lib/config.h"
#include "lib/pktbuf.h"

enum {
    NET_DEV_MAX = 8,
    NET_BURST_MAX = 64,     /* the most that one burst call handles */
    NET_TX_SEG_MAX = 64,    /* segments of one frame: 64 KiB of pieces of 1 KiB or more */
    NET_ETH_HDR_LEN = 14,
    NET_FRAME_MIN = 14,     /* shorter received frames are dropped */
    NET_MTU_DEFAULT = 1500,
    NET_MTU_MIN = 68,       /* RFC 791; a device that offers less is lying */
    NET_MTU_MAX = 9216,     /* a larger offer is not accepted */
    NET_VLAN_TAG_LEN = 4,
    NET_VLAN_TAGS_MAX = 2,  /* in a frame; receive buffers have room for them, whoever sends it */
    NET_FRAME_MAX = 65535,  /* longer received frames are dropped */
    NET_RX_GSO_LEN = 65601, /* the longest frame that a device merges, virtio header included: 5.1.6.3.1 */
    NET_TX_GSO_LEN_MAX = 65535 + NET_ETH_HDR_LEN, /* IP packets have at most 65535 bytes; without tag */
};

/* Counters of one queue. All count from boot; a restart of the device does not clear them. Every
 * frame that was accepted is in `packets` or in one of the drops. */
struct net_stats {
    uint64_t packets;
    uint64_t bytes; /* of frames, without the virtio header */
    uint64_t gso_frames; /* of `packets`: tx: that the device cuts, rx: that came uncut */
    uint64_t drop_short;      /* rx: shorter than headers, or than Ethernet's header */
    uint64_t drop_bad_header; /* rx: the virtio header points out of the frame */
    uint64_t drop_no_memory;  /* the stack had no memory for it */
    uint64_t drop_ring_full;  /* tx: no descriptors left */
    uint64_t drop_link_down;  /* tx: the link is down or the device is being restarted */
    uint64_t drop_too_long;   /* tx: over the limit, or too many segments; rx: over NET_FRAME_MAX */
    uint64_t drop_reset;      /* frames that the device held when it had to be reset */
    uint64_t copies;          /* rx: frames copied out because packet buffers ran low */
    uint64_t kicks;           /* doorbell writes */
    uint64_t interrupts;
    uint64_t polls;           /* times the used ring was looked at */
    uint64_t empty_polls;     /* ... and nothing was there */
    uint64_t ring_full;       /* tx: an add found no room */
    uint64_t ring_empty;      /* rx: a poll found that the device had used every buffer it had */
    uint64_t refills;         /* rx: batches of buffers made available */
    uint64_t wakeups;         /* sleeps that an interrupt of this queue ended */
    uint64_t rechecks_hit;    /* work found by the look after notifications were asked for */
    uint64_t dry_ns;          /* rx: at most so long the device had no buffers */
    uint64_t full_ns;         /* tx: frames waited so long for room */
    uint64_t resets;          /* of this queue alone, with RING_RESET */
};

/* Name and meaning of each counter of struct net_stats, in the order of printing. device_errors is
 * part of the ring (vq.device_errors) and printed beside them. */
struct net_counter {
    const char *name;
    const char *help;
    size_t offset; /* in struct net_stats, of a uint64_t */
};

extern const struct net_counter net_counters[];
extern const size_t net_counter_count;

/* How full a ring was at each look at its used buffers. Element 0 counts looks that saw none, element k
 * those that saw 2^(k-1) to 2^k - 1. */
enum { NET_OCCUPANCY = 17 };

struct net_occupancy {
    uint64_t used[NET_OCCUPANCY]; /* buffers that were taken back at once */
    uint64_t free[NET_OCCUPANCY]; /* descriptors that the device did not have, after that */
};

struct net_queue {
    struct vq vq;
    struct virtio_doorbell doorbell;
    uint16_t index; /* of the virtqueue in the device */
    uint16_t num_max;   /* what the device offered */
    uint16_t refill_at; /* rx: free descriptors at which buffers are posted again */
    uint16_t msix_entry; /* VIRTIO_MSI_NO_VECTOR: none */
    uint8_t vector;      /* of the CPU, 0: none */
    uint32_t vector_seen; /* its count when net_interrupts_take() last looked */
    uint64_t done;        /* tx: frames that the device is through with */
    void *memory;
    void *indirect; /* descriptor tables, NULL: none */
    struct vq_slot *slots;
    uint64_t since_tsc; /* rx: of the last look; tx: since then frames wait for room, 0: none do */
    struct net_occupancy occupancy;
    struct net_stats stats;
};

/* How a device interrupts. */
enum net_irq_kind { NET_IRQ_NONE, NET_IRQ_MSIX, NET_IRQ_INTX, NET_IRQ_LINE };

struct net_irq {
    enum net_irq_kind kind;
    struct msix msix;
    uint16_t entries; /* of MSI-X in use: 3 (rx, tx, config), 2 (queues, config) or 1 (all) */
    uint16_t config_entry;
    uint8_t config_vector;
    uint32_t config_seen; /* its count when net_interrupts_take() last looked */
};

/* A setting of notification coalescing (5.1.6.5.7). */
struct net_coalesce {
    bool set;
    uint32_t usecs, frames;
};

/* Commands of the control queue, and what the user wants of them. */
struct net_ctrl {
    struct net_queue queue;
    uint8_t *command; /* one command at a time, in memory that the device reaches */
    uint64_t errors;  /* commands that the device refused or did not answer */
    uint8_t mac[6];   /* wanted, when has_mac */
    bool has_mac;
    bool promiscuous; /* receive everything; default: own address, multicast, broadcast */
    uint16_t vlan;    /* that all frames carry, 0: none */
    struct net_coalesce rx_coalesce, tx_coalesce;
    bool has_offloads;  /* the device is told which receive offloads to keep ... */
    uint64_t offloads;  /* ... these: bits numbered as their features (5.1.6.5.6.1) */
};

struct net_dev {
    union { /* by dev.transport; dev is the first member of the others */
        struct virtio_dev dev;
        struct virtio_pci pci;
        struct virtio_mmio mmio;
    };
    struct net_queue rx;
    struct net_queue tx;
    struct net_ctrl ctrl;
    struct net_irq irq;
    struct pktbuf_pool pool;
    /* A received frame whose other buffers are not used yet (MRG_RXBUF). */
    struct pktbuf *rx_first, *rx_last;
    uint32_t rx_missing; /* buffers, 0: there is no such frame */
    struct virtio_features features;
    /* What may be accepted: supported and not masked by the user; later what was accepted at first. */
    struct virtio_features wanted;
    uint8_t mac[6];
    uint16_t mtu; /* payload of that frame */
    uint32_t tx_len_max; /* bytes of the largest frame that is sent; net_tx_burst(): without tags */
    uint32_t tx_gso_len_max; /* of the largest that the device cuts for us, 0: it cuts none */
    uint8_t hdr_len; /* bytes of the virtio header in front of each frame */
    bool mrg_rxbuf;  /* frames may come in several buffers */
    bool need_packed; /* the user asked for ring=packed */
    bool raw;             /* a workload drives the rings itself */
    bool leave_event_idx; /* out of a split ring */
    bool link_up;
    bool running; /* between DRIVER_OK and a reset */
    uint32_t mode;     /* enum config_mode */
    uint32_t speed;    /* Mbit/s, above VIRTIO_NET_SPEED_MAX: unknown */
    uint8_t duplex;    /* VIRTIO_NET_DUPLEX_*, others: unknown */
    uint32_t restarts; /* times the device had to be reset and brought up again */
    uint32_t link_downs; /* times the link was lost */
    uint64_t outage_ms;  /* without link or device, the current time not included */
    uint64_t down_since_ms; /* when the current one began, 0: there is none */
    uint64_t tx_done_seen;  /* tx.done at the last look, to notice a device that returns nothing */
    uint64_t tx_look_ms;    /* the last look that counted */
    uint32_t tx_stalled;    /* looks in a row that saw no progress */
    uint32_t generation;    /* of the configuration, at the last look */
    unsigned index; /* 0 for the first device found */
};

/* All devices that are driven: those on PCI in its order, then those on MMIO by their addresses. */
extern struct net_dev net_devs[NET_DEV_MAX];
extern unsigned net_dev_count;

/* Takes every virtio-net device on PCI (pci_init()) and on MMIO (virtio_mmio_find()) and brings it up as
 * cfg asks. Prints a device event for each. Returns ERR_OK, ERR_ABSENT when there is no device that can
 * be driven, or another error; the reason was logged. */
int net_probe(const struct config *cfg);

/* Takes up to max received frames (at most NET_BURST_MAX). A frame is frame_len bytes in one buffer
 * or, with MRG_RXBUF, in several that hang together by `next`; data and len tell where they lie in
 * each. The caller owns all of them and gives each back with pktbuf_put(). Posts free buffers again
 * in batches. */
unsigned net_rx_burst(struct net_dev *nd, struct pktbuf **out, unsigned max);

/* The virtio header of a received frame, by its first buffer (5.1.6.4). The device wrote it: read each
 * field once. Flags are meaningful with GUEST_CSUM only. */
ALWAYS_INLINE const struct virtio_net_hdr *net_rx_header(const struct net_dev *nd,
                                                         struct pktbuf *buf) {
    return (const struct virtio_net_hdr *)(const void *)(pktbuf_room(buf) - nd->hdr_len);
}

/* Posts every free buffer that the receive ring has room for, whatever the batch. */
void net_rx_refill(struct net_dev *nd);

/* Whether a received buffer can be kept without starving the receive ring: enough others are free to
 * fill it. If not, the caller copies the frame out and gives the buffer back. */
ALWAYS_INLINE bool net_rx_can_keep(const struct net_dev *nd) {
    return nd->pool.free_count > nd->rx.vq.free_count;
}

/* Queues one frame of n segments (1 to NET_TX_SEG_MAX) that together are len bytes of frame. seg[0]
 * starts with nd->hdr_len bytes of virtio header followed by the frame. The header is all zero, but
 * with CSUM negotiated it may ask for one checksum (5.1.6.2).
 * Returns true when the frame was accepted: the memory then stays untouched until token comes back
 * from net_tx_done(). False: it was not, and counted under its cause. The device sees it after
 * net_tx_flush(). */
bool net_tx_add(struct net_dev *nd, const struct vq_seg *seg, unsigned n, uint32_t len,
                void *token);

/* net_tx_add() for a frame that the device cuts into segments, which its virtio header tells it how to do
 * (5.1.6.2). Its limit is nd->tx_gso_len_max. It counts as one frame. */
bool net_tx_add_gso(struct net_dev *nd, const struct vq_seg *seg, unsigned n, uint32_t len,
                    void *token);

/* Sends up to count frames in packet buffers (at most NET_BURST_MAX), as net_rx_burst() gives them or
 * in one buffer each, and publishes once. The nd->hdr_len bytes in front of data become the virtio
 * header. Returns how many were taken, 0 while the link is down: the others stay the caller's. The
 * token of a frame is its first buffer; a frame that is too long is counted and put back at once. */
unsigned net_tx_burst(struct net_dev *nd, struct pktbuf **frames, unsigned count);

/* Publishes what net_tx_add() queued, rings the doorbell when the device asks for it. */
void net_tx_flush(struct net_dev *nd);

/* Notes that a frame finds no room. net_tx_add() and net_tx_burst() do so by themselves; this is for
 * callers that look before. */
void net_tx_full(struct net_dev *nd);

/* Takes back the tokens of up to max frames (at most NET_BURST_MAX) that were sent. */
unsigned net_tx_done(struct net_dev *nd, void **tokens, unsigned max);

/* Descriptors free for net_tx_add(). */
ALWAYS_INLINE unsigned net_tx_room(const struct net_dev *nd) {
    return nd->tx.vq.free_count;
}

/* What net_service() found, as bits. */
enum {
    NET_CHANGED = 1,  /* link state or device */
    NET_ANNOUNCE = 2, /* the device asks that the network be told where we are; then net_announced() */
};

/* Looks after the device; call it about once a second and after a configuration interrupt, since it
 * reads device registers. Follows the link state. A queue that broke is reset alone where the device
 * can do that (2.6); when the device asks for a reset, cannot, or takes frames and does not give them
 * back for seconds, all of it is reset and brought up again. `lost` is called with the token of each
 * frame that was still in a transmit ring. Take back what was sent, with net_tx_done(), before. `now_ms`
 * is clock_ms(). */
unsigned net_service(struct net_dev *nd, uint64_t now_ms,
                     void (*lost)(struct net_dev *nd, void *token));

/* Tells the device that its request NET_ANNOUNCE was followed (5.1.6.5.4). */
void net_announced(struct net_dev *nd);

/* Milliseconds since boot without link or without a working device. */
uint64_t net_outage_ms(const struct net_dev *nd, uint64_t now_ms);

/* Asks the device for an interrupt at the next received frame (rx), and when half of what it holds in
 * the transmit ring was sent (tx); then looks once more. True: there is work already, and the caller
 * must not sleep. Ask for what would be taken only: a caller whose frames wait for room, and who
 * receives none until there is, would be told of received ones again and again. Not for poll mode. */
bool net_arm(struct net_dev *nd, bool rx, bool tx);

/* Asks for no more interrupts of the queues. */
void net_disarm(struct net_dev *nd);

/* Takes note of the interrupts that came since the last call: counts them, and with INTx or a line asks each
 * device what it wanted and acknowledges. `slept`: the caller comes from a sleep. Returns a bit for
 * each device, by index, whose configuration may have changed. Cheap when there was none. */
unsigned net_interrupts_take(bool slept);

/* "msix", "intx", "line" or "none". */
const char *net_irq_name(const struct net_dev *nd);

/* Names of the negotiated features; see virtio_feature_names(). */
unsigned net_feature_names(const struct net_dev *nd, const char *names[VIRTIO_FEATURE_NAMES_MAX]);

const char *net_layout_name(const struct net_queue *queue);

enum { NET_MAC_TEXT_MAX = 18 };
const char *net_mac_text(const struct net_dev *nd, char text[NET_MAC_TEXT_MAX]);

/* Prints the device event. */
void net_print_device(const struct net_dev *nd, const struct config *cfg);

/* Resets all devices, so that none writes to memory any more. */
void net_stop_all(void);

#endif
