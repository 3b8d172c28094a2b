/* The ways to end the machine, best first. */
#include "drivers/acpi.h"
#include "drivers/pvpanic.h"
#include "lib/cpu.h"
#include "lib/exit.h"
#include "lib/io.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/mmio.h"
#include "lib/wait.h"

enum {
    PORT_DEBUG_EXIT = 0xf4,
    PORT_RESET_CONTROL = 0xcf9,
    PORT_KEYBOARD = 0x64,
    KEYBOARD_RESET = 0xfe,
};

/* About a second. */
#define POWER_OFF_TICKS (1ull << 32)

static void power_off(void) {
    struct acpi_power_off how;
    if (!acpi_power_off(&how)) {
        return;
    }
    if (!how.is_io) {
        mmio_write8(how.addr, (uint8_t)how.value);
    } else if (how.width == 2) {
        io_write16((uint16_t)how.addr, how.value);
    } else {
        io_write8((uint16_t)how.addr, (uint8_t)how.value);
    }
    /* QEMU powers off from another thread. A reset that it sees before that replaces the power-off, and
     * management software would start the guest again. */
    const uint64_t start = cpu_tsc();
    while (cpu_tsc() - start < POWER_OFF_TICKS) {
        cpu_relax();
    }
}

_Noreturn void exit_guest(enum exit_status status) {
    char text[64];
    struct json j;
    json_event(&j, text, sizeof(text), "exit");
    json_u64(&j, "status", status);
    json_close(&j);
    json_print(&j);
    log_flush();

    /* QEMU may pause or end at once when it is told, so all that is to be read is out by now. */
    if (status == EXIT_STATUS_PANIC) {
        pvpanic_tell();
    }
    io_write8(PORT_DEBUG_EXIT, (uint8_t)status);
    power_off();
    io_write8(PORT_RESET_CONTROL, 6);
    io_write8(PORT_KEYBOARD, KEYBOARD_RESET);
    while (true) {
        wait_begin();
        wait_for_interrupt();
    }
}
