/* ACPI 6.4: 4.8.3.1.1.1 the fixed power button, 4.8.4.1 its PM1 event registers; 5.6.9 the generic
 * event device, whose selector register is QEMU's own (docs/specs/acpi_hw_reduced_hotplug there). */
#include "drivers/power_button.h"

#include "drivers/acpi.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mmio.h"

enum {
    PM1_PWRBTN = 1 << 8,          /* in status (PWRBTN_STS) and enable register (PWRBTN_EN) */
    SELECTOR_POWER_DOWN = 1 << 1,
};

static struct acpi_power_button button;
static bool present;

/* Reading the selector clears it. */
static bool take_selected(void) {
    const uint32_t selected = mmio_read32(button.selector);
    return selected != UINT32_MAX && (selected & SELECTOR_POWER_DOWN) != 0;
}

/* A status bit is cleared by writing it. All ones: nobody answers. */
static bool take_status(void) {
    const uint16_t status = io_read16(button.status_port);
    if (status == UINT16_MAX || !(status & PM1_PWRBTN)) {
        return false;
    }
    io_write16(button.status_port, PM1_PWRBTN);
    return true;
}

/* The status bit is to be set at each press, whatever the enable bit says (4.8.4.1.1), but QEMU sets it
 * only where the enable bit is. That SCI_EN is off does not matter: nobody waits for the interrupt. */
static bool enable_fixed(void) {
    const uint16_t enabled = io_read16(button.enable_port);
    io_write16(button.status_port, PM1_PWRBTN);
    io_write16(button.enable_port, (uint16_t)(enabled | PM1_PWRBTN));
    const uint16_t answer = io_read16(button.enable_port);
    if (answer == UINT16_MAX || !(answer & PM1_PWRBTN)) {
        log_info("power button: the registers at port 0x%x do not answer, ignored", button.status_port);
        return false;
    }
    return true;
}

void power_button_init(void) {
    present = acpi_power_button(&button);
    if (present && button.is_fixed) {
        present = enable_fixed();
    } else if (present) {
        (void)take_selected();
    }
}

bool power_button_pressed(void) {
    return present && (button.is_fixed ? take_status() : take_selected());
}
