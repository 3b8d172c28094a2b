/* A UEFI application for the tests: starts \ringlet.efi on a firmware whose memory map changes in the first
 * calls of ExitBootServices(), as many as the number behind its name says. */
#include <efi.h>
#include <efilib.h>

EFI_STATUS efi_main(EFI_HANDLE handle, EFI_SYSTEM_TABLE *table);

static EFI_EXIT_BOOT_SERVICES exit_boot_services;
static UINTN changes;

static EFI_STATUS EFIAPI change_and_exit(EFI_HANDLE image, UINTN key) {
    if (changes > 0) {
        EFI_PHYSICAL_ADDRESS page;
        changes--;
        BS->AllocatePages(AllocateAnyPages, EfiBootServicesData, 1, &page);
    }
    return exit_boot_services(image, key);
}

EFI_STATUS efi_main(EFI_HANDLE handle, EFI_SYSTEM_TABLE *table) {
    EFI_GUID loaded_image = LOADED_IMAGE_PROTOCOL;
    EFI_LOADED_IMAGE *own;
    EFI_HANDLE image;
    CHAR16 **words;

    InitializeLib(handle, table);
    changes = GetShellArgcArgv(handle, &words) > 1 ? Atoi(words[1]) : 0;
    exit_boot_services = BS->ExitBootServices;
    BS->ExitBootServices = change_and_exit;
    EFI_STATUS status = BS->HandleProtocol(handle, &loaded_image, (VOID **)&own);
    if (!EFI_ERROR(status)) {
        status = BS->LoadImage(FALSE, handle, FileDevicePath(own->DeviceHandle, L"\\ringlet.efi"),
                               NULL, 0, &image);
    }
    if (!EFI_ERROR(status)) {
        status = BS->StartImage(image, NULL, NULL);
    }
    Print(L"stale: %r\n", status);
    BS->ExitBootServices = exit_boot_services;
    return status;
}
