#include "tests/unit/seam_irq.h"

#include "lib/err.h"

#include <assert.h>
#include <string.h>

struct seam_irq seam_irq;

/* What the driver compares with later must not come back to an old value: only the counts of messages
 * begin anew. */
void seam_irq_init(bool (*line)(void)) {
    const uint32_t intx = wait_vector_count(WAIT_VECTOR_INTX);
    memset(wait_state.count, 0, sizeof(wait_state.count));
    wait_state.count[WAIT_VECTOR_INTX - WAIT_VECTOR_FIRST] = intx;
    seam_irq = (struct seam_irq){
        .vector_next = WAIT_VECTOR_DEVICE_FIRST,
        .vectors_left = WAIT_VECTOR_LAST - WAIT_VECTOR_DEVICE_FIRST + 1,
        .has_intx = true,
        .acked = intx,
        .line = line,
    };
}

void seam_irq_deliver(uint8_t vector) {
    assert(vector >= WAIT_VECTOR_FIRST && vector <= WAIT_VECTOR_LAST);
    if (vector == WAIT_VECTOR_INTX && irq_intx_pending()) {
        return;
    }
    wait_state.count[vector - WAIT_VECTOR_FIRST]++;
    wait_state.interrupts++;
    wait_state.wake = 1;
}

uint8_t irq_vector_alloc(void) {
    if (seam_irq.vectors_left == 0) {
        return 0;
    }
    seam_irq.vectors_left--;
    return seam_irq.vector_next++;
}

int irq_intx_enable(const struct pci_dev *pci) {
    if (!seam_irq.has_intx) {
        return ERR_ABSENT;
    }
    pci_write16(pci, PCI_COMMAND,
                (uint16_t)(pci_read16(pci, PCI_COMMAND) & ~PCI_COMMAND_INTX_DISABLE));
    seam_irq.intx_enabled++;
    return ERR_OK;
}

int irq_line_enable(const struct irq_line *line, const char *device) {
    (void)device;
    if (!seam_irq.has_intx) {
        return ERR_ABSENT;
    }
    seam_irq.line_set = *line;
    seam_irq.lines_enabled++;
    return ERR_OK;
}

void irq_line_disable(const struct irq_line *line) {
    (void)line;
    seam_irq.lines_disabled++;
}

bool irq_intx_pending(void) {
    return wait_vector_count(WAIT_VECTOR_INTX) != seam_irq.acked;
}

/* A line that is still asserted interrupts again. */
void irq_intx_ack(void) {
    if (!irq_intx_pending()) {
        return;
    }
    seam_irq.acks++;
    seam_irq.acked = wait_vector_count(WAIT_VECTOR_INTX);
    if (seam_irq.line()) {
        seam_irq_deliver(WAIT_VECTOR_INTX);
    }
}
