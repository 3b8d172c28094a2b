#include "net/stack.h"

#include "drivers/clock.h"
#include "drivers/lapic.h"
#include "drivers/virtio_net.h"
#include "lib/assert.h"
#include "lib/log.h"
#include "lib/wait.h"
#include "lwip/dhcp.h"
#include "lwip/init.h"
#include "lwip/ip.h"
#include "lwip/nd6.h"
#include "lwip/pbuf.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/sys.h"
#include "lwip/timeouts.h"
#include "net/addr.h"
#include "net/latency.h"
#include "net/netif_virtio.h"
#include "net/rand.h"
#include "net/tcp_recovery.h"
#include "net/time_wait.h"

enum { YIELD_MIN_US = 16, STACK_SERVICE_MS = 1000, STACK_IP6_MTU_MIN = 1280 };

static struct {
    uint64_t now_ms;
    uint64_t next_tick_tsc;
    uint64_t tick_ticks; /* of the time stamp counter, about a millisecond */
    uint64_t service_ms[NET_DEV_MAX];
    uint32_t mode;           /* enum config_mode */
    bool spins;              /* idle_pause=spin: nothing is done in a pass without work */
    uint64_t idle_ticks;     /* without work for so long before a sleep; UINT64_MAX: there is none */
    uint64_t yield_us;       /* the longest sleep of poll mode */
    uint64_t pass_tsc;       /* of the latest pass, after frames were received and answered */
    uint64_t work_tsc;       /* that of the latest one with work */
    uint64_t slept_ticks;
    uint64_t timer_tsc;      /* when the APIC's timer is due ... */
    uint32_t timer_fired;    /* ... while its interrupts are as many as these */
    bool ip4_off; /* the first NIC shall have no IPv4 address */
} stack;

/* lwIP's clock. */
u32_t sys_now(void) {
    return (u32_t)clock_ms();
}

static void stack_start_ip6(struct netif *netif, const struct addr_ip6 *ip6) {
    s8_t slot = -1;
    /* Neighbour discovery needs the link-local address, whatever else there is. */
    netif_create_ip6_linklocal_address(netif, 1);
    if (ip6->mode == ADDR_AUTO) {
        netif_set_ip6_autoconfig_enabled(netif, 1);
        return;
    }
    netif_set_ip6_autoconfig_enabled(netif, 0);
    if (ip6_addr_islinklocal(&ip6->addr)) {
        ip6_addr_t addr = ip6->addr;
        ip6_addr_assign_zone(&addr, IP6_UNICAST, netif);
        netif_ip6_addr_set(netif, 0, &addr);
        netif_ip6_addr_set_state(netif, 0, IP6_ADDR_TENTATIVE);
        return;
    }
    netif_add_ip6_address(netif, &ip6->addr, &slot);
    ASSERT(slot > 0);
}

static void stack_start_nic(unsigned nic, const struct addr_ip4 *ip4, const struct addr_ip6 *ip6,
                            const ip4_addr_t *gateway) {
    struct netif *netif = netif_virtio_get(nic);
    if (nic == 0 || gateway != NULL) {
        netif_set_default(netif);
    }
    netif_set_up(netif);
    if (net_devs[nic].link_up) {
        netif_set_link_up(netif);
    }
    if (ip6->mode != ADDR_OFF) {
        stack_start_ip6(netif, ip6);
    }
    if (ip4->mode == ADDR_STATIC) {
        netif_set_addr(netif, &ip4->addr, &ip4->mask, gateway != NULL ? gateway : IP4_ADDR_ANY4);
    } else if (ip4->mode == ADDR_AUTO) {
        const err_t err = dhcp_start(netif);
        ASSERT(err == ERR_OK); /* it fails for lack of memory only, and nothing is in use yet */
    }
}

/* A NIC with a small MTU cannot carry IPv6 (RFC 8200, 5). */
static bool stack_check_mtu(unsigned nic, struct addr_ip6 *ip6) {
    if (ip6->mode == ADDR_OFF || net_devs[nic].mtu >= STACK_IP6_MTU_MIN) {
        return true;
    }
    if (ip6->mode == ADDR_STATIC) {
        log_error("config: ip6: the MTU of network device %u is %u, IPv6 needs %u", nic,
                  net_devs[nic].mtu, STACK_IP6_MTU_MIN);
        return false;
    }
    log_info("nic %u: no IPv6, its MTU of %u is too small", nic, net_devs[nic].mtu);
    ip6->mode = ADDR_OFF;
    return true;
}

static uint64_t stack_idle_ticks(const struct config *cfg) {
    if (cfg->mode == CONFIG_MODE_IRQ) {
        return 0;
    }
    return config_may_halt(cfg) ? clock_ticks_of_us(cfg->idle_us) : UINT64_MAX;
}

bool stack_init(const struct config *cfg) {
    struct addr_ip4 ip4[NET_DEV_MAX];
    struct addr_ip6 ip6[NET_DEV_MAX];
    ip4_addr_t gateway;
    unsigned gateway_nic = NET_DEV_MAX;

    if (!addr_parse_ip4(cfg->ip, ip4, net_dev_count) ||
        !addr_parse_ip6(cfg->ip6, ip6, net_dev_count)) {
        return false;
    }
    if (cfg->gw[0] != '\0' &&
        !addr_parse_gateway(cfg->gw, ip4, net_dev_count, &gateway, &gateway_nic)) {
        return false;
    }
    for (unsigned nic = 0; nic < net_dev_count; nic++) {
        if (!stack_check_mtu(nic, &ip6[nic]) || !addr_check_unique(ip4, nic)) {
            return false;
        }
    }

    rand_init();
    lwip_init();
    tcp_recovery_init();
    stack.now_ms = clock_ms();
    stack.tick_ticks = clock_ticks_of_us(1000);
    stack.mode = cfg->mode;
    stack.work_tsc = cpu_tsc();
    stack.timer_tsc = UINT64_MAX;
    stack.spins = cfg->mode == CONFIG_MODE_POLL && cfg->idle_pause == CONFIG_IDLE_SPIN;
    stack.idle_ticks = stack_idle_ticks(cfg);
    stack.yield_us = cfg->yield_us;
    latency_on = cfg->trace == CONFIG_TRACE_LATENCY;
    stack.ip4_off = ip4[0].mode == ADDR_OFF;
    stack_watch_addresses();
    for (unsigned nic = 0; nic < net_dev_count; nic++) {
        struct netif *netif = netif_virtio_add(nic);
        ASSERT(netif != NULL);
        /* Spread over the second, since a pass that reads device registers is a slow one. */
        stack.service_ms[nic] = stack.now_ms + STACK_SERVICE_MS +
                                nic * (uint64_t)STACK_SERVICE_MS / NET_DEV_MAX;
    }
    for (unsigned nic = 0; nic < net_dev_count; nic++) {
        stack_start_nic(nic, &ip4[nic], &ip6[nic], nic == gateway_nic ? &gateway : NULL);
    }
    return true;
}

/* Once a millisecond. */
static void stack_tick(void) {
    stack.now_ms = clock_ms();
    log_poll();
    sys_check_timeouts();
    PBUF_CHECK_FREE_OOSEQ();
    time_wait_prune();
    tcp_recovery_tick();
    tcp_txnow(); /* what found no memory or no room in the ring tries again */
    for (unsigned nic = 0; nic < net_dev_count; nic++) {
        if (stack.now_ms >= stack.service_ms[nic]) {
            stack.service_ms[nic] = stack.now_ms + STACK_SERVICE_MS;
            netif_virtio_service(nic);
        }
    }
}

static void stack_flush(void) {
    for (unsigned nic = 0; nic < net_dev_count; nic++) {
        netif_virtio_flush(nic);
    }
}

unsigned stack_poll(void) {
    unsigned received = 0;
    latency_at(LATENCY_LOOK);
    for (unsigned nic = 0; nic < net_dev_count; nic++) {
        received += netif_virtio_poll(nic);
    }
    latency_at(LATENCY_ANSWERED);
    stack_flush(); /* before the timers: no answer waits for them */
    latency_at(LATENCY_FLUSHED);
    stack.pass_tsc = cpu_tsc();
    if (UNLIKELY(stack.pass_tsc >= stack.next_tick_tsc)) {
        stack.next_tick_tsc = stack.pass_tsc + stack.tick_ticks;
        stack_tick();
        stack_flush();
    }
    if (received == 0) {
        log_poll(); /* the console is written while there is nothing better to do */
    }
    return received;
}

bool stack_wants_rest(unsigned work) {
    if (stack.spins) {
        return false;
    }
    if (work != 0) {
        stack.work_tsc = stack.pass_tsc;
        return false;
    }
    if (stack.pass_tsc - stack.work_tsc >= stack.idle_ticks && !log_poll()) {
        return true;
    }
    cpu_relax();
    return false;
}

static uint64_t stack_us_until(uint64_t now_tsc, uint64_t until_tsc) {
    return until_tsc > now_tsc ? (until_tsc - now_tsc) / clock_ticks_of_us(1) : 0;
}

/* Tells lwIP of devices whose configuration changed; true when there were any. */
static bool stack_take_interrupts(bool slept) {
    const unsigned changed = net_interrupts_take(slept);
    for (unsigned nic = 0; nic < net_dev_count; nic++) {
        if (changed & 1u << nic) {
            netif_virtio_service(nic);
        }
    }
    return changed != 0;
}

/* Until an interrupt comes, at most so long. A timer that is under way and due earlier is left as it is: to set
 * it anew costs an exit to the hypervisor each time, an early wake-up now and then a look at empty rings. */
static void stack_sleep(uint64_t start_tsc, uint64_t us) {
    const uint64_t due_tsc = start_tsc + clock_ticks_of_us(us);
    const uint32_t fired = wait_vector_count(WAIT_VECTOR_TIMER);
    if (fired != stack.timer_fired || due_tsc < stack.timer_tsc) {
        stack.timer_fired = fired;
        stack.timer_tsc = due_tsc;
        lapic_timer_us(us);
    }
    wait_for_interrupt();
    stack.slept_ticks += cpu_tsc() - start_tsc;
    if (wait_vector_count(WAIT_VECTOR_TIMER) != fired) {
        stack.next_tick_tsc = 0; /* maybe one of lwIP's timers is due */
    }
}

/* Gives the processor to whoever shares it, maybe QEMU's thread that moves the frames. Half as long as
 * there was nothing to do: amid traffic for a moment, later for longer and longer. Not for less than a
 * sleep costs that thread, too, since it also serves the timer (measured: docs/bench/echo.md). */
static void stack_yield(uint64_t until_tsc) {
    wait_begin();
    const uint64_t start = cpu_tsc();
    const uint64_t half_us = stack_us_until(stack.work_tsc, start) / 2;
    const uint64_t us = min_u64(min_u64(stack_us_until(start, until_tsc), stack.yield_us),
                                max_u64(half_us, YIELD_MIN_US));
    if (us > 0) {
        stack_sleep(start, us);
    }
}

void stack_rest(uint64_t until_tsc) {
    bool work = false;
    stack_flush(); /* what a workload's tick has sent since the last pass */
    if (stack.mode == CONFIG_MODE_POLL) {
        stack_yield(until_tsc);
        return;
    }
    /* From here on an interrupt ends the wait, so nothing that comes after the looks is missed. */
    wait_begin();
    if (stack_take_interrupts(false)) {
        return;
    }
    for (unsigned nic = 0; nic < net_dev_count; nic++) {
        work |= netif_virtio_arm(nic);
    }
    const uint64_t start = cpu_tsc();
    const uint64_t us = min_u64(stack_us_until(start, until_tsc),
                                sys_timeouts_sleeptime() * (uint64_t)1000);
    if (!work && us > 0) {
        stack_sleep(start, us);
        (void)stack_take_interrupts(true);
    }
    for (unsigned nic = 0; nic < net_dev_count; nic++) {
        net_disarm(&net_devs[nic]);
    }
    latency_at(LATENCY_WOKEN);
}

uint64_t stack_slept_ticks(void) {
    return stack.slept_ticks;
}

uint64_t stack_slept_us(void) {
    return stack.slept_ticks / clock_ticks_of_us(1);
}

uint64_t stack_now_ms(void) {
    return stack.now_ms;
}

bool stack_ready(void) {
    return stack.ip4_off || !ip4_addr_isany(netif_ip4_addr(netif_virtio_get(0)));
}
