/* The little that Ringlet needs of ACPI: where memory-mapped PCI configuration space is, how to power
 * off, and where the power button is. Tables are read defensively: a pointer out of the readable memory
 * ends the search. */
#ifndef DRIVERS_ACPI_H
#define DRIVERS_ACPI_H

#include "lib/util.h"

/* Memory that may be read: [start, end). */
struct acpi_window {
    uint64_t start, end;
};

enum { ACPI_WINDOWS_MAX = 16 };

/* Registers the readable windows, at most ACPI_WINDOWS_MAX, and the root pointer (0: there is no ACPI). */
void acpi_init(uint64_t rsdp, const struct acpi_window *windows, unsigned count);

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

/* The ports that power management registers may have, so many from each of two: with SeaBIOS and
 * qboot those of QEMU's PIIX4 and ICH9, with OVMF those of ICH9, begin at the first, with OVMF those of
 * PIIX4 at the second. boot/trap.c allows them to ring 3; what a table names elsewhere is not used. */
enum { ACPI_PORT_COUNT = 8, ACPI_PORT_LOW = 0x600, ACPI_PORT_HIGH = 0xb000 };

/* Such registers in memory lie from here to 4 GiB, which boot/paging.c maps for ring 3. */
#define ACPI_MMIO_START 0xc0000000ull

/* I/O port and value that power the machine off (FADT, _S5 package of the DSDT), or an MMIO address
 * of the sleep control register where the hardware is reduced. */
struct acpi_power_off {
    uint64_t addr;
    bool is_io;
    uint16_t value;
    uint8_t width; /* in bytes */
};

/* False when the tables do not say how, or name a register that is out of reach. */
bool acpi_power_off(struct acpi_power_off *how);

/* Where to see a press of the power button: the status and enable registers of the fixed hardware, two
 * bytes each (ACPI 6.4, 4.8.4.1), or, where the hardware is reduced, the selector register
 * of QEMU's generic event device, four bytes in memory. */
struct acpi_power_button {
    bool is_fixed;
    uint16_t status_port, enable_port; /* of the fixed button */
    uintptr_t selector;                /* of the event device */
};

/* False when there is no button, or none of these two kinds. One whose registers are out of reach
 * counts as none, and is logged. */
bool acpi_power_button(struct acpi_power_button *button);

#endif
