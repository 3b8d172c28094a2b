/* A machine with PCI for tests: configuration space behind ports CF8/CFC and behind ECAM, functions
 * with base address registers, bridges that forward what their registers say.
 *
 * It answers as hardware does: a register changes only in its writable bits, a function decodes
 * only when its command register says so, a configuration access reaches a bus only through bridges
 * that forward it. What a careful driver never does is kept in `violation`, the first of it. */
#ifndef TESTS_MODEL_PCI_BUS_H
#define TESTS_MODEL_PCI_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PCI_FN_MAX = 100 };

struct pci_fn {
    struct pci_fn *parent; /* the bridge that it is behind, NULL: bus 0 */
    uint8_t dev, fn;
    uint8_t cfg[256];
    uint8_t writable[256]; /* bits that a write changes */
    uint8_t cap_last;      /* where the next pointer goes; 0: no capability yet */
    uint8_t cap_end;       /* first free byte behind the capabilities */
    /* Registers behind the base address registers; width is in bytes. */
    uint32_t (*read)(void *context, unsigned bar, uint64_t off, unsigned width);
    void (*write)(void *context, unsigned bar, uint64_t off, unsigned width, uint32_t value);
    void *context;
    struct pci_msix *msix; /* pci_msix.h; NULL: none */
};

struct pci_bus {
    struct pci_fn fn[PCI_FN_MAX];
    unsigned count;
    uintptr_t ecam; /* 0: none */
    uint32_t ecam_buses;
    bool ports; /* CF8/CFC are there */
    uint32_t port_address;
    const char *violation;
    /* Registers outside of PCI, below 64 KiB ports: returns whether the address is one. NULL: there are
     * none. */
    bool (*platform)(uintptr_t addr, unsigned width, bool write, uint32_t *value);
};

/* The one machine that the seams talk to. */
extern struct pci_bus pci_bus;

/* An empty machine with both ways to configuration space. */
void pci_bus_init(void);

/* Adds a function; header is 0, or 1 for a bridge, or-ed with 0x80 for several functions. */
struct pci_fn *pci_bus_add(struct pci_fn *parent, uint8_t dev, uint8_t fn, uint16_t vendor,
                           uint16_t device, uint16_t class, uint8_t header);
struct pci_fn *pci_bus_add_bridge(struct pci_fn *parent, uint8_t dev);

/* Gives the function a base address register (two for a 64-bit one) at address addr. type is the
 * low bits: 0 memory, 1 I/O, 4 64-bit, 8 prefetchable. */
void pci_bus_set_bar(struct pci_fn *f, unsigned bar, unsigned type, uint64_t size, uint64_t addr);
uint64_t pci_bus_bar(const struct pci_fn *f, unsigned bar);
uint64_t pci_bus_bar_size(const struct pci_fn *f, unsigned bar); /* 0: not there */

/* Appends a capability, its id and next pointer included in len; bytes starts with the third one.
 * Returns its offset. */
uint8_t pci_bus_add_cap(struct pci_fn *f, uint8_t id, const void *bytes, size_t len);

uint16_t pci_bus_get16(const struct pci_fn *f, unsigned off);
void pci_bus_set16(struct pci_fn *f, unsigned off, uint16_t value);

/* As firmware does it: numbers the bridge, opens its windows ([start, end), empty when equal), lets
 * it forward. */
void pci_bus_configure_bridge(struct pci_fn *bridge, uint8_t primary, uint8_t secondary,
                              uint8_t subordinate, uint64_t start, uint64_t end);

/* The driver did what it must not do. */
void pci_bus_broke(const char *what);

/* The function that answers at a memory address, NULL when nobody or more than one does. */
struct pci_fn *pci_bus_decode(uint64_t addr, unsigned *bar, uint64_t *off);

#endif
