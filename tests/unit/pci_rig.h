/* Functions and bridges on the machine of tests/model/pci_bus.h, found and checked. */
#ifndef TESTS_UNIT_PCI_RIG_H
#define TESTS_UNIT_PCI_RIG_H

#include "tests/unit/unit.h"

#include "lib/err.h"
#include "tests/unit/capture.h"
#include "tests/unit/machine.h"

enum {
    KIB = 1024,
    MIB = 1024 * 1024,
    NET = PCI_CLASS_NETWORK_ETHERNET,
    DISK = 0x0100,
    BAR_IO = 1,
    BAR_64 = 4,
    BAR_PREFETCH = 8,
};

static struct pci_windows windows;

static inline int set_up(void **state) {
    (void)state;
    pci_bus_init();
    windows = machine_windows();
    return 0;
}

static inline struct pci_fn *add_host(void) {
    return pci_bus_add(NULL, 0, 0, 0x8086, 0x29c0, PCI_CLASS_BRIDGE_HOST, 0);
}

static inline struct pci_fn *add_net(struct pci_fn *parent, uint8_t dev) {
    return pci_bus_add(parent, dev, 0, 0x1af4, 0x1041, NET, 0);
}

static inline int init(void) {
    capture_begin();
    const int err = pci_init(&windows);
    if (pci_bus.violation != NULL) {
        fail_msg("%s", pci_bus.violation);
    }
    if (err == ERR_OK) {
        expect_no_error();
    }
    return err;
}

static inline uint8_t bus_of(const struct pci_fn *f) {
    return f->parent == NULL ? 0 : f->parent->cfg[PCI_BRIDGE_SECONDARY_BUS];
}

static inline struct pci_dev *find(const struct pci_fn *f) {
    for (unsigned i = 0; i < pci_dev_count; i++) {
        struct pci_dev *d = &pci_devs[i];
        if (d->bus == bus_of(f) && d->dev == f->dev && d->fn == f->fn) {
            return d;
        }
    }
    fail_msg("function %u.%u was not found", f->dev, f->fn);
    return NULL;
}

/* Every BAR of every network function: what the driver thinks is what the hardware has; reachable,
 * aligned, and its first and last byte answer from there and from nowhere else. */
static inline void check_bars(void) {
    for (unsigned i = 0; i < pci_bus.count; i++) {
        struct pci_fn *f = &pci_bus.fn[i];
        if (pci_bus_get16(f, PCI_CLASS) == NET) {
            pci_bus_set16(f, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
        }
    }
    for (unsigned i = 0; i < pci_bus.count; i++) {
        struct pci_fn *f = &pci_bus.fn[i];
        for (unsigned b = 0; b < PCI_BAR_COUNT && pci_bus_get16(f, PCI_CLASS) == NET; b++) {
            const struct pci_bar *bar = &find(f)->bar[b];
            const uint64_t size = pci_bus_bar_size(f, b);
            assert_int_equal(bar->size, size);
            if (size == 0 || bar->is_io) {
                continue;
            }
            assert_int_equal(bar->addr, pci_bus_bar(f, b));
            assert_int_equal(bar->addr % size, 0);
            assert_true(bar->addr >= windows.mem_start && bar->addr + size <= windows.mem_end);
            for (unsigned end = 0; end < 2; end++) {
                unsigned at_bar = 99;
                uint64_t off = 0;
                struct pci_fn *who =
                    pci_bus_decode(bar->addr + (end ? size - 1 : 0), &at_bar, &off);
                assert_ptr_equal(who, f);
                assert_int_equal(at_bar, b);
                assert_int_equal(off, end ? size - 1 : 0);
            }
        }
    }
}

#endif
