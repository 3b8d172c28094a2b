/* The PVH boot path: the start info of the loader becomes boot_info, then the CPU is set up and
 * ring 0 is left for good. Runs on the early map of the lowest 16 MiB. Kept short: a hypervisor
 * that emulates ring 0 needs microseconds for every instruction. */
#include "boot/ring0.h"

enum {
    PVH_MAGIC = 0x336ec578,
    PVH_MEMMAP_RAM = 1,
    PVH_MEMMAP_MAX = 64,   /* entries looked at */
    EARLY_MAP_END = 16 << 20,
    KVM_MSR_CLOCK = 0x4b564d01,
    KVM_FEATURE_CLOCKSOURCE2 = 1 << 3,
};

#define PVH_VERSION_MEMMAP 1
#define ARENA_END_MAX (1ull << 30)
#define FOUR_GIB (1ull << 32)

/* Layouts of the x86/HVM direct boot ABI. */
struct hvm_start_info {
    uint32_t magic;
    uint32_t version;
    uint32_t flags;
    uint32_t nr_modules;
    uint64_t modlist_paddr;
    uint64_t cmdline_paddr;
    uint64_t rsdp_paddr;
    uint64_t memmap_paddr;
    uint32_t memmap_entries;
    uint32_t reserved;
};

struct hvm_memmap_entry {
    uint64_t addr;
    uint64_t size;
    uint32_t type;
    uint32_t reserved;
};

/* ACPI 6, 5.2.5.3, as far as revision 0 goes */
struct acpi_rsdp {
    char signature[8];
    uint8_t checksum;
    char oem[6];
    uint8_t revision;
    uint32_t rsdt;
} __attribute__((packed));

struct boot_info boot_info;

/* The hypervisor writes its clock's parameters here; aligned, so that they cross no page. */
static uint8_t pvclock_page[64] __attribute__((aligned(64)));

_Noreturn void pvh_main(uint64_t start_info, uint64_t tsc_start);

static bool early_readable(uint64_t addr, uint64_t size) {
    return addr != 0 && addr < EARLY_MAP_END && size <= EARLY_MAP_END - addr;
}

/* Finds the memory that the image lies in and sums up the rest. */
static void pvh_memory(const struct hvm_start_info *info) {
    const struct hvm_memmap_entry *entry = (const void *)info->memmap_paddr;
    const uint32_t count = info->memmap_entries;
    uint64_t arena_end = 0;

    if (info->version < PVH_VERSION_MEMMAP || count > PVH_MEMMAP_MAX ||
        !early_readable(info->memmap_paddr, count * sizeof(*entry))) {
        boot_info.error = BOOT_NO_MEMORY_MAP;
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t end = entry[i].addr + entry[i].size;
        if (entry[i].type != PVH_MEMMAP_RAM || end < entry[i].addr) {
            continue;
        }
        boot_info.ram_bytes += entry[i].size;
        if (end <= FOUR_GIB && end > boot_info.low_ram_end) {
            boot_info.low_ram_end = end;
        }
        if (entry[i].addr <= (uintptr_t)ring0_text_start && end >= (uintptr_t)image_end) {
            arena_end = end < ARENA_END_MAX ? end : ARENA_END_MAX;
        }
    }
    if (arena_end == 0) {
        boot_info.error = BOOT_LITTLE_MEMORY;
        return;
    }
    boot_info.arena_base = align_up((uintptr_t)image_end, 4096);
    boot_info.arena_size = arena_end - boot_info.arena_base;
    /* A machine of 16 MiB has a little less: the firmware keeps some of it. */
    if (arena_end < (BOOT_MEMORY_MIN_MIB - 1ull) << 20) {
        boot_info.error = BOOT_LITTLE_MEMORY;
    }
}

static void pvh_cmdline(uint64_t addr) {
    const char *from = (const char *)addr;
    if (!early_readable(addr, BOOT_CMDLINE_MAX)) {
        return;
    }
    for (unsigned i = 0; i < BOOT_CMDLINE_MAX; i++) {
        boot_info.cmdline[i] = from[i];
        if (from[i] == '\0') {
            return;
        }
    }
    boot_info.cmdline[BOOT_CMDLINE_MAX - 1] = '\0';
    boot_info.error = BOOT_LONG_CMDLINE;
}

/* Makes the tables readable: QEMU and others keep all of them close behind the root table. */
static void pvh_acpi(uint64_t rsdp_addr) {
    const struct acpi_rsdp *rsdp = (const void *)rsdp_addr;
    if (!early_readable(rsdp_addr, sizeof(*rsdp))) {
        return;
    }
    boot_info.rsdp = rsdp_addr;
    if (rsdp->rsdt >= BOOT_ROM_END && rsdp->rsdt < BOOT_MMIO_START - (4 << 20)) {
        boot_info.acpi_end = align_down(rsdp->rsdt, 2 << 20) + (4 << 20);
        boot_info.acpi_start = boot_info.acpi_end - (6 << 20);
    }
}

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

void pvh_main(uint64_t start_info, uint64_t tsc_start) {
    const struct hvm_start_info *info = (const void *)start_info;

    boot_info.tsc_start = tsc_start;
    if (!early_readable(start_info, sizeof(*info)) || info->magic != PVH_MAGIC) {
        boot_info.error = BOOT_NO_MEMORY_MAP;
    } else {
        pvh_memory(info);
        pvh_cmdline(info->cmdline_paddr);
        pvh_acpi(info->rsdp_paddr);
    }
    paging_init(boot_info.arena_base + boot_info.arena_size);
    if (boot_info.acpi_end != 0) {
        paging_map_acpi(boot_info.acpi_start, boot_info.acpi_end);
    }
    trap_init();
    pic_mask();
    cpu_enable_avx();
    kvm_clock_enable();
    ring3_enter(user_main, stack_end);
}
