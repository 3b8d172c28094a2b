/* PCI Local Bus 3.0 (configuration space, 6.1, 6.2.5, 6.7) and PCI-to-PCI Bridge 1.2 (3.2.5). */
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
    HEADER_BRIDGE = 1,
    BRIDGE_DEPTH_MAX = 8,
    BRIDGE_ALIGN = 1 << 20, /* granularity of a bridge's memory window */
    BAR_IO = 1,
    BAR_TYPE_64 = 4,
    TAKEN_MAX = 128,
};

struct range {
    uint64_t start, end;
};

struct pci_dev pci_devs[PCI_DEV_MAX];
unsigned pci_dev_count;

static struct pci_windows win;
static uint8_t bus_max;               /* highest bus number in use */
static struct range taken[TAKEN_MAX]; /* addresses in use */
static unsigned taken_count;
static uint64_t mem_next;
static uint16_t io_next;

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

/* --- address space ----------------------------------------------------------------------------- */

static void take(uint64_t start, uint64_t end) {
    if (taken_count < TAKEN_MAX && start < end) {
        taken[taken_count++] = (struct range){start, end};
    }
}

/* The first free, aligned piece of the assignment window; 0 when there is none. */
static uint64_t mem_alloc(uint64_t size, uint64_t align) {
    uint64_t start = align_up(mem_next, align);
    for (unsigned i = 0; i < taken_count;) {
        if (start < taken[i].end && taken[i].start < start + size) {
            start = align_up(taken[i].end, align);
            i = 0; /* moved: compare with all of them again; it only ever grows */
        } else {
            i++;
        }
    }
    if (start + size > win.assign_end || start + size < start) {
        return 0;
    }
    mem_next = start + size;
    return start;
}

static uint16_t io_alloc(uint64_t size) {
    const uint64_t start = align_up(io_next, size);
    if (start + size > win.io_end) {
        return 0;
    }
    io_next = (uint16_t)(start + size);
    return (uint16_t)start;
}

static bool is_network(const struct pci_dev *d) {
    return d->header_type == 0 && d->class == PCI_CLASS_NETWORK_ETHERNET;
}

static unsigned bar_count(const struct pci_dev *d) {
    return d->header_type == HEADER_BRIDGE ? 2 : PCI_BAR_COUNT;
}

/* Reads one BAR and finds its size (6.2.5.1). Returns how many registers it takes. */
static unsigned size_bar(struct pci_dev *d, unsigned i) {
    struct pci_bar *bar = &d->bar[i];
    const unsigned off = PCI_BAR0 + 4 * i;
    const uint32_t low = pci_read32(d, off);
    uint64_t mask;

    pci_write32(d, off, UINT32_MAX);
    const uint32_t low_mask = pci_read32(d, off);
    pci_write32(d, off, low);
    if (low_mask == 0) {
        return 1;
    }
    bar->is_io = low_mask & BAR_IO;
    bar->is_64 = !bar->is_io && (low_mask & 6) == BAR_TYPE_64 && i + 1 < bar_count(d);
    if (bar->is_io) {
        bar->addr = low & 0xfffc;
        mask = (low_mask & 0xfffcu) | ~(uint64_t)0xffff;
    } else if (!bar->is_64) {
        bar->addr = low & ~15u;
        mask = (low_mask & ~15u) | ~(uint64_t)UINT32_MAX;
    } else {
        const uint32_t high = pci_read32(d, off + 4);
        pci_write32(d, off + 4, UINT32_MAX);
        mask = (uint64_t)pci_read32(d, off + 4) << 32 | (low_mask & ~15u);
        pci_write32(d, off + 4, high);
        bar->addr = (uint64_t)high << 32 | (low & ~15u);
    }
    /* The lowest bit that can be set is the size; a register that keeps all bits is broken. */
    bar->size = mask & (~mask + 1);
    return bar->is_64 ? 2 : 1;
}

/* With decoding off meanwhile, so that the probing value is nowhere visible. */
static void size_bars(struct pci_dev *d) {
    const uint16_t command = pci_read16(d, PCI_COMMAND);
    pci_write16(d, PCI_COMMAND,
                (uint16_t)(command & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY)));
    for (unsigned i = 0; i < bar_count(d);) {
        i += size_bar(d, i);
    }
    pci_write16(d, PCI_COMMAND, command);
}

static bool bar_usable(const struct pci_bar *bar) {
    const uint64_t start = bar->is_io ? win.io_start : win.mem_start;
    const uint64_t end = bar->is_io ? win.io_end : win.mem_end;
    return bar->addr >= start && bar->addr < end && bar->size <= end - bar->addr;
}

static int assign_bar(struct pci_dev *d, unsigned i) {
    struct pci_bar *bar = &d->bar[i];
    const unsigned off = PCI_BAR0 + 4 * i;
    if (bar->is_io && d->bus != 0) {
        bar->addr = 0; /* bridges forward no ports here; only memory is needed */
        return ERR_OK;
    }
    bar->addr = bar->is_io ? io_alloc(bar->size) : mem_alloc(bar->size, bar->size);
    if (bar->addr == 0) {
        log_error("pci: %02x:%02x.%u: no room for bar %u of %llu bytes", d->bus, d->dev, d->fn, i,
                  (unsigned long long)bar->size);
        return ERR_RESOURCE;
    }
    pci_write32(d, off, (uint32_t)bar->addr);
    if (bar->is_64) {
        pci_write32(d, off + 4, (uint32_t)(bar->addr >> 32));
    }
    return ERR_OK;
}

/* Assigns the BARs of a function: all of them, or those that are not usable yet. */
static int assign_bars(struct pci_dev *d, bool all) {
    for (unsigned i = 0; i < PCI_BAR_COUNT; i++) {
        if (d->bar[i].size == 0 || (!all && bar_usable(&d->bar[i]))) {
            continue;
        }
        const uint16_t command = pci_read16(d, PCI_COMMAND);
        pci_write16(d, PCI_COMMAND,
                    (uint16_t)(command & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY)));
        const int err = assign_bar(d, i);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

/* True when a network controller on the bus, or behind a bridge on it, has no usable address. */
static bool bus_needs_addresses(unsigned first, unsigned last) {
    for (unsigned i = 0; i < pci_dev_count; i++) {
        const struct pci_dev *d = &pci_devs[i];
        if (!is_network(d) || d->bus < first || d->bus > last) {
            continue;
        }
        for (unsigned b = 0; b < PCI_BAR_COUNT; b++) {
            if (d->bar[b].size != 0 && !d->bar[b].is_io && !bar_usable(&d->bar[b])) {
                return true;
            }
        }
    }
    return false;
}

static int assign_bus(unsigned bus, bool all);

/* Gives everything behind the bridge new addresses, in one window of the bridge's own. */
static int assign_bridge(const struct pci_dev *bridge) {
    const uint64_t start = mem_alloc(BRIDGE_ALIGN, BRIDGE_ALIGN);
    if (start == 0) {
        log_error("pci: %02x:%02x.%u: no room for the window of the bridge", bridge->bus,
                  bridge->dev, bridge->fn);
        return ERR_RESOURCE;
    }
    mem_next = start;
    const int err = assign_bus(bridge->secondary, true);
    if (err != ERR_OK) {
        return err;
    }
    mem_next = align_up(mem_next, BRIDGE_ALIGN);
    const uint32_t limit = (uint32_t)(mem_next - BRIDGE_ALIGN);
    if (mem_next > start) {
        pci_write32(bridge, PCI_BRIDGE_MEMORY_BASE, (limit & 0xfff00000) | (uint32_t)start >> 16);
    }
    return ERR_OK;
}

static int assign_bus(unsigned bus, bool all) {
    for (unsigned i = 0; i < pci_dev_count; i++) {
        struct pci_dev *d = &pci_devs[i];
        int err = ERR_OK;
        if (d->bus != bus) {
            continue;
        }
        if (d->header_type == HEADER_BRIDGE && d->secondary != 0) {
            if (all || bus_needs_addresses(d->secondary, d->subordinate)) {
                err = assign_bridge(d);
            }
            pci_write16(d, PCI_COMMAND,
                        pci_read16(d, PCI_COMMAND) | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
        } else if (is_network(d)) {
            err = assign_bars(d, all);
        }
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

/* Notes what is decoded already, so that nothing new is put there. */
static void collect_taken(void) {
    for (unsigned i = 0; i < pci_dev_count; i++) {
        struct pci_dev *d = &pci_devs[i];
        const bool live = pci_read16(d, PCI_COMMAND) & PCI_COMMAND_MEMORY;
        if (is_network(d) || live) {
            size_bars(d);
        }
        for (unsigned b = 0; b < PCI_BAR_COUNT; b++) {
            if (!d->bar[b].is_io && d->bar[b].addr != 0) {
                take(d->bar[b].addr, d->bar[b].addr + d->bar[b].size);
            }
        }
        if (d->header_type == HEADER_BRIDGE && live) {
            const uint32_t memory = pci_read32(d, PCI_BRIDGE_MEMORY_BASE);
            take((uint64_t)(memory & 0xfff0) << 16, (memory & 0xfff00000ull) + BRIDGE_ALIGN);
        }
    }
}

/* --- enumeration ------------------------------------------------------------------------------- */

static void scan_bus(uint8_t bus, unsigned depth);

static void scan_bridge(struct pci_dev *d, unsigned depth) {
    const uint32_t buses = pci_read32(d, PCI_BRIDGE_PRIMARY_BUS);
    d->secondary = (uint8_t)(buses >> 8);
    d->subordinate = (uint8_t)(buses >> 16);
    if (depth == BRIDGE_DEPTH_MAX) {
        d->secondary = d->subordinate = 0;
        return;
    }
    if (d->secondary > d->bus && d->subordinate >= d->secondary) {
        bus_max = d->subordinate > bus_max ? d->subordinate : bus_max;
        scan_bus(d->secondary, depth + 1);
        return;
    }
    if (bus_max == UINT8_MAX) {
        return;
    }
    d->secondary = ++bus_max;
    /* Forwards everything above while the buses behind are being numbered. */
    const uint32_t keep = (buses & 0xff000000) | d->bus | (uint32_t)d->secondary << 8;
    pci_write32(d, PCI_BRIDGE_PRIMARY_BUS, keep | 0xff0000);
    scan_bus(d->secondary, depth + 1);
    d->subordinate = bus_max;
    pci_write32(d, PCI_BRIDGE_PRIMARY_BUS, keep | (uint32_t)d->subordinate << 16);
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
    if (d->header_type == HEADER_BRIDGE) {
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
    pci_dev_count = taken_count = 0;
    bus_max = 0;
    mem_next = win.assign_start;
    io_next = win.io_start;
    if (win.ecam == 0 && !ports_present()) {
        log_error("pci: no host bridge: neither configuration ports nor an address in the ACPI tables");
        return ERR_ABSENT;
    }
    scan_bus(0, 0);
    collect_taken();
    return assign_bus(0, false);
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
