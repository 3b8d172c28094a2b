/* The little that Ringlet needs of ACPI: where memory-mapped PCI configuration space is, and how to
 * power off. Tables are read defensively: a pointer out of the readable memory ends the search. */
#ifndef DRIVERS_ACPI_H
#define DRIVERS_ACPI_H

#include "lib/util.h"

/* Memory that may be read: [start, end), two windows. */
struct acpi_window {
    uint64_t start, end;
};

enum { ACPI_WINDOW_COUNT = 3 };

/* Registers the readable windows and the root pointer (0: there is no ACPI). */
void acpi_init(uint64_t rsdp, const struct acpi_window windows[ACPI_WINDOW_COUNT]);

/* The len bytes at a physical address if one of the windows holds them all, NULL otherwise. For tables of
 * firmware in general, the pointers to which are not to be trusted. */
const uint8_t *acpi_memory(uint64_t addr, uint64_t len);

/* The DSDT (ACPI 6.4, 5.2.11.1), header included, with its length in bytes, at least that of a
 * header; NULL when there is none or it lies outside of the windows. Its byte code is the firmware's
 * word: whoever searches it stays within *len, and trusts no number that it finds. */
const uint8_t *acpi_dsdt(uint32_t *len);

/* Base address of the memory-mapped configuration space of segment 0 and the buses it covers
 * (table MCFG, else the method _CBA). False when there is none. */
bool acpi_ecam(uint64_t *base, uint32_t *buses);

/* I/O port and value that power the machine off (FADT, _S5 package of the DSDT), or an MMIO address
 * of the sleep control register where the hardware is reduced. */
struct acpi_power_off {
    uint64_t addr;
    bool is_io;
    uint16_t value;
    uint8_t width; /* in bytes */
};

bool acpi_power_off(struct acpi_power_off *how);

#endif
