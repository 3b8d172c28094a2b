/* Random numbers that a network must not predict: sequence numbers, ports, DHCP transactions. */
#ifndef NET_RAND_H
#define NET_RAND_H

#include "lib/util.h"

/* Makes the key from RDRAND where the CPU has it, and from the time stamp counter. */
void rand_init(void);

uint32_t rand_u32(void);

/* A keyed hash (SipHash-2-4) of count words: equal input gives equal output until the next boot. */
uint64_t rand_hash(const uint64_t *words, unsigned count);

#endif
