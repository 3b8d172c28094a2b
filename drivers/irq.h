/* What interrupts of devices need beside the device: vectors for messages (drivers/msix.h), and
 * the way of a function's INTx line to the CPU.
 *
 * All functions share one INTx vector. Its interrupt is level triggered: the line stays asserted
 * until the driver has read the ISR register of each device that asserts it. So ring 0 does not
 * acknowledge it, and the next one comes only after irq_intx_ack(). In the loop of the driver:
 *
 *     wait_begin();
 *     if (irq_intx_pending()) {
 *         read the ISR register of every device in INTx mode;
 *         irq_intx_ack();
 *     }
 *     look for work, arm; none: wait_for_interrupt();
 *
 * This cannot lose an interrupt or hang. One that comes after wait_begin() ends the wait at
 * once; one from before is seen by irq_intx_pending(). A device that asserts its line again
 * after its ISR register was read finds the line asserted at the acknowledgement, and the I/O
 * APIC sends a new interrupt. Until then only INTx itself is held back (lib/wait.h), so messages
 * and the timer still end a wait. A line that nobody deasserts costs one interrupt for each
 * acknowledgement, never a storm in ring 0.
 *
 * One may come with all ISR registers 0. In KVM's PVM variant that is not rare: an interrupt
 * counts as acknowledged when it is delivered, so the asserted line sends another one. */
#ifndef DRIVERS_IRQ_H
#define DRIVERS_IRQ_H

#include "drivers/pci.h"
#include "lib/wait.h"

/* A vector for messages that nobody else has; 0 when none is left. Never given back: for boot. */
uint8_t irq_vector_alloc(void);

/* Routes the function's INTx line to WAIT_VECTOR_INTX on this CPU and lets the function use it.
 * Knows QEMU's machines pc, q35 and microvm. Returns ERR_OK; ERR_ABSENT, logged, when the
 * function has no INTx pin or the machine's wiring is not known. lapic_init() must have run. */
int irq_intx_enable(const struct pci_dev *pci);

/* True when an INTx interrupt came that was not acknowledged yet. */
bool irq_intx_pending(void);

/* Acknowledges INTx; nothing when none is pending. After the ISR registers were read. */
void irq_intx_ack(void);

#endif
