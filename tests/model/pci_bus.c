#include "tests/model/pci_bus.h"

#include "tests/model/pci_msix.h"
#include "tests/unit/seam_io.h"
#include "tests/unit/seam_mmio.h"

#include <assert.h>
#include <string.h>

enum {
    COMMAND = 0x04,
    STATUS = 0x06,
    BAR0 = 0x10,
    SECONDARY = 0x19,
    SUBORDINATE = 0x1a,
    MEMORY_BASE = 0x20,
    MEMORY_LIMIT = 0x22,
    PREFETCH_BASE = 0x24,
    PREFETCH_LIMIT = 0x26,
    CAP_POINTER = 0x34,
    CAPS = 0x40,
    DECODE_IO = 1,
    DECODE_MEMORY = 2,
};

struct pci_bus pci_bus;

void pci_bus_broke(const char *what) {
    if (pci_bus.violation == NULL) {
        pci_bus.violation = what;
    }
}

/* --- building --------------------------------------------------------------------------------- */

void pci_bus_init(void) {
    pci_bus = (struct pci_bus){.ports = true, .ecam = 0xe0000000, .ecam_buses = 256};
}

uint16_t pci_bus_get16(const struct pci_fn *f, unsigned off) {
    return (uint16_t)(f->cfg[off] | f->cfg[off + 1] << 8);
}

void pci_bus_set16(struct pci_fn *f, unsigned off, uint16_t value) {
    f->cfg[off] = (uint8_t)value;
    f->cfg[off + 1] = (uint8_t)(value >> 8);
}

static uint32_t get32(const uint8_t *bytes) {
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static void set32(uint8_t *bytes, uint32_t value) {
    for (unsigned i = 0; i < 4; i++) {
        bytes[i] = (uint8_t)(value >> 8 * i);
    }
}

struct pci_fn *pci_bus_add(struct pci_fn *parent, uint8_t dev, uint8_t fn, uint16_t vendor,
                           uint16_t device, uint16_t class, uint8_t header) {
    assert(pci_bus.count < PCI_FN_MAX);
    struct pci_fn *f = &pci_bus.fn[pci_bus.count++];
    *f = (struct pci_fn){.parent = parent, .dev = dev, .fn = fn, .cap_end = CAPS};
    pci_bus_set16(f, 0x00, vendor);
    pci_bus_set16(f, 0x02, device);
    pci_bus_set16(f, 0x0a, class);
    f->cfg[0x0e] = header;
    f->writable[COMMAND] = 0x07;
    f->writable[COMMAND + 1] = 0x04;
    if ((header & 0x7f) == 1) {
        memset(f->writable + 0x18, 0xff, 3);
        for (unsigned off = MEMORY_BASE; off < 0x28; off += 2) {
            f->writable[off] = 0xf0;
            f->writable[off + 1] = 0xff;
        }
        f->cfg[PREFETCH_BASE] = f->cfg[PREFETCH_LIMIT] = 1; /* 64-bit */
        memset(f->writable + 0x28, 0xff, 8);
    }
    return f;
}

struct pci_fn *pci_bus_add_bridge(struct pci_fn *parent, uint8_t dev) {
    return pci_bus_add(parent, dev, 0, 0x1b36, 0x000c, 0x0604, 1);
}

void pci_bus_set_bar(struct pci_fn *f, unsigned bar, unsigned type, uint64_t size, uint64_t addr) {
    const uint64_t mask = ~(size - 1);
    uint8_t *value = f->cfg + BAR0 + 4 * bar;
    uint8_t *writable = f->writable + BAR0 + 4 * bar;
    assert(size >= (type & 1 ? 4 : 16) && (size & (size - 1)) == 0 && (addr & ~mask) == 0);
    set32(writable, (uint32_t)mask);
    set32(value, (uint32_t)addr | type);
    if (type & 4) {
        set32(writable + 4, (uint32_t)(mask >> 32));
        set32(value + 4, (uint32_t)(addr >> 32));
    }
}

static bool is_64(const struct pci_fn *f, unsigned bar) {
    return (f->cfg[BAR0 + 4 * bar] & 7) == 4;
}

uint64_t pci_bus_bar(const struct pci_fn *f, unsigned bar) {
    const uint8_t *value = f->cfg + BAR0 + 4 * bar;
    const uint64_t low = get32(value) & ~(value[0] & 1 ? 3u : 15u);
    return is_64(f, bar) ? low | (uint64_t)get32(value + 4) << 32 : low;
}

/* The upper half of a 64-bit register is none of its own. */
static bool is_upper(const struct pci_fn *f, unsigned bar) {
    bool upper = false;
    for (unsigned i = 0; i < bar; i++) {
        upper = !upper && is_64(f, i);
    }
    return upper;
}

uint64_t pci_bus_bar_size(const struct pci_fn *f, unsigned bar) {
    const uint8_t *writable = f->writable + BAR0 + 4 * bar;
    const uint64_t high = is_64(f, bar) ? get32(writable + 4) : UINT32_MAX;
    const uint64_t mask = high << 32 | get32(writable);
    const bool there = get32(writable) != 0 || is_64(f, bar);
    return there && !is_upper(f, bar) ? ~mask + 1 : 0;
}

uint8_t pci_bus_add_cap(struct pci_fn *f, uint8_t id, const void *bytes, size_t len) {
    const uint8_t at = f->cap_end;
    assert(len >= 2 && at + len <= 256);
    f->cfg[at] = id;
    f->cfg[at + 1] = 0;
    memcpy(f->cfg + at + 2, bytes, len - 2);
    f->cfg[f->cap_last == 0 ? CAP_POINTER : f->cap_last + 1] = at;
    f->cfg[STATUS] |= 0x10;
    f->cap_last = at;
    f->cap_end = (uint8_t)((at + len + 3) & ~3u);
    return at;
}

void pci_bus_configure_bridge(struct pci_fn *bridge, uint8_t primary, uint8_t secondary,
                              uint8_t subordinate, uint64_t start, uint64_t end) {
    const bool open = start < end;
    bridge->cfg[0x18] = primary;
    bridge->cfg[SECONDARY] = secondary;
    bridge->cfg[SUBORDINATE] = subordinate;
    pci_bus_set16(bridge, MEMORY_BASE, open ? (uint16_t)(start >> 16) : 0xfff0);
    pci_bus_set16(bridge, MEMORY_LIMIT, open ? (uint16_t)((end - 1) >> 16 & 0xfff0) : 0);
    pci_bus_set16(bridge, COMMAND, 7);
}

/* --- configuration space ---------------------------------------------------------------------- */

/* The function that a configuration access reaches, through every bridge on the way. */
static struct pci_fn *config_target(unsigned bus, unsigned dev, unsigned fn) {
    for (unsigned i = 0; i < pci_bus.count; i++) {
        struct pci_fn *f = &pci_bus.fn[i];
        bool reached = f->dev == dev && f->fn == fn &&
                       bus == (f->parent == NULL ? 0 : f->parent->cfg[SECONDARY]);
        for (const struct pci_fn *b = f->parent; b != NULL && reached; b = b->parent) {
            reached = bus >= b->cfg[SECONDARY] && bus <= b->cfg[SUBORDINATE] && bus != 0;
        }
        if (reached) {
            return f;
        }
    }
    return NULL;
}

static uint32_t config_read(struct pci_fn *f, unsigned off, unsigned width) {
    uint32_t value = UINT32_MAX;
    for (unsigned i = 0; i < width && f != NULL; i++) {
        value = (value & ~(0xffu << 8 * i)) | (uint32_t)f->cfg[off + i] << 8 * i;
    }
    return value;
}

static void config_write(struct pci_fn *f, unsigned off, unsigned width, uint32_t value) {
    if (f == NULL) {
        pci_bus_broke("a write to the configuration space of a function that does not exist");
        return;
    }
    const unsigned bar_end = (f->cfg[0x0e] & 0x7f) == 1 ? 0x18 : 0x28;
    if (off >= BAR0 && off < bar_end && (f->cfg[COMMAND] & (DECODE_IO | DECODE_MEMORY))) {
        pci_bus_broke("a base address register was written while the function decoded addresses");
    }
    uint8_t writable = 0;
    for (unsigned i = 0; i < width; i++) {
        writable |= f->writable[off + i];
    }
    if (off < COMMAND || (off >= 0x08 && off < 0x0c) || (off >= CAPS && writable == 0)) {
        pci_bus_broke("a write to a read-only register or to a capability");
    }
    for (unsigned i = 0; i < width; i++) {
        const uint8_t mask = f->writable[off + i];
        f->cfg[off + i] = (uint8_t)((f->cfg[off + i] & ~mask) | ((uint8_t)(value >> 8 * i) & mask));
    }
}

/* --- memory and ports ------------------------------------------------------------------------- */

static bool in_window(const struct pci_fn *bridge, unsigned base_off, uint64_t addr) {
    const uint64_t base = (uint64_t)(pci_bus_get16(bridge, base_off) & 0xfff0) << 16;
    const uint64_t limit = (uint64_t)(pci_bus_get16(bridge, base_off + 2) & 0xfff0) << 16;
    const bool prefetch = base_off == PREFETCH_BASE;
    const uint64_t base_high = prefetch ? (uint64_t)get32(bridge->cfg + 0x28) << 32 : 0;
    const uint64_t limit_high = prefetch ? (uint64_t)get32(bridge->cfg + 0x2c) << 32 : 0;
    return addr >= (base | base_high) && addr <= (limit | limit_high | 0xfffff);
}

static bool forwards(const struct pci_fn *bridge, uint64_t addr) {
    return (bridge->cfg[COMMAND] & DECODE_MEMORY) &&
           (in_window(bridge, MEMORY_BASE, addr) || in_window(bridge, PREFETCH_BASE, addr));
}

/* Do all bridges on the way forward the address, and no other one on any of those buses? */
static bool reaches(const struct pci_fn *f, uint64_t addr) {
    for (const struct pci_fn *b = f->parent; b != NULL; b = b->parent) {
        if (!forwards(b, addr)) {
            return false;
        }
    }
    for (unsigned i = 0; i < pci_bus.count; i++) {
        const struct pci_fn *other = &pci_bus.fn[i];
        bool on_the_way = false;
        for (const struct pci_fn *b = f; b != NULL; b = b->parent) {
            on_the_way = on_the_way || (other != b && other->parent == b->parent);
        }
        if (on_the_way && (other->cfg[0x0e] & 0x7f) == 1 && forwards(other, addr)) {
            return false; /* claimed by a bridge that it is not behind */
        }
    }
    return true;
}

static struct pci_fn *decode(uint64_t addr, bool io, unsigned *bar, uint64_t *off) {
    struct pci_fn *found = NULL;
    unsigned hits = 0;
    for (unsigned i = 0; i < pci_bus.count; i++) {
        struct pci_fn *f = &pci_bus.fn[i];
        const unsigned bars = (f->cfg[0x0e] & 0x7f) == 1 ? 2 : 6;
        for (unsigned b = 0; b < bars && (f->cfg[COMMAND] & (io ? DECODE_IO : DECODE_MEMORY));
             b++) {
            const uint64_t size = pci_bus_bar_size(f, b);
            const uint64_t start = pci_bus_bar(f, b);
            if (size != 0 && (f->cfg[BAR0 + 4 * b] & 1) == io && addr >= start &&
                addr - start < size && (io ? f->parent == NULL : reaches(f, addr))) {
                hits++;
                found = f;
                *bar = b;
                *off = addr - start;
            }
        }
    }
    return hits == 1 ? found : NULL;
}

struct pci_fn *pci_bus_decode(uint64_t addr, unsigned *bar, uint64_t *off) {
    return decode(addr, false, bar, off);
}

static uint32_t bar_read(uint64_t addr, bool io, unsigned width) {
    unsigned bar = 0;
    uint64_t off = 0;
    struct pci_fn *f = decode(addr, io, &bar, &off);
    uint32_t value = 0;
    if (f != NULL && pci_msix_access(f, bar, off, width, false, &value)) {
        return value;
    }
    if (f == NULL || f->read == NULL) {
        pci_bus_broke("a read where no function answers, or more than one");
        return UINT32_MAX;
    }
    return f->read(f->context, bar, off, width);
}

static void bar_write(uint64_t addr, bool io, unsigned width, uint32_t value) {
    unsigned bar = 0;
    uint64_t off = 0;
    struct pci_fn *f = decode(addr, io, &bar, &off);
    if (f != NULL && pci_msix_access(f, bar, off, width, true, &value)) {
        return;
    }
    if (f == NULL || f->write == NULL) {
        pci_bus_broke("a write where no function answers, or more than one");
        return;
    }
    f->write(f->context, bar, off, width, value);
}

static bool in_ecam(uintptr_t addr) {
    return pci_bus.ecam != 0 && addr >= pci_bus.ecam &&
           addr - pci_bus.ecam < (uintptr_t)pci_bus.ecam_buses << 20;
}

static uint32_t memory_access(uintptr_t addr, unsigned width, bool write, uint32_t value) {
    if (addr % width != 0) {
        pci_bus_broke("a misaligned access");
    }
    if (pci_bus.platform != NULL && pci_bus.platform(addr, width, write, &value)) {
        return value;
    }
    if (in_ecam(addr)) {
        const uintptr_t at = addr - pci_bus.ecam;
        struct pci_fn *f = config_target(at >> 20, at >> 15 & 31, at >> 12 & 7);
        if ((at & 0xfff) + width > 256) {
            pci_bus_broke("an access to extended configuration space");
        } else if (write) {
            config_write(f, at & 0xff, width, value);
        } else {
            return config_read(f, at & 0xff, width);
        }
    } else if (write) {
        bar_write(addr, false, width, value);
    } else {
        return bar_read(addr, false, width);
    }
    return UINT32_MAX;
}

static uint32_t port_access(uint16_t port, unsigned width, bool write, uint32_t value) {
    const uint32_t at = pci_bus.port_address;
    if (pci_bus.platform != NULL && pci_bus.platform(port, width, write, &value)) {
        return value;
    }
    if (port == 0xcf8 && width == 4 && pci_bus.ports) {
        pci_bus.port_address = write ? value & 0x80fffffc : at;
        return at;
    }
    if (port >= 0xcf8 && port < 0xd00 && !pci_bus.ports) {
        return UINT32_MAX;
    }
    if (port >= 0xcfc && port < 0xd00) {
        struct pci_fn *f = config_target(at >> 16 & 0xff, at >> 11 & 31, at >> 8 & 7);
        const unsigned off = (at & 0xfc) + (port & 3);
        if (port % width != 0 || !(at & 1u << 31)) {
            pci_bus_broke("a misaligned or disabled access to the configuration port");
        } else if (write) {
            config_write(f, off, width, value);
        } else {
            return config_read(f, off, width);
        }
    } else if (write) {
        bar_write(port, true, width, value);
    } else {
        return bar_read(port, true, width);
    }
    return UINT32_MAX;
}

#define DEFINE_ACCESS(bits)                                                                        \
    uint##bits##_t mmio_read##bits(uintptr_t addr) {                                               \
        return (uint##bits##_t)memory_access(addr, bits / 8, false, 0);                            \
    }                                                                                              \
    void mmio_write##bits(uintptr_t addr, uint##bits##_t value) {                                  \
        memory_access(addr, bits / 8, true, value);                                                \
    }                                                                                              \
    uint##bits##_t io_read##bits(uint16_t port) {                                                  \
        return (uint##bits##_t)port_access(port, bits / 8, false, 0);                              \
    }                                                                                              \
    void io_write##bits(uint16_t port, uint##bits##_t value) {                                     \
        port_access(port, bits / 8, true, value);                                                  \
    }

DEFINE_ACCESS(8)
DEFINE_ACCESS(16)
DEFINE_ACCESS(32)
