#include "net/app_crash_test.h"

#include "drivers/clock.h"
#include "drivers/lapic.h"
#include "lib/assert.h"
#include "lib/err.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/wait.h"

#include <string.h>

enum { HLT_TIMER_US = 20000 };

/* Addresses that the compiler must not reason about. */
static void *hidden(const void *address) {
    void *result;
    __asm__("" : "=r"(result) : "0"(address));
    return result;
}

static void crash_null_write(void) {
    *(volatile uint32_t *)hidden(NULL) = 1;
}

static void crash_write_code(void) {
    *(volatile uint8_t *)hidden((const void *)(uintptr_t)crash_null_write) = 0xc3;
}

static void crash_run_data(void) {
    static uint8_t code[] = {0xc3}; /* ret */
    void (*run)(void) = (void (*)(void))(uintptr_t)hidden(code);
    run();
}

/* Grows the stack by a page a step, far beyond its size. Not a tail call: the result is used. */
static uint32_t crash_recurse(uint32_t depth) {
    volatile uint32_t page[1024];
    page[0] = depth;
    return page[0] == 0 ? 0 : crash_recurse(page[0] - 1) + page[0];
}

static void crash_stack_overflow(void) {
    *(volatile uint32_t *)hidden(&(uint32_t){0}) = crash_recurse(1000000);
}

static void crash_privileged(void) {
    uint64_t cr3;
    __asm__ volatile("mov %%cr3, %0" : "=r"(cr3));
}

static void crash_port(void) {
    __asm__ volatile("outb %b0, $0x80" : : "a"(0));
}

static void crash_divide(void) {
    uint32_t quotient;
    __asm__ volatile("div %1" : "=a"(quotient) : "r"(0), "a"(1), "d"(0));
}

static void crash_assert(void) {
    ASSERT(hidden(NULL) != NULL);
}

/* Not a crash: sleeps through ring 0's one service until the timer wakes it. */
static void crash_hlt(void) {
    char text[128];
    struct json j;
    lapic_init();
    const uint64_t before_us = clock_us();
    wait_begin();
    lapic_timer_us(HLT_TIMER_US);
    wait_for_interrupt();
    const uint64_t slept_us = clock_us() - before_us;

    /* An interrupt that came before the wait must end it at once: the timer is off by now, so a
     * service that forgets the wake flag would sleep for ever. */
    wait_for_interrupt();
    json_event(&j, text, sizeof(text), "hlt");
    json_u64(&j, "slept_us", slept_us);
    json_u64(&j, "interrupts", wait_state.interrupts);
    json_u64(&j, "timer", wait_vector_count(WAIT_VECTOR_TIMER));
    json_close(&j);
    json_print(&j);
}

static const struct {
    const char *kind;
    void (*run)(void);
    bool survives;
} crash_kinds[] = {
    {"null-write", crash_null_write, false},
    {"write-code", crash_write_code, false},
    {"run-data", crash_run_data, false},
    {"stack-overflow", crash_stack_overflow, false},
    {"privileged", crash_privileged, false},
    {"port", crash_port, false},
    {"divide", crash_divide, false},
    {"assert", crash_assert, false},
    {"hlt", crash_hlt, true},
};

int app_crash_test_run(const char *kind) {
    for (unsigned i = 0; i < ARRAY_SIZE(crash_kinds); i++) {
        if (strcmp(crash_kinds[i].kind, kind) == 0) {
            crash_kinds[i].run();
            ASSERT(crash_kinds[i].survives);
            return ERR_OK;
        }
    }
    log_error("config: kind=%s: unknown kind of crash-test", kind);
    return ERR_CONFIG;
}
