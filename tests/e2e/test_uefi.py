"""Booting from UEFI firmware: OVMF starts the application from a FAT volume.

Where a boot manager would pass load options, the UEFI shell does it: its startup.nsh is on the volume.
"""
import os
import re
import shutil
import tempfile

from case import EACH, MODES, TCG, case
from guest import ROOT, UEFI_IMAGE
from networks import UserNet
from traffic import Pinger, pattern, tcp_echo, udp_answers, udp_echo, udp_socket

OCCUPY = os.path.join(ROOT, "build", "uefi", "occupy.efi")
STALE = os.path.join(ROOT, "build", "uefi", "stale.efi")
MACHINES = ["pc", "q35"]

DEVICES_START = 0xc0000000  # from here on device registers are mapped

STATIC = "ip=10.0.2.15/24"
ONE_SECOND = f"{STATIC} ip6=off seconds=1"

# ringlet.cfg, and what the line on firmware's console has to name.
BAD_FILES = {
    b"colour=blue": "config: ringlet.cfg: colour: unknown key",
    b"app=ping\n": "config: app=ping: needs dst=",
    b"app=echo verbose # but\n": "ringlet.cfg: verbose: not of the form key=value",
    b"mode=" + b"x" * 300: "ringlet.cfg: mode=xxxx",
    b"# \n" * 1366: "ringlet.cfg is longer than 4095 bytes",
    "app=echo".encode("utf-16"): "ringlet.cfg is not ASCII or UTF-8 text",
}


def volume(t, files):
    """A directory with those files: path from its root, and contents or the file to copy."""
    folder = tempfile.mkdtemp(prefix="ringlet-uefi-")
    t.stack.callback(shutil.rmtree, folder, ignore_errors=True)
    for name, contents in files.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if isinstance(contents, bytes):
            with open(path, "wb") as f:
                f.write(contents)
        else:
            shutil.copy(contents, path)
    return folder


def boot(t, files, nics=None, **options):
    """A guest that boots from a volume with those files."""
    t.need_ovmf()
    return t.guest(nics=nics or [(UserNet(), None)], firmware="ovmf", disk=volume(t, files),
                   **options)


def boot_from_shell(t, script, files, **options):
    """The same by way of the UEFI shell, which runs the script on the volume."""
    lines = "".join(line.strip() + "\r\n" for line in script.strip().splitlines())
    return boot(t, {"startup.nsh": lines.encode(), **files}, **options)


def boots(guest):
    """Up to the end of a workload that ends by itself, from UEFI."""
    event = guest.wait_event("boot", limit=50)
    assert event["boot"] == "uefi", event
    assert guest.wait_exit() == 0
    assert guest.wait_event("ready")["ip"] == "10.0.2.15"


def refuses(guest, named):
    """One error line on firmware's console, status 2, and no kernel."""
    assert guest.wait_exit(limit=50) == 2
    errors = [line for line in guest.lines if line.startswith("error:")]
    assert len(errors) == 1 and named in errors[0], errors
    assert not guest.events, guest.events


@case(accel=EACH)
def kvm_or_tcg(t):
    """The simplest boot, for a KVM that can."""
    t.need_ovmf()
    guest = t.user_guest("ip=dhcp", firmware="ovmf")
    assert guest.wait_event("boot")["boot"] == "uefi"
    udp_answers(guest)


@case(accel=TCG, machine=MACHINES, mode=MODES)
def echo(t, machine, mode):
    """Ping and echo as after a PVH boot, at both sizes of a frame and over TCP."""
    t.need_ovmf()
    guest = t.tap_guest(f"mode={mode}", machine=machine, firmware="ovmf")
    event = guest.wait_event("boot")
    assert (event["boot"], event["machine"]) == ("uefi", machine), event
    assert 56 <= event["memory_mib"] <= 64, event
    with Pinger(guest.ns, guest.ip) as pinger:
        pinger.answers()
        for size in (0, 1, 56, 1472):
            pinger.ping(pattern(size))
    udp_answers(guest)
    with udp_socket(guest) as s:
        for size in (0, 1, 1000, 1472):
            udp_echo(s, pattern(size))
    tcp_echo(guest, pattern(1 << 20))


@case(accel=TCG, mem=["48M", "3584M", "8G"], machine=MACHINES)
def memory(t, mem, machine):
    """Where firmware leaves the memory differs, and with it the arena, and where it puts the BARs."""
    t.need_ovmf()
    guest = t.user_guest(STATIC, machine=machine, firmware="ovmf", mem=mem)
    mib = int(mem[:-1]) * (1024 if mem.endswith("G") else 1)
    event = guest.wait_event("boot")
    assert mib - 8 <= event["memory_mib"] <= mib, event
    udp_answers(guest)


@case(accel=TCG, mode=MODES)
def behind_bridge(t, mode):
    """A NIC whose addresses firmware has put above 4 GiB, behind a root port."""
    t.need_ovmf()
    net = UserNet()
    guest = t.guest(f"{STATIC} mode={mode}", machine="q35", firmware="ovmf", mem="8G", extra=[
        "-device", "pcie-root-port,id=rp,chassis=1", "-netdev", net.netdev(0),
        "-device", "virtio-net-pci,netdev=n0,bus=rp,romfile="])
    guest.net = net
    guest.wait_ready()
    udp_answers(guest)


@case(accel=TCG)
def used_device(t):
    """A NIC that firmware's own driver has brought up and used before."""
    net = UserNet()
    guest = boot_from_shell(t, f"""connect -r
        ifconfig -s eth0 dhcp
        stall 3000000
        ifconfig -l eth0
        fs0:ringlet.efi {STATIC}""", {"ringlet.efi": UEFI_IMAGE}, nics=[(net, None)])
    guest.net = net
    guest.wait_line("10.0.2.15", limit=50)
    guest.wait_ready()
    udp_answers(guest)


@case(accel=TCG, where=["beside", "root"])
def config_file(t, where):
    """ringlet.cfg beside the image comes before the one in the root; comments and ends of lines."""
    text = b"\xef\xbb\xbf# f\xc3\xbcr alle\r\n" + ONE_SECOND.replace(" ", "\r\n").encode()
    files = {"ringlet.cfg": text} if where == "root" else {
        "EFI/BOOT/ringlet.cfg": text, "ringlet.cfg": b"colour=blue"}
    boots(boot(t, {"EFI/BOOT/BOOTX64.EFI": UEFI_IMAGE, **files}))


@case(accel=TCG)
def no_config(t):
    """Neither file nor load options: the defaults."""
    t.need_ovmf()
    guest = t.user_guest(firmware="ovmf")
    assert guest.wait_ready()["app"] == "echo"
    udp_answers(guest)


@case(accel=TCG)
def load_options(t):
    """Words behind the image's name, here with a blank in it; they win over those in the file."""
    guest = boot_from_shell(t, f"""fs0:
        cd boot
        "ringlet 1.efi" {STATIC} mode=irq""", {
            "boot/ringlet 1.efi": UEFI_IMAGE,
            "boot/ringlet.cfg": b"mode=poll ip=10.9.9.9/24 ip6=off seconds=1"})
    boots(guest)
    assert guest.wait_event("device")["mode"] == "irq"


@case(accel=TCG)
def bad_load_options(t):
    refuses(boot_from_shell(t, "fs0:ringlet.efi colour=blue", {"ringlet.efi": UEFI_IMAGE}),
            "config: colour: unknown key")


@case(accel=TCG, text=BAD_FILES)
def bad_file(t, text):
    refuses(boot(t, {"EFI/BOOT/BOOTX64.EFI": UEFI_IMAGE, "ringlet.cfg": text}), BAD_FILES[text])


@case(accel=TCG)
def file_is_directory(t):
    refuses(boot(t, {"EFI/BOOT/BOOTX64.EFI": UEFI_IMAGE, "ringlet.cfg/x": b""}),
            "ringlet.cfg is not a file")


@case(accel=TCG)
def little_memory(t):
    """No piece of memory between what firmware keeps is large enough. OVMF itself needs more than would
    be too little, and has a piece of 12 MiB at 9 MiB, from which it unpacked itself."""
    guest = boot_from_shell(t, """fs0:
        occupy.efi 1000000 1520000
        ringlet.efi""", {"ringlet.efi": UEFI_IMAGE, "occupy.efi": OCCUPY}, mem="48M")
    refuses(guest, "memory is too little: 9 MiB in one piece")


@case(accel=TCG)
def occupied(t):
    """Firmware keeps a page where the kernel goes."""
    guest = boot_from_shell(t, """fs0:
        occupy.efi 300000
        ringlet.efi""", {"ringlet.efi": UEFI_IMAGE, "occupy.efi": OCCUPY})
    refuses(guest, "firmware keeps memory that the kernel needs: 0x300000 to 0x301000")


def memory_map(guest):
    """What the shell's memmap has shown: type, first address and end of each range."""
    found = (re.match(r"(\w+) +([0-9A-F]{16})-([0-9A-F]{16}) [0-9A-F]{16} ", line)
             for line in guest.lines)
    return [(m[1], int(m[2], 16), int(m[3], 16) + 1) for m in found if m]


def mapped(guest):
    """What the page tables of the running guest map: first address, end and rights of each range."""
    found = re.findall(r"^([0-9a-f]{16})-([0-9a-f]{16}) [0-9a-f]{16} ([u-]r[w-])", guest.hmp("info mem"),
                       re.MULTILINE)
    return [(int(start, 16), int(end, 16), rights) for start, end, rights in found]


@case(accel=TCG, machine=MACHINES, mem=["48M", "256M"])
def mapping(t, machine, mem):
    """Ring 3 can write to no page of what firmware keeps, and can read the ACPI tables there."""
    guest = boot_from_shell(t, f"""fs0:
        memmap
        ringlet.efi {STATIC}""", {"ringlet.efi": UEFI_IMAGE}, machine=machine, mem=mem)
    guest.wait_event("ready", limit=50)
    gone = ("Available", "BS_Code", "BS_Data", "LoaderCode", "LoaderData")
    kept = [entry for entry in memory_map(guest) if entry[0] not in gone]
    tables = [entry for entry in kept if entry[0] == "ACPI_Recl"]
    assert tables and "RT_Data" in {name for name, _, _ in kept}, kept
    pages = mapped(guest)
    writable = [(start, end) for start, end, rights in pages
                if rights == "urw" and end <= DEVICES_START]
    assert sum(end - start for start, end in writable) > 8 << 20, pages
    for name, first, after in kept:
        both = [each for each in writable if each[0] < after and first < each[1]]
        assert not both, f"{name} {first:#x} to {after:#x} is writable: {both}"
    for _, first, after in tables:
        assert any(start <= first and after <= end and rights == "ur-"
                   for start, end, rights in pages), f"{first:#x} to {after:#x}: {pages}"


@case(accel=TCG, changes=[1, 3, 100])
def stale_map(t, changes):
    """The memory map changes between the look at it and the end of boot services: once more. A firmware
    that never stops ends the machine; the console is gone by then."""
    guest = boot_from_shell(t, f"""fs0:
        stale.efi {changes}""", {"ringlet.efi": UEFI_IMAGE, "stale.efi": STALE,
                                 "ringlet.cfg": ONE_SECOND.encode()})
    if changes < 100:
        boots(guest)
    else:
        assert guest.wait_exit(limit=50) == 2
        assert not guest.events, guest.events


@case(accel=TCG, kind=["null-write", "write-code", "run-data", "stack-overflow"])
def protection(t, kind):
    """Page tables protect as after a PVH boot."""
    t.need_ovmf()
    guest = t.guest(f"app=crash-test kind={kind}", firmware="ovmf")
    assert guest.wait_exit(limit=50) == 3
    assert guest.events_of("panic")
