/* Feature negotiation of virtio-net (3.1.1 steps 1 to 6, 5.1.3) and what follows from it. */
#include "drivers/net_parts.h"
#include "lib/err.h"

static const uint8_t supported[] = {
    VIRTIO_F_VERSION_1,
    VIRTIO_F_ACCESS_PLATFORM, /* no IOMMU is ever switched on, so addresses are physical ones */
    VIRTIO_F_ORDER_PLATFORM,  /* lib/ring_mem.h has the argument why nothing is to be done */
    VIRTIO_F_RING_PACKED,
    VIRTIO_F_IN_ORDER,
    VIRTIO_F_INDIRECT_DESC,
    VIRTIO_F_EVENT_IDX,
    VIRTIO_F_NOTIFICATION_DATA,
    VIRTIO_F_NOTIF_CONFIG_DATA,
    VIRTIO_F_RING_RESET,
    VIRTIO_NET_F_MAC,
    VIRTIO_NET_F_STATUS,
    VIRTIO_NET_F_MTU,
    VIRTIO_NET_F_SPEED_DUPLEX,
    VIRTIO_NET_F_CSUM,
    VIRTIO_NET_F_GUEST_CSUM,
    VIRTIO_NET_F_HOST_TSO4, /* without HOST_ECN and GUEST_ECN: lwIP has no ECN */
    VIRTIO_NET_F_HOST_TSO6,
    VIRTIO_NET_F_HOST_USO,
    VIRTIO_NET_F_GUEST_HDRLEN,
    VIRTIO_NET_F_GUEST_TSO4,
    VIRTIO_NET_F_GUEST_TSO6,
    VIRTIO_NET_F_GUEST_USO4, /* USO cuts into datagrams, UFO (left out) into fragments of one */
    VIRTIO_NET_F_GUEST_USO6,
    VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
    VIRTIO_NET_F_MRG_RXBUF,
    VIRTIO_NET_F_CTRL_VQ,
    VIRTIO_NET_F_CTRL_RX,
    VIRTIO_NET_F_CTRL_VLAN,
    VIRTIO_NET_F_CTRL_MAC_ADDR,
    VIRTIO_NET_F_GUEST_ANNOUNCE,
    VIRTIO_NET_F_NOTF_COAL,
    VIRTIO_NET_F_VQ_NOTF_COAL,
};

/* What the device may leave to do in received frames: checksums, and with the others cutting them. */
static const uint8_t guest_offloads[] = {
    VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6,
    VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_GUEST_USO6,
};
enum { LONG_FRAMES_FROM = 1 }; /* those that make for frames longer than the MTU */

/* What raw workloads leave out unless the user says +name. Their buffers hold any frame, so several for
 * one are not needed, and without MRG_RXBUF neither side writes the header of a frame: forwarded ones
 * go out with zeros where received ones would have a number (5.1.6.2, 5.1.6.4). */
static void leave_out(struct virtio_features *wanted, const struct virtio_features *kept) {
    static const uint8_t bits[] = {
        VIRTIO_NET_F_CSUM,      VIRTIO_NET_F_HOST_TSO4,    VIRTIO_NET_F_HOST_TSO6,
        VIRTIO_NET_F_HOST_USO,  VIRTIO_NET_F_GUEST_HDRLEN, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
        VIRTIO_NET_F_MRG_RXBUF,
    };
    for (unsigned i = 0; i < ARRAY_SIZE(bits); i++) {
        if (!virtio_feature_get(kept, bits[i])) {
            virtio_feature_clear(wanted, bits[i]);
        }
    }
}

int net_features_wanted(const struct config *cfg, struct virtio_features *wanted,
                        struct virtio_features *kept) {
    struct virtio_wishes wishes;
    char error[160];
    if (virtio_feature_wishes(cfg->features, &wishes, error, sizeof(error)) != ERR_OK) {
        log_error("config: %s", error);
        return ERR_CONFIG;
    }
    *wanted = (struct virtio_features){0};
    *kept = wishes.kept;
    for (unsigned i = 0; i < ARRAY_SIZE(supported); i++) {
        if (!virtio_feature_get(&wishes.masked, supported[i])) {
            virtio_feature_set(wanted, supported[i]);
        }
        virtio_feature_clear(&wishes.kept, supported[i]);
    }
    if (virtio_feature_names(&wishes.kept, (const char *[VIRTIO_FEATURE_NAMES_MAX]){0}) != 0) {
        log_error("config: features=: + is for features that Ringlet supports");
        return ERR_CONFIG;
    }
    if (cfg->ring == CONFIG_RING_SPLIT) {
        virtio_feature_clear(wanted, VIRTIO_F_RING_PACKED);
    }
    if (!config_is_raw(cfg)) {
        return ERR_OK;
    }
    leave_out(wanted, kept);
    for (unsigned i = 0; i < ARRAY_SIZE(guest_offloads); i++) {
        if (virtio_feature_get(kept, guest_offloads[i])) {
            log_error("config: features=+%s: app=%s hands frames on as they come, so they have to be "
                      "whole", virtio_feature_name(guest_offloads[i]), config_app_name(cfg->app));
            return ERR_CONFIG;
        }
        virtio_feature_clear(wanted, guest_offloads[i]);
    }
    return ERR_OK;
}

enum vq_layout net_layout(const struct net_dev *nd) {
    const bool in_order = net_has(nd, VIRTIO_F_IN_ORDER);
    if (net_has(nd, VIRTIO_F_RING_PACKED)) {
        return in_order ? VQ_PACKED_IN_ORDER : VQ_PACKED;
    }
    return in_order ? VQ_SPLIT_IN_ORDER : VQ_SPLIT;
}

int net_read_config(struct net_dev *nd, size_t off, unsigned width, unsigned count, void *out) {
    const int err = virtio_dev_config(&nd->dev, (uint32_t)off, width, count, out);
    if (err != ERR_OK) {
        NET_ERROR(nd, "device configuration cannot be read at offset %zu", off);
    }
    return err;
}

/* 5.1.6: by what was negotiated; the largest struct first. */
static uint8_t header_len(const struct net_dev *nd) {
    if (net_has(nd, VIRTIO_NET_F_OUT_NET_HEADER) || net_has(nd, VIRTIO_NET_F_IPSEC)) {
        return 32;
    }
    if (net_has(nd, VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO) ||
        net_has(nd, VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO)) {
        return 24;
    }
    return net_has(nd, VIRTIO_NET_F_HASH_REPORT) ? 20 : sizeof(struct virtio_net_hdr);
}

/* An MTU that cannot be served is not accepted (5.1.4.2); the default one is used then. */
static int negotiate_mtu(struct net_dev *nd) {
    uint16_t mtu = 0;
    nd->mtu = NET_MTU_DEFAULT;
    if (!net_has(nd, VIRTIO_NET_F_MTU)) {
        return ERR_OK;
    }
    const int err = net_read_config(nd, offsetof(struct virtio_net_config, mtu), 2, 1, &mtu);
    if (err != ERR_OK) {
        return err;
    }
    if (mtu < NET_MTU_MIN || mtu > NET_MTU_MAX) {
        NET_ERROR(nd, "device offers an MTU of %u, not %u to %u; not accepted", mtu, NET_MTU_MIN,
                  NET_MTU_MAX);
        virtio_feature_clear(&nd->features, VIRTIO_NET_F_MTU);
    } else {
        nd->mtu = mtu;
    }
    return ERR_OK;
}

/* Frames that are not cut to the MTU come in many buffers, never in one of 64 KiB (5.1.6.3.1). */
static void leave_long_frames(struct net_dev *nd) {
    for (unsigned i = LONG_FRAMES_FROM; i < ARRAY_SIZE(guest_offloads); i++) {
        virtio_feature_clear(&nd->features, guest_offloads[i]);
    }
}

bool net_takes_long_frames(const struct net_dev *nd) {
    bool takes = false;
    for (unsigned i = LONG_FRAMES_FROM; i < ARRAY_SIZE(guest_offloads); i++) {
        takes |= virtio_feature_get(&nd->features, guest_offloads[i]);
    }
    return takes;
}

/* What Ringlet cannot do without, and what the user insists on. */
static int check_features(const struct net_dev *nd) {
    const struct virtio_features *offered = &nd->dev.offered;
    if (!net_has(nd, VIRTIO_F_VERSION_1)) {
        const bool masked = virtio_feature_get(offered, VIRTIO_F_VERSION_1);
        NET_ERROR(nd, "feature version_1 is %s; Ringlet cannot work without it",
                  masked ? "masked" : "not offered");
        return masked ? ERR_CONFIG : ERR_DEVICE;
    }
    if (nd->need_packed && !net_has(nd, VIRTIO_F_RING_PACKED)) {
        NET_ERROR(nd, "ring=packed: feature ring_packed is %s",
                  virtio_feature_get(offered, VIRTIO_F_RING_PACKED)
                      ? "masked"
                      : "not offered by the device (QEMU: packed=on)");
        return ERR_CONFIG;
    }
    return ERR_OK;
}

int net_negotiate(struct net_dev *nd) {
    struct virtio_dev *v = &nd->dev;
    if (virtio_dev_reset(v) != ERR_OK) {
        NET_ERROR(nd, "device does not finish a reset");
        return ERR_TIMEOUT;
    }
    virtio_dev_add_status(v, VIRTIO_STATUS_ACKNOWLEDGE);
    virtio_dev_add_status(v, VIRTIO_STATUS_DRIVER);
    virtio_dev_read_offer(v);
    for (unsigned i = 0; i < VIRTIO_FEATURE_WORDS; i++) {
        nd->features.word[i] = v->offered.word[i] & nd->wanted.word[i];
    }
    virtio_dev_limit(v, &nd->features);
    virtio_feature_close(&nd->features);
    if (!net_has(nd, VIRTIO_NET_F_MRG_RXBUF)) {
        leave_long_frames(nd);
    }
    if (nd->leave_event_idx && !net_has(nd, VIRTIO_F_RING_PACKED)) {
        /* The flags of a split ring can say "never"; an index only "not for the next 65535". */
        virtio_feature_clear(&nd->features, VIRTIO_F_EVENT_IDX);
    }
    int err = check_features(nd);
    if (err == ERR_OK) {
        err = negotiate_mtu(nd);
    }
    if (err != ERR_OK) {
        return err;
    }
    nd->hdr_len = header_len(nd);
    if (virtio_dev_accept(v, &nd->features) != ERR_OK) {
        NET_ERROR(nd, "device refuses the features %08x %08x %08x", nd->features.word[2],
                  nd->features.word[1], nd->features.word[0]);
        return ERR_DEVICE;
    }
    return ERR_OK;
}
