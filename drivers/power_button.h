/* The ACPI power button, looked at and never an interrupt: its line stays masked at the interrupt
 * controllers. Pressed by `system_powerdown` of QEMU's monitor, `virsh shutdown` and the like. */
#ifndef DRIVERS_POWER_BUTTON_H
#define DRIVERS_POWER_BUTTON_H

#include "lib/util.h"

/* Finds the button in the ACPI tables, forgets earlier presses and asks for later ones to be kept. Call
 * after acpi_init(). A button that does not answer is logged and counts as none. */
void power_button_init(void);

/* Whether it was pressed since the last call, or since power_button_init(); false without a button. One
 * register access, which may take 70 us where the hypervisor emulates it: for once a second. */
bool power_button_pressed(void);

#endif
