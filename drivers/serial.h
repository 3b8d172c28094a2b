/* The console: a 16550 UART at COM1, output only, polled. */
#ifndef DRIVERS_SERIAL_H
#define DRIVERS_SERIAL_H

#include "lib/util.h"

void serial_init(void);

/* Writes a carriage return before each newline. A UART that never gets ready loses the bytes rather
 * than stopping the guest. */
void serial_write(const char *bytes, size_t count);

#endif
