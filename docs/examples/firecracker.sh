#!/bin/sh
# Ringlet on Firecracker: from the top of the repository, on a tap that is there.
#
#   ip tuntap add dev ringlet0 mode tap user "$USER"
#   ip addr add 10.77.0.1/24 dev ringlet0 && ip link set ringlet0 up
#   docs/examples/firecracker.sh ringlet0
#
# Firecracker boots kernels with a PVH note from version 1.12 on. Its devices are virtio-mmio; it tells the
# guest of them by words that it adds to boot_args. The console is the serial port, here the terminal.
#
# Configuration file as in Firecracker's own documents. Not run.
set -eu
tap=${1:?name of a tap}
config=$(mktemp)
trap 'rm -f "$config"' EXIT
cat > "$config" <<END
{
  "boot-source": {
    "kernel_image_path": "build/ringlet.elf",
    "boot_args": "app=echo ip=10.77.0.2/24"
  },
  "drives": [],
  "network-interfaces": [
    {"iface_id": "net0", "guest_mac": "52:54:00:00:00:02", "host_dev_name": "$tap"}
  ],
  "machine-config": {"vcpu_count": 1, "mem_size_mib": 64}
}
END
firecracker --no-api --config-file "$config"
