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

/* The DSDT, its header included, for those that look for devices in it; NULL: there is none that can be
 * read. */
const uint8_t *acpi_dsdt(uint32_t *len);

#endif
