/* The PVH boot path: the start info of the loader becomes boot_info. Runs on the early map of the lowest
 * 16 MiB. Kept short: a hypervisor that emulates ring 0 needs microseconds for every instruction. */
#include "boot/memory.h"
#include "boot/ring0.h"

enum {
    PVH_MAGIC = 0x336ec578,
    PVH_MEMMAP_RAM = 1,
    PVH_MEMMAP_MAX = 64,   /* entries looked at */
    EARLY_MAP_END = 16 << 20,
};

#define PVH_VERSION_MEMMAP 1
/* Any page: all that can share a 2 MiB page with the arena are the machine's own tables behind the end
 * of its memory. */
#define PVH_ARENA_GRANULE 4096

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

_Noreturn void pvh_main(uint64_t tsc_start, uint64_t start_info);

static bool early_readable(uint64_t addr, uint64_t size) {
    return addr != 0 && addr < EARLY_MAP_END && size <= EARLY_MAP_END - addr;
}

static void pvh_memory(const struct hvm_start_info *info) {
    const struct hvm_memmap_entry *entry = (const void *)info->memmap_paddr;
    const uint32_t count = info->memmap_entries;
    const struct memory_range image = {(uintptr_t)ring0_text_start, (uintptr_t)image_end};
    bool image_fits = false;

    if (info->version < PVH_VERSION_MEMMAP || count > PVH_MEMMAP_MAX ||
        !early_readable(info->memmap_paddr, count * sizeof(*entry))) {
        boot_info.error = BOOT_NO_MEMORY_MAP;
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct memory_range ram = {entry[i].addr, entry[i].addr + entry[i].size};
        if (entry[i].type == PVH_MEMMAP_RAM && ram.end >= ram.start) {
            image_fits |= ram.start <= image.start && ram.end >= image.end;
            memory_add(&boot_info, ram, image.end, PVH_ARENA_GRANULE);
        }
    }
    if (!image_fits || !memory_is_enough(&boot_info, image.end)) {
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
        const uint64_t end = align_down(rsdp->rsdt, 2 << 20) + (4 << 20);
        boot_info.acpi[boot_info.acpi_count++] = (struct memory_range){end - (6 << 20), end};
    }
}

void pvh_main(uint64_t tsc_start, uint64_t start_info) {
    const struct hvm_start_info *info = (const void *)start_info;

    if (!early_readable(start_info, sizeof(*info)) || info->magic != PVH_MAGIC) {
        boot_info.error = BOOT_NO_MEMORY_MAP;
    } else {
        pvh_memory(info);
        pvh_cmdline(info->cmdline_paddr);
        pvh_acpi(info->rsdp_paddr);
    }
    boot_start(tsc_start);
}
