"""What bench_dpdk.py measures with: a back end, a driver at the other end of its socket, memory.

The back end is a testpmd with a vhost-user port, its packet thread alone on one core. The driver
is Ringlet in QEMU, or DPDK's own virtio driver in a second testpmd, alone on another core. All
else (command threads, QEMU's threads, this script) runs on the remaining cores, with two cores on
that of the back end; it sleeps while a measurement runs. All memory that both sides touch is
hugepages.
"""
import collections
import contextlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time

import bench_host as host
import guest as g
import vhost

RING = 256  # descriptors of each ring, of both drivers
MEMORY = "128M"
TESTPMD_MIB = 128
HUGEPAGE_MIB = 2
HUGEPAGES = (2 * TESTPMD_MIB + int(MEMORY[:-1])) // HUGEPAGE_MIB + 8
MBUFS = 8192
CORE_TRIP = os.path.join(g.ROOT, "build", "core_trip")
SLICES = 4  # of a measurement
SETTLE = 0.3  # seconds from the first packet to the measurement
IN_FLIGHT = 128  # frames of the macswap loop: bursts of 32
HUGEPAGE_COUNT = "/proc/sys/vm/nr_hugepages"
MODES = {  # direction: forwarding of the back end, of DPDK's driver
    "tx": ("rxonly", "txonly"),
    "rx": ("txonly", "rxonly"),
    "macswap": ("io", "macswap"),
    "sink": ("io", None),
}
COUNTERS = ("packets", "kicks", "interrupts")


class Cores(collections.namedtuple("Cores", "driver back_end others")):
    @staticmethod
    def choose():
        """Two that share no hardware, and what is left; None with one."""
        every = sorted(os.sched_getaffinity(0))
        for core in every[1:]:
            siblings = host.read(f"/sys/devices/system/cpu/cpu{core}/topology/core_cpus_list")
            if every[0] not in expand(siblings or str(core)):
                others = [other for other in every if other not in (every[0], core)]
                return Cores(every[0], core, others or [core])
        return None


def expand(ranges):
    """Numbers of a list like 0,4-6."""
    ends = [list(map(int, part.split("-"))) for part in ranges.split(",")]
    return {number for end in ends for number in range(end[0], end[-1] + 1)}


def core_trip(cores):
    """Nanoseconds of a cache line from the driver's core to that of the back end and back, and of
    the same work on each, the slower one."""
    done = subprocess.run([CORE_TRIP, str(cores.driver), str(cores.back_end)], timeout=60,
                          check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    trip, *works = map(int, done.stdout.split())
    return trip, max(works)


class Hugepages:
    """Enough free ones for a measurement; as many as before when closed."""

    def __init__(self):
        self._before = int(host.read(HUGEPAGE_COUNT))
        missing = HUGEPAGES - self.free()
        if missing > 0:
            self._set(self._before + missing)
        if self.free() < HUGEPAGES:
            free = self.free()
            self.close()
            raise g.GuestError(f"needs {HUGEPAGES} free hugepages of {HUGEPAGE_MIB} MiB, the "
                               f"kernel has {free} (sysctl vm.nr_hugepages, as root)")

    @staticmethod
    def free():
        meminfo = host.read("/proc/meminfo")
        size = re.search(r"Hugepagesize: +(\d+) kB", meminfo)
        if size is None or int(size[1]) != HUGEPAGE_MIB << 10:
            return 0
        return int(re.search(r"HugePages_Free: +(\d+)", meminfo)[1])

    @staticmethod
    def _set(count):
        with contextlib.suppress(OSError):
            with open(HUGEPAGE_COUNT, "w", encoding="ascii") as f:
                f.write(str(count))

    def close(self):
        if int(host.read(HUGEPAGE_COUNT)) != self._before:
            self._set(self._before)


# ---- testpmd ----

class Testpmd(vhost.Console):
    """One port, forwarded by one thread that never sleeps."""

    def __init__(self, core, others, eal, vdev, words):
        others = ",".join(map(str, others))
        super().__init__([
            vhost.TESTPMD, "--lcores", f"0@({others}),1@{core}", "--in-memory",
            "--single-file-segments", "-m", str(TESTPMD_MIB), "--no-pci", "--no-telemetry",
            "--log-level=lib.vhost.config:warning", *eal, "--vdev", vdev,
            "--", "-i", f"--total-num-mbufs={MBUFS}", f"--rxd={RING}", f"--txd={RING}",
            "--disable-link-check", "--no-lsc-interrupt", "--mask-event=all", *words])

    def wait_prompt(self):
        self.wait_output("testpmd> ")
        self.execute("set record-core-cycles on", "testpmd> ")

    def start(self, words=""):
        self.execute(f"start {words}".strip(), "packet forwarding.*testpmd> ")

    def packets(self):
        """The counters of the port, and when they were read."""
        before = time.monotonic()
        counters = self.counters()
        return (before + time.monotonic()) / 2, counters

    def cycles(self):
        """Cycles of its packet thread for each packet since the last `clear fwd stats all`. Polls
        that found nothing are left out, but txonly counts those that found no room."""
        match = self.execute("show fwd stats all", r"cycles/packet=([0-9.]+)|\+{60}\s+testpmd> ")
        return float(match[1]) if match[1] else None


class BackEnd(Testpmd):
    def __init__(self, cores, path, direction, size):
        super().__init__(cores.back_end, cores.others, [],
                         f"net_vhost0,iface={path},queues=1",
                         [f"--forward-mode={MODES[direction][0]}", f"--txpkts={size}"])


class DpdkDriver:
    """DPDK's virtio driver on a socket of the back end."""

    def __init__(self, cores, path, row, options):
        words = [f"--forward-mode={MODES[row.direction][1]}", f"--txpkts={row.size}",
                 *options.words]
        eal = ["--force-max-simd-bitwidth=512"] if "vectorized=1" in options.device else []
        self.testpmd = Testpmd(
            cores.driver, cores.others, eal,
            f"net_virtio_user0,path={path},queues=1,queue_size={RING},{options.device}", words)
        self.command = self.testpmd.command
        self.process = self.testpmd.process

    def start(self):
        self.testpmd.wait_prompt()
        self.testpmd.start()

    def begin(self):
        self.testpmd.execute("clear fwd stats all", "testpmd> ")

    def end(self):
        return {"driver_cycles": self.testpmd.cycles()}

    def close(self):
        self.testpmd.close()


# ---- Ringlet ----

class RingletDriver:
    """Ringlet in QEMU, joined to the back end's socket."""

    def __init__(self, cores, path, options, accel, seconds):
        self._cores = cores
        network = vhost.VhostUser(path, vhost.CONNECTS)
        memory = ["-object", f"memory-backend-memfd,id=shared,size={MEMORY},share=on,prealloc=on,"
                             f"hugetlb=on,hugetlbsize={HUGEPAGE_MIB}M",
                  "-machine", "memory-backend=shared"]
        # A line is many exits to QEMU: none may fall into the measurement, one comes before it
        # and one after.
        self._period = seconds + 1
        words = " ".join([options.words, f"mode=poll queue={RING} stats={self._period}"])
        nic = f"{options.device},rx_queue_size={RING},tx_queue_size={RING}"
        self.guest = g.Guest(accel, words, [(network, nic)], mem=MEMORY,
                             extra=network.extra(0) + memory)
        self.command = self.guest.command
        self.process = self.guest.process
        self._layout = options.layout
        self._before = None

    def start(self):
        self.guest.wait_ready()
        pid = self.process.pid
        vcpus = [cpu["thread-id"] for cpu in self.guest.qmp("query-cpus-fast")]
        host.pin([tid for tid in host.threads(pid) if tid not in vcpus], self._cores.others)
        host.pin(vcpus, [self._cores.driver])
        device = self.guest.wait_event("device")
        found = (device["mode"], device["layout"], device["rx_size"], device["tx_size"])
        if found != ("poll", self._layout, RING, RING):
            raise g.GuestError(f"mode, layout and sizes of the rings are {found}")

    def begin(self):
        self._before = self._next_stats()

    def end(self):
        """All between the two lines that enclose the measurement."""
        return ringlet_row(self._before, self._next_stats())

    def _next_stats(self):
        return self.guest.wait_event("stats", limit=self._period + 5,
                                     count=len(self.guest.events_of("stats")) + 1)

    def close(self):
        self.guest.close()


def ringlet_row(before, after):
    app = after["app"]
    old, new = before["nics"][0], after["nics"][0]
    moved = {f"{q}_{name}": new[q][name] - old[q][name] for q in ("rx", "tx") for name in COUNTERS}
    frames = max(moved["rx_packets"], moved["tx_packets"])
    busy = after[app]["busy_cycles"] - before[app]["busy_cycles"]
    return {
        "driver_cycles": busy / frames if frames else None,
        "driver_pps": round(1e6 * frames / (after["uptime_us"] - before["uptime_us"])),
        "kicks": moved["rx_kicks"] + moved["tx_kicks"],
        "interrupts": moved["rx_interrupts"] + moved["tx_interrupts"],
        "steal_gaps": after[app]["steal_gaps"] - before[app]["steal_gaps"],
        "certified_polled": after.get("certified_polled"),
    }


# ---- A measurement ----

class Station:
    """Back end and driver of one row, running."""

    def __init__(self, cores, row, options, accel, seconds):
        self._row, self._seconds = row, seconds
        self._stack = contextlib.ExitStack()
        self.guest = None
        with self._stack:
            folder = tempfile.mkdtemp(prefix="ringlet-bench-")
            self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
            path = os.path.join(folder, "socket")
            self.back_end = BackEnd(cores, path, row.direction, row.size)
            self._stack.callback(self.back_end.close)
            self.back_end.wait_prompt()
            if row.driver == "Ringlet":
                self.driver = RingletDriver(cores, path, options, accel, seconds)
                self.guest = self.driver.guest
            else:
                self.driver = DpdkDriver(cores, path, row, options)
            self._stack.callback(self.driver.close)
            self.commands = [shown_command(each.command, folder)
                             for each in (self.back_end, self.driver)]
            self._close = self._stack.pop_all().close

    def close(self):
        self._close()

    def measure(self):
        self.driver.start()
        bursts = f"tx_first {IN_FLIGHT // 32}" if self._row.direction == "macswap" else ""
        self.back_end.start(bursts)
        time.sleep(SETTLE)
        self.driver.begin()
        self.back_end.execute("clear fwd stats all", "testpmd> ")
        clocks, looks = self._clocks(), [self._packets()]
        for _ in range(SLICES):
            time.sleep(self._seconds / SLICES)
            looks.append(self._packets())
        moved = self._clocks()
        if looks[-1][1] == looks[0][1]:
            raise g.GuestError("no packets came")
        wall, busy, steal = (new - old for old, new in zip(clocks, moved))
        row = {"packets": looks[-1][1] - looks[0][1],
               "seconds": round(looks[-1][0] - looks[0][0], 6),
               "pps": rate(looks[0], looks[-1]), "slices_pps": list(map(rate, looks, looks[1:])),
               "back_end_cycles": self.back_end.cycles(),
               "others": round(100 * busy / wall, 2), "stolen": round(100 * steal / wall, 2)}
        return {**row, **self.driver.end()}

    def _packets(self):
        """When it was, and how many packets had come from the driver, in rx and sink gone to it."""
        when, counters = self.back_end.packets()
        return when, counters["tx" if self._row.direction in ("rx", "sink") else "rx"]["packets"]

    def _clocks(self):
        """Time, what the machine ran besides these two processes, and what it was denied."""
        machine = host.machine_ns()
        pids = (self.back_end.process.pid, self.driver.process.pid)
        ours = sum(host.cpu_ns(pid, host.threads(pid)) for pid in pids)
        return time.monotonic_ns(), machine["busy_ns"] - ours, machine["steal_ns"]


def rate(before, after):
    return round((after[1] - before[1]) / (after[0] - before[0]))


def shown_command(command, folder):
    """A command line as anybody can type it: without paths of this machine and of this run."""
    words = [word.replace(folder, "/tmp/ringlet").replace(g.IMAGE, "build/ringlet.elf")
             for word in command]
    if "-qmp" in words:
        at = words.index("-qmp")
        words[at + 1] = "unix:/tmp/ringlet/qmp,server=on,wait=off"
    return shlex.join(words)
