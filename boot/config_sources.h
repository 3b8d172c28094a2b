/* Where the configuration comes from. The weakest source first, docs/manual.md says it to users:
 *
 *   ringlet.cfg          the file beside the image of a UEFI boot (boot_info.config_file)
 *   SMBIOS               OEM strings that begin with "ringlet:" (lib/smbios.h)
 *   opt/ringlet/config   a file of QEMU's fw_cfg device
 *   opt/ringlet/cmdline  another one
 *   the command line     of the loader (boot_info.cmdline) */
#ifndef BOOT_CONFIG_SOURCES_H
#define BOOT_CONFIG_SOURCES_H

#include "lib/config.h"

/* Gathers all of them for config_parse_sources(), empty where there is none; they stay valid. Firmware's
 * memory is read through acpi_memory(), so acpi_init() comes before. Returns ERR_OK, or ERR_CONFIG with
 * one sentence in error: a source is there and cannot be read, is longer than BOOT_CONFIG_MAX - 1 bytes,
 * or is no text. */
int config_sources(struct config_source sources[CONFIG_SOURCES_MAX], unsigned *count, char *error,
                   size_t error_size);

#endif
