/* Levels of the protocol stack's pools: all of its memory besides packet buffers. */
#ifndef NET_POOLS_H
#define NET_POOLS_H

#include "lib/util.h"

struct pool_level {
    const char *name;
    uint32_t size;   /* bytes of an element */
    uint32_t count;  /* elements */
    uint32_t used;   /* now */
    uint32_t max;    /* used at once so far */
    uint64_t errors; /* allocations that found none left */
};

/* The levels of pool number i, from 0 on; false: there are no more. */
bool pools_level(unsigned i, struct pool_level *level);

#endif
