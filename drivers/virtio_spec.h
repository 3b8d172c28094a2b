/* Layouts and constants of VIRTIO 1.4, in the words of the specification. No code.
 *
 * Section numbers here and everywhere are those of VIRTIO 1.2; the ring sections have the same
 * numbers in 1.4. All fields are little-endian, as the CPU is. */
#ifndef DRIVERS_VIRTIO_SPEC_H
#define DRIVERS_VIRTIO_SPEC_H

#include <assert.h>
#include <stdint.h>

/* 2.1 Device status field */
enum {
    VIRTIO_STATUS_ACKNOWLEDGE = 1,
    VIRTIO_STATUS_DRIVER = 2,
    VIRTIO_STATUS_DRIVER_OK = 4,
    VIRTIO_STATUS_FEATURES_OK = 8,
    VIRTIO_STATUS_NEEDS_RESET = 64,
    VIRTIO_STATUS_FAILED = 128,
};

/* 2.2, 6: feature bits. Numbers, not masks: they reach a device only
 * through struct virtio_features. */
enum virtio_feature {
    VIRTIO_NET_F_CSUM = 0,
    VIRTIO_NET_F_GUEST_CSUM = 1,
    VIRTIO_NET_F_CTRL_GUEST_OFFLOADS = 2,
    VIRTIO_NET_F_MTU = 3,
    VIRTIO_NET_F_MAC = 5,
    VIRTIO_NET_F_GUEST_TSO4 = 7,
    VIRTIO_NET_F_GUEST_TSO6 = 8,
    VIRTIO_NET_F_GUEST_ECN = 9,
    VIRTIO_NET_F_GUEST_UFO = 10,
    VIRTIO_NET_F_HOST_TSO4 = 11,
    VIRTIO_NET_F_HOST_TSO6 = 12,
    VIRTIO_NET_F_HOST_ECN = 13,
    VIRTIO_NET_F_HOST_UFO = 14,
    VIRTIO_NET_F_MRG_RXBUF = 15,
    VIRTIO_NET_F_STATUS = 16,
    VIRTIO_NET_F_CTRL_VQ = 17,
    VIRTIO_NET_F_CTRL_RX = 18,
    VIRTIO_NET_F_CTRL_VLAN = 19,
    VIRTIO_NET_F_CTRL_RX_EXTRA = 20,
    VIRTIO_NET_F_GUEST_ANNOUNCE = 21,
    VIRTIO_NET_F_MQ = 22,
    VIRTIO_NET_F_CTRL_MAC_ADDR = 23,
    VIRTIO_F_INDIRECT_DESC = 28,
    VIRTIO_F_EVENT_IDX = 29,
    VIRTIO_F_VERSION_1 = 32,
    VIRTIO_F_ACCESS_PLATFORM = 33,
    VIRTIO_F_RING_PACKED = 34,
    VIRTIO_F_IN_ORDER = 35,
    VIRTIO_F_ORDER_PLATFORM = 36,
    VIRTIO_F_SR_IOV = 37,
    VIRTIO_F_NOTIFICATION_DATA = 38,
    VIRTIO_F_NOTIF_CONFIG_DATA = 39,
    VIRTIO_F_RING_RESET = 40,
    VIRTIO_F_ADMIN_VQ = 41,
    VIRTIO_NET_F_DEVICE_STATS = 50,
    VIRTIO_NET_F_HASH_TUNNEL = 51,
    VIRTIO_NET_F_VQ_NOTF_COAL = 52,
    VIRTIO_NET_F_NOTF_COAL = 53,
    VIRTIO_NET_F_GUEST_USO4 = 54,
    VIRTIO_NET_F_GUEST_USO6 = 55,
    VIRTIO_NET_F_HOST_USO = 56,
    VIRTIO_NET_F_HASH_REPORT = 57,
    VIRTIO_NET_F_GUEST_HDRLEN = 59,
    VIRTIO_NET_F_RSS = 60,
    VIRTIO_NET_F_RSC_EXT = 61,
    VIRTIO_NET_F_STANDBY = 62,
    VIRTIO_NET_F_SPEED_DUPLEX = 63,
    VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO = 65,
    VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO = 67,
    VIRTIO_NET_F_OUT_NET_HEADER = 69,
    VIRTIO_NET_F_IPSEC = 70,
};

/* Feature bits 0 to 95 as the three 32-bit words of the transport. */
enum { VIRTIO_FEATURE_WORDS = 3, VIRTIO_FEATURE_BITS = 32 * VIRTIO_FEATURE_WORDS };

/* 2.7.5 The virtqueue descriptor table */
enum {
    VIRTQ_DESC_F_NEXT = 1,
    VIRTQ_DESC_F_WRITE = 2,
    VIRTQ_DESC_F_INDIRECT = 4,
};

struct virtq_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
};
static_assert(sizeof(struct virtq_desc) == 16, "2.7.5");

/* 2.7.6 The virtqueue available ring; used_event follows ring[num] (2.7.7). */
enum { VIRTQ_AVAIL_F_NO_INTERRUPT = 1 };

struct virtq_avail {
    uint16_t flags;
    uint16_t idx;
    uint16_t ring[];
};
static_assert(sizeof(struct virtq_avail) == 4, "2.7.6");

/* 2.7.8 The virtqueue used ring; avail_event follows ring[num] (2.7.10). */
enum { VIRTQ_USED_F_NO_NOTIFY = 1 };

struct virtq_used_elem {
    uint32_t id;
    uint32_t len;
};
static_assert(sizeof(struct virtq_used_elem) == 8, "2.7.8");

struct virtq_used {
    uint16_t flags;
    uint16_t idx;
    struct virtq_used_elem ring[];
};
static_assert(sizeof(struct virtq_used) == 4, "2.7.8");

/* 2.8.13 The packed virtqueue descriptor; NEXT, WRITE and INDIRECT are those of the split ring. */
enum {
    VIRTQ_DESC_F_AVAIL = 1 << 7,
    VIRTQ_DESC_F_USED = 1 << 15,
};

struct pvirtq_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t id;
    uint16_t flags;
};
static_assert(sizeof(struct pvirtq_desc) == 16, "2.8.13");

/* 2.8.14 Event suppression structure: one of the driver, one of the device. */
enum {
    RING_EVENT_FLAGS_ENABLE = 0,
    RING_EVENT_FLAGS_DISABLE = 1,
    RING_EVENT_FLAGS_DESC = 2,
    RING_EVENT_FLAGS_MASK = 3,
    RING_EVENT_WRAP = 1 << 15, /* in off_wrap, above the descriptor's offset */
};

struct pvirtq_event_suppress {
    uint16_t off_wrap;
    uint16_t flags;
};
static_assert(sizeof(struct pvirtq_event_suppress) == 4, "2.8.14");

/* 4.1.4 Virtio structure PCI capabilities */
enum {
    VIRTIO_PCI_CAP_COMMON_CFG = 1,
    VIRTIO_PCI_CAP_NOTIFY_CFG = 2,
    VIRTIO_PCI_CAP_ISR_CFG = 3,
    VIRTIO_PCI_CAP_DEVICE_CFG = 4,
    VIRTIO_PCI_CAP_PCI_CFG = 5,
};

/* Offsets within a capability, whose id and next bytes come first. */
struct virtio_pci_cap {
    uint8_t cap_vndr;
    uint8_t cap_next;
    uint8_t cap_len;
    uint8_t cfg_type;
    uint8_t bar;
    uint8_t id;
    uint8_t padding[2];
    uint32_t offset;
    uint32_t length;
};
static_assert(sizeof(struct virtio_pci_cap) == 16, "4.1.4");

struct virtio_pci_notify_cap {
    struct virtio_pci_cap cap;
    uint32_t notify_off_multiplier;
};
static_assert(sizeof(struct virtio_pci_notify_cap) == 20, "4.1.4.4");

/* 4.1.4.3 Common configuration structure layout */
struct virtio_pci_common_cfg {
    uint32_t device_feature_select;
    uint32_t device_feature;
    uint32_t driver_feature_select;
    uint32_t driver_feature;
    uint16_t config_msix_vector;
    uint16_t num_queues;
    uint8_t device_status;
    uint8_t config_generation;
    uint16_t queue_select;
    uint16_t queue_size;
    uint16_t queue_msix_vector;
    uint16_t queue_enable;
    uint16_t queue_notify_off;
    uint64_t queue_desc;
    uint64_t queue_driver;
    uint64_t queue_device;
    /* A device has the fields from here on only with the features that they serve. */
    uint16_t queue_notif_config_data;
    uint16_t queue_reset;
    uint16_t admin_queue_index;
    uint16_t admin_queue_num;
};
static_assert(sizeof(struct virtio_pci_common_cfg) == 64, "4.1.4.3");

enum { VIRTIO_MSI_NO_VECTOR = 0xffff };

/* 4.1.4.5 ISR status; InterruptStatus of MMIO (4.2.2) has the same bits */
enum { VIRTIO_ISR_QUEUE = 1, VIRTIO_ISR_CONFIG = 2 };

/* 4.2.2 MMIO device register layout; QueueSizeMax and QueueSize were QueueNumMax and QueueNum once */
enum virtio_mmio_register {
    VIRTIO_MMIO_MAGIC_VALUE = 0x000,
    VIRTIO_MMIO_VERSION = 0x004,
    VIRTIO_MMIO_DEVICE_ID = 0x008,
    VIRTIO_MMIO_DEVICE_FEATURES = 0x010,
    VIRTIO_MMIO_DEVICE_FEATURES_SEL = 0x014,
    VIRTIO_MMIO_DRIVER_FEATURES = 0x020,
    VIRTIO_MMIO_DRIVER_FEATURES_SEL = 0x024,
    VIRTIO_MMIO_QUEUE_SEL = 0x030,
    VIRTIO_MMIO_QUEUE_SIZE_MAX = 0x034,
    VIRTIO_MMIO_QUEUE_SIZE = 0x038,
    VIRTIO_MMIO_QUEUE_READY = 0x044,
    VIRTIO_MMIO_QUEUE_NOTIFY = 0x050,
    VIRTIO_MMIO_INTERRUPT_STATUS = 0x060,
    VIRTIO_MMIO_INTERRUPT_ACK = 0x064,
    VIRTIO_MMIO_STATUS = 0x070,
    VIRTIO_MMIO_QUEUE_DESC = 0x080, /* low half; the high one follows */
    VIRTIO_MMIO_QUEUE_DRIVER = 0x090,
    VIRTIO_MMIO_QUEUE_DEVICE = 0x0a0,
    VIRTIO_MMIO_QUEUE_RESET = 0x0c0,
    VIRTIO_MMIO_CONFIG_GENERATION = 0x0fc,
    VIRTIO_MMIO_CONFIG = 0x100,
};

enum {
    VIRTIO_MMIO_MAGIC = 0x74726976, /* "virt" */
    VIRTIO_MMIO_VERSION_LEGACY = 1,
    VIRTIO_MMIO_VERSION_MODERN = 2,
};

/* 5 Device types */
enum { VIRTIO_DEVICE_ID_NET = 1 };

/* 4.1.2 PCI device discovery */
enum {
    VIRTIO_PCI_VENDOR = 0x1af4,
    VIRTIO_PCI_DEVICE_NET_TRANSITIONAL = 0x1000,
    VIRTIO_PCI_DEVICE_NET_MODERN = 0x1041,
};

/* 5.1.4 Network device configuration layout (the part that Ringlet reads) */
struct virtio_net_config {
    uint8_t mac[6];
    uint16_t status;
    uint16_t max_virtqueue_pairs;
    uint16_t mtu;
    uint32_t speed; /* Mbit/s */
    uint8_t duplex;
    uint8_t rss_max_key_size;
    uint16_t rss_max_indirection_table_length;
};
static_assert(sizeof(struct virtio_net_config) == 20, "5.1.4");

enum {
    VIRTIO_NET_S_LINK_UP = 1,
    VIRTIO_NET_S_ANNOUNCE = 2,
    VIRTIO_NET_SPEED_MAX = 0x7fffffff, /* above: unknown */
    VIRTIO_NET_DUPLEX_HALF = 0,
    VIRTIO_NET_DUPLEX_FULL = 1,
};

/* 5.1.2 Virtqueues of a network device without VIRTIO_NET_F_MQ and VIRTIO_NET_F_RSS */
enum { VIRTIO_NET_QUEUE_RX = 0, VIRTIO_NET_QUEUE_TX = 1, VIRTIO_NET_QUEUE_CTRL = 2 };

/* 5.1.6 Device operation: the header in front of every frame. */
enum {
    VIRTIO_NET_HDR_F_NEEDS_CSUM = 1, /* csum_start and csum_offset say which checksum is to be made */
    VIRTIO_NET_HDR_F_DATA_VALID = 2, /* received only: the checksum was checked */
    VIRTIO_NET_HDR_GSO_NONE = 0,
    VIRTIO_NET_HDR_GSO_TCPV4 = 1,
    VIRTIO_NET_HDR_GSO_UDP = 3,
    VIRTIO_NET_HDR_GSO_TCPV6 = 4,
    VIRTIO_NET_HDR_GSO_UDP_L4 = 5,
    VIRTIO_NET_HDR_GSO_ECN = 0x80, /* beside one of TCP's */
};

struct virtio_net_hdr {
    uint8_t flags;
    uint8_t gso_type;
    uint16_t hdr_len;
    uint16_t gso_size;
    uint16_t csum_start;
    uint16_t csum_offset;
    uint16_t num_buffers;
};
static_assert(sizeof(struct virtio_net_hdr) == 12, "5.1.6");

/* 5.1.6.5 Control virtqueue: class and command, then the command's data; the device writes one byte. */
enum { VIRTIO_NET_OK = 0, VIRTIO_NET_ERR = 1 };

enum {
    VIRTIO_NET_CTRL_RX = 0,
    VIRTIO_NET_CTRL_RX_PROMISC = 0,
    VIRTIO_NET_CTRL_RX_ALLMULTI = 1,

    VIRTIO_NET_CTRL_MAC = 1,
    VIRTIO_NET_CTRL_MAC_TABLE_SET = 0,
    VIRTIO_NET_CTRL_MAC_ADDR_SET = 1,

    VIRTIO_NET_CTRL_VLAN = 2,
    VIRTIO_NET_CTRL_VLAN_ADD = 0,
    VIRTIO_NET_CTRL_VLAN_DEL = 1,

    VIRTIO_NET_CTRL_ANNOUNCE = 3,
    VIRTIO_NET_CTRL_ANNOUNCE_ACK = 0,

    VIRTIO_NET_CTRL_GUEST_OFFLOADS = 5,
    VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET = 0,

    VIRTIO_NET_CTRL_NOTF_COAL = 6,
    VIRTIO_NET_CTRL_NOTF_COAL_TX_SET = 0,
    VIRTIO_NET_CTRL_NOTF_COAL_RX_SET = 1,
    VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET = 2,
    VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET = 3,
};

struct virtio_net_ctrl_coal {
    uint32_t max_packets;
    uint32_t max_usecs;
};
static_assert(sizeof(struct virtio_net_ctrl_coal) == 8, "5.1.6.5.7");

struct virtio_net_ctrl_coal_vq {
    uint16_t vq_index;
    uint16_t reserved;
    struct virtio_net_ctrl_coal coal;
};
static_assert(sizeof(struct virtio_net_ctrl_coal_vq) == 12, "5.1.6.5.7");

#endif
