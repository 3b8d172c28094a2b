#!/usr/bin/env python3
"""Measures what each notification mode costs: docs/bench-notify.md, .svg and .json.

Each combination of back end, mode, ring layout and EVENT_IDX boots a guest of its own, which
udp_load then asks at each rate. Before and after, the guest's counters are read over HTTP and the
processor time of its threads from /proc. Rounds are interleaved: all combinations once, then again,
so that a slow moment of the machine hits all of them. What is shown are medians over the rounds.
"""
import argparse
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True

import bench_host as host  # noqa: E402
import bench_report as report  # noqa: E402
import guest as g  # noqa: E402
import networks  # noqa: E402
import vhost  # noqa: E402
from case import Skip, Test  # noqa: E402
from load import run_load  # noqa: E402
from traffic import receive_all, tcp_connect, udp_answers  # noqa: E402

BACK_ENDS = ("tap", "vhost")
MODES = ("poll", "irq", "adaptive")
LAYOUTS = {"split": "packed=off", "packed": "packed=on"}
EVENT_IDX = {"on": "event_idx=on", "off": "event_idx=off"}
RATES = (1000, 10000, 100000, 0)  # 0: as fast as a window of WINDOW datagrams allows
WINDOW = 64
SIZE = 64
TIMEOUT_MS = 100  # a round trip that takes longer counts as lost
MEMORY = "64M"
COUNTERS = ("kicks", "interrupts", "wakeups", "rechecks_hit")
FROM_LOAD = ("sent", "received", "lost", "corrupt", "stale", "late", "received_pps", "cpu_us",
             # absent when nothing came back:
             "rtt_p50_us", "rtt_p99_us", "rtt_p99_9_us", "rtt_max_us")
CORES_TO_SPIN = 4  # vCPU, back end, generator, and one for the rest


class Station:
    """A running guest: how to ask it, and which threads work for it."""

    def __init__(self, t, back_end, words, nic, cores):
        self.testpmd = None
        if back_end == "vhost":
            bench = vhost.Bench(t, vhost.CONNECTS, words, nic, mem=MEMORY)
            self.guest, self.testpmd = bench.guest, bench.testpmd
        else:
            self.guest = t.tap_guest(words, nic, mem=MEMORY)
        self.device = self.guest.wait_event("device")
        # Not asked for during a measurement.
        self.guest.ns.add_neighbour(self.guest.tap, self.guest.ip, self.device["mac"])
        self._sort_threads()
        if len(cores) > 1:
            self._pin(cores)
        self.generator_cores = cores[2:]  # none left: wherever there is room
        udp_answers(self.guest)

    def _sort_threads(self):
        pid = self.guest.process.pid
        self.vcpu = [cpu["thread-id"] for cpu in self.guest.qmp("query-cpus-fast")]
        self.groups = {"vcpu_ns": (pid, self.vcpu),
                       "qemu_ns": (pid, [i for i in host.threads(pid) if i not in self.vcpu])}
        if self.testpmd is not None:
            pid = self.testpmd.process.pid
            self.groups["testpmd_ns"] = (pid, list(host.threads(pid)))

    def _pin(self, cores):
        """The vCPU has the first core, what works for the device the second."""
        host.pin(self.vcpu, cores[:1])
        if self.testpmd is None:
            host.pin(self.groups["qemu_ns"][1], cores[1:2])
        else:
            host.pin(self.groups["qemu_ns"][1], cores[1:])
            names = host.threads(self.testpmd.process.pid)
            workers = [tid for tid, name in names.items() if "worker" in name]
            if not workers:
                raise g.GuestError(f"testpmd: no worker among its threads {sorted(names.values())}")
            host.pin(names, cores[1:])
            host.pin(workers, cores[1:2])

    def check(self, mode, layout, event_idx):
        """The device offered and the guest took what is to be measured."""
        has = "on" if "event_idx" in self.device["features"] else "off"
        found = (self.device["mode"], self.device["layout"], has)
        if found != (mode, layout, event_idx):
            raise g.GuestError(f"mode, layout and event_idx are {', '.join(found)}")

    def stats(self):
        with tcp_connect(self.guest, 80) as s:
            s.sendall(b"GET /stats.json HTTP/1.0\r\n\r\n")
            return json.loads(receive_all(s).partition(b"\r\n\r\n")[2])

    def times(self):
        """Time now, and what each group of threads has run so far."""
        groups = {name: host.cpu_ns(*group) for name, group in self.groups.items()}
        return {"wall_ns": time.monotonic_ns(), **host.machine_ns(), **groups}

    def measure(self, options):
        """One run of the generator, with what the counters and clocks moved by meanwhile."""
        before, start = self.stats(), self.times()
        load = run_load(self.guest.ip, self.guest.ns, self.generator_cores, **options)
        end, after = self.times(), self.stats()
        row = {"irq": self.device.get("irq", "none"),
               **{name: end[name] - start[name] for name in start}}
        row["uptime_us"] = after["uptime_us"] - before["uptime_us"]
        row["slept_us"] = after.get("slept_us", 0) - before.get("slept_us", 0)
        row.update(queue_differences(before["nics"][0], after["nics"][0]))
        row.update((name, load.get(name)) for name in FROM_LOAD)
        return row


def queue_differences(before, after):
    """What the counters of both queues together moved by."""
    moved = {name: sum(after[q][name] - before[q][name] for q in ("rx", "tx"))
             for name in after["rx"] if name != "size"}
    return {"frames": moved["packets"], **{name: moved[name] for name in COUNTERS},
            "drops": sum(value for name, value in moved.items() if name.startswith("drop_"))}


# ---- All combinations ----

def missing(back_end):
    """Why a back end cannot be measured, None when it can."""
    if back_end == "vhost" and shutil.which(vhost.TESTPMD) is None:
        return f"needs {vhost.TESTPMD}"
    return networks.Namespace.missing()


class Benchmark:
    def __init__(self, options):
        self.options = options
        self.cores = sorted(os.sched_getaffinity(0))
        self.spins = len(self.cores) >= CORES_TO_SPIN
        self.words = f"ip6=off idle_us={options.idle_us}"
        self.runs, self.failures = [], []

    def load_options(self, rate):
        options = {"size": SIZE, "seconds": self.options.seconds, "timeout_ms": TIMEOUT_MS,
                   "sleep": int(not self.spins), "rate": rate}
        return options if rate else {**options, "window": WINDOW}

    def guest_words(self, key):
        # What polling costs without the sleeps that are its default.
        spin = " idle_pause=spin" if key["mode"] == "poll" else ""
        return f"{vhost.mode_words(self.options.accel, key['mode'])} {self.words}{spin}"

    def about(self):
        return {**host.facts(self.options.accel), "rounds": self.options.rounds,
                "seconds": self.options.seconds, "size": SIZE, "window": WINDOW,
                "timeout_ms": TIMEOUT_MS, "generator": "spins" if self.spins else "sleeps",
                "machine": "q35", "memory": MEMORY, "words": self.words, "rates": RATES}

    def run(self):
        reasons = {back_end: missing(back_end) for back_end in BACK_ENDS}
        for back_end, reason in reasons.items():
            if reason:
                print(f"{back_end}: {reason}")
                self.failures.append({"back_end": back_end, "reason": reason})
        present = [back_end for back_end in self.options.back_ends if not reasons[back_end]]
        for number in range(1, self.options.rounds + 1):
            for values in itertools.product(LAYOUTS, EVENT_IDX, present, MODES):
                key = dict(zip(("layout", "event_idx", "back_end", "mode"), values))
                self.one_guest({"round": number, **key})

    def one_guest(self, key):
        test = Test("bench", self.options.accel)
        nic = f"{LAYOUTS[key['layout']]},{EVENT_IDX[key['event_idx']]}"
        shown = " ".join(f"{name}={value}" for name, value in key.items())
        print(f"{shown}:", end="", flush=True)
        try:
            with test.stack:
                station = Station(test, key["back_end"], self.guest_words(key), nic, self.cores)
                station.check(key["mode"], key["layout"], key["event_idx"])
                for rate in RATES:
                    row = station.measure(self.load_options(rate))
                    self.runs.append({**key, "rate": rate, **row})
                    print(f"  {row['received_pps']}/s {row['rtt_p50_us']} us", end="", flush=True)
        except (g.GuestError, Skip, OSError, ValueError, subprocess.TimeoutExpired) as error:
            reason = reason_of(error, test.guests)
            self.failures.append({**key, "reason": reason})
            print(f"  failed: {reason}", end="")
        print()


def reason_of(error, guests):
    """One line; a guest that refuses its command line or device says why itself."""
    said = [line for guest in guests for line in guest.lines if line.startswith("error:")]
    return said[0] if said else " ".join(str(error).split()) or type(error).__name__


# ---- Command line ----

def parse_options():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="default: 3")
    parser.add_argument("--seconds", type=int, default=2, metavar="N",
                        help="of load at each rate (default: 2)")
    parser.add_argument("--idle-us", type=int, default=100, metavar="N",
                        help="adaptive: polls so long without work before it sleeps (default: 100)")
    parser.add_argument("--accel", choices=("auto", "kvm", "tcg"), default="auto",
                        help="auto (default): KVM where it opens, else TCG")
    parser.add_argument("--back-end", dest="back_ends", action="append", choices=BACK_ENDS,
                        help="only this one (repeatable; default: all)")
    parser.add_argument("--output", default=os.path.join(g.ROOT, "docs"), metavar="FOLDER",
                        help="for bench-notify.md, .svg and .json (default: docs/)")
    parser.add_argument("--render", action="store_true",
                        help="measure nothing, write .md and .svg again from .json")
    options = parser.parse_args()
    if options.rounds < 1 or options.seconds < 1:
        parser.error("--rounds and --seconds must be 1 or more")
    if options.accel == "auto":
        options.accel = "tcg" if g.kvm_error() else "kvm"
    options.back_ends = options.back_ends or BACK_ENDS
    return options


def main():
    options = parse_options()
    path = os.path.join(options.output, "bench-notify.json")
    if not options.render:
        benchmark = Benchmark(options)
        about = benchmark.about()
        started = time.monotonic()
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # guests are ended too
        try:
            benchmark.run()
        except KeyboardInterrupt:
            sys.exit("interrupted: nothing is written")
        if not benchmark.runs:
            sys.exit("nothing could be measured, nothing is written")
        about["took_s"] = round(time.monotonic() - started)
        report.write_json(path, about, benchmark.runs, benchmark.failures)
    elif not os.path.exists(path):
        sys.exit(f"{path}: no such file; measure first")
    for written in report.render(path):
        print(written)


if __name__ == "__main__":
    main()
