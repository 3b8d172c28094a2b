/* The power button's registers, as the chipset or QEMU's event device has them, and what is asked of them. */
#include "tests/unit/capture.h"

#include "drivers/acpi.h"
#include "drivers/power_button.h"
#include "lib/io.h"
#include "lib/mmio.h"

enum {
    STATUS = 0x600,
    ENABLE = 0x602,
    SELECTOR = 0xfea00000,
    PWRBTN = 1 << 8,
    OTHERS = 1 << 0 | 1 << 5, /* timer and global lock */
};

static struct {
    bool has_button;
    struct acpi_power_button button;
    bool dead; /* nobody answers */
    uint16_t status, enable, enable_mask;
    uint32_t selected;
    unsigned accesses;
} hw;

bool acpi_power_button(struct acpi_power_button *button) {
    *button = hw.button;
    return hw.has_button;
}

uint16_t io_read16(uint16_t port) {
    hw.accesses++;
    assert_true(port == STATUS || port == ENABLE);
    return hw.dead ? UINT16_MAX : port == STATUS ? hw.status : hw.enable;
}

void io_write16(uint16_t port, uint16_t value) {
    hw.accesses++;
    assert_true(port == STATUS || port == ENABLE);
    if (port == STATUS) {
        hw.status &= (uint16_t)~value; /* ones clear */
    } else {
        hw.enable = value & hw.enable_mask;
    }
}

uint32_t mmio_read32(uintptr_t addr) {
    const uint32_t selected = hw.selected;
    hw.accesses++;
    assert_int_equal(addr, SELECTOR);
    hw.selected = 0;
    return hw.dead ? UINT32_MAX : selected;
}

/* As QEMU does it: kept only when enabled. */
static void press(void) {
    hw.status |= hw.enable & PWRBTN;
    hw.selected |= 2;
}

static int set_up_fixed(void **state) {
    (void)state;
    memset(&hw, 0, sizeof(hw));
    hw.has_button = true;
    hw.button = (struct acpi_power_button){
        .is_fixed = true, .status_port = STATUS, .enable_port = ENABLE};
    hw.enable_mask = UINT16_MAX;
    capture_begin();
    return 0;
}

static int set_up_event_device(void **state) {
    set_up_fixed(state);
    hw.button = (struct acpi_power_button){.selector = SELECTOR};
    return 0;
}

/* A press from before is forgotten; each later one is reported once; a look is one access. */
static void expect_presses(void) {
    power_button_init();
    assert_false(power_button_pressed());
    for (unsigned i = 0; i < 3; i++) {
        press();
        press();
        assert_true(power_button_pressed());
        hw.accesses = 0;
        assert_false(power_button_pressed());
        assert_int_equal(hw.accesses, 1);
    }
    assert_int_equal(capture_len, 0);
}

static void test_fixed(void **state) {
    (void)state;
    hw.status = PWRBTN | OTHERS;
    hw.enable = OTHERS;
    expect_presses();
    assert_int_equal(hw.status, OTHERS); /* not ours to acknowledge */
    assert_int_equal(hw.enable, PWRBTN | OTHERS);
}

static void test_event_device(void **state) {
    (void)state;
    hw.selected = 2 | 1;
    expect_presses();
    hw.selected = ~2u & ~(1u << 31); /* all other events */
    assert_false(power_button_pressed());
}

static void test_dead(void **state) {
    (void)state;
    hw.dead = true;
    power_button_init();
    for (unsigned i = 0; i < 3; i++) {
        assert_false(power_button_pressed());
    }
    assert_int_equal(strstr(capture_text, "port 0x600 do not answer") != NULL, hw.button.is_fixed);
}

/* One that comes to life later, or dies, is no press either. */
static void test_dies(void **state) {
    (void)state;
    power_button_init();
    press();
    hw.dead = true;
    assert_false(power_button_pressed());
}

/* The enable bit does not stay: whatever it is, it is no button. */
static void test_not_kept(void **state) {
    (void)state;
    hw.enable_mask = (uint16_t)~PWRBTN;
    power_button_init();
    assert_non_null(strstr(capture_text, "ignored"));
    hw.status = PWRBTN;
    hw.accesses = 0;
    assert_false(power_button_pressed());
    assert_int_equal(hw.accesses, 0);
}

static void test_none(void **state) {
    (void)state;
    hw.has_button = false;
    power_button_init();
    hw.status = PWRBTN;
    assert_false(power_button_pressed());
    assert_int_equal(hw.accesses, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_fixed, set_up_fixed),
        cmocka_unit_test_setup(test_event_device, set_up_event_device),
        cmocka_unit_test_setup(test_dead, set_up_fixed),
        cmocka_unit_test_setup(test_dead, set_up_event_device),
        cmocka_unit_test_setup(test_dies, set_up_fixed),
        cmocka_unit_test_setup(test_dies, set_up_event_device),
        cmocka_unit_test_setup(test_not_kept, set_up_fixed),
        cmocka_unit_test_setup(test_none, set_up_fixed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
