/* The control queue (5.1.6.5): one command at a time, polled, with a limit of time. */
#include "drivers/clock.h"
#include "drivers/net_parts.h"
#include "lib/cpu.h"
#include "lib/dma.h"
#include "lib/err.h"
#include "lib/mac.h"

#include <stdlib.h>
#include <string.h>

enum {
    COMMAND_MAX = 64,  /* class, command and data */
    ACK_OFF = 64,      /* of the byte that the device writes: on a cache line of its own */
    COMMAND_SIZE = 128,
    TIMEOUT_MS = 1000,
};

/* --- keys -------------------------------------------------------------------------------------- */

/* Entry nd->index of the list; an empty one leaves the device its own address. */
static int mac_config(struct net_dev *nd, const char *list) {
    switch (mac_parse_entry(list, nd->index, nd->ctrl.mac)) {
    case MAC_NONE:
        return ERR_OK;
    case MAC_BAD:
        NET_ERROR(nd, "mac=%s: must be unicast addresses like 02:00:00:00:00:01", list);
        return ERR_CONFIG;
    case MAC_GIVEN:
        break;
    }
    if (!net_has(nd, VIRTIO_NET_F_CTRL_MAC_ADDR)) {
        NET_ERROR(nd, "mac=: feature ctrl_mac_addr is not offered or masked");
        return ERR_CONFIG;
    }
    nd->ctrl.has_mac = true;
    return ERR_OK;
}

static bool parse_number(const char **text, uint32_t *value) {
    uint64_t number = 0;
    const char *c = *text;
    while (*c >= '0' && *c <= '9' && number <= UINT32_MAX) {
        number = number * 10 + (uint64_t)(*c++ - '0');
    }
    const bool good = c != *text && number <= UINT32_MAX;
    *text = c;
    *value = (uint32_t)number;
    return good;
}

/* "rx:USECS,FRAMES" or "tx:USECS,FRAMES" */
static bool parse_coalesce(const char **text, struct net_ctrl *ctrl) {
    const bool rx = strncmp(*text, "rx:", 3) == 0;
    struct net_coalesce *c = rx ? &ctrl->rx_coalesce : &ctrl->tx_coalesce;
    if ((!rx && strncmp(*text, "tx:", 3) != 0) || c->set) {
        return false;
    }
    *text += 3;
    c->set = parse_number(text, &c->usecs) && *(*text)++ == ',' && parse_number(text, &c->frames);
    return c->set;
}

static bool can_coalesce(const struct net_dev *nd) {
    return net_has(nd, VIRTIO_NET_F_NOTF_COAL) || net_has(nd, VIRTIO_NET_F_VQ_NOTF_COAL);
}

static int coalesce_config(struct net_dev *nd, const char *list) {
    const char *text = list;
    bool more = *list != '\0';
    while (more) {
        const bool good = parse_coalesce(&text, &nd->ctrl);
        more = good && *text == ';';
        if (!good || (!more && *text != '\0')) {
            NET_ERROR(nd, "coalesce=%s: must be rx:USECS,FRAMES;tx:USECS,FRAMES or one of the two",
                      list);
            return ERR_CONFIG;
        }
        text += more;
    }
    if (*list != '\0' && !can_coalesce(nd)) {
        NET_ERROR(nd, "coalesce=: features notf_coal and vq_notf_coal are not offered or masked");
        return ERR_CONFIG;
    }
    return ERR_OK;
}

static const struct {
    const char *name;
    uint8_t bit;
} offloads[] = {
    {"csum", VIRTIO_NET_F_GUEST_CSUM},  {"tso4", VIRTIO_NET_F_GUEST_TSO4},
    {"tso6", VIRTIO_NET_F_GUEST_TSO6},  {"uso4", VIRTIO_NET_F_GUEST_USO4},
    {"uso6", VIRTIO_NET_F_GUEST_USO6},
};

/* Adds the offload of that name to those that stay on; only what was negotiated can (5.1.6.5.6.1.1). */
static int offload_config(struct net_dev *nd, const char *name, size_t len) {
    for (unsigned i = 0; i < ARRAY_SIZE(offloads); i++) {
        if (strlen(offloads[i].name) != len || memcmp(offloads[i].name, name, len) != 0) {
            continue;
        }
        if (!net_has(nd, offloads[i].bit)) {
            NET_ERROR(nd, "guest_offloads=: %s: feature %s is not negotiated", offloads[i].name,
                      virtio_feature_name(offloads[i].bit));
            return ERR_CONFIG;
        }
        nd->ctrl.offloads |= UINT64_C(1) << offloads[i].bit;
        return ERR_OK;
    }
    NET_ERROR(nd, "guest_offloads=: '%.*s': must be none, or some of csum, tso4, tso6, uso4, uso6",
              (int)len, name);
    return ERR_CONFIG;
}

static int offloads_config(struct net_dev *nd, const char *list) {
    nd->ctrl.has_offloads = *list != '\0';
    if (!nd->ctrl.has_offloads) {
        return ERR_OK;
    }
    if (!net_has(nd, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS)) {
        NET_ERROR(nd, "guest_offloads=: feature ctrl_guest_offloads is not offered or masked");
        return ERR_CONFIG;
    }
    bool more = strcmp(list, "none") != 0;
    while (more) {
        const size_t len = strcspn(list, ",");
        if (offload_config(nd, list, len) != ERR_OK) {
            return ERR_CONFIG;
        }
        list += len;
        more = *list == ',';
        list += more;
    }
    /* As their features need it (5.1.3.1). */
    if (nd->ctrl.offloads != 0 && !(nd->ctrl.offloads & 1u << VIRTIO_NET_F_GUEST_CSUM)) {
        NET_ERROR(nd, "guest_offloads=: the others need csum");
        return ERR_CONFIG;
    }
    return ERR_OK;
}

/* Whether all that shall stay on can be, and the device can be told to switch off the rest. */
static bool offloads_served(const struct net_dev *nd) {
    bool served = net_has(nd, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
    for (unsigned i = 0; i < ARRAY_SIZE(offloads); i++) {
        const bool wanted = nd->ctrl.offloads >> offloads[i].bit & 1;
        served = served && (!wanted || net_has(nd, offloads[i].bit));
    }
    return served;
}

int net_ctrl_config(struct net_dev *nd, const struct config *cfg) {
    nd->ctrl.vlan = (uint16_t)cfg->vlan;
    int err = mac_config(nd, cfg->mac);
    if (err == ERR_OK) {
        err = offloads_config(nd, cfg->guest_offloads);
    }
    return err == ERR_OK ? coalesce_config(nd, cfg->coalesce) : err;
}

bool net_ctrl_serves_keys(const struct net_dev *nd) {
    const bool coalesce = nd->ctrl.rx_coalesce.set || nd->ctrl.tx_coalesce.set;
    return (!nd->ctrl.has_mac || net_has(nd, VIRTIO_NET_F_CTRL_MAC_ADDR)) &&
           (!nd->ctrl.has_offloads || offloads_served(nd)) && (!coalesce || can_coalesce(nd));
}

/* --- commands ---------------------------------------------------------------------------------- */

int net_ctrl_allocate(struct net_dev *nd) {
    nd->ctrl.command = dma_alloc(COMMAND_SIZE, COMMAND_SIZE);
    return nd->ctrl.command != NULL ? ERR_OK : ERR_RESOURCE;
}

/* Waits until the device has used the command. False when it does not within the time, or lies. */
static bool wait_used(struct net_dev *nd) {
    struct vq *q = &nd->ctrl.queue.vq;
    const uint64_t end = clock_ms() + TIMEOUT_MS;
    struct vq_done done;
    while (vq_take_used(q, q->layout, &done, 1) == 0) {
        if (q->broken || clock_ms() > end) {
            return false;
        }
        cpu_relax();
    }
    return done.len >= 1;
}

/* One command. ERR_OK when the device says so, ERR_CONFIG when it refuses, ERR_DEVICE when it does not
 * answer: the queue is broken then, since the device may still write. */
static int command(struct net_dev *nd, uint8_t class, uint8_t cmd, const void *data, uint32_t len) {
    struct net_queue *queue = &nd->ctrl.queue;
    uint8_t *bytes = nd->ctrl.command;
    const enum vq_layout layout = queue->vq.layout;

    ASSERT(2 + len <= COMMAND_MAX);
    if (!net_has(nd, VIRTIO_NET_F_CTRL_VQ) || !nd->running || queue->vq.broken) {
        return ERR_DEVICE;
    }
    bytes[0] = class;
    bytes[1] = cmd;
    if (len > 0) {
        memcpy(bytes + 2, data, len);
    }
    bytes[ACK_OFF] = VIRTIO_NET_ERR;
    const struct vq_seg seg[] = {
        {.addr = dma_addr_of(bytes), .len = 2 + len},
        {.addr = dma_addr_of(bytes + ACK_OFF), .len = 1},
    };
    vq_add(&queue->vq, layout, seg, 1, 1, bytes);
    vq_publish(&queue->vq, layout);
    if (vq_notify_needed(&queue->vq, layout)) {
        virtio_dev_ring(&queue->doorbell, vq_notify_position(&queue->vq, layout));
        queue->stats.kicks++;
    }
    if (!wait_used(nd)) {
        NET_ERROR(nd, "control command %u.%u: no answer", class, cmd);
        queue->vq.broken = true;
        nd->ctrl.errors++;
        return ERR_DEVICE;
    }
    if (*(volatile uint8_t *)(bytes + ACK_OFF) != VIRTIO_NET_OK) {
        NET_ERROR(nd, "control command %u.%u: refused by the device", class, cmd);
        nd->ctrl.errors++;
        return ERR_CONFIG;
    }
    return ERR_OK;
}

/* A device that refuses a filter delivers more than was asked for; the protocol stack drops that. */
static int filter(struct net_dev *nd, uint8_t class, uint8_t cmd, const void *data, uint32_t len) {
    const int err = command(nd, class, cmd, data, len);
    return err == ERR_CONFIG ? ERR_OK : err;
}

/* Everything, or own address and broadcast and all multicast: which groups are wanted, the protocol
 * stack knows. */
static int set_rx_mode(struct net_dev *nd) {
    const uint8_t promisc = nd->ctrl.promiscuous;
    const uint8_t allmulti = 1;
    if (!net_has(nd, VIRTIO_NET_F_CTRL_RX)) {
        return ERR_OK;
    }
    const int err = filter(nd, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &promisc, 1);
    return err == ERR_OK
               ? filter(nd, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, &allmulti, 1)
               : err;
}

/* The user's address; or the one that was made up, since the device gave none (5.1.6.5.2.2). */
static int set_mac(struct net_dev *nd) {
    if (nd->ctrl.has_mac) {
        memcpy(nd->mac, nd->ctrl.mac, MAC_LEN);
    } else if (net_has(nd, VIRTIO_NET_F_MAC)) {
        return ERR_OK;
    }
    return net_has(nd, VIRTIO_NET_F_CTRL_MAC_ADDR)
               ? command(nd, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, nd->mac, MAC_LEN)
               : ERR_OK;
}

/* The filter starts empty, so the one VLAN has to be added; untagged frames pass (5.1.6.5.3). */
static int set_vlan(struct net_dev *nd) {
    return nd->ctrl.vlan != 0 && net_has(nd, VIRTIO_NET_F_CTRL_VLAN)
               ? command(nd, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, &nd->ctrl.vlan, 2)
               : ERR_OK;
}

/* All that were negotiated are on when the device starts (5.1.6.5.6.1). */
static int set_offloads(struct net_dev *nd) {
    return nd->ctrl.has_offloads
               ? command(nd, VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
                         &nd->ctrl.offloads, sizeof(nd->ctrl.offloads))
               : ERR_OK;
}

static int set_coalesce(struct net_dev *nd, const struct net_coalesce *c, uint8_t cmd,
                        uint16_t queue) {
    const struct virtio_net_ctrl_coal_vq coal = {
        .vq_index = queue,
        .coal = {.max_packets = c->frames, .max_usecs = c->usecs},
    };
    if (!c->set) {
        return ERR_OK;
    }
    return net_has(nd, VIRTIO_NET_F_NOTF_COAL)
               ? command(nd, VIRTIO_NET_CTRL_NOTF_COAL, cmd, &coal.coal, sizeof(coal.coal))
               : command(nd, VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET, &coal,
                         sizeof(coal));
}

int net_ctrl_start(struct net_dev *nd) {
    int err = set_mac(nd);
    if (err == ERR_OK) {
        err = set_rx_mode(nd);
    }
    if (err == ERR_OK) {
        err = set_vlan(nd);
    }
    if (err == ERR_OK) {
        err = set_offloads(nd);
    }
    if (err == ERR_OK) {
        err = set_coalesce(nd, &nd->ctrl.rx_coalesce, VIRTIO_NET_CTRL_NOTF_COAL_RX_SET,
                           nd->rx.index);
    }
    if (err == ERR_OK) {
        err = set_coalesce(nd, &nd->ctrl.tx_coalesce, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET,
                           nd->tx.index);
    }
    return err;
}

void net_announced(struct net_dev *nd) {
    (void)command(nd, VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, NULL, 0);
    nd->generation = virtio_dev_generation(&nd->dev); /* the bit is cleared: no flap of the link */
}
