"""The relay of other tests: what it says that it does to frames is what happens to them.

In place of QEMU the test itself holds the guest's tap."""
import contextlib
import fcntl
import os
import select
import struct
import time

from case import case
from frames import (ETH_P_IP, GSO_TCPV4, NEEDS_CSUM, TCP, UDP, VNET_HDR, Frame, Port, ethernet, ipv4,
                    mac_bytes, tcp_segment, udp)
from guest import GuestError, wait_until
from relay import Relay, need_relay
from traffic import pattern

TUNSETIFF, TUNSETOFFLOAD = 0x400454ca, 0x400454d0
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 2, 0x1000, 0x4000
TUN_F_CSUM, TUN_F_TSO4 = 1, 2
GUEST_MAC = mac_bytes("02:00:00:00:00:02")
COUNT = 400
QUEUE_MAX = 4096  # of relay.c
WAYS = ["to", "from"]


class TapFile:
    """The hypervisor's end of a tap, with Port's send() and receive()."""

    def __init__(self, ns, tap):
        with ns.entered():
            self._fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
            fcntl.ioctl(self._fd, TUNSETIFF, struct.pack(
                "16sH22x", tap.name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))

    def close(self):
        os.close(self._fd)

    def accept(self, offloads):
        fcntl.ioctl(self._fd, TUNSETOFFLOAD, offloads)

    def send(self, frame, header=bytes(VNET_HDR.size)):
        os.write(self._fd, header + frame)

    def receive(self, limit=0.5):
        if not select.select([self._fd], [], [], limit)[0]:
            raise TimeoutError
        return Frame.of(os.read(self._fd, 70000), to_guest=True)


class Ends:
    """A relay with the test on both sides."""

    def __init__(self, t):
        need_relay()
        self.ns = t.namespace()
        guest_tap, self.host_tap = self.ns.add_bare_tap(), self.ns.add_bare_tap()
        self.relay = Relay(self.ns, guest_tap, self.host_tap)
        t.stack.callback(self.relay.close)
        self.guest = TapFile(self.ns, guest_tap)
        t.stack.callback(self.guest.close)
        self.host = t.stack.enter_context(Port(self.ns, self.host_tap, limit=0.5))
        self.guest.accept(TUN_F_CSUM | TUN_F_TSO4)

    def carry(self, way, count=COUNT):
        """The numbers of the frames that arrive of so many sent. Each is compared."""
        out, into = (self.host, self.guest) if way == "to" else (self.guest, self.host)
        for n in range(count):
            out.send(self.frame(n))
        return list(self._numbers(into, way))

    def frame(self, n):
        data = struct.pack("!I", n) + pattern(n * 7 % 1400, n)
        return ethernet(GUEST_MAC, GUEST_MAC, ETH_P_IP,
                        ipv4("10.0.0.1", "10.0.0.2", UDP, udp("10.0.0.1", "10.0.0.2", 9, 9, data)))

    def _numbers(self, into, way):
        with contextlib.suppress(TimeoutError):
            while True:
                frame = into.receive()
                if frame.protocol == UDP and frame.to_guest == (way == "to"):
                    n = struct.unpack_from("!I", frame.payload())[0]
                    assert frame.data == self.frame(n), f"frame {n} was changed"
                    yield n


@case(accel=None, way=WAYS)
def untouched(t, way):
    """All, in order, unchanged, and none the other way."""
    ends = Ends(t)
    assert ends.carry(way) == list(range(COUNT))
    counts = ends.relay.end()
    other = counts[WAYS[way == "to"]]
    assert counts[way]["frames"] == counts[way]["sent"] == COUNT, counts
    assert counts[way]["bytes"] == sum(len(ends.frame(n)) for n in range(COUNT)), counts
    assert set(other.values()) == {0} and counts[way]["lost"] == 0, counts


@case(accel=None, way=WAYS)
def loses(t, way):
    ends = Ends(t)
    ends.relay.set(way, loss=200_000)
    seen = ends.carry(way)
    counts = ends.relay.stats()[way]
    assert seen == sorted(set(seen)) and counts["lost"] == COUNT - len(seen), counts
    assert 40 < counts["lost"] < 120, "a fifth of 400 is 80, and 8 its deviation"
    ends.relay.set(way, loss=1_000_000)
    assert ends.carry(way, 50) == []
    ends.relay.set(way, loss=0)
    assert ends.carry(way, 50) == list(range(50))


@case(accel=None, way=WAYS)
def repeats(t, way):
    ends = Ends(t)
    ends.relay.set(way, dup=1_000_000)
    assert ends.carry(way) == [n for n in range(COUNT) for _ in range(2)]
    assert ends.relay.stats()[way]["duplicated"] == COUNT


@case(accel=None, way=WAYS)
def swaps(t, way):
    """Each second one is overtaken; without a next one the last comes all the same."""
    ends = Ends(t)
    ends.relay.set(way, swap=1_000_000)
    assert ends.carry(way, 100) == [n ^ 1 for n in range(100)]
    assert ends.carry(way, 1) == [0]
    assert ends.relay.stats()[way]["swapped"] == 50


@case(accel=None, way=WAYS)
def delays(t, way):
    """Not before the time, and in order whatever the jitter."""
    ends = Ends(t)
    ends.relay.set(way, delay_us=50_000, jitter_us=20_000)
    started = time.monotonic()
    assert ends.carry(way, 50) == list(range(50))
    assert time.monotonic() - started >= 0.05


@case(accel=None)
def full_queue(t):
    """What does not fit into the queue is thrown away, and counted."""
    ends = Ends(t)
    ends.relay.set("from", delay_us=1_000_000)
    frame = ends.frame(0)
    for _ in range(QUEUE_MAX + 100):
        ends.guest.send(frame)
    counts = wait_until(lambda: all_left(ends), 10, "an empty queue")
    assert (counts["sent"], counts["overflows"]) == (QUEUE_MAX, 100), counts


def all_left(ends):
    counts = ends.relay.stats()["from"]
    return counts if counts["sent"] + counts["overflows"] == QUEUE_MAX + 100 else None


@case(accel=None)
def same_seed(t):
    """The same seed decides the same."""
    runs = []
    for seed in (5, 5, 6):
        ends = Ends(t)
        ends.relay.seed(seed)
        ends.relay.set("to", loss=100_000, dup=100_000, swap=100_000)
        runs.append(ends.carry("to"))
    assert runs[0] == runs[1] != runs[2]


def large():
    """A frame of 20 segments, with its virtio header."""
    frame = ethernet(GUEST_MAC, GUEST_MAC, ETH_P_IP, ipv4("10.0.0.1", "10.0.0.2", TCP, tcp_segment(
        "10.0.0.1", "10.0.0.2", 9, 9, pattern(20 * 1000))))
    return frame, VNET_HDR.pack(NEEDS_CSUM, GSO_TCPV4, 54, 1000, 34, 16)


@case(accel=None)
def large_from(t):
    """A frame of many segments goes through whole, with its virtio header."""
    ends = Ends(t)
    frame, header = large()
    ends.guest.send(frame, header)
    got = ends.host.wait(lambda f: f.protocol == TCP)
    assert got.data == frame and (got.gso_type, got.gso_size) == (GSO_TCPV4, 1000), vars(got)
    assert ends.relay.stats()["from"]["gso_frames"] == 1


@case(accel=None, accepts=[TUN_F_CSUM | TUN_F_TSO4, TUN_F_CSUM, 0])
def large_to(t, accepts):
    """Whole to a hypervisor that takes it so, else in segments, with checksums where it must."""
    ends = Ends(t)
    ends.guest.accept(accepts)
    frame, header = large()
    ends.host.send_raw(header + frame)
    if accepts & TUN_F_TSO4:
        got = ends.guest.receive()
        assert got.data == frame and (got.gso_type, got.gso_size) == (GSO_TCPV4, 1000), vars(got)
        return
    segments = [ends.guest.receive() for _ in range(20)]
    assert b"".join(f.payload() for f in segments) == pattern(20 * 1000)
    assert {f.judged() for f in segments} == {"partial" if accepts else "complete"}


@case(accel=None)
def without_offload(t):
    """offload=0: segments already on the host's side."""
    ends = Ends(t)
    ends.relay.offload(False)
    frame, header = large()
    ends.host.send_raw(header + frame)
    segments = [ends.guest.receive() for _ in range(20)]
    assert b"".join(f.payload() for f in segments) == pattern(20 * 1000)
    counts = ends.relay.stats()["to"]
    assert (counts["frames"], counts["gso_frames"], counts["csum_frames"]) == (20, 0, 0), counts


@case(accel=None, term=[False, True])
def ends_with_counters(t, term):
    ends = Ends(t)
    ends.carry("to", 3)
    assert ends.relay.end(term)["to"]["sent"] == 3


@case(accel=None, word=["", "to", "to.loss", "to.loss=", "to.loss=1000001", "to.loss=-1", "to.los=1",
                        "up.loss=1", "seed=x", "offload=2", "from.delay_us=1000001", "x" * 300])
def wrong_words(t, word):
    """Nothing is guessed: it says what it did not understand, and ends."""
    ends = Ends(t)
    try:
        ends.relay.say(word)
        ends.relay.stats()
    except GuestError as error:
        expected = "longer than" if len(word) > 256 else f"{word}: unknown word or wrong value"
        assert expected in str(error), error
    else:
        raise AssertionError("it goes on")
