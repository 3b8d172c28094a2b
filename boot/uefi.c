/* The UEFI application (UEFI 2.10): the kernel, and the loader that starts it from firmware.
 *
 * The loader fills struct boot_info, checks the configuration while firmware's console can still show what
 * is wrong with it, ends boot services, and enters the kernel through uefi_enter.S. The kernel is linked at
 * fixed addresses, where boot services may still have memory, so it is put there after their end. Runtime
 * services are not used after that: the kernel neither maps them nor overwrites their memory.
 *
 * Firmware takes interrupts on this code's stack, and puts it anywhere: all of it, the C library included,
 * is position independent and built without a red zone. */
#include "boot/load_options.h"
#include "boot/memory.h"
#include "boot/uefi_jump.h"
#include "lib/assert.h"
#include "lib/config.h"
#include "lib/err.h"
#include "lib/exit.h"
#include "lib/io.h"
#include "lib/log.h"

#include <efi.h>
#include <efilib.h>
#include <string.h>

#define TWO_MIB (2ull << 20)
#define FOUR_GIB (1ull << 32)
#define CONFIG_FILE "ringlet.cfg"

enum {
    PORT_DEBUG_EXIT = 0xf4,
    READING_TIME_US = 3000000,
    EXIT_TRIES = 8,
    MAP_SPARE = 64, /* descriptors that the memory map may grow by, as allocations split others */
    CONSOLE_CHUNK = 128,
};

static struct boot_info info;
static struct memory_range kernel; /* all that it takes */
static bool leaving;               /* ExitBootServices() was called, no other service may be */

/* The memory map as of the last GetMemoryMap(), and ranges found in it. */
static struct {
    uint8_t *descriptors;
    UINTN capacity, size, key, descriptor_size;
    struct memory_range *ranges; /* room for as many as there can be descriptors */
} map;

/* ---- Console and end ---- */

static void console_write(const char *bytes, size_t count) {
    CHAR16 chunk[CONSOLE_CHUNK + 3];
    unsigned used = 0;
    for (size_t i = 0; i < count && ST->ConOut != NULL; i++) {
        if (bytes[i] == '\n') {
            chunk[used++] = '\r';
        }
        chunk[used++] = (CHAR16)(unsigned char)bytes[i];
        if (used >= CONSOLE_CHUNK || i + 1 == count) {
            chunk[used] = 0;
            ST->ConOut->OutputString(ST->ConOut, chunk);
            used = 0;
        }
    }
}

static const struct log_sink console = {.write = console_write}; /* does not buffer: no more is called */

/* Ends the machine, after time to read what was said. */
static _Noreturn void stop(enum exit_status status) {
    if (!leaving) {
        BS->Stall(READING_TIME_US);
    }
    io_write8(PORT_DEBUG_EXIT, (uint8_t)status);
    RT->ResetSystem(EfiResetShutdown, EFI_SUCCESS, 0, NULL);
    while (true) {
        __asm__ volatile("cli; hlt");
    }
}

#define fail(...) (log_error(__VA_ARGS__), stop(EXIT_STATUS_USAGE))

_Noreturn void assert_fail(const char *condition, const char *file, int line) {
    log_error("%s:%d: assertion failed: %s", file, line, condition);
    stop(EXIT_STATUS_PANIC);
}

/* ---- Configuration ---- */

static void read_load_options(const EFI_LOADED_IMAGE *image) {
    if (!load_options_text(image->LoadOptions, image->LoadOptionsSize, info.cmdline,
                           sizeof(info.cmdline))) {
        fail("config: the command line is longer than %u characters", BOOT_CMDLINE_MAX - 1);
    }
}

/* The path of the configuration file in the directory of the image, NULL when that is not known. */
static CHAR16 *path_beside(const EFI_LOADED_IMAGE *image) {
    EFI_DEVICE_PATH *node = image->FilePath;
    if (node == NULL || DevicePathType(node) != MEDIA_DEVICE_PATH ||
        DevicePathSubType(node) != MEDIA_FILEPATH_DP) {
        return NULL;
    }
    CHAR16 *path = DevicePathToStr(node);
    UINTN end = path != NULL ? StrLen(path) : 0;
    while (end > 0 && path[end - 1] != '\\') {
        end--;
    }
    if (end == 0) {
        return NULL;
    }
    path[end - 1] = 0;
    return PoolPrint(L"%s\\" CONFIG_FILE, path);
}

static void read_config_text(EFI_FILE_HANDLE file) {
    static const char byte_order_mark[] = "\xef\xbb\xbf";
    const EFI_FILE_INFO *about = LibFileInfo(file);
    UINTN size = sizeof(info.config_file);
    if (about == NULL || (about->Attribute & EFI_FILE_DIRECTORY)) {
        fail("config: " CONFIG_FILE " is not a file");
    }
    const EFI_STATUS status = file->Read(file, &size, info.config_file);
    if (EFI_ERROR(status)) {
        fail("config: " CONFIG_FILE " cannot be read, status %#llx", (unsigned long long)status);
    }
    if (size == sizeof(info.config_file)) {
        fail("config: " CONFIG_FILE " is longer than %u bytes", BOOT_CONFIG_MAX - 1);
    }
    if (memchr(info.config_file, '\0', size) != NULL) {
        fail("config: " CONFIG_FILE " is not ASCII or UTF-8 text");
    }
    info.config_file[size] = '\0';
    if (strncmp(info.config_file, byte_order_mark, 3) == 0) {
        memset(info.config_file, ' ', 3);
    }
}

/* Returns false when there is none. */
static bool read_config_file(EFI_FILE_HANDLE root, CHAR16 *path) {
    EFI_FILE_HANDLE file;
    const EFI_STATUS status = root->Open(root, &file, path, EFI_FILE_MODE_READ, 0);
    if (status == EFI_NOT_FOUND) {
        return false;
    }
    if (EFI_ERROR(status)) {
        fail("config: " CONFIG_FILE " cannot be opened, status %#llx", (unsigned long long)status);
    }
    read_config_text(file);
    file->Close(file);
    return true;
}

/* Beside the image, else in the root of its volume. An image from a network has no volume. */
static void find_config_file(const EFI_LOADED_IMAGE *image) {
    EFI_FILE_HANDLE root = image->DeviceHandle != NULL ? LibOpenRoot(image->DeviceHandle) : NULL;
    if (root != NULL) {
        CHAR16 *beside = path_beside(image);
        if (beside == NULL || !read_config_file(root, beside)) {
            read_config_file(root, L"\\" CONFIG_FILE);
        }
        root->Close(root);
    }
}

/* The kernel parses the same again; here is where an error can be shown to who sits at the machine. */
static void check_config(void) {
    static struct config config;
    const struct config_source sources[] = {
        {CONFIG_FILE, info.config_file},
        {NULL, info.cmdline},
    };
    char error[320];
    if (config_parse_sources(&config, sources, ARRAY_SIZE(sources), error, sizeof(error)) !=
        ERR_OK) {
        fail("config: %s", error);
    }
}

static void find_acpi(void) {
    EFI_GUID guids[] = {ACPI_20_TABLE_GUID, ACPI_TABLE_GUID};
    for (unsigned i = 0; i < ARRAY_SIZE(guids); i++) {
        VOID *rsdp;
        if (!EFI_ERROR(LibGetSystemConfigurationTable(&guids[i], &rsdp))) {
            info.rsdp = (uintptr_t)rsdp;
            return;
        }
    }
}

/* ---- Memory ---- */

static bool is_usable(const EFI_MEMORY_DESCRIPTOR *d) {
    return d->Type == EfiConventionalMemory || d->Type == EfiLoaderCode ||
           d->Type == EfiLoaderData || d->Type == EfiBootServicesCode ||
           d->Type == EfiBootServicesData;
}

static bool is_acpi(const EFI_MEMORY_DESCRIPTOR *d) {
    return d->Type == EfiACPIReclaimMemory || d->Type == EfiACPIMemoryNVS;
}

/* Addresses of devices cannot be cached. */
static bool is_ram(const EFI_MEMORY_DESCRIPTOR *d) {
    return d->Attribute & EFI_MEMORY_WB;
}

static struct memory_range range_of(const EFI_MEMORY_DESCRIPTOR *d) {
    return (struct memory_range){d->PhysicalStart,
                                 d->PhysicalStart + d->NumberOfPages * EFI_PAGE_SIZE};
}

/* Puts the ranges of some kind into map.ranges: with their bounds moved outwards to multiples of granule,
 * joined, in order. Returns their number. */
static unsigned collect(bool (*wanted)(const EFI_MEMORY_DESCRIPTOR *), uint64_t granule) {
    unsigned count = 0;
    for (UINTN at = 0; at < map.size; at += map.descriptor_size) {
        const EFI_MEMORY_DESCRIPTOR *d = (const void *)(map.descriptors + at);
        if (wanted(d)) {
            const struct memory_range range = range_of(d);
            map.ranges[count++] = (struct memory_range){align_down(range.start, granule),
                                                        align_up(range.end, granule)};
        }
    }
    return memory_merge(map.ranges, count);
}

static _Noreturn void fail_kernel_range(void) {
    for (UINTN at = 0; at < map.size; at += map.descriptor_size) {
        const EFI_MEMORY_DESCRIPTOR *d = (const void *)(map.descriptors + at);
        const struct memory_range range = range_of(d);
        if (!is_usable(d) && range.start < kernel.end && kernel.start < range.end) {
            fail("boot: firmware keeps memory that the kernel needs: %#llx to %#llx, type %u",
                 (unsigned long long)range.start, (unsigned long long)range.end, d->Type);
        }
    }
    fail("boot: there is no memory from %#llx to %#llx, where the kernel goes",
         (unsigned long long)kernel.start, (unsigned long long)kernel.end);
}

/* Where there are more ranges than that, no table is found in the rest. */
static void plan_acpi(void) {
    const unsigned count = collect(is_acpi, TWO_MIB); /* all of a 2 MiB page becomes readable */
    info.acpi_count = 0;
    for (unsigned i = 0; i < count && info.acpi_count < BOOT_ACPI_MAX; i++) {
        const struct memory_range range = {max_u64(map.ranges[i].start, TWO_MIB),
                                           min_u64(map.ranges[i].end, BOOT_MMIO_START)};
        if (range.start < range.end) {
            info.acpi[info.acpi_count++] = range;
        }
    }
}

/* Fills boot_info from the memory map. Allocates nothing, so that the map stays true. */
static void plan_memory(void) {
    plan_acpi();
    unsigned count = collect(is_ram, EFI_PAGE_SIZE);
    info.low_ram_end = 0;
    for (unsigned i = 0; i < count; i++) {
        if (map.ranges[i].end <= FOUR_GIB) {
            info.low_ram_end = map.ranges[i].end;
        }
    }
    count = collect(is_usable, EFI_PAGE_SIZE);
    if (!memory_contains(map.ranges, count, kernel)) {
        fail_kernel_range();
    }
    info.ram_bytes = 0;
    info.arena_size = 0;
    for (unsigned i = 0; i < count; i++) {
        memory_add(&info, map.ranges[i], kernel.end, TWO_MIB);
    }
    if (!memory_is_enough(&info, kernel.end)) {
        fail("boot: the memory is too little: %u MiB in one piece are needed, the largest has %u MiB",
             (unsigned)(BOOT_MEMORY_MIN_MIB - 1 - (kernel.end >> 20)),
             (unsigned)(info.arena_size >> 20));
    }
}

static void map_init(void) {
    UINTN size = 0, descriptor_size, key;
    UINT32 version;
    BS->GetMemoryMap(&size, NULL, &key, &descriptor_size, &version);
    map.capacity = size + MAP_SPARE * descriptor_size;
    map.descriptors = AllocatePool(map.capacity);
    map.ranges = AllocatePool(map.capacity / descriptor_size * sizeof(*map.ranges));
    if (map.descriptors == NULL || map.ranges == NULL) {
        fail("boot: firmware has no memory for the memory map");
    }
}

static void map_update(void) {
    UINT32 version;
    map.size = map.capacity;
    const EFI_STATUS status =
        BS->GetMemoryMap(&map.size, (EFI_MEMORY_DESCRIPTOR *)map.descriptors, &map.key,
                         &map.descriptor_size, &version);
    if (EFI_ERROR(status)) {
        fail("boot: firmware gives no memory map, status %#llx", (unsigned long long)status);
    }
}

/* ---- Start of the kernel ---- */

/* Takes memory in which the kernel waits for its place, outside of that. */
static struct uefi_jump *stage_kernel(void) {
    EFI_PHYSICAL_ADDRESS block = FOUR_GIB - 1;
    kernel = uefi_jump_kernel();
    kernel.end = align_up(kernel.end, TWO_MIB); /* it maps the whole of its last page */
    if (EFI_ERROR(BS->AllocatePages(AllocateMaxAddress, EfiLoaderCode,
                                    EFI_SIZE_TO_PAGES(uefi_jump_size()), &block))) {
        fail("boot: firmware has no memory for the kernel, %zu bytes", uefi_jump_size());
    }
    if (block < kernel.end) { /* firmware gives the highest that it has */
        fail("boot: the memory is too little: none is free above %#llx",
             (unsigned long long)kernel.end);
    }
    return uefi_jump_prepare(block);
}

/* The map's key is stale when firmware has changed it meanwhile, also on the way out (7.4.6). */
static void end_boot_services(EFI_HANDLE image) {
    map_init();
    for (unsigned i = 0; i < EXIT_TRIES; i++) {
        map_update();
        plan_memory();
        leaving = true;
        log_set_sink(NULL);
        if (!EFI_ERROR(BS->ExitBootServices(image, map.key))) {
            return;
        }
    }
    stop(EXIT_STATUS_USAGE);
}

EFI_STATUS efi_main(EFI_HANDLE handle, EFI_SYSTEM_TABLE *table);

EFI_STATUS efi_main(EFI_HANDLE handle, EFI_SYSTEM_TABLE *table) {
    EFI_LOADED_IMAGE *image;
    EFI_GUID loaded_image = LOADED_IMAGE_PROTOCOL;

    InitializeLib(handle, table);
    log_set_sink(&console);
    BS->SetWatchdogTimer(0, 0, 0, NULL);
    log_info("Ringlet " RINGLET_VERSION ": started by UEFI firmware");
    if (EFI_ERROR(BS->HandleProtocol(handle, &loaded_image, (VOID **)&image))) {
        fail("boot: firmware does not tell where the image came from");
    }
    info.path = BOOT_UEFI;
    read_load_options(image);
    find_config_file(image);
    check_config();
    find_acpi();
    struct uefi_jump *jump = stage_kernel();
    end_boot_services(handle);
    uefi_jump_run(jump, &info);
}
