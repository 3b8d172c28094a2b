#!/bin/sh
# The layers of docs/architecture.md: which folder may include what. Part of `make test`.
set -eu

fail=0
complain() {
    echo "$1" >&2
    fail=1
}

# forbid FILES-PATTERN INCLUDE-REGEX WHY
forbid() {
    for file in $1; do
        [ -f "$file" ] || continue
        found=$(grep -nE "^#include [<\"]$2" "$file" || true)
        [ -z "$found" ] || complain "$file:$found: $3"
    done
}

forbid 'lib/*.[chS]' '(drivers|net|boot)/' 'lib/ may include lib/ only'
forbid 'drivers/*.[chS]' '(net|boot)/' 'drivers/ may include lib/ and drivers/ only'
forbid 'net/*.[chS]' 'boot/' 'nothing includes boot/'
forbid 'net/*.[chS]' 'drivers/(vq_|virtio_(dev|mmio|pci|spec)|pci|msix|serial|acpi)' \
    'net/ sees the driver through virtio_net.h and clock.h'
for dir in lib drivers boot; do
    forbid "$dir/*.[chS]" '(lwip|netif)/' 'lwIP is for net/ only'
done
for file in lib/*.[chS] drivers/*.[chS] net/*.[chS] boot/*.[chS]; do
    [ "$file" = boot/uefi.c ] || forbid "$file" 'efi' 'GNU-EFI is for boot/uefi.c only'
done
# The ring code compiles hosted: nothing but itself and these headers.
for file in drivers/vq*.[ch] drivers/virtio_spec.h; do
    found=$(grep -nE '^#include "' "$file" |
        grep -vE '"(drivers/(vq.*|virtio_spec)|lib/(ring_mem|assert|util|err))\.h"' || true)
    [ -z "$found" ] || complain "$file:$found: ring code includes ring code only"
done

[ "$fail" -eq 0 ] && echo "layers: ok"
exit "$fail"
