#include "boot/config_sources.h"

#include "boot/boot_info.h"
#include "drivers/acpi.h"
#include "drivers/fw_cfg.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/smbios.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    FILE_CONFIG,
    FILE_CMDLINE,
    FILE_SMBIOS,
    FILE_COUNT,
    SMBIOS_TABLES_MAX = 65536, /* as long as a 32-bit entry point can say: all of it up to SMBIOS 2.8 */
};

/* Where firmware leaves an SMBIOS entry point, DSP0134 5.2. */
#define SMBIOS_AREA_START 0xf0000ull
#define SMBIOS_AREA_LEN 0x10000u

static const char smbios_name[] = "SMBIOS";

struct config_error {
    char *text;
    size_t size;
};

static int PRINTF_LIKE(2, 3) config_sources_fail(struct config_error *error, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(error->text, error->size, format, args);
    va_end(args);
    return ERR_CONFIG;
}

/* The whole file as text; empty when there is no such file. */
static int read_text(const struct fw_cfg_file *file, char text[BOOT_CONFIG_MAX],
                     struct config_error *error) {
    text[0] = '\0';
    if (file->select == 0) {
        return ERR_OK;
    }
    if (file->size >= BOOT_CONFIG_MAX) {
        return config_sources_fail(error, "%s: longer than %u bytes", file->name,
                                   BOOT_CONFIG_MAX - 1);
    }
    if (fw_cfg_read(file, text, file->size) != ERR_OK) {
        return config_sources_fail(error, "%s: cannot be read", file->name);
    }
    text[file->size] = '\0';
    if (strlen(text) != file->size) {
        return config_sources_fail(error, "%s: no text, byte %zu is a zero", file->name,
                                   strlen(text));
    }
    return ERR_OK;
}

static int take_words(const void *table, size_t len, char words[BOOT_CONFIG_MAX],
                      struct config_error *error) {
    switch (smbios_words(table, len, words, BOOT_CONFIG_MAX)) {
    case SMBIOS_OK:
        break;
    case SMBIOS_TOO_LONG:
        return config_sources_fail(error, "%s: the strings for Ringlet are longer than %u bytes",
                                   smbios_name, BOOT_CONFIG_MAX - 1);
    case SMBIOS_DAMAGED:
        log_info("smbios: table is damaged or longer than %zu bytes, its rest is not looked at", len);
        break;
    }
    return ERR_OK;
}

/* QEMU shows the structure table in a file, whatever its firmware does with it. */
static int words_of_file(const struct fw_cfg_file *file, char words[BOOT_CONFIG_MAX],
                         struct config_error *error) {
    static uint8_t tables[SMBIOS_TABLES_MAX] __attribute__((section(".bss.large.smbios_tables")));
    const uint32_t len = (uint32_t)min_u64(file->size, sizeof(tables));
    if (fw_cfg_read(file, tables, len) != ERR_OK) {
        return config_sources_fail(error, "%s: %s: cannot be read", smbios_name, file->name);
    }
    return take_words(tables, len, words, error);
}

/* Others leave it in memory, or have none. */
static int words_of_memory(char words[BOOT_CONFIG_MAX], struct config_error *error) {
    struct smbios_table where;
    const uint8_t *area = acpi_memory(SMBIOS_AREA_START, SMBIOS_AREA_LEN);
    if (area == NULL || !smbios_find(area, SMBIOS_AREA_LEN, &where)) {
        return ERR_OK;
    }
    const uint8_t *table = acpi_memory(where.addr, where.len);
    if (table == NULL) {
        log_info("smbios: table at %#llx, %u bytes, is in memory that is not mapped",
                 (unsigned long long)where.addr, (unsigned)where.len);
        return ERR_OK;
    }
    return take_words(table, where.len, words, error);
}

static int read_words(const struct fw_cfg_file *file, char words[BOOT_CONFIG_MAX],
                      struct config_error *error) {
    words[0] = '\0';
    return file->select != 0 ? words_of_file(file, words, error) : words_of_memory(words, error);
}

int config_sources(struct config_source sources[CONFIG_SOURCES_MAX], unsigned *count, char *text,
                   size_t size) {
    static char config[BOOT_CONFIG_MAX], cmdline[BOOT_CONFIG_MAX], words[BOOT_CONFIG_MAX];
    struct config_error error = {text, size};
    struct fw_cfg_file files[FILE_COUNT] = {
        [FILE_CONFIG] = {.name = "opt/ringlet/config"},
        [FILE_CMDLINE] = {.name = "opt/ringlet/cmdline"},
        [FILE_SMBIOS] = {.name = "etc/smbios/smbios-tables"},
    };
    const bool has_words = boot_info.oem_strings[0] != '\0'; /* from the loader, which sees more */

    int err = fw_cfg_find(files, FILE_COUNT);
    if (err != ERR_OK && err != ERR_ABSENT) {
        return config_sources_fail(&error, "fw_cfg: the directory of files cannot be read");
    }
    err = read_text(&files[FILE_CONFIG], config, &error);
    if (err == ERR_OK) {
        err = read_text(&files[FILE_CMDLINE], cmdline, &error);
    }
    if (err == ERR_OK && !has_words) {
        err = read_words(&files[FILE_SMBIOS], words, &error);
    }
    const struct config_source all[] = {
        {"ringlet.cfg", boot_info.config_file},
        {smbios_name, has_words ? boot_info.oem_strings : words},
        {files[FILE_CONFIG].name, config},
        {files[FILE_CMDLINE].name, cmdline},
        {NULL, boot_info.cmdline},
    };
    _Static_assert(ARRAY_SIZE(all) <= CONFIG_SOURCES_MAX, "as many as the caller has room for");
    memcpy(sources, all, sizeof(all));
    *count = ARRAY_SIZE(all);
    return err;
}
