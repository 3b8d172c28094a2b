/* PCI address assignment: base address registers (PCI Local Bus 3.0, 6.2.5) and bridge windows
 * (PCI-to-PCI Bridge 1.2, 3.2.5.8). */
#include "drivers/pci.h"

#include "drivers/pvpanic.h"
#include "lib/err.h"
#include "lib/log.h"

/* Larger than any window, and small enough to be added and aligned without a wrap. */
#define SIZE_IMPOSSIBLE (1ull << 62)

enum {
    BRIDGE_ALIGN = 1 << 20, /* granularity of a bridge's memory window */
    BAR_IO = 1,
    BAR_TYPE_64 = 4,
    TAKEN_MAX = 128,
};

struct range {
    uint64_t start, end;
};

static struct pci_windows win;
static struct range taken[TAKEN_MAX]; /* addresses in use */
static unsigned taken_count;
static uint64_t mem_next;
static uint16_t io_next;

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

/* Whose registers are needed: the others are only kept out of the way. */
static bool is_used(const struct pci_dev *d) {
    return d->header_type == 0 && (d->class == PCI_CLASS_NETWORK_ETHERNET ||
                                   (d->vendor == PVPANIC_PCI_VENDOR &&
                                    d->device == PVPANIC_PCI_DEVICE));
}

static unsigned bar_count(const struct pci_dev *d) {
    return d->header_type == PCI_HEADER_BRIDGE ? 2 : PCI_BAR_COUNT;
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

/* Switches decoding off, so that a half-written or probing address is nowhere visible. Returns the
 * command register as it was. */
static uint16_t decode_off(const struct pci_dev *d) {
    const uint16_t command = pci_read16(d, PCI_COMMAND);
    if (command & (PCI_COMMAND_IO | PCI_COMMAND_MEMORY)) {
        pci_write16(d, PCI_COMMAND,
                    (uint16_t)(command & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY)));
    }
    return command;
}

static void size_bars(struct pci_dev *d) {
    const uint16_t command = decode_off(d);
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

/* Decoding stays off until the driver switches it on. */
static void set_bar(struct pci_dev *d, unsigned i, uint64_t addr) {
    const unsigned off = PCI_BAR0 + 4 * i;
    decode_off(d);
    d->bar[i].addr = addr;
    pci_write32(d, off, (uint32_t)addr);
    if (d->bar[i].is_64) {
        pci_write32(d, off + 4, (uint32_t)(addr >> 32));
    }
}

/* A used function on bus 0: its BARs that are not usable yet. */
static int assign_function(struct pci_dev *d) {
    for (unsigned i = 0; i < PCI_BAR_COUNT; i++) {
        const struct pci_bar *bar = &d->bar[i];
        if (bar->size == 0 || bar_usable(bar)) {
            continue;
        }
        const uint64_t addr = bar->is_io ? io_alloc(bar->size) : mem_alloc(bar->size, bar->size);
        if (addr == 0) {
            log_error("pci: %02x:%02x.%u: no room for bar %u of %llu bytes", d->bus, d->dev, d->fn,
                      i, (unsigned long long)bar->size);
            return ERR_RESOURCE;
        }
        set_bar(d, i, addr);
    }
    return ERR_OK;
}

/* True when a used function on these buses has no usable address. */
static bool buses_need_addresses(unsigned first, unsigned last) {
    for (unsigned i = 0; i < pci_dev_count; i++) {
        const struct pci_dev *d = &pci_devs[i];
        for (unsigned b = 0; b < PCI_BAR_COUNT; b++) {
            if (is_used(d) && d->bus >= first && d->bus <= last && d->bar[b].size != 0 &&
                !d->bar[b].is_io && !bar_usable(&d->bar[b])) {
                return true;
            }
        }
    }
    return false;
}

static bool is_bridge(const struct pci_dev *d) {
    return d->header_type == PCI_HEADER_BRIDGE && d->secondary != 0;
}

/* start and end are multiples of BRIDGE_ALIGN below 4 GiB; the register holds the last MiB, not the
 * end. */
static void set_window(const struct pci_dev *bridge, uint64_t start, uint64_t end) {
    pci_write32(bridge, PCI_BRIDGE_MEMORY_BASE,
                (uint32_t)(end - BRIDGE_ALIGN) | (uint32_t)start >> 16);
}

/* Places everything on a bus and behind its bridges one after the other from `at`, and returns the
 * end, or more than fits anywhere. Every bridge gets a window of its own. Writes addresses and
 * windows, or only measures. I/O ports are not forwarded: only memory is needed. */
static uint64_t place_bus(unsigned bus, uint64_t at, bool write) {
    for (unsigned i = 0; i < pci_dev_count; i++) {
        struct pci_dev *d = &pci_devs[i];
        for (unsigned b = 0; b < PCI_BAR_COUNT && is_used(d) && d->bus == bus; b++) {
            if (d->bar[b].size == 0) {
                continue;
            }
            if (d->bar[b].is_io) {
                d->bar[b].addr = 0;
                continue;
            }
            if (d->bar[b].size > win.assign_end) {
                return SIZE_IMPOSSIBLE;
            }
            at = align_up(at, d->bar[b].size);
            if (write) {
                set_bar(d, b, at);
            }
            at += d->bar[b].size;
        }
        if (is_bridge(d) && d->bus == bus) {
            const uint64_t start = align_up(at, BRIDGE_ALIGN);
            at = align_up(place_bus(d->secondary, start, write), BRIDGE_ALIGN);
            if (write && at > start) {
                set_window(d, start, at);
            }
        }
    }
    return at;
}

/* Gives everything behind a bridge on bus 0 new addresses, in one free piece of the window. */
static int assign_bridge(const struct pci_dev *bridge) {
    const uint64_t size = align_up(place_bus(bridge->secondary, 0, false), BRIDGE_ALIGN);
    uint64_t align = BRIDGE_ALIGN; /* what was measured from 0 fits at this alignment */
    while (align < size) {
        align *= 2;
    }
    const uint64_t start = mem_alloc(size, align);
    if (start == 0) {
        log_error("pci: %02x:%02x.%u: no room for the window of the bridge", bridge->bus,
                  bridge->dev, bridge->fn);
        return ERR_RESOURCE;
    }
    place_bus(bridge->secondary, start, true);
    set_window(bridge, start, start + size);
    return ERR_OK;
}

/* Address ranges that a bridge forwards already; prefetchable ones above 4 GiB are far away. */
static void take_bridge(const struct pci_dev *d) {
    const uint32_t memory = pci_read32(d, PCI_BRIDGE_MEMORY_BASE);
    const uint32_t prefetch = pci_read32(d, PCI_BRIDGE_PREFETCH_BASE);
    take((uint64_t)(memory & 0xfff0) << 16, (memory & 0xfff00000ull) + BRIDGE_ALIGN);
    if (pci_read32(d, PCI_BRIDGE_PREFETCH_BASE_HIGH) == 0) {
        take((uint64_t)(prefetch & 0xfff0) << 16, (prefetch & 0xfff00000ull) + BRIDGE_ALIGN);
    }
}

/* Notes what is decoded already, so that nothing new is put there. */
static void collect_taken(void) {
    for (unsigned i = 0; i < pci_dev_count; i++) {
        struct pci_dev *d = &pci_devs[i];
        const bool live = pci_read16(d, PCI_COMMAND) & PCI_COMMAND_MEMORY;
        if (is_used(d) || live) {
            size_bars(d);
        }
        for (unsigned b = 0; b < PCI_BAR_COUNT; b++) {
            if (!d->bar[b].is_io && d->bar[b].addr != 0) {
                take(d->bar[b].addr, d->bar[b].addr + d->bar[b].size);
            }
        }
        if (is_bridge(d) && live) {
            take_bridge(d);
        }
    }
}

int pci_assign(const struct pci_windows *windows) {
    win = *windows;
    taken_count = 0;
    mem_next = win.assign_start;
    io_next = win.io_start;
    collect_taken();

    for (unsigned i = 0; i < pci_dev_count; i++) {
        struct pci_dev *d = &pci_devs[i];
        int err = ERR_OK;
        if (is_bridge(d)) {
            if (d->bus == 0 && buses_need_addresses(d->secondary, d->subordinate)) {
                err = assign_bridge(d);
            }
            pci_write16(d, PCI_COMMAND,
                        pci_read16(d, PCI_COMMAND) | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
        } else if (is_used(d) && d->bus == 0) {
            err = assign_function(d);
        }
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}
