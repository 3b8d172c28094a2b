/* ACPI 6.4: 5.2.5 RSDP, 5.2.7 RSDT, 5.2.8 XSDT, 5.2.9 FADT, 4.8.3 registers, 7.4.2 _Sx; PCI Firmware
 * 3.2, 4.1.2 MCFG. */
#include "drivers/acpi.h"

#include <string.h>

enum {
    HEADER_LEN = 36,
    TABLES_MAX = 64,
    TABLE_LEN_MAX = 1 << 20,
    FADT_DSDT = 40,
    FADT_PM1A_CONTROL = 64,
    FADT_FLAGS = 112,
    FADT_X_DSDT = 140,
    FADT_SLEEP_CONTROL = 244, /* a generic address structure */
    FADT_FLAG_HW_REDUCED = 1 << 20,
    GAS_LEN = 12,
    MCFG_FIRST = 44,
    PM1_SLEEP_ENABLE = 1 << 13,
    SLEEP_CONTROL_ENABLE = 1 << 5,
};

static uint64_t root;
static struct acpi_window readable[ACPI_WINDOW_COUNT];

void acpi_init(uint64_t rsdp, const struct acpi_window windows[ACPI_WINDOW_COUNT]) {
    root = rsdp;
    memcpy(readable, windows, sizeof(readable));
}

static const uint8_t *acpi_memory(uint64_t addr, uint64_t len) {
    for (unsigned i = 0; i < ACPI_WINDOW_COUNT; i++) {
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

/* A machine without MCFG says it in a method of the host bridge: MethodOp length _CBA flags ReturnOp
 * and a number (PCI Firmware 3.2, 4.1.3). Not a parser of the byte code, just that one form. */
static bool acpi_cba(uint64_t *base) {
    enum { RETURN_OP = 0xa4, DWORD_PREFIX = 0x0c, QWORD_PREFIX = 0x0e };
    uint32_t len = 0;
    const uint8_t *dsdt = acpi_dsdt(&len);
    for (uint32_t i = HEADER_LEN; dsdt != NULL && i + 15 <= len; i++) {
        if (memcmp(dsdt + i, "_CBA", 4) != 0 || dsdt[i + 5] != RETURN_OP) {
            continue;
        }
        *base = get(dsdt + i + 7, dsdt[i + 6] == QWORD_PREFIX ? 8 : 4);
        return dsdt[i + 6] == QWORD_PREFIX || dsdt[i + 6] == DWORD_PREFIX;
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

/* The first number of the package \_S5: what to write to the sleep type field. Not a parser of the
 * byte code, just the one form that firmware writes: NameOp _S5_ PackageOp length count number. */
static bool acpi_sleep_type(const uint8_t *dsdt, uint32_t len, uint8_t *type) {
    enum { PACKAGE_OP = 0x12, BYTE_PREFIX = 0x0a, ZERO_OP = 0, ONE_OP = 1 };
    for (uint32_t i = HEADER_LEN; i + 12 < len; i++) {
        if (memcmp(dsdt + i, "_S5_", 4) != 0 || dsdt[i + 4] != PACKAGE_OP) {
            continue;
        }
        const uint32_t number = i + 5 + (dsdt[i + 5] >> 6) + 2; /* after length and count */
        if (number + 1 >= len) {
            return false;
        }
        if (dsdt[number] == BYTE_PREFIX) {
            *type = dsdt[number + 1] & 7;
            return true;
        }
        *type = dsdt[number];
        return dsdt[number] == ZERO_OP || dsdt[number] == ONE_OP;
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
    return how->addr != 0;
}
