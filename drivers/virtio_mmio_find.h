/* Where virtio devices on MMIO are: from words of the command line as Linux has them (QEMU and
 * Firecracker append such words), then from the ACPI tables. */
#ifndef DRIVERS_VIRTIO_MMIO_FIND_H
#define DRIVERS_VIRTIO_MMIO_FIND_H

#include "drivers/virtio_mmio.h"

enum { VIRTIO_MMIO_SLOT_MAX = 64 };

/* In the order of their addresses; what is in them, virtio_mmio_holds_net() says. */
extern struct virtio_mmio_slot virtio_mmio_slots[VIRTIO_MMIO_SLOT_MAX];
extern unsigned virtio_mmio_slot_count;

/* Fills virtio_mmio_slots. `words` is a list of SIZE@BASE:IRQ[:ID], separated by commas, of which each
 * must be right, lie in [start, end) and not overlap others. What the tables of ACPI have besides is
 * left out, with a line that says why, when it is not usable. Returns ERR_OK, also when there are none;
 * ERR_CONFIG for a bad word, the reason was logged. */
int virtio_mmio_find(const char *words, uint64_t start, uint64_t end);

#endif
