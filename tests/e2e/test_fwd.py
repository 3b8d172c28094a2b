"""app=fwd: frames that go on, come back or are answered, and counters that agree to the frame."""
import contextlib
import random
import socket
import struct
import time

from case import EACH, EITHER, case
from frames import ETH_P_IP, ETH_P_IPV6, ICMP, TCP, UDP, Port, ethernet, ipv4, mac_bytes, udp
from test_config import expect_refusal
from traffic import Pinger, checksum, pattern, same, system_ping

MAC_A, MAC_B = bytes.fromhex("0200000a0a0a"), bytes.fromhex("0200000b0b0b")
IP_A, IP_B = "10.9.0.1", "10.8.0.2"
NEXT = ["02:00:00:00:00:d0", "02:00:00:00:00:d1"]  # dst_mac= of the two NICs
ROUND = 40  # frames on the way at once: no queue between the two ends is that short
LAYOUTS = ["packed=off", "packed=on"]


class Lab:
    """A forwarder and packet sockets on its taps, on which nothing but our frames goes by."""

    def __init__(self, t, words, nics=2, nic=None, **options):
        ns = t.namespace()
        # Without IPv6 on the host, which would send of its own accord.
        self.taps = [ns.add_tap() for _ in range(nics)]
        for tap in self.taps:
            ns.run("sh", "-c", f"echo 1 > /proc/sys/net/ipv6/conf/{tap.name}/disable_ipv6")
        self.ns = ns
        if "ip=" not in words:
            words += " ip=off"
        self.guest = t.guest(f"app=fwd ip6=off stats=1 {words}",
                             [(tap, nic) for tap in self.taps], namespace=ns, **options)
        self.guest.ns, self.guest.ip, self.guest.tap = ns, self.taps[0].guest, self.taps[0]
        self.guest.wait_ready()
        self.ports = [t.stack.enter_context(Port(ns, tap, limit=3.0)) for tap in self.taps]
        self.macs = [mac_bytes(self.guest.wait_event("device", count=i + 1)["mac"])
                     for i in range(nics)]

    def stats(self):
        """The second next statistics: what was sent before is in them."""
        return self.guest.wait_event("stats", count=len(self.guest.events_of("stats")) + 2)

    def receive(self, nic):
        """The next frame from the guest, padded or not as it came."""
        while True:
            frame = self.ports[nic].receive()
            if not frame.to_guest:
                return frame.data

    def forget(self, nic):
        """Passes over what came until now."""
        self.ports[nic].socket.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            while True:
                self.ports[nic].receive()
        self.ports[nic].socket.settimeout(3.0)

    def exchange(self, nic, to, frames, expected):
        """Sends some at a time on one NIC; all come out at the other as expected, in order."""
        for start in range(0, len(frames), ROUND):
            for frame in frames[start:start + ROUND]:
                self.ports[nic].send(frame)
            for i, frame in enumerate(expected[start:start + ROUND], start):
                same(self.receive(to), frame, f"frame {i} from NIC {nic}")


def tcp_segment(src, dst, src_port, dst_port, data):
    header = struct.pack("!HHIIBBHHH", src_port, dst_port, 7, 9, 0x50, 0x10, 8192, 0, 0)
    pseudo = socket.inet_aton(src) + socket.inet_aton(dst) + struct.pack("!HH", TCP, 20 + len(data))
    return header[:16] + struct.pack("!H", checksum(pseudo + header + data)) + header[18:] + data


def packet(kind, src, dst, ports, data):
    """An IPv4 packet from one to the other; kind: udp, tcp, icmp, fragment."""
    if kind == "udp":
        return ipv4(src, dst, UDP, udp(src, dst, *ports, data))
    if kind == "tcp":
        return ipv4(src, dst, TCP, tcp_segment(src, dst, *ports, data))
    return ipv4(src, dst, UDP if kind == "fragment" else ICMP, data,
                fragment=100 if kind == "fragment" else 0)


def packet6(swapped, ports, data):
    addresses = [socket.inet_pton(socket.AF_INET6, a) for a in ("fd77::1", "fd78::2")]
    src, dst = reversed(addresses) if swapped else addresses
    length = struct.pack("!H", 8 + len(data))
    header = struct.pack("!HH", *ports) + length + b"\0\0"
    total = checksum(src + dst + b"\0\0" + length + b"\0\0\0\x11" + header + data) or 0xffff
    return (struct.pack("!IHBB", 6 << 28, 8 + len(data), UDP, 64) + src + dst + header[:6] +
            struct.pack("!H", total) + data)


def mixed(count, seed):
    """Pairs: a frame, and the same one as the other end would send it (for 5tswap)."""
    r = random.Random(seed)
    for i in range(count):
        data = pattern(r.randrange(46, 1440), (seed, i))
        ports = (1024 + i, 53)
        kind = ("udp", "tcp", "icmp", "fragment", "udp6", "other")[i % 6]
        vlan = (None, 5)[i // 6 % 2]
        if kind == "other":
            body = back = data
        elif kind == "udp6":
            body, back = packet6(False, ports, data), packet6(True, ports[::-1], data)
        else:
            body = packet(kind, IP_A, IP_B, ports, data)
            back = packet(kind, IP_B, IP_A, ports[::-1], data)
        eth_type = {"udp6": ETH_P_IPV6, "other": 0x88b5}.get(kind, ETH_P_IP)
        yield (ethernet(MAC_B, MAC_A, eth_type, body, vlan),
               ethernet(MAC_A, MAC_B, eth_type, back, vlan))


def expected(fwd, frame, back, src_mac, dst_mac):
    """What has to come out."""
    if fwd == "io":
        return frame
    if fwd == "mac":
        return dst_mac + src_mac + frame[12:]
    return frame[6:12] + frame[:6] + frame[12:] if fwd == "macswap" else back


def check_counts(stats, sent, fwd):
    """`sent` frames went into each NIC; all went out, and nothing else did."""
    total = sum(sent)
    own = stats["fwd"]
    assert own["forwarded"] == total and own["no_room"] == own["not_echo"] == 0, own
    assert own["changed"] == (0 if fwd == "io" else total) and own["to_stack"] == 0, own
    for i, nic in enumerate(stats["nics"]):
        out = sent[(i ^ 1) if len(sent) > 1 else i]
        assert nic["rx"]["packets"] == sent[i] and nic["tx"]["packets"] == out, (i, nic, sent)
        for queue in (nic["rx"], nic["tx"]):
            drops = {n: v for n, v in queue.items() if n.startswith("drop") and v}
            assert not drops and queue["device_errors"] == 0, queue


def words_of(fwd, nics=2):
    return f"fwd={fwd}" + (" dst_mac=" + ",".join(NEXT[:nics]) if fwd == "mac" else "")


def forward(t, fwd, nic="packed=off", words="", count=240):
    lab = Lab(t, f"{words_of(fwd)} {words}", nic=nic)
    for source in (0, 1):
        pairs = list(mixed(count, source))
        out = source ^ 1
        lab.exchange(source, out, [frame for frame, _ in pairs],
                     [expected(fwd, frame, back, lab.macs[out], mac_bytes(NEXT[out]))
                      for frame, back in pairs])
    check_counts(lab.stats(), [count, count], fwd)
    return lab


@case(accel=EACH, fwd_nic=["io packed=on", "mac packed=off", "macswap packed=on",
                           "5tswap packed=off"])
def pairs(t, fwd_nic):
    """Two NICs: what comes in on one goes out on the other, byte by byte as it should be."""
    fwd, nic = fwd_nic.split()
    forward(t, fwd, nic)


@case(fwd_nic=["io packed=off", "mac packed=on", "macswap packed=off", "5tswap packed=on",
               "io mrg_rxbuf=off", "5tswap packed=on,event_idx=off"])
def layouts(t, fwd_nic):
    """The kinds on the other layout."""
    fwd, nic = fwd_nic.split()
    forward(t, fwd, nic)


@case(accel=EITHER, words=["mode=irq", "mode=adaptive"])
def sleeping(t, words):
    """The same in the modes that sleep, also when each frame finds the guest asleep."""
    lab = forward(t, "macswap", words=words)
    for i in range(20):
        frame = ethernet(MAC_B, MAC_A, 0x88b5, pattern(100, i))
        lab.exchange(0, 1, [frame], [frame[6:12] + frame[:6] + frame[12:]])
        time.sleep(0.02)
    stats = lab.stats()
    assert stats["slept_us"] > 0 and stats["nics"][0]["rx"]["wakeups"] > 0, stats


@case(words=["queue=4", "burst=1", "delay_cycles=20000", "features=-mrg_rxbuf queue=64",
              "mode=irq queue=4", "mode=irq intx=1"])
def options(t, words):
    """Small rings, small bursts, a slow guest: slower, but nothing else changes."""
    forward(t, "macswap", words=words)


@case(accel=EITHER, fwd=["io", "5tswap"])
def one_nic(t, fwd):
    """Back where it came from."""
    lab = Lab(t, words_of(fwd, 1), nics=1)
    pairs = list(mixed(120, 5))
    lab.exchange(0, 0, [frame for frame, _ in pairs],
                 [expected(fwd, frame, back, None, None) for frame, back in pairs])
    check_counts(lab.stats(), [120], fwd)


@case()
def odd_one_out(t):
    """Of three NICs the third has no neighbour, and sends its frames back."""
    lab = Lab(t, "fwd=macswap", nics=3)
    for source, out in ((0, 1), (1, 0), (2, 2)):
        frames = [ethernet(MAC_B, MAC_A, 0x88b5, pattern(100, i)) for i in range(60)]
        lab.exchange(source, out, frames, [f[6:12] + f[:6] + f[12:] for f in frames])
    nics = lab.stats()["nics"]
    assert [nic["rx"]["packets"] for nic in nics] == [60] * 3, nics
    assert [nic["tx"]["packets"] for nic in nics] == [60] * 3, nics


@case(accel=EITHER, nic=LAYOUTS)
def icmpecho(t, nic):
    """Pings and ARP for any address are answered, and nothing else is."""
    lab = Lab(t, "fwd=icmpecho", nics=1, nic=nic)
    tap = lab.taps[0]
    for address in ("10.77.0.2", "10.77.0.200"):  # the kernel asks for them by ARP
        with Pinger(lab.ns, address) as pinger:
            pinger.answers()
            for size in (0, 1, 56, 1472):
                pinger.ping(pattern(size))
    lab.guest.ip = "10.77.0.99"
    t.need_program("ping")
    assert system_ping(lab.guest, 10, 0.2) == (10, 10)
    neighbours = lab.ns.run("ip", "neigh", "show", "dev", tap.name).stdout
    assert neighbours.count(lab.guest.wait_event("device")["mac"]) == 3, neighbours
    before = lab.stats()["fwd"]
    for i in range(30):
        body = packet("udp", IP_A, IP_B, (5, 6), pattern(i))
        lab.ports[0].send(ethernet(MAC_B, MAC_A, ETH_P_IP, body))
    after = lab.stats()["fwd"]
    assert after["not_echo"] - before["not_echo"] == 30, (before, after)
    assert after["forwarded"] == before["forwarded"] == after["changed"], (before, after)


@case(accel=EITHER, fwd=["macswap", "icmpecho"])
def own_address(t, fwd):
    """With ip= it has an address: ARP and pings for that go to its own stack, all else is forwarded."""
    lab = Lab(t, f"fwd={fwd} ip=10.77.0.2/24,10.77.1.2/24")
    for tap in lab.taps:
        with Pinger(lab.ns, tap.guest) as pinger:
            pinger.answers()
            for size in (0, 56, 1472):
                pinger.ping(pattern(size))
    before = lab.stats()["fwd"]
    assert before["to_stack"] >= 8, before
    assert before["forwarded"] == 0, before
    if fwd == "icmpecho":
        with Pinger(lab.ns, "10.77.0.50") as pinger:
            pinger.answers()
        assert lab.stats()["fwd"]["forwarded"] > 0
        return
    lab.forget(1)
    pairs = list(mixed(60, 3))
    lab.exchange(0, 1, [frame for frame, _ in pairs],
                 [expected(fwd, frame, back, None, None) for frame, back in pairs])
    after = lab.stats()["fwd"]
    assert after["forwarded"] == 60 and after["to_stack"] == before["to_stack"], after


@case()
def link_down(t):
    """Where the other NIC has no link, frames are dropped and counted; afterwards it goes on."""
    lab = Lab(t, "fwd=io")
    frames = [ethernet(MAC_B, MAC_A, 0x88b5, pattern(100, i)) for i in range(30)]
    lab.exchange(0, 1, frames, frames)
    lab.guest.qmp("set_link", name="nic1", up=False)
    lab.guest.wait_line("link down", limit=5)
    for frame in frames:
        lab.ports[0].send(frame)
    own = lab.stats()["fwd"]
    assert own["no_room"] == 30 and own["forwarded"] == 30, own
    lab.guest.qmp("set_link", name="nic1", up=True)
    lab.guest.wait_line("link up", limit=5)
    lab.exchange(0, 1, frames, frames)


BAD = {
    "fwd=mac": "dst_mac=",
    "fwd=mac dst_mac=02:00:00:00:00:01": "each of 2",
    "fwd=mac dst_mac=02:00:00:00:00:01,": "each of 2",
    "fwd=mac dst_mac=,02:00:00:00:00:01": "each of 2",
    "fwd=mac dst_mac=02:00:00:00:00:01,01:00:00:00:00:01": "unicast",
    "fwd=mac dst_mac=02:00:00:00:00:01,nonsense": "dst_mac=",
    "fwd=mac dst_mac=02:00:00:00:00:01,02:00:00:00:00:02,02:00:00:00:00:03": "more addresses",
    "fwd=io dst_mac=02:00:00:00:00:01,02:00:00:00:00:02": "fwd=mac",
    "fwd=nonsense": "fwd=nonsense",
    "burst=0": "burst=0",
    "burst=65": "burst=65",
    "delay_cycles=x": "delay_cycles=x",
    "dst=10.0.0.1": "dst",
}


@case(words=BAD)
def refused(t, words):
    ns = t.namespace()
    nics = [(ns.add_tap(), None) for _ in range(2)]
    expect_refusal(t.guest(f"app=fwd ip=off ip6=off {words}", nics, namespace=ns), BAD[words])
