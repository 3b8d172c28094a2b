/* The end of the machine: what is tried, in which order, and that the console is out before. */
#include "tests/unit/unit.h"

#include "drivers/acpi.h"
#include "drivers/pvpanic.h"
#include "lib/exit.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mmio.h"

#include <stdio.h>
#include <string.h>

static char trace[256];
static uint8_t pvpanic; /* what its port reads as */
static bool has_acpi;
static struct acpi_power_off acpi;
static jmp_buf after_last;

static void note(const char *what, unsigned long place, unsigned value) {
    const size_t used = strlen(trace);
    snprintf(trace + used, sizeof(trace) - used, "%s %lx=%x, ", what, place, value);
}

bool acpi_power_off(struct acpi_power_off *how) {
    *how = acpi;
    return has_acpi;
}

/* As drivers/pvpanic.c has it where there is no PCI. */
void pvpanic_tell(void) {
    pvpanic_tell_isa();
}

uint8_t io_read8(uint16_t port) {
    note("in", port, pvpanic);
    return pvpanic;
}

void io_write8(uint16_t port, uint8_t value) {
    note("out", port, value);
    if (port == 0x64) {
        longjmp(after_last, 1); /* it would halt for ever */
    }
}

void io_write16(uint16_t port, uint16_t value) {
    note("out2", port, value);
}

void mmio_write8(uintptr_t addr, uint8_t value) {
    note("store", addr, value);
}

static void console_write(const char *bytes, size_t count) {
    if (count > 0 && bytes[0] == '{') {
        strcat(trace, "event, ");
    }
}

static void console_flush(void) {
    strcat(trace, "flush, ");
}

static int set_up(void **state) {
    static const struct log_sink sink = {.write = console_write, .flush = console_flush};
    (void)state;
    log_set_sink(&sink);
    trace[0] = '\0';
    pvpanic = 3;
    has_acpi = false;
    return 0;
}

static void expect_end(enum exit_status status, const char *wanted) {
    trace[0] = '\0';
    if (setjmp(after_last) == 0) {
        exit_guest(status);
    }
    assert_string_equal(trace, wanted);
}

static void test_order(void **state) {
    (void)state;
    expect_end(EXIT_STATUS_FAILED, "event, flush, out f4=1, out cf9=6, out 64=fe, ");
    has_acpi = true;
    acpi = (struct acpi_power_off){.addr = 0x604, .is_io = true, .value = 0x2000, .width = 2};
    expect_end(EXIT_STATUS_OK, "event, flush, out f4=0, out2 604=2000, out cf9=6, out 64=fe, ");
    acpi = (struct acpi_power_off){.addr = 0x604, .is_io = true, .value = 0x34, .width = 1};
    expect_end(EXIT_STATUS_OK, "event, flush, out f4=0, out 604=34, out cf9=6, out 64=fe, ");
    acpi = (struct acpi_power_off){.addr = 0xfea00200, .value = 0x34, .width = 1};
    expect_end(EXIT_STATUS_USAGE, "event, flush, out f4=2, store fea00200=34, out cf9=6, out 64=fe, ");
}

/* After the console, since QEMU may stop the guest then; and before all that ends it. */
static void test_panic(void **state) {
    static const uint8_t good[] = {1, 3, 5}, absent[] = {0xff, 0, 2, 4};
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
        char wanted[128];
        pvpanic = good[i];
        snprintf(wanted, sizeof(wanted),
                 "event, flush, in 505=%x, out 505=1, out f4=3, out cf9=6, out 64=fe, ", pvpanic);
        expect_end(EXIT_STATUS_PANIC, wanted);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(absent); i++) {
        char wanted[128];
        pvpanic = absent[i];
        snprintf(wanted, sizeof(wanted),
                 "event, flush, in 505=%x, out f4=3, out cf9=6, out 64=fe, ", pvpanic);
        expect_end(EXIT_STATUS_PANIC, wanted);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_order, set_up),
        cmocka_unit_test_setup(test_panic, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
