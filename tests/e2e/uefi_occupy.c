/* A UEFI application for the tests: takes the pages at the given addresses, hexadecimal numbers behind its
 * name, as firmware that keeps them for its runtime services. They stay taken when it ends. Pages that are
 * in use it takes away from whoever has them: the test has to know that nobody misses them. */
#include <efi.h>
#include <efilib.h>

EFI_STATUS efi_main(EFI_HANDLE handle, EFI_SYSTEM_TABLE *table);

EFI_STATUS efi_main(EFI_HANDLE handle, EFI_SYSTEM_TABLE *table) {
    CHAR16 **words;
    InitializeLib(handle, table);
    const INTN count = GetShellArgcArgv(handle, &words);
    for (INTN i = 1; i < count; i++) {
        EFI_PHYSICAL_ADDRESS page = xtoi(words[i]);
        EFI_STATUS status = BS->AllocatePages(AllocateAddress, EfiRuntimeServicesData, 1, &page);
        if (EFI_ERROR(status)) {
            BS->FreePages(page, 1);
            status = BS->AllocatePages(AllocateAddress, EfiRuntimeServicesData, 1, &page);
        }
        if (EFI_ERROR(status)) {
            Print(L"occupy: %s: %r\n", words[i], status);
            return status;
        }
    }
    return EFI_SUCCESS;
}
