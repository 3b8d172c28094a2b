#include "drivers/lapic.h"

#include "lib/mmio.h"
#include "lib/wait.h"

enum {
    LAPIC_SPURIOUS = 0xf0,
    LAPIC_LVT_TIMER = 0x320,
    LAPIC_LVT_LINT0 = 0x350,
    LAPIC_LVT_LINT1 = 0x360,
    LAPIC_TIMER_INITIAL = 0x380,
    LAPIC_TIMER_DIVIDE = 0x3e0,
    LAPIC_ENABLE = 1 << 8,
    LAPIC_MASKED = 1 << 16,
    LAPIC_DIVIDE_BY_1 = 0xb,
};

static const uintptr_t lapic_base = 0xfee00000;

void lapic_init(void) {
    mmio_write32(lapic_base + LAPIC_LVT_LINT0, LAPIC_MASKED);
    mmio_write32(lapic_base + LAPIC_LVT_LINT1, LAPIC_MASKED);
    mmio_write32(lapic_base + LAPIC_LVT_TIMER, LAPIC_MASKED);
    mmio_write32(lapic_base + LAPIC_SPURIOUS, LAPIC_ENABLE | WAIT_VECTOR_SPURIOUS);
    mmio_write32(lapic_base + LAPIC_TIMER_DIVIDE, LAPIC_DIVIDE_BY_1);
}

void lapic_timer_once(uint32_t count) {
    mmio_write32(lapic_base + LAPIC_LVT_TIMER, count != 0 ? WAIT_VECTOR_TIMER : LAPIC_MASKED);
    mmio_write32(lapic_base + LAPIC_TIMER_INITIAL, count);
}
