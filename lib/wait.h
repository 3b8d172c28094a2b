/* Sleeping until an interrupt: the one service that ring 0 gives to ring 3.
 *
 * Ring 3 executes HLT, which raises #GP; the handler (boot/trap.c) sees the opcode and halts for
 * it. An interrupt may land between the last look at the work and that HLT, so every handler sets
 * `wake`, and the service returns at once when it finds it set. The order for callers is therefore:
 * clear `wake`, look for work, and only then wait. */
#ifndef LIB_WAIT_H
#define LIB_WAIT_H

#include "lib/util.h"

/* Written by ring 0, read by ring 3. */
struct wait_state {
    uint32_t wake;        /* an interrupt came since it was last cleared */
    uint32_t spurious;    /* interrupts of a vector that nothing asked for */
    uint64_t interrupts;  /* interrupts taken in all */
};

extern struct wait_state wait_state;

/* Vectors of our own interrupts. The exceptions of the CPU end at 31. */
enum {
    WAIT_VECTOR_FIRST = 0x30,
    WAIT_VECTOR_TIMER = 0x30,
    WAIT_VECTOR_LAST = 0x3e,
    WAIT_VECTOR_SPURIOUS = 0x3f,
};

ALWAYS_INLINE void wait_begin(void) {
    __atomic_store_n(&wait_state.wake, 0, __ATOMIC_SEQ_CST);
}

/* Returns after the next interrupt, or at once when one came since wait_begin(). */
ALWAYS_INLINE void wait_for_interrupt(void) {
    __asm__ volatile("hlt" : : : "memory");
}

#endif
