/* Where all boot paths meet: boot_info is filled, the CPU is set up and ring 0 is left for good. Runs on
 * the early map of the lowest 16 MiB. Kept short, as boot/pvh.c is. */
#include "boot/ring0.h"

enum {
    KVM_MSR_CLOCK = 0x4b564d01,
    KVM_FEATURE_CLOCKSOURCE2 = 1 << 3,
};

struct boot_info boot_info;

/* For entry.S, which copies what a loader has filled. */
const uint32_t boot_info_size = sizeof(boot_info);

/* The hypervisor writes its clock's parameters here; aligned, so that they cross no page. */
static uint8_t pvclock_page[64] __attribute__((aligned(64)));

static void cpuid(uint32_t leaf, uint32_t out[4]) {
    __asm__ volatile("cpuid"
                     : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
                     : "a"(leaf), "c"(0));
}

/* SSE is on since entry.S. AVX needs XCR0, which only ring 0 can write. */
static void cpu_enable_avx(void) {
    enum { ECX_XSAVE = 1 << 26, ECX_AVX = 1 << 28, CR4_OSXSAVE = 1 << 18 };
    uint32_t r[4];
    cpuid(1, r);
    if ((r[2] & ECX_XSAVE) && (r[2] & ECX_AVX)) {
        uint64_t cr4;
        __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
        __asm__ volatile("mov %0, %%cr4" : : "r"(cr4 | CR4_OSXSAVE));
        __asm__ volatile("xsetbv" : : "c"(0), "a"(7), "d"(0)); /* x87, SSE, AVX */
    }
}

/* Asks KVM for its clock's parameters: the exact frequency of the time stamp counter. */
static void kvm_clock_enable(void) {
    uint32_t r[4];
    cpuid(0x40000000, r);
    if (r[1] != 0x4b4d564b) { /* "KVMK" */
        return;
    }
    cpuid(0x40000001, r);
    if (r[0] & KVM_FEATURE_CLOCKSOURCE2) {
        boot_info.pvclock = (uintptr_t)pvclock_page;
        __asm__ volatile("wrmsr"
                         :
                         : "c"(KVM_MSR_CLOCK), "a"((uint32_t)boot_info.pvclock | 1), "d"(0)
                         : "memory");
    }
}

/* The legacy interrupt controllers could fire as soon as interrupts are on. */
static void pic_mask(void) {
    __asm__ volatile("outb %0, %1" : : "a"((uint8_t)0xff), "Nd"((uint16_t)0x21));
    __asm__ volatile("outb %0, %1" : : "a"((uint8_t)0xff), "Nd"((uint16_t)0xa1));
}

void boot_start(uint64_t tsc_start) {
    boot_info.tsc_start = tsc_start;
    paging_init();
    trap_init();
    pic_mask();
    cpu_enable_avx();
    kvm_clock_enable();
    ring3_enter(user_main, stack_end);
}
