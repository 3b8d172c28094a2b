#!/usr/bin/env python3
"""Measures Ringlet's echo workload against a Linux guest: docs/bench/echo.md, .svg and .json.

Both run in QEMU under TCG with the same machine, memory and device on a tap; Ringlet as it is by
default (polled) and with mode=irq, also under KVM where that opens. The guest and all of QEMU share one
core, the load generator spins on another. Rounds are interleaved: all guests once, then again, so that
a slow moment of the machine hits all of them. What is shown are medians over the rounds, and ratios to
the Linux guest.

Needs root, two cores, tools/deps bench, and a machine with nothing else to do.
"""
import argparse
import collections
import functools
import os
import shutil
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True

import bench_echo_report as report  # noqa: E402
import bench_echo_rig as rig  # noqa: E402
import bench_host as host  # noqa: E402
import guest as g  # noqa: E402
import load  # noqa: E402
import networks  # noqa: E402
from bench_dpdk import list_of, reason_of  # noqa: E402
from bench_report import write_json  # noqa: E402

OTHERS = 10  # percent of a core that others or the hypervisor may take in a good measurement
FIRMWARE = {"tcg": ("seabios", "qboot"), "kvm": ("qboot",)}  # the last one also for the load

Column = collections.namedtuple("Column", "name kind accel words image")


def columns_of(options):
    """The guests to be measured, in the order in which they take turns."""
    ringlets = [("Ringlet", options.words, None), ("Ringlet irq", f"mode=irq {options.words}".strip(), None)]
    ringlets += [(name, words, None) for name, words in options.variants]
    ringlets += [(name, options.words, image) for name, image in options.images]
    columns = []
    if "tcg" in options.accels:
        columns += [Column(name, "linux", "tcg", words, None) for name, words in
                    [("Linux", options.linux_words),
                     ("Linux bare", f"{rig.LINUX_BARE} {options.linux_words}".strip()),
                     *options.linux_variants]]
        columns += [Column(name, "ringlet", "tcg", words, image) for name, words, image in ringlets]
    if "kvm" in options.accels:
        columns += [Column(f"{name} KVM", "ringlet", "kvm", words, image)
                    for name, words, image in ringlets]
    return columns


class Benchmark:
    def __init__(self, options, cores):
        self.options, self.cores = options, cores
        self.columns = columns_of(options)
        self.runs, self.failures = [], []

    def about(self):
        options = self.options
        kernel, _ = rig.linux_kernel()
        return {**host.facts("tcg"), "dpdk": None, "rounds": options.rounds, "seconds": options.seconds,
                "retries": options.retries, "others_max": OTHERS, "rows": options.rows,
                "columns": [{"name": c.name, "kind": c.kind, "accel": c.accel, "words": c.words,
                             "image": c.image and os.path.basename(c.image)} for c in self.columns],
                "linux": os.path.basename(kernel).removeprefix("vmlinuz-"),
                "linux_words": rig.LINUX_WORDS, "machine": rig.MACHINE, "memory": rig.MEMORY,
                "timeout_ms": rig.TIMEOUT_MS, "pinned": self.cores,
                "compiler": host.version(r"gcc .*", "gcc", "--version")}

    def run(self):
        for number in range(1, self.options.rounds + 1):
            for column in self.columns:
                self._one_guest({"round": number, "column": column.name}, column)

    def _one_guest(self, key, column):
        print(" ".join(map(str, key.values())) + ":", end="", flush=True)
        firmware = FIRMWARE[column.accel]
        loads = [row for row in self.options.rows if rig.ROWS[row]]
        if "ping" in self.options.rows:
            for each in firmware if not loads else firmware[:-1]:
                self._close(self._start(key, column, each))
        station = None
        for row in loads:
            station = station or self._start(key, column, firmware[-1])
            if station is None:
                break  # nor would it start for the other rows
            station = self._one_row({**key, "row": row}, column, station)
        self._close(station)
        print(flush=True)

    def _start(self, key, column, firmware):
        """A guest that answers, None when none would. How soon it did is the row ping."""
        for attempt in range(1 + self.options.retries):
            station = self._try({**key, "row": "ping", "firmware": firmware},
                                functools.partial(rig.Station, column, firmware, self.cores))
            if station is not None:
                if "ping" in self.options.rows:
                    self.runs.append({**key, "row": "ping", "attempt": attempt + 1,
                                      "firmware": firmware, "value": station.first_reply_ms,
                                      "faults": []})
                    print(f"  {firmware} {station.first_reply_ms:.0f} ms", end="", flush=True)
                return station
        return None

    def _one_row(self, key, column, station):
        """Measures until a measurement is good, or often enough; returns a station for the next row, None after
        an error that left none."""
        for attempt in range(1 + self.options.retries):
            station = station or self._start(key, column, FIRMWARE[column.accel][-1])
            if station is None:
                break
            run = self._try(key, functools.partial(self._measure, station, key["row"]))
            if run is None:
                station.close()
                station = None
                continue
            self.runs.append({**key, "attempt": attempt + 1, **run})
            print(f"  {report.one_value(key['row'], run)}", end="", flush=True)
            if not run["faults"]:
                break
        return station

    def _measure(self, station, row):
        return report.run_of(station.measure(row, self.options.seconds), OTHERS)

    def _try(self, key, action):
        try:
            return action()
        except (g.GuestError, OSError, ValueError, subprocess.SubprocessError) as error:
            reason = reason_of(error, None)
            self.failures.append({**key, "reason": reason})
            print(f"  {key['row']} failed: {reason}", end="", flush=True)
            return None

    @staticmethod
    def _close(station):
        if station is not None:
            station.close()


# ---- Command line ----

def named(text):
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text}: not NAME=VALUE")
    return name, value


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    rows = list(rig.ROWS)
    add("--rounds", type=int, default=5, metavar="N", help="default: 5")
    add("--seconds", type=int, default=2, metavar="N", help="of each measurement (default: 2)")
    add("--retries", type=int, default=2, metavar="N",
        help="of a measurement that failed or was disturbed (default: 2)")
    add("--rows", type=list_of(rows), default=rows, metavar="ROW,...",
        help=f"default: {','.join(rows)}")
    add("--accel", choices=("all", "tcg", "kvm"), default="all",
        help="of Ringlet; all (default): TCG, and KVM where it opens. Linux is measured under TCG")
    add("--words", default="", help="more words for Ringlet's command line")
    add("--linux-words", default="", help="more words for the kernel of the Linux guest")
    add("--variant", dest="variants", type=named, action="append", default=[], metavar="NAME=WORDS",
        help="one more column: Ringlet with these words (repeatable)")
    add("--linux-variant", dest="linux_variants", type=named, action="append", default=[],
        metavar="NAME=WORDS", help="the same for Linux: more words for its kernel (repeatable)")
    add("--image", dest="images", type=named, action="append", default=[], metavar="NAME=FILE",
        help="one more column: another image of Ringlet (repeatable)")
    add("--output", default=os.path.join(g.ROOT, "docs", "bench"), metavar="DIR",
        help="for echo.md, .svg and .json (default: docs/bench/)")
    add("--render", action="store_true", help="measure nothing, write .md and .svg again from .json")
    options = parser.parse_args()
    if options.rounds < 1 or options.seconds < 1 or options.retries < 0:
        parser.error("--rounds and --seconds must be 1 or more, --retries 0 or more")
    names = ["Linux", "Linux bare", "Ringlet", "Ringlet irq", *(name for name, _ in [
        *options.variants, *options.linux_variants, *options.images])]
    if len(set(names)) < len(names):
        parser.error("two columns have the same name")
    kvm_error = g.kvm_error()
    if options.accel == "kvm" and kvm_error:
        parser.error(kvm_error)
    options.accels = ("tcg", "kvm") if options.accel == "all" else (options.accel,)
    if kvm_error:
        options.accels = ("tcg",)
    return options


def check_machine(options):
    if networks.Namespace.missing():
        sys.exit(networks.Namespace.missing())
    for program in (g.QEMU, "taskset"):
        if shutil.which(program) is None:
            sys.exit(f"needs {program}")
    for needed in (g.IMAGE, load.UDP_LOAD, load.TCP_LOAD, rig.LINUX_INIT,
                   *(image for _, image in options.images)):
        if not os.path.exists(needed):
            sys.exit(f"{needed}: no such file; make bench-echo builds what it needs")


def measure(options, path):
    """Measures all and writes the JSON file; returns how many answers were wrong."""
    check_machine(options)
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        sys.exit("needs two cores, one for the guest and one for the load generator")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended too
    try:
        rig.write_initramfs()
        benchmark = Benchmark(options, cores)
        about = benchmark.about()
        os.sched_setaffinity(0, cores[1:])  # away from the guest
        started = time.monotonic()
        benchmark.run()
    except g.GuestError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("interrupted: nothing is written")
    if not benchmark.runs:
        sys.exit("nothing could be measured, nothing is written")
    about["took_s"] = round(time.monotonic() - started)
    write_json(path, about, benchmark.runs, benchmark.failures)
    return sum(run.get("corrupt") or 0 for run in benchmark.runs)


def main():
    options = parse_options()
    path = os.path.join(options.output, "echo.json")
    wrong = 0
    if not options.render:
        os.makedirs(options.output, exist_ok=True)
        wrong = measure(options, path)
    elif not os.path.exists(path):
        sys.exit(f"{path}: no such file; measure first")
    for written in report.render(path):
        print(written)
    if wrong:
        sys.exit(f"{wrong} answers had wrong bytes")


if __name__ == "__main__":
    main()
