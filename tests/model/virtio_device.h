/* A virtio-net device on the machine of pci_bus.h, on PCI with the registers of 4.1.4 or without it with
 * those of 4.2.2: a receive, a transmit and a control queue.
 *
 * It keeps the device's rules, except where a test sets one of the faults below, and watches the
 * driver's: the first rule that was broken is kept in `violation`. The queues are played by
 * vq_device.h from the moment they are enabled.
 *
 * Sections are those of VIRTIO 1.2. Where it has its parts: virtio_device.c registers areas and
 * interrupts, virtio_device_mmio.c the registers without PCI, virtio_device_common.c the common
 * configuration, virtio_device_net.c features, configuration and frames of section 5.1,
 * virtio_device_gso.c long frames, virtio_device_ctrl.c the control queue. */
#ifndef TESTS_MODEL_VIRTIO_DEVICE_H
#define TESTS_MODEL_VIRTIO_DEVICE_H

#include "tests/model/pci_bus.h"
#include "tests/model/pci_msix.h"
#include "tests/model/vq_device.h"

enum {
    VIRTIO_DEVICE_QUEUES = 3,
    VIRTIO_DEVICE_LOG = 64,
    VIRTIO_DEVICE_BAR = 4,
    VIRTIO_DEVICE_BAR_SIZE = 0x10000,
    VIRTIO_DEVICE_MSIX = 0x8000, /* the MSI-X table, in that BAR */
    VIRTIO_DEVICE_COMMON_SIZE = 64,
    VIRTIO_DEVICE_NO_VECTOR = 0xffff,
    VIRTIO_DEVICE_CONFIG = VIRTIO_DEVICE_QUEUES, /* configuration changes, among the events */
};

/* What memory of a ring was when a reset began: the driver must not touch it before the end. */
struct virtio_device_guard {
    bool on;
    struct vq_device_setup ring;
    uint64_t sum;
};

struct virtio_device_queue {
    uint16_t max; /* what it offers after a reset */
    uint16_t size;
    uint16_t notify_off;
    uint16_t notify_data;   /* with NOTIF_CONFIG_DATA, what it wants to read in a doorbell */
    uint16_t vector;        /* MSI-X entry */
    bool vector_unread;     /* it was written, but the driver does not know yet whether that was good */
    bool size_written;
    uint32_t half[6];       /* desc, driver, device; low half first */
    uint8_t halves_written; /* one bit each */
    bool enabled;
    bool resetting;         /* queue_reset reads 1 ... */
    unsigned reset_reads;   /* ... so many times more */
    bool was_reset;         /* alone, since the device was */
    unsigned resets;        /* of this queue alone, since the beginning */
    struct virtio_device_guard guard;
    unsigned doorbells;
    bool lied; /* the device broke its own rules: the ring is out of step until it is reset */
    struct vq_device ring; /* while enabled */
};

/* Where an area lies; len 0: it does not exist. */
struct virtio_device_area {
    uint8_t bar;
    uint32_t off, len;
};

/* How the device answers a command of the control queue. */
enum virtio_device_answer {
    ANSWER_WELL,
    ANSWER_ERR,        /* VIRTIO_NET_ERR, without doing anything */
    ANSWER_GARBAGE,    /* an ack byte that means nothing */
    ANSWER_NOTHING,    /* takes the command and keeps it */
    ANSWER_EMPTY,      /* gives it back and says that it wrote nothing */
    ANSWER_LONG,       /* ... more than the buffer holds */
    ANSWER_TWICE,      /* gives it back, and once more */
    ANSWER_UNKNOWN_ID, /* gives back something else */
};

enum { COMMAND_LOG = 64, COMMAND_DATA = 16, VLAN_MAX = 8, CLASS_ANY = 0xff };

struct virtio_device_command {
    uint8_t class, command;
    uint8_t data[COMMAND_DATA];
    size_t len; /* of the data */
};

struct virtio_device_coalesce {
    uint32_t packets, usecs;
};

struct virtio_device_ctrl {
    /* What commands have set; a reset of the device forgets it. */
    bool promisc, allmulti, has_mac;
    uint8_t mac[6];
    uint16_t vlan[VLAN_MAX];
    unsigned vlan_count;
    struct virtio_device_coalesce coalesce[2];  /* in force, of each queue */
    struct virtio_device_coalesce all_queues[2]; /* of receive and transmit queues */
    uint64_t offloads_off; /* receive offloads that were negotiated and then switched off */
    /* Since the beginning. */
    struct virtio_device_command log[COMMAND_LOG];
    unsigned count;
    /* Faults and freedoms. */
    enum virtio_device_answer answer;
    uint8_t answer_class; /* of commands that are answered so; others well. CLASS_ANY: all */
    bool waits;           /* does nothing at a doorbell, only in virtio_device_ctrl_run() */
};

/* Where the device is without PCI, and what only such a one has. */
struct virtio_device_mmio {
    uint64_t base; /* 0: it is on PCI */
    uint32_t size;
    uint32_t magic, version, id; /* what these registers read */
    unsigned known;              /* registers of those three that the driver has read, in order */
    bool ready_read;             /* QueueReady, since the queue was selected */
    uint8_t isr_told;            /* bits of InterruptStatus that the driver has read */
    /* Faults and freedoms. */
    uint32_t isr_undefined; /* bits of InterruptStatus beside the two */
    uint32_t size_max_high; /* of QueueSizeMax, the upper 16 bits */
    bool ready_stuck;       /* QueueReady reads 1, whatever happens */
    bool event_at_ack;      /* the configuration changes just before the next acknowledgement */
    bool as_qemu; /* takes each feature word above the first for the second, and has no QueueReset */
};

struct virtio_device {
    struct pci_fn *fn; /* NULL: without PCI */
    struct virtio_device_mmio mmio;
    struct virtio_device_area area[5]; /* by cfg_type; 0 is not used */
    uint32_t notify_multiplier;
    uint32_t offered[3], accepted[3];
    uint32_t device_select, driver_select;
    uint8_t status;
    bool reset_pending; /* not yet read back as 0 */
    uint8_t status_log[VIRTIO_DEVICE_LOG];
    unsigned status_count; /* writes of the status */
    uint16_t queue_select;
    struct virtio_device_queue queue[VIRTIO_DEVICE_QUEUES];
    uint8_t generation;
    uint8_t config[64];
    struct pci_msix msix;
    uint16_t config_vector;
    bool config_vector_unread;
    uint8_t isr;
    unsigned isr_reads;
    struct virtio_device_ctrl ctrl;
    void *arena; /* the memory that buffers may lie in */
    size_t arena_size;

    /* Faults and freedoms. */
    unsigned reset_reads;       /* status reads until a reset is over, UINT_MAX: never */
    unsigned queue_reset_reads; /* the same for each reset of a queue */
    unsigned vector_room;       /* different MSI-X entries that it can use at a time */
    uint8_t vectors_refused;    /* events that it cannot map at all, a bit for each */
    bool refuse_features;
    bool gone; /* as if it was pulled out: reads give all ones, writes do nothing */
    bool any_features; /* the driver may accept what it wants, if it was offered */
    void (*on_config_read)(struct virtio_device *d, uint32_t off); /* may be NULL */
    /* The device interrupts: by a message, with the data of its MSI-X entry, or by its line. */
    void (*on_interrupt)(struct virtio_device *d, bool message, uint32_t data); /* may be NULL */
    const char *violation;
};

/* Adds the function with one BAR at bar_addr, an offer of VERSION_1, MAC and STATUS, and queues of
 * 256 descriptors. The areas are set, but no capability tells of them yet. */
void virtio_device_add(struct virtio_device *d, uint8_t dev, uint64_t bar_addr);
/* The same without PCI, with its registers at base. */
void virtio_device_add_mmio(struct virtio_device *d, uint64_t base);

void virtio_device_fini(struct virtio_device *d);

/* Appends the capability of one area, or of all four. */
void virtio_device_add_cap(struct virtio_device *d, uint8_t cfg_type);
void virtio_device_add_caps(struct virtio_device *d);

/* Appends the MSI-X capability, with a table of so many entries. Nothing without PCI. */
void virtio_device_add_msix(struct virtio_device *d, uint16_t entries);

void virtio_device_offer(struct virtio_device *d, unsigned bit, bool on);
bool virtio_device_accepted(const struct virtio_device *d, unsigned bit);

/* Takes the rings out of use as a reset does; faults stay. */
void virtio_device_reset(struct virtio_device *d);

/* Interrupts for an event, a queue or VIRTIO_DEVICE_CONFIG, in the way that the driver has chosen
 * (4.1.5.3, 4.1.5.4). */
void virtio_device_interrupt(struct virtio_device *d, unsigned event);

/* Changes the configuration, with all that belongs to it. */
void virtio_device_configure(struct virtio_device *d, uint32_t off, uint8_t value);

/* Sets DEVICE_NEEDS_RESET (2.1.2). */
void virtio_device_need_reset(struct virtio_device *d);

/* Uses receive buffers for a frame of len bytes, at most per_buffer bytes in each, the header of the
 * first included; 0: all in one. num_buffers of the header is what it must be, or that of `lie` when it is
 * not negative. Returns how many buffers, 0 when the driver has not posted as many. Not shown yet. */
unsigned virtio_device_receive(struct virtio_device *d, const uint8_t *frame, uint32_t len,
                               uint32_t per_buffer, int lie);

/* The same for a frame that was not cut to the MTU, in as many buffers as it needs, each of them filled. The
 * header is given, but for num_buffers. Returns how many, 0 when those that are posted do not hold it: the
 * driver's fault. */
unsigned virtio_device_receive_merged(struct virtio_device *d, const uint8_t header[12],
                                      const uint8_t *frame, uint32_t len);

/* What the driver says of a frame that it sends, virtio header included, keeps to 5.1.6.2. */
void virtio_device_check_sent(struct virtio_device *d, const uint8_t *bytes, uint32_t len);

/* Lies about a queue, as vq_device_fault() and vq_device_place(); then the device leaves it alone until it
 * is reset. */
bool virtio_device_fault(struct virtio_device *d, unsigned queue, enum vq_fault fault);
void virtio_device_lie(struct virtio_device *d, unsigned queue, uint32_t id, uint32_t len);

/* Does what is in the control queue. */
void virtio_device_ctrl_run(struct virtio_device *d);

#endif
