/* What interrupts of devices need beside the device: vectors for messages (drivers/msix.h), and
 * the way of a line to the CPU: INTx of a PCI function, or the line of a device without PCI.
 *
 * All lines share one vector, and what is said of INTx here holds for them all; "ISR register" is then
 * InterruptStatus with InterruptACK (VIRTIO 4.2.2). Its interrupt is level triggered: the line stays asserted
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
 * A line that is only pulsed for each event (edge triggered: Firecracker) goes the same way. If the
 * input is set up for a level, a pulse before the acknowledgement is lost; but then the work behind it
 * was there before the look that precedes each sleep.
 *
 * One may come with all ISR registers 0. In KVM's PVM variant that is not rare: an interrupt
 * counts as acknowledged when it is delivered, so the asserted line sends another one. */
#ifndef DRIVERS_IRQ_H
#define DRIVERS_IRQ_H

#include "drivers/pci.h"
#include "lib/wait.h"

/* A line that does not belong to PCI, and how it signals. */
struct irq_line {
    uint32_t gsi; /* input, counted through all I/O APICs (ACPI 6.4, 5.2.13) */
    bool edge;    /* else level triggered */
    bool active_low;
};

/* A vector for messages that nobody else has; 0 when none is left. Never given back: for boot. */
uint8_t irq_vector_alloc(void);

/* Routes the function's INTx line to WAIT_VECTOR_INTX on this CPU and lets the function use it.
 * Knows QEMU's machines pc, q35 and microvm. Returns ERR_OK; ERR_ABSENT, logged, when the
 * function has no INTx pin or the machine's wiring is not known. lapic_init() must have run. */
int irq_intx_enable(const struct pci_dev *pci);

/* Routes a line to WAIT_VECTOR_INTX on this CPU. ERR_ABSENT, logged with `device` as whose line it is,
 * when no I/O APIC has that input. lapic_init() must have run. */
int irq_line_enable(const struct irq_line *line, const char *device);

/* No interrupts of that line any more. Nothing when no I/O APIC has that input. */
void irq_line_disable(const struct irq_line *line);

/* True when an INTx interrupt came that was not acknowledged yet. */
bool irq_intx_pending(void);

/* Acknowledges INTx; nothing when none is pending. After the ISR registers were read. */
void irq_intx_ack(void);

#endif
