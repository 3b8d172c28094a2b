/* Traps: descriptor tables, the ports that ring 3 may use, faults, interrupts, and the one service.
 *
 * A fault, of ring 3 or of ring 0, is not printed here: its registers are saved and ring 3 continues
 * in panic_enter() on a stack of its own, where everything that prints lives. A second fault on the
 * way ends the machine from here. */
#include "boot/ring0.h"

#include "drivers/acpi.h"
#include "drivers/pvpanic.h"
#include "lib/exit.h"
#include "lib/panic.h"
#include "lib/wait.h"

enum {
    VECTOR_NMI = 2,
    VECTOR_DOUBLE_FAULT = 8,
    VECTOR_GENERAL_PROTECTION = 13,
    VECTOR_MACHINE_CHECK = 18,
    VECTOR_COUNT = WAIT_VECTOR_SPURIOUS + 1, /* as many stubs has entry.S */
    OPCODE_HLT = 0xf4,
    IO_HIGH_END = ACPI_PORT_HIGH + ACPI_PORT_COUNT, /* no port from here on is allowed */
};

#define LAPIC_TASK_PRIORITY 0xfee00080ull
#define LAPIC_EOI 0xfee000b0ull

/* What trap_common (entry.S) and the CPU push. */
struct trap_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
    uint64_t vector, error;
    uint64_t rip, cs, rflags, rsp, ss;
};

struct tss {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3;
    uint16_t io_bitmap_off;
    /* A 0 bit allows the port: those of ring3_ports below, and all of the PCI window in between.
     * Then one byte of ones, which the CPU wants. */
    uint8_t io_low[BOOT_PCI_IO_START / 8];
    uint8_t io_pci[(BOOT_PCI_IO_END - BOOT_PCI_IO_START) / 8];
    uint8_t io_high[(IO_HIGH_END - BOOT_PCI_IO_END) / 8];
    uint8_t io_last;
} __attribute__((packed));

_Static_assert(ACPI_MMIO_START >= BOOT_MMIO_START, "registers in memory are mapped");
_Static_assert((int)ACPI_PORT_HIGH >= (int)BOOT_PCI_IO_END, "beyond the PCI window");

struct gate {
    uint16_t offset_low;
    uint16_t selector;
    uint8_t ist;
    uint8_t type;
    uint16_t offset_mid;
    uint32_t offset_high;
    uint32_t reserved;
};

struct table_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

/* The ports in use, as ranges, beside the PCI window. Everything else raises #GP in ring 3. */
static const struct {
    uint16_t first, last;
} ring3_ports[] = {
    {0x40, 0x43},   /* PIT, to calibrate the time stamp counter */
    {0x61, 0x61},   /* gate of its channel 2 */
    {0x64, 0x64},   /* keyboard controller, to reset the machine */
    {0xf4, 0xf7},   /* isa-debug-exit */
    {0x3f8, 0x3ff}, /* serial port */
    {PVPANIC_PORT, PVPANIC_PORT},
    {0x514, 0x51b}, /* DMA interface of QEMU's fw_cfg */
    {ACPI_PORT_LOW, ACPI_PORT_LOW + ACPI_PORT_COUNT - 1}, /* power button, power off */
    {0xcf8, 0xcff}, /* PCI configuration, reset control */
    {ACPI_PORT_HIGH, ACPI_PORT_HIGH + ACPI_PORT_COUNT - 1},
};

static uint64_t gdt[7] = {
    [SELECTOR_CODE0 / 8] = 0x00af9b000000ffff,
    [SELECTOR_DATA0 / 8] = 0x00cf93000000ffff,
    [SELECTOR_DATA3 / 8] = 0x00cff3000000ffff,
    [SELECTOR_CODE3 / 8] = 0x00affb000000ffff,
};
/* Its ones come with the image: ring 0 would have to write thousands of bytes. */
static struct tss tss __attribute__((aligned(16))) = {
    .io_bitmap_off = offsetof(struct tss, io_low),
    .io_low = {[0 ... sizeof(tss.io_low) - 1] = UINT8_MAX},
    .io_high = {[0 ... sizeof(tss.io_high) - 1] = UINT8_MAX},
    .io_last = UINT8_MAX,
};
static struct gate idt[VECTOR_COUNT];
static bool panicking;

void trap_handler(struct trap_frame *frame);

static void tss_init(void) {
    uint8_t *bitmap = (uint8_t *)&tss + offsetof(struct tss, io_low);
    for (unsigned i = 0; i < ARRAY_SIZE(ring3_ports); i++) {
        for (unsigned port = ring3_ports[i].first; port <= ring3_ports[i].last; port++) {
            bitmap[port / 8] &= (uint8_t) ~(1u << port % 8);
        }
    }
    tss.rsp[0] = (uintptr_t)ring0_stack_end;
    tss.ist[0] = (uintptr_t)ring0_ist_stack_end;
}

static void gdt_load(void) {
    const uint64_t base = (uintptr_t)&tss;
    const struct table_pointer pointer = {sizeof(gdt) - 1, (uintptr_t)gdt};
    gdt[SELECTOR_TSS / 8] = (sizeof(tss) - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 |
                            (base >> 24 & 0xff) << 56;
    gdt[SELECTOR_TSS / 8 + 1] = base >> 32;
    __asm__ volatile("lgdt %0" : : "m"(pointer));
    __asm__ volatile("ltr %w0" : : "r"(SELECTOR_TSS));
}

static void idt_load(void) {
    const struct table_pointer pointer = {sizeof(idt) - 1, (uintptr_t)idt};
    uintptr_t stub = (uintptr_t)trap_stubs;
    for (unsigned vector = 0; vector < VECTOR_COUNT; vector++, stub += 16) {
        idt[vector] = (struct gate){
            .offset_low = (uint16_t)stub,
            .selector = SELECTOR_CODE0,
            .type = 0x8e, /* present, interrupt gate, not callable from ring 3 */
            .offset_mid = (uint16_t)(stub >> 16),
        };
    }
    /* These can hit while the ring-0 stack is unusable. */
    idt[VECTOR_NMI].ist = 1;
    idt[VECTOR_DOUBLE_FAULT].ist = 1;
    idt[VECTOR_MACHINE_CHECK].ist = 1;
    __asm__ volatile("lidt %0" : : "m"(pointer));
}

void trap_init(void) {
    tss_init();
    gdt_load();
    idt_load();
}

static bool is_wait_service(const struct trap_frame *frame) {
    return frame->vector == VECTOR_GENERAL_PROTECTION && frame->cs == SELECTOR_CODE3 &&
           frame->rip >= (uintptr_t)text_start && frame->rip < (uintptr_t)text_end &&
           *(const uint8_t *)frame->rip == OPCODE_HLT;
}

static void interrupt(uint64_t vector) {
    __atomic_store_n(&wait_state.wake, 1, __ATOMIC_RELAXED);
    wait_state.interrupts++;
    if (vector == WAIT_VECTOR_SPURIOUS) {
        wait_state.spurious++; /* not acknowledged, Intel SDM volume 3, 11.9 */
        return;
    }
    wait_state.count[vector - WAIT_VECTOR_FIRST]++;
    if (vector == WAIT_VECTOR_INTX) {
        /* The line stays asserted until ring 3 has read the device's ISR register; acknowledged here
         * the interrupt would come again at once, for ever. irq_intx_ack() does it after that. The
         * priority threshold holds it back even where it counts as acknowledged when it is
         * delivered, as in KVM's PVM variant. */
        *(volatile uint32_t *)LAPIC_TASK_PRIORITY = WAIT_VECTOR_INTX;
    } else {
        *(volatile uint32_t *)LAPIC_EOI = 0;
    }
}

/* Nothing of ring 3 can be trusted any more. */
static _Noreturn void end_machine(void) {
    pvpanic_tell_isa();
    __asm__ volatile("outb %0, %1" : : "a"((uint8_t)EXIT_STATUS_PANIC), "Nd"((uint16_t)0xf4));
    __asm__ volatile("outb %0, %w1" : : "a"((uint8_t)6), "d"((uint16_t)0xcf9));
    while (true) {
        __asm__ volatile("cli; hlt");
    }
}

static void fault(struct trap_frame *frame) {
    uint64_t cr2;
    if (panicking) {
        end_machine();
    }
    panicking = true;
    __asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
    panic_regs = (struct panic_regs){
        .rax = frame->rax, .rbx = frame->rbx, .rcx = frame->rcx, .rdx = frame->rdx,
        .rsi = frame->rsi, .rdi = frame->rdi, .rbp = frame->rbp, .rsp = frame->rsp,
        .r8 = frame->r8,   .r9 = frame->r9,   .r10 = frame->r10, .r11 = frame->r11,
        .r12 = frame->r12, .r13 = frame->r13, .r14 = frame->r14, .r15 = frame->r15,
        .rip = frame->rip, .cs = frame->cs,   .rflags = frame->rflags, .ss = frame->ss,
        .cr2 = cr2, .vector = frame->vector, .error = frame->error,
    };
    frame->rip = (uintptr_t)panic_enter;
    frame->cs = SELECTOR_CODE3;
    frame->ss = SELECTOR_DATA3;
    frame->rflags = 0x202;
    frame->rsp = (uintptr_t)panic_stack_end - 8;
    frame->rbp = 0;
}

/* HLT on behalf of ring 3. A function of its own, so that a test can put a fault of ring 0 here. */
static __attribute__((noinline)) void wait_service(struct trap_frame *frame) {
    frame->rip++;
    /* STI holds interrupts off for one more instruction, so none can slip in between. */
    if (__atomic_load_n(&wait_state.wake, __ATOMIC_RELAXED) == 0) {
        __asm__ volatile("sti; hlt; cli" : : : "memory");
    }
}

void trap_handler(struct trap_frame *frame) {
    if (frame->vector >= WAIT_VECTOR_FIRST) {
        interrupt(frame->vector);
    } else if (is_wait_service(frame)) {
        wait_service(frame);
    } else {
        fault(frame);
    }
}
