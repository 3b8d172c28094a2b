"""tools/run-guest: what users start."""
import os
import pty
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from case import case
from guest import IMAGE, RUN_GUEST, GuestError, wait_until
from tool import environment, run_tool


def run(*words, **options):
    return run_tool("run-guest", *words, **options)


def namespaces():
    listing = subprocess.run(["ip", "netns", "list"], text=True, stdout=subprocess.PIPE,
                             check=True).stdout
    return {line.split()[0] for line in listing.splitlines()}


class Session:
    """run-guest on a terminal of its own."""

    def __init__(self, t, *words):
        main, terminal = pty.openpty()
        self.main = main
        self.output = ""
        self.process = subprocess.Popen([RUN_GUEST, "--image", IMAGE, *words], stdin=terminal,
                                        stdout=terminal, stderr=terminal, env=environment(),
                                        start_new_session=True)
        os.close(terminal)
        t.stack.callback(self.close)

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()  # it ends QEMU and removes its namespace
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        os.close(self.main)

    def wait_text(self, text, limit=20):
        deadline = time.monotonic() + limit
        while text not in self.output:
            if not select.select([self.main], [], [], max(0, deadline - time.monotonic()))[0]:
                raise GuestError(f"run-guest: no {text!r} in {self.output[-300:]!r}")
            try:
                part = os.read(self.main, 65536)
            except OSError:
                part = b""
            if not part:
                raise GuestError(f"run-guest ended before {text!r}: {self.output[-300:]!r}")
            self.output += part.decode("utf-8", "replace")

    def type(self, keys):
        os.write(self.main, keys)

    def wait_end(self, limit=10):
        """The exit status. Reads on, so that a full terminal does not keep anybody from ending."""
        deadline = time.monotonic() + limit
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                raise GuestError(f"run-guest has not ended after {limit} s")
            try:
                if select.select([self.main], [], [], 0.05)[0]:
                    os.read(self.main, 65536)
            except OSError:
                time.sleep(0.05)
        return self.process.returncode


@case(accel=None)
def help_text(t):
    done = run("--help")
    assert done.returncode == 0 and not done.stderr
    for word in ("image", "accel", "machine", "firmware", "mem", "net", "nics", "args", "app",
                 "ring", "mode", "dry-run", "port-base", "timeout"):
        assert f"--{word}" in done.stdout, word


@case(accel=None)
def dry_run(t):
    done = run("--dry-run", "--accel", "tcg", "--machine", "microvm", "--net", "tap", "--nics", "2",
               "--app", "echo", "--args", "stats=1 seconds=5", MEM="99M")
    words = shlex.split(done.stdout)
    assert done.returncode == 0 and words[0] == "qemu-system-x86_64", done
    assert words[words.index("-accel") + 1] == "tcg" and words[words.index("-m") + 1] == "99M"
    assert words[words.index("-append") + 1] == \
        "app=echo ip=10.77.0.2/24,10.77.1.2/24 ip6=fd77:0::2/64,fd77:1::2/64 stats=1 seconds=5"
    assert sum(w.startswith("virtio-net-pci") for w in words) == 2


@case(accel=None)
def without_pci(t):
    """Devices in the order of their addresses, not as QEMU would place them; to the verdict."""
    words = shlex.split(run("--dry-run", "--machine", "microvm-mmio", "--nics", "8").stdout)
    assert [w.split("bus=virtio-mmio-bus.")[1] for w in words
            if w.startswith("virtio-net-device")] == [str(i + 1) for i in range(8)], words
    done = run("--machine", "microvm-mmio", "--nics", "8", "--args", "seconds=1 ip6=off")
    macs = re.findall(r'"mmio":"0x[0-9a-f]+","mac":"([0-9a-f:]+)"', done.stdout)
    assert done.returncode == 0 and macs == [f"52:54:00:12:34:{0x56 + i:x}" for i in range(8)], done


@case(accel=None)
def dry_run_of_networks(t):
    """Commas in names reach QEMU doubled, and NICs of networks with other guests differ."""
    macs = set()
    for _ in range(2):
        done = run("--dry-run", "--net", "vhost-user:/tmp/a,b,server")
        words = shlex.split(done.stdout)
        assert done.returncode == 0, done
        assert "socket,id=vhost0,path=/tmp/a,,b,server=on" in words, words
        assert "memory-backend-memfd,id=shared,size=64M,share=on" in words, words
        macs.add(re.search(r"mac=52:54:00(:[0-9a-f]{2}){3}$",
                           next(w for w in words if w.startswith("virtio-net")))[0])
    assert len(macs) == 2, macs


@case(accel=None)
def dry_run_of_images(t):
    """What the file holds decides how it is booted; the words go where the guest finds them."""
    folder = t.stack.enter_context(tempfile.TemporaryDirectory(prefix="ringlet-e2e-"))
    path = os.path.join(folder, "a,b")
    for at, magic, drive in ((0, b"QFI\xfb", "format=qcow2,snapshot=on"),
                             (512, b"EFI PART", "format=raw,snapshot=on"),
                             (0x8001, b"CD001", "format=raw,media=cdrom,readonly=on")):
        with open(path, "wb") as f:
            f.write(bytes(at) + magic + bytes(64))
        t.need_file("/usr/share/ovmf/OVMF.fd", "package ovmf")
        words = shlex.split(run("--dry-run", "--image", path, "--args", "ip=1.2.3.4/8,off").stdout)
        name = path.replace(",", ",,")
        assert f"file={name},if=none,id=disk,{drive}" in words, words
        assert "name=opt/ringlet/cmdline,string=ip=1.2.3.4/8,,off" in words, words
        assert words[words.index("-m") + 1] == "256M" and "-kernel" not in words, words
        for option, value in (("--firmware", "qboot"), ("--machine", "microvm")):
            done = run("--image", path, option, value)
            assert done.returncode == 2 and f"{option} {value}" in done.stderr, done


MISTAKES = [
    (["--net", "tap:none0"], "tap:none0"), (["--net", "bridge:none0"], "bridge:none0"),
    (["--net", "bridge:lo"], "bridge:lo"), (["--net", "bridge:"], "--net bridge:"),
    (["--net", "vhost-user:/nonexistent"], ",server"), (["--net", "tap:lo", "--nics", "2"], "--nics 2"),
    (["--image", "/dev/null"], "neither"), (["--firmware", "ovmf"], "--firmware ovmf"),
    (["--accel", "fast"], "--accel fast"), (["--machine", "vax"], "--machine vax"),
    (["--firmware", "uefi"], "--firmware uefi"), (["--net", "wifi"], "--net wifi"),
    (["--nics", "0"], "--nics 0"), (["--nics", "9"], "--nics 9"), (["--mem", "lots"], "--mem lots"),
    (["--port-base", "70000"], "--port-base 70000"), (["--timeout", "never"], "--timeout never"),
    (["--image", "/nonexistent/image"], "/nonexistent/image"), (["--colour"], "--colour"),
    (["word"], "word"), (["--mem"], "--mem"),
]


@case(accel=None)
def mistakes(t):
    for words, named in MISTAKES:
        done = run(*words)
        assert done.returncode == 2 and named in done.stderr, (words, done)
        assert "Traceback" not in done.stderr


@case(accel=None)
def no_qemu(t):
    """Without QEMU it says what to do."""
    folder = t.stack.enter_context(tempfile.TemporaryDirectory(prefix="ringlet-e2e-"))
    os.symlink(sys.executable, os.path.join(folder, "python3"))
    done = run(PATH=folder)
    assert done.returncode == 2 and "make deps" in done.stderr, done


@case(accel=None)
def exit_status(t):
    """The guest's status, whatever QEMU makes of it."""
    for words, status in (("seconds=1", 0), ("colour=blue", 2),
                          ("app=crash-test kind=divide", 3), ("app=crash-test kind=hlt", 0)):
        done = run("--image", IMAGE, "--args", words)
        assert done.returncode == status, (words, done.returncode, done.stdout[-300:], done.stderr)
    assert run("--image", IMAGE, "--", "-nonsense").returncode == 125
    assert run("--image", IMAGE, "--timeout", "2").returncode == 124


@case(accel=None, net=["user", "tap"])
def session(t, net):
    """On a terminal: the lines that it prints work, and Ctrl-A X ends it with status 0."""
    if net == "tap":
        t.need_namespace()
    session = Session(t, "--net", net)
    session.wait_text('"event":"ready"')
    lines = [line.split("    ")[0] for line in re.findall(r"^  (\S.*?)\s*$", session.output, re.M)]
    lines = [line for line in lines if shutil.which(program_of(line))]
    for line in lines:
        done = subprocess.run(["sh", "-c", here(line)], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=20, check=False)
        assert done.returncode == 0 and done.stdout, (line, done.stdout)
        assert "echo hello" not in line or "hello" in done.stdout, (line, done.stdout)
    assert lines, session.output
    session.type(b"\x01x")
    assert session.wait_end() == 0
    assert net == "user" or f"ringlet-{session.process.pid}" not in namespaces()


def here(command):
    """The command as it can be run here: `ip netns exec` fails where / is no mount point, as in a plain
    chroot; then the namespace is entered without it."""
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        if any(line.split()[4] == "/" for line in mounts):
            return command
    return re.sub(r"^ip netns exec (\S+) ", r"nsenter --net=/run/netns/\1 ", command)


def program_of(line):
    """The program that a printed line needs."""
    words = re.sub(r"^ip netns exec \S+ ", "", line).replace("sh -c '", "").split()
    return words[3] if words[0] == "echo" else words[0]


@case(accel=None, how=["TERM", "INT", "HUP", "timeout", "bad-option", "panic"])
def tap_leaves_nothing(t, how):
    """However a session on a tap ends, its namespace goes with it."""
    t.need_namespace()
    extra = {"timeout": ["--timeout", "2"], "bad-option": ["--", "-nonsense"],
             "panic": ["--args", "app=crash-test kind=divide"]}.get(how, [])
    session = Session(t, "--net", "tap", *extra)
    name = f"ringlet-{session.process.pid}"
    if how in ("TERM", "INT", "HUP"):
        session.wait_text('"event":"ready"')
        assert name in namespaces()
        session.process.send_signal(getattr(signal, "SIG" + how))
    expected = {"TERM": 143, "INT": 130, "HUP": 129, "timeout": 124, "bad-option": 125, "panic": 3}
    assert session.wait_end() == expected[how]
    wait_until(lambda: name not in namespaces(), 5, "namespace gone")


@case(accel=None)
def ports(t):
    """Picks other ports when the usual ones are taken, and says so; a given base must be free."""
    first = Session(t)
    first.wait_text('"event":"ready"')
    second = Session(t)
    second.wait_text('"event":"ready"')
    bases = [re.search(r"http://127\.0\.0\.1:(\d+)/stats", s.output)[1] for s in (first, second)]
    assert bases[0] != bases[1], bases
    done = run("--image", IMAGE, "--port-base", str(int(bases[0]) - 80))
    assert done.returncode == 2 and "in use" in done.stderr, done.stderr
