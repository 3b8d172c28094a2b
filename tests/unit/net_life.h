/* What virtio-net devices go through: service, restarts, and the frames that they lose then. */
#ifndef TESTS_UNIT_NET_LIFE_H
#define TESTS_UNIT_NET_LIFE_H

#include "tests/unit/net_rig.h"

enum { LINK_UP = VIRTIO_NET_S_LINK_UP, ANNOUNCE = VIRTIO_NET_S_ANNOUNCE, STATUS_OFF = 6 };

static void *lost[1024];
static unsigned lost_count;

/* Called once for each, and not before the device has let go of it. */
static void count_lost(struct net_dev *which, void *token) {
    assert_ptr_equal(which, nd);
    assert_false(dev.queue[TX].enabled || dev.reset_pending);
    assert_true(lost_count < ARRAY_SIZE(lost));
    for (unsigned i = 0; i < lost_count; i++) {
        assert_ptr_not_equal(lost[i], token);
    }
    lost[lost_count++] = token;
}

static inline unsigned service(void) {
    return net_service(nd, clock_ms(), count_lost);
}

/* What the device is asked once a second: time goes on in between. */
static inline unsigned next_service(void) {
    now_us += 1000 * 1000;
    return service();
}

static inline void restart(void) {
    const uint32_t restarts = nd->restarts;
    lost_count = 0;
    virtio_device_need_reset(&dev);
    assert_int_equal(service(), NET_CHANGED);
    assert_int_equal(nd->restarts, restarts + 1);
    expect_no_violation();
}

static inline void offer_ctrl(void) {
    static const uint8_t bits[] = {VIRTIO_NET_F_CTRL_VQ,        VIRTIO_NET_F_CTRL_RX,
                                   VIRTIO_NET_F_CTRL_VLAN,      VIRTIO_NET_F_CTRL_MAC_ADDR,
                                   VIRTIO_NET_F_GUEST_ANNOUNCE, VIRTIO_NET_F_NOTF_COAL};
    for (unsigned i = 0; i < ARRAY_SIZE(bits); i++) {
        offer(bits[i]);
    }
}

/* All that is about frames longer than the MTU, and what it needs. */
static inline void offer_offloads(void) {
    static const uint8_t bits[] = {
        VIRTIO_NET_F_CSUM,       VIRTIO_NET_F_HOST_TSO4,  VIRTIO_NET_F_HOST_TSO6,
        VIRTIO_NET_F_HOST_USO,   VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4,
        VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_GUEST_USO6,
        VIRTIO_NET_F_MRG_RXBUF,  VIRTIO_NET_F_CTRL_VQ,    VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
    };
    for (unsigned i = 0; i < ARRAY_SIZE(bits); i++) {
        offer(bits[i]);
    }
}

static inline bool offload_is_on(unsigned bit) {
    return virtio_device_accepted(&dev, bit) && !(dev.ctrl.offloads_off >> bit & 1);
}

#endif
