"""What a guest in QEMU is booted from: the kernel, or a disk image; for run-guest."""
import os

from guest_net import EXIT_USAGE, Failure, qemu_text

FIRMWARE = ("seabios", "qboot", "ovmf")
OVMF = "/usr/share/ovmf/OVMF.fd"  # of Debian's package ovmf
OVMF_MEMORY = "256M"
OVMF_MACHINES = ("pc", "q35")


def kind(path):
    """What the file is, by its contents: kernel, raw, qcow2 or iso."""
    try:
        with open(path, "rb") as f:
            head = f.read(0x8006)
    except OSError as error:
        raise Failure(EXIT_USAGE, f"--image {path}: {error.strerror}; make builds it") from None
    for name, at, magic in (("kernel", 0, b"\x7fELF"), ("qcow2", 0, b"QFI\xfb"),
                            ("iso", 0x8001, b"CD001"), ("raw", 512, b"EFI PART")):
        if head[at:at + len(magic)] == magic:
            return name
    raise Failure(EXIT_USAGE, f"--image {path}: neither a kernel nor a disk image of make image")


def default_firmware(image_kind):
    return "qboot" if image_kind == "kernel" else "ovmf"


def default_memory(image_kind):
    return "64M" if image_kind == "kernel" else OVMF_MEMORY


def check_firmware(image, image_kind, firmware, machine):
    """Raises Failure when the firmware cannot boot the image on the machine."""
    if (image_kind == "kernel") == (firmware == "ovmf"):
        raise Failure(EXIT_USAGE, f"--firmware {firmware} does not boot {image}: disk images need "
                                  "ovmf, the kernel seabios or qboot")
    if firmware == "ovmf" and machine not in OVMF_MACHINES:
        raise Failure(EXIT_USAGE, f"--machine {machine} cannot boot disk images: "
                                  f"{' and '.join(OVMF_MACHINES)} can")
    if firmware == "ovmf" and not os.path.isfile(OVMF):
        raise Failure(EXIT_USAGE, f"{OVMF} is not there (package ovmf): make deps")


def options(image, image_kind, words):
    """QEMU's options for what is booted, and where it finds its words: firmware hands none to a disk."""
    if image_kind == "kernel":
        return ["-kernel", image] + (["-append", words] if words else [])
    iso = image_kind == "iso"
    drive = f"file={qemu_text(image)},if=none,id=disk,"
    drive += "format=raw,media=cdrom,readonly=on" if iso else f"format={image_kind},snapshot=on"
    device = "ide-cd" if iso else "virtio-blk-pci"
    chosen = ["-drive", drive, "-device", f"{device},drive=disk,bootindex=0"]
    if words:
        chosen += ["-fw_cfg", f"name=opt/ringlet/cmdline,string={qemu_text(words)}"]
    return chosen
