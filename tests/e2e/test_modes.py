"""Notification modes: polled, interrupts by MSI-X and INTx, adaptive; on each layout and machine."""
import time

from case import EITHER, case
from test_config import expect_refusal
from test_state import queues
from traffic import Pinger, pattern, tcp_echo, tcp_echo_many, udp_answers, udp_echo, udp_socket

MIB = 1 << 20
LAYOUTS = ["packed=off", "packed=on", "packed=on,event_idx=off", "packed=off,event_idx=off"]


def check_traffic(guest):
    """Single packets with pauses between them, so that the guest sleeps, and streams."""
    with Pinger(guest.ns, guest.ip) as pinger:
        pinger.answers()
        for size in (0, 56, 1472):
            pinger.ping(pattern(size))
            time.sleep(0.02)
    with udp_socket(guest) as s:
        for seed in range(300):
            udp_echo(s, pattern(1000, seed))
    tcp_echo(guest, pattern(2 * MIB))
    tcp_echo_many(guest, [pattern(50_000, seed) for seed in range(20)])


def result_of(guest):
    """The statistics one second after the traffic."""
    seen = len(guest.events_of("stats"))
    return guest.wait_event("stats", count=seen + 2)


@case(accel=EITHER, mode=["irq", "adaptive"], nic=LAYOUTS)
def sleeping(t, mode, nic):
    guest = t.tap_guest(f"mode={mode} stats=1", nic)
    device = guest.wait_event("device")
    assert device["mode"] == mode and device["irq"] == "msix", device
    assert ("event_idx" in device["features"]) == ("event_idx=off" not in nic), device
    check_traffic(guest)
    event = result_of(guest)
    rx, tx = queues(event)
    assert rx["interrupts"] > 0 and 0 < rx["wakeups"] <= rx["interrupts"], rx
    assert event["slept_us"] > 0 and rx["device_errors"] == tx["device_errors"] == 0, event
    # Transmit interrupts only while the ring is full: at most a few for thousands of frames.
    assert tx["interrupts"] <= 3 + tx["ring_full"] + tx["packets"] // 10000, tx


@case(accel=EITHER, nic=LAYOUTS)
def polled(t, nic):
    """Not one interrupt, and the device has no way to send one."""
    guest = t.tap_guest("mode=poll stats=1", nic)
    assert guest.wait_event("device")["irq"] == "none"
    check_traffic(guest)
    event = result_of(guest)
    for queue in queues(event):
        assert queue["interrupts"] == queue["wakeups"] == queue["rechecks_hit"] == 0, queue


@case(accel=EITHER, vectors=[0, 1, 2, 3, 4])
def vectors(t, vectors):
    """Fewer MSI-X entries than queues; none at all means INTx."""
    guest = t.tap_guest("mode=irq stats=1", f"vectors={vectors}")
    assert guest.wait_event("device")["irq"] == ("msix" if vectors else "intx")
    check_traffic(guest)
    assert queues(result_of(guest))[0]["interrupts"] > 0
    check_link(guest)


@case(accel=EITHER, machine=["pc", "q35", "microvm"], firmware=["qboot", "seabios"])
def intx(t, machine, firmware):
    """Level triggered, acknowledged by reading the ISR status; the other machines' wiring."""
    guest = t.tap_guest("mode=irq intx=1 stats=1", machine=machine, firmware=firmware)
    assert guest.wait_event("device")["irq"] == "intx"
    check_traffic(guest)
    assert queues(result_of(guest))[0]["interrupts"] > 0
    check_link(guest)


@case(mode=["irq", "irq intx=1"])
def shared(t, mode):
    """Three NICs, which share one INTx vector."""
    ns = t.namespace()
    taps = [ns.add_tap() for _ in range(3)]
    words = "ip=" + ",".join(f"{tap.guest}/24" for tap in taps)
    guest = t.guest(f"{words} mode={mode} stats=1", [(tap, None) for tap in taps], namespace=ns)
    guest.wait_ready()
    ping_in_turn(t, ns, taps)
    assert all(nic["rx"]["interrupts"] > 0 for nic in result_of(guest)["nics"])


def ping_in_turn(t, ns, taps):
    pingers = [t.stack.enter_context(Pinger(ns, tap.guest)) for tap in taps]
    for pinger in pingers:
        pinger.answers()
    for seed in range(100):
        for pinger in pingers:
            pinger.ping(pattern(1000, seed))


def check_link(guest):
    """A change of the link comes by interrupt, so it is seen at once."""
    for up in (False, True):
        guest.qmp("set_link", name="nic0", up=up)
        guest.wait_line(f"link {'up' if up else 'down'}", limit=5)
    udp_answers(guest)


@case(accel=EITHER, mode=["irq", "adaptive"])
def idle(t, mode):
    """Without traffic the guest sleeps nearly all the time, and rings no doorbell."""
    guest = t.tap_guest(f"mode={mode} ip6=off stats=1")
    udp_answers(guest)
    first = result_of(guest)
    second = guest.wait_event("stats", count=len(guest.events_of("stats")) + 2)
    slept = second["slept_us"] - first["slept_us"]
    assert slept > (second["uptime_us"] - first["uptime_us"]) // 2, f"slept {slept} us"
    assert queues(second)[1]["kicks"] == queues(first)[1]["kicks"], second


@case()
def idle_us(t):
    """A limit that is never reached makes adaptive mode a polled one."""
    guest = t.tap_guest("mode=adaptive idle_us=1000000 stats=1")
    with udp_socket(guest) as s:
        for seed in range(30):
            udp_echo(s, pattern(100, seed))
            time.sleep(0.05)
    assert queues(guest.wait_event("stats"))[0]["wakeups"] == 0


@case(accel=EITHER, nic=LAYOUTS)
def full_ring(t, nic):
    """A small transmit ring is full all the time: room is announced by interrupt, for which the guest sleeps;
    nothing is lost."""
    guest = t.tap_guest("mode=irq queue=4 stats=1", nic)
    check_traffic(guest)
    rx, tx = queues(result_of(guest))
    assert tx["ring_full"] > 0 and tx["drop_ring_full"] == 0, tx
    # Received frames that have to wait keep nobody awake: each is found by one look at most.
    assert rx["rechecks_hit"] <= rx["packets"], rx


@case(words=["mode=poll intx=1", "intx=1"])
def refused(t, words):
    guest = t.tap_guest(words, ready=False)
    expect_refusal(guest, "intx=1")
