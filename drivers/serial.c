#include "drivers/serial.h"

#include "lib/cpu.h"
#include "lib/io.h"

enum {
    COM1 = 0x3f8,
    REG_DATA = 0,
    REG_INTERRUPT_ENABLE = 1,
    REG_FIFO_CONTROL = 2,
    REG_LINE_CONTROL = 3,
    REG_MODEM_CONTROL = 4,
    REG_LINE_STATUS = 5,
    LINE_STATUS_TRANSMIT_EMPTY = 0x20,
    FIFO_LEN = 16,
    READY_TRIES = 100000,
};

void serial_init(void) {
    io_write8(COM1 + REG_INTERRUPT_ENABLE, 0);
    io_write8(COM1 + REG_LINE_CONTROL, 0x80); /* divisor latch */
    io_write8(COM1 + REG_DATA, 1);            /* 115200 baud */
    io_write8(COM1 + REG_INTERRUPT_ENABLE, 0);
    io_write8(COM1 + REG_LINE_CONTROL, 3); /* 8 bits, no parity, 1 stop bit */
    io_write8(COM1 + REG_FIFO_CONTROL, 7); /* on, both cleared */
    io_write8(COM1 + REG_MODEM_CONTROL, 3);
}

/* A whole FIFO at a time: a hypervisor takes an exit for each access, not for each byte. */
static void serial_fifo(const char *bytes, size_t count) {
    for (unsigned tries = 0; tries < READY_TRIES; tries++) {
        if (io_read8(COM1 + REG_LINE_STATUS) & LINE_STATUS_TRANSMIT_EMPTY) {
            io_write8_string(COM1 + REG_DATA, bytes, count);
            return;
        }
        cpu_relax();
    }
}

void serial_write(const char *bytes, size_t count) {
    char fifo[FIFO_LEN];
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        if (used + 2 > FIFO_LEN) {
            serial_fifo(fifo, used);
            used = 0;
        }
        if (bytes[i] == '\n') {
            fifo[used++] = '\r';
        }
        fifo[used++] = bytes[i];
    }
    if (used > 0) {
        serial_fifo(fifo, used);
    }
}
