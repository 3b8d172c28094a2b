/* Sleeping until an interrupt: the one service that ring 0 gives to ring 3.
 *
 * Ring 3 executes HLT, which raises #GP; the handler (boot/trap.c) sees the opcode and halts for
 * it. An interrupt may land between the last look at the work and that HLT, so every handler sets
 * `wake`, and the service returns at once when it finds it set. The order for callers is therefore:
 * clear `wake`, look for work, and only then wait. */
#ifndef LIB_WAIT_H
#define LIB_WAIT_H

#include "lib/util.h"

/* Vectors of our own interrupts. The exceptions of the CPU end at 31.
 *
 * The upper four bits of a vector are its priority, and an interrupt holds back all of its own
 * priority and below until it is acknowledged. Ring 0 does that for all but INTx, which ring 3
 * acknowledges later (drivers/irq.h). So INTx is alone at the lowest priority: meanwhile it holds
 * back nothing but itself. */
enum {
    WAIT_VECTOR_FIRST = 0x30,
    WAIT_VECTOR_INTX = 0x30,
    WAIT_VECTOR_TIMER = 0x40,
    WAIT_VECTOR_DEVICE_FIRST = 0x41, /* messages; see irq_vector_alloc() */
    WAIT_VECTOR_LAST = 0x5e,
    WAIT_VECTOR_SPURIOUS = 0x5f,
};

/* Written by ring 0, read by ring 3. */
struct wait_state {
    uint32_t wake;        /* an interrupt came since it was last cleared */
    uint32_t spurious;    /* interrupts that the local APIC took back */
    uint64_t interrupts;  /* interrupts taken in all */
    uint32_t count[WAIT_VECTOR_LAST - WAIT_VECTOR_FIRST + 1]; /* of each vector; wraps */
};

extern struct wait_state wait_state;

ALWAYS_INLINE void wait_begin(void) {
    __atomic_store_n(&wait_state.wake, 0, __ATOMIC_SEQ_CST);
}

/* Returns after the next interrupt, or at once when one came since wait_begin(). */
ALWAYS_INLINE void wait_for_interrupt(void) {
    __asm__ volatile("hlt" : : : "memory");
}

/* Interrupts taken of all vectors. */
ALWAYS_INLINE uint64_t wait_interrupts(void) {
    return __atomic_load_n(&wait_state.interrupts, __ATOMIC_RELAXED);
}

/* Interrupts taken of a vector from WAIT_VECTOR_FIRST to WAIT_VECTOR_LAST. Compare for equality: it
 * wraps. */
ALWAYS_INLINE uint32_t wait_vector_count(uint8_t vector) {
    return __atomic_load_n(&wait_state.count[vector - WAIT_VECTOR_FIRST], __ATOMIC_RELAXED);
}

#endif
