/* Stands in for lib/io.h: ports are those of the machine in tests/model/pci_bus.c. */
#ifndef TESTS_UNIT_SEAM_IO_H
#define TESTS_UNIT_SEAM_IO_H

#include <stdint.h>

uint8_t io_read8(uint16_t port);
uint16_t io_read16(uint16_t port);
uint32_t io_read32(uint16_t port);
void io_write8(uint16_t port, uint8_t value);
void io_write16(uint16_t port, uint16_t value);
void io_write32(uint16_t port, uint32_t value);

#endif
