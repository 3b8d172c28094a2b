/* Page tables: identity mapped, write xor execute everywhere, page tables and other ring-0 memory
 * out of reach of ring 3.
 *
 *   0        not mapped, so that a null pointer faults
 *   0xc0000  firmware's ROM area, read only (ACPI tables may start there)
 *   1 MiB    the image, in 4 KiB pages by section, with unmapped guard pages around each stack
 *   2 MiB    large static arrays: memory of ring 3 in 2 MiB pages, as is the arena, which begins
 *            behind them or anywhere below 1 GiB; ACPI tables where they are, read only
 *   3 GiB    device registers up to 4 GiB, uncached
 *
 * Entries that stay empty are left as the loader zeroed them. */
#include "boot/ring0.h"

enum {
    PAGE_PRESENT = 1 << 0,
    PAGE_WRITE = 1 << 1,
    PAGE_USER = 1 << 2,
    PAGE_WRITE_THROUGH = 1 << 3,
    PAGE_CACHE_OFF = 1 << 4,
    PAGE_LARGE = 1 << 7,
    PAGE_SIZE = 4096,
    PAGE_ENTRIES = 512,
    PD_COUNT = 4, /* 4 GiB */
};

#define PAGE_NO_EXECUTE (1ull << 63)
#define PAGE_USER_DATA (PAGE_PRESENT | PAGE_USER | PAGE_WRITE | PAGE_NO_EXECUTE)
#define PAGE_DEVICE (PAGE_USER_DATA | PAGE_WRITE_THROUGH | PAGE_CACHE_OFF)
#define TWO_MIB (2ull << 20)
#define ONE_GIB (1ull << 30)

struct page_table {
    uint64_t entry[PAGE_ENTRIES];
} __attribute__((aligned(PAGE_SIZE)));

static struct page_table pml4, pdpt, pd[PD_COUNT], pt;

static void map_pages(const char *start, const char *end, uint64_t flags) {
    for (uintptr_t page = (uintptr_t)start; page < (uintptr_t)end; page += PAGE_SIZE) {
        pt.entry[page / PAGE_SIZE] = page | flags;
    }
}

/* Pages that are mapped already stay as they are. */
static void map_large(uint64_t start, uint64_t end, uint64_t flags) {
    uint64_t *entries = pd[0].entry; /* the four directories lie one behind the other */
    for (uint64_t page = align_down(start, TWO_MIB); page < end; page += TWO_MIB) {
        if (entries[page / TWO_MIB] == 0) {
            entries[page / TWO_MIB] = page | flags | PAGE_LARGE;
        }
    }
}

static bool cpu_has_gib_pages(void) {
    uint32_t eax = 0x80000001, ebx, ecx = 0, edx;
    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    return edx & 1 << 26;
}

/* The map of the image; the linker script keeps it within the second MiB. */
static void map_image(void) {
    map_pages(ring0_text_start, ring0_text_end, PAGE_PRESENT);
    map_pages(ring0_data_start, ring0_data_end, PAGE_PRESENT | PAGE_WRITE | PAGE_NO_EXECUTE);
    map_pages(ring0_stack_start, ring0_stack_end, PAGE_PRESENT | PAGE_WRITE | PAGE_NO_EXECUTE);
    map_pages(ring0_ist_stack_start, ring0_ist_stack_end,
              PAGE_PRESENT | PAGE_WRITE | PAGE_NO_EXECUTE);
    map_pages(text_start, text_end, PAGE_PRESENT | PAGE_USER);
    map_pages(rodata_start, rodata_end, PAGE_PRESENT | PAGE_USER | PAGE_NO_EXECUTE);
    map_pages(data_start, data_end, PAGE_USER_DATA);
    map_pages(stack_start, stack_end, PAGE_USER_DATA);
    map_pages(panic_stack_start, panic_stack_end, PAGE_USER_DATA);
}

void paging_init(void) {
    const uint64_t table = PAGE_PRESENT | PAGE_WRITE | PAGE_USER; /* the last level decides */

    map_image();
    map_pages((char *)BOOT_ROM_START, (char *)BOOT_ROM_END,
              PAGE_PRESENT | PAGE_USER | PAGE_NO_EXECUTE);
    pml4.entry[0] = (uintptr_t)&pdpt | table;
    for (unsigned i = 0; i < PD_COUNT; i++) {
        pdpt.entry[i] = (uintptr_t)&pd[i] | table;
    }
    pd[0].entry[0] = (uintptr_t)&pt | table;
    map_large((uintptr_t)large_start, (uintptr_t)image_end, PAGE_USER_DATA);
    map_large(boot_info.arena_base, boot_info.arena_base + boot_info.arena_size, PAGE_USER_DATA);
    for (uint32_t i = 0; i < boot_info.acpi_count; i++) {
        map_large(boot_info.acpi[i].start, boot_info.acpi[i].end,
                  PAGE_PRESENT | PAGE_USER | PAGE_NO_EXECUTE);
    }
    if (cpu_has_gib_pages()) {
        pdpt.entry[BOOT_MMIO_START / ONE_GIB] = BOOT_MMIO_START | PAGE_DEVICE | PAGE_LARGE;
    } else {
        map_large(BOOT_MMIO_START, BOOT_MMIO_END, PAGE_DEVICE);
    }
    __asm__ volatile("mov %0, %%cr3" : : "r"(&pml4) : "memory");
}
