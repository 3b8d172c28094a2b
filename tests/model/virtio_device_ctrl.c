/* The control queue of a virtio-net device (5.1.6.5). */
#include "tests/model/virtio_device_parts.h"

#include <string.h>

enum {
    F_GUEST_CSUM = 1,
    F_CTRL_GUEST_OFFLOADS = 2,
    F_CTRL_RX = 18,
    F_CTRL_VLAN = 19,
    F_GUEST_ANNOUNCE = 21,
    F_CTRL_MAC_ADDR = 23,
    F_VQ_NOTF_COAL = 52,
    F_NOTF_COAL = 53,
    DRIVER_OK = 4,
    CTRL = 2, /* queue */
    STATUS_OFF = 6,
    S_ANNOUNCE = 2,
    OK = 0,
    ERR = 1,
    GARBAGE = 0x5a,
    COMMAND_SIZE = 256,
};

static bool rule(struct virtio_device *d, bool kept, const char *text) {
    return virtio_device_rule(d, kept, text);
}

static bool needs(struct virtio_device *d, unsigned bit) {
    return rule(d, virtio_device_accepted(d, bit),
                "5.1.6.5: a command whose feature was not negotiated");
}

static bool has_len(struct virtio_device *d, const struct virtio_device_command *c, size_t len) {
    return rule(d, c->len == len, "5.1.6.5: the length of a command's data");
}

static uint32_t le(const uint8_t *bytes, unsigned width) {
    uint32_t value = 0;
    for (unsigned i = 0; i < width; i++) {
        value |= (uint32_t)bytes[i] << 8 * i;
    }
    return value;
}

/* 5.1.6.5.1: PROMISC and ALLMULTI */
static bool set_rx_mode(struct virtio_device *d, const struct virtio_device_command *c) {
    if (!needs(d, F_CTRL_RX) || !has_len(d, c, 1) ||
        !rule(d, c->command <= 1, "5.1.6.5.1: a mode of CTRL_RX_EXTRA") ||
        !rule(d, c->data[0] <= 1, "5.1.6.5.1: a mode is 0 or 1")) {
        return false;
    }
    *(c->command == 0 ? &d->ctrl.promisc : &d->ctrl.allmulti) = c->data[0];
    return true;
}

/* 5.1.6.5.2: the address; the driver of this project never sends the table. */
static bool set_mac(struct virtio_device *d, const struct virtio_device_command *c) {
    if (!needs(d, F_CTRL_RX) || !rule(d, c->command == 1, "5.1.6.5.2: a MAC table") ||
        !needs(d, F_CTRL_MAC_ADDR) || !has_len(d, c, 6) ||
        !rule(d, !(c->data[0] & 1), "5.1.6.5.2: a multicast address")) {
        return false;
    }
    d->ctrl.has_mac = true;
    memcpy(d->ctrl.mac, c->data, 6);
    return true;
}

/* 5.1.6.5.3 */
static bool set_vlan(struct virtio_device *d, const struct virtio_device_command *c) {
    const uint32_t id = le(c->data, 2);
    if (!needs(d, F_CTRL_VLAN) || !has_len(d, c, 2) ||
        !rule(d, c->command == 0, "5.1.6.5.3: a VLAN is removed that is wanted") ||
        !rule(d, id < 4096, "5.1.6.5.3: a VLAN id has 12 bits")) {
        return false;
    }
    for (unsigned i = 0; i < d->ctrl.vlan_count; i++) {
        if (d->ctrl.vlan[i] == id) {
            return true;
        }
    }
    if (d->ctrl.vlan_count == VLAN_MAX) {
        return false;
    }
    d->ctrl.vlan[d->ctrl.vlan_count++] = (uint16_t)id;
    return true;
}

/* 5.1.6.5.4 */
static bool acknowledge(struct virtio_device *d, const struct virtio_device_command *c) {
    if (!needs(d, F_GUEST_ANNOUNCE) || !has_len(d, c, 0) ||
        !rule(d, c->command == 0, "5.1.6.5.4: a command of class ANNOUNCE") ||
        !rule(d, d->config[STATUS_OFF] & S_ANNOUNCE, "5.1.6.5.4: nothing is to be announced")) {
        return false;
    }
    d->config[STATUS_OFF] &= (uint8_t)~S_ANNOUNCE;
    d->generation++;
    return true;
}

/* 5.1.6.5.6: the receive offloads that are on from now; none of them without the checksum's (5.1.3.1). */
static bool set_offloads(struct virtio_device *d, const struct virtio_device_command *c) {
    static const uint8_t bits[] = {F_GUEST_CSUM, 7, 8, 9, 10, 54, 55};
    const uint64_t on = le(c->data, 4) | (uint64_t)le(c->data + 4, 4) << 32;
    uint64_t negotiated = 0;
    for (unsigned i = 0; i < sizeof(bits); i++) {
        negotiated |= (uint64_t)virtio_device_accepted(d, bits[i]) << bits[i];
    }
    if (!needs(d, F_CTRL_GUEST_OFFLOADS) || !has_len(d, c, 8) ||
        !rule(d, c->command == 0, "5.1.6.5.6: a command of class GUEST_OFFLOADS") ||
        !rule(d, !(on & ~negotiated), "5.1.6.5.6.1.1: an offload that was not negotiated") ||
        !rule(d, on == 0 || (on & 1u << F_GUEST_CSUM), "5.1.3.1: an offload without GUEST_CSUM")) {
        return false;
    }
    d->ctrl.offloads_off = negotiated & ~on;
    return true;
}

/* 5.1.6.5.7 */
static bool set_coalesce(struct virtio_device *d, const struct virtio_device_command *c) {
    const bool one = c->command >= 2;
    const uint8_t *coal = c->data + (one ? 4 : 0);
    /* TX_SET is 0, RX_SET is 1; receive queues are the even ones. */
    const uint32_t queue = one ? le(c->data, 2) : c->command == 1 ? 0 : 1;
    if (!needs(d, one ? F_VQ_NOTF_COAL : F_NOTF_COAL) || !has_len(d, c, one ? 12 : 8) ||
        !rule(d, c->command <= 2, "5.1.6.5.7: a command that is not used here") ||
        !rule(d, queue < CTRL && d->queue[queue].enabled && !d->queue[queue].resetting,
              "5.1.6.5.7: vq_index is no enabled receive or transmit queue")) {
        return false;
    }
    const struct virtio_device_coalesce wanted = {.packets = le(coal, 4), .usecs = le(coal + 4, 4)};
    d->ctrl.coalesce[queue] = wanted;
    if (!one) {
        d->ctrl.all_queues[queue] = wanted;
    }
    return true;
}

static bool execute(struct virtio_device *d, const struct virtio_device_command *c) {
    switch (c->class) {
    case 0:
        return set_rx_mode(d, c);
    case 1:
        return set_mac(d, c);
    case 2:
        return set_vlan(d, c);
    case 3:
        return acknowledge(d, c);
    case 5:
        return set_offloads(d, c);
    case 6:
        return set_coalesce(d, c);
    default:
        return rule(d, false, "5.1.6.5: a class that is not used here");
    }
}

/* Notes a command; false when it is not one. The layout may be any (2.7.4, 5.1.6.5). */
static bool read_command(struct virtio_device *d, const struct vq_device_buffer *b,
                         struct virtio_device_command *c) {
    uint8_t bytes[COMMAND_SIZE];
    const size_t len = vq_device_read(&d->queue[CTRL].ring, b->id, bytes, sizeof(bytes));
    if (!rule(d, len >= 2 && len < sizeof(bytes), "5.1.6.5: class, command, data") ||
        !rule(d, b->in_len == 1, "5.1.6.5: one byte for the answer")) {
        return false;
    }
    *c = (struct virtio_device_command){.class = bytes[0], .command = bytes[1], .len = len - 2};
    memcpy(c->data, bytes + 2, c->len < COMMAND_DATA ? c->len : COMMAND_DATA);
    d->ctrl.log[d->ctrl.count++ % COMMAND_LOG] = *c;
    return true;
}

static void give_back(struct virtio_device *d, uint16_t id, enum virtio_device_answer answer) {
    struct vq_device *ring = &d->queue[CTRL].ring;
    switch (answer) {
    case ANSWER_NOTHING:
        return;
    case ANSWER_LONG:
        virtio_device_fault(d, CTRL, VQ_FAULT_LONG_LEN);
        return;
    case ANSWER_UNKNOWN_ID:
        virtio_device_fault(d, CTRL, VQ_FAULT_UNKNOWN_ID);
        return;
    default:
        vq_device_use(ring, id, answer == ANSWER_EMPTY ? 0 : 1);
    }
    if (answer == ANSWER_TWICE) {
        virtio_device_lie(d, CTRL, id, 1);
        return;
    }
    rule(d, !vq_device_show(ring), "a notification was asked for by a driver that polls");
}

void virtio_device_ctrl_run(struct virtio_device *d) {
    struct vq_device *ring = &d->queue[CTRL].ring;
    struct vq_device_buffer b;
    /* 3.1.1: nothing is processed before DRIVER_OK. */
    while ((d->status & DRIVER_OK) && d->queue[CTRL].enabled && !d->queue[CTRL].lied &&
           vq_device_fetch(ring, &b)) {
        struct virtio_device_command c;
        if (!read_command(d, &b, &c)) {
            return;
        }
        const bool lies = d->ctrl.answer_class == c.class || d->ctrl.answer_class == CLASS_ANY;
        const enum virtio_device_answer answer = lies ? d->ctrl.answer : ANSWER_WELL;
        uint8_t ack = answer == ANSWER_ERR ? ERR : GARBAGE;
        if (answer == ANSWER_WELL || answer > ANSWER_NOTHING) {
            ack = execute(d, &c) ? OK : ERR;
        }
        if (answer != ANSWER_NOTHING) {
            vq_device_write(ring, b.id, &ack, 1);
        }
        give_back(d, b.id, answer);
        if (!d->queue[CTRL].lied) { /* each time anew, with EVENT_IDX */
            vq_device_want_notify(ring, !d->ctrl.waits);
        }
    }
}
