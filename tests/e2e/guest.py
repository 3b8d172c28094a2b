"""A guest in QEMU as the tests see it: console lines, events, monitor.

Everything started here belongs to an object with close(), is ended by the id of its own process,
and every wait has a limit.
"""
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
UEFI_IMAGE = os.path.join(ROOT, "build", "BOOTX64.EFI")
OVMF = "/usr/share/ovmf/OVMF.fd"
RUN_GUEST = os.path.join(ROOT, "tools", "run-guest")
QEMU = "qemu-system-x86_64"

MACHINES = {
    "pc": "pc",
    "q35": "q35",
    "microvm": "microvm,pcie=on,acpi=on,auto-kernel-cmdline=off",
    # Without PCI: the guest learns of its devices from ACPI, or from words that QEMU appends.
    "microvm-mmio": "microvm,pcie=off,acpi=on,auto-kernel-cmdline=off",
    "microvm-words": "microvm,pcie=off,acpi=off,auto-kernel-cmdline=on",
}
NO_PCI = ("microvm-mmio", "microvm-words")
MODERN = ["-global", "virtio-mmio.force-legacy=false"]
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


def ovmf_error(accel):
    """Why OVMF cannot be used with that accelerator, None when it can."""
    if not os.path.exists(OVMF):
        return f"{OVMF} is not installed (package ovmf)"
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
        flags = next((line.split() for line in f if line.startswith("flags")), [])
    if accel == "kvm" and not {"vmx", "svm"} & set(flags):
        return "KVM without VMX or SVM emulates ring 0, and does not know all that OVMF does there"
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


# ---- The guest ----

def cpu_options(accel):
    """As in tools/run-guest, which has the reasons."""
    if accel == "kvm":
        return ["-cpu", "host,arch-capabilities=off"]
    return ["-cpu", "max", "-smp", "1,maxcpus=2"]


def qemu_command(accel, machine, firmware, mem, nics, words, extra, debug_exit, disk=None,
                 image=None):
    """`nics` is a list of (network, device options or None for no device). `disk`, a directory that
    becomes a FAT volume or the file of a raw disk: boots from that instead of -kernel. `image`: another
    kernel than IMAGE."""
    command = [QEMU, "-nodefaults", "-no-user-config", "-display", "none",
               "-machine", MACHINES[machine], "-accel", accel, *cpu_options(accel), "-m", mem,
               "-serial", "stdio"]
    if debug_exit:
        command += ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
    if firmware == "ovmf":
        command += ["-bios", OVMF]
    elif firmware == "qboot":
        command += ["-bios", "qboot.rom"]
    elif machine.startswith("microvm"):
        command += ["-bios", "bios-microvm.bin"]
    command += [*(MODERN if machine in NO_PCI else []), *extra]
    for i, (network, options) in enumerate(nics):
        command += ["-netdev", network.netdev(i)]
        # In the order of addresses; QEMU would begin with the last. Not the first: docs/manual.md says why.
        kind = (f"virtio-net-device,bus=virtio-mmio-bus.{i + 1}" if machine in NO_PCI
                else "virtio-net-pci,romfile=")
        options = "," + options if options else ""
        command += ["-device", f"{kind},netdev=n{i},id=nic{i}{options}"]
    if disk is not None:
        file = f"fat:{disk}" if os.path.isdir(disk) else disk
        return command + ["-drive", f"file={file},format=raw,if=none,id=disk,readonly=on",
                          "-device", "virtio-blk-pci,drive=disk,bootindex=9"]
    command += ["-kernel", image or IMAGE]
    return command + (["-append", words] if words else [])


def uefi_folder(folder, words):
    """Fills a directory with what firmware boots, and with the words as configuration file."""
    boot = os.path.join(folder, "EFI", "BOOT")
    os.makedirs(boot)
    shutil.copy(UEFI_IMAGE, boot)
    if words:
        with open(os.path.join(boot, "ringlet.cfg"), "w", encoding="utf-8") as f:
            f.write(words)
    return folder


class Guest:
    """One run of the image in QEMU. With firmware="ovmf" it boots from `disk` (see qemu_command()), by
    default from a directory with the UEFI application and the words in ringlet.cfg."""

    def __init__(self, accel, words="", nics=(), machine="q35", firmware="qboot", mem="64M",
                 extra=(), namespace=None, reboots=False, debug_exit=True, disk=None,
                 image=None):
        self.accel, self.machine = accel, machine
        self.lines = []      # console lines, complete ones
        self.bad_json = []   # lines that start like JSON and are not
        self.events = []
        self.started = time.monotonic()
        self._news = threading.Condition()
        self._closed = False  # the console reached its end
        self._qmp = None
        self._dir = tempfile.mkdtemp(prefix="ringlet-e2e-")
        if firmware == "ovmf" and disk is None:
            disk = uefi_folder(os.path.join(self._dir, "disk"), words)
        command = qemu_command(accel, machine, firmware, mem, nics, words, extra, debug_exit, disk,
                               image)
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

    def wait_shutdown(self, limit=BOOT_LIMIT):
        """Why QEMU itself says that it ended, which it does with status 0; for guests that
        isa-debug-exit does not end. The monitor must have been used before."""
        reason = self._qmp.wait_event("SHUTDOWN", limit)["data"]["reason"]
        try:
            status = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            raise GuestError(f"shutdown: QEMU did not end within {limit:.0f} s") from None
        self._reader.join(timeout=5)
        if status != 0:
            raise GuestError(f"QEMU ended with status {status}")
        return reason

    def running(self):
        return self.process.poll() is None

    # ---- Monitor ----

    def qmp(self, command, **arguments):
        if self._qmp is None:
            self._qmp = Monitor(os.path.join(self._dir, "qmp"))
        return self._qmp.execute(command, arguments)

    def wait_qmp_event(self, name, limit=BOOT_LIMIT):
        """QEMU's own event of that name. The monitor must have been used before."""
        return self._qmp.wait_event(name, limit)

    def hmp(self, line):
        return self.qmp("human-monitor-command", **{"command-line": line})


class Monitor:
    """QEMU's machine protocol (QMP) over its unix socket."""

    def __init__(self, path, limit=10.0):
        self._events = []  # those that came with answers
        self._limit = limit
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(limit)
        try:
            wait_until(lambda: self._connects(path), limit, "monitor socket")
            self._file = self._socket.makefile("rw", encoding="utf-8")
            self._file.readline()  # the greeting
            self.execute("qmp_capabilities", {})
        except BaseException:
            self._socket.close()
            raise

    def _connects(self, path):
        """QEMU may not have made the socket yet, or may not listen yet."""
        try:
            self._socket.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True

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
            self._events.append(answer)
        raise GuestError(f"monitor: {command}: no answer")

    def wait_event(self, name, limit):
        """The first event of that name since the connection, or since the last one asked for."""
        self._socket.settimeout(limit)
        try:
            while True:
                while self._events:
                    event = self._events.pop(0)
                    if event.get("event") == name:
                        return event
                line = self._file.readline()
                if not line:
                    raise GuestError(f"monitor: QEMU ended without the event {name}")
                self._events.append(json.loads(line))
        except TimeoutError:
            raise GuestError(f"monitor: event {name}: not within {limit:.0f} s") from None
        finally:
            self._socket.settimeout(self._limit)
