"""Checksum offload: what the guest leaves to the device, and what it believes of it.

Every TCP and UDP frame on the tap is judged: complete where no offload was negotiated, else the sum of
the pseudo-header with a virtio header that leads to the right checksum."""
import socket
import struct
import threading
import time

from case import EITHER, case
from frames import (ETH_P_IP, FRAGMENT, ICMP, NEEDS_CSUM, UDP, Port, Watch, ethernet, ipv4,
                    mac_bytes, udp)
from traffic import (Pinger, checksum, pattern, receive_all, receive_exactly, same,
                     send_and_shut, stats, tcp_connect, tcp_echo, udp_answers, udp_echo, udp_socket)

MIB = 1 << 20

# Device options, words of the guest, and whether frames from and to the guest are partial.
OFFLOADS = {
    "both": ("", "", True, True),
    "packed": ("packed=on", "", True, True),
    "csum=off": ("csum=off", "", False, True),
    "guest_csum=off": ("guest_csum=off", "", True, False),
    "-csum": ("", "features=-csum", False, True),
    "-guest_csum": ("", "features=-guest_csum", True, False),
    "neither": ("", "features=-csum,-guest_csum", False, False),
}


def kinds(partial):
    """What the verdicts on all whole packets are to be."""
    return {"partial"} if partial else {"complete"}


@case(offload=list(OFFLOADS))
def negotiated(t, offload):
    nic, words, from_guest, to_guest = OFFLOADS[offload]
    guest = t.tap_guest(words, nic or None)
    features = guest.wait_event("device")["features"]
    assert ("csum" in features, "guest_csum" in features) == (from_guest, to_guest), features
    udp_answers(guest)
    with Watch(guest) as watch:
        with udp_socket(guest) as s:
            for size in (0, 1, 2, 7, 100, 1471, 1472):
                udp_echo(s, pattern(size))
        tcp_echo(guest, pattern(100_001))
        with Pinger(guest.ns, guest.ip) as pinger:
            for size in (0, 1, 1472, 4001):
                pinger.ping(pattern(size))
    assert watch.verdicts(to_guest=False) == kinds(from_guest), watch.verdicts(False)
    assert watch.verdicts(to_guest=True) == kinds(to_guest), watch.verdicts(True)
    assert errors(guest) == {"tcp": 0, "udp": 0}


@case(accel=EITHER, offload=["both", "neither"])
def much(t, offload):
    """Everything at once, with nothing wrong on the way."""
    nic, words, from_guest, to_guest = OFFLOADS[offload]
    guest = t.tap_guest(words, nic or None)
    tcp_echo(guest, pattern(10 * MIB))
    with udp_socket(guest) as s:
        for seed in range(500):
            udp_echo(s, pattern(seed * 3, seed))
    assert errors(guest) == {"tcp": 0, "udp": 0}


@case(offload=["both", "neither"])
def over_v6(t, offload):
    t.need_ipv6()
    nic, words, from_guest, to_guest = OFFLOADS[offload]
    guest = v6_guest(t, words, nic or None)
    with Watch(guest) as watch:
        with udp_socket(guest) as s:
            for size in (0, 1, 1451, 1452, 1453, 4001, 8000):
                udp_echo(s, pattern(size))
        tcp_echo(guest, pattern(100_001))
    assert watch.verdicts(to_guest=False) == kinds(from_guest), watch.verdicts(False)
    assert watch.verdicts(to_guest=True) == kinds(to_guest), watch.verdicts(True)
    assert any(f.fragment and not f.to_guest for f in watch.frames)


def v6_guest(t, words="", nic=None):
    """A tap guest that is spoken to at fd77::2."""
    guest = t.tap_guest(f"ip6=fd77::2/64 {words}", nic)
    guest.ns.add_address(guest.tap, "fd77::1/64")
    with Pinger(guest.ns, "fd77::2") as pinger:
        pinger.answers()
    guest.ip = "fd77::2"
    return guest


@case(size=[1473, 4001, 65000])
def fragments(t, size):
    """A datagram in fragments carries a checksum made in software, and none is zero."""
    guest = t.tap_guest()
    udp_answers(guest)
    with Watch(guest) as watch, udp_socket(guest) as s:
        for seed in range(10):
            udp_echo(s, pattern(size, seed))
    firsts = [f for f in watch.frames if f.fragment and not f.to_guest and
              struct.unpack_from("!H", f.data, f.ip + 6)[0] == 0x2000]
    assert len(firsts) == 10 and all(f.data[f.l4 + 6:f.l4 + 8] != b"\0\0" for f in firsts)
    assert not any(f.flags for f in watch.frames if f.fragment)


@case()
def narrow_path(t):
    """A router says that packets are too big while a connection has segments of the old size: they go
    out as fragments, whose checksum no device can make."""
    t.need_ipv6()
    guest = v6_guest(t)
    data = pattern(400_000)
    with Watch(guest) as watch, tcp_connect(guest) as s:
        s.sendall(data[:20_000])
        got = receive_exactly(s, 20_000)
        packet_too_big(guest, 1280)
        time.sleep(0.2)
        sender = send_in_thread(s, data[20_000:])
        got += receive_all(s)
        sender.join()
    same(got, data, "TCP echo over a narrow path")
    cut = [f for f in watch.frames if f.protocol == FRAGMENT and not f.to_guest]
    assert cut, "no segment was cut: this tests nothing"
    assert watch.verdicts(to_guest=False) <= {"partial", "complete"}, watch.verdicts(False)


@case()
def narrow_path_again(t):
    """Fragments of TCP segments that are lost are sent again from what is left of the segment."""
    t.need_ipv6()
    guest = v6_guest(t)
    mac = guest.wait_event("device")["mac"]
    with tcp_connect(guest, port=19) as s:
        got = receive_exactly(s, 10_000)
        packet_too_big(guest, 1280)
        got += receive_exactly(s, 300_000)
        for _ in range(3):
            neighbour(guest, "02:00:00:00:00:99")  # the guest hears no acknowledgement ...
            time.sleep(1.2)
            neighbour(guest, mac)  # ... until it has sent everything again
            got += receive_exactly(s, 300_000)
    lines = b"".join(bytes(32 + (n + i) % 95 for i in range(72)) + b"\r\n" for n in range(95))
    same(got, (lines * (len(got) // len(lines) + 1))[:len(got)], "chargen over a narrow path")


def neighbour(guest, mac):
    done = guest.ns.run("ip", "neigh", "replace", "fd77::2", "lladdr", mac, "nud", "permanent",
                        "dev", guest.tap.name)
    assert done.returncode == 0, done.stdout


@case(mtu=[0, 40, 55, 56, 1279, 65535, 0xffffffff])
def impossible_path(t, mtu):
    """No router may ask for less than 1280 bytes, and none can allow more than the NIC."""
    t.need_ipv6()
    guest = v6_guest(t)
    with udp_socket(guest) as s:
        udp_echo(s, pattern(100))
        packet_too_big(guest, mtu)
        for size in (100, 1452, 1453, 4000):
            udp_echo(s, pattern(size))
    tcp_echo(guest, pattern(100_000))


def send_in_thread(s, data):
    thread = threading.Thread(target=send_and_shut, args=(s, data), daemon=True)
    thread.start()
    return thread


def packet_too_big(guest, mtu):
    """ICMPv6 type 2 (RFC 4443), quoting a packet from the guest to the host."""
    quoted = struct.pack("!IHBB16s16s", 6 << 28, 20, 6, 64, socket.inet_pton(10, "fd77::2"),
                         socket.inet_pton(10, "fd77::1")) + bytes(20)
    with guest.ns.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as s:
        s.sendto(struct.pack("!BBHI", 2, 0, 0, mtu) + quoted, ("fd77::2", 0))


@case(proto=["udp", "tcp"])
def two_guests(t, proto):
    """From guest to guest through the host, which passes on what is partial."""
    ns = t.namespace()
    taps = [ns.add_tap() for _ in range(2)]
    assert ns.run("sysctl", "-qw", "net.ipv4.ip_forward=1").returncode == 0
    echo = t.guest(f"ip={taps[0].guest}/24 gw={taps[0].host}", [(taps[0], None)], namespace=ns)
    echo.wait_ready()
    ping = t.guest(f"app=ping ip={taps[1].guest}/24 gw={taps[1].host} dst={taps[0].guest} "
                   f"proto={proto} size=1400 count=300 interval_us=0 timeout_ms=5000",
                   [(taps[1], "mac=52:54:00:00:00:02")], namespace=ns)
    assert ping.wait_exit() == 0, ping.tail()


# ---- Frames made by hand ----

def errors(guest):
    """Checksum errors that the guest has counted."""
    stack = stats(guest)["stack"]
    return {name: stack[f"checksum_errors_{name}"] for name in ("tcp", "udp")}


class Hand:
    """A guest that is spoken to by single frames."""

    def __init__(self, t, words=""):
        self.guest = t.tap_guest(words)
        udp_answers(self.guest)
        self.port = Port(self.guest.ns, self.guest.tap)
        t.stack.callback(self.port.close)
        self.mac = mac_bytes(self.guest.wait_event("device")["mac"])
        self.host = self.guest.tap.host

    def frame(self, protocol, packet, **options):
        return ethernet(self.mac, self.port.mac, ETH_P_IP,
                        ipv4(self.host, self.guest.ip, protocol, packet, **options))

    def udp(self, data, **options):
        return udp(self.host, self.guest.ip, 40000, 7, data, **options)

    def echoed(self, data, limit=3.0):
        """Whether the guest sends data back in a right datagram."""
        def match(frame):
            return frame.protocol == UDP and frame.payload() == data and \
                frame.judged() in ("partial", "complete")
        return self.port.wait(match, limit, "echo of the datagram")

    def not_echoed(self, data):
        try:
            self.echoed(data, 0.5)
        except Exception:
            return
        raise AssertionError("the guest answered")


@case()
def partial_by_hand(t):
    """A datagram as a sender with offload leaves it is answered."""
    hand = Hand(t)
    for size in (0, 1, 100, 1401):
        data = pattern(size, "partial")
        hand.port.send(hand.frame(UDP, hand.udp(data, partial=True)), NEEDS_CSUM, 34, 6)
        hand.echoed(data)


@case(words=["", "features=-guest_csum"])
def bad_checksum(t, words):
    """A wrong checksum without a word from the device: dropped, and counted."""
    hand = Hand(t, words)
    good, bad = pattern(99, "good"), pattern(99, "bad")
    for spoil in (1, 0x100, 0x8000):
        hand.port.send(hand.frame(UDP, hand.udp(bad, spoil=spoil)))
        hand.not_echoed(bad)
    hand.port.send(hand.frame(UDP, hand.udp(good)))
    hand.echoed(good)
    syn = struct.pack("!HHIIBBHHH", 40000, 7, 1, 0, 0x50, 2, 1000, 0x1234, 0)
    hand.port.send(hand.frame(6, syn))
    time.sleep(0.2)
    assert errors(hand.guest) == {"tcp": 1, "udp": 3}, errors(hand.guest)


@case()
def fragments_by_hand(t):
    """The checksum of a datagram in fragments is checked when the last one has come."""
    hand = Hand(t)
    before = stats(hand.guest)["echo"]["udp_echoed"]
    for spoil in (0, 1):
        packet = hand.udp(pattern(2500, spoil), spoil=spoil)
        hand.port.send(hand.frame(UDP, packet[:1480], fragment=0x2000, ident=7 + spoil))
        hand.port.send(hand.frame(UDP, packet[1480:], fragment=1480 // 8, ident=7 + spoil))
        time.sleep(0.2)
    assert errors(hand.guest) == {"tcp": 0, "udp": 1}, errors(hand.guest)
    assert stats(hand.guest)["echo"]["udp_echoed"] == before + 1


@case()
def other_protocols(t):
    """The device may ask for any checksum: that of a ping is completed before it is answered."""
    hand = Hand(t)
    for size in (0, 1, 55, 1400):
        echo = struct.pack("!BBHHH", 8, 0, 0, 77, size) + pattern(size)
        hand.port.send(hand.frame(ICMP, echo), NEEDS_CSUM, 34, 2)

        def match(frame, size=size):
            packet = frame.data[frame.l4:frame.end]
            return frame.protocol == ICMP and packet[4:8] == struct.pack("!HH", 77, size) and \
                packet[:2] == b"\0\0" and checksum(packet) == 0
        hand.port.wait(match, 3, f"answer to the ping of {size} bytes")


@case()
def wrong_place(t):
    """A checksum asked for elsewhere in a datagram is put there, and the datagram is judged as it then
    is: wrong."""
    hand = Hand(t)
    data = pattern(100, "place")
    hand.port.send(hand.frame(UDP, hand.udp(data, partial=True)), NEEDS_CSUM, 36, 20)
    hand.not_echoed(data)
    assert errors(hand.guest)["udp"] == 1
