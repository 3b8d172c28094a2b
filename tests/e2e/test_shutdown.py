"""The power button: each workload ends, reports and gives its status; then the machine powers off."""
import time

from case import EACH, EITHER, case
from generated import check_sink, generator, receiver
from networks import UserNet
from test_ping_app import all_answered, echo_guest, ping_guest
from test_ping_app import result as ping_result
from test_sink import Pair
from traffic import udp_answers

LIMIT = 10.0  # seconds from a press to the end; the guest looks once a second


def press(guest):
    guest.qmp("system_powerdown")


def check_stop(guest, status=0, ready=True):
    """What the console shows of it."""
    stops = guest.events_of("stop")
    assert [e["reason"] for e in stops] == ["power button"], stops
    names = [e["event"] for e in guest.events if e["event"] != "stats"]
    assert names[-3:] == ["stop", "result", "exit"], names
    assert ("ready" in names) == ready, names
    assert guest.events[-1]["status"] == status, guest.events[-1]


MODES = ["poll", "irq", "adaptive"]
MACHINES = ["pc", "q35", "microvm"]


@case(accel=EITHER, machine=MACHINES, mode=MODES)
def machines(t, machine, mode):
    """Each has its own registers for it. Without isa-debug-exit ACPI ends it."""
    power_off(t, f"mode={mode}", machine=machine, firmware="qboot")


@case(accel=EACH, machine=MACHINES)
def seabios(t, machine):
    power_off(t, "mode=irq", machine=machine, firmware="seabios")


def power_off(t, words, **options):
    guest = t.user_guest(words, debug_exit=False, **options)
    udp_answers(guest)
    press(guest)
    assert guest.wait_shutdown(LIMIT) == "guest-shutdown"
    check_stop(guest)


@case(accel=EACH, machine=["q35", "microvm"])
def asleep(t, machine):
    """A guest that nothing wakes looks at the button all the same, and still sleeps nearly always."""
    guest = t.tap_guest("mode=irq ip6=off stats=1", machine=machine)
    udp_answers(guest)
    first, last = (guest.wait_event("stats", count=n) for n in (2, 4))
    slept = last["slept_us"] - first["slept_us"]
    assert slept > (last["uptime_us"] - first["uptime_us"]) // 2, f"slept {slept} us"
    press(guest)
    assert guest.wait_exit(LIMIT) == 0
    check_stop(guest)


@case(accel=EITHER, mode=MODES, proto=["icmp", "udp", "tcp"])
def ping(t, mode, proto):
    """The request that is under way is still waited for, so none is lost by it."""
    wire = t.wire()
    echo_guest(t, wire)
    guest = ping_guest(t, wire, f"dst=10.0.0.1 count=0 interval_us=1000 timeout_ms=5000 "
                                f"proto={proto} mode={mode}")
    guest.wait_ready()
    time.sleep(0.5)
    press(guest)
    counters = ping_result(guest, 0)
    check_stop(guest)
    assert counters["sent"] > 0
    all_answered(counters, counters["sent"])


@case(accel=EITHER, mode=MODES)
def generator_and_sink(t, mode):
    """What the one sent the other has, though neither knew when it would end."""
    pair = Pair(t, t.wire().ends, f"mode={mode}", f"frames=0 seconds=0 check=1 mode={mode}", frames=0)
    pair.gen.wait_ready()
    time.sleep(1)
    press(pair.gen)
    frames = result_frames(pair.gen)
    check_stop(pair.gen)
    time.sleep(0.5)  # what is under way
    press(pair.sink)
    sink = receiver(pair.sink)["sink"]
    check_stop(pair.sink)
    check_sink(sink, frames=frames, received=frames, sessions=1)


def result_frames(guest):
    """How many a generator sent, checked."""
    frames = guest.wait_event("result", LIMIT)["gen"]["frames"]
    assert frames > 0
    assert generator(guest, frames)["nics"][0]["tx"]["packets"] == frames
    return frames


@case(accel=EITHER, mode=["poll", "irq"])
def limit_not_reached(t, mode):
    """A generator that was to send more is stopped as by seconds=; a sink that was to get more fails."""
    pair = Pair(t, t.wire().ends, f"mode={mode}", f"frames=1000000 seconds=0 loss_ppm=0 mode={mode}",
                frames=1000000)
    pair.gen.wait_ready()
    time.sleep(0.5)
    press(pair.gen)
    assert 0 < result_frames(pair.gen) < 1000000
    press(pair.sink)
    receiver(pair.sink, status=1)
    check_stop(pair.sink, status=1)


@case(accel=EITHER, mode=["poll", "irq"])
def pressed_again(t, mode):
    """While the generator waits for frames under way: that goes on, and there is one stop."""
    guest = t.guest(f"app=gen dst_mac=02:00:00:00:00:99 rate=100pps rx=1 drain_ms=3000 mode={mode}",
                    [(UserNet(), None)])
    guest.wait_ready()
    time.sleep(0.3)
    press(guest)
    press(guest)
    stop = guest.wait_event("stop", LIMIT)
    time.sleep(1.5)
    press(guest)
    result = guest.wait_event("result", LIMIT)
    assert result["seen"] - stop["seen"] > 2.5, "did not wait"
    assert result["gen"]["rx"]["unreturned"] == result["gen"]["frames"] > 0, result["gen"]
    assert guest.wait_exit(LIMIT) == 0
    check_stop(guest)


@case(accel=EITHER, app=["fwd", "sink"], mode=["poll", "irq"])
def raw(t, app, mode):
    guest = t.guest(f"app={app} mode={mode}", [(UserNet(), None)], debug_exit=False)
    guest.wait_ready()
    press(guest)
    assert guest.wait_shutdown(LIMIT) == "guest-shutdown"
    check_stop(guest)


# Words, and the status at the end: what was to be tested and never began has failed.
NOT_BEGUN = {
    "echo": ("app=echo ip=dhcp", 0),
    "ping": ("app=ping ip=dhcp dst=10.9.9.9", 1),
    "gen": ("app=gen ip=dhcp dst=10.9.9.9", 1),
    "sink": ("app=sink ip=dhcp", 0),
}


@case(accel=EITHER, app=NOT_BEGUN, mode=["poll", "irq"])
def not_begun(t, app, mode):
    """No DHCP server answers; nobody waits for the ten seconds that this may take."""
    words, status = NOT_BEGUN[app]
    guest = t.tap_guest(f"{words} mode={mode}", ready=False)
    guest.wait_event("device")
    press(guest)
    assert guest.wait_exit(LIMIT) == status
    check_stop(guest, status, ready=False)


@case()
def no_button(t):
    """Without ACPI tables there is none: nothing happens, and the end is a reset."""
    guest = t.user_guest("seconds=4", machine="pc", extra=["-machine", "acpi=off"], debug_exit=False)
    press(guest)
    time.sleep(1.5)
    udp_answers(guest)
    assert guest.wait_shutdown() == "guest-reset"
    assert not guest.events_of("stop")
    assert guest.events[-1]["status"] == 0


@case(accel=EACH)
def after_reset(t):
    """The button of the machine before is not that of the machine after."""
    guest = t.user_guest(reboots=True)
    press(guest)
    guest.qmp("system_reset")
    guest.wait_event("ready", count=2)
    time.sleep(1.5)
    if not guest.events_of("stop"):  # else the press was seen before the reset
        udp_answers(guest)
        press(guest)
    assert guest.wait_exit(LIMIT) == 0
