#include "lib/smbios.h"

#include <string.h>

enum {
    STEP = 16,
    ENTRY_LEN = 0x1f, /* "_SM_": some firmware says 0x1e, see the note in 5.2.1 */
    ENTRY_LEN_MIN = 0x1e,
    ENTRY_TABLE_LEN = 0x16,
    ENTRY_TABLE_ADDR = 0x18,
    ENTRY_DMI = 0x10, /* a second anchor with a checksum of its own */
    ENTRY_DMI_LEN = 0xf,
    ENTRY64_LEN = 0x18,
    ENTRY64_TABLE_LEN = 0x0c,
    ENTRY64_TABLE_ADDR = 0x10,
    HEADER_LEN = 4, /* type, length, handle */
    TYPE_OEM_STRINGS = 11,
    TYPE_END = 127,
    OEM_COUNT = 4,
};

static const char prefix[] = "ringlet:";

static uint64_t get(const uint8_t *at, unsigned len) {
    uint64_t value = 0;
    memcpy(&value, at, len);
    return value;
}

static bool sum_is_zero(const uint8_t *bytes, size_t len) {
    uint8_t sum = 0;
    for (size_t i = 0; i < len; i++) {
        sum = (uint8_t)(sum + bytes[i]);
    }
    return sum == 0;
}

static bool smbios_entry_64(const uint8_t *entry, size_t len, struct smbios_table *table) {
    if (len < ENTRY64_LEN || memcmp(entry, "_SM3_", 5) != 0) {
        return false;
    }
    const uint8_t entry_len = entry[6];
    if (entry_len < ENTRY64_LEN || entry_len > len || !sum_is_zero(entry, entry_len)) {
        return false;
    }
    table->addr = get(entry + ENTRY64_TABLE_ADDR, 8);
    table->len = (uint32_t)get(entry + ENTRY64_TABLE_LEN, 4);
    return true;
}

static bool smbios_entry_32(const uint8_t *entry, size_t len, struct smbios_table *table) {
    if (len < ENTRY_LEN || memcmp(entry, "_SM_", 4) != 0) {
        return false;
    }
    const uint8_t entry_len = entry[5];
    if (entry_len < ENTRY_LEN_MIN || entry_len > len || !sum_is_zero(entry, entry_len) ||
        memcmp(entry + ENTRY_DMI, "_DMI_", 5) != 0 ||
        !sum_is_zero(entry + ENTRY_DMI, ENTRY_DMI_LEN)) {
        return false;
    }
    table->addr = get(entry + ENTRY_TABLE_ADDR, 4);
    table->len = (uint32_t)get(entry + ENTRY_TABLE_LEN, 2);
    return true;
}

bool smbios_entry_point(const void *entry, size_t len, struct smbios_table *table) {
    return smbios_entry_64(entry, len, table) || smbios_entry_32(entry, len, table);
}

bool smbios_find(const void *area, size_t len, struct smbios_table *table) {
    bool found = false;
    for (size_t at = 0; at < len; at += STEP) {
        const uint8_t *entry = (const uint8_t *)area + at;
        if (smbios_entry_64(entry, len - at, table)) {
            return true;
        }
        found = found || smbios_entry_32(entry, len - at, table);
    }
    return found;
}

/* Appends a string if it is for Ringlet. */
static enum smbios_result smbios_string(const char *text, char *words, size_t size) {
    const size_t prefix_len = sizeof(prefix) - 1;
    if (strncmp(text, prefix, prefix_len) != 0) {
        return SMBIOS_OK;
    }
    text += prefix_len;
    const size_t used = strlen(words);
    const size_t blank = used != 0;
    const size_t text_len = strlen(text);
    if (text_len >= size - used - blank) {
        return SMBIOS_TOO_LONG;
    }
    if (blank) {
        words[used] = ' ';
    }
    memcpy(words + used + blank, text, text_len + 1);
    return SMBIOS_OK;
}

/* The strings behind a structure's formatted area: each ends with a zero, and the set with one more, which
 * the caller has found, so all of them end. `count` is what the structure says of their number. */
static enum smbios_result smbios_strings(const char *text, unsigned count, char *words, size_t size) {
    enum smbios_result result = SMBIOS_OK;
    for (unsigned i = 0; i < count && *text != '\0' && result == SMBIOS_OK; i++) {
        result = smbios_string(text, words, size);
        text += strlen(text) + 1;
    }
    return result;
}

/* Length of a structure with its strings and their two zeroes, 0 when the table ends before. */
static size_t smbios_structure_len(const uint8_t *structure, size_t left) {
    if (left < HEADER_LEN || structure[1] < HEADER_LEN) {
        return 0;
    }
    for (size_t end = structure[1]; end + 2 <= left; end++) {
        if (structure[end] == 0 && structure[end + 1] == 0) {
            return end + 2;
        }
    }
    return 0;
}

enum smbios_result smbios_words(const void *table, size_t len, char *words, size_t size) {
    enum smbios_result result = SMBIOS_OK;
    size_t at = 0;

    words[0] = '\0';
    while (at < len && result == SMBIOS_OK) {
        const uint8_t *structure = (const uint8_t *)table + at;
        if (structure[0] == TYPE_END) { /* whole or not: some get its length wrong */
            break;
        }
        const size_t structure_len = smbios_structure_len(structure, len - at);
        if (structure_len == 0) {
            return SMBIOS_DAMAGED;
        }
        if (structure[0] == TYPE_OEM_STRINGS && structure[1] > OEM_COUNT) {
            result = smbios_strings((const char *)structure + structure[1], structure[OEM_COUNT],
                                    words, size);
        }
        at += structure_len;
    }
    return result;
}
