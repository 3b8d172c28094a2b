/* Stands in for drivers/irq.c: every test begins with all vectors, and may run out of them or have no
 * INTx line, nor another. Interrupts are counted as ring 0 does (boot/trap.c). */
#ifndef TESTS_UNIT_SEAM_IRQ_H
#define TESTS_UNIT_SEAM_IRQ_H

#include "drivers/irq.h"

struct seam_irq {
    uint8_t vector_next;
    unsigned vectors_left;
    bool has_intx;
    unsigned intx_enabled; /* calls of irq_intx_enable() that went well */
    unsigned lines_enabled, lines_disabled;
    struct irq_line line_set; /* the last one that was enabled */
    unsigned acks;
    uint32_t acked;
    bool (*line)(void); /* is any function's line asserted? */
};

extern struct seam_irq seam_irq;

void seam_irq_init(bool (*line)(void));

/* One interrupt came. INTx: nothing while the last one is not acknowledged. */
void seam_irq_deliver(uint8_t vector);

#endif
