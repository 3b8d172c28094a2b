/* The local APIC of one CPU and the I/O APICs of the machine in pci_bus.h, as far as a driver sets
 * them up: registers that keep what was written, where hardware does. */
#ifndef TESTS_MODEL_APIC_H
#define TESTS_MODEL_APIC_H

#include <stdbool.h>
#include <stdint.h>

enum { APIC_INPUTS = 24, APIC_LOG = 16 };

struct apic {
    uint8_t id;          /* of the local APIC */
    bool ioapic_present; /* at fec00000, else nothing answers there */
    bool ioapic2_present;
    uint32_t absent; /* what a read gives where nothing answers */
    uint32_t index, index2;
    uint64_t input[APIC_INPUTS]; /* redirection entries of the first I/O APIC */
    uint64_t input2[APIC_INPUTS];
    uint32_t local[64];          /* registers of the local APIC, each 16 bytes apart */
    uint16_t log[APIC_LOG];      /* offsets of the local APIC's registers, as they were written */
    unsigned log_count;
};

extern struct apic apic;

/* As after a reset, with both I/O APICs; becomes the registers outside of PCI of pci_bus.h. */
void apic_init(void);

#endif
