/* PCI configuration space and enumeration (PCI Local Bus 3.0, 6.1 and 6.7; PCI-to-PCI Bridge 1.2,
 * 3.2.5). Addresses are assigned in pci_assign.c. */
#include "drivers/pci.h"

#include "lib/err.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mmio.h"

enum {
    PORT_ADDRESS = 0xcf8,
    PORT_DATA = 0xcfc,
    ADDRESS_ENABLE = 1u << 31,
    DEVS_PER_BUS = 32,
    FNS_PER_DEV = 8,
    HEADER_MULTI_FUNCTION = 0x80,
    BRIDGE_DEPTH_MAX = 8,
};

struct pci_dev pci_devs[PCI_DEV_MAX];
unsigned pci_dev_count;

static struct pci_windows win;
static uint8_t bus_max; /* highest bus number in use */

/* --- configuration space ----------------------------------------------------------------------- */

static uintptr_t ecam_addr(const struct pci_dev *d, unsigned off) {
    return win.ecam + ((uintptr_t)d->bus << 20 | (uintptr_t)d->dev << 15 | (uintptr_t)d->fn << 12) +
           off;
}

static bool ecam_has(const struct pci_dev *d) {
    return win.ecam != 0 && d->bus < win.ecam_buses;
}

static void port_select(const struct pci_dev *d, unsigned off) {
    io_write32(PORT_ADDRESS, ADDRESS_ENABLE | (uint32_t)d->bus << 16 | (uint32_t)d->dev << 11 |
                                 (uint32_t)d->fn << 8 | (off & 0xfcu));
}

uint32_t pci_read32(const struct pci_dev *d, unsigned off) {
    if (ecam_has(d)) {
        return mmio_read32(ecam_addr(d, off));
    }
    port_select(d, off);
    return io_read32(PORT_DATA);
}

uint16_t pci_read16(const struct pci_dev *d, unsigned off) {
    return (uint16_t)(pci_read32(d, off & ~3u) >> (off & 2) * 8);
}

uint8_t pci_read8(const struct pci_dev *d, unsigned off) {
    return (uint8_t)(pci_read32(d, off & ~3u) >> (off & 3) * 8);
}

void pci_write32(const struct pci_dev *d, unsigned off, uint32_t value) {
    if (ecam_has(d)) {
        mmio_write32(ecam_addr(d, off), value);
        return;
    }
    port_select(d, off);
    io_write32(PORT_DATA, value);
}

void pci_write16(const struct pci_dev *d, unsigned off, uint16_t value) {
    if (ecam_has(d)) {
        mmio_write16(ecam_addr(d, off), value);
        return;
    }
    port_select(d, off);
    io_write16((uint16_t)(PORT_DATA + (off & 2)), value);
}

unsigned pci_cap_find(const struct pci_dev *d, uint8_t id, unsigned after) {
    unsigned at;
    if (after != 0) {
        at = pci_read8(d, after + 1);
    } else if (pci_read16(d, PCI_STATUS) & PCI_STATUS_CAP_LIST) {
        at = pci_read8(d, PCI_CAP_POINTER);
    } else {
        return 0;
    }
    /* Each capability is at least 4 bytes behind the header, so a longer walk is a loop. */
    for (unsigned i = 0; i < PCI_CAP_MAX; i++) {
        at &= ~3u;
        if (at < 0x40) {
            return 0;
        }
        const uint16_t head = pci_read16(d, at);
        if ((head & 0xff) == id) {
            return at;
        }
        at = head >> 8;
    }
    return 0;
}

/* --- enumeration ------------------------------------------------------------------------------- */

static void scan_bus(uint8_t bus, unsigned depth);

/* Follows a bridge that the firmware has numbered. */
static void scan_bridge(struct pci_dev *d, unsigned depth) {
    const uint32_t buses = pci_read32(d, PCI_BRIDGE_PRIMARY_BUS);
    const uint8_t secondary = (uint8_t)(buses >> 8), subordinate = (uint8_t)(buses >> 16);
    if (secondary <= d->bus || subordinate < secondary || depth == BRIDGE_DEPTH_MAX) {
        return;
    }
    d->secondary = secondary;
    d->subordinate = subordinate;
    bus_max = subordinate > bus_max ? subordinate : bus_max;
    scan_bus(secondary, depth + 1);
}

static void number_bus(unsigned bus, unsigned depth);

/* Gives an unnumbered bridge, and all behind it, the next free numbers. */
static void number_bridge(struct pci_dev *d, unsigned depth) {
    if (bus_max == UINT8_MAX || depth == BRIDGE_DEPTH_MAX) {
        return;
    }
    d->secondary = ++bus_max;
    const uint32_t keep = (pci_read32(d, PCI_BRIDGE_PRIMARY_BUS) & 0xff000000) | d->bus |
                          (uint32_t)d->secondary << 8;
    /* Forwards everything above while the buses behind are being numbered. */
    pci_write32(d, PCI_BRIDGE_PRIMARY_BUS, keep | 0xff0000);
    const unsigned first = pci_dev_count;
    scan_bus(d->secondary, BRIDGE_DEPTH_MAX);
    if (pci_dev_count > first) {
        number_bus(d->secondary, depth + 1);
    }
    d->subordinate = bus_max;
    pci_write32(d, PCI_BRIDGE_PRIMARY_BUS, keep | (uint32_t)d->subordinate << 16);
}

/* Bridges on the bus that have no number. Behind a bridge that the firmware has numbered there is no
 * room for more buses, so this starts at bus 0. */
static void number_bus(unsigned bus, unsigned depth) {
    for (unsigned i = 0; i < pci_dev_count; i++) {
        struct pci_dev *d = &pci_devs[i];
        if (d->bus == bus && d->header_type == PCI_HEADER_BRIDGE && d->secondary == 0) {
            number_bridge(d, depth);
        }
    }
}

/* Looks at one function. Returns whether the device has more of them. */
static bool scan_function(struct pci_dev probe, unsigned depth) {
    const uint32_t id = pci_read32(&probe, PCI_VENDOR_ID);
    if ((id & 0xffff) == 0xffff || (id & 0xffff) == 0 || pci_dev_count == PCI_DEV_MAX) {
        return false;
    }
    const uint8_t header = pci_read8(&probe, PCI_HEADER_TYPE);
    struct pci_dev *d = &pci_devs[pci_dev_count++];
    *d = probe;
    d->vendor = (uint16_t)id;
    d->device = (uint16_t)(id >> 16);
    d->class = pci_read16(d, PCI_CLASS);
    d->header_type = header & (HEADER_MULTI_FUNCTION - 1);
    if (d->header_type == PCI_HEADER_BRIDGE) {
        scan_bridge(d, depth);
    }
    return header & HEADER_MULTI_FUNCTION;
}

static void scan_bus(uint8_t bus, unsigned depth) {
    for (uint8_t dev = 0; dev < DEVS_PER_BUS; dev++) {
        if (!scan_function((struct pci_dev){.bus = bus, .dev = dev}, depth)) {
            continue;
        }
        for (uint8_t fn = 1; fn < FNS_PER_DEV; fn++) {
            scan_function((struct pci_dev){.bus = bus, .dev = dev, .fn = fn}, depth);
        }
    }
}

/* The address register keeps what is written to it; where there is none, nothing does. */
static bool ports_present(void) {
    io_write32(PORT_ADDRESS, ADDRESS_ENABLE);
    return io_read32(PORT_ADDRESS) == ADDRESS_ENABLE;
}

int pci_init(const struct pci_windows *windows) {
    win = *windows;
    pci_dev_count = 0;
    bus_max = 0;
    if (win.ecam == 0 && !ports_present()) {
        return ERR_ABSENT;
    }
    scan_bus(0, 0);
    number_bus(0, 0);
    return pci_assign(&win);
}

const char *pci_machine(void) {
    static const struct {
        uint16_t vendor, device;
        const char *name;
    } hosts[] = {
        {0x8086, 0x1237, "pc"},
        {0x8086, 0x29c0, "q35"},
        {0x1b36, 0x0008, "microvm"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(hosts) && pci_dev_count > 0; i++) {
        if (pci_devs[0].vendor == hosts[i].vendor && pci_devs[0].device == hosts[i].device) {
            return hosts[i].name;
        }
    }
    return "unknown";
}
