/* lwIP's life: interfaces, addresses, timers, and the one pass that the poll loop repeats. */
#ifndef NET_STACK_H
#define NET_STACK_H

#include "lib/config.h"
#include "lib/util.h"

enum {
    STACK_IP4_TEXT_MAX = 20, /* "255.255.255.255/32" */
    STACK_IP6_TEXT_MAX = 48,
    STACK_IP6_MAX = 4, /* addresses of one NIC */
};

/* Starts lwIP with an interface for each of net_devs[0..net_dev_count) and the addresses that cfg
 * asks for; DHCP and router solicitation begin. False when cfg asks for what cannot be done; the
 * reason was logged. */
bool stack_init(const struct config *cfg);

/* One pass over all NICs: receive, answer, send; then timers. Never waits. Returns the frames received.
 * Prints an address event for each address that is gained or lost. */
unsigned stack_poll(void);

/* After a pass in which so many things were done: whether to call stack_rest() now. In adaptive mode
 * and with idle_pause=yield after idle_us= without work; in poll mode otherwise never. A pass that did
 * nothing ends with PAUSE here, but not with idle_pause=spin. */
bool stack_wants_rest(unsigned work);

/* Asks the devices for interrupts, looks once more, and if there is nothing sleeps: until a device
 * interrupts, lwIP's next timer, or the time stamp counter reaches until_tsc. In poll mode devices are
 * not asked: the sleep is one of yield_us= at most. */
void stack_rest(uint64_t until_tsc);

/* Asleep since boot. */
uint64_t stack_slept_us(void);
uint64_t stack_slept_ticks(void); /* of the time stamp counter */

/* Milliseconds since boot, as of the last timer tick: cheap, for callers in the poll loop. */
uint64_t stack_now_ms(void);

/* The first NIC has its IPv4 address, or shall have none. */
bool stack_ready(void);

/* From now on prints an address event for each address that is gained or lost. For stack_init(). */
void stack_watch_addresses(void);

/* The NIC's IPv4 address with or without its prefix length; NULL when it has none. */
const char *stack_ip4_text(unsigned nic, bool with_prefix, char text[STACK_IP4_TEXT_MAX]);

/* IPv6 address number i of the NIC; NULL when there is none. Its state: "tentative", "preferred" or
 * "deprecated". */
const char *stack_ip6_text(unsigned nic, unsigned i, char text[STACK_IP6_TEXT_MAX],
                           const char **state);

#endif
