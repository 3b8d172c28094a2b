/* The console: a 16550 UART at COM1, output only, polled.
 *
 * An access to the UART can cost microseconds of hypervisor time, so lines go into a buffer, and the
 * poll loop moves a FIFO full at a time to the UART. Nothing is lost: when the buffer is full, writing
 * waits for the UART; only a UART that never gets ready loses bytes, rather than stop the guest. */
#ifndef DRIVERS_SERIAL_H
#define DRIVERS_SERIAL_H

#include "lib/log.h"

/* Sets the UART up and returns the console as a sink for lib/log.h. */
const struct log_sink *serial_init(void);

#endif
