/* The addresses of the NICs, as text and as events. */
#include "net/stack.h"

#include <stdio.h>

#include "drivers/virtio_net.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lwip/netif.h"
#include "net/netif_virtio.h"

_Static_assert(STACK_IP6_MAX == LWIP_IPV6_NUM_ADDRESSES, "all addresses can be asked for");

static unsigned stack_mask_len(const ip4_addr_t *mask) {
    return (unsigned)__builtin_popcount(mask->addr);
}

const char *stack_ip4_text(unsigned nic, bool with_prefix, char text[STACK_IP4_TEXT_MAX]) {
    const struct netif *netif = netif_virtio_get(nic);
    char addr[IP4ADDR_STRLEN_MAX];
    if (ip4_addr_isany(netif_ip4_addr(netif))) {
        return NULL;
    }
    ip4addr_ntoa_r(netif_ip4_addr(netif), addr, sizeof(addr));
    if (with_prefix) {
        snprintf(text, STACK_IP4_TEXT_MAX, "%s/%u", addr,
                 stack_mask_len(netif_ip4_netmask(netif)));
    } else {
        snprintf(text, STACK_IP4_TEXT_MAX, "%s", addr);
    }
    return text;
}

/* Lower case, as RFC 5952 wants it; lwIP writes upper case. */
static void stack_ip6_write(const ip6_addr_t *addr, char text[STACK_IP6_TEXT_MAX]) {
    ip6_addr_t plain = *addr;
    ip6_addr_clear_zone(&plain);
    ip6addr_ntoa_r(&plain, text, STACK_IP6_TEXT_MAX);
    for (char *c = text; *c != '\0'; c++) {
        if (*c >= 'A' && *c <= 'F') {
            *c = (char)(*c - 'A' + 'a');
        }
    }
}

const char *stack_ip6_text(unsigned nic, unsigned i, char text[STACK_IP6_TEXT_MAX],
                           const char **state) {
    const struct netif *netif = netif_virtio_get(nic);
    if (i >= STACK_IP6_MAX || ip6_addr_isinvalid(netif_ip6_addr_state(netif, i))) {
        return NULL;
    }
    const u8_t flags = netif_ip6_addr_state(netif, i);
    *state = ip6_addr_ispreferred(flags)    ? "preferred"
             : ip6_addr_isdeprecated(flags) ? "deprecated"
                                            : "tentative";
    stack_ip6_write(netif_ip6_addr(netif, i), text);
    return text;
}

/* addr NULL: the address `lost` is gone. */
static void stack_print_address(unsigned nic, const char *family, const char *addr,
                                const char *lost) {
    char line[192];
    struct json j;
    json_event(&j, line, sizeof(line), "address");
    json_u64(&j, "nic", nic);
    json_string(&j, "family", family);
    json_string(&j, "addr", addr);
    if (addr == NULL) {
        json_string(&j, "lost", lost);
    }
    json_close(&j);
    json_print(&j);
}

static void stack_ip4_changed(unsigned nic, const ip_addr_t *old_address) {
    char text[STACK_IP4_TEXT_MAX];
    char old[IP4ADDR_STRLEN_MAX];
    const char *addr = stack_ip4_text(nic, true, text);
    if (addr != NULL) {
        stack_print_address(nic, "ipv4", addr, NULL);
    } else if (old_address != NULL && !ip_addr_isany(old_address)) {
        stack_print_address(nic, "ipv4", NULL,
                            ip4addr_ntoa_r(ip_2_ip4(old_address), old, sizeof(old)));
    }
}

static void stack_ip6_changed(unsigned nic, const struct netif *netif, unsigned i, u8_t before) {
    char addr[STACK_IP6_TEXT_MAX];
    char text[STACK_IP6_TEXT_MAX + 4];
    const u8_t now = netif_ip6_addr_state(netif, i);
    stack_ip6_write(netif_ip6_addr(netif, i), addr);
    snprintf(text, sizeof(text), "%s/64", addr);
    if (ip6_addr_ispreferred(now) && !ip6_addr_ispreferred(before)) {
        stack_print_address(nic, "ipv6", text, NULL);
    } else if (ip6_addr_isinvalid(now) && ip6_addr_isvalid(before)) {
        stack_print_address(nic, "ipv6", NULL, text);
    } else if (ip6_addr_isduplicated(now)) {
        log_error("nic %u: another station has the address %s", nic, addr);
    }
}

static void stack_netif_changed(struct netif *netif, netif_nsc_reason_t reason,
                                const netif_ext_callback_args_t *args) {
    for (unsigned nic = 0; nic < net_dev_count; nic++) {
        if (netif_virtio_get(nic) != netif) {
            continue;
        }
        if ((reason & LWIP_NSC_IPV4_ADDRESS_CHANGED) != 0) {
            stack_ip4_changed(nic, args->ipv4_changed.old_address);
        }
        if ((reason & LWIP_NSC_IPV6_ADDR_STATE_CHANGED) != 0) {
            stack_ip6_changed(nic, netif, (unsigned)args->ipv6_addr_state_changed.addr_index,
                              args->ipv6_addr_state_changed.old_state);
        }
    }
}

void stack_watch_addresses(void) {
    static netif_ext_callback_t callback;
    netif_add_ext_callback(&callback, stack_netif_changed);
}
