"""app=gen on the wire: what its frames are, where they go, when it ends."""
import time
from collections import Counter
from ipaddress import ip_address

from case import EACH, case
from generated import Capture, check_frames, generator, result
from networks import UserNet
from test_config import expect_refusal

OWN = "52:54:00:12:34:56"
NOBODY = "02:00:00:00:00:99"
FRAMES = 600


def start(t, words, frames=FRAMES, rate="4000pps", **options):
    """A guest that is to send so many, and the capture of what comes from it."""
    ns = t.namespace()
    tap = ns.add_tap()
    capture = t.stack.enter_context(Capture(t, ns, tap))
    guest = t.guest(f"app=gen frames={frames} rate={rate} {words}", [(tap, f"mac={OWN}")],
                    namespace=ns, **options)
    guest.ns, guest.tap = ns, tap
    return guest, capture


def captured(t, words, flows, seed=1):
    """All frames of one run, judged, and its last line."""
    guest, capture = start(t, f"dst_mac={NOBODY} seed={seed} {words}")
    event = generator(guest, FRAMES)
    frames = capture.frames()
    gen = event["gen"]
    check_frames(frames, FRAMES, flows, seed)
    assert gen["flows"] == flows and gen["seed"] == seed, gen
    assert gen["bytes"] == sum(frame.len for frame in frames), gen
    assert gen["unstamped"] == sum(not frame.stamped for frame in frames), gen
    assert {f.session for f in frames if f.stamped} == {gen["session"]}
    return frames, event


def span(first, last):
    """Addresses of a range."""
    return [str(ip_address(n)) for n in range(int(ip_address(first)), int(ip_address(last)) + 1)]


def check_fields(frames, **wanted):
    """Flow f has the f-th value of each list, from the start again when it ends."""
    for name, values in wanted.items():
        seen = [getattr(frame, name) for frame in frames]
        flows = max(frame.flow for frame in frames if frame.stamped) + 1
        expected = [values[i % flows % len(values)] for i in range(len(frames))]
        assert seen == expected, f"{name}: {seen[:9]}... instead of {expected[:9]}..."


@case(accel=EACH)
def udp(t):
    """Sizes in turn, among them odd ones and the smallest with a stamp."""
    frames, _ = captured(t, "size=64,65,101,593,1514 src=10.1.0.1-10.1.0.7 dport=7-9", flows=7)
    assert Counter(frame.len for frame in frames) == dict.fromkeys((64, 65, 101, 593, 1514), 120)
    check_fields(frames, eth=[(OWN, NOBODY)], tags=[("", "")],
                 ip=[(src, "198.19.0.1") for src in span("10.1.0.1", "10.1.0.7")],
                 ports=[(49152, port) for _ in range(7) for port in (7, 8, 9)])


@case()
def tcp_weights(t):
    """Each flow has the sizes in their shares. Frames too short for a stamp count, too."""
    frames, event = captured(t, "proto=tcp size=66:7,594:4,1514:1 flows=5 sport=1000-1004 "
                                "dst=10.2.0.1-10.2.0.2 pace=poisson", flows=5)
    assert event["gen"]["unstamped"] == FRAMES * 7 // 12, event["gen"]
    for flow in range(5):
        sizes = Counter(frame.len for frame in frames[flow::5])
        assert sizes == {66: 70, 594: 40, 1514: 10}, sizes
        numbers = [int(frame.tcp_seq) for frame in frames[flow::5]]
        assert {b - a for a, b in zip(numbers, numbers[1:])} == {1514 - 54}, "TCP numbers"
    check_fields(frames, ports=[(1000 + i, 9) for i in range(5)],
                 ip=[("198.18.0.1", f"10.2.0.{1 + i % 2}") for i in range(5)])


@case()
def udp6(t):
    frames, _ = captured(t, "src=fd78::1 dst=fd79::fffe-fd79::1:2 size=84,85,1499 pace=burst:8 "
                            "payload=pattern", flows=5)
    assert Counter(frame.len for frame in frames) == {84: 200, 85: 200, 1499: 200}
    check_fields(frames, ip=[("fd78::1", dst) for dst in span("fd79::fffe", "fd79::1:2")])


@case()
def tcp6_two_tags(t):
    """Tags of IEEE 802.1ad and 802.1Q, the outer one first."""
    frames, _ = captured(t, "proto=tcp src=fd78::1 dst=fd79::1 vlan=100 qinq=200 size=104,1001 "
                            "src_mac=02:00:00:00:00:77", flows=1)
    check_fields(frames, tags=[("200", "100")], eth=[("02:00:00:00:00:77", NOBODY)])


@case()
def same_again(t):
    """The same seed gives the same frames, but for session and time; another one gives others."""
    words = ("vlan=4094 size=68,300:2 flows=50 src=random:fd78::-fd78::ffff dst=fd79::1 "
             "sport=random:1-65535 dport=random:1-9")
    runs = [captured(t, words, 50, seed)[0] for seed in (7, 7, 8)]
    first, again, other = ([frame.lasting() for frame in run] for run in runs)
    assert first == again and first != other
    for run in runs:
        assert {frame.tags for frame in run} == {("", "4094")}
        assert len({frame.ports for frame in run}) == 50
        assert {frame.ports[1] for frame in run} <= set(range(1, 10))
    assert len({frame.ip for frame in runs[0]}) > 40


@case()
def imix(t):
    """By name: 64, 594 and 1518 bytes. Without a tag the last needs a larger MTU than 1500."""
    frames, _ = captured(t, "size=imix vlan=1", flows=1)
    assert Counter(frame.len for frame in frames) == {64: 350, 594: 200, 1518: 50}


# ---- The destination's MAC address ----

TO = {
    "arp": ("ip=10.77.0.2/24 dst=10.77.0.1", ("10.77.0.2", "10.77.0.1")),
    "gateway": ("ip=10.77.0.2/24 gw=10.77.0.1", ("10.77.0.2", "198.19.0.1")),
    "nd": ("ip6=fd77::2/64 src=fd77::2 dst=fd77::1 size=84", ("fd77::2", "fd77::1")),
}


@case(how=TO)
def resolves(t, how):
    """The neighbour, or the gateway, is asked before the first frame, by the protocol stack."""
    words, addresses = TO[how]
    if how == "nd":
        t.need_ipv6()
    guest, capture = start(t, words)
    guest.ns.add_address(guest.tap, "fd77::1/64")
    host = mac_of(guest)
    event = generator(guest, FRAMES)
    frames = capture.frames()
    check_frames(frames, FRAMES)
    check_fields(frames, eth=[(OWN, host)], ip=[addresses])
    assert event["nics"][0]["tx"]["packets"] > FRAMES and event["gen"]["to_stack"] > 0, event


def mac_of(guest):
    text = guest.ns.run("ip", "-o", "link", "show", guest.tap.name).stdout
    return text.partition("link/ether ")[2].split()[0]


@case()
def resolves_nobody(t):
    """It says so, and ends."""
    guest, _ = start(t, "ip=10.77.0.2/24 dst=10.77.0.9")
    event = result(guest, 1)
    guest.wait_line("error: app=gen: .*dst_mac=")
    assert event["gen"]["frames"] == 0, event["gen"]


# ---- Modes, the link, the end ----

@case(accel=EACH, mode=["irq", "adaptive"])
def sleeps(t, mode):
    """Between frames, and still is in time."""
    guest, capture = start(t, f"mode={mode} dst_mac={NOBODY} size=64,1514", 50, "100pps")
    event = generator(guest, 50)
    check_frames(capture.frames(), 50)
    assert event["slept_us"] > 100000, event["slept_us"]


@case(mode=["poll", "irq"])
def link_down(t, mode):
    """It goes on with the number that is next. QEMU drops what it gets before the guest has seen
    that the link is down, which in poll mode it looks at once a second: only that is missing."""
    guest, capture = start(t, f"mode={mode} dst_mac={NOBODY}", 3000, "1000pps")
    guest.wait_ready()
    time.sleep(0.3)
    guest.qmp("set_link", name="nic0", up=False)
    guest.wait_line("link down")
    time.sleep(0.3)
    guest.qmp("set_link", name="nic0", up=True)
    event = generator(guest, 3000)
    numbers = [frame.seq for frame in capture.frames()]
    gaps = [(a, b) for a, b in zip(numbers, numbers[1:]) if b != a + 1]
    assert numbers[0] == 0 and numbers[-1] == 2999 and len(gaps) <= 1, gaps
    assert numbers == sorted(set(numbers)), "twice, or not in order"
    assert event["gen"]["link_waits"] > 0 and event["nics"][0]["link_downs"] == 1, event


@case()
def link_down_at_start(t):
    """It waits for the link, and then begins with number 0."""
    guest, capture = start(t, f"dst_mac={NOBODY}", 100, "2000pps", extra=["-S"])
    guest.qmp("set_link", name="nic0", up=False)
    guest.qmp("cont")
    guest.wait_event("device", match=lambda e: not e["link"])
    time.sleep(0.5)
    assert not guest.events_of("ready")
    guest.qmp("set_link", name="nic0", up=True)
    generator(guest, 100)
    check_frames(capture.frames(), 100)


@case()
def by_time(t):
    """seconds= ends it well; the counters of each line are not below those of the line before."""
    guest, capture = start(t, f"dst_mac={NOBODY} seconds=3 stats=1", 0, "500pps")
    last = result(guest)
    events = guest.events_of("stats") + [last]
    counts = [event["gen"]["frames"] for event in events]
    assert len(counts) >= 3 and counts == sorted(counts) and 0 < counts[1] < counts[-1], counts
    check_frames(capture.frames(), last["gen"]["frames"])


# ---- What cannot be followed ----

# Words, and what the line has to name.
BAD = {
    "rate=fast": "rate=fast",
    "rate=0pps": "rate=0pps",
    "rate=1001Mpps": "rate=1001Mpps",
    "rate=101%": "rate=101%",
    "linerate=10": "linerate=10",
    "pace=burst:0": "pace=burst:0",
    "pace=even": "pace=even",
    "size=20": "size=20",
    "size=9000": "size=9000",
    "size=64:0": "size=64:0",
    "size=64,,128": "size=64,,128",
    "src=fd77::1": "src=fd77::1",
    "src=10.0.0.1 dst=fd77::1": "src=10.0.0.1",
    "src=10.0.0.9-10.0.0.1": "src=10.0.0.9-10.0.0.1",
    "dst=10.0.0": "dst=10.0.0",
    "sport=70000": "sport=70000",
    "dport=9-7": "dport=9-7",
    "flows=0": "flows=0",
    "flows=1048577": "flows=1048577",
    "qinq=5": "vlan=",
    "proto=icmp": "proto=icmp",
    "payload=none": "payload=none",
    "count=5": "count",
    "dst_mac=ff:ff:ff:ff:ff:ff": "dst_mac=ff:ff:ff:ff:ff:ff",
    "src_mac=02:00:00": "src_mac=02:00:00",
}


@case(words=BAD)
def bad(t, words):
    other = "" if "dst_mac=" in words else f" dst_mac={NOBODY}"
    expect_refusal(t.guest(f"app=gen {words}{other}", [(UserNet(), None)]), BAD[words])


@case(words=["ip=off", "ip6=fd77::2/64", "dst=fd77::1 src=fd77::2 ip=10.0.2.15/24"])
def nobody_to_ask(t, words):
    """Without dst_mac= it needs an address of its own in the family of dst=."""
    expect_refusal(t.guest(f"app=gen {words}", [(UserNet(), None)]), "dst_mac=")
