#!/usr/bin/env python3
"""Measures Ringlet's raw path against DPDK's virtio driver: docs/bench/dpdk.md, .svg and .json.

Both are put to the same back end, a dpdk-testpmd with a vhost-user port, on the same cores, with
rings of the same size: Ringlet in QEMU, DPDK as net_virtio_user in a second testpmd. Three
directions: what the driver can send (tx), receive (rx), and send back in a closed loop (macswap).
The back end counts. A fourth row has no counterpart: Ringlet's generator and sink in one guest, the
back end returning what comes, with loss, order and delay of each frame (sink).

Each measurement starts both sides anew. Rounds are interleaved: all rows once, then again, so
that a slow moment of the machine hits all of them. What is shown are medians over the rounds.

Needs dpdk-testpmd (Debian: dpdk-dev), hugepages (as root it takes them and gives them back), two
cores, and a machine with nothing else to do.
"""
import argparse
import collections
import ipaddress
import itertools
import os
import platform
import shutil
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True

import bench_dpdk_report as report  # noqa: E402
import bench_dpdk_rig as rig  # noqa: E402
import bench_host as host  # noqa: E402
import guest as g  # noqa: E402
from bench_report import write_json  # noqa: E402
from case import PACKAGES  # noqa: E402
from vhost import TESTPMD  # noqa: E402

SIZES = (64, 256, 1024, 1518)  # of a frame, without the checksum that it has on a wire
SMALLEST = SIZES[0]
LAYOUTS = {"split": ("packed=off", "packed_vq=0"), "packed": ("packed=on", "packed_vq=1")}
FIRST_SOURCE = ipaddress.IPv4Address("10.0.0.1")

# A measurement is good when, before and after, a cache line's way from core to core took at most
# NEAR times as long as it ever did here, each core did a fixed piece of work in at most SLOW times the
# least that it ever took, no part of it was slower than STEADY of the fastest part, and others or the
# hypervisor took at most OTHERS percent of a core.
NEAR, SLOW, STEADY, OTHERS = 2, 1.2, 0.8, 10
FIRST_LOOKS = 10  # at the way from core to core, to know what it is at best
NEAR_LIMIT = 15  # seconds to wait for the cores to come near and to have no neighbour

# DPDK's paths: options of net_virtio_user. The first two are measured with all sizes.
DPDK_PATHS = {
    "": "in_order=0,mrg_rxbuf=1",
    "in-order": "in_order=1,mrg_rxbuf=1",
    "no mrg": "in_order=0,mrg_rxbuf=0",
    "in-order, no mrg": "in_order=1,mrg_rxbuf=0",
    "vectorized, no mrg": "in_order=0,mrg_rxbuf=0,vectorized=1",
    "in-order, vectorized, no mrg": "in_order=1,mrg_rxbuf=0,vectorized=1",
}
ALL_SIZES = ("", "in-order")
# The two that DPDK has; with other options it ignores vectorized=1.
VECTORIZED = {"split": "vectorized, no mrg", "packed": "in-order, vectorized, no mrg"}
MULTI_FLOW = "in-order, 64 flows"

# Ringlet's generator: flows and payload. The first is what is compared.
GENERATORS = {"": (1024, "fixed"), report.PATTERN: (1024, "pattern"), "1 flow": (1, "fixed"),
              "65536 flows": (65536, "fixed")}

Row = collections.namedtuple("Row", "direction size driver layout variant")
Options = collections.namedtuple("Options", "layout device words")


def ringlet_options(row):
    if row.direction in ("tx", "sink"):
        flows, payload = GENERATORS[row.variant]
        words = (f"app=gen size={row.size} rate=max dst_mac=02:00:00:00:00:01 flows={flows} "
                 f"src={FIRST_SOURCE}-{FIRST_SOURCE + flows - 1} payload={payload}")
        words += " rx=1" if row.direction == "sink" else ""
    else:
        words = {"rx": "app=sink", "macswap": "app=fwd fwd=macswap"}[row.direction]
    device = LAYOUTS[row.layout][0]
    if row.size > 1514:  # what fits into the MTU of 1500 that a device has of itself
        device += f",host_mtu={row.size - 14}"
    return Options(row.layout, device, words)


def dpdk_options(row):
    words = []
    path = row.variant
    if path == MULTI_FLOW:
        path, words = "in-order", ["--txonly-multi-flow"]
    return Options(row.layout, f"{LAYOUTS[row.layout][1]},{DPDK_PATHS[path]}", words)


def rows_of(direction, size, layout):
    """Ringlet and DPDK take turns, so that neighbours in time are what is compared."""
    smallest = size == SMALLEST
    if direction == "sink":
        if smallest:
            yield Row(direction, size, "Ringlet", layout, "")
        return
    dpdk = [path for path in DPDK_PATHS if path in ALL_SIZES
            or smallest and ("vectorized" not in path or path == VECTORIZED[layout])]
    ringlet = list(GENERATORS) if direction == "tx" and smallest else [""]
    if direction == "tx" and smallest:
        dpdk.append(MULTI_FLOW)
    for pair in itertools.zip_longest(ringlet, dpdk):
        for driver, variant in zip(("Ringlet", "DPDK"), pair):
            if variant is not None:
                yield Row(direction, size, driver, layout, variant)


class Benchmark:
    def __init__(self, options, cores):
        self.options, self.cores = options, cores
        self.runs, self.failures, self.commands = [], [], {}
        self.nearest = None  # nanoseconds from core to core and back, at best
        self.fastest = None  # nanoseconds of the fixed piece of work, at best

    def about(self):
        options = self.options
        return {**host.facts(options.accel),
                "compiler": host.version(r"gcc .*", "gcc", "--version"),
                "cpu_flags": cpu_flags(), "kernel_options": kernel_options(),
                "machine": platform.machine(), "rounds": options.rounds,
                "seconds": options.seconds, "retries": options.retries, "near": NEAR,
                "slow": SLOW, "steady": STEADY, "others_max": OTHERS, "sizes": options.sizes,
                "directions": options.only,
                "layouts": options.layouts, "ring": rig.RING, "memory": rig.MEMORY,
                "mbufs": rig.MBUFS, "in_flight": rig.IN_FLIGHT, "hugepages": rig.HUGEPAGES,
                "pinned": self.cores._asdict()}

    def rows(self):
        options = self.options
        for values in itertools.product(options.only, options.sizes, options.layouts):
            yield from rows_of(*values)

    def run(self):
        for _ in range(FIRST_LOOKS):
            self._core_trip()
            time.sleep(0.3)
        rows = list(self.rows())
        for number, row in itertools.product(range(1, self.options.rounds + 1), rows):
            self.one({"round": number, **row._asdict()}, row)
        self._judge()
        self._again(rows)
        self._judge()

    def _again(self, rows):
        """Rows without a good measurement have one more round."""
        good = {row_of(run) for run in self.runs if not run["faults"]}
        refused = {row_of(failure) for failure in self.failures}
        for row in rows:
            if row not in good | refused:
                self.one({"round": self.options.rounds + 1, **row._asdict()}, row)

    def _judge(self):
        """By what is known at the end: early on all may have been far."""
        for run in self.runs:
            run["faults"] = self._faults(run)

    def one(self, key, row):
        """Measures until a measurement is good, or often enough. All go into the JSON file."""
        for attempt in range(1 + self.options.retries):
            print(" ".join(map(str, filter(None, key.values()))) + ":", end=" ", flush=True)
            before = self._wait_near()
            run = self._measure(row, key)
            after = self._core_trip()
            if run is None:
                return
            run["core_trips_ns"], run["core_work_ns"] = map(list, zip(before, after))
            faults = self._faults(run)
            self.runs.append({**key, "attempt": attempt + 1, **run, "faults": faults})
            print(report.one_line(run) + ", core to core "
                  + ", ".join(map(str, run["core_trips_ns"])) + " ns"
                  + (f" ({', '.join(faults)})" if faults else ""))
            if not faults:
                return

    def _core_trip(self):
        trip, work = rig.core_trip(self.cores)
        self.nearest = min(trip, self.nearest or trip)
        self.fastest = min(work, self.fastest or work)
        return trip, work

    def _wait_near(self):
        """A hypervisor that has put the two cores far from each other, or beside somebody else's,
        moves them again some day."""
        deadline = time.monotonic() + (NEAR_LIMIT if self.options.retries else 0)
        while True:
            trip, work = self._core_trip()
            good = trip <= NEAR * self.nearest and work <= SLOW * self.fastest
            if good or time.monotonic() > deadline:
                return trip, work
            time.sleep(0.5)

    def _faults(self, run):
        """Why a run does not show what the drivers can do, but what else went on."""
        slices = run["slices_pps"]
        faults = {"far": max(run["core_trips_ns"]) > NEAR * self.nearest,
                  "slow": max(run["core_work_ns"]) > SLOW * self.fastest,
                  "unsteady": min(slices) < STEADY * max(slices),
                  "others": run["others"] > OTHERS, "stolen": run["stolen"] > OTHERS}
        return [name for name, found in faults.items() if found]

    def _measure(self, row, key):
        options = ringlet_options(row) if row.driver == "Ringlet" else dpdk_options(row)
        station = None
        try:
            station = rig.Station(self.cores, row, options, self.options.accel,
                                  self.options.seconds)
            run = station.measure()
            self._keep_commands(row, station.commands)
            return run
        except (g.GuestError, OSError, subprocess.SubprocessError, KeyError) as error:
            reason = reason_of(error, station)
            self.failures.append({**key, "reason": reason})
            print(f"failed: {reason}")
            return None
        finally:
            if station is not None:
                station.close()

    def _keep_commands(self, row, commands):
        back_end, driver = commands
        self.commands.setdefault(f"{row.direction} {row.size} back end", back_end)
        self.commands.setdefault(" ".join(filter(None, map(str, row))), driver)


def row_of(run):
    return Row(*(run[name] for name in Row._fields))


def reason_of(error, station):
    """One line; a guest that refuses its command line or device says why itself."""
    lines = station.guest.lines if station is not None and station.guest is not None else []
    said = [line for line in lines if line.startswith("error:")]
    return said[0] if said else " ".join(str(error).split()) or type(error).__name__


def cpu_flags():
    """Those on which the paths of DPDK and the clocks depend."""
    flags = (host.read("/proc/cpuinfo") or "").partition("flags")[2].partition("\n")[0].split()
    wanted = ("sse4_2", "avx2", "avx512f", "avx512bw", "avx512vl", "constant_tsc", "nonstop_tsc",
              "hypervisor")
    return [flag for flag in wanted if flag in flags]


def kernel_options():
    """Of the kernel's command line what moves numbers of this kind."""
    names = ("isolcpus", "nohz_full", "rcu_nocbs", "mitigations", "idle", "intel_pstate",
             "processor.max_cstate", "hugepages", "default_hugepagesz")
    words = (host.read("/proc/cmdline") or "").split()
    return [word for word in words if word.partition("=")[0] in names]


# ---- Command line ----

def list_of(names):
    def parse(text):
        words = text.split(",")
        unknown = [word for word in words if word not in names]
        if unknown:
            raise argparse.ArgumentTypeError(f"{unknown[0]}: not one of {', '.join(names)}")
        return [name for name in names if name in words]
    return parse


def sizes(text):
    try:
        found = sorted({int(word) for word in text.split(",")})
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: not numbers separated by commas") from None
    if not all(SMALLEST <= size <= SIZES[-1] for size in found):
        raise argparse.ArgumentTypeError(f"{text}: {SMALLEST} to {SIZES[-1]} bytes")
    return found


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="default: 3")
    parser.add_argument("--seconds", type=int, default=2, metavar="N",
                        help="of each measurement (default: 2)")
    parser.add_argument("--retries", type=int, default=4, metavar="N",
                        help="of a measurement that something disturbed (default: 4)")
    parser.add_argument("--sizes", type=sizes, default=list(SIZES), metavar="N,...",
                        help=f"bytes of a frame (default: {','.join(map(str, SIZES))})")
    parser.add_argument("--only", type=list_of(list(rig.MODES)), default=list(rig.MODES),
                        metavar="WAY,...", help="default: tx,rx,macswap,sink")
    parser.add_argument("--layouts", type=list_of(list(LAYOUTS)), default=list(LAYOUTS),
                        metavar="LAYOUT,...", help="default: split,packed")
    parser.add_argument("--accel", choices=("auto", "kvm", "tcg"), default="auto",
                        help="auto (default): KVM where it opens, else TCG")
    parser.add_argument("--output", default=os.path.join(g.ROOT, "docs", "bench"), metavar="DIR",
                        help="for dpdk.md, .svg and .json (default: docs/bench/)")
    parser.add_argument("--render", action="store_true",
                        help="measure nothing, write .md and .svg again from .json")
    options = parser.parse_args()
    if options.rounds < 1 or options.seconds < 1 or options.retries < 0:
        parser.error("--rounds and --seconds must be 1 or more, --retries 0 or more")
    if options.accel == "auto":
        options.accel = "tcg" if g.kvm_error() else "kvm"
    return options


def measure(options, path):
    """Measures all and writes the JSON file."""
    if shutil.which(TESTPMD) is None:
        sys.exit(f"needs {TESTPMD} (Debian package {PACKAGES[TESTPMD]})")
    for needed, target in ((g.IMAGE, "image"), (rig.CORE_TRIP, "bench")):
        if not os.path.exists(needed):
            sys.exit(f"{needed}: no such file; make {target}")
    cores = rig.Cores.choose()
    if cores is None:
        sys.exit("needs two cores, one for the driver and one for the back end")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended too
    pages = None
    try:
        pages = rig.Hugepages()
        benchmark = Benchmark(options, cores)
        about = benchmark.about()
        os.sched_setaffinity(0, cores.others)  # and all that is started from here on
        started = time.monotonic()
        benchmark.run()
    except g.GuestError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("interrupted: nothing is written")
    finally:
        if pages is not None:
            pages.close()
    if not benchmark.runs:
        sys.exit("nothing could be measured, nothing is written")
    about.update(nearest_ns=benchmark.nearest, took_s=round(time.monotonic() - started),
                 commands=benchmark.commands)
    write_json(path, about, benchmark.runs, benchmark.failures)


def main():
    options = parse_options()
    path = os.path.join(options.output, "dpdk.json")
    if not options.render:
        os.makedirs(options.output, exist_ok=True)
        measure(options, path)
    elif not os.path.exists(path):
        sys.exit(f"{path}: no such file; measure first")
    for written in report.render(path):
        print(written)


if __name__ == "__main__":
    main()
