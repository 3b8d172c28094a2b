/* PCI: configuration access, enumeration, capabilities and base address registers.
 *
 * The firmware may have assigned addresses (SeaBIOS) or not (qboot). Ringlet takes what lies in the
 * windows that are mapped and assigns the rest itself. */
#ifndef DRIVERS_PCI_H
#define DRIVERS_PCI_H

#include "lib/util.h"

enum {
    PCI_BAR_COUNT = 6,
    PCI_DEV_MAX = 64,   /* functions that are looked at */
    PCI_CAP_MAX = 48,   /* length of a capability list: 192 bytes of 4 each */
    PCI_CFG_SIZE = 256,
};

/* Configuration space registers (PCI Local Bus 3.0, 6.1) */
enum {
    PCI_VENDOR_ID = 0x00,
    PCI_DEVICE_ID = 0x02,
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_REVISION = 0x08,
    PCI_CLASS = 0x0a, /* subclass and class */
    PCI_HEADER_TYPE = 0x0e,
    PCI_BAR0 = 0x10,
    PCI_CAP_POINTER = 0x34,
    PCI_BRIDGE_PRIMARY_BUS = 0x18,
    PCI_BRIDGE_SECONDARY_BUS = 0x19,
    PCI_BRIDGE_SUBORDINATE_BUS = 0x1a,
    PCI_BRIDGE_IO_BASE = 0x1c,
    PCI_BRIDGE_MEMORY_BASE = 0x20,
    PCI_BRIDGE_PREFETCH_BASE = 0x24,
    PCI_BRIDGE_PREFETCH_BASE_HIGH = 0x28,
    PCI_BRIDGE_IO_BASE_HIGH = 0x30,
    PCI_INTERRUPT_PIN = 0x3d,
};

enum {
    PCI_COMMAND_IO = 1,
    PCI_COMMAND_MEMORY = 2,
    PCI_COMMAND_MASTER = 4,
    PCI_COMMAND_INTX_DISABLE = 1 << 10,
    PCI_STATUS_CAP_LIST = 1 << 4,
    PCI_CLASS_BRIDGE_PCI = 0x0604,
    PCI_CLASS_BRIDGE_HOST = 0x0600,
    PCI_CLASS_NETWORK_ETHERNET = 0x0200,
    PCI_CAP_ID_VENDOR = 0x09,
    PCI_CAP_ID_MSIX = 0x11,
    PCI_HEADER_BRIDGE = 1,
};

struct pci_bar {
    uint64_t addr; /* 0: not assigned */
    uint64_t size; /* 0: not implemented, or the upper half of a 64-bit one */
    bool is_io;
    bool is_64;
};

struct pci_dev {
    uint8_t bus, dev, fn;
    uint8_t header_type; /* without the multi-function bit */
    uint16_t vendor, device, class;
    uint8_t secondary, subordinate; /* of a bridge */
    struct pci_bar bar[PCI_BAR_COUNT]; /* of network controllers and pvpanic; others are not sized */
};

/* What boot found and mapped for ring 3. Addresses outside of the windows are not reachable. */
struct pci_windows {
    uintptr_t ecam;      /* memory-mapped configuration space of bus 0, 0: none */
    uint32_t ecam_buses; /* buses it covers */
    uint64_t mem_start, mem_end;       /* reachable addresses for memory BARs */
    uint64_t assign_start, assign_end; /* the part of it that is free for assignment */
    uint16_t io_start, io_end;         /* ports for I/O BARs */
};

/* Finds all functions on bus 0 and behind bridges, numbers bridges that the firmware left alone,
 * sizes the BARs of network controllers and of pvpanic and assigns those that are unassigned or lie
 * outside of the windows; whoever decodes addresses already keeps them. Returns ERR_OK, ERR_ABSENT when
 * there is no PCI host (not logged: a machine may do without), ERR_RESOURCE, logged, when a window is
 * full. */
int pci_init(const struct pci_windows *windows);

/* The second half of pci_init(), in pci_assign.c: for the functions in pci_devs. */
int pci_assign(const struct pci_windows *windows);

extern struct pci_dev pci_devs[PCI_DEV_MAX];
extern unsigned pci_dev_count;

/* Configuration space of a function; off is a multiple of the width and below PCI_CFG_SIZE. */
uint8_t pci_read8(const struct pci_dev *d, unsigned off);
uint16_t pci_read16(const struct pci_dev *d, unsigned off);
uint32_t pci_read32(const struct pci_dev *d, unsigned off);
void pci_write16(const struct pci_dev *d, unsigned off, uint16_t value);
void pci_write32(const struct pci_dev *d, unsigned off, uint32_t value);

/* The next capability with that id behind offset `after` (0: from the start), 0 when there is none.
 * Safe against loops, and pointers into the header. */
unsigned pci_cap_find(const struct pci_dev *d, uint8_t id, unsigned after);

/* Name of the machine after its host bridge: "pc", "q35", "microvm" or "unknown". */
const char *pci_machine(void);

#endif
