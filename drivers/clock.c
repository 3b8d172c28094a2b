#include "drivers/clock.h"

#include "lib/io.h"

#include <string.h>

enum {
    PIT_CHANNEL2 = 0x42,
    PIT_COMMAND = 0x43,
    PIT_CONTROL = 0x61, /* bit 0: gate of channel 2, bit 1: speaker */
    PIT_HZ = 1193182,
    PIT_MEASURE_TICKS = PIT_HZ / 2000, /* half a millisecond */
    PIT_READS_MAX = 100000,
    KHZ_ASSUMED = 2000000,
    KHZ_MIN = 100000, /* anything slower is no time stamp counter */
};

static uint64_t start;
static uint64_t khz = KHZ_ASSUMED;
static const char *source = "assumed";
static uint64_t ns_per_tick; /* times 2^32 */

static uint64_t khz_of_cpuid(void) {
    if (cpuid(1).ecx >> 31 && cpuid(0x40000000).eax >= 0x40000010) {
        return cpuid(0x40000010).eax; /* the hypervisors' common leaf: kHz */
    }
    if (cpuid(0).eax >= 0x15) {
        const struct cpuid_regs r = cpuid(0x15); /* ratio and crystal frequency */
        if (r.eax != 0 && r.ebx != 0 && r.ecx != 0) {
            return (uint64_t)r.ecx * r.ebx / r.eax / 1000;
        }
    }
    return 0;
}

/* KVM's clock: nanoseconds = (ticks << shift) * mult >> 32. */
static uint64_t khz_of_pvclock(const void *pvclock) {
    enum { MULT_OFF = 24, SHIFT_OFF = 28 };
    uint32_t mult;
    int8_t shift;
    if (pvclock == NULL) {
        return 0;
    }
    memcpy(&mult, (const char *)pvclock + MULT_OFF, sizeof(mult));
    memcpy(&shift, (const char *)pvclock + SHIFT_OFF, sizeof(shift));
    if (mult == 0 || shift < -16 || shift > 31) {
        return 0;
    }
    const uint64_t unshifted = (1000000ull << 32) / mult;
    return shift < 0 ? unshifted << -shift : unshifted >> shift;
}

struct pit_sample {
    uint64_t tsc;
    uint16_t count;
};

/* Counter and time stamp at the same moment: of a few tries the one that took least, so that an
 * interruption by the host does not matter. */
static struct pit_sample pit_read(void) {
    struct pit_sample best = {0};
    uint64_t best_width = UINT64_MAX;
    for (unsigned i = 0; i < 4; i++) {
        const uint64_t before = cpu_tsc();
        io_write8(PIT_COMMAND, 0x80); /* latch channel 2 */
        const uint64_t width = cpu_tsc() - before;
        const uint8_t low = io_read8(PIT_CHANNEL2);
        const uint16_t count = (uint16_t)(low | io_read8(PIT_CHANNEL2) << 8);
        if (width < best_width) {
            best_width = width;
            best = (struct pit_sample){before + width / 2, count};
        }
    }
    return best;
}

static uint64_t khz_of_pit(void) {
    io_write8(PIT_CONTROL, (uint8_t)((io_read8(PIT_CONTROL) & ~2) | 1));
    io_write8(PIT_COMMAND, 0xb4); /* channel 2, both bytes, rate generator */
    io_write8(PIT_CHANNEL2, 0xff);
    io_write8(PIT_CHANNEL2, 0xff);
    const struct pit_sample first = pit_read();
    for (unsigned i = 0; i < PIT_READS_MAX; i++) {
        const struct pit_sample last = pit_read();
        const uint16_t ticks = (uint16_t)(first.count - last.count); /* it counts down */
        if (ticks >= PIT_MEASURE_TICKS) {
            return (last.tsc - first.tsc) * PIT_HZ / ticks / 1000;
        }
        if (last.tsc - first.tsc > (uint64_t)KHZ_ASSUMED * 100) {
            break; /* long gone, and it does not count */
        }
    }
    return 0;
}

static bool clock_try(const char *name, uint64_t found_khz) {
    if (found_khz < KHZ_MIN) {
        return false;
    }
    khz = found_khz;
    source = name;
    return true;
}

void clock_init(uint64_t tsc_start, const void *pvclock) {
    start = tsc_start;
    if (!clock_try("kvmclock", khz_of_pvclock(pvclock)) && !clock_try("cpuid", khz_of_cpuid())) {
        clock_try("pit", khz_of_pit());
    }
    ns_per_tick = (1000000ull << 32) / khz;
}

uint64_t clock_khz(void) {
    return khz;
}

const char *clock_source(void) {
    return source;
}

/* Split so that nothing overflows: remainder * 1000 stays far below 2^64. */
uint64_t clock_us(void) {
    const uint64_t ticks = cpu_tsc() - start;
    return ticks / khz * 1000 + ticks % khz * 1000 / khz;
}

uint64_t clock_ms(void) {
    return (cpu_tsc() - start) / khz;
}

uint64_t clock_ticks_of_us(uint64_t us) {
    return us / 1000 * khz + us % 1000 * khz / 1000;
}

uint64_t clock_ns_of_ticks(uint64_t ticks) {
    return (uint64_t)((unsigned __int128)ticks * ns_per_tick >> 32);
}
