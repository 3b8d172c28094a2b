"""What the guest says about itself: privilege level, counters, machine lines."""
import re
import time

from case import EACH, case
from traffic import pattern, tcp_echo, udp_answers

# DESIGN.md section 3; drops are counted under their causes.
COUNTERS = ("packets", "bytes", "kicks", "interrupts", "polls", "empty_polls", "ring_full",
            "ring_empty", "refills", "wakeups", "rechecks_hit", "device_errors")


def queues(event):
    """All queues of all devices in a stats or result event."""
    return [device[direction] for device in event["nics"] for direction in ("rx", "tx")]


@case(accel=EACH, machine=["q35", "microvm"])
def ring_3(t, machine):
    """Whenever one looks after the ready line, the CPU is in ring 3 with interrupts enabled: of a guest that
    does not sleep, which ring 0 does for it."""
    guest = t.user_guest("idle_pause=spin", machine=machine)
    udp_answers(guest)
    for _ in range(20):
        registers = guest.hmp("info registers")
        level = re.search(r"\bCPL=(\d)", registers)
        assert level is not None and level[1] == "3", registers[:400]
        assert int(re.search(r"\b[RE]FL=([0-9a-f]+)", registers)[1], 16) & 0x200, "interrupts off"
        time.sleep(0.01)


@case(accel=EACH)
def ends_by_itself(t):
    """seconds= and stats=: a line each second, a result, status 0; no interrupt when polled."""
    guest = t.user_guest("seconds=3 stats=1")
    udp_answers(guest)
    tcp_echo(guest, pattern(100_000))
    assert guest.wait_exit() == 0
    names = [e["event"] for e in guest.events]
    assert names[0] == "boot" and names[-2:] == ["result", "exit"], names
    assert names.index("device") < names.index("ready") < names.index("stats"), names
    assert 2 <= names.count("stats") <= 4, names
    assert guest.events[-1]["status"] == 0
    took = guest.wait_event("result")["uptime_us"] - guest.wait_ready()["boot_us"]
    assert took > 2_500_000, f"{took} us of three seconds"
    for event in guest.events_of("stats") + guest.events_of("result"):
        check_queues(event)
    assert all(q["packets"] > 0 for q in queues(guest.wait_event("result")))


def check_queues(event):
    found = queues(event)
    assert len(found) == 2
    for queue in found:
        missing = [name for name in COUNTERS if not isinstance(queue.get(name), int)]
        assert not missing, f"{event['event']}: no counter {missing} in {sorted(queue)}"
        assert any(name.startswith("drop") for name in queue), sorted(queue)
        assert queue["interrupts"] == queue["wakeups"] == queue["device_errors"] == 0, queue


@case()
def device_event(t):
    """Says what was negotiated, by name."""
    guest = t.user_guest("ip=10.0.2.15/24 features=-mrg_rxbuf queue=64")
    device = guest.wait_event("device")
    assert device["mode"] == "poll" and device["layout"] == "split", device
    assert "version_1" in device["features"] and "mrg_rxbuf" not in device["features"], device
    assert re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", device["mac"]), device
    assert re.search(r"[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", device["pci"]), device


@case(accel=EACH)
def idle_kicks(t):
    """A polled guest without traffic rings no doorbell."""
    guest = t.user_guest("ip=10.0.2.15/24 ip6=off stats=1")
    first = guest.wait_event("stats", count=2)
    second = guest.wait_event("stats", count=3)
    (rx, tx), (rx_after, tx_after) = queues(first), queues(second)
    assert rx_after["polls"] > rx["polls"], (rx, rx_after)
    assert rx_after["kicks"] == rx["kicks"] and tx_after["kicks"] == tx["kicks"], second
