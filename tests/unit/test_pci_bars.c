/* Base address registers and bridges: sizes, places, windows. */
#include "tests/unit/pci_rig.h"

#include <unistd.h>

/* As with qboot: nothing is assigned. Each kind and size of register. */
static void test_sizes_and_assignment(void **state) {
    for (uint64_t size = 16; size <= 128 * MIB; size *= 2) {
        set_up(state);
        add_host();
        struct pci_fn *f = add_net(NULL, 2);
        pci_bus_set_bar(f, 0, BAR_IO, 32, 0);
        pci_bus_set_bar(f, 1, 0, size, 0);
        pci_bus_set_bar(f, 4, BAR_64 | BAR_PREFETCH, size, 0);
        assert_int_equal(init(), ERR_OK);
        const struct pci_dev *d = find(f);
        assert_true(d->bar[0].is_io && !d->bar[1].is_io && !d->bar[4].is_io);
        assert_true(!d->bar[0].is_64 && !d->bar[1].is_64 && d->bar[4].is_64);
        assert_int_equal(d->bar[0].size, 32);
        assert_true(d->bar[0].addr >= windows.io_start && d->bar[0].addr + 32 <= windows.io_end);
        assert_int_equal(d->bar[0].addr, pci_bus_bar(f, 0));
        assert_int_equal(d->bar[2].size, 0);
        assert_int_equal(d->bar[5].size, 0);
        check_bars();
    }
}

/* I/O registers decode 16 bits or 32 of the address. */
static void test_io_sizes(void **state) {
    for (uint32_t size = 4; size <= 256; size *= 2) {
        for (unsigned upper_zero = 0; upper_zero < 2; upper_zero++) {
            set_up(state);
            add_host();
            struct pci_fn *f = add_net(NULL, 2);
            pci_bus_set_bar(f, 0, BAR_IO, size, 0);
            pci_bus_set_bar(f, 3, BAR_IO, size, 0);
            if (upper_zero) {
                f->writable[0x12] = f->writable[0x13] = 0;
            }
            assert_int_equal(init(), ERR_OK);
            const struct pci_bar *bar = find(f)->bar;
            assert_int_equal(bar[0].size, size);
            assert_true(bar[0].is_io);
            assert_int_equal(bar[0].addr % size, 0);
            assert_int_equal(bar[3].addr % size, 0);
            assert_true(bar[0].addr + size <= bar[3].addr || bar[3].addr + size <= bar[0].addr);
        }
    }
}

/* What firmware assigned and the windows reach stays where it is; what they do not reach moves. */
static void test_firmware_addresses(void **state) {
    (void)state;
    add_host();
    struct pci_fn *kept = add_net(NULL, 2);
    pci_bus_set_bar(kept, 0, 0, 64 * KIB, 0xc0000000); /* where assignment would start */
    pci_bus_set_bar(kept, 4, BAR_64, 16 * KIB, 0x9000c000);
    pci_bus_set16(kept, PCI_COMMAND, PCI_COMMAND_MEMORY);
    struct pci_fn *high = add_net(NULL, 3);
    pci_bus_set_bar(high, 2, BAR_64, 16 * KIB, UINT64_C(0x380000000000));
    struct pci_fn *across = add_net(NULL, 4);
    pci_bus_set_bar(across, 1, 0, 2 * MIB, 0x7fe00000);
    struct pci_fn *above = add_net(NULL, 5);
    pci_bus_set_bar(above, 1, 0, 4 * KIB, 0xe0000000);
    struct pci_fn *disk = pci_bus_add(NULL, 6, 0, 0x1af4, 0x1001, DISK, 0);
    pci_bus_set_bar(disk, 0, 0, MIB, 0xc0100000);
    pci_bus_set16(disk, PCI_COMMAND, PCI_COMMAND_MEMORY);
    assert_int_equal(init(), ERR_OK);
    assert_int_equal(pci_bus_bar(kept, 0), 0xc0000000);
    assert_int_equal(pci_bus_bar(kept, 4), 0x9000c000);
    assert_int_equal(pci_bus_get16(kept, PCI_COMMAND), PCI_COMMAND_MEMORY);
    assert_int_equal(pci_bus_bar(disk, 0), 0xc0100000);
    assert_int_equal(pci_bus_get16(disk, PCI_COMMAND), PCI_COMMAND_MEMORY);
    check_bars();
}

/* A BAR that starts inside of what is mapped and ends outside moves, too. */
static void test_bar_across_the_end(void **state) {
    (void)state;
    windows.mem_end = 0xd8000000;
    windows.assign_end = 0xd0000000;
    add_host();
    struct pci_fn *f = add_net(NULL, 2);
    pci_bus_set_bar(f, 1, 0, 256 * MIB, 0xd0000000);
    assert_int_equal(init(), ERR_OK);
    assert_int_equal(pci_bus_bar(f, 1), 0xc0000000);
    check_bars();
}

/* Random functions, some of them placed by firmware: all end up apart, whoever lives there. */
static void test_random_bars(void **state) {
    struct unit_random random = {.state = 3};
    for (unsigned round = 0; round < 150; round++) {
        uint64_t firmware = 0xd0000000;
        set_up(state);
        add_host();
        for (uint8_t dev = 1; dev < 20; dev++) {
            struct pci_fn *f = add_net(NULL, dev);
            for (unsigned b = 0; b < PCI_BAR_COUNT; b++) {
                const uint64_t size = UINT64_C(16) << unit_below(&random, 17);
                const unsigned type = unit_below(&random, 2) && b < 5 ? BAR_64 : 0;
                const bool placed = unit_below(&random, 3) == 0;
                const uint64_t at = align_up(firmware, size);
                if (unit_below(&random, 2) || (placed && at + size > 0xe0000000)) {
                    continue;
                }
                pci_bus_set_bar(f, b, type, size, placed ? at : 0);
                firmware = placed ? at + size : firmware;
                b += type == BAR_64;
            }
        }
        assert_int_equal(init(), ERR_OK);
        check_bars();
    }
}

static void test_window_is_full(void **state) {
    for (unsigned io = 0; io < 2; io++) {
        set_up(state);
        add_host();
        struct pci_fn *f = add_net(NULL, 7);
        if (io) {
            pci_bus_set_bar(f, 3, BAR_IO, 32 * KIB, 0);
        } else {
            pci_bus_set_bar(f, 3, 0, 1024 * MIB, 0);
        }
        assert_int_equal(init(), ERR_RESOURCE);
        expect_logged("00:07.0: no room for bar 3");
    }
    set_up(state);
    add_host();
    struct pci_fn *f = add_net(NULL, 7);
    pci_bus_set_bar(f, 0, BAR_64, UINT64_C(1) << 63, 0); /* nearly wraps around */
    assert_int_equal(init(), ERR_RESOURCE);
    set_up(state);
    add_host();
    f = add_net(NULL, 7);
    pci_bus_set_bar(f, 0, 0, 512 * MIB, 0); /* just fits */
    assert_int_equal(init(), ERR_OK);
    check_bars();
}

/* Bridges that no firmware numbered, two levels and neighbours; each address reaches its device
 * through the windows. */
static void test_new_bridges(void **state) {
    for (unsigned ecam = 0; ecam < 2; ecam++) {
        set_up(state);
        windows.ecam = ecam ? pci_bus.ecam : 0;
        add_host();
        struct pci_fn *first = pci_bus_add_bridge(NULL, 1);
        struct pci_fn *inner = pci_bus_add_bridge(first, 3);
        struct pci_fn *innermost = pci_bus_add_bridge(inner, 0);
        struct pci_fn *second = pci_bus_add_bridge(NULL, 9);
        struct pci_fn *empty = pci_bus_add_bridge(NULL, 10);
        struct pci_fn *parents[] = {NULL, first, inner, innermost, second, second};
        for (unsigned i = 0; i < ARRAY_SIZE(parents); i++) {
            struct pci_fn *f = add_net(parents[i], (uint8_t)(20 + i));
            pci_bus_set_bar(f, 1, 0, 4 * KIB, 0);
            pci_bus_set_bar(f, 4, BAR_64 | BAR_PREFETCH, i == 2 ? 2 * MIB : 16 * KIB, 0);
        }
        assert_int_equal(init(), ERR_OK);
        assert_int_equal(pci_dev_count, 1 + 5 + 6);
        for (unsigned i = 0; i < pci_bus.count; i++) {
            const struct pci_fn *b = &pci_bus.fn[i];
            if (b->cfg[PCI_HEADER_TYPE] != 1) {
                continue;
            }
            const struct pci_dev *d = find(b);
            assert_int_equal(b->cfg[PCI_BRIDGE_PRIMARY_BUS], bus_of(b));
            assert_true(b->cfg[PCI_BRIDGE_SECONDARY_BUS] > bus_of(b));
            assert_int_equal(d->secondary, b->cfg[PCI_BRIDGE_SECONDARY_BUS]);
            assert_int_equal(d->subordinate, b->cfg[PCI_BRIDGE_SUBORDINATE_BUS]);
        }
        assert_int_equal(first->cfg[PCI_BRIDGE_SUBORDINATE_BUS], bus_of(innermost) + 1);
        assert_int_equal(bus_of(&pci_bus.fn[1]), 0);
        assert_true(empty->cfg[PCI_BRIDGE_SECONDARY_BUS] > second->cfg[PCI_BRIDGE_SECONDARY_BUS]);
        check_bars();
    }
}

/* Bridges that firmware set up keep their numbers, and so does everything behind that works. */
static void test_firmware_bridges(void **state) {
    (void)state;
    add_host();
    struct pci_fn *bridge = pci_bus_add_bridge(NULL, 1);
    pci_bus_configure_bridge(bridge, 0, 5, 6, 0xd0000000, 0xd0200000);
    struct pci_fn *f = add_net(bridge, 0);
    pci_bus_set_bar(f, 1, 0, 4 * KIB, 0xd0100000);
    pci_bus_set_bar(f, 4, BAR_64, 16 * KIB, 0xd0104000);
    pci_bus_set16(f, PCI_COMMAND, PCI_COMMAND_MEMORY);
    struct pci_fn *direct = add_net(NULL, 2);
    pci_bus_set_bar(direct, 1, 0, 256 * MIB, 0); /* fits only in front of the bridge's window */
    const struct pci_fn before = *bridge;
    assert_int_equal(init(), ERR_OK);
    assert_int_equal(find(f)->bus, 5);
    assert_int_equal(pci_bus_bar(f, 1), 0xd0100000);
    assert_int_equal(pci_bus_bar(f, 4), 0xd0104000);
    assert_memory_equal(bridge->cfg + 0x18, before.cfg + 0x18, 0x20);
    assert_int_equal(pci_bus_bar(direct, 1), 0xc0000000);
    check_bars();
}

/* A bridge whose window firmware put out of our reach gets a new one. */
static void test_bridge_out_of_reach(void **state) {
    (void)state;
    add_host();
    struct pci_fn *bridge = pci_bus_add_bridge(NULL, 1);
    pci_bus_configure_bridge(bridge, 0, 1, 1, 0xfe000000, 0xfe200000);
    struct pci_fn *f = add_net(bridge, 0);
    pci_bus_set_bar(f, 1, 0, 4 * KIB, 0xfe000000);
    pci_bus_set_bar(f, 4, BAR_64, 16 * KIB, UINT64_C(0x800000000));
    pci_bus_set16(f, PCI_COMMAND, PCI_COMMAND_MEMORY);
    assert_int_equal(init(), ERR_OK);
    check_bars();
}

/* Bus numbers that cannot be right are given anew. */
static void test_nonsense_bus_numbers(void **state) {
    static const uint8_t numbers[][2] = {{0, 0}, {0, 9}, {3, 2}, {0xff, 1}};
    for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++) {
        set_up(state);
        add_host();
        struct pci_fn *bridge = pci_bus_add_bridge(NULL, 1);
        bridge->cfg[PCI_BRIDGE_SECONDARY_BUS] = numbers[i][0];
        bridge->cfg[PCI_BRIDGE_SUBORDINATE_BUS] = numbers[i][1];
        struct pci_fn *f = add_net(bridge, 0);
        pci_bus_set_bar(f, 1, 0, 4 * KIB, 0);
        assert_int_equal(init(), ERR_OK);
        assert_int_equal(find(f)->bus, 1);
        check_bars();
    }
}

/* A chain of bridges longer than any machine has ends somewhere. */
static void test_deep_bridges(void **state) {
    struct pci_fn *parent = NULL;
    (void)state;
    add_host();
    for (unsigned i = 0; i < 30; i++) {
        parent = pci_bus_add_bridge(parent, 1);
    }
    assert_int_equal(init(), ERR_OK);
    assert_true(pci_dev_count > 5 && pci_dev_count <= 31);
}

/* An unnumbered bridge must not take the number of a numbered one further on. */
static void test_new_bridge_before_firmware_bridge(void **state) {
    (void)state;
    add_host();
    struct pci_fn *fresh = pci_bus_add_bridge(NULL, 1);
    struct pci_fn *numbered = pci_bus_add_bridge(NULL, 2);
    pci_bus_configure_bridge(numbered, 0, 1, 1, 0xd0000000, 0xd0100000);
    struct pci_fn *a = add_net(fresh, 4);
    struct pci_fn *b = add_net(numbered, 4);
    pci_bus_set_bar(a, 1, 0, 4 * KIB, 0);
    pci_bus_set_bar(b, 1, 0, 4 * KIB, 0xd0000000);
    assert_int_equal(init(), ERR_OK);
    assert_int_not_equal(bus_of(a), bus_of(b));
    check_bars();
}

/* Nothing new goes into a window that a bridge forwards, its prefetchable one included. */
static void test_prefetch_window_is_taken(void **state) {
    (void)state;
    add_host();
    struct pci_fn *bridge = pci_bus_add_bridge(NULL, 1);
    pci_bus_configure_bridge(bridge, 0, 1, 1, 0xd0000000, 0xd0100000);
    pci_bus_set16(bridge, PCI_BRIDGE_PREFETCH_BASE, 0xc001);
    pci_bus_set16(bridge, PCI_BRIDGE_PREFETCH_BASE + 2, 0xc0f1); /* to 0xc0ffffff */
    struct pci_fn *direct = add_net(NULL, 2);
    pci_bus_set_bar(direct, 1, 0, 4 * KIB, 0);
    assert_int_equal(init(), ERR_OK);
    check_bars();
}

/* The new window of a bridge holds nothing of others, even when its devices do not fit into the gap
 * in front of them. */
static void test_bridge_window_skips_what_is_taken(void **state) {
    (void)state;
    add_host();
    struct pci_fn *fixed = add_net(NULL, 3);
    pci_bus_set_bar(fixed, 0, 0, MIB, 0xc0200000);
    pci_bus_set16(fixed, PCI_COMMAND, PCI_COMMAND_MEMORY);
    struct pci_fn *bridge = pci_bus_add_bridge(NULL, 1);
    struct pci_fn *small = add_net(bridge, 0);
    pci_bus_set_bar(small, 1, 0, 4 * KIB, 0);
    struct pci_fn *large = add_net(bridge, 1);
    pci_bus_set_bar(large, 1, 0, 4 * MIB, 0);
    assert_int_equal(init(), ERR_OK);
    assert_int_equal(pci_bus_bar(fixed, 0), 0xc0200000);
    check_bars();
}

/* Random trees of bridges and functions, as qboot leaves them: every address is reached. */
static void test_random_trees(void **state) {
    struct unit_random random = {.state = 5};
    for (unsigned round = 0; round < 100; round++) {
        struct pci_fn *bridges[8] = {NULL}; /* the first is bus 0 */
        unsigned bridge_count = 1;
        set_up(state);
        add_host();
        for (uint8_t dev = 1; dev < 30; dev++) {
            struct pci_fn *parent = bridges[unit_below(&random, bridge_count)];
            if (unit_below(&random, 4) == 0 && bridge_count < ARRAY_SIZE(bridges)) {
                bridges[bridge_count++] = pci_bus_add_bridge(parent, dev);
                continue;
            }
            struct pci_fn *f = add_net(parent, dev);
            pci_bus_set_bar(f, 0, 0, UINT64_C(4096) << unit_below(&random, 9), 0);
            if (unit_below(&random, 2)) {
                pci_bus_set_bar(f, 2, BAR_64, UINT64_C(16) << unit_below(&random, 18), 0);
            }
        }
        assert_int_equal(init(), ERR_OK);
        assert_int_equal(pci_dev_count, 30);
        check_bars();
    }
}

/* A function that claims more than there is: an error in finite time, whatever the sums wrap to. */
static void test_huge_bars_behind_a_bridge(void **state) {
    static const uint64_t sizes[][2] = {
        {UINT64_C(1) << 63, 4 * KIB},           {4 * KIB, UINT64_C(1) << 63},
        {UINT64_C(1) << 63, UINT64_C(1) << 63}, {UINT64_C(1) << 62, UINT64_C(1) << 63},
        {UINT64_C(1) << 40, 4 * KIB},           {512 * MIB, 16},
    };
    alarm(10); /* an endless loop ends the program */
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        set_up(state);
        add_host();
        struct pci_fn *f = add_net(pci_bus_add_bridge(NULL, 1), 0);
        pci_bus_set_bar(f, 0, BAR_64, sizes[i][0], 0);
        pci_bus_set_bar(f, 2, BAR_64, sizes[i][1], 0);
        assert_int_equal(init(), ERR_RESOURCE);
        expect_logged("no room");
    }
    alarm(0);
}

int main(void) {
#define PCI_CASE(name) cmocka_unit_test_setup(name, set_up)
    const struct CMUnitTest tests[] = {
        PCI_CASE(test_sizes_and_assignment),
        PCI_CASE(test_io_sizes),
        PCI_CASE(test_firmware_addresses),
        PCI_CASE(test_bar_across_the_end),
        PCI_CASE(test_random_bars),
        PCI_CASE(test_window_is_full),
        PCI_CASE(test_new_bridges),
        PCI_CASE(test_firmware_bridges),
        PCI_CASE(test_bridge_out_of_reach),
        PCI_CASE(test_nonsense_bus_numbers),
        PCI_CASE(test_deep_bridges),
        PCI_CASE(test_new_bridge_before_firmware_bridge),
        PCI_CASE(test_prefetch_window_is_taken),
        PCI_CASE(test_bridge_window_skips_what_is_taken),
        PCI_CASE(test_random_trees),
        PCI_CASE(test_huge_bars_behind_a_bridge),
    };
    return cmocka_run_group_tests_name("pci addresses", tests, NULL, NULL);
}
