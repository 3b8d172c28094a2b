/* What is learned at boot and handed to ring 3. The one structure that every boot path fills: boot/pvh.c
 * from the start info of a PVH loader, boot/uefi.c from what firmware tells. */
#ifndef BOOT_BOOT_INFO_H
#define BOOT_BOOT_INFO_H

#include "lib/util.h"

enum boot_error {
    BOOT_OK,
    BOOT_NO_MEMORY_MAP,  /* no usable start info or memory map */
    BOOT_LITTLE_MEMORY,  /* the memory that holds the image is too small */
    BOOT_LONG_CMDLINE,   /* longer than BOOT_CMDLINE_MAX */
};

enum boot_path { BOOT_PVH, BOOT_UEFI };

enum {
    BOOT_ACPI_MAX = 8, /* ranges of memory with ACPI tables */
    BOOT_CMDLINE_MAX = 2048,
    BOOT_CONFIG_MAX = 4096, /* of ringlet.cfg and of other texts, the zero included */
    BOOT_MEMORY_MIN_MIB = 16,
};

struct memory_range {
    uint64_t start, end; /* the end is not in it */
};

struct boot_info {
    uint32_t error;      /* enum boot_error */
    uint32_t path;       /* enum boot_path */
    uint64_t tsc_start;  /* at the first instruction */
    uint64_t ram_bytes;  /* of all usable memory */
    uint64_t arena_base; /* memory for ring 3, mapped at its physical address */
    uint64_t arena_size;
    uint64_t low_ram_end; /* end of the memory below 4 GiB */
    uint64_t rsdp;        /* ACPI root pointer, 0: none */
    uint32_t acpi_count;
    struct memory_range acpi[BOOT_ACPI_MAX]; /* with ACPI tables above the ROM area, made readable in
                                              * whole 2 MiB pages; from 2 MiB to BOOT_MMIO_START */
    uint64_t pvclock;     /* address of the hypervisor's clock page, 0: none */
    char cmdline[BOOT_CMDLINE_MAX];
    char config_file[BOOT_CONFIG_MAX]; /* \ringlet.cfg of a UEFI boot, empty: none */
    char oem_strings[BOOT_CONFIG_MAX]; /* words from SMBIOS, as firmware showed it; empty: none */
};

/* Lives in memory of ring 3, written by ring 0 before ring 3 starts. */
extern struct boot_info boot_info;

/* Where firmware keeps ROMs and often its ACPI tables; readable for ring 3. */
#define BOOT_ROM_START 0xc0000ull
#define BOOT_ROM_END 0x100000ull

/* Device registers for ring 3: everything from here to 4 GiB. */
#define BOOT_MMIO_START 0xc0000000ull
#define BOOT_MMIO_END 0x100000000ull

/* I/O ports that ring 3 may assign to devices. */
enum { BOOT_PCI_IO_START = 0x1000, BOOT_PCI_IO_END = 0x4000 };

/* Symbols of the linker script. */
extern char ring0_text_start[], ring0_text_end[], ring0_data_start[], ring0_data_end[];
extern char ring0_stack_start[], ring0_stack_end[], ring0_ist_stack_start[], ring0_ist_stack_end[];
extern char text_start[], text_end[], rodata_start[], rodata_end[], data_start[], data_end[];
extern char stack_start[], stack_end[], panic_stack_start[], panic_stack_end[];
extern char large_start[], image_end[];

#endif
