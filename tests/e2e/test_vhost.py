"""A polling back end outside QEMU: DPDK's testpmd takes the rings by vhost-user."""
import threading
import time

from case import EITHER, case
from guest import GuestError, wait_until
from test_state import queues
from traffic import (Pinger, pattern, receive_all, receive_exactly, same, send_and_shut, tcp_connect,
                     tcp_echo, udp_socket)
from vhost import CONNECTS, LISTENS, RECONNECTS, Bench, mode_words

MIB = 1 << 20

# What QEMU does at the socket, options of the device, words for the guest. Each pair of two choices
# (of that, the layout, mrg_rxbuf, event_idx, the size) is in some line.
SETUPS = {
    "split-64": (CONNECTS, "", "queue=64"),
    "split-256": (LISTENS, "mrg_rxbuf=off", "queue=256"),
    "split-1024": (LISTENS, "event_idx=off,rx_queue_size=1024,tx_queue_size=1024", ""),
    "packed-64": (LISTENS, "packed=on,mrg_rxbuf=off,event_idx=off", "queue=64"),
    "packed-256": (CONNECTS, "packed=on,event_idx=off", "queue=256"),
    "packed-1024": (CONNECTS, "packed=on,mrg_rxbuf=off,rx_queue_size=1024,tx_queue_size=1024", ""),
}


# Lines of SETUPS for the modes that sleep; polling has all of them.
SLEEPING = ["irq split-256", "irq packed-64", "adaptive packed-256", "adaptive split-1024"]


@case(accel=EITHER, spins=True, mode_setup=["poll " + setup for setup in SETUPS] + SLEEPING)
def data(t, mode_setup):
    """Everything arrives unchanged, both sides count the same, and a polled guest and its back end
    never wake each other."""
    mode, setup = mode_setup.split()
    role, nic, words = SETUPS[setup]
    bench = Bench(t, role, f"{words} {mode_words(t.accel, mode)} ip6=off stats=1", nic)
    guest = bench.guest
    check_device(guest, setup, mode)
    with Pinger(guest.ns, guest.ip) as pinger:
        pinger.answers()
        before = next_stats(guest)
        for size in (0, 1, 56, 1000, 1472):
            pinger.ping(pattern(size))
    with udp_socket(guest) as s:
        for seed in range(150):  # 2400 datagrams: the largest ring more than twice
            udp_echo_batch(s, [pattern(1000, (seed, i)) for i in range(16)])
    tcp_echo(guest, pattern(8 * MIB))
    check_counters(guest, before, agreed(bench), mode)


def udp_echo_batch(s, payloads):
    """Some on the way at once: with more threads that spin than processors each round trip may wait for
    the scheduler."""
    for payload in payloads:
        s.send(payload)
    for payload in payloads:
        same(s.recv(65536), payload, "UDP echo")


def next_stats(guest):
    return guest.wait_event("stats", limit=5, count=len(guest.events_of("stats")) + 1)


def check_device(guest, setup, mode):
    """The guest drives what the line of SETUPS offers."""
    layout, size = setup.split("-")
    event = guest.wait_event("device")
    assert event["layout"] == layout and event["mode"] == mode, event
    assert event["rx_size"] == event["tx_size"] == int(size), event
    offered = SETUPS[setup][1]
    for feature in ("mrg_rxbuf", "event_idx"):
        assert f"{feature}=off" not in offered or feature not in event["features"], event


def agreed(bench):
    """A stats event at whose time nothing is under way, and both sides have counted the same frames.
    testpmd is asked before and after it."""
    guest = bench.guest
    for _ in range(5):
        before = bench.testpmd.counters()
        event = next_stats(guest)
        after = bench.testpmd.counters()
        rx, tx = ({name: queue[name] for name in ("packets", "bytes")} for queue in queues(event))
        if before == after and rx == after["tx"] and tx == after["rx"]:
            return event
    raise GuestError(f"guest received {rx}, sent {tx}; testpmd before {before}, after {after}")


def check_counters(guest, before, after, mode):
    """Nothing was dropped. In poll mode there was no interrupt, and no kick after the start."""
    event_idx = "event_idx" in guest.wait_event("device")["features"]
    split = after["nics"][0]["layout"] == "split"
    for old, new in zip(queues(before), queues(after)):
        assert new["packets"] - old["packets"] > 2400, (old, new)
        drops = {name: value for name, value in new.items() if name.startswith("drop") and value}
        assert not drops and new["device_errors"] == 0, new
        if mode == "poll":
            assert new["interrupts"] == new["wakeups"] == 0, new
        elif mode == "irq" and new is queues(after)[0]:
            assert new["interrupts"] > 0, new
        # A back end that polls asks for no kick. Only a split ring with event_idx has no word for that:
        # the index at which it once wanted one comes by each 65536 buffers.
        due = (new["packets"] - old["packets"]) // 65536 + 1 if split and event_idx else 0
        assert new["kicks"] - old["kicks"] <= due, (old, new)


@case(accel=EITHER, spins=True, setup=["split-256", "packed-1024"])
def forwarder(t, setup):
    """app=fwd returns what testpmd sends: a burst that goes round between the two until testpmd only
    receives. Not a frame is lost, and both sides have counted the same."""
    role, nic, words = SETUPS[setup]
    bench = Bench(t, role, f"app=fwd fwd=macswap {words} ip6=off stats=1", nic)
    own, testpmd = bench.guest, bench.testpmd
    check_device(own, setup, "poll")
    testpmd.forward("io", "start tx_first 2")
    wait_until(lambda: next_stats(own)["fwd"]["forwarded"] > 10_000, 20, "10000 frames")
    before = next_stats(own)["nics"][0]["tx"]  # a doorbell rings when testpmd does not poll yet
    testpmd.forward("rxonly", "start")
    event = agreed(bench)
    fwd, rx = event["fwd"], event["nics"][0]["rx"]
    assert fwd["changed"] == fwd["forwarded"] == rx["packets"] - fwd["to_stack"], event
    assert fwd["no_room"] == 0 and testpmd.counters()["refused"] == 0, (fwd, testpmd.counters())
    tx = event["nics"][0]["tx"]
    assert tx["kicks"] == before["kicks"] and tx["interrupts"] == 0, (before, tx)


@case(spins=True)
def doorbell_each_lap(t):
    """With event_idx a split ring has no word for "never": the index 0, which the back end did not ask
    for but left in place, comes by every 65536 frames. That often there is a kick, and no other."""
    bench = Bench(t, CONNECTS, "mode=poll ip6=off stats=1")
    assert "event_idx" in bench.guest.wait_event("device")["features"]
    with Pinger(bench.guest.ns, bench.guest.ip) as pinger:
        pinger.answers()
    before = agreed(bench)
    tcp_echo(bench.guest, pattern(100 * MIB))
    after = agreed(bench)
    check_counters(bench.guest, before, after, "poll")
    old, new = queues(before)[1], queues(after)[1]
    laps = (new["packets"] - 1) // 65536 - (old["packets"] - 1) // 65536
    assert laps >= 1 and new["kicks"] - old["kicks"] == laps, (old, new)


# What QEMU does at the socket, seconds without a back end. The guest looks at its link once a second.
OUTAGES = {
    "unnoticed": (LISTENS, 0),
    "qemu-listens": (LISTENS, 1.5),
    "qemu-reconnects": (RECONNECTS, 1.5),
}


@case(spins=True, outage_layout=["unnoticed split", "unnoticed packed", "qemu-listens split",
                                 "qemu-reconnects packed"])
def back_end_restarts(t, outage_layout):
    """The back end crashes and another one takes its place: the guest goes on without a reboot. Its
    link goes down and up meanwhile, or so shortly that it need not see it."""
    outage, layout = outage_layout.split()
    role, seconds = OUTAGES[outage]
    bench = Bench(t, role, "ip6=off stats=1", "packed=on" if layout == "packed" else "")
    guest = bench.guest
    with udp_socket(guest) as s:
        for seed in range(20):  # beyond the first lap of the ring
            udp_echo_batch(s, [pattern(1000, (seed, i)) for i in range(16)])
    restart_amid_echo(bench, seconds)
    with udp_socket(guest) as s:
        udp_echo_batch(s, [pattern(1400, i) for i in range(16)])
    assert len(guest.events_of("boot")) == 1
    assert all(queue["device_errors"] == 0 for queue in queues(next_stats(guest)))


def restart_amid_echo(bench, seconds):
    """A connection that is in the middle of its data survives, and pings are answered again."""
    with tcp_connect(bench.guest, limit=30) as s:
        data = pattern(4 * MIB, seconds)
        s.sendall(data[:MIB // 8])
        same(receive_exactly(s, MIB // 8), data[:MIB // 8], "TCP echo before")
        bench.testpmd.kill()
        threading.Thread(target=send_and_shut, args=(s, data[MIB // 8:]), daemon=True).start()
        time.sleep(seconds)
        bench.start()
        with Pinger(bench.guest.ns, bench.guest.ip, limit=0.5) as pinger:
            pinger.answers(limit=12)
        same(receive_all(s), data[MIB // 8:], "TCP echo across the outage")


@case(spins=True, layout=["split", "packed"], limit=90)
def back_end_restarts_silently(t, layout):
    """The same for a guest that only receives: it sends nothing that could get stuck and show it. Three
    times, since each time the guest may or may not see its link go down."""
    bench = Bench(t, LISTENS, "ip6=off stats=1", "packed=on" if layout == "packed" else "")
    guest = bench.guest
    bench.ns.add_neighbour(bench.tap, guest.ip, guest.wait_event("device")["mac"])
    with udp_socket(guest, port=9) as s:
        assert discarded(guest, s, 400) == 400  # beyond the first lap of the ring
        for _ in range(3):
            bench.testpmd.kill()
            bench.start()
            deadline = time.monotonic() + 12
            while discarded(guest, s, 20) < 20:
                assert time.monotonic() < deadline, "nothing is received any more"


def discarded(guest, s, count):
    """How many of so many datagrams to the discard port arrive, going by the second next statistics."""
    before = next_stats(guest)["echo"]["udp_discarded"]
    for number in range(count):
        s.send(pattern(200, number))
        if number % 16 == 15:
            time.sleep(0.02)
    next_stats(guest)
    return next_stats(guest)["echo"]["udp_discarded"] - before
