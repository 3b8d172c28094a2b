/* x86 port access. Ring 3 may use just the ports that the TSS bitmap allows (boot/trap.c). */
#ifndef LIB_IO_H
#define LIB_IO_H

#ifdef IO_HEADER
#include IO_HEADER
#else

#include "lib/util.h"

ALWAYS_INLINE void io_write8(uint16_t port, uint8_t value) {
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

ALWAYS_INLINE void io_write16(uint16_t port, uint16_t value) {
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

ALWAYS_INLINE void io_write32(uint16_t port, uint32_t value) {
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

ALWAYS_INLINE uint8_t io_read8(uint16_t port) {
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

ALWAYS_INLINE uint16_t io_read16(uint16_t port) {
    uint16_t value;
    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

ALWAYS_INLINE uint32_t io_read32(uint16_t port) {
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

/* One string instruction: a hypervisor takes it as one exit instead of `count` exits. */
ALWAYS_INLINE void io_write8_string(uint16_t port, const void *bytes, size_t count) {
    __asm__ volatile("rep outsb" : "+S"(bytes), "+c"(count) : "d"(port) : "memory");
}

#endif
#endif
