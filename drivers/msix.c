#include "drivers/msix.h"

#include "drivers/lapic.h"
#include "lib/assert.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/mmio.h"
#include "lib/wait.h"

enum {
    CAP_CONTROL = 2,
    CAP_TABLE = 4, /* offset, and the BAR in the lowest three bits */
    CAP_LEN = 12,
    CONTROL_SIZE = 0x7ff, /* entries - 1 */
    CONTROL_ENABLE = 1 << 15,
    CONTROL_MASK_ALL = 1 << 14,
    TABLE_BAR = 7,
    ENTRY_SIZE = 16,
    ENTRY_ADDR_LOW = 0,
    ENTRY_ADDR_HIGH = 4,
    ENTRY_DATA = 8,
    ENTRY_CONTROL = 12,
    ENTRY_MASKED = 1,
    MESSAGE_ID_SHIFT = 12,
};

/* Messages to the local APIC: fixed delivery to one CPU (Intel SDM volume 3, 11.11). */
#define MESSAGE_BASE 0xfee00000u

/* Where the table is; 0 when the function cannot have one there (6.8.2.4). */
static uintptr_t table_addr(const struct pci_dev *pci, unsigned cap, uint16_t count) {
    const uint32_t where = pci_read32(pci, cap + CAP_TABLE);
    const unsigned index = where & TABLE_BAR;
    const uint32_t off = where & ~(uint32_t)TABLE_BAR;
    if (index >= PCI_BAR_COUNT) {
        return 0; /* reserved */
    }
    const struct pci_bar *bar = &pci->bar[index];
    if (bar->is_io || bar->addr == 0 || off + (uint64_t)count * ENTRY_SIZE > bar->size) {
        return 0;
    }
    return bar->addr + off;
}

static void write_control(const struct msix *m, uint16_t set) {
    pci_write16(&m->pci, m->cap + CAP_CONTROL, set);
}

int msix_init(struct msix *m, const struct pci_dev *pci) {
    const unsigned cap = pci_cap_find(pci, PCI_CAP_ID_MSIX, 0);
    if (cap == 0) {
        return ERR_ABSENT;
    }
    bool usable = cap + CAP_LEN <= PCI_CFG_SIZE;
    const uint16_t control = usable ? pci_read16(pci, cap + CAP_CONTROL) : 0;
    *m = (struct msix){
        .pci = *pci,
        .count = (uint16_t)((control & CONTROL_SIZE) + 1),
        .cap = (uint8_t)cap,
    };
    if (usable) {
        m->table = table_addr(pci, cap, m->count);
        usable = m->table != 0;
    }
    if (!usable) {
        log_error("msix %02x:%02x.%u: the table of %u entries is not in memory of the function; "
                  "not used", pci->bus, pci->dev, pci->fn, m->count);
        return ERR_ABSENT;
    }
    if (control & (CONTROL_ENABLE | CONTROL_MASK_ALL)) {
        write_control(m, 0);
    }
    return ERR_OK;
}

void msix_enable(struct msix *m) {
    write_control(m, CONTROL_ENABLE);
    m->enabled = true;
}

void msix_disable(struct msix *m) {
    write_control(m, 0);
    m->enabled = false;
}

void msix_set(struct msix *m, uint16_t entry, uint8_t vector) {
    ASSERT(entry < m->count);
    ASSERT(vector >= WAIT_VECTOR_DEVICE_FIRST && vector <= WAIT_VECTOR_LAST);
    const uintptr_t at = m->table + (uintptr_t)entry * ENTRY_SIZE;
    if (m->enabled) { /* no message may go out half-written (6.8.2) */
        mmio_write32(at + ENTRY_CONTROL, ENTRY_MASKED);
    }
    mmio_write32(at + ENTRY_ADDR_LOW, MESSAGE_BASE | (uint32_t)lapic_id() << MESSAGE_ID_SHIFT);
    mmio_write32(at + ENTRY_ADDR_HIGH, 0);
    mmio_write32(at + ENTRY_DATA, vector);
    mmio_write32(at + ENTRY_CONTROL, 0);
}
