#include "drivers/lapic.h"

#include "lib/cpu.h"
#include "lib/mmio.h"
#include "lib/wait.h"

enum {
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
    BUS_KHZ_DEFAULT = 1000000,
    CPUID_TIMING = 0x40000010, /* the hypervisors' common leaf: ebx is the bus clock in kHz */
};

static const uintptr_t lapic_base = 0xfee00000;
static uint32_t bus_khz = BUS_KHZ_DEFAULT;

static uint32_t bus_khz_of_cpuid(void) {
    const bool told = cpuid(1).ecx >> 31 && cpuid(0x40000000).eax >= CPUID_TIMING;
    const uint32_t khz = told ? cpuid(CPUID_TIMING).ebx : 0;
    return khz != 0 ? khz : BUS_KHZ_DEFAULT;
}

void lapic_init(void) {
    bus_khz = bus_khz_of_cpuid();
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
    const uint64_t us_max = UINT32_MAX * 1000ull / bus_khz;
    const uint64_t ticks = us < us_max ? us * bus_khz / 1000 : UINT32_MAX;
    lapic_timer_once(ticks != 0 ? (uint32_t)ticks : 1);
}

/* The initial id, which nobody changes: it costs no access to a register (CPUID leaf 1). */
uint8_t lapic_id(void) {
    return (uint8_t)(cpuid(1).ebx >> 24);
}

void lapic_eoi(void) {
    mmio_write32(lapic_base + LAPIC_EOI, 0);
}
