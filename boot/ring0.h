/* Ring 0: boot and traps, nothing else. All of it is built without SSE and without a red zone. */
#ifndef BOOT_RING0_H
#define BOOT_RING0_H

#include "boot/boot_info.h"

enum {
    SELECTOR_CODE0 = 0x08,
    SELECTOR_DATA0 = 0x10,
    SELECTOR_DATA3 = 0x18 | 3,
    SELECTOR_CODE3 = 0x20 | 3,
    SELECTOR_TSS = 0x28,
};

/* start.c. With boot_info filled: sets the CPU up and leaves for user_main(). tsc_start is the time stamp
 * counter at the first instruction. */
_Noreturn void boot_start(uint64_t tsc_start);
extern const uint32_t boot_info_size;

/* paging.c. Builds and loads the final page tables: write xor execute for every page, no mapping of
 * page tables or of any ring-0 memory for ring 3. By boot_info the arena becomes memory of ring 3, and
 * the ranges with ACPI tables readable. */
void paging_init(void);

/* trap.c. Descriptor tables, I/O permissions, interrupt entry. */
void trap_init(void);

/* entry.S */
_Noreturn void ring3_enter(void (*entry)(void), char *stack_top);
extern char trap_stubs[];

/* main.c: the first function in ring 3. */
_Noreturn void user_main(void);

#endif
