#include "drivers/serial.h"

#include "lib/cpu.h"
#include "lib/io.h"
#include "lib/util.h"

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
    BUFFER_LEN = 16384,
};

static struct {
    char bytes[BUFFER_LEN];
    uint32_t head, tail; /* free-running: next byte to fill, next byte to send */
} buffer;

static void serial_setup(void) {
    io_write8(COM1 + REG_INTERRUPT_ENABLE, 0);
    io_write8(COM1 + REG_LINE_CONTROL, 0x80); /* divisor latch */
    io_write8(COM1 + REG_DATA, 1);            /* 115200 baud */
    io_write8(COM1 + REG_INTERRUPT_ENABLE, 0);
    io_write8(COM1 + REG_LINE_CONTROL, 3); /* 8 bits, no parity, 1 stop bit */
    io_write8(COM1 + REG_FIFO_CONTROL, 7); /* on, both cleared */
    io_write8(COM1 + REG_MODEM_CONTROL, 3);
}

static bool serial_ready(void) {
    return io_read8(COM1 + REG_LINE_STATUS) & LINE_STATUS_TRANSMIT_EMPTY;
}

/* A whole FIFO at a time: a hypervisor takes an exit for each access, not for each byte. */
static void serial_send_fifo(void) {
    const uint32_t start = buffer.tail % BUFFER_LEN;
    const uint32_t pending = buffer.head - buffer.tail;
    const uint32_t count = (uint32_t)min_u64(min_u64(pending, FIFO_LEN), BUFFER_LEN - start);
    io_write8_string(COM1 + REG_DATA, buffer.bytes + start, count);
    buffer.tail += count;
}

static bool serial_poll(void) {
    if (buffer.head != buffer.tail && serial_ready()) {
        serial_send_fifo();
    }
    return buffer.head != buffer.tail;
}

static void serial_flush(void) {
    unsigned tries = 0;
    while (buffer.head != buffer.tail) {
        if (serial_ready()) {
            serial_send_fifo();
            tries = 0;
        } else if (++tries == READY_TRIES) {
            buffer.tail = buffer.head;
        } else {
            cpu_relax();
        }
    }
}

static void serial_put(char byte) {
    if (buffer.head - buffer.tail == BUFFER_LEN) {
        serial_flush();
    }
    buffer.bytes[buffer.head++ % BUFFER_LEN] = byte;
}

/* A carriage return before each newline, for terminals that want one. */
static void serial_write(const char *bytes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] == '\n') {
            serial_put('\r');
        }
        serial_put(bytes[i]);
    }
}

const struct log_sink *serial_init(void) {
    static const struct log_sink sink = {serial_write, serial_poll, serial_flush};
    serial_setup();
    return &sink;
}
