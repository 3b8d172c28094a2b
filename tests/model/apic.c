#include "tests/model/apic.h"

#include "tests/model/pci_bus.h"

#include <string.h>

enum {
    LOCAL = 0xfee00000,
    IOAPIC = 0xfec00000,
    IOAPIC2 = 0xfec10000,
    PAGE = 0x1000,
    SPURIOUS = 0xf0,
    LVT_FIRST = 0x320,
    LVT_LAST = 0x370,
    ENABLED = 1 << 8,
    MASKED = 1 << 16,
    VERSION = 1,
    FIRST_INPUT = 0x10,
};

struct apic apic;

static uint32_t local_access(uint32_t off, bool write, uint32_t value) {
    uint32_t *reg = &apic.local[off / 16];
    if (off % 16 != 0 || off / 16 >= 64) {
        pci_bus_broke("the local APIC has no register there");
        return 0;
    }
    if (!write) {
        return off == 0x20 ? (uint32_t)apic.id << 24 : *reg;
    }
    /* An entry cannot be unmasked while the APIC is off (Intel SDM volume 3, 11.4.7.2). */
    const bool on = apic.local[SPURIOUS / 16] & ENABLED;
    *reg = !on && off >= LVT_FIRST && off <= LVT_LAST ? value | MASKED : value;
    apic.log[apic.log_count++ % APIC_LOG] = (uint16_t)off;
    return 0;
}

/* The data register. */
static uint32_t io_data(uint32_t index, bool first, bool write, uint32_t value) {
    if (index == VERSION && !write) {
        return (APIC_INPUTS - 1) << 16 | 0x20;
    }
    if (index < FIRST_INPUT || index >= FIRST_INPUT + 2 * APIC_INPUTS) {
        pci_bus_broke("the I/O APIC has no such register");
        return 0;
    }
    uint64_t *entry = &(first ? apic.input : apic.input2)[(index - FIRST_INPUT) / 2];
    const unsigned shift = index % 2 * 32;
    if (write) {
        *entry = (*entry & ~(UINT64_C(0xffffffff) << shift)) | (uint64_t)value << shift;
    }
    return (uint32_t)(*entry >> shift);
}

static uint32_t io_access(bool first, uint32_t off, bool write, uint32_t value) {
    uint32_t *index = first ? &apic.index : &apic.index2;
    if (!(first ? apic.ioapic_present : apic.ioapic2_present)) {
        return apic.absent;
    }
    if (off == 0x10) {
        return io_data(*index, first, write, value);
    }
    if (off != 0) {
        pci_bus_broke("the I/O APIC has two registers");
    }
    *index = write ? value : *index;
    return *index;
}

static bool access_register(uintptr_t addr, unsigned width, bool write, uint32_t *value) {
    const uintptr_t page = addr & ~(uintptr_t)(PAGE - 1);
    const uint32_t off = addr & (PAGE - 1);
    if (page != LOCAL && page != IOAPIC && page != IOAPIC2) {
        return false;
    }
    if (width != 4) {
        pci_bus_broke("a register of an APIC was accessed in another width than 32 bits");
    }
    *value = page == LOCAL ? local_access(off, write, *value)
                           : io_access(page == IOAPIC, off, write, *value);
    return true;
}

void apic_init(void) {
    apic = (struct apic){.ioapic_present = true, .ioapic2_present = true, .absent = UINT32_MAX};
    for (unsigned i = 0; i < APIC_INPUTS; i++) {
        apic.input[i] = apic.input2[i] = MASKED;
    }
    for (unsigned off = LVT_FIRST; off <= LVT_LAST; off += 16) {
        apic.local[off / 16] = MASKED;
    }
    apic.local[SPURIOUS / 16] = 0xff;
    pci_bus.platform = access_register;
}
