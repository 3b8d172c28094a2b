/* How the UEFI loader leaves firmware's world: the structure that uefi_enter.S works through. */
#ifndef BOOT_UEFI_JUMP_H
#define BOOT_UEFI_JUMP_H

/* Offsets in struct uefi_jump. */
#define UEFI_JUMP_GDT_POINTER 0
#define UEFI_JUMP_ENTRY 12
#define UEFI_JUMP_INFO 16
#define UEFI_JUMP_COPY_COUNT 20
#define UEFI_JUMP_COPIES 24
#define UEFI_JUMP_COPY_SIZE 16

#ifndef __ASSEMBLER__

#include "boot/boot_info.h"

enum { UEFI_JUMP_COPIES_MAX = 8 };

/* One segment of the kernel, at its physical address; what it has beyond `size` becomes zero. */
struct uefi_copy {
    uint32_t from, to;
    uint32_t size, zero_size;
};

/* Lies below 4 GiB, mapped at its physical address, and outside of the memory that is copied to, with all
 * that it names. So nothing that is in use is overwritten. */
struct uefi_jump {
    uint16_t gdt_limit;
    uint64_t gdt_base;
    uint16_t reserved;
    uint32_t entry; /* of the kernel, 32-bit */
    uint32_t info;  /* its struct boot_info */
    uint32_t copy_count; /* at least 1 */
    struct uefi_copy copies[UEFI_JUMP_COPIES_MAX];
    uint64_t gdt[3];
    uint8_t code[160]; /* of uefi_enter.S: the bytes from uefi_jump_start to uefi_jump_end */
} __attribute__((packed, aligned(16)));

_Static_assert(offsetof(struct uefi_jump, entry) == UEFI_JUMP_ENTRY, "as in uefi_enter.S");
_Static_assert(offsetof(struct uefi_jump, info) == UEFI_JUMP_INFO, "as in uefi_enter.S");
_Static_assert(offsetof(struct uefi_jump, copy_count) == UEFI_JUMP_COPY_COUNT, "as in uefi_enter.S");
_Static_assert(offsetof(struct uefi_jump, copies) == UEFI_JUMP_COPIES, "as in uefi_enter.S");
_Static_assert(sizeof(struct uefi_copy) == UEFI_JUMP_COPY_SIZE, "as in uefi_enter.S");

extern const uint8_t uefi_jump_start[], uefi_jump_end[];

/* build/ringlet.elf */
extern const uint8_t uefi_kernel[], uefi_kernel_end[];

/* The memory that the kernel takes where it runs. */
struct memory_range uefi_jump_kernel(void);

/* Bytes of the block for uefi_jump_prepare(). */
size_t uefi_jump_size(void);

/* Fills a block of executable memory, below 4 GiB and outside of uefi_jump_kernel(), with struct uefi_jump,
 * room for struct boot_info, and the kernel's file. */
struct uefi_jump *uefi_jump_prepare(uint64_t block);

/* Starts the kernel. Boot services have ended. */
_Noreturn void uefi_jump_run(struct uefi_jump *jump, const struct boot_info *info);

#endif
#endif
