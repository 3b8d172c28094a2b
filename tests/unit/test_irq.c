/* Vectors, the timer, and the way of INTx lines to the CPU on the machines that are known. */
#include "tests/unit/pci_rig.h"

#include "drivers/irq.h"
#include "drivers/lapic.h"
#include "tests/model/apic.h"

enum {
    APIC_ID = 7,
    ISA_BRIDGE = 0x0601,
    PIIX3 = 0x7000,
    PIIX4 = 0x7110,
    ROUTES = 0x60,
    OFF = 0x80, /* a route register after a reset */
    MASKED = 1 << 16,
    LEVEL = 1 << 15,
    ROUTED = LEVEL | WAIT_VECTOR_INTX, /* fixed, physical, active high, not masked */
    LOCAL_TASK_PRIORITY = 0x80,
    LOCAL_EOI = 0xb0,
    LOCAL_SPURIOUS = 0xf0,
    LOCAL_LVT_TIMER = 0x320,
    LOCAL_LVT_LINT0 = 0x350,
    LOCAL_LVT_LINT1 = 0x360,
    LOCAL_TIMER_INITIAL = 0x380,
    LOCAL_TIMER_DIVIDE = 0x3e0,
};

static uint32_t local(unsigned off) {
    return apic.local[off / 16];
}

static int set_up_irq(void **state) {
    set_up(state);
    apic_init();
    apic.id = APIC_ID;
    lapic_init();
    apic.log_count = 0;
    return 0;
}

/* --- the local APIC --------------------------------------------------------------------------- */

static void test_local_apic(void **state) {
    (void)state;
    assert_int_equal(lapic_id(), APIC_ID);
    assert_int_equal(local(LOCAL_SPURIOUS), 1 << 8 | WAIT_VECTOR_SPURIOUS);
    assert_int_equal(local(LOCAL_LVT_TIMER), WAIT_VECTOR_TIMER); /* one shot, not masked */
    assert_int_equal(local(LOCAL_LVT_LINT0), MASKED);
    assert_int_equal(local(LOCAL_LVT_LINT1), MASKED);
    assert_int_equal(local(LOCAL_TIMER_INITIAL), 0);
    assert_int_equal(local(LOCAL_TIMER_DIVIDE), 0xb); /* by 1 */
    assert_null(pci_bus.violation);
}

/* Each is one register write: a sleep costs an exit for each of them. */
static void test_timer(void **state) {
    static const struct {
        uint64_t us;
        uint32_t ticks;
    } times[] = {
        {0, 1}, /* not 0, which would never come */
        {1, 1000},
        {20000, 20000000},
        {4294967, 4294967000},
        {4294968, 4294967000}, /* the most that 32 bits hold */
        {UINT32_MAX, 4294967000},
        {UINT64_MAX, 4294967000},
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(times); i++) {
        apic.log_count = 0;
        lapic_timer_us(times[i].us);
        assert_int_equal(local(LOCAL_TIMER_INITIAL), times[i].ticks);
        assert_int_equal(apic.log_count, 1);
    }
    lapic_timer_once(0);
    assert_int_equal(local(LOCAL_TIMER_INITIAL), 0);
    lapic_timer_once(UINT32_MAX);
    assert_int_equal(local(LOCAL_TIMER_INITIAL), UINT32_MAX);
    assert_int_equal(local(LOCAL_LVT_TIMER), WAIT_VECTOR_TIMER);
    assert_null(pci_bus.violation);
}

/* --- vectors ---------------------------------------------------------------------------------- */

static void test_vectors(void **state) {
    bool seen[256] = {false};
    uint8_t vector;
    unsigned count = 0;
    (void)state;
    while ((vector = irq_vector_alloc()) != 0) {
        assert_true(vector >= WAIT_VECTOR_DEVICE_FIRST && vector <= WAIT_VECTOR_LAST);
        assert_false(seen[vector]);
        /* INTx, acknowledged late, must not hold it back. */
        assert_true(vector >> 4 > WAIT_VECTOR_INTX >> 4);
        seen[vector] = true;
        count++;
    }
    assert_int_equal(count, WAIT_VECTOR_LAST - WAIT_VECTOR_DEVICE_FIRST + 1);
    assert_true(count >= 24); /* three for each of eight devices */
    assert_int_equal(irq_vector_alloc(), 0);
    assert_false(seen[WAIT_VECTOR_TIMER]);
    assert_true(WAIT_VECTOR_TIMER >> 4 > WAIT_VECTOR_INTX >> 4);
}

/* As ring 0 does it. */
static void take_intx(void) {
    wait_state.count[WAIT_VECTOR_INTX - WAIT_VECTOR_FIRST]++;
    apic.local[LOCAL_TASK_PRIORITY / 16] = WAIT_VECTOR_INTX;
}

static void test_intx_ack(void **state) {
    (void)state;
    const uint32_t start = UINT32_MAX - 2; /* the count wraps on the way */
    wait_state.count[WAIT_VECTOR_INTX - WAIT_VECTOR_FIRST] = start;
    irq_intx_ack();
    for (unsigned i = 0; i < 5; i++) {
        apic.log_count = 0;
        assert_false(irq_intx_pending());
        irq_intx_ack(); /* nothing to acknowledge: costs nothing */
        assert_int_equal(apic.log_count, 0);
        take_intx();
        assert_true(irq_intx_pending());
        irq_intx_ack();
        assert_false(irq_intx_pending());
        /* First acknowledged, then let through. */
        assert_int_equal(apic.log_count, 2);
        assert_int_equal(apic.log[0], LOCAL_EOI);
        assert_int_equal(apic.log[1], LOCAL_TASK_PRIORITY);
        assert_int_equal(local(LOCAL_TASK_PRIORITY), 0);
    }
    assert_null(pci_bus.violation);
}

/* --- the way of the line ---------------------------------------------------------------------- */

enum machine { PC, Q35, MICROVM, UNKNOWN };

static struct pci_fn *isa_bridge;

static void add_machine(enum machine machine, const uint8_t routes[4]) {
    static const uint16_t hosts[][2] = {
        [PC] = {0x8086, 0x1237},
        [Q35] = {0x8086, 0x29c0},
        [MICROVM] = {0x1b36, 0x0008},
        [UNKNOWN] = {0x8086, 0x0d57},
    };
    pci_bus_add(NULL, 0, 0, hosts[machine][0], hosts[machine][1], PCI_CLASS_BRIDGE_HOST, 0);
    isa_bridge = NULL;
    if (machine == PC) {
        isa_bridge = pci_bus_add(NULL, 1, 0, 0x8086, PIIX3, ISA_BRIDGE, 0x80);
        memcpy(isa_bridge->cfg + ROUTES, routes, 4);
        memset(isa_bridge->writable + ROUTES, 0xff, 4);
    }
}

/* A network function in `slot`, behind one bridge for each further slot that is not 0: the nearest
 * first. */
static struct pci_fn *add_behind(uint8_t slot, const uint8_t bridges[2], uint8_t pin) {
    struct pci_fn *parent = NULL;
    for (unsigned i = 2; i-- > 0;) {
        parent = bridges[i] != 0 ? pci_bus_add_bridge(parent, bridges[i]) : parent;
    }
    struct pci_fn *f = add_net(parent, slot);
    f->cfg[PCI_INTERRUPT_PIN] = pin;
    return f;
}

static int enable(struct pci_fn *f) {
    assert_int_equal(init(), ERR_OK);
    pci_bus_set16(f, PCI_COMMAND, PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
    capture_begin();
    return irq_intx_enable(find(f));
}

/* Only that input leads anywhere, and the function may use its line. */
static void expect_routed(const struct pci_fn *f, unsigned gsi) {
    for (unsigned i = 0; i < APIC_INPUTS; i++) {
        const uint64_t entry = i == gsi ? (uint64_t)APIC_ID << 56 | ROUTED : MASKED;
        assert_int_equal(apic.input[i], entry);
    }
    assert_int_equal(pci_bus_get16(f, PCI_COMMAND), PCI_COMMAND_MASTER);
    if (pci_bus.violation != NULL) {
        fail_msg("%s", pci_bus.violation);
    }
}

static void expect_refused(struct pci_fn *f) {
    assert_int_equal(enable(f), ERR_ABSENT);
    expect_logged("no INTx");
    assert_int_equal(pci_bus_get16(f, PCI_COMMAND), PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
    for (unsigned i = 0; i < APIC_INPUTS; i++) {
        assert_int_equal(apic.input[i], MASKED);
    }
    if (pci_bus.violation != NULL) {
        fail_msg("%s", pci_bus.violation);
    }
}

/* As the ACPI tables of QEMU's machines have it, checked against its 7.2. */
static void test_gsi(void **state) {
    static const struct {
        enum machine machine;
        uint8_t slot, pin; /* 1: INTA */
        uint8_t bridges[2];
        unsigned gsi;
    } rows[] = {
        /* 3, 4, 5, 6 for PIRQA to PIRQD */
        {PC, 9, 1, {0}, 3}, {PC, 2, 1, {0}, 4}, {PC, 3, 1, {0}, 5}, {PC, 4, 1, {0}, 6},
        {PC, 5, 1, {0}, 3}, {PC, 31, 1, {0}, 5}, {PC, 2, 4, {0}, 3}, {PC, 4, 2, {0}, 3},
        {PC, 0, 1, {2}, 4}, {PC, 1, 1, {2}, 5}, {PC, 3, 2, {4}, 6}, {PC, 5, 1, {2, 7}, 4},
        {Q35, 1, 1, {0}, 21}, {Q35, 2, 1, {0}, 22}, {Q35, 3, 1, {0}, 23}, {Q35, 4, 1, {0}, 20},
        {Q35, 24, 1, {0}, 20}, {Q35, 24, 4, {0}, 23}, {Q35, 1, 3, {0}, 23},
        {Q35, 25, 1, {0}, 16}, {Q35, 29, 4, {0}, 19}, {Q35, 31, 2, {0}, 17},
        {Q35, 30, 1, {0}, 20}, {Q35, 30, 4, {0}, 23},
        {Q35, 0, 1, {5}, 21}, {Q35, 3, 1, {6}, 21}, {Q35, 5, 2, {2, 30}, 20},
        {Q35, 1, 1, {28}, 17}, {Q35, 31, 4, {31, 3}, 20},
        {MICROVM, 1, 1, {0}, 17}, {MICROVM, 2, 1, {0}, 18}, {MICROVM, 4, 1, {0}, 16},
        {MICROVM, 31, 1, {0}, 19}, {MICROVM, 1, 4, {0}, 16}, {MICROVM, 0, 1, {5}, 17},
        {MICROVM, 3, 1, {6}, 17}, {MICROVM, 5, 1, {1, 7}, 17},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        set_up_irq(state);
        add_machine(rows[i].machine, (const uint8_t[]){3, 4, 5, 6});
        struct pci_fn *f = add_behind(rows[i].slot, rows[i].bridges, rows[i].pin);
        if (enable(f) != ERR_OK) {
            fail_msg("row %u: %s", i, capture_text);
        }
        expect_routed(f, rows[i].gsi);
    }
}

/* pc: routes of the firmware stay; one that is off, or names a line that it must not, is set. */
static void test_pc_routes(void **state) {
    static const struct {
        uint16_t device;
        uint8_t slot;
        uint8_t before[4], after[4];
        unsigned gsi;
    } rows[] = {
        {PIIX3, 3, {10, 10, 11, 11}, {10, 10, 11, 11}, 11}, /* SeaBIOS */
        {PIIX4, 3, {10, 10, 11, 11}, {10, 10, 11, 11}, 11},
        {PIIX3, 3, {OFF, OFF, OFF, OFF}, {OFF, OFF, 11, OFF}, 11}, /* qboot */
        {PIIX4, 2, {OFF, OFF, OFF, OFF}, {OFF, 11, OFF, OFF}, 11},
        {PIIX3, 5, {OFF | 5, 5, 5, 5}, {11, 5, 5, 5}, 11},
        {PIIX3, 4, {1, 2, 3, 0}, {1, 2, 3, 11}, 11}, /* reserved */
        {PIIX3, 4, {1, 2, 3, 2}, {1, 2, 3, 11}, 11},
        {PIIX3, 4, {1, 2, 3, 8}, {1, 2, 3, 11}, 11},
        {PIIX3, 4, {1, 2, 3, 13}, {1, 2, 3, 11}, 11},
        {PIIX3, 4, {1, 2, 3, 0x7f}, {1, 2, 3, 11}, 11},
        {PIIX3, 4, {1, 2, 3, 15}, {1, 2, 3, 15}, 15},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        set_up_irq(state);
        add_machine(PC, rows[i].before);
        pci_bus_set16(isa_bridge, PCI_DEVICE_ID, rows[i].device);
        struct pci_fn *f = add_behind(rows[i].slot, (const uint8_t[2]){0}, 1);
        assert_int_equal(enable(f), ERR_OK);
        expect_routed(f, rows[i].gsi);
        assert_memory_equal(isa_bridge->cfg + ROUTES, rows[i].after, 4);
    }
}

/* Without a second I/O APIC (QEMU's ioapic2=off) microvm's lines are elsewhere. */
static void test_microvm_one_ioapic(void **state) {
    static const uint32_t absent[] = {0, UINT32_MAX};
    for (unsigned i = 0; i < ARRAY_SIZE(absent); i++) {
        set_up_irq(state);
        apic.ioapic2_present = false;
        apic.absent = absent[i];
        add_machine(MICROVM, NULL);
        struct pci_fn *f = add_behind(2, (const uint8_t[2]){0}, 1);
        assert_int_equal(enable(f), ERR_OK);
        expect_routed(f, 14);
    }
}

static void test_two_functions(void **state) {
    (void)state;
    add_machine(Q35, NULL);
    struct pci_fn *first = add_behind(1, (const uint8_t[2]){0}, 1);
    struct pci_fn *second = add_behind(2, (const uint8_t[2]){0}, 1);
    assert_int_equal(enable(first), ERR_OK);
    assert_int_equal(enable(second), ERR_OK);
    assert_int_equal(apic.input[21], (uint64_t)APIC_ID << 56 | ROUTED);
    assert_int_equal(apic.input[22], (uint64_t)APIC_ID << 56 | ROUTED);
    assert_null(pci_bus.violation);
}

/* Lines without PCI: inputs of both I/O APICs, which count on; edge or level, and the other polarity. */
static void test_lines(void **state) {
    for (unsigned i = 0; i < 4 * 2 * APIC_INPUTS; i++) {
        const struct irq_line line = {
            .gsi = i / 4,
            .edge = i & 1,
            .active_low = i & 2,
        };
        const uint64_t due = (uint64_t)APIC_ID << 56 | WAIT_VECTOR_INTX | (line.edge ? 0 : LEVEL) |
                             (line.active_low ? 1u << 13 : 0);
        set_up_irq(state);
        assert_int_equal(irq_line_enable(&line, "0xd0000000"), ERR_OK);
        for (unsigned k = 0; k < APIC_INPUTS; k++) {
            assert_int_equal(apic.input[k], k == line.gsi ? due : MASKED);
            assert_int_equal(apic.input2[k], k + APIC_INPUTS == line.gsi ? due : MASKED);
        }
        irq_line_disable(&line);
        for (unsigned k = 0; k < APIC_INPUTS; k++) {
            assert_true(apic.input[k] & MASKED && apic.input2[k] & MASKED);
        }
        assert_null(pci_bus.violation);
    }
}

/* Inputs that no I/O APIC has, whichever of them are there. */
static void test_no_such_input(void **state) {
    static const struct {
        bool first, second;
        uint32_t gsi;
    } cases[] = {
        {true, true, 2 * APIC_INPUTS}, {true, true, UINT32_MAX}, {true, false, APIC_INPUTS},
        {false, true, 0},              {false, true, 30},        {false, false, 5},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct irq_line line = {.gsi = cases[i].gsi};
        set_up_irq(state);
        apic.ioapic_present = cases[i].first;
        apic.ioapic2_present = cases[i].second;
        capture_begin();
        assert_int_equal(irq_line_enable(&line, "0xd0000000"), ERR_ABSENT);
        expect_logged("irq 0xd0000000: no I/O APIC has an input");
        irq_line_disable(&line);
        for (unsigned k = 0; k < APIC_INPUTS; k++) {
            assert_int_equal(apic.input[k] & apic.input2[k], MASKED);
        }
        assert_null(pci_bus.violation);
    }
}

/* --- none ------------------------------------------------------------------------------------- */

static void test_bad_pins(void **state) {
    static const uint8_t pins[] = {0, 5, 0x80, 0xff};
    for (unsigned i = 0; i < ARRAY_SIZE(pins); i++) {
        set_up_irq(state);
        add_machine(Q35, NULL);
        expect_refused(add_behind(1, (const uint8_t[2]){0}, pins[i]));
    }
}

static void test_unknown_wiring(void **state) {
    (void)state;
    add_machine(UNKNOWN, NULL);
    expect_refused(add_behind(1, (const uint8_t[2]){0}, 1));

    set_up_irq(state); /* a pc without the bridge that has the routes */
    pci_bus_add(NULL, 0, 0, 0x8086, 0x1237, PCI_CLASS_BRIDGE_HOST, 0);
    expect_refused(add_behind(3, (const uint8_t[2]){0}, 1));
}

static void test_no_ioapic(void **state) {
    static const uint32_t absent[] = {0, UINT32_MAX};
    for (unsigned i = 0; i < ARRAY_SIZE(absent); i++) {
        set_up_irq(state);
        apic.ioapic_present = false;
        apic.absent = absent[i];
        add_machine(Q35, NULL);
        expect_refused(add_behind(1, (const uint8_t[2]){0}, 1));
    }
}

int main(void) {
#define IRQ_CASE(name) cmocka_unit_test_setup(name, set_up_irq)
    const struct CMUnitTest tests[] = {
        IRQ_CASE(test_local_apic),     IRQ_CASE(test_timer),     IRQ_CASE(test_vectors),
        IRQ_CASE(test_intx_ack),       IRQ_CASE(test_gsi),       IRQ_CASE(test_pc_routes),
        IRQ_CASE(test_microvm_one_ioapic), IRQ_CASE(test_two_functions),
        IRQ_CASE(test_lines),          IRQ_CASE(test_no_such_input),
        IRQ_CASE(test_bad_pins),       IRQ_CASE(test_unknown_wiring), IRQ_CASE(test_no_ioapic),
    };
    return cmocka_run_group_tests_name("irq", tests, NULL, NULL);
}
