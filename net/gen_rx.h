/* The receiving side of app=gen: with rx=1 a sink for what comes back, otherwise nothing but what is for
 * the protocol stack. */
#ifndef NET_GEN_RX_H
#define NET_GEN_RX_H

#include "lib/config.h"
#include "lib/json.h"
#include "lib/util.h"

struct gen_rx_counters {
    uint64_t ignored;
    uint64_t to_stack;
};

extern struct gen_rx_counters gen_rx_counters;

/* flows: as many are sent. False when there is not enough memory; the reason was logged. */
bool gen_rx_start(const struct config *cfg, uint32_t flows);

/* Takes a burst from the NIC. Returns the frames. */
unsigned gen_rx_poll(unsigned nic);

/* Adds the object "rx". stamped: frames with a stamp that were made. */
void gen_rx_write(struct json *j, uint64_t stamped);

/* As many came back as were made. False without rx=1. */
bool gen_rx_is_complete(uint64_t stamped);

/* Nothing was damaged, and no more lost than loss_ppm= allows. True without rx=1. */
bool gen_rx_passed(uint64_t stamped);

#endif
