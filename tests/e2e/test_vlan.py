"""vlan=: every frame that the guest sends has the tag, and no other is let in."""
import contextlib
import socket
import struct

from case import EITHER, Skip, case
from frames import ETH_P_ARP, ETH_P_IP, NEEDS_CSUM, UDP, Port, Watch, ethernet, ipv4, mac_bytes, udp
from guest import GuestError
from test_ping_app import MACS, all_answered, result
from traffic import Pinger, pattern, stats, tcp_echo, udp_echo, udp_socket

EVERYBODY = b"\xff" * 6


def pair(t, echo_words, ping_words):
    """Two guests on one wire, the second asks the first."""
    wire = t.wire()
    over_v6 = "dst=fd77" in ping_words  # whose address takes a while until it may be used
    words = f"ip=10.0.0.1/24 ip6={'fd77::1/64' if over_v6 else 'off'} {echo_words}"
    echo = t.guest(words, [(wire.ends[0], MACS[0])])
    echo.wait_ready()
    if over_v6:
        echo.wait_event("address", match=lambda e: (e["addr"] or "").startswith("fd77"))
    return echo, t.guest(f"app=ping {ping_words}", [(wire.ends[1], MACS[1])])


@case(proto_family=["icmp v4", "icmp v6", "udp v4", "tcp v6"])
def two_guests(t, proto_family):
    """The same VLAN: everything works, frames of full size and fragments too."""
    proto, family = proto_family.split()
    words = {"v4": "ip=10.0.0.2/24 ip6=off dst=10.0.0.1", "v6": "ip=off ip6=fd77::2/64 dst=fd77::1"}
    for size in (1472, 4000):
        _, ping = pair(t, "vlan=5", f"vlan=5 proto={proto} count=30 interval_us=0 timeout_ms=5000 "
                                    f"size={size} {words[family]}")
        all_answered(result(ping, 0), 30)
        for guest in t.guests:
            guest.close()


@case(words=["vlan=6", "", "vlan=4094"])
def strangers(t, words):
    """Another VLAN, or none: nothing gets through. The device that knows the VLAN drops what is of
    another one; without ctrl_vlan the guest does, and counts it."""
    for features in ("", "features=-ctrl_vlan"):
        echo, ping = pair(t, f"vlan=5 stats=1 {features}", f"{words} ip=10.0.0.2/24 ip6=off "
                          "dst=10.0.0.1 count=3 timeout_ms=300")
        assert result(ping, 1)["lost"] == 3
        after = echo.wait_event("stats", count=len(echo.events_of("stats")) + 1)
        dropped = after["stack"]["wrong_vlan"]
        assert dropped > 0 if features or not words else dropped == 0, dropped
        for guest in t.guests:
            guest.close()


@case()
def untagged_guest(t):
    """Without vlan= frames with a tag are not for the guest."""
    echo, ping = pair(t, "stats=1 features=-ctrl_vlan",
                      "vlan=5 ip=10.0.0.2/24 ip6=off dst=10.0.0.1 count=3 timeout_ms=300")
    assert result(ping, 1)["lost"] == 3
    after = echo.wait_event("stats", count=len(echo.events_of("stats")) + 1)
    assert after["stack"]["wrong_vlan"] > 0


class Hand:
    """A guest in VLAN 5 that is spoken to by frames made by hand, since the kernel may have no VLANs."""

    def __init__(self, t, words=""):
        self.guest = t.tap_guest(f"vlan=5 {words}")
        self.port = Port(self.guest.ns, self.guest.tap)
        t.stack.callback(self.port.close)
        self.mac = mac_bytes(self.guest.wait_event("device")["mac"])
        self.host = self.guest.tap.host

    def ask(self, vlan):
        """ARP: who has the guest's address?"""
        request = struct.pack("!HHBBH6s4s6s4s", 1, ETH_P_IP, 6, 4, 1, self.port.mac,
                              socket.inet_aton(self.host), bytes(6),
                              socket.inet_aton(self.guest.ip))
        self.port.send(ethernet(EVERYBODY, self.port.mac, ETH_P_ARP, request, vlan))

    def answered(self, limit=3.0):
        return self.port.wait(lambda f: f.type == ETH_P_ARP and f.data[f.ip + 7] == 2, limit,
                              "ARP answer")

    def send(self, vlan, data, partial=False):
        packet = ipv4(self.host, self.guest.ip, UDP,
                      udp(self.host, self.guest.ip, 40000, 7, data, partial=partial))
        frame = ethernet(self.mac, self.port.mac, ETH_P_IP, packet, vlan)
        where = (34 if vlan is None else 38, 6)
        self.port.send(frame, *((NEEDS_CSUM, *where) if partial else ()))

    def echoed(self, data, limit=3.0):
        return self.port.wait(lambda f: f.protocol == UDP and f.payload() == data, limit,
                              "echo of the datagram")


@case(accel=EITHER, words=["", "features=-csum,-guest_csum"])
def by_hand(t, words):
    """Tagged questions get tagged answers, with right checksums whoever makes them."""
    hand = Hand(t, words)
    hand.ask(5)
    assert hand.answered().tag == 5
    for size in (0, 1, 101, 1472):
        for partial in (False, True):
            data = pattern(size, partial)
            if partial and words:
                continue  # the kernel would have to make the checksum, and does not behind a tag
            hand.send(5, data, partial)
            answer = hand.echoed(data)
            assert answer.tag == 5 and answer.judged() == ("complete" if words else "partial"), \
                answer.judged()


@case(vlan=[None, 0, 4, 6, 0xe005])
def other_tags(t, vlan):
    """Only the number counts, not the priority in the upper bits. One that is not ours is counted."""
    hand = Hand(t, "features=-ctrl_vlan stats=1")
    hand.ask(5)
    hand.answered()
    data = pattern(50)
    before = hand.guest.wait_event("stats")["stack"]["wrong_vlan"]
    hand.send(vlan, data)
    if vlan is not None and vlan & 0xfff == 5:
        assert hand.echoed(data).tag == 5
        return
    with contextlib.suppress(GuestError):
        raise AssertionError(f"answered with tag {hand.echoed(data, 1).tag}")
    events = len(hand.guest.events_of("stats"))
    after = hand.guest.wait_event("stats", count=events + 1)["stack"]["wrong_vlan"]
    assert after > before, (before, after)


@case()
def all_frames(t):
    """From boot on: ARP, DHCP, neighbour discovery, all have the tag."""
    ns = t.namespace()
    tap = ns.add_tap()
    guest = t.guest("vlan=7 seconds=4", [(tap, None)], namespace=ns)
    guest.ns, guest.tap = ns, tap
    with Watch(guest) as watch:
        assert guest.wait_exit() == 0
    frames = [f for f in watch.frames if not f.to_guest]
    assert {f.type for f in frames} >= {ETH_P_IP, 0x86dd}, {hex(f.type) for f in frames}
    assert {f.tag for f in frames} == {7}, {f.tag for f in frames}


@case(words=["", "features=-csum,-guest_csum,-ctrl_vlan"])
def kernel(t, words):
    """A VLAN interface of the host on top of the tap."""
    guest = t.tap_guest(f"ip=10.78.0.2/24 vlan=5 {words}")
    name = f"{guest.tap.name}.5"
    done = guest.ns.run("ip", "link", "add", "link", guest.tap.name, "name", name, "type", "vlan",
                        "id", "5")
    if done.returncode != 0:
        raise Skip("this kernel has no VLAN interfaces (8021q)")
    assert guest.ns.run("ip", "addr", "add", "10.78.0.1/24", "dev", name).returncode == 0
    assert guest.ns.run("ip", "link", "set", name, "up").returncode == 0
    guest.ip = "10.78.0.2"
    with Pinger(guest.ns, guest.ip) as pinger, udp_socket(guest) as s:
        pinger.answers()
        for size in (0, 1, 1472, 1473, 8000):
            pinger.ping(pattern(size))
            udp_echo(s, pattern(size))
    tcp_echo(guest, pattern(1 << 20))
    assert stats(guest)["stack"]["checksum_errors_tcp"] == 0
