"""Faults of ring 0 itself: none is known, so QEMU's debugger interface makes one."""
import subprocess

import guest as g
from case import case
from debugger import Debugger

UD2 = bytes((0x0F, 0x0B))


@case()
def fault(t):
    """An invalid opcode in the trap handler ends in the same report as a fault of ring 3."""
    t.need_program("nm")
    debugger = Debugger(t, halted=True)
    guest = t.guest("app=crash-test kind=hlt", extra=debugger.options)
    address = symbol("wait_service")
    with debugger:
        debugger.write(address, UD2)
    assert guest.wait_exit() == 3
    panic = guest.wait_event("panic")
    assert panic["ring"] == 0 and panic["vector"] == 6, panic
    assert int(panic["rip"], 16) == address, panic
    assert guest.events[-1]["event"] == "exit" and guest.events[-1]["status"] == 3


@case()
def fault_in_panic(t):
    """A second fault, while the first is reported, ends the machine from ring 0, after pvpanic is told."""
    t.need_program("nm")
    debugger = Debugger(t, halted=True)
    guest = t.guest("app=crash-test kind=divide",
                    extra=[*debugger.options, "-device", "pvpanic", "-action", "panic=none"])
    guest.qmp("query-status")
    with debugger:
        debugger.write(symbol("panic_enter"), UD2)
    guest.wait_qmp_event("GUEST_PANICKED")
    assert guest.wait_exit() == 3
    assert not guest.events_of("panic") and not guest.events_of("exit"), guest.events


def symbol(name):
    listing = subprocess.run(["nm", g.IMAGE], text=True, stdout=subprocess.PIPE, check=True).stdout
    return next(int(s[0], 16) for s in map(str.split, listing.splitlines()) if s[-1] == name)
