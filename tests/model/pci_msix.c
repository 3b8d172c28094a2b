#include "tests/model/pci_msix.h"

#include <assert.h>
#include <string.h>

enum {
    CAP_ID = 0x11,
    CONTROL_HIGH = 3, /* byte of the capability */
    ENABLE = 0x80,
    MASK_ALL = 0x40,
    ENTRY_CONTROL = 3,
    ENTRY_MASKED = 1,
    COMMAND = 0x04,
    BUS_MASTER = 4,
};

void pci_msix_add(struct pci_fn *f, struct pci_msix *table, uint8_t bar, uint32_t off,
                  uint16_t count) {
    uint8_t body[10] = {(uint8_t)(count - 1), (uint8_t)((count - 1) >> 8)};
    assert(off % 8 == 0 && bar < 8 && count <= PCI_MSIX_MAX);
    for (unsigned i = 0; i < 4; i++) {
        body[2 + i] = body[6 + i] = (uint8_t)((off | bar) >> 8 * i);
    }
    memset(table, 0xa5, sizeof(*table));
    table->cap = pci_bus_add_cap(f, CAP_ID, body, sizeof(body) + 2);
    table->bar = bar;
    table->off = off;
    table->count = count;
    table->writes = 0;
    f->writable[table->cap + CONTROL_HIGH] = ENABLE | MASK_ALL;
    f->msix = table;
}

static bool live(const struct pci_fn *f, uint32_t entry) {
    const uint8_t control = f->cfg[f->msix->cap + CONTROL_HIGH];
    return (control & (ENABLE | MASK_ALL)) == ENABLE &&
           !(f->msix->entry[entry][ENTRY_CONTROL] & ENTRY_MASKED);
}

bool pci_msix_fire(const struct pci_fn *f, uint16_t entry, uint64_t *addr, uint32_t *data) {
    assert(entry < f->msix->count);
    const uint32_t *words = f->msix->entry[entry];
    *addr = words[0] | (uint64_t)words[1] << 32;
    *data = words[2];
    return live(f, entry) && (f->cfg[COMMAND] & BUS_MASTER);
}

bool pci_msix_access(struct pci_fn *f, unsigned bar, uint64_t off, unsigned width, bool write,
                     uint32_t *value) {
    struct pci_msix *m = f->msix;
    if (m == NULL || bar != m->bar || off < m->off || off - m->off >= m->count * 16u) {
        return false;
    }
    const uint32_t at = (uint32_t)(off - m->off) / 4;
    uint32_t *word = &m->entry[at / 4][at % 4];
    if (width != 4) {
        pci_bus_broke("an MSI-X table entry was accessed in another width than 32 bits");
    }
    if (!write) {
        *value = *word;
        return true;
    }
    if (at % 4 != ENTRY_CONTROL && live(f, at / 4)) {
        pci_bus_broke("an MSI-X table entry was changed while it was not masked");
    }
    *word = *value;
    m->writes++;
    return true;
}
