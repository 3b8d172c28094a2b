/* ACPI 6.4: 6.1.5 _HID, 6.2.2 _CRS, 6.4.3 resource descriptors, 20.2 byte code. Not a parser of the byte
 * code, just the form that hypervisors write: behind the id of the device a buffer _CRS that holds
 * Memory32Fixed and Extended Interrupt. */
#include "drivers/acpi_mmio.h"

#include "drivers/acpi.h"
#include "lib/log.h"

#include <string.h>

enum {
    BUFFER_OP = 0x11,
    ZERO_OP = 0x00,
    ONE_OP = 0x01,
    BYTE_PREFIX = 0x0a,
    WORD_PREFIX = 0x0b,
    DWORD_PREFIX = 0x0c,
    DESCRIPTOR_LARGE = 0x80,
    DESCRIPTOR_MEMORY32_FIXED = 0x86,
    DESCRIPTOR_EXTENDED_INTERRUPT = 0x89,
    DESCRIPTOR_END = 0x0f, /* a small one, without its length */
    MEMORY32_FIXED_LEN = 9,
    EXTENDED_INTERRUPT_LEN = 6, /* with one number */
    INTERRUPT_EDGE = 1 << 1,
    INTERRUPT_ACTIVE_LOW = 1 << 2,
};

static const char device_id[] = "LNRO0005"; /* its zero is in the table, too */

/* Bytes [at, end) of a table; nothing is read outside. */
struct piece {
    const uint8_t *at, *end;
};

static size_t left(const struct piece *p) {
    return (size_t)(p->end - p->at);
}

/* Moves behind the first occurrence of what; false when there is none. */
static bool skip_behind(struct piece *p, const void *what, size_t len) {
    for (; left(p) >= len; p->at++) {
        if (memcmp(p->at, what, len) == 0) {
            p->at += len;
            return true;
        }
    }
    return false;
}

static uint32_t get32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

/* BufferOp, the length of the package and the size of the buffer: leaves what is in it. False for
 * another form. */
static bool enter_buffer(struct piece *p) {
    if (left(p) < 2 || p->at[0] != BUFFER_OP) {
        return false;
    }
    const size_t length_bytes = 1 + (p->at[1] >> 6);
    if (left(p) < 1 + length_bytes + 1) {
        return false;
    }
    p->at += 1 + length_bytes;
    const uint8_t op = p->at[0];
    const size_t size_bytes = op == BYTE_PREFIX ? 1 : op == WORD_PREFIX ? 2 : 4 * (op == DWORD_PREFIX);
    uint32_t size = op; /* ZeroOp and OneOp are their numbers */
    if ((size_bytes == 0 && op != ZERO_OP && op != ONE_OP) || left(p) < 1 + size_bytes) {
        return false;
    }
    if (size_bytes != 0) {
        size = 0;
        memcpy(&size, p->at + 1, size_bytes);
    }
    p->at += 1 + size_bytes;
    if (size > left(p)) {
        return false;
    }
    p->end = p->at + size;
    return true;
}

/* The descriptors, the first of each kind. False when one of the two is missing. */
static bool read_resources(struct piece p, struct acpi_mmio_device *device) {
    bool memory = false, interrupt = false;
    while (left(&p) >= 1) {
        const uint8_t tag = p.at[0];
        const bool large = tag & DESCRIPTOR_LARGE;
        if ((!large && tag >> 3 == DESCRIPTOR_END) || (large && left(&p) < 3)) {
            break;
        }
        const size_t head = large ? 3 : 1;
        const size_t len = large ? p.at[1] | (size_t)p.at[2] << 8 : tag & 7u;
        const uint8_t *body = p.at + head;
        if (left(&p) < head + len) {
            break;
        }
        if (tag == DESCRIPTOR_MEMORY32_FIXED && len >= MEMORY32_FIXED_LEN && !memory) {
            device->base = get32(body + 1);
            device->size = get32(body + 5);
            memory = true;
        } else if (tag == DESCRIPTOR_EXTENDED_INTERRUPT && len >= EXTENDED_INTERRUPT_LEN &&
                   body[1] >= 1 && !interrupt) {
            device->line = (struct irq_line){
                .gsi = get32(body + 2),
                .edge = body[0] & INTERRUPT_EDGE,
                .active_low = body[0] & INTERRUPT_ACTIVE_LOW,
            };
            interrupt = true;
        }
        p.at += head + len;
    }
    return memory && interrupt;
}

bool acpi_mmio_next(uint32_t *cursor, struct acpi_mmio_device *device) {
    uint32_t len = 0;
    const uint8_t *dsdt = acpi_dsdt(&len);
    if (dsdt == NULL || *cursor > len) {
        return false;
    }
    struct piece rest = {dsdt + *cursor, dsdt + len};
    while (skip_behind(&rest, device_id, sizeof(device_id))) {
        /* Its resources come before the next device says who it is. */
        struct piece own = rest, behind = rest;
        if (skip_behind(&behind, "_HID", 4)) {
            own.end = behind.at;
        }
        if (skip_behind(&own, "_CRS", 4) && enter_buffer(&own) && read_resources(own, device)) {
            *cursor = (uint32_t)(rest.at - dsdt);
            return true;
        }
        log_error("acpi: the resources of a virtio device are not a fixed address and an interrupt; "
                  "not used");
    }
    return false;
}
