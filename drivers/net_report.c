/* What virtio-net says of itself: names of its counters, and the device event. */
#include "drivers/virtio_net.h"
#include "lib/json.h"

#include <stdio.h>

#define COUNTER(name, help) {#name, help, offsetof(struct net_stats, name)}

const struct net_counter net_counters[] = {
    COUNTER(packets, "Frames received from or given to the device"),
    COUNTER(bytes, "Bytes of these frames, without the virtio header"),
    COUNTER(gso_frames, "Of these, frames that the device cuts into segments, or that came uncut"),
    COUNTER(drop_short, "Received frames shorter than their headers"),
    COUNTER(drop_bad_header, "Received frames whose virtio header points out of the frame"),
    COUNTER(drop_no_memory, "Received frames that the protocol stack had no memory for"),
    COUNTER(drop_ring_full, "Frames not sent because the ring was full"),
    COUNTER(drop_link_down, "Frames not sent because the link or the device was down"),
    COUNTER(drop_too_long, "Frames longer than the MTU allows, or than 65535 bytes received"),
    COUNTER(drop_reset, "Frames that the device held when it was reset"),
    COUNTER(copies, "Received frames copied out because packet buffers ran low"),
    COUNTER(kicks, "Available buffer notifications (doorbell writes)"),
    COUNTER(interrupts, "Interrupts of this queue"),
    COUNTER(polls, "Looks at the used ring"),
    COUNTER(empty_polls, "Looks at the used ring that found nothing"),
    COUNTER(ring_full, "Frames that found the transmit ring full"),
    COUNTER(ring_empty, "Times the device had used every receive buffer"),
    COUNTER(refills, "Batches of receive buffers made available"),
    COUNTER(wakeups, "Sleeps that an interrupt of this queue ended"),
    COUNTER(rechecks_hit, "Work found by the check after notifications were armed"),
    COUNTER(dry_ns, "At most so long the device had no receive buffers, in nanoseconds"),
    COUNTER(full_ns, "So long frames waited for room in the transmit ring, in nanoseconds"),
    COUNTER(resets, "Resets of this queue alone, after the device broke its protocol"),
};
const size_t net_counter_count = ARRAY_SIZE(net_counters);

unsigned net_feature_names(const struct net_dev *nd, const char *names[VIRTIO_FEATURE_NAMES_MAX]) {
    return virtio_feature_names(&nd->features, names);
}

const char *net_layout_name(const struct net_queue *queue) {
    return vq_is_packed(queue->vq.layout) ? "packed" : "split";
}

const char *net_mac_text(const struct net_dev *nd, char text[NET_MAC_TEXT_MAX]) {
    snprintf(text, NET_MAC_TEXT_MAX, "%02x:%02x:%02x:%02x:%02x:%02x", nd->mac[0], nd->mac[1],
             nd->mac[2], nd->mac[3], nd->mac[4], nd->mac[5]);
    return text;
}

void net_print_device(const struct net_dev *nd, const struct config *cfg) {
    char text[1536], mac[NET_MAC_TEXT_MAX];
    const char *names[VIRTIO_FEATURE_NAMES_MAX];
    const unsigned count = net_feature_names(nd, names);
    struct json j;

    json_event(&j, text, sizeof(text), "device");
    json_u64(&j, "nic", nd->index);
    json_string(&j, nd->dev.transport->name, nd->dev.address);
    json_string(&j, "mac", net_mac_text(nd, mac));
    json_u64(&j, "mtu", nd->mtu);
    json_bool(&j, "link", nd->link_up);
    json_array(&j, "features");
    for (unsigned i = 0; i < count; i++) {
        json_string(&j, NULL, names[i]);
    }
    json_close(&j);
    json_string(&j, "layout", net_layout_name(&nd->rx));
    json_u64(&j, "rx_size", nd->rx.vq.num);
    json_u64(&j, "tx_size", nd->tx.vq.num);
    json_u64(&j, "buffers", nd->pool.total);
    if (nd->speed <= VIRTIO_NET_SPEED_MAX) {
        json_u64(&j, "speed_mbps", nd->speed);
    }
    if (nd->duplex <= VIRTIO_NET_DUPLEX_FULL) {
        json_string(&j, "duplex", nd->duplex == VIRTIO_NET_DUPLEX_FULL ? "full" : "half");
    }
    json_string(&j, "mode", config_mode_name(cfg->mode));
    json_string(&j, "irq", net_irq_name(nd));
    json_close(&j);
    json_print(&j);
}
