#include "drivers/virtio_features.h"

#include "lib/err.h"

#include <stdio.h>
#include <string.h>

static const struct {
    uint8_t bit;
    const char *name;
} feature_names[] = {
    {VIRTIO_NET_F_CSUM, "csum"},
    {VIRTIO_NET_F_GUEST_CSUM, "guest_csum"},
    {VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, "ctrl_guest_offloads"},
    {VIRTIO_NET_F_MTU, "mtu"},
    {VIRTIO_NET_F_MAC, "mac"},
    {VIRTIO_NET_F_GUEST_TSO4, "guest_tso4"},
    {VIRTIO_NET_F_GUEST_TSO6, "guest_tso6"},
    {VIRTIO_NET_F_GUEST_ECN, "guest_ecn"},
    {VIRTIO_NET_F_GUEST_UFO, "guest_ufo"},
    {VIRTIO_NET_F_HOST_TSO4, "host_tso4"},
    {VIRTIO_NET_F_HOST_TSO6, "host_tso6"},
    {VIRTIO_NET_F_HOST_ECN, "host_ecn"},
    {VIRTIO_NET_F_HOST_UFO, "host_ufo"},
    {VIRTIO_NET_F_MRG_RXBUF, "mrg_rxbuf"},
    {VIRTIO_NET_F_STATUS, "status"},
    {VIRTIO_NET_F_CTRL_VQ, "ctrl_vq"},
    {VIRTIO_NET_F_CTRL_RX, "ctrl_rx"},
    {VIRTIO_NET_F_CTRL_VLAN, "ctrl_vlan"},
    {VIRTIO_NET_F_CTRL_RX_EXTRA, "ctrl_rx_extra"},
    {VIRTIO_NET_F_GUEST_ANNOUNCE, "guest_announce"},
    {VIRTIO_NET_F_MQ, "mq"},
    {VIRTIO_NET_F_CTRL_MAC_ADDR, "ctrl_mac_addr"},
    {VIRTIO_F_INDIRECT_DESC, "indirect_desc"},
    {VIRTIO_F_EVENT_IDX, "event_idx"},
    {VIRTIO_F_VERSION_1, "version_1"},
    {VIRTIO_F_ACCESS_PLATFORM, "access_platform"},
    {VIRTIO_F_RING_PACKED, "ring_packed"},
    {VIRTIO_F_IN_ORDER, "in_order"},
    {VIRTIO_F_ORDER_PLATFORM, "order_platform"},
    {VIRTIO_F_SR_IOV, "sr_iov"},
    {VIRTIO_F_NOTIFICATION_DATA, "notification_data"},
    {VIRTIO_F_NOTIF_CONFIG_DATA, "notif_config_data"},
    {VIRTIO_F_RING_RESET, "ring_reset"},
    {VIRTIO_F_ADMIN_VQ, "admin_vq"},
    {VIRTIO_NET_F_DEVICE_STATS, "device_stats"},
    {VIRTIO_NET_F_HASH_TUNNEL, "hash_tunnel"},
    {VIRTIO_NET_F_VQ_NOTF_COAL, "vq_notf_coal"},
    {VIRTIO_NET_F_NOTF_COAL, "notf_coal"},
    {VIRTIO_NET_F_GUEST_USO4, "guest_uso4"},
    {VIRTIO_NET_F_GUEST_USO6, "guest_uso6"},
    {VIRTIO_NET_F_HOST_USO, "host_uso"},
    {VIRTIO_NET_F_HASH_REPORT, "hash_report"},
    {VIRTIO_NET_F_GUEST_HDRLEN, "guest_hdrlen"},
    {VIRTIO_NET_F_RSS, "rss"},
    {VIRTIO_NET_F_RSC_EXT, "rsc_ext"},
    {VIRTIO_NET_F_STANDBY, "standby"},
    {VIRTIO_NET_F_SPEED_DUPLEX, "speed_duplex"},
};

_Static_assert(ARRAY_SIZE(feature_names) <= VIRTIO_FEATURE_NAMES_MAX, "all names fit");

unsigned virtio_feature_names(const struct virtio_features *f,
                              const char *names[VIRTIO_FEATURE_NAMES_MAX]) {
    unsigned count = 0;
    for (size_t i = 0; i < ARRAY_SIZE(feature_names); i++) {
        if (virtio_feature_get(f, feature_names[i].bit)) {
            names[count++] = feature_names[i].name;
        }
    }
    return count;
}

const char *virtio_feature_name(unsigned bit) {
    for (size_t i = 0; i < ARRAY_SIZE(feature_names); i++) {
        if (feature_names[i].bit == bit) {
            return feature_names[i].name;
        }
    }
    return "?";
}

/* 5.1.3.1. What needs another one with needs of its own comes behind it. */
static const struct {
    uint8_t bit, needs;
} feature_needs[] = {
    {VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_CSUM},
    {VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_CSUM},
    {VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_GUEST_CSUM},
    {VIRTIO_NET_F_GUEST_USO6, VIRTIO_NET_F_GUEST_CSUM},
    {VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_CSUM},
    {VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_CSUM},
    {VIRTIO_NET_F_HOST_USO, VIRTIO_NET_F_CSUM},
    {VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, VIRTIO_NET_F_CTRL_VQ},
    {VIRTIO_NET_F_CTRL_RX, VIRTIO_NET_F_CTRL_VQ},
    {VIRTIO_NET_F_CTRL_VLAN, VIRTIO_NET_F_CTRL_VQ},
    {VIRTIO_NET_F_GUEST_ANNOUNCE, VIRTIO_NET_F_CTRL_VQ},
    {VIRTIO_NET_F_GUEST_ANNOUNCE, VIRTIO_NET_F_STATUS}, /* the field that asks for it (5.1.4) */
    {VIRTIO_NET_F_CTRL_MAC_ADDR, VIRTIO_NET_F_CTRL_VQ},
    {VIRTIO_NET_F_CTRL_MAC_ADDR, VIRTIO_NET_F_CTRL_RX}, /* for all of its class (5.1.6.5.2) */
    {VIRTIO_NET_F_NOTF_COAL, VIRTIO_NET_F_CTRL_VQ},
    {VIRTIO_NET_F_VQ_NOTF_COAL, VIRTIO_NET_F_CTRL_VQ},
};

void virtio_feature_close(struct virtio_features *f) {
    for (size_t i = 0; i < ARRAY_SIZE(feature_needs); i++) {
        if (!virtio_feature_get(f, feature_needs[i].needs)) {
            virtio_feature_clear(f, feature_needs[i].bit);
        }
    }
}

/* The bit of a name, VIRTIO_FEATURE_BITS when there is none. */
static unsigned feature_by_name(const char *name, size_t len) {
    for (size_t i = 0; i < ARRAY_SIZE(feature_names); i++) {
        if (strlen(feature_names[i].name) == len &&
            memcmp(feature_names[i].name, name, len) == 0) {
            return feature_names[i].bit;
        }
    }
    return VIRTIO_FEATURE_BITS;
}

int virtio_feature_wishes(const char *list, struct virtio_wishes *wishes, char *error,
                          size_t error_size) {
    *wishes = (struct virtio_wishes){0};
    bool more = *list != '\0';
    while (more) {
        const size_t len = strcspn(list, ",");
        const bool sign = len > 0 && (list[0] == '-' || list[0] == '+');
        const unsigned bit = sign ? feature_by_name(list + 1, len - 1) : VIRTIO_FEATURE_BITS;
        if (bit == VIRTIO_FEATURE_BITS) {
            snprintf(error, error_size,
                     "features=: '%.*s': must be -NAME or +NAME with a feature of virtio-net",
                     (int)len, list);
            return ERR_CONFIG;
        }
        if (virtio_feature_get(&wishes->masked, bit) || virtio_feature_get(&wishes->kept, bit)) {
            snprintf(error, error_size, "features=: '%.*s': given twice", (int)len - 1, list + 1);
            return ERR_CONFIG;
        }
        virtio_feature_set(list[0] == '-' ? &wishes->masked : &wishes->kept, bit);
        list += len;
        more = *list == ',';
        list += more;
    }
    return ERR_OK;
}
