/* Words for Ringlet among the OEM strings of SMBIOS: what hypervisors hand to a guest as text.
 *
 * DSP0134 (SMBIOS 3.x): 5.2.1 and 5.2.2 entry points, 6.1 structures and their strings, 7.12 OEM Strings
 * (type 11). All tables are read defensively: whoever wrote them is not trusted.
 * Pure functions on memory, for the image and for its UEFI loader. */
#ifndef LIB_SMBIOS_H
#define LIB_SMBIOS_H

#include "lib/util.h"

/* The structure table, as an entry point says: not to be trusted. */
struct smbios_table {
    uint64_t addr; /* physical */
    uint32_t len;  /* in bytes; of a 64-bit entry point the most that it can be */
};

/* The entry point at `entry`, of which len bytes can be read: "_SM3_" (64-bit) or "_SM_". False when there
 * is none, or its length or checksum is wrong. */
bool smbios_entry_point(const void *entry, size_t len, struct smbios_table *table);

/* The first sound entry point on a 16-byte step of an area, a 64-bit one if there are both (5.2: between
 * 0xf0000 and 0xfffff). False when there is none. */
bool smbios_find(const void *area, size_t len, struct smbios_table *table);

enum smbios_result {
    SMBIOS_OK,
    SMBIOS_TOO_LONG, /* the words do not fit: none of them is to be used */
    SMBIOS_DAMAGED,  /* the table ends in the midst of a structure, or one is too short to be one */
};

/* Collects what follows "ringlet:" in the OEM strings that begin so, joined by blanks. words gets at most
 * size bytes, always a zero at the end; empty when there is no such string. What stood before damage is
 * in words. */
enum smbios_result smbios_words(const void *table, size_t len, char *words, size_t size);

#endif
