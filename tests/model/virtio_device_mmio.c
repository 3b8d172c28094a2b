/* The registers of a virtio device without PCI (4.2.2), as a way to the common configuration. */
#include "tests/model/virtio_device_parts.h"

#include <assert.h>
#include <stddef.h>

enum {
    REG_MAGIC_VALUE = 0x000,
    REG_VERSION = 0x004,
    REG_DEVICE_ID = 0x008,
    REG_DEVICE_FEATURES_SEL = 0x014,
    REG_DRIVER_FEATURES_SEL = 0x024,
    REG_QUEUE_SEL = 0x030,
    REG_QUEUE_SIZE_MAX = 0x034,
    REG_QUEUE_SIZE = 0x038,
    REG_QUEUE_READY = 0x044,
    REG_QUEUE_NOTIFY = 0x050,
    REG_INTERRUPT_STATUS = 0x060,
    REG_INTERRUPT_ACK = 0x064,
    REG_STATUS = 0x070,
    REG_QUEUE_RESET = 0x0c0,
    REG_CONFIG_GENERATION = 0x0fc,
    REG_CONFIG = 0x100,
    GENERATION_HIGH = 0x5a5a5a00, /* the register has 32 bits */
    F_NOTIFICATION_DATA = 38,
    ISR_DEFINED = 3,
    DEVICES_MAX = 4,
};

enum direction { NEITHER = 0, READ = 1, WRITE = 2 };

/* 4.2.2, and the field of the common configuration that is the same. */
static const struct {
    uint8_t direction;
    uint8_t common;
} registers[REG_CONFIG / 4] = {
    [REG_MAGIC_VALUE / 4] = {READ, 0},
    [REG_VERSION / 4] = {READ, 0},
    [REG_DEVICE_ID / 4] = {READ, 0},
    [0x00c / 4] = {READ, 0},
    [0x010 / 4] = {READ, DEVICE_FEATURE},
    [REG_DEVICE_FEATURES_SEL / 4] = {WRITE, DEVICE_FEATURE_SELECT},
    [0x020 / 4] = {WRITE, DRIVER_FEATURE},
    [REG_DRIVER_FEATURES_SEL / 4] = {WRITE, DRIVER_FEATURE_SELECT},
    [REG_QUEUE_SEL / 4] = {WRITE, QUEUE_SELECT},
    [REG_QUEUE_SIZE_MAX / 4] = {READ, 0},
    [REG_QUEUE_SIZE / 4] = {WRITE, QUEUE_SIZE},
    [REG_QUEUE_READY / 4] = {READ | WRITE, QUEUE_ENABLE},
    [REG_QUEUE_NOTIFY / 4] = {WRITE, 0},
    [REG_INTERRUPT_STATUS / 4] = {READ, 0},
    [REG_INTERRUPT_ACK / 4] = {WRITE, 0},
    [REG_STATUS / 4] = {READ | WRITE, DEVICE_STATUS},
    [0x080 / 4] = {WRITE, QUEUE_DESC},
    [0x084 / 4] = {WRITE, QUEUE_DESC + 4},
    [0x090 / 4] = {WRITE, QUEUE_DESC + 8},
    [0x094 / 4] = {WRITE, QUEUE_DESC + 12},
    [0x0a0 / 4] = {WRITE, QUEUE_DESC + 16},
    [0x0a4 / 4] = {WRITE, QUEUE_DESC + 20},
    [REG_QUEUE_RESET / 4] = {READ | WRITE, QUEUE_RESET},
    [REG_CONFIG_GENERATION / 4] = {READ, CONFIG_GENERATION},
};

static struct virtio_device *devices[DEVICES_MAX];
static unsigned device_count;
static bool (*next_platform)(uintptr_t addr, unsigned width, bool write, uint32_t *value);

static bool rule(struct virtio_device *d, bool kept, const char *text) {
    return virtio_device_rule(d, kept, text);
}

/* 4.2.3.1: magic value, version, id, in this order; and nothing else of what is no device. */
static uint32_t identify(struct virtio_device *d, uint32_t off) {
    const uint32_t values[] = {d->mmio.magic, d->mmio.version, d->mmio.id};
    const unsigned at = off / 4;
    rule(d, d->mmio.known >= at, "4.2.3.1: magic value, version and id are read in this order");
    if (d->mmio.known == at) {
        d->mmio.known++;
    }
    return values[at];
}

static bool may_use(struct virtio_device *d, uint32_t off, unsigned width, bool write) {
    if (off > REG_DEVICE_ID &&
        !rule(d, d->mmio.known == 3 && d->mmio.version == 2 && d->mmio.id != 0,
              "4.2.3.1: a register was used before the device was identified, or of no device")) {
        return false;
    }
    const bool gives_up = off == REG_STATUS;
    if (!rule(d, !d->reset_pending || gives_up || off <= REG_DEVICE_ID,
              "2.4.1: an access before the reset was over")) {
        return false;
    }
    return off >= REG_CONFIG ||
           (rule(d, width == 4 && off % 4 == 0, "4.2.2.2: registers are accessed in 32 bits") &&
            rule(d, registers[off / 4].direction & (write ? WRITE : READ),
                 "4.2.2.2: no register, or not in this direction"));
}

/* --- queues and features ---------------------------------------------------------------------- */

static void notify(struct virtio_device *d, uint32_t value) {
    const uint16_t index = (uint16_t)value;
    rule(d, virtio_device_accepted(d, F_NOTIFICATION_DATA) || value >> 16 == 0,
         "4.2.3.3: without NOTIFICATION_DATA the index alone");
    virtio_device_doorbell(d, index < VIRTIO_DEVICE_QUEUES ? &d->queue[index] : NULL, value);
}

static uint32_t read_register(struct virtio_device *d, uint32_t off) {
    switch (off) {
    case REG_MAGIC_VALUE:
    case REG_VERSION:
    case REG_DEVICE_ID:
        return identify(d, off);
    case REG_QUEUE_SIZE_MAX:
        return d->mmio.size_max_high << 16 |
               (d->queue_select < VIRTIO_DEVICE_QUEUES ? d->queue[d->queue_select].max : 0u);
    case REG_QUEUE_READY:
        d->mmio.ready_read = true;
        return d->mmio.ready_stuck ? 1 : virtio_device_read_common(d, QUEUE_ENABLE);
    case REG_INTERRUPT_STATUS:
        d->isr_reads++;
        d->mmio.isr_told |= d->isr;
        return d->isr | d->mmio.isr_undefined;
    case REG_CONFIG_GENERATION:
        return GENERATION_HIGH | d->generation;
    case REG_QUEUE_RESET:
        if (d->mmio.as_qemu) {
            return 0;
        }
        break;
    }
    return virtio_device_read_common(d, registers[off / 4].common);
}

static void write_register(struct virtio_device *d, uint32_t off, uint32_t value) {
    switch (off) {
    case REG_DEVICE_FEATURES_SEL:
    case REG_DRIVER_FEATURES_SEL:
        value = d->mmio.as_qemu && value != 0 ? 1 : value;
        break;
    case REG_QUEUE_NOTIFY:
        notify(d, value);
        return;
    case REG_INTERRUPT_ACK:
        if (d->mmio.event_at_ack) {
            d->mmio.event_at_ack = false;
            virtio_device_interrupt(d, VIRTIO_DEVICE_CONFIG);
        }
        rule(d, (value & ~(uint32_t)ISR_DEFINED) == 0,
             "4.2.2.2: undefined bits were acknowledged");
        rule(d, (value & ~(uint32_t)d->mmio.isr_told) == 0,
             "4.2.2.2: events were acknowledged that the driver does not know of");
        d->isr &= (uint8_t)~value;
        d->mmio.isr_told = 0;
        return;
    case REG_QUEUE_SEL:
        d->mmio.ready_read = false;
        break;
    case REG_QUEUE_SIZE:
        rule(d, d->mmio.ready_read, "4.2.3.2: a queue was set up without a look at QueueReady");
        break;
    case REG_QUEUE_RESET:
        if (d->mmio.as_qemu) {
            return;
        }
        break;
    }
    virtio_device_write_common(d, registers[off / 4].common, value);
}

/* --- the machine ------------------------------------------------------------------------------ */

static void device_access(struct virtio_device *d, uint32_t off, unsigned width, bool write,
                          uint32_t *value) {
    if (d->gone) {
        *value = UINT32_MAX;
        return;
    }
    if (!may_use(d, off, width, write)) {
        *value = 0;
    } else if (off >= REG_CONFIG) {
        rule(d, !write, "5.1.4: device configuration is read-only");
        rule(d, off - REG_CONFIG + width <= sizeof(d->config), "a read outside of the registers");
        *value = off - REG_CONFIG + width <= sizeof(d->config)
                     ? virtio_device_read_config(d, off - REG_CONFIG, width)
                     : 0;
    } else if (write) {
        write_register(d, off, *value);
    } else {
        *value = read_register(d, off);
    }
}

static bool platform_access(uintptr_t addr, unsigned width, bool write, uint32_t *value) {
    for (unsigned i = 0; i < device_count; i++) {
        struct virtio_device *d = devices[i];
        if (addr >= d->mmio.base && addr - d->mmio.base + width <= d->mmio.size) {
            device_access(d, (uint32_t)(addr - d->mmio.base), width, write, value);
            return true;
        }
    }
    return next_platform != NULL && next_platform(addr, width, write, value);
}

void virtio_device_add_mmio(struct virtio_device *d, uint64_t base) {
    if (pci_bus.platform != platform_access) { /* a new machine */
        next_platform = pci_bus.platform;
        pci_bus.platform = platform_access;
        device_count = 0;
    }
    assert(device_count < DEVICES_MAX);
    devices[device_count++] = d;
    virtio_device_init(d, 2);
    d->mmio = (struct virtio_device_mmio){
        .base = base, .size = 0x200, .magic = 0x74726976, .version = 2, .id = 1};
}
