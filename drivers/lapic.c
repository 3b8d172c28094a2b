#include "drivers/lapic.h"

#include "lib/mmio.h"
#include "lib/wait.h"

enum {
    LAPIC_ID = 0x20,
    LAPIC_TASK_PRIORITY = 0x80,
    LAPIC_EOI = 0xb0,
    LAPIC_SPURIOUS = 0xf0,
    LAPIC_LVT_TIMER = 0x320,
    LAPIC_LVT_LINT0 = 0x350,
    LAPIC_LVT_LINT1 = 0x360,
    LAPIC_TIMER_INITIAL = 0x380,
    LAPIC_TIMER_DIVIDE = 0x3e0,
    LAPIC_ENABLE = 1 << 8,
    LAPIC_MASKED = 1 << 16,
    LAPIC_DIVIDE_BY_1 = 0xb,
    BUS_TICKS_PER_US = 1000, /* 1 GHz in QEMU and KVM */
};

static const uintptr_t lapic_base = 0xfee00000;
static uint8_t id;

void lapic_init(void) {
    id = (uint8_t)(mmio_read32(lapic_base + LAPIC_ID) >> 24);
    mmio_write32(lapic_base + LAPIC_LVT_LINT0, LAPIC_MASKED);
    mmio_write32(lapic_base + LAPIC_LVT_LINT1, LAPIC_MASKED);
    mmio_write32(lapic_base + LAPIC_TIMER_INITIAL, 0);
    mmio_write32(lapic_base + LAPIC_TIMER_DIVIDE, LAPIC_DIVIDE_BY_1);
    mmio_write32(lapic_base + LAPIC_SPURIOUS, LAPIC_ENABLE | WAIT_VECTOR_SPURIOUS);
    /* One shot. Not before the APIC is on: until then its entries stay masked (11.4.7.2). */
    mmio_write32(lapic_base + LAPIC_LVT_TIMER, WAIT_VECTOR_TIMER);
}

/* One register: a count of 0 stops the timer (11.5.4), so its entry never has to be masked. */
void lapic_timer_once(uint32_t count) {
    mmio_write32(lapic_base + LAPIC_TIMER_INITIAL, count);
}

void lapic_timer_us(uint64_t us) {
    const uint64_t ticks = min_u64(us, UINT32_MAX / BUS_TICKS_PER_US) * BUS_TICKS_PER_US;
    lapic_timer_once(ticks != 0 ? (uint32_t)ticks : 1);
}

uint8_t lapic_id(void) {
    return id;
}

void lapic_ack_intx(void) {
    mmio_write32(lapic_base + LAPIC_EOI, 0);
    mmio_write32(lapic_base + LAPIC_TASK_PRIORITY, 0);
}
