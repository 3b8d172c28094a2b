#include "boot/uefi_jump.h"

#include "lib/assert.h"
#include "lib/mmio.h"

#include <elf.h>
#include <string.h>

static const Elf64_Ehdr *elf_header(void) {
    return (const void *)uefi_kernel;
}

static const Elf64_Phdr *elf_segments(void) {
    return (const void *)(uefi_kernel + elf_header()->e_phoff);
}

struct memory_range uefi_jump_kernel(void) {
    struct memory_range range = {UINT64_MAX, 0};
    for (unsigned i = 0; i < elf_header()->e_phnum; i++) {
        const Elf64_Phdr *segment = &elf_segments()[i];
        if (segment->p_type == PT_LOAD) {
            range.start = min_u64(range.start, segment->p_paddr);
            range.end = max_u64(range.end, segment->p_paddr + segment->p_memsz);
        }
    }
    return range;
}

static size_t file_size(void) {
    return (size_t)(uefi_kernel_end - uefi_kernel);
}

size_t uefi_jump_size(void) {
    return sizeof(struct uefi_jump) + sizeof(struct boot_info) + file_size();
}

struct uefi_jump *uefi_jump_prepare(uint64_t block) {
    struct uefi_jump *jump = (void *)block;
    const uint64_t info = block + sizeof(*jump), file = info + sizeof(struct boot_info);
    const size_t code_size = (size_t)(uefi_jump_end - uefi_jump_start);
    ASSERT(file + file_size() <= UINT32_MAX);
    ASSERT(code_size <= sizeof(jump->code));

    *jump = (struct uefi_jump){
        .gdt = {0, 0x00cf9b000000ffff, 0x00cf93000000ffff}, /* code and data, 32 bit, ring 0 */
        .gdt_limit = sizeof(jump->gdt) - 1,
        .gdt_base = block + offsetof(struct uefi_jump, gdt),
        .entry = (uint32_t)elf_header()->e_entry,
        .info = (uint32_t)info,
    };
    memcpy(jump->code, uefi_jump_start, code_size);
    memcpy((void *)file, uefi_kernel, file_size());
    for (unsigned i = 0; i < elf_header()->e_phnum; i++) {
        const Elf64_Phdr *segment = &elf_segments()[i];
        if (segment->p_type == PT_LOAD) {
            ASSERT(jump->copy_count < UEFI_JUMP_COPIES_MAX);
            jump->copies[jump->copy_count++] = (struct uefi_copy){
                .from = (uint32_t)(file + segment->p_offset),
                .to = (uint32_t)segment->p_paddr,
                .size = (uint32_t)segment->p_filesz,
                .zero_size = (uint32_t)(segment->p_memsz - segment->p_filesz),
            };
        }
    }
    return jump;
}

/* What firmware used its local APIC for must not interrupt the kernel, which does not touch it when it
 * polls. Intel SDM volume 3, 11.4.7.2: while it is off by software all local interrupts are masked. */
static void quiet_lapic(void) {
    enum {
        MSR_APIC_BASE = 0x1b, X2APIC = 1 << 10, APIC_ON = 1 << 11,
        TASK_PRIORITY = 0x80, SPURIOUS = 0xf0, TIMER_INITIAL = 0x380,
    };
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(MSR_APIC_BASE));
    if ((low & X2APIC) != 0) { /* to the mode that the kernel knows, by way of off (11.12.5.1) */
        const uint32_t off = low & ~(uint32_t)(X2APIC | APIC_ON);
        __asm__ volatile("wrmsr" : : "a"(off), "d"(high), "c"(MSR_APIC_BASE));
        __asm__ volatile("wrmsr" : : "a"(off | APIC_ON), "d"(high), "c"(MSR_APIC_BASE));
    } else if ((low & APIC_ON) != 0) {
        const uintptr_t base = low & ~0xfffu;
        mmio_write32(base + TIMER_INITIAL, 0);
        mmio_write32(base + SPURIOUS, UINT8_MAX);
        mmio_write32(base + TASK_PRIORITY, 0);
    }
}

void uefi_jump_run(struct uefi_jump *jump, const struct boot_info *info) {
    __asm__ volatile("cli");
    quiet_lapic();
    memcpy((void *)(uintptr_t)jump->info, info, sizeof(*info));
    ((void (*)(struct uefi_jump *))(uintptr_t)jump->code)(jump);
    __builtin_unreachable();
}
