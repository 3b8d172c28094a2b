#!/bin/sh
# Ringlet on Cloud Hypervisor: from the top of the repository, on a tap that is there.
#
#   ip tuntap add dev ringlet0 mode tap user "$USER"
#   ip addr add 10.77.0.1/24 dev ringlet0 && ip link set ringlet0 up
#   docs/examples/cloud-hypervisor.sh ringlet0
#
# Cloud Hypervisor boots a kernel with a PVH note directly. Other ways, with the same other options:
#   a disk image:           --firmware CLOUDHV.fd --disk path=build/ringlet.img,readonly=on
#   words without cmdline:  --platform 'oem_strings=[ringlet:app=echo]'
#   a vhost-user switch:    --memory size=64M,shared=on --net vhost_user=true,socket=PATH
#
# Options as in Cloud Hypervisor's own documents (docs/networking.md, smbios.md, uefi.md). Not run.
set -eu
exec cloud-hypervisor --kernel build/ringlet.elf --cmdline 'app=echo ip=10.77.0.2/24' \
    --cpus boot=1 --memory size=64M --serial tty --console off \
    --net "tap=${1:?name of a tap},mac=52:54:00:00:00:02"
