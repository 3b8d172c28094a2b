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

/* paging.c. Builds and loads the final page tables: write xor execute for every page, no mapping of
 * page tables or of any ring-0 memory for ring 3. [2 MiB, ram_end) becomes memory of ring 3. */
void paging_init(uint64_t ram_end);

/* Makes [start, end) readable for ring 3, in whole 2 MiB pages below 4 GiB that are not mapped yet. */
void paging_map_acpi(uint64_t start, uint64_t end);

/* trap.c. Descriptor tables, I/O permissions, interrupt entry. */
void trap_init(void);

/* entry.S */
_Noreturn void ring3_enter(void (*entry)(void), char *stack_top);
extern char trap_stubs[];

/* main.c: the first function in ring 3. */
_Noreturn void user_main(void);

#endif
