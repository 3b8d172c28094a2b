#include "lib/panic.h"

#include "lib/assert.h"
#include "lib/exit.h"
#include "lib/json.h"
#include "lib/log.h"

#include <stdio.h>

enum { BACKTRACE_MAX = 24, VECTOR_PAGE_FAULT = 14 };

struct panic_regs panic_regs;

static struct {
    uintptr_t stack_start, stack_end, text_start, text_end;
} bounds;

void panic_set_bounds(uintptr_t stack_start, uintptr_t stack_end, uintptr_t text_start,
                      uintptr_t text_end) {
    bounds.stack_start = stack_start;
    bounds.stack_end = stack_end;
    bounds.text_start = text_start;
    bounds.text_end = text_end;
}

static const char *vector_name(uint64_t vector) {
    static const char *const names[] = {
        [0] = "divide error",
        [1] = "debug",
        [2] = "non-maskable interrupt",
        [3] = "breakpoint",
        [4] = "overflow",
        [5] = "bound range",
        [6] = "invalid opcode",
        [7] = "device not available",
        [8] = "double fault",
        [10] = "invalid task state",
        [11] = "segment not present",
        [12] = "stack segment",
        [13] = "general protection",
        [14] = "page fault",
        [16] = "x87 floating point",
        [17] = "alignment check",
        [18] = "machine check",
        [19] = "SIMD floating point",
    };
    return vector < ARRAY_SIZE(names) && names[vector] != NULL ? names[vector] : "exception";
}

static bool in_text(uint64_t addr) {
    return addr >= bounds.text_start && addr < bounds.text_end;
}

static bool in_stack(uint64_t addr, uint64_t size) {
    return addr % 8 == 0 && addr >= bounds.stack_start && addr <= bounds.stack_end - size;
}

/* Follows the frame pointers from rbp. Every step must go up within the stack and return into the
 * text, so a damaged stack ends the walk instead of faulting. Return addresses are less one, which
 * lies within the call: the next instruction may belong to another line or even function. */
static unsigned backtrace(uint64_t rip, uint64_t rsp, uint64_t rbp, uint64_t *trace) {
    unsigned count = 0;
    trace[count++] = rip;
    if (!in_text(rip) && in_stack(rsp, 8) && in_text(*(const uint64_t *)rsp)) {
        trace[count++] = *(const uint64_t *)rsp - 1; /* a call to nowhere left it on the stack */
    }
    while (count < BACKTRACE_MAX && in_stack(rbp, 16)) {
        const uint64_t *frame = (const uint64_t *)rbp;
        if (!in_text(frame[1])) {
            break;
        }
        trace[count++] = frame[1] - 1;
        if (frame[0] <= rbp) {
            break;
        }
        rbp = frame[0];
    }
    return count;
}

/* regs is NULL for a failed assertion. */
static _Noreturn void panic_end(const char *reason, uint64_t rip, uint64_t rsp, uint64_t rbp,
                                const struct panic_regs *regs) {
    static char text[1024];
    struct json j;
    uint64_t trace[BACKTRACE_MAX];
    const unsigned count = backtrace(rip, rsp, rbp, trace);

    log_info("backtrace (addr2line -fe ringlet.elf ADDRESS...):");
    for (unsigned i = 0; i < count; i++) {
        log_info("  #%u 0x%llx", i, (unsigned long long)trace[i]);
    }
    json_event(&j, text, sizeof(text), "panic");
    json_string(&j, "reason", reason);
    json_hex(&j, "rip", rip);
    if (regs != NULL) {
        json_u64(&j, "ring", regs->cs & 3);
        json_u64(&j, "vector", regs->vector);
        json_hex(&j, "error", regs->error);
        json_hex(&j, "address", regs->vector == VECTOR_PAGE_FAULT ? regs->cr2 : 0);
    }
    json_array(&j, "backtrace");
    for (unsigned i = 0; i < count; i++) {
        json_hex(&j, NULL, trace[i]);
    }
    json_close(&j);
    json_close(&j);
    json_print(&j);
    exit_guest(EXIT_STATUS_PANIC);
}

#define U(reg) ((unsigned long long)r->reg)

static void print_regs(const struct panic_regs *r) {
    log_info("rax %016llx rbx %016llx rcx %016llx rdx %016llx", U(rax), U(rbx), U(rcx), U(rdx));
    log_info("rsi %016llx rdi %016llx rbp %016llx rsp %016llx", U(rsi), U(rdi), U(rbp), U(rsp));
    log_info("r8  %016llx r9  %016llx r10 %016llx r11 %016llx", U(r8), U(r9), U(r10), U(r11));
    log_info("r12 %016llx r13 %016llx r14 %016llx r15 %016llx", U(r12), U(r13), U(r14), U(r15));
    log_info("rip %016llx cs  %04llx rflags %08llx ss %04llx cr2 %016llx", U(rip), U(cs), U(rflags),
             U(ss), U(cr2));
}

/* "page fault: ring 3 wrote to 0x0, which is not mapped" says more than an error code. */
static void describe(char *text, size_t size, const struct panic_regs *r) {
    int used = snprintf(text, size, "%s in ring %llu", vector_name(r->vector), U(cs) & 3);
    if (r->vector == VECTOR_PAGE_FAULT && used > 0 && (size_t)used < size) {
        const char *what = r->error & 16 ? "run" : r->error & 2 ? "write" : "read";
        const char *why = r->error & 1 ? "not allowed there" : "nothing is mapped there";
        snprintf(text + used, size - (size_t)used, ": %s at 0x%llx, %s", what, U(cr2), why);
    }
}

void panic_enter(void) {
    static char reason[128];
    describe(reason, sizeof(reason), &panic_regs);
    log_info("panic: %s", reason);
    print_regs(&panic_regs);
    panic_end(reason, panic_regs.rip, panic_regs.rsp, panic_regs.rbp, &panic_regs);
}

_Noreturn void assert_fail(const char *condition, const char *file, int line) {
    static char reason[192];
    snprintf(reason, sizeof(reason), "%s:%d: assertion failed: %s", file, line, condition);
    log_info("panic: %s", reason);
    const uint64_t *frame = __builtin_frame_address(0);
    panic_end(reason, frame[1] - 1, 0, frame[0], NULL);
}
