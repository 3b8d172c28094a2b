#!/bin/sh
# check_image.sh DEBUG_ELF IMAGE: what must hold for every image that is built.
set -eu
debug=$1
image=$2

fail() {
    echo "$image: $1" >&2
    rm -f "$image"
    exit 1
}

# Ring 0 must run on what it has itself: a call into ring 3's code (memcpy, for instance) would run
# SSE instructions that a hypervisor which emulates ring 0 does not know.
text=$(nm "$debug" | awk '$3 == "text_start" { print $1 }')
end=$(nm "$debug" | awk '$3 == "ring0_text_end" { print $1 }')
calls=$(objdump -d --no-show-raw-insn --stop-address="0x$end" -j .text.ring0 "$debug" |
    awk '/ (call|jmp)/ { print $3 }' | grep -E '^[0-9a-f]+$' || true)
for target in $calls; do
    [ $((0x$target)) -lt $((0x$text)) ] || fail "ring 0 calls ring 3 at 0x$target"
done
! objdump -d --no-show-raw-insn -j .text.ring0 "$debug" | grep -qE '%(x|y|z)mm[0-9]|%st' ||
    fail "ring 0 uses SSE or x87"

# W^X: no segment may be both written and run.
! readelf -lW "$image" | grep -E '^ *LOAD' | grep -q 'RWE' || fail "a segment is writable and executable"
