/* The end after a fault or a failed assertion: register dump, backtrace, panic event, status 3. */
#ifndef LIB_PANIC_H
#define LIB_PANIC_H

#include "lib/util.h"

/* Filled by the trap handler in ring 0. */
struct panic_regs {
    uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t rip, cs, rflags, ss, cr2, vector, error;
};

extern struct panic_regs panic_regs;

/* Addresses that a backtrace may follow; set once at start. */
void panic_set_bounds(uintptr_t stack_start, uintptr_t stack_end, uintptr_t text_start,
                      uintptr_t text_end);

/* Where ring 3 continues after a fault, on a stack of its own. */
_Noreturn void panic_enter(void);

#endif
