"""Test cases and what runs them.

A test file holds functions marked with @case. Each gets a Test, which makes guests and namespaces
and removes them when the function returns or raises. A keyword argument of @case with a list of
values makes one case for each value, two lists make one for each pair.

Axes: a case chooses the accelerator, the layout, the mode, the machine, the firmware as lists. What goes
wrong does so for one value or for two that meet, hardly ever for three, so lists give pairs, not
products:

- Two lists are tested in all combinations, but with accel=EITHER each combination on one accelerator
  only. Neighbours take turns, so that each value meets both.
- Of three lists or more every second combination is tested. Each pair of values is in one of them.
- accel=EACH is for what an accelerator itself may change (traps, interrupts, order of memory, time),
  and for one simple case of each area, so that no area is without a run on either.
- accel=TCG is for what boots from UEFI firmware, which does not run on a KVM that emulates ring 0.
- accel=ONE, the default, is for what the guest decides alone: protocols, options, refusals.
"""
import collections
import contextlib
import itertools
import os
import queue
import shutil
import sys
import threading
import time
import traceback

import guest as g
import networks

ONE = "one"    # on one accelerator: KVM where it opens, else TCG
EACH = "each"  # on each accelerator
TCG = "tcg"    # on TCG only
EITHER = "either"  # each combination of values on one accelerator, in turn

MODES = ["poll", "irq"]  # of the guest, for tests that are repeated in each

TEST_LIMIT = 60.0  # seconds; each wait inside has its own, shorter one

# The programs that tests ask for, and the Debian packages that tools/deps brings them with.
PACKAGES = {
    "chromium": "chromium",
    "curl": "curl",
    "dpdk-testpmd": "dpdk-dev",
    "iperf": "iperf",
    "mcopy": "mtools",
    "nm": "binutils",
    "ovs-vsctl": "openvswitch-switch-dpdk",
    "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk": "openvswitch-switch-dpdk",
    "ping": "iputils-ping",
    "sfdisk": "fdisk",
    "qemu-img": "qemu-utils",
    "tcpdump": "tcpdump",
    "tshark": "tshark",
    "virt-xml-validate": "libvirt-clients",
    "xmllint": "libxml2-utils",
    "xorriso": "xorriso",
}

_cases = []


class Skip(Exception):
    """The machine lacks something that the test needs."""


class Case:
    def __init__(self, name, function, accel, values, limit, spins):
        self.name, self.function, self.accel = name, function, accel
        self.values, self.limit, self.spins = values, limit, spins


def case(accel=ONE, limit=TEST_LIMIT, spins=False, **lists):
    """Marks a test. `accel` is ONE, EACH, EITHER, TCG or None (it starts no guest, or chooses itself).
    `spins`: besides the guest a back end takes a processor for itself; one such test at a time."""
    def mark(function):
        topic = function.__module__.removeprefix("test_")
        for at, values in combinations(lists.values()):
            shown = ",".join(str(v)[:40].replace(" ", "_") for v in values)
            name = f"{topic}/{function.__name__}" + (f"[{shown}]" if shown else "")
            where = ("kvm", "tcg")[at % 2] if accel == EITHER else accel
            _cases.append(Case(name, function, where, dict(zip(lists, values)), limit, spins))
        return function
    return mark


def combinations(lists):
    """Combinations of values, each with the sum of their places in the lists."""
    for places in itertools.product(*(list(enumerate(values)) for values in lists)):
        at = sum(place for place, _ in places)
        if len(places) < 3 or at % 2 == 0:
            yield at, [value for _, value in places]


class Test:
    """What a test function works with."""

    def __init__(self, name, accel):
        self.name, self.accel = name, accel
        self.stack = contextlib.ExitStack()
        self.guests = []
        self.details = []  # functions that return lines to show when the test fails

    # ---- Needs ----

    def need_namespace(self):
        missing = networks.Namespace.missing()
        if missing:
            raise Skip(missing)

    def need_program(self, *names):
        """The first of the programs that is installed."""
        for name in names:
            if shutil.which(name):
                return name
        raise Skip(f"{' or '.join(names)} is not installed (package {PACKAGES[names[0]]})")

    def need_file(self, path, where_from):
        if not os.path.exists(path):
            raise Skip(f"{path} is not there ({where_from})")
        return path

    def need_ovmf(self):
        reason = g.ovmf_error(self.accel)
        if reason:
            raise Skip(reason)

    def need_ipv6(self):
        if not os.path.exists("/proc/net/if_inet6"):
            raise Skip("this machine has no IPv6")

    # ---- Guests ----

    def namespace(self):
        self.need_namespace()
        ns = networks.Namespace()
        self.stack.callback(ns.close)
        return ns

    def wire(self, kind="dgram"):
        wire = networks.Wire(kind)
        self.stack.callback(wire.close)
        return wire

    def guest(self, words="", nics=(), **options):
        guest = g.Guest(self.accel, words, nics, **options)
        self.guests.append(guest)
        self.stack.callback(guest.close)
        return guest

    def tap_guest(self, words="", nic=None, mtu=1500, ready=True, **options):
        """A guest with one NIC on a tap; guest.ns and guest.ip say how to reach it."""
        ns = self.namespace()
        tap = ns.add_tap(mtu)
        if "ip=" not in words.replace("ip6=", ""):
            words = f"ip={tap.guest}/24 {words}".strip()
        guest = self.guest(words, [(tap, nic)], namespace=ns, **options)
        guest.ns, guest.tap, guest.ip = ns, tap, tap.guest
        if ready:
            guest.wait_ready()
        return guest

    def user_guest(self, words="", nic=None, ready=True, **options):
        """A guest on QEMU's user network; guest.net has the forwarded ports."""
        net = networks.UserNet()
        guest = self.guest(words, [(net, nic)], **options)
        guest.net = net
        if ready:
            guest.wait_ready()
        return guest

    def check_lines(self):
        """What starts like a machine line is one, in every test."""
        for guest in self.guests:
            assert not guest.bad_json, f"not JSON: {guest.bad_json[0][:200]}"

    def kill_guests(self):
        for guest in self.guests:
            guest.kill()

    def tail(self):
        lines = [line for guest in self.guests for line in guest.tail()]
        return lines + [line for details in self.details for line in details()]


class Run:
    """All chosen cases, run by a few threads. Prints a line for each as it ends."""

    def __init__(self, cases, jobs):
        self._todo = collections.deque(pair for pair in cases if not pair[0].spins)
        self._spinning = collections.deque(pair for pair in cases if pair[0].spins)
        self._jobs = self._working = jobs
        self._ended = queue.Queue()
        self._print = threading.Lock()
        self._live = set()
        self._stop = False
        self.counts = {"ok": 0, "FAIL": 0, "skip": 0}

    def run(self):
        # The first thread has all those that spin, so no two of them run at a time.
        threading.Thread(target=self._work, args=(self._spinning, self._todo)).start()
        for _ in range(self._jobs - 1):
            threading.Thread(target=self._work, args=(self._todo,)).start()
        try:
            self._wait()
        except BaseException:
            self._stop = True  # the guests' end makes the waiting tests fail and clean up
            for test in list(self._live):
                test.kill_guests()
            self._wait()
            raise
        return self.counts["FAIL"] == 0

    def _wait(self):
        # Not Thread.join(): when a signal interrupts it, Python 3.11 takes the thread for ended.
        while self._working > 0:
            self._ended.get()
            self._working -= 1

    def _work(self, *lists):
        try:
            for pairs in lists:
                while not self._stop:
                    try:
                        chosen, accel = pairs.popleft()
                    except IndexError:
                        break
                    self._one(chosen, accel)
        finally:
            self._ended.put(None)

    def _one(self, chosen, accel):
        name = chosen.name if accel is None else f"{accel}/{chosen.name}"
        test = Test(name, accel)
        started = time.monotonic()
        alarm = threading.Timer(chosen.limit, test.kill_guests)
        alarm.start()
        self._live.add(test)
        verdict, details = "ok", []
        reason = ""
        try:
            with test.stack:
                try:
                    if accel == "kvm" and g.kvm_error():
                        raise Skip(g.kvm_error())
                    chosen.function(test, **chosen.values)
                    test.check_lines()
                except Skip as skip:
                    verdict, reason = "skip", str(skip)
                except Exception as error:  # whatever it is, it is this test's failure
                    verdict, reason = "FAIL", describe(error)
                    details = test.tail()
        except Exception as error:
            verdict, reason = "FAIL", f"clean-up: {describe(error)}"
        finally:
            alarm.cancel()
            self._live.discard(test)
        self._report(verdict, name, reason, details, time.monotonic() - started)

    def _report(self, verdict, name, reason, details, seconds):
        with self._print:
            self.counts[verdict] += 1
            print(f"{verdict} {name}" + (f": {reason}" if reason else "") +
                  (f" ({seconds:.1f} s)" if verdict != "skip" else ""))
            for line in details:
                print("    " + line)
            sys.stdout.flush()


def describe(error):
    """One line: what went wrong and in which line of the tests."""
    here = os.path.dirname(os.path.abspath(__file__))
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(here)]
    where = f" at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""
    tests = [f for f in frames if os.path.basename(f.filename).startswith("test_")]
    if tests and tests[-1] is not frames[-1]:
        where += f" from {os.path.basename(tests[-1].filename)}:{tests[-1].lineno}"
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, AssertionError) and not str(error) and frames:
        text = f"not so: {frames[-1].line}"
    elif not isinstance(error, (AssertionError, g.GuestError)):
        text = f"{type(error).__name__}: {text}"
    return text + where


def select(pattern, accel):
    """Pairs of case and accelerator, those that match the pattern."""
    pairs = []
    for chosen in _cases:
        if chosen.accel is None:
            accels = [None]
        elif chosen.accel == EACH:
            accels = ["tcg", "kvm"] if accel == "all" else [accel]
        elif accel == "all":
            accels = ["tcg" if g.kvm_error() or chosen.accel == "tcg" else "kvm"]
        else:
            accels = [accel]
        pairs += [(chosen, a) for a in accels]
    return [(c, a) for c, a in pairs if pattern in (c.name if a is None else f"{a}/{c.name}")]
