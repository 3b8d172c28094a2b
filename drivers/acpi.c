/* ACPI 6.4: 5.2.5 RSDP, 5.2.7 RSDT, 5.2.8 XSDT, 5.2.9 FADT, 4.8.4 registers, 7.4.2 _Sx, 20.2 byte
 * code; PCI Firmware 3.2, 4.1.2 MCFG. */
#include "drivers/acpi.h"

#include "lib/assert.h"
#include "lib/log.h"

#include <string.h>

enum {
    HEADER_LEN = 36,
    TABLES_MAX = 64,
    TABLE_LEN_MAX = 1 << 20,
    FADT_DSDT = 40,
    FADT_PM1A_EVENT = 56,
    FADT_PM1A_CONTROL = 64,
    FADT_PM1_EVENT_LEN = 88, /* of both halves: status, then enable */
    FADT_FLAGS = 112,
    FADT_X_DSDT = 140,
    FADT_SLEEP_CONTROL = 244, /* a generic address structure */
    FADT_FLAG_PWR_BUTTON = 1 << 4, /* 1: it is no fixed one, if there is one */
    FADT_FLAG_HW_REDUCED = 1 << 20,
    GAS_LEN = 12,
    MCFG_FIRST = 44,
    PM1_SLEEP_ENABLE = 1 << 13,
    PM1_REGISTER_LEN = 2,
    SLEEP_CONTROL_ENABLE = 1 << 5,
    SELECTOR_LEN = 4,
};

static uint64_t root;
static struct acpi_window readable[ACPI_WINDOWS_MAX];
static unsigned readable_count;

void acpi_init(uint64_t rsdp, const struct acpi_window *windows, unsigned count) {
    ASSERT(count <= ACPI_WINDOWS_MAX);
    root = rsdp;
    readable_count = count;
    memcpy(readable, windows, count * sizeof(*windows));
}

const uint8_t *acpi_memory(uint64_t addr, uint64_t len) {
    for (unsigned i = 0; i < readable_count; i++) {
        if (addr != 0 && addr >= readable[i].start && addr < readable[i].end &&
            len <= readable[i].end - addr) {
            return (const uint8_t *)addr;
        }
    }
    return NULL;
}

static uint64_t get(const uint8_t *at, unsigned len) {
    uint64_t value = 0;
    memcpy(&value, at, len);
    return value;
}

/* A whole table with a sound length, NULL otherwise. */
static const uint8_t *acpi_table(uint64_t addr, uint32_t *len) {
    const uint8_t *header = acpi_memory(addr, HEADER_LEN);
    if (header == NULL) {
        return NULL;
    }
    *len = (uint32_t)get(header + 4, 4);
    return *len >= HEADER_LEN && *len <= TABLE_LEN_MAX ? acpi_memory(addr, *len) : NULL;
}

static const uint8_t *acpi_find(const char *signature, uint32_t *len) {
    const uint8_t *rsdp = acpi_memory(root, 20);
    if (rsdp == NULL || memcmp(rsdp, "RSD PTR ", 8) != 0) {
        return NULL;
    }
    const bool extended = rsdp[15] >= 2 && acpi_memory(root, 36) != NULL && get(rsdp + 24, 8) != 0;
    const unsigned width = extended ? 8 : 4;
    uint32_t list_len;
    const uint8_t *list = acpi_table(extended ? get(rsdp + 24, 8) : get(rsdp + 16, 4), &list_len);
    if (list == NULL) {
        return NULL;
    }
    unsigned count = (list_len - HEADER_LEN) / width;
    for (unsigned i = 0; i < count && i < TABLES_MAX; i++) {
        const uint8_t *table = acpi_table(get(list + HEADER_LEN + i * width, width), len);
        if (table != NULL && memcmp(table, signature, 4) == 0) {
            return table;
        }
    }
    return NULL;
}

/* The 64-bit address counts if it is there (5.2.9). */
const uint8_t *acpi_dsdt(uint32_t *len) {
    uint32_t fadt_len;
    const uint8_t *fadt = acpi_find("FACP", &fadt_len);
    if (fadt == NULL || fadt_len < FADT_FLAGS + 4) {
        return NULL;
    }
    const uint64_t wide = fadt_len >= FADT_X_DSDT + 8 ? get(fadt + FADT_X_DSDT, 8) : 0;
    return acpi_table(wide != 0 ? wide : get(fadt + FADT_DSDT, 4), len);
}

/* A number of the byte code with DWordPrefix or QWordPrefix (20.2.3); `at` has nine bytes. */
static bool acpi_number(const uint8_t *at, uint64_t *value) {
    enum { DWORD_PREFIX = 0x0c, QWORD_PREFIX = 0x0e };
    *value = get(at + 1, at[0] == QWORD_PREFIX ? 8 : 4);
    return at[0] == QWORD_PREFIX || at[0] == DWORD_PREFIX;
}

/* A machine without MCFG says it in a method of the host bridge: MethodOp length _CBA flags ReturnOp
 * and a number (PCI Firmware 3.2, 4.1.3). Not a parser of the byte code, just that one form. */
static bool acpi_cba(uint64_t *base) {
    enum { RETURN_OP = 0xa4 };
    uint32_t len = 0;
    const uint8_t *dsdt = acpi_dsdt(&len);
    for (uint32_t i = HEADER_LEN; dsdt != NULL && i + 15 <= len; i++) {
        if (memcmp(dsdt + i, "_CBA", 4) == 0 && dsdt[i + 5] == RETURN_OP) {
            return acpi_number(dsdt + i + 6, base);
        }
    }
    return false;
}

bool acpi_ecam(uint64_t *base, uint32_t *buses) {
    uint32_t len;
    const uint8_t *mcfg = acpi_find("MCFG", &len);
    if (mcfg == NULL) {
        *buses = 256;
        return acpi_cba(base);
    }
    if (len < MCFG_FIRST + 16 || get(mcfg + MCFG_FIRST + 8, 2) != 0) {
        return false;
    }
    const uint8_t first = mcfg[MCFG_FIRST + 10], last = mcfg[MCFG_FIRST + 11];
    *base = get(mcfg + MCFG_FIRST, 8);
    *buses = last + 1u;
    return first == 0;
}

static bool acpi_port_is_ours(uint64_t port, unsigned width) {
    const uint64_t first = port < ACPI_PORT_HIGH ? ACPI_PORT_LOW : ACPI_PORT_HIGH;
    return port >= first && port + width <= first + ACPI_PORT_COUNT;
}

static bool acpi_mmio_is_ours(uint64_t addr, unsigned width) {
    return addr >= ACPI_MMIO_START && addr <= (1ull << 32) - width && addr % width == 0;
}

/* The first number of the package \_S5: what to write to the sleep type field. Not a parser of the
 * byte code, just the one form that firmware writes: NameOp _S5_ PackageOp length count number. */
static bool acpi_sleep_type(const uint8_t *dsdt, uint32_t len, uint8_t *type) {
    enum { PACKAGE_OP = 0x12, BYTE_PREFIX = 0x0a, ZERO_OP = 0, ONE_OP = 1 };
    for (uint32_t i = HEADER_LEN; i + 8 <= len; i++) {
        if (memcmp(dsdt + i, "_S5_", 4) != 0 || dsdt[i + 4] != PACKAGE_OP) {
            continue;
        }
        const uint32_t number = i + 5 + (dsdt[i + 5] >> 6) + 2; /* after length and count */
        if (number + 1 < len && dsdt[number] == BYTE_PREFIX) {
            *type = dsdt[number + 1] & 7;
            return true;
        }
        *type = number < len ? dsdt[number] : UINT8_MAX;
        return *type == ZERO_OP || *type == ONE_OP;
    }
    return false;
}

bool acpi_power_off(struct acpi_power_off *how) {
    uint32_t len, dsdt_len;
    uint8_t type;
    const uint8_t *fadt = acpi_find("FACP", &len);
    const uint8_t *dsdt = acpi_dsdt(&dsdt_len);
    if (fadt == NULL || dsdt == NULL || !acpi_sleep_type(dsdt, dsdt_len, &type)) {
        return false;
    }
    if (get(fadt + FADT_FLAGS, 4) & FADT_FLAG_HW_REDUCED) {
        if (len < FADT_SLEEP_CONTROL + GAS_LEN) {
            return false;
        }
        *how = (struct acpi_power_off){
            .addr = get(fadt + FADT_SLEEP_CONTROL + 4, 8),
            .is_io = fadt[FADT_SLEEP_CONTROL] == 1,
            .value = (uint16_t)(type << 2 | SLEEP_CONTROL_ENABLE),
            .width = 1,
        };
    } else {
        *how = (struct acpi_power_off){
            .addr = get(fadt + FADT_PM1A_CONTROL, 4),
            .is_io = true,
            .value = (uint16_t)(type << 10 | PM1_SLEEP_ENABLE),
            .width = 2,
        };
    }
    return how->is_io ? acpi_port_is_ours(how->addr, how->width)
                      : acpi_mmio_is_ours(how->addr, how->width);
}

/* QEMU's generic event device (5.6.9; QEMU's docs/specs/acpi_hw_reduced_hotplug): the operation region
 * EREG in system memory is its selector. Not a parser of the byte code, just that one form (20.2.5.2):
 * OpRegionOp EREG SystemMemory and a number. */
static bool acpi_event_selector(uint64_t *addr) {
    static const uint8_t region[] = {0x5b, 0x80, 'E', 'R', 'E', 'G', 0};
    uint32_t len = 0;
    const uint8_t *dsdt = acpi_dsdt(&len);
    for (uint32_t i = HEADER_LEN; dsdt != NULL && i + sizeof(region) + 9 <= len; i++) {
        if (memcmp(dsdt + i, region, sizeof(region)) == 0) {
            return acpi_number(dsdt + i + sizeof(region), addr);
        }
    }
    return false;
}

static bool acpi_reduced_button(struct acpi_power_button *button) {
    uint64_t addr;
    if (!acpi_event_selector(&addr)) {
        return false;
    }
    if (!acpi_mmio_is_ours(addr, SELECTOR_LEN)) {
        log_info("acpi: no power button: its event device at 0x%llx is out of reach",
                 (unsigned long long)addr);
        return false;
    }
    *button = (struct acpi_power_button){.selector = addr};
    return true;
}

static bool acpi_fixed_button(const uint8_t *fadt, struct acpi_power_button *button) {
    const uint64_t status = get(fadt + FADT_PM1A_EVENT, 4);
    const unsigned half = fadt[FADT_PM1_EVENT_LEN] / 2;
    if (half < PM1_REGISTER_LEN || !acpi_port_is_ours(status, half + PM1_REGISTER_LEN)) {
        log_info("acpi: no power button: its registers at port 0x%llx, %u bytes, are out of reach",
                 (unsigned long long)status, 2 * half);
        return false;
    }
    *button = (struct acpi_power_button){
        .is_fixed = true,
        .status_port = (uint16_t)status,
        .enable_port = (uint16_t)(status + half),
    };
    return true;
}

bool acpi_power_button(struct acpi_power_button *button) {
    uint32_t len;
    const uint8_t *fadt = acpi_find("FACP", &len);
    if (fadt == NULL || len < FADT_FLAGS + 4) {
        return false;
    }
    const uint64_t flags = get(fadt + FADT_FLAGS, 4);
    if (flags & FADT_FLAG_HW_REDUCED) {
        return acpi_reduced_button(button);
    }
    return !(flags & FADT_FLAG_PWR_BUTTON) && acpi_fixed_button(fadt, button);
}
