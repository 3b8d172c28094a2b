/* Virtio devices on MMIO in the ACPI tables: devices of the DSDT whose hardware id is LNRO0005. */
#ifndef DRIVERS_ACPI_MMIO_H
#define DRIVERS_ACPI_MMIO_H

#include "drivers/irq.h"

struct acpi_mmio_device {
    uint32_t base, size; /* as the table has them, not checked */
    struct irq_line line;
};

/* The next such device behind *cursor, which starts at 0. False when there is none any more. A device
 * whose resources are not in the form that is understood is logged and passed over. */
bool acpi_mmio_next(uint32_t *cursor, struct acpi_mmio_device *device);

#endif
