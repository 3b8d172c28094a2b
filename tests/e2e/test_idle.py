"""What a polled guest does while there is nothing to do (idle_pause=), and what trace=latency shows."""
import os
import time

import prometheus
from case import EACH, EITHER, Skip, case
from test_modes import LAYOUTS, check_traffic, result_of
from test_sink import Pair
from test_state import queues
from traffic import Pinger, pattern, tcp_connect, udp_answers

POLICIES = ["spin", "pause", "yield", "yield idle_us=0 yield_us=1"]


@case(accel=EITHER, policy=POLICIES, nic=LAYOUTS)
def traffic(t, policy, nic):
    """Each policy answers everything, and is polled: no interrupt of a device."""
    guest = t.tap_guest(f"idle_pause={policy} stats=1", nic)
    assert guest.wait_event("device")["irq"] == "none"
    check_traffic(guest)
    event = result_of(guest)
    assert (event["slept_us"] > 0) == policy.startswith("yield"), event["slept_us"]
    for queue in queues(event):
        assert queue["interrupts"] == queue["wakeups"] == queue["rechecks_hit"] == 0, queue
        assert queue["device_errors"] == 0, queue
    tx = queues(event)[1]
    assert tx["kicks"] <= tx["packets"], tx  # none without a frame


@case(accel=EACH)
def frames_during_sleep(t):
    """What comes in the middle of the longest sleep is answered after it. Afterwards no doorbell."""
    guest = t.tap_guest("idle_pause=yield idle_us=0 yield_us=100000 ip6=off stats=1")
    with Pinger(guest.ns, guest.ip) as pinger:
        pinger.answers()
        for size in (0, 56, 1472):
            time.sleep(0.4)  # sleeps are by then as long as they get
            pinger.ping(pattern(size))
    first = result_of(guest)
    second = guest.wait_event("stats", count=len(guest.events_of("stats")) + 2)
    assert [q["kicks"] for q in queues(first)] == [q["kicks"] for q in queues(second)], second
    assert first["slept_us"] > 0, first["slept_us"]


@case(accel=EITHER, words=["", "idle_pause=yield"])
def raw(t, words):
    """Workloads that drive the rings themselves spin, and yield when they are told to."""
    cable = t.wire()
    pair = Pair(t, cable.ends, words, words, frames=50, pace="rate=100pps")
    for event in pair.ended():
        assert (event["slept_us"] > 0) == bool(words), event["slept_us"]


def schedstat(path):
    """Nanoseconds that a thread has run, and has waited for a processor."""
    try:
        with open(f"{path}/schedstat", encoding="ascii") as f:
            ran, waited = map(int, f.read().split()[:2])
    except FileNotFoundError:
        raise Skip("this kernel tells nothing of waiting threads (SCHED_INFO)") from None
    return ran, waited


def shares(guest, seconds=2):
    """Shares of a processor: what QEMU has had in all, and what the guest's CPU has had or waited for."""
    tasks = f"/proc/{guest.process.pid}/task"
    vcpu = guest.qmp("query-cpus-fast")[0]["thread-id"]

    def times():
        return (sum(schedstat(f"{tasks}/{thread}")[0] for thread in os.listdir(tasks)),
                sum(schedstat(f"{tasks}/{vcpu}")))
    before, start = times(), time.monotonic_ns()
    time.sleep(seconds)
    after, took = times(), time.monotonic_ns() - start
    return [(b - a) / took for a, b in zip(before, after)]


@case(accel=EACH, policy=POLICIES[:3])
def processor(t, policy):
    """An idle guest that yields leaves most of the processor to others; one that does not wants all."""
    guest = t.user_guest(f"ip=10.0.2.15/24 ip6=off idle_pause={policy}")
    udp_answers(guest)
    ran, wanted = shares(guest)
    assert ran < 0.5 if policy == "yield" else wanted > 0.8, (ran, wanted)


@case(accel=EITHER, words=["idle_pause=spin", "idle_pause=yield", "mode=irq", "mode=adaptive"])
def latency(t, words):
    """The parts of an answer: one of each for a pass with frames."""
    guest = t.tap_guest(f"{words} trace=latency stats=1")
    check_traffic(guest)
    event = result_of(guest)
    parts = event["latency"]
    assert sorted(parts) == ["pass", "seen_to_stack", "stack_to_doorbell"], parts
    for part in parts.values():
        order = [part[name] for name in ("min", "p50", "p90", "p99", "p999", "max")]
        assert order == sorted(order) and order[0] <= part["mean"] <= order[-1], part
        assert part["count"] > 0 and part["max"] > 0, part
    rx = queues(event)[0]
    assert parts["seen_to_stack"]["count"] == parts["stack_to_doorbell"]["count"], parts
    assert parts["seen_to_stack"]["count"] == rx["polls"] - rx["empty_polls"], (parts, rx)
    check_metrics(guest)


def check_metrics(guest):
    family = prometheus.parse(get(guest, "/metrics"))["ringlet_latency_seconds"]
    assert family.type == "summary", family.type
    for part in ("pass", "seen_to_stack", "stack_to_doorbell"):
        values = [family.value(part=part, quantile=q) for q in ("0", "0.5", "0.9", "0.99", "0.999", "1")]
        assert values == sorted(values) and 0 < values[-1] < 60, values


def get(guest, path):
    """The text of a page; of guests on a tap."""
    with tcp_connect(guest, 80) as s:
        s.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        text = b"".join(iter(lambda: s.recv(65536), b""))
    return text.partition(b"\r\n\r\n")[2].decode()


@case()
def no_trace(t):
    """Without the key there is no such object."""
    guest = t.tap_guest("stats=1")
    udp_answers(guest)
    assert "latency" not in result_of(guest)
    assert "latency" not in get(guest, "/metrics")
