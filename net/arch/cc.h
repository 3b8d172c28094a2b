/* What lwIP asks of a platform: types, packing, assertions, random numbers, checksum. */
#ifndef NET_ARCH_CC_H
#define NET_ARCH_CC_H

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/assert.h"
#include "net/checksum.h"
#include "net/rand.h"

/* lwIP would typedef ssize_t itself when this is missing, against the C library's own. */
#ifndef SSIZE_MAX
#define SSIZE_MAX LONG_MAX
#endif

#define LWIP_NO_UNISTD_H 1
#define LWIP_NO_CTYPE_H 1 /* lwIP's own are a few instructions, the C library's a table */

/* lwIP asserts its own invariants, never what a packet holds; one that fails is a bug of ours or
 * of lwIP, and going on would corrupt memory. The one exception is lwiperf.c, whose assertions a
 * peer can reach with odd segment sizes: it is built with LWIP_NOASSERT, and its code below each
 * such assertion is harmless. */
#define LWIP_PLATFORM_ASSERT(message) assert_fail(message, __FILE__, __LINE__)

#define LWIP_RAND() rand_u32()
#define LWIP_CHKSUM checksum_add

/* A freestanding compiler calls functions for these; the builtins become single instructions where
 * the length is known, which it is for addresses and headers. */
#define MEMCPY(dst, src, len) __builtin_memcpy(dst, src, len)
#define SMEMCPY(dst, src, len) __builtin_memcpy(dst, src, len)
#define lwip_htons(x) __builtin_bswap16(x)
#define lwip_htonl(x) __builtin_bswap32(x)

/* Pools are megabytes that are not part of the image file. The linker script puts this section
 * where large pages map it. */
#define LWIP_DECLARE_MEMORY_ALIGNED(name, size)                                                    \
    u8_t name[LWIP_MEM_ALIGN_SIZE(size)]                                                           \
        __attribute__((section(".bss.large." #name), aligned(64)))

#endif
