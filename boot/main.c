/* The first function in ring 3: the order of initialisation, nothing else. */
#include "boot/config_sources.h"
#include "boot/ring0.h"

#include "drivers/acpi.h"
#include "drivers/clock.h"
#include "drivers/lapic.h"
#include "drivers/pci.h"
#include "drivers/power_button.h"
#include "drivers/pvpanic.h"
#include "drivers/serial.h"
#include "drivers/virtio_mmio_find.h"
#include "drivers/virtio_net.h"
#include "lib/config.h"
#include "lib/dma.h"
#include "lib/err.h"
#include "lib/exit.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/panic.h"
#include "net/app_crash_test.h"
#include "net/app_echo.h"
#include "net/app_fwd.h"
#include "net/app_gen.h"
#include "net/app_ping.h"
#include "net/app_sink.h"
#include "net/stack.h"

#include <string.h>

/* Ports, I/O APIC and local APIC lie above; PCI memory of microvm and pc ends at or before these. */
#define PCI_ECAM_MICROVM 0xe0000000ull
#define PCI_ASSIGN_HIGH_START 0xf0000000ull
#define PCI_ASSIGN_HIGH_END 0xfec00000ull

static const char *accelerator(void) {
    static char name[13];
    const struct cpuid_regs r = cpuid(0x40000000);
    memcpy(name, &r.ebx, 4);
    memcpy(name + 4, &r.ecx, 4);
    memcpy(name + 8, &r.edx, 4);
    if (!(cpuid(1).ecx >> 31)) {
        return "none";
    }
    return strncmp(name, "TCG", 3) == 0 ? "tcg" : strncmp(name, "KVM", 3) == 0 ? "kvm" : name;
}

/* Rounded up: firmware keeps a little of what the machine has. */
static unsigned memory_mib(void) {
    return (unsigned)((boot_info.ram_bytes + (1 << 20) - 1) >> 20);
}

/* A machine that has virtio on MMIO and no PCI is what its makers call a microVM. */
static const char *machine(void) {
    return pci_dev_count == 0 && virtio_mmio_slot_count > 0 ? "microvm" : pci_machine();
}

static void print_boot_event(void) {
    char text[256];
    struct json j;
    json_event(&j, text, sizeof(text), "boot");
    json_string(&j, "version", RINGLET_VERSION);
    json_string(&j, "boot", boot_info.path == BOOT_UEFI ? "uefi" : "pvh");
    json_string(&j, "machine", machine());
    json_string(&j, "accelerator", accelerator());
    json_u64(&j, "memory_mib", memory_mib());
    json_u64(&j, "tsc_khz", clock_khz());
    json_string(&j, "tsc_source", clock_source());
    json_close(&j);
    json_print(&j);
}

static _Noreturn void fail(void) {
    exit_guest(EXIT_STATUS_USAGE);
}

static void check_boot(void) {
    switch (boot_info.error) {
    case BOOT_OK:
        return;
    case BOOT_NO_MEMORY_MAP:
        log_error("boot: the loader gave no usable PVH start info with a memory map");
        break;
    case BOOT_LITTLE_MEMORY:
        log_error("boot: %u MiB of memory are too little, %u MiB are needed",
                  memory_mib(), BOOT_MEMORY_MIN_MIB);
        break;
    case BOOT_LONG_CMDLINE:
        log_error("config: the command line is longer than %u characters", BOOT_CMDLINE_MAX - 1);
        break;
    }
    fail();
}

static void init_acpi(void) {
    struct acpi_window windows[BOOT_ACPI_MAX + 2] = {
        {BOOT_ROM_START, BOOT_ROM_END},
        {boot_info.arena_base, boot_info.arena_base + boot_info.arena_size},
    };
    unsigned count = 2;
    for (uint32_t i = 0; i < boot_info.acpi_count; i++) {
        windows[count++] = (struct acpi_window){boot_info.acpi[i].start, boot_info.acpi[i].end};
    }
    acpi_init(boot_info.rsdp, windows, count);
}

static void init_config(struct config *config) {
    struct config_source sources[CONFIG_SOURCES_MAX];
    unsigned count = 0;
    char error[320];
    if (config_sources(&boot_info, sources, &count, error, sizeof(error)) != ERR_OK ||
        config_parse_sources(config, sources, count, error, sizeof(error)) != ERR_OK) {
        log_error("config: %s", error);
        fail();
    }
}

static int init_pci(void) {
    uint64_t ecam = 0;
    uint32_t buses = 0;
    struct pci_windows windows = {
        .mem_start = BOOT_MMIO_START,
        .mem_end = PCI_ASSIGN_HIGH_END,
        .assign_start = max_u64(BOOT_MMIO_START, align_up(boot_info.low_ram_end, 1 << 20)),
        .assign_end = PCI_ECAM_MICROVM,
        .io_start = BOOT_PCI_IO_START,
        .io_end = BOOT_PCI_IO_END,
    };
    if (windows.assign_start >= windows.assign_end) { /* 3.5 GiB of memory below 4 GiB */
        windows.assign_start = PCI_ASSIGN_HIGH_START;
        windows.assign_end = PCI_ASSIGN_HIGH_END;
    }
    if (acpi_ecam(&ecam, &buses) && ecam >= BOOT_MMIO_START && ecam < BOOT_MMIO_END) {
        windows.ecam = ecam;
        windows.ecam_buses = (uint32_t)min_u64(buses, (BOOT_MMIO_END - ecam) >> 20);
    }
    return pci_init(&windows);
}

/* Where devices are. Either bus may be missing, but not both. */
static int init_buses(const struct config *config) {
    int err = virtio_mmio_find(config->mmio_devices, BOOT_MMIO_START, BOOT_MMIO_END);
    if (err != ERR_OK || config->pci == CONFIG_PCI_OFF) {
        return err;
    }
    err = init_pci();
    if (err == ERR_ABSENT && virtio_mmio_slot_count > 0) {
        return ERR_OK;
    }
    if (err == ERR_ABSENT) {
        log_error("pci: no host bridge: neither configuration ports nor an address in the ACPI tables; "
                  "and nobody tells of virtio devices on MMIO");
    }
    return err;
}

static const struct app *const apps[] = {
    [CONFIG_APP_ECHO] = &app_echo,
    [CONFIG_APP_PING] = &app_ping,
    [CONFIG_APP_FWD] = &app_fwd,
    [CONFIG_APP_GEN] = &app_gen,
    [CONFIG_APP_SINK] = &app_sink,
};

void user_main(void) {
    static struct config config;

    log_set_sink(serial_init());
    panic_set_bounds((uintptr_t)stack_start, (uintptr_t)stack_end, (uintptr_t)text_start,
                     (uintptr_t)text_end);
    check_boot();
    clock_init(boot_info.tsc_start, (const void *)boot_info.pvclock);
    dma_init(boot_info.arena_base, boot_info.arena_size);
    init_acpi();
    init_config(&config);
    if (config.app == CONFIG_APP_CRASH_TEST) {
        if (app_crash_test_run(config.kind) != ERR_OK) {
            fail();
        }
        exit_guest(EXIT_STATUS_OK);
    }
    if (config_may_halt(&config)) {
        lapic_init();
    }
    power_button_init(); /* before the boot event: a press after it counts */
    const int bus_err = init_buses(&config);
    if (bus_err == ERR_OK) {
        pvpanic_init();
    }
    print_boot_event();
    if (bus_err != ERR_OK || net_probe(&config) != ERR_OK || !stack_init(&config)) {
        fail();
    }
    const enum exit_status status = app_run(&config, apps[config.app]);
    net_stop_all();
    exit_guest(status);
}
