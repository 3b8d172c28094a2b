"""app=crash-test: each broken rule of the machine is noticed and reported."""
import re
import shutil
import subprocess

import guest as g
from case import EACH, EITHER, case
from debugger import Debugger

# Kind, and the function in which the backtrace has to start or, for a jump into data, to continue.
KINDS = {
    "null-write": "crash_null_write",
    "write-code": "crash_write_code",
    "run-data": "crash_run_data",
    "stack-overflow": "crash_recurse",
    "privileged": "crash_privileged",
    "port": "crash_port",
    "divide": "crash_divide",
    "assert": "crash_assert",
}


@case(accel=EITHER, kind=KINDS)
def crash(t, kind):
    guest = t.guest(f"app=crash-test kind={kind}")
    assert guest.wait_exit() == 3
    panic = guest.wait_event("panic")
    trace = [int(address, 16) for address in panic["backtrace"]]
    assert guest.events[-1]["event"] == "exit" and guest.events[-1]["status"] == 3
    assert any(line.startswith("panic:") for line in guest.lines)
    assert kind == "assert" or any(re.match(r"rip [0-9a-f]{16} ", x) for x in guest.lines)
    assert kind == "assert" or panic["ring"] == 3, panic
    in_text = trace[1:] if kind == "run-data" else trace
    symbols = Symbols()
    names = [symbols.function(address) for address in in_text]
    assert names and names[0] is not None, f"{panic['backtrace']} is not in the text"
    # A compiler may inline the small ones into their caller.
    assert names[0] in (KINDS[kind], "app_crash_test_run"), names
    assert names[-1] in ("user_main", "crash_recurse"), names


PANIC = "app=crash-test kind=divide"
PVPANIC = ["-device", "pvpanic"]


def crash_watched(t, *options, **more):
    """A guest whose monitor is connected before it starts."""
    guest = t.guest(PANIC, extra=["-S", *options], **more)
    guest.qmp("cont")
    return guest


def check_told_last(guest):
    """QEMU may stop the guest when it is told, so the console must be complete by then."""
    assert any(line.startswith("rip ") for line in guest.lines), guest.lines
    assert [e["event"] for e in guest.events[-2:]] == ["panic", "exit"], guest.events
    assert guest.events[-1]["status"] == 3


@case(accel=EITHER, machine=["pc", "q35"], firmware=["qboot", "seabios"])
def pvpanic(t, machine, firmware):
    """The management hears of it; where it does nothing else, the exit status stays."""
    guest = crash_watched(t, *PVPANIC, "-action", "panic=none", machine=machine, firmware=firmware)
    assert guest.wait_qmp_event("GUEST_PANICKED")["data"]["action"] == "run"
    assert guest.wait_exit() == 3
    check_told_last(guest)


@case(accel=EITHER, machine=["pc", "q35", "microvm"], firmware=["qboot", "seabios"])
def pvpanic_pci(t, machine, firmware):
    """The device for PCI, which is known once PCI was looked at: an invalid opcode comes later."""
    debugger = Debugger(t)
    guest = t.user_guest(machine=machine, firmware=firmware, extra=[
        *debugger.options, "-device", "pvpanic-pci", "-action", "panic=none"])
    guest.qmp("query-status")
    with debugger:
        debugger.write(Symbols().address("stack_poll"), b"\x0f\x0b")
    guest.wait_qmp_event("GUEST_PANICKED")
    assert guest.wait_exit() == 3
    check_told_last(guest)


@case(accel=EACH)
def pvpanic_shuts_down(t):
    """QEMU's own default: it ends at once, with its status 0."""
    guest = crash_watched(t, *PVPANIC)
    assert guest.wait_qmp_event("GUEST_PANICKED")["data"]["action"] == "poweroff"
    assert guest.wait_shutdown() == "guest-panic"
    check_told_last(guest)


@case(accel=EACH)
def pvpanic_pauses(t):
    """As management software wants it that makes a dump."""
    guest = crash_watched(t, *PVPANIC, "-action", "panic=pause")
    assert guest.wait_qmp_event("GUEST_PANICKED")["data"]["action"] == "pause"
    assert guest.qmp("query-status")["status"] == "guest-panicked"
    guest.wait_event("exit", limit=5)
    check_told_last(guest)


@case(machine=["q35", "microvm"])
def no_pvpanic(t, machine):
    """Without the device nothing else happens than before."""
    guest = crash_watched(t, machine=machine, debug_exit=False)
    assert guest.wait_shutdown() == "guest-shutdown"
    check_told_last(guest)


@case(accel=EACH)
def halt_service(t):
    """HLT in ring 3 sleeps until the timer's interrupt and then goes on."""
    guest = t.guest("app=crash-test kind=hlt")
    assert guest.wait_exit() == 0
    event = guest.wait_event("hlt")
    assert event["slept_us"] >= 1000, event
    assert event["timer"] == 1 and event["interrupts"] >= 1, event


class Symbols:
    """Functions of the image, by address."""

    def __init__(self):
        tool = shutil.which("nm")
        if tool is None:
            raise g.GuestError("nm (binutils) is not installed: make deps")
        listing = subprocess.run([tool, "-n", g.IMAGE], text=True, stdout=subprocess.PIPE,
                                 check=True).stdout
        symbols = [line.split() for line in listing.splitlines()]
        addresses = {s[2]: int(s[0], 16) for s in symbols if len(s) == 3}
        self.start, self.end = addresses["text_start"], addresses["text_end"]
        self.functions = [(int(s[0], 16), s[2]) for s in symbols
                          if len(s) == 3 and s[1] in "tT" and s[2] not in ("text_start",)]

    def address(self, name):
        return next(start for start, function in self.functions if function == name)

    def function(self, address):
        """The name of the function that contains the address, None outside of the text."""
        if not self.start <= address < self.end:
            return None
        return [name for start, name in self.functions if start <= address][-1]
