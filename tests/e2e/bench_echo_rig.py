"""What bench_echo.py measures with: a guest with Linux or Ringlet, alone on one core with all of QEMU, and the
load generators alone on another.

Both guests have the same machine, memory and device on the same kind of tap. The Linux guest is Debian's
cloud kernel as it comes in its package, with an initramfs that holds the modules of the device and
one program, linux_init.c.
"""
import glob
import os
import select
import socket
import struct
import time

import bench_host as host
import guest as g
import networks
from load import run_load, run_tcp_load
from traffic import checksum, udp_answers

MACHINE = "q35"  # on a microvm, which has neither PIT nor HPET, the Linux kernel finds no clock under TCG
MEMORY = "256M"
MAC = "52:54:00:12:34:56"
TIMEOUT_MS = 1000  # a request without an answer for so long is lost
PING_INTERVAL = 0.003  # seconds; how exact the time of the first answer is
BOOT_LIMIT = 60.0
KERNEL_RELEASE = "6.1."  # what it begins with
LINUX_TREE = os.path.join(g.ROOT, "build", "deps", "linux")
LINUX_INIT = os.path.join(g.ROOT, "build", "linux_init")
INITRAMFS = os.path.join(g.ROOT, "build", "linux_initramfs")
MODULES = ("drivers/virtio/virtio_ring", "drivers/virtio/virtio", "drivers/virtio/virtio_pci_modern_dev",
           "drivers/virtio/virtio_pci_legacy_dev", "drivers/virtio/virtio_pci", "net/core/failover",
           "drivers/net/net_failover", "drivers/net/virtio_net")
# The kernel as Debian has it, but: no console, no locks for processors that never come, and none of the waits in
# which it makes sure that emulated timers work.
LINUX_WORDS = ("quiet nr_cpus=1 tsc=reliable no_timer_check nowatchdog audit=0 cryptomgr.notests "
               "8250.nr_uarts=1 i8042.nopnp i8042.noaux i8042.nokbd panic=-1")
# Without protection that emulation has to pay for: SMAP costs TCG something at each copy from a program.
LINUX_BARE = "mitigations=off clearcpuid=smap"

ROWS = {  # name: generator and its options; "ping" is measured while a guest starts
    "udp-1": ("udp", {"size": 64, "window": 1}),
    "udp-32": ("udp", {"size": 64, "window": 32}),
    "udp-32-1400": ("udp", {"size": 1400, "window": 32}),
    "tcp-1": ("echo", {"size": 64, "depth": 1}),
    "tcp-32": ("echo", {"size": 64, "depth": 32}),
    "tcp-16x1": ("echo", {"size": 64, "depth": 1, "connections": 16}),
    "http": ("http", {}),
    "bulk-to": ("up", {}),
    "bulk-from": ("down", {}),
    "bulk-echo": ("through", {}),
    "ping": None,
}


# ---- The Linux guest ----

def linux_kernel():
    """The kernel's file and the folder of its modules."""
    found = glob.glob(os.path.join(LINUX_TREE, "boot", "vmlinuz-*"))
    if len(found) != 1:
        raise g.GuestError(f"{LINUX_TREE}: no kernel; tools/deps bench")
    release = os.path.basename(found[0]).removeprefix("vmlinuz-")
    if not release.startswith(KERNEL_RELEASE):
        raise g.GuestError(f"kernel {release}, and {KERNEL_RELEASE}* is what is to be measured")
    return found[0], os.path.join(LINUX_TREE, "lib", "modules", release, "kernel")


def cpio_entry(number, name, mode, data=b""):
    """One file of an archive in the format newc."""
    name = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def write_initramfs():
    """The program and the modules as /modules/0, 1 ..., in the order in which they are loaded."""
    def contents(path):
        with open(path, "rb") as f:
            return f.read()

    _, modules = linux_kernel()
    files = [("init", 0o100755, contents(LINUX_INIT)), ("modules", 0o040755, b"")]
    files += [(f"modules/{i}", 0o100644, contents(os.path.join(modules, f"{name}.ko")))
              for i, name in enumerate(MODULES)]
    with open(INITRAMFS, "wb") as f:
        for number, entry in enumerate([*files, ("TRAILER!!!", 0, b"")]):
            f.write(cpio_entry(number, *entry))


# ---- A running guest ----

class Station:
    """A guest on a tap, started on the first core; `first_reply_ms` is how long it took from QEMU's start to
    the first answer to a ping."""

    def __init__(self, column, firmware, cores):
        self._cores = cores
        self._ns = networks.Namespace()
        self.guest = None
        try:
            self._tap = self._ns.add_tap()
            # Not asked for during a measurement, and no waiting for the next ARP request before.
            self._ns.add_neighbour(self._tap, self._tap.guest, MAC)
            self.guest = self._start(column, firmware)
            self.first_reply_ms = first_reply_ms(self._ns, self._tap.guest, self.guest)
            self.guest.wait_ready(BOOT_LIMIT)
            self.guest.ns, self.guest.ip = self._ns, self._tap.guest
            udp_answers(self.guest)
        except BaseException:
            self.close()
            raise

    def _start(self, column, firmware):
        address = self._tap.guest
        if column.kind == "linux":
            image, _ = linux_kernel()
            words = " ".join(filter(None, (LINUX_WORDS, column.words, f"-- {address} 24")))
            extra = ["-initrd", INITRAMFS]
        else:
            image, extra = column.image, []
            words = f"ip={address}/24 ip6=off {column.words}".strip()
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, self._cores[:1])  # QEMU takes it over, with all threads it makes
        try:
            return g.Guest(column.accel, words, [(self._tap, f"mac={MAC}")], machine=MACHINE,
                           firmware=firmware, mem=MEMORY, namespace=self._ns, image=image,
                           extra=extra)
        finally:
            os.sched_setaffinity(0, before)

    def close(self):
        if self.guest is not None:
            self.guest.close()
        self._ns.close()

    def measure(self, row, seconds):
        """What the generator reports, and what QEMU, others and the hypervisor took meanwhile, in percent of a
        core."""
        generator, options = ROWS[row]
        options = {**options, "seconds": seconds, "timeout_ms": TIMEOUT_MS}
        before = self._clocks()
        if generator == "udp":
            load = run_load(self.guest.ip, self._ns, self._cores[1:], **options)
        else:
            load = run_tcp_load(generator, self.guest.ip, self._ns, self._cores[1:], **options)
        wall, guest, busy, steal = (new - old for old, new in zip(before, self._clocks()))
        return {**load, "guest": round(100 * guest / wall, 1),
                "others": round(100 * (busy - guest - 1000 * load["cpu_us"]) / wall, 1),
                "stolen": round(100 * steal / wall, 1)}

    def _clocks(self):
        """Time, what QEMU ran, what the machine ran, and what it was denied."""
        machine = host.machine_ns()
        pid = self.guest.process.pid
        return (time.monotonic_ns(), host.cpu_ns(pid, host.threads(pid)), machine["busy_ns"],
                machine["steal_ns"])


def first_reply_ms(ns, address, guest):
    """Pings without pause until one is answered. Any answer counts: those sent before the guest is there wait
    in the tap."""
    request = struct.pack("!BBHHH", 8, 0, 0, os.getpid() & 0xffff, 1)
    request = request[:2] + struct.pack("!H", checksum(request)) + request[4:]
    deadline = guest.started + BOOT_LIMIT
    with ns.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as s:
        while time.monotonic() < deadline and guest.running():
            s.sendto(request, (address, 0))
            while select.select([s], [], [], PING_INTERVAL)[0]:
                packet = s.recv(2048)
                message = packet[(packet[0] & 15) * 4:]
                if message[:1] == b"\0" and message[4:8] == request[4:8]:
                    return round((time.monotonic() - guest.started) * 1000, 1)
    raise g.GuestError("no ping was answered: " + " ".join(guest.tail(3)))
