#!/usr/bin/env python3
"""Measures the way to the workload; reports, does not judge.

- boot_us: the guest's own time from its first instruction to the ready line, address static.
- first reply: from the start of QEMU to the first answered ping on a tap, or without root to the
  first answered UDP echo over QEMU's user network. Firmware (qboot) and QEMU itself are in it.
- ring-0 instructions: how many of the image's own instructions run in ring 0 up to the workload.
  Where KVM has to emulate ring 0 each costs microseconds. TCG counts them: with one instruction a
  translation block and no chaining of blocks it logs each block that it runs (-d exec,nochain), and
  -dfilter keeps those of the ring-0 text, which lies between the symbols ring0_text_start and
  ring0_text_end. A repeated string instruction counts once for each repetition. Interrupts of a
  later time would count too, so the guest is ended as soon as it is ready.

Runs of the kinds are interleaved, so that a slow moment of the machine hits all of them.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

import guest as g  # noqa: E402
import networks  # noqa: E402
from traffic import Pinger, udp_answers  # noqa: E402

WORDS = "ip6=off"
LIMIT = 30.0
MAC = "52:54:00:12:34:56"
PING_INTERVAL = 0.003  # seconds; how exact the time of the first answer is


def measure_boot(accel):
    """boot_us and the milliseconds from QEMU's start to the first answer, of one run."""
    if networks.Namespace.missing():
        return measure_user(accel)
    ns = networks.Namespace()
    try:
        tap = ns.add_tap()
        ns.add_neighbour(tap, tap.guest, MAC)  # no waiting for the host's next ARP request
        guest = g.Guest(accel, f"ip={tap.guest}/24 {WORDS}", [(tap, f"mac={MAC}")], namespace=ns)
        try:
            with Pinger(ns, tap.guest, limit=PING_INTERVAL) as pinger:
                return finish(guest, first_reply(pinger))
        finally:
            guest.close()
    finally:
        ns.close()


def first_reply(pinger):
    """Pings without pause until one is answered; returns when that was."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        try:
            pinger.ping()
            return time.monotonic()
        except (OSError, g.GuestError):
            continue
    raise g.GuestError(f"no ping was answered in {LIMIT:.0f} s")


def measure_user(accel):
    net = networks.UserNet()
    guest = g.Guest(accel, f"ip=10.0.2.15/24 {WORDS}", [(net, None)])
    guest.net = net
    try:
        return finish(guest, udp_answers(guest, LIMIT))
    finally:
        guest.close()


def finish(guest, answered):
    boot_us = guest.wait_ready(LIMIT)["boot_us"]
    return boot_us, (answered - guest.started) * 1000


def ring0_range():
    """First and last address of the ring-0 text, by the image's symbols."""
    listing = subprocess.run(["nm", g.IMAGE], text=True, stdout=subprocess.PIPE, check=True).stdout
    symbols = {name: int(address, 16) for address, name in
               re.findall(r"^([0-9a-f]+) \w (\S+)$", listing, re.M)}
    return symbols["ring0_text_start"], symbols["ring0_text_end"] - 1


def single_step():
    """Accelerator and options for one instruction a block; QEMU renamed -singlestep in 8.1."""
    text = subprocess.run([g.QEMU, "--version"], text=True, stdout=subprocess.PIPE,
                          check=True).stdout
    version = tuple(map(int, re.search(r"version (\d+)\.(\d+)", text).groups()))
    return ("tcg,one-insn-per-tb=on", []) if version >= (8, 1) else ("tcg", ["-singlestep"])


def count_ring0():
    """Ring-0 instructions of one boot to the ready line."""
    first, last = ring0_range()
    accel, options = single_step()
    with tempfile.TemporaryDirectory(prefix="ringlet-bench-") as folder:
        log = os.path.join(folder, "log")
        extra = [*options, "-d", "exec,nochain", "-D", log,
                 "-dfilter", f"{first:#x}..{last:#x}"]
        guest = g.Guest(accel, f"ip=10.0.2.15/24 {WORDS}", [(networks.UserNet(), None)], extra=extra)
        try:
            guest.wait_ready(LIMIT)
            guest.qmp("stop")  # the log is complete and nothing more comes
        finally:
            guest.close()
        with open(log, encoding="ascii", errors="replace") as lines:
            return sum(line.startswith("Trace ") for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=10, metavar="RUNS",
                        help="of each kind (default: 10)")
    runs = max(1, parser.parse_args().n)
    accels = ["tcg"] + ([] if g.kvm_error() else ["kvm"])
    samples = {accel: [] for accel in accels}
    for _ in range(runs):
        for accel in accels:
            samples[accel].append(measure_boot(accel))
    report(runs, samples, count_ring0())


def report(runs, samples, ring0):
    reply = "udp-echo-user" if networks.Namespace.missing() else "ping-tap"
    result = {"event": "bench-boot", "runs": runs, "first_reply": reply,
              "ring0_instructions": ring0}
    print(f"medians of {runs} runs, q35, qboot, 64 MiB; first reply: {reply}")
    print(f"{'':6}{'boot_us':>10}{'first reply ms':>18}{'  (range)'}")
    for accel, rows in samples.items():
        boots, replies = zip(*rows)
        boot_us, reply_ms = statistics.median(boots), statistics.median(replies)
        print(f"{accel:6}{boot_us:10.0f}{reply_ms:18.1f}"
              f"  ({min(replies):.1f} to {max(replies):.1f})")
        result[accel] = {"boot_us": boot_us, "first_reply_ms": round(reply_ms, 1)}
    print(f"ring-0 instructions up to the workload: {ring0}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
