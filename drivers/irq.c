#include "drivers/irq.h"

#include "drivers/lapic.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/mmio.h"

#include <string.h>

/* I/O APIC (Intel 82093AA, 3.1 and 3.2): registers behind an index and a data register. */
enum {
    IOAPIC_INDEX = 0x00,
    IOAPIC_DATA = 0x10,
    IOAPIC_VERSION = 0x01,  /* bits 16 to 23: number of the last input */
    IOAPIC_ENTRY = 0x10,    /* two registers for each input */
    IOAPIC_LEVEL = 1 << 15, /* with the bits around it 0: fixed delivery, to one id */
    IOAPIC_ACTIVE_LOW = 1 << 13,
    IOAPIC_MASKED = 1 << 16,
    IOAPIC_ID_SHIFT = 24,   /* in the upper register */
};

enum {
    PINS = 4,             /* INTA to INTD; 0 to 3 here, 1 to 4 in the register */
    PIIX_PIRQ_ROUTE = 0x60,
    PIIX_ROUTES = 0xdef8, /* the lines that a route may name: not 0 to 2, 8 and 13 */
    PIIX_ROUTE_DEFAULT = 11,
    Q35_GSI = 16,         /* of PIRQA */
    Q35_PIRQE = 4,
    MICROVM_GSI = 16,
    MICROVM_GSI_ALONE = 12,
};

static const uintptr_t ioapic_base = 0xfec00000, ioapic2_base = 0xfec10000;

static uint8_t vector_next = WAIT_VECTOR_DEVICE_FIRST;
static uint32_t intx_acked; /* the count of the last one that was acknowledged */

uint8_t irq_vector_alloc(void) {
    return vector_next <= WAIT_VECTOR_LAST ? vector_next++ : 0;
}

bool irq_intx_pending(void) {
    return wait_vector_count(WAIT_VECTOR_INTX) != intx_acked;
}

/* The count cannot change in between: no other INTx comes while one is not acknowledged. */
void irq_intx_ack(void) {
    if (irq_intx_pending()) {
        intx_acked = wait_vector_count(WAIT_VECTOR_INTX);
        lapic_ack_intx();
    }
}

/* --- the way of the line ---------------------------------------------------------------------- */

/* How many inputs the I/O APIC at base has, 0 when there is none. */
static unsigned ioapic_inputs(uintptr_t base) {
    mmio_write32(base + IOAPIC_INDEX, IOAPIC_VERSION);
    const uint32_t version = mmio_read32(base + IOAPIC_DATA);
    return version == 0 || version == UINT32_MAX ? 0 : (version >> 16 & 0xff) + 1;
}

static void ioapic_write(uintptr_t base, uint32_t index, uint32_t value) {
    mmio_write32(base + IOAPIC_INDEX, index);
    mmio_write32(base + IOAPIC_DATA, value);
}

/* The I/O APIC that has the line, and its register there. The inputs of the second one (microvm) follow
 * those of the first. 0 when none has it. */
static uintptr_t ioapic_of(const struct irq_line *line, uint32_t *entry) {
    const unsigned inputs = ioapic_inputs(ioapic_base);
    const bool second = line->gsi >= inputs;
    const uint32_t input = second ? line->gsi - inputs : line->gsi;
    if (inputs == 0 || (second && input >= ioapic_inputs(ioapic2_base))) {
        return 0;
    }
    *entry = IOAPIC_ENTRY + 2 * input;
    return second ? ioapic2_base : ioapic_base;
}

/* The lower register of an entry comes last: it holds the mask. */
static int ioapic_route(const struct irq_line *line) {
    uint32_t entry;
    const uintptr_t base = ioapic_of(line, &entry);
    if (base == 0) {
        return ERR_ABSENT;
    }
    ioapic_write(base, entry + 1, (uint32_t)lapic_id() << IOAPIC_ID_SHIFT);
    ioapic_write(base, entry,
                 (line->edge ? 0u : IOAPIC_LEVEL) | (line->active_low ? IOAPIC_ACTIVE_LOW : 0u) |
                     WAIT_VECTOR_INTX);
    return ERR_OK;
}

void irq_line_disable(const struct irq_line *line) {
    uint32_t entry;
    const uintptr_t base = ioapic_of(line, &entry);
    if (base != 0) {
        ioapic_write(base, entry, IOAPIC_MASKED);
    }
}

int irq_line_enable(const struct irq_line *line, const char *device) {
    if (ioapic_route(line) != ERR_OK) {
        log_error("irq %s: no I/O APIC has an input %u", device, (unsigned)line->gsi);
        return ERR_ABSENT;
    }
    log_info("irq %s: line at input %u, %s triggered", device, (unsigned)line->gsi,
             line->edge ? "edge" : "level");
    return ERR_OK;
}

/* The PIIX3 or PIIX4 has a route register (PIRQRC) for each of four lines, over which the devices
 * rotate. SeaBIOS sets them, qboot does not. */
static int gsi_pc(unsigned dev, unsigned pin) {
    const unsigned shift = (pin + dev + PINS - 1) % PINS * 8;
    for (unsigned i = 0; i < pci_dev_count; i++) {
        const struct pci_dev *d = &pci_devs[i];
        if (d->vendor != 0x8086 || (d->device != 0x7000 && d->device != 0x7110) || d->bus != 0) {
            continue;
        }
        const uint32_t routes = pci_read32(d, PIIX_PIRQ_ROUTE);
        const uint8_t route = (uint8_t)(routes >> shift);
        if (route < 16 && PIIX_ROUTES >> route & 1) {
            return route;
        }
        pci_write32(d, PIIX_PIRQ_ROUTE,
                    (routes & ~(0xffu << shift)) | (uint32_t)PIIX_ROUTE_DEFAULT << shift);
        return PIIX_ROUTE_DEFAULT;
    }
    return ERR_ABSENT;
}

/* PIRQA to PIRQH are inputs of their own. Devices 0 to 24 rotate over E to H, device 30 has them
 * in order; those of the chipset have A to D in order, unless somebody changed ICH9's registers
 * D25IR to D31IR, which neither SeaBIOS nor qboot does. */
static int gsi_q35(unsigned dev, unsigned pin) {
    const unsigned pirq = dev < 25 ? Q35_PIRQE + (pin + dev) % PINS
                          : dev == 30 ? Q35_PIRQE + pin : pin;
    return (int)(Q35_GSI + pirq);
}

/* With a second I/O APIC the lines moved to the end of the first (QEMU: ioapic2=off). */
static int gsi_microvm(unsigned dev, unsigned pin) {
    const unsigned first = ioapic_inputs(ioapic2_base) != 0 ? MICROVM_GSI : MICROVM_GSI_ALONE;
    return (int)(first + (pin + dev) % PINS);
}

/* The bridge in front of a bus, NULL when there is none. */
static const struct pci_dev *bridge_of(unsigned bus) {
    for (unsigned i = 0; i < pci_dev_count; i++) {
        if (pci_devs[i].header_type == PCI_HEADER_BRIDGE && pci_devs[i].secondary == bus) {
            return &pci_devs[i];
        }
    }
    return NULL;
}

/* The input of the I/O APIC that the function's line ends at, or ERR_ABSENT. */
static int intx_gsi(const struct pci_dev *pci) {
    static const struct {
        const char *machine;
        int (*gsi)(unsigned dev, unsigned pin);
    } roots[] = {{"pc", gsi_pc}, {"q35", gsi_q35}, {"microvm", gsi_microvm}};
    unsigned pin = pci_read8(pci, PCI_INTERRUPT_PIN) - 1u;
    if (pin >= PINS) {
        return ERR_ABSENT; /* 0: it has none */
    }
    /* Each bridge rotates the pins by the number of the device behind it (PCI-to-PCI Bridge 1.2,
     * 9.1). A bus has a higher number than the bridge in front of it, so this ends. */
    while (pci != NULL && pci->bus != 0) {
        pin = (pin + pci->dev) % PINS;
        pci = bridge_of(pci->bus);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(roots) && pci != NULL; i++) {
        if (strcmp(roots[i].machine, pci_machine()) == 0) {
            return roots[i].gsi(pci->dev, pin);
        }
    }
    return ERR_ABSENT;
}

int irq_intx_enable(const struct pci_dev *pci) {
    const int gsi = intx_gsi(pci);
    if (gsi < 0 || ioapic_route(&(struct irq_line){.gsi = (uint32_t)gsi}) != ERR_OK) {
        log_error("irq %02x:%02x.%u: no INTx: machine %s, pin %u", pci->bus, pci->dev, pci->fn,
                  pci_machine(), pci_read8(pci, PCI_INTERRUPT_PIN));
        return ERR_ABSENT;
    }
    pci_write16(pci, PCI_COMMAND,
                (uint16_t)(pci_read16(pci, PCI_COMMAND) & ~PCI_COMMAND_INTX_DISABLE));
    log_info("irq %02x:%02x.%u: INTx at input %d", pci->bus, pci->dev, pci->fn, gsi);
    return ERR_OK;
}
