"""Networks for guests: QEMU's own, a wire between two guests, taps in a namespace.

Everything made here belongs to an object with close().
"""
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading

from guest import ROOT, GuestError

sys.path.append(os.path.join(ROOT, "tools"))
import guest_net  # noqa: E402


class UserNet:
    """QEMU's user network with ports of the guest forwarded from free loopback ports."""

    # Below the ports that the kernel gives to clients, which could take one before QEMU does.
    PORTS = range(20000, 30000)
    _next = os.getpid() * 61
    _lock = threading.Lock()

    def __init__(self, tcp=(7, 80), udp=(7,)):
        self.tcp = {port: self._free_port(socket.SOCK_STREAM) for port in tcp}
        self.udp = {port: self._free_port(socket.SOCK_DGRAM) for port in udp}

    @classmethod
    def _free_port(cls, kind):
        """A port that no other process has, and no test of this run had shortly before."""
        for _ in cls.PORTS:
            with cls._lock:
                port = cls.PORTS[cls._next % len(cls.PORTS)]
                cls._next += 1
            with socket.socket(socket.AF_INET, kind) as s:
                with contextlib.suppress(OSError):
                    s.bind(("127.0.0.1", port))
                    return port
        raise GuestError("no free loopback port")

    def netdev(self, i):
        spec = f"user,id=n{i},net=10.0.{2 + i}.0/24"
        for protocol, ports in (("tcp", self.tcp), ("udp", self.udp)):
            for guest_port, host_port in ports.items():
                spec += f",hostfwd={protocol}:127.0.0.1:{host_port}-:{guest_port}"
        return spec


class Wire:
    """A cable between two guests, without root: `ends` are the networks of the two.

    Kind "dgram": QEMU's datagram back end, where each guest can come and go. "stream": its stream back
    end; the first end is the server and has to be there before the second."""

    def __init__(self, kind="dgram"):
        self._dir = tempfile.mkdtemp(prefix="ringlet-wire-")
        self.ends = [WireEnd(self._spec(kind, 0)), WireEnd(self._spec(kind, 1))]

    def _spec(self, kind, end):
        if kind == "stream":
            return (f"stream,server={'off' if end else 'on'},addr.type=unix,"
                    f"addr.path={self._dir}/s")
        return (f"dgram,local.type=unix,local.path={self._dir}/{end},"
                f"remote.type=unix,remote.path={self._dir}/{1 - end}")

    def close(self):
        shutil.rmtree(self._dir, ignore_errors=True)


class WireEnd:
    def __init__(self, spec):
        self._spec = spec

    def netdev(self, i):
        return f"{self._spec},id=n{i}"


class Tap:
    """A tap device in a namespace. The host is 10.77.N.1, the guest is to be 10.77.N.2."""

    def __init__(self, name, index):
        self.name = name
        self.host = f"10.77.{index}.1"
        self.guest = f"10.77.{index}.2"

    def netdev(self, i):
        return f"tap,id=n{i},ifname={self.name},script=no,downscript=no"


class Namespace:
    """A network namespace. Threads enter it to make sockets; programs run inside with run()."""

    _count = 0
    _lock = threading.Lock()

    def __init__(self):
        with self._lock:
            Namespace._count += 1
            self.name = f"ringlet-e2e-{os.getpid()}-{Namespace._count}"
        self.taps = []
        self._checked(["ip", "netns", "add", self.name])
        try:
            self._inside("link", "set", "lo", "up")
        except BaseException:
            self.close()
            raise

    @staticmethod
    def missing():
        """Why namespaces cannot be used, None when they can."""
        if os.geteuid() != 0:
            return "needs root for a network namespace"
        if shutil.which("ip") is None:
            return "needs the program ip"
        if not os.path.exists("/dev/net/tun"):
            return "needs /dev/net/tun"
        return None

    def close(self):
        subprocess.run(["ip", "netns", "del", self.name], check=False, timeout=20)

    def add_tap(self, mtu=1500, *flags):
        tap = self._make_tap(*flags)
        self._inside("addr", "add", f"{tap.host}/24", "dev", tap.name)
        if os.path.exists("/proc/net/if_inet6"):
            # Made by hand without duplicate address detection: usable from the first moment.
            self._inside("link", "set", tap.name, "addrgenmode", "none")
            self._inside("addr", "add", "fe80::1/64", "dev", tap.name, "nodad")
        self._inside("link", "set", tap.name, "mtu", str(mtu), "up")
        return tap

    def add_bare_tap(self, mtu=1500):
        """A tap on which the host itself neither sends nor answers, for what stands in its place."""
        tap = self._make_tap()
        if os.path.exists("/proc/net/if_inet6"):
            self._inside("link", "set", tap.name, "addrgenmode", "none")
        self._inside("link", "set", tap.name, "mtu", str(mtu), "arp", "off", "multicast", "off", "up")
        return tap

    def _make_tap(self, *flags):
        tap = Tap(f"rl{len(self.taps)}", len(self.taps))
        self.taps.append(tap)
        # With a virtio header in front of frames, so that checksums can be left to the other side.
        self._inside("tuntap", "add", "dev", tap.name, "mode", "tap", "vnet_hdr", *flags)
        return tap

    def add_address(self, tap, address):
        words = ["addr", "add", address, "dev", tap.name]
        self._inside(*words, *(["nodad"] if ":" in address else []))

    def add_neighbour(self, tap, address, mac):
        self._inside("neigh", "add", address, "lladdr", mac, "nud", "permanent", "dev", tap.name)

    def command(self, *words):
        # Not `ip netns exec`: it remounts /sys, which fails where / is no mount point (a chroot).
        return ["nsenter", f"--net=/run/netns/{self.name}", *words]

    def run(self, *words, limit=30):
        """Runs a program inside; returns the finished process with its output as text."""
        return subprocess.run(self.command(*words), stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit,
                              check=False)

    def entered(self):
        """A context in which the calling thread is inside; a socket made there stays inside."""
        return guest_net.entered(self.name)

    def socket(self, family, kind, protocol=0, limit=10.0):
        with self.entered():
            s = socket.socket(family, kind, protocol)
        s.settimeout(limit)
        return s

    def _inside(self, *words):
        self._checked(self.command("ip", *words))

    @staticmethod
    def _checked(command):
        result = subprocess.run(command, stdin=subprocess.DEVNULL, text=True, timeout=20,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if result.returncode != 0:
            raise GuestError(f"{' '.join(command)}: {result.stdout.strip()}")
