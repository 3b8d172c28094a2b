/* What is virtio-net's own in the device model (5.1): features, configuration, received frames. */
#include "tests/model/virtio_device_parts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    F_CSUM = 0,
    F_GUEST_CSUM = 1,
    F_CTRL_GUEST_OFFLOADS = 2,
    F_MTU = 3,
    F_MAC = 5,
    F_GUEST_TSO4 = 7,
    F_GUEST_TSO6 = 8,
    F_GUEST_ECN = 9,
    F_GUEST_UFO = 10,
    F_HOST_TSO4 = 11,
    F_HOST_TSO6 = 12,
    F_HOST_ECN = 13,
    F_HOST_UFO = 14,
    F_MRG_RXBUF = 15,
    F_STATUS = 16,
    F_CTRL_VQ = 17,
    F_CTRL_RX = 18,
    F_CTRL_VLAN = 19,
    F_CTRL_RX_EXTRA = 20,
    F_GUEST_ANNOUNCE = 21,
    F_MQ = 22,
    F_CTRL_MAC_ADDR = 23,
    F_SR_IOV = 37,
    F_ADMIN_VQ = 41,
    F_DEVICE_STATS = 50,
    F_HASH_TUNNEL = 51,
    F_VQ_NOTF_COAL = 52,
    F_NOTF_COAL = 53,
    F_GUEST_USO4 = 54,
    F_GUEST_USO6 = 55,
    F_HOST_USO = 56,
    F_HASH_REPORT = 57,
    F_RSS = 60,
    F_RSC_EXT = 61,
    F_SPEED_DUPLEX = 63,
    F_RSS_CONTEXT = 64,
    F_GUEST_UDP_TUNNEL_GSO = 65,
    F_GUEST_UDP_TUNNEL_GSO_CSUM = 66,
    F_HOST_UDP_TUNNEL_GSO = 67,
    F_HOST_UDP_TUNNEL_GSO_CSUM = 68,
    NO_BIT = 95,
    HEADER = 12,
    NUM_BUFFERS = 10,
    RX = 0,
};

/* 5.1.3.1, with what it says of bits above 64, and what follows from other sections: CTRL_MAC_ADDR
 * cannot be used without CTRL_RX (5.1.6.5.2), GUEST_ANNOUNCE asks through the status (5.1.4). One of two
 * is enough where `or` is given. */
static const struct {
    uint8_t bit, needs, or;
} needs[] = {
    {F_CTRL_GUEST_OFFLOADS, F_CTRL_VQ, NO_BIT},
    {F_GUEST_TSO4, F_GUEST_CSUM, NO_BIT},
    {F_GUEST_TSO6, F_GUEST_CSUM, NO_BIT},
    {F_GUEST_ECN, F_GUEST_TSO4, F_GUEST_TSO6},
    {F_GUEST_UFO, F_GUEST_CSUM, NO_BIT},
    {F_GUEST_USO4, F_GUEST_CSUM, NO_BIT},
    {F_GUEST_USO6, F_GUEST_CSUM, NO_BIT},
    {F_GUEST_UDP_TUNNEL_GSO, F_GUEST_TSO4, NO_BIT},
    {F_GUEST_UDP_TUNNEL_GSO, F_GUEST_TSO6, NO_BIT},
    {F_GUEST_UDP_TUNNEL_GSO, F_GUEST_USO4, NO_BIT},
    {F_GUEST_UDP_TUNNEL_GSO, F_GUEST_USO6, NO_BIT},
    {F_GUEST_UDP_TUNNEL_GSO_CSUM, F_GUEST_UDP_TUNNEL_GSO, NO_BIT},
    {F_HOST_TSO4, F_CSUM, NO_BIT},
    {F_HOST_TSO6, F_CSUM, NO_BIT},
    {F_HOST_ECN, F_HOST_TSO4, F_HOST_TSO6},
    {F_HOST_UFO, F_CSUM, NO_BIT},
    {F_HOST_USO, F_CSUM, NO_BIT},
    {F_HOST_UDP_TUNNEL_GSO, F_HOST_TSO4, NO_BIT},
    {F_HOST_UDP_TUNNEL_GSO, F_HOST_TSO6, NO_BIT},
    {F_HOST_UDP_TUNNEL_GSO, F_HOST_USO, NO_BIT},
    {F_HOST_UDP_TUNNEL_GSO_CSUM, F_HOST_UDP_TUNNEL_GSO, NO_BIT},
    {F_CTRL_RX, F_CTRL_VQ, NO_BIT},
    {F_CTRL_VLAN, F_CTRL_VQ, NO_BIT},
    {F_CTRL_RX_EXTRA, F_CTRL_VQ, NO_BIT},
    {F_GUEST_ANNOUNCE, F_CTRL_VQ, NO_BIT},
    {F_GUEST_ANNOUNCE, F_STATUS, NO_BIT},
    {F_MQ, F_CTRL_VQ, NO_BIT},
    {F_CTRL_MAC_ADDR, F_CTRL_VQ, NO_BIT},
    {F_CTRL_MAC_ADDR, F_CTRL_RX, NO_BIT},
    {F_DEVICE_STATS, F_CTRL_VQ, NO_BIT},
    {F_HASH_TUNNEL, F_CTRL_VQ, NO_BIT},
    {F_HASH_TUNNEL, F_RSS, F_HASH_REPORT},
    {F_NOTF_COAL, F_CTRL_VQ, NO_BIT},
    {F_VQ_NOTF_COAL, F_CTRL_VQ, NO_BIT},
    {F_HASH_REPORT, F_CTRL_VQ, NO_BIT},
    {F_RSS, F_CTRL_VQ, NO_BIT},
    {F_RSC_EXT, F_HOST_TSO4, F_HOST_TSO6},
    {F_RSS_CONTEXT, F_RSS, NO_BIT},
};

/* Bits that mean something on a virtio-net device on PCI: 5.1.3 without the obsolete GSO, and 6. */
static bool is_defined(unsigned bit) {
    return bit <= F_MTU || bit == F_MAC || (bit >= F_GUEST_TSO4 && bit <= F_CTRL_MAC_ADDR) ||
           bit == 28 || bit == 29 || (bit >= 32 && bit <= F_ADMIN_VQ) ||
           (bit >= F_DEVICE_STATS && bit <= 70 && bit != 58);
}

void virtio_device_check_features(struct virtio_device *d) {
    for (unsigned i = 0; i < 3; i++) {
        virtio_device_rule(d, !(d->accepted[i] & ~d->offered[i]),
                           "2.2.1: accepted but not offered");
    }
    virtio_device_rule(d, !(d->offered[1] & 1) || (d->accepted[1] & 1),
                       "6.1: VERSION_1 is to be accepted");
    if (d->any_features) {
        return;
    }
    for (unsigned bit = 0; bit < NO_BIT + 1; bit++) {
        virtio_device_rule(d, !virtio_device_accepted(d, bit) || is_defined(bit),
                           "2.2.1: a bit was accepted that means nothing here");
    }
    virtio_device_rule(d, !virtio_device_accepted(d, F_SR_IOV), "6.1: SR_IOV without capability");
    for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
        virtio_device_rule(d,
                           !virtio_device_accepted(d, needs[i].bit) ||
                               virtio_device_accepted(d, needs[i].needs) ||
                               virtio_device_accepted(d, needs[i].or),
                           "2.2.1, 5.1.3.1: accepted without a feature that it needs");
    }
}

/* --- configuration ---------------------------------------------------------------------------- */

/* The fields of 5.1.4 that depend on a feature, and their widths (4.1.3.1). */
uint32_t virtio_device_read_config(struct virtio_device *d, uint32_t off, unsigned width) {
    const bool mac = d->offered[0] >> F_MAC & 1;
    const bool status = d->offered[0] >> F_STATUS & 1;
    const bool mtu = d->offered[0] >> F_MTU & 1;
    const bool speed = d->offered[1] >> (F_SPEED_DUPLEX - 32) & 1;
    uint32_t value = 0;
    virtio_device_rule(d,
                       (off < 6 && mac) || (off == 6 && status) || (off == 10 && mtu) ||
                           ((off == 12 || off == 16) && speed),
                       "2.5.1: a field was read whose feature was not offered");
    virtio_device_rule(d, width == (off < 6 || off == 16 ? 1 : off == 12 ? 4 : 2),
                       "4.1.3.1: width of an access");
    if (d->on_config_read != NULL) {
        d->on_config_read(d, off);
    }
    for (unsigned i = 0; i < width; i++) {
        value |= (uint32_t)d->config[off + i] << 8 * i;
    }
    return value;
}

/* --- received frames -------------------------------------------------------------------------- */

/* 5.1.6.4.1: a header in front of the first buffer alone, each buffer but the last used up. */
unsigned virtio_device_receive(struct virtio_device *d, const uint8_t *frame, uint32_t len,
                               uint32_t per_buffer, int lie) {
    struct vq_device *ring = &d->queue[RX].ring;
    const uint32_t total = HEADER + len;
    const uint32_t part_max = per_buffer == 0 ? total : per_buffer;
    const uint32_t count = (total + part_max - 1) / part_max;
    const uint16_t told = lie >= 0 ? (uint16_t)lie : (uint16_t)count;
    assert(count == 1 || virtio_device_accepted(d, F_MRG_RXBUF));
    (void)vq_device_position(ring); /* takes over what was published */
    if (ring->violation != NULL || ring->seen - ring->fetched < count) {
        return 0;
    }
    uint8_t *bytes = calloc(1, total);
    assert(bytes != NULL);
    memcpy(bytes + NUM_BUFFERS, &told, sizeof(told));
    memcpy(bytes + HEADER, frame, len);
    for (uint32_t off = 0; off < total; off += part_max) {
        struct vq_device_buffer b;
        const uint32_t part = total - off < part_max ? total - off : part_max;
        const bool fetched = vq_device_fetch(ring, &b);
        assert(fetched);
        const size_t written = vq_device_write(ring, b.id, bytes + off, part);
        assert(written == part);
        vq_device_use(ring, b.id, part);
    }
    free(bytes);
    return count;
}
