"""A guest in QEMU as the tests see it: console lines, events, monitor, networks.

Everything started here belongs to an object with close(), is ended by the id of its own process,
and every wait has a limit.
"""
import contextlib
import ctypes
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
IMAGE = os.environ.get("IMAGE") or os.path.join(ROOT, "build", "ringlet.elf")
RUN_GUEST = os.path.join(ROOT, "tools", "run-guest")
QEMU = "qemu-system-x86_64"

MACHINES = {
    "pc": "pc",
    "q35": "q35",
    "microvm": "microvm,pcie=on,acpi=on,auto-kernel-cmdline=off",
}
LINES_MAX = 200_000  # of one console; a guest that prints more is ended
TAIL_WIDTH = 200     # characters of a console line that a failed test shows
BOOT_LIMIT = 30.0    # seconds; SeaBIOS on a KVM that emulates ring 0 is the slow case


class GuestError(Exception):
    """The guest or QEMU did something else than the test expects."""


def kvm_error():
    """Why KVM cannot be used, None when it can."""
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"/dev/kvm: {error.strerror}"
    return None


def wait_until(check, limit, what):
    """Polls check() until it returns something true, and returns that."""
    deadline = time.monotonic() + limit
    while True:
        result = check()
        if result:
            return result
        if time.monotonic() > deadline:
            raise GuestError(f"{what}: not within {limit:.0f} s")
        time.sleep(0.01)


# ---- Networks ----

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
    _libc = ctypes.CDLL(None, use_errno=True)
    CLONE_NEWNET = 0x40000000

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
        tap = Tap(f"rl{len(self.taps)}", len(self.taps))
        self.taps.append(tap)
        # With a virtio header in front of frames, so that checksums can be left to the other side.
        self._inside("tuntap", "add", "dev", tap.name, "mode", "tap", "vnet_hdr", *flags)
        self._inside("addr", "add", f"{tap.host}/24", "dev", tap.name)
        if os.path.exists("/proc/net/if_inet6"):
            # Made by hand without duplicate address detection: usable from the first moment.
            self._inside("link", "set", tap.name, "addrgenmode", "none")
            self._inside("addr", "add", "fe80::1/64", "dev", tap.name, "nodad")
        self._inside("link", "set", tap.name, "mtu", str(mtu), "up")
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

    @contextlib.contextmanager
    def entered(self):
        """The calling thread is inside; a socket made now stays inside."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            inside = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                self._set(inside)
                yield
            finally:
                os.close(inside)
                self._set(before)
        finally:
            os.close(before)

    def socket(self, family, kind, protocol=0, limit=10.0):
        with self.entered():
            s = socket.socket(family, kind, protocol)
        s.settimeout(limit)
        return s

    @classmethod
    def _set(cls, fd):
        if cls._libc.setns(fd, cls.CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")

    def _inside(self, *words):
        self._checked(self.command("ip", *words))

    @staticmethod
    def _checked(command):
        result = subprocess.run(command, stdin=subprocess.DEVNULL, text=True, timeout=20,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if result.returncode != 0:
            raise GuestError(f"{' '.join(command)}: {result.stdout.strip()}")


# ---- The guest ----

def cpu_options(accel):
    """As in tools/run-guest, which has the reasons."""
    if accel == "kvm":
        return ["-cpu", "host,arch-capabilities=off"]
    return ["-cpu", "max", "-smp", "1,maxcpus=2"]


def qemu_command(accel, machine, firmware, mem, nics, words, extra):
    """`nics` is a list of (network, device options or None for no device)."""
    command = [QEMU, "-nodefaults", "-no-user-config", "-display", "none",
               "-machine", MACHINES[machine], "-accel", accel, *cpu_options(accel), "-m", mem,
               "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-serial", "stdio"]
    if firmware == "qboot":
        command += ["-bios", "qboot.rom"]
    elif machine == "microvm":
        command += ["-bios", "bios-microvm.bin"]
    command += list(extra)
    for i, (network, options) in enumerate(nics):
        command += ["-netdev", network.netdev(i)]
        options = "," + options if options else ""
        command += ["-device", f"virtio-net-pci,netdev=n{i},id=nic{i},romfile={options}"]
    command += ["-kernel", IMAGE]
    return command + (["-append", words] if words else [])


class Guest:
    """One run of the image in QEMU."""

    def __init__(self, accel, words="", nics=(), machine="q35", firmware="qboot", mem="64M",
                 extra=(), namespace=None, reboots=False):
        self.accel = accel
        self.lines = []      # console lines, complete ones
        self.bad_json = []   # lines that start like JSON and are not
        self.events = []
        self.started = time.monotonic()
        self._news = threading.Condition()
        self._closed = False  # the console reached its end
        self._qmp = None
        self._dir = tempfile.mkdtemp(prefix="ringlet-e2e-")
        command = qemu_command(accel, machine, firmware, mem, nics, words, extra)
        command += ["-qmp", f"unix:{self._dir}/qmp,server=on,wait=off"]
        command += [] if reboots else ["-no-reboot"]
        if namespace is not None:
            command = namespace.command(*command)
        self.command = command
        with open(os.path.join(self._dir, "stderr"), "wb") as stderr:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=stderr)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def close(self):
        self.kill()
        self._reader.join(timeout=5)
        self.process.stdout.close()
        if self._qmp is not None:
            self._qmp.close()
        shutil.rmtree(self._dir, ignore_errors=True)

    def kill(self):
        """Ends QEMU. Also called from other threads, to let a test that hangs fail."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    # ---- Console ----

    def _read(self):
        for raw in self.process.stdout:
            line = raw.decode("utf-8", "replace").rstrip("\r\n")
            with self._news:
                self.lines.append(line)
                if line.startswith("{") and raw.endswith(b"\n"):  # the last one may be cut off
                    self._take_event(line)
                self._news.notify_all()
            if len(self.lines) > LINES_MAX:
                self.process.kill()
                break
        with self._news:
            self._closed = True
            self._news.notify_all()

    def _take_event(self, line):
        try:
            event = json.loads(line)
        except ValueError:
            self.bad_json.append(line)
            return
        event["seen"] = time.monotonic()
        self.events.append(event)

    def stderr(self):
        try:
            with open(os.path.join(self._dir, "stderr"), encoding="utf-8", errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def tail(self, count=25):
        """The last lines of the console and of QEMU's own messages, for a report."""
        lines = [f"| {line[:TAIL_WIDTH]}" for line in self.lines[-count:]]
        return lines + [f"! {line[:TAIL_WIDTH]}" for line in self.stderr().splitlines()[-5:]]

    def events_of(self, name):
        with self._news:
            return [e for e in self.events if e.get("event") == name]

    def wait_event(self, name, limit=BOOT_LIMIT, count=1, match=None):
        """The count-th event of that name (for which match() holds, when given)."""
        def find():
            found = [e for e in self.events
                     if e.get("event") == name and (match is None or match(e))]
            return found[count - 1] if len(found) >= count else None
        return self._wait(find, limit, f"event {name}")

    def wait_line(self, pattern, limit=BOOT_LIMIT):
        """The first match object of the regular expression in a console line."""
        expression = re.compile(pattern)
        return self._wait(lambda: next(filter(None, map(expression.search, self.lines)), None),
                          limit, f"line {pattern}")

    def _wait(self, find, limit, what):
        deadline = time.monotonic() + limit
        with self._news:
            while True:
                found = find()
                if found is not None:
                    return found
                if self._closed:
                    raise GuestError(f"{what}: the guest ended before")
                left = deadline - time.monotonic()
                if left <= 0:
                    raise GuestError(f"{what}: not within {limit:.0f} s")
                self._news.wait(left)

    def wait_ready(self, limit=BOOT_LIMIT):
        return self.wait_event("ready", limit)

    def wait_exit(self, limit=BOOT_LIMIT):
        """The guest's own exit status; QEMU's is 2 * N + 1."""
        try:
            status = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            raise GuestError(f"exit: not within {limit:.0f} s") from None
        self._reader.join(timeout=5)
        if status < 0 or status % 2 == 0 or (status == 1 and not self.events_of("exit")):
            raise GuestError(f"QEMU ended with status {status}")
        return (status - 1) // 2

    def running(self):
        return self.process.poll() is None

    # ---- Monitor ----

    def qmp(self, command, **arguments):
        if self._qmp is None:
            self._qmp = Monitor(os.path.join(self._dir, "qmp"))
        return self._qmp.execute(command, arguments)

    def hmp(self, line):
        return self.qmp("human-monitor-command", **{"command-line": line})


class Monitor:
    """QEMU's machine protocol (QMP) over its unix socket."""

    def __init__(self, path, limit=10.0):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(limit)
        try:
            wait_until(lambda: os.path.exists(path), limit, "monitor socket")
            self._socket.connect(path)
            self._file = self._socket.makefile("rw", encoding="utf-8")
            self._file.readline()  # the greeting
            self.execute("qmp_capabilities", {})
        except BaseException:
            self._socket.close()
            raise

    def close(self):
        self._file.close()
        self._socket.close()

    def execute(self, command, arguments):
        self._file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._file.flush()
        for line in self._file:
            answer = json.loads(line)
            if "error" in answer:
                raise GuestError(f"monitor: {command}: {answer['error'].get('desc')}")
            if "return" in answer:
                return answer["return"]
        raise GuestError(f"monitor: {command}: no answer")
