/* Where the configuration comes from, for the kernel and for its UEFI loader. The weakest source first, docs/manual.md says it to users:
 *
 *   ringlet.cfg          the file beside the image of a UEFI boot (boot_info.config_file)
 *   SMBIOS               OEM strings that begin with "ringlet:" (lib/smbios.h)
 *   opt/ringlet/config   a file of QEMU's fw_cfg device
 *   opt/ringlet/cmdline  another one
 *   the command line     of the loader (boot_info.cmdline) */
#ifndef BOOT_CONFIG_SOURCES_H
#define BOOT_CONFIG_SOURCES_H

#include "boot/boot_info.h"
#include "lib/config.h"

/* Gathers all of them for config_parse_sources(), empty where there is none; they stay valid as long as
 * *boot. Firmware's memory is read through acpi_memory() only: none before acpi_init(). Returns ERR_OK, or ERR_CONFIG with
 * one sentence in error: a source is there and cannot be read, is longer than BOOT_CONFIG_MAX - 1 bytes,
 * or is no text. */
int config_sources(const struct boot_info *boot, struct config_source sources[CONFIG_SOURCES_MAX],
                   unsigned *count, char *error, size_t error_size);

/* The words in an SMBIOS structure table of len bytes, at most BOOT_CONFIG_MAX - 1 bytes and a zero. Returns
 * ERR_OK, also for a damaged table (logged; what stood before the damage counts), or ERR_CONFIG with one
 * sentence in error when they are longer. */
int config_sources_smbios(const void *table, size_t len, char words[BOOT_CONFIG_MAX], char *error,
                          size_t error_size);

#endif
