"""Back ends outside QEMU: DPDK's testpmd with its vhost-user port, and guests that are joined to it.

Guest memory is shared with the back end, which works on the rings itself; QEMU only makes the
connection. testpmd needs no hugepages here: its own memory is ordinary, the guest's is a memfd.
"""
import os
import pty
import re
import shutil
import subprocess
import tempfile
import threading

import guest as g

START_LIMIT = 15.0  # seconds until testpmd forwards, on a machine with other work to do
TESTPMD = "dpdk-testpmd"

# What QEMU does at the socket. When it is the one that connects, the back end listens.
LISTENS = "server=on,wait=off"
CONNECTS = "server=off"
RECONNECTS = "reconnect=1"  # each second; the first time too takes that long

OUTPUT_MAX = 4 << 20  # characters of one back end
TAP_MAC = "02:00:00:00:77:01"  # of the host; left alone, each testpmd gives it a new one


class VhostUser:
    """A network of QEMU whose other end is a back end at a unix socket."""

    def __init__(self, path, role):
        self.path = path
        self.role = role  # of QEMU's end: LISTENS, CONNECTS or RECONNECTS

    def netdev(self, i):
        return f"vhost-user,id=n{i},chardev=vhost{i}"

    def extra(self, i):
        return ["-chardev", f"socket,id=vhost{i},path={self.path},{self.role}"]


def mode_words(accel, mode):
    """The guest's words for a mode. QEMU 7.2 without KVM crashes when a guest uses MSI-X with vhost-user,
    since it takes KVM's tables for granted that then do not exist; INTx works."""
    return f"mode={mode}" + (" intx=1" if mode != "poll" and accel == "tcg" else "")


def shared_memory(mem):
    """Options of QEMU with which a back end can map the guest's memory."""
    return ["-object", f"memory-backend-memfd,id=shared,size={mem},share=on",
            "-machine", "memory-backend=shared"]


def vhost_port(i, path, listens=True):
    """testpmd's end of a vhost-user socket."""
    return f"net_vhost{i},iface={path},queues=1" + ("" if listens else ",client=1")


def tap_port(tap):
    return f"net_tap0,iface={tap.name},mac={TAP_MAC}"


class Console:
    """A testpmd that reads commands. They come through a pipe: should its owner die, it ends too."""

    def __init__(self, command):
        self.command = command
        self.output = ""
        self._news = threading.Condition()
        self._closed = False
        main, terminal = pty.openpty()  # on a pipe it would hold its output back
        try:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=terminal,
                                            stderr=terminal)
        except BaseException:
            os.close(main)
            raise
        finally:
            os.close(terminal)
        self._reader = threading.Thread(target=self._read, args=(main,), daemon=True)
        self._reader.start()

    def close(self):
        self.kill()
        self._reader.join(timeout=5)

    def kill(self):
        """No farewell: the other side sees what it sees when a back end crashes."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()

    def _read(self, main):
        with os.fdopen(main, "rb", buffering=0) as stream:
            while True:
                try:
                    part = stream.read(65536)
                except OSError:  # the terminal's other end is closed
                    part = b""
                with self._news:
                    self.output += part.decode("utf-8", "replace").replace("\r", "")
                    self._closed = not part or len(self.output) > OUTPUT_MAX
                    self._news.notify_all()
                if self._closed:
                    return

    def wait_output(self, pattern, start=0, limit=START_LIMIT):
        """The first match of the regular expression in what was printed from `start` on."""
        expression = re.compile(pattern, re.S)
        with self._news:
            self._news.wait_for(
                lambda: self._closed or expression.search(self.output, start), limit)
            match = expression.search(self.output, start)
        if match is None:
            raise g.GuestError(f"testpmd: no {pattern[:40]!r} in {self.output[-300:]!r}")
        return match

    def execute(self, command, pattern):
        """Types a command and waits for its answer."""
        start = len(self.output)
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()
        return self.wait_output(pattern, start)

    def forward(self, mode, start):
        """From now on its port 0 alone, back to the guest (io) or nowhere (rxonly)."""
        self.execute("stop", r"Done\.")
        self.execute("set portlist 0", "testpmd> ")
        self.execute(f"set fwd {mode}", f"Set {mode} packet forwarding mode")
        self.execute(start, "packet forwarding - ports=1")

    def counters(self, port=0):
        """What a vhost-user port received from the guest and delivered to it."""
        match = self.execute(f"show port stats {port}",
                             r"RX-packets: (\d+)\D+RX-missed: (\d+)\D+RX-bytes: +(\d+)\D+"
                             r"RX-errors: (\d+).*?"
                             r"TX-packets: (\d+)\D+TX-errors: (\d+)\D+TX-bytes: +(\d+)\n")
        numbers = [int(group) for group in match.groups()]
        return {"rx": {"packets": numbers[0], "bytes": numbers[2]},
                "tx": {"packets": numbers[4], "bytes": numbers[6]}, "refused": numbers[5]}

    def tail(self):
        """For a report."""
        if self.process.poll() is not None:
            return ["> testpmd has ended"] + self.output.splitlines()[-5:]
        try:
            return [f"> testpmd: {self.counters()}"]
        except (g.GuestError, OSError) as error:
            return [f"> {error}"]


class Testpmd(Console):
    """testpmd between two ports: what comes in on one goes out on the other, by a thread that never
    sleeps."""

    def __init__(self, ns, *ports):
        # A thread for commands and one for packets, both wherever the scheduler puts them.
        cpus = "(" + ",".join(map(str, sorted(os.sched_getaffinity(0)))) + ")"
        super().__init__(ns.command(
            TESTPMD, "--lcores", f"0@{cpus},1@{cpus}", "--no-huge", "-m", "96", "--no-pci",
            "--no-shconf", "--no-telemetry", "--log-level=lib.vhost.config:warning",
            *(word for port in ports for word in ("--vdev", port)),
            "--", "-i", "--auto-start", "--forward-mode=io", "--disable-link-check",
            "--no-lsc-interrupt", "--mask-event=all", "--total-num-mbufs=8192"))

    def wait_forwarding(self):
        self.wait_output("packet forwarding - ports=2")


class Bench:
    """testpmd, a guest and the namespace in which ordinary sockets reach it."""

    def __init__(self, t, role, words="", nic=None, mem="64M", **options):
        t.need_namespace()
        t.need_program(TESTPMD)
        self._folder = tempfile.mkdtemp(prefix="ringlet-vhost-")
        t.stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
        self.path = os.path.join(self._folder, "socket")
        self.listens = role != LISTENS
        self.ns = t.namespace()
        self.tap = self.ns.add_tap(1500, "multi_queue")  # as testpmd opens it
        self.testpmd = None
        t.stack.callback(self.stop)
        if self.listens:
            self.start()
        network = VhostUser(self.path, role)
        words = f"ip={self.tap.guest}/24 {words}".strip()
        self.guest = t.guest(words, [(network, nic)], namespace=self.ns, mem=mem,
                             extra=network.extra(0) + shared_memory(mem), **options)
        self.guest.ns, self.guest.tap, self.guest.ip = self.ns, self.tap, self.tap.guest
        if not self.listens:
            g.wait_until(lambda: os.path.exists(self.path), g.BOOT_LIMIT, "QEMU's socket")
            self.start()
        t.details.append(lambda: self.testpmd.tail() if self.testpmd else [])
        self.guest.wait_ready()

    def start(self):
        if self.listens and os.path.exists(self.path):
            os.unlink(self.path)  # a crashed one has left it, and it would refuse to listen
        self.testpmd = Testpmd(self.ns, vhost_port(0, self.path, self.listens),
                               tap_port(self.tap))
        self.testpmd.wait_forwarding()

    def stop(self):
        if self.testpmd is not None:
            self.testpmd.close()
