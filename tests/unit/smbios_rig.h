/* SMBIOS as firmware would write it: structures one behind the other, and entry points. */
#ifndef TESTS_UNIT_SMBIOS_RIG_H
#define TESTS_UNIT_SMBIOS_RIG_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { RIG_OEM_STRINGS = 11, RIG_END = 127, RIG_TABLE_MAX = 200000 };

struct smbios_rig {
    uint8_t bytes[RIG_TABLE_MAX];
    size_t len;
};

/* A structure with `formatted` bytes of formatted area, of which the fifth is `fifth` (type 11: the number of
 * strings), and strings, each of which ends with '|'. */
static inline void rig_structure(struct smbios_rig *rig, uint8_t type, uint8_t formatted, uint8_t fifth,
                                 const char *strings) {
    uint8_t *at = rig->bytes + rig->len;
    memset(at, 0xee, formatted);
    at[0] = type;
    at[1] = formatted;
    if (formatted > 4) {
        at[4] = fifth;
    }
    rig->len += formatted;
    for (const char *c = strings; *c != '\0'; c++) {
        rig->bytes[rig->len++] = (uint8_t)(*c == '|' ? '\0' : *c);
    }
    if (strings[0] == '\0') {
        rig->bytes[rig->len++] = 0;
    }
    rig->bytes[rig->len++] = 0;
}

static inline void rig_put(uint8_t *at, unsigned len, uint64_t value) {
    memcpy(at, &value, len);
}

static inline void rig_checksum(uint8_t *at, uint8_t *sum, size_t len) {
    uint8_t total = 0;
    *sum = 0;
    for (size_t i = 0; i < len; i++) {
        total = (uint8_t)(total + at[i]);
    }
    *sum = (uint8_t)-total;
}

/* DSP0134 5.2.1 and 5.2.2 */
static inline void rig_entry_32(uint8_t *at, uint32_t table, uint16_t len) {
    memset(at, 0, 0x1f);
    memcpy(at, "_SM_", 4);
    at[5] = 0x1f;
    at[6] = 2;
    at[7] = 8;
    memcpy(at + 0x10, "_DMI_", 5);
    rig_put(at + 0x16, 2, len);
    rig_put(at + 0x18, 4, table);
    rig_checksum(at + 0x10, at + 0x15, 0xf);
    rig_checksum(at, at + 4, 0x1f);
}

static inline void rig_entry_64(uint8_t *at, uint64_t table, uint32_t len) {
    memset(at, 0, 0x18);
    memcpy(at, "_SM3_", 5);
    at[6] = 0x18;
    at[7] = 3;
    rig_put(at + 0xc, 4, len);
    rig_put(at + 0x10, 8, table);
    rig_checksum(at, at + 5, 0x18);
}

#endif
