"""app=ping: two Ringlets that test each other, and a host that answers as it should not."""
import contextlib
import socket
import struct
import threading
import time

from case import EITHER, case
from traffic import Pinger, pattern

FAMILIES = {"v4": "10.0.0.1", "v6": "fd77::1"}
MACS = ["mac=52:54:00:00:00:01", "mac=52:54:00:00:00:02"]


def echo_guest(t, wire, **options):
    """The answering side, ready in both families."""
    guest = t.guest("ip=10.0.0.1/24 ip6=fd77::1/64", [(wire.ends[0], MACS[0])], **options)
    guest.wait_event("address", match=lambda e: (e["addr"] or "").startswith("fd77"))
    return guest


def ping_guest(t, wire, words, **options):
    """The asking side, in the family of dst=."""
    family = "ip=off ip6=fd77::2/64" if ":" in words else "ip=10.0.0.2/24 ip6=off"
    return t.guest(f"app=ping {family} {words}", [(wire.ends[1], MACS[1])], **options)


def result(guest, status, limit=40):
    """The counters of the workload at the end, checked for what holds always."""
    assert guest.wait_exit(limit) == status, f"{guest.tail()}"
    ping = guest.events_of("result")[-1]["ping"]
    assert ping["sent"] == ping["received"] + ping["lost"], ping
    if ping["received"]:
        order = [ping[f"rtt_{name}_ns"] for name in ("min", "p50", "p90", "p99", "p999", "max")]
        assert order == sorted(order) and order[0] > 0, order
        assert order[0] <= ping["rtt_mean_ns"] <= order[-1], ping
    return ping


def all_answered(ping, count):
    bad = {k: v for k, v in ping.items()
           if v and k in ("lost", "late", "duplicate", "corrupt", "send_failed", "tcp_disconnects")}
    assert ping["sent"] == count and not bad, ping


@case(accel=EITHER, proto=["icmp", "udp", "tcp"], family=list(FAMILIES))
def two_guests(t, proto, family):
    wire = t.wire()
    echo_guest(t, wire)
    guest = ping_guest(t, wire, f"dst={FAMILIES[family]} proto={proto} size=1000 count=200 "
                                "interval_us=0 timeout_ms=5000")
    ping = result(guest, 0)
    all_answered(ping, 200)
    assert ping["tcp_connects"] == (proto == "tcp")
    ready = guest.wait_ready()
    assert ready["app"] == "ping" and ready["ip"] == ("10.0.0.2" if family == "v4" else None)


@case()
def stream(t):
    """Over QEMU's stream back end, whose server has no link before the other side is there."""
    wire = t.wire("stream")
    echo = t.guest("ip=10.0.0.1/24 ip6=off", [(wire.ends[0], MACS[0])])
    echo.wait_ready()
    guest = ping_guest(t, wire, "dst=10.0.0.1 proto=udp timeout_ms=10000 interval_us=1000")
    all_answered(result(guest, 0), 10)


# Around what one byte of a number needs (in one family), what one frame holds, and the largest.
UDP_SIZES = {
    "v4": (0, 1, 7, 8, 9, 1472, 1473, 2953, 20000, 65000),
    "v6": (0, 1452, 1453, 65000),
}
TCP_SIZES = {"v4": (1, 1460, 1461, 65000), "v6": (1441, 65000)}


@case(family=list(UDP_SIZES), limit=120)
def udp_sizes(t, family):
    wire = t.wire()
    echo_guest(t, wire)
    for size in UDP_SIZES[family]:
        guest = ping_guest(t, wire, f"dst={FAMILIES[family]} proto=udp size={size} count=20 "
                                    "interval_us=0 timeout_ms=5000")
        all_answered(result(guest, 0), 20)
        guest.close()


@case(family=list(TCP_SIZES), limit=120)
def tcp_sizes(t, family):
    wire = t.wire()
    echo_guest(t, wire)
    for size in TCP_SIZES[family]:
        guest = ping_guest(t, wire, f"dst={FAMILIES[family]} proto=tcp size={size} count=20 "
                                    "interval_us=0 timeout_ms=5000")
        all_answered(result(guest, 0), 20)
        guest.close()


@case(limit=120)
def icmp_sizes(t):
    """Over IPv6 the answering side copies, and has room for 16 KiB."""
    wire = t.wire()
    echo_guest(t, wire)
    for family, sizes in (("v4", (0, 1473, 65000)), ("v6", (1453, 16000))):
        for size in sizes:
            guest = ping_guest(t, wire, f"dst={FAMILIES[family]} size={size} count=20 "
                                        "interval_us=0 timeout_ms=5000")
            all_answered(result(guest, 0), 20)
            guest.close()


@case(proto=["icmp", "udp", "tcp"], family=list(FAMILIES))
def nobody(t, proto, family):
    """Nobody at the other end: all is lost, in bounded time, and the verdict says so."""
    guest = ping_guest(t, t.wire(), f"dst={FAMILIES[family]} proto={proto} count=3 timeout_ms=200")
    ping = result(guest, 1)
    assert ping["sent"] == ping["lost"] == 3 and ping["rtt_max_ns"] == 0, ping
    # Datagrams wait for the neighbour's address, TCP without a connection has nothing to send.
    assert ping["send_failed"] == 3 if proto == "tcp" else ping["send_failed"] < 3, ping


@case()
def refused(t):
    """No service at the port: no connection, no answer."""
    wire = t.wire()
    echo_guest(t, wire)
    for proto in ("tcp", "udp"):
        guest = ping_guest(t, wire, f"dst=10.0.0.1 proto={proto} port=8 count=3 timeout_ms=200")
        ping = result(guest, 1)
        assert ping["lost"] == 3 and ping["tcp_connects"] == 0, ping
        guest.close()


@case(proto=["icmp", "udp", "tcp"])
def by_time(t, proto):
    """count=0 goes on until seconds=, and the request under way at that moment still counts."""
    wire = t.wire()
    echo_guest(t, wire)
    guest = ping_guest(t, wire, f"dst=10.0.0.1 proto={proto} count=0 seconds=2 stats=1 "
                                "interval_us=0 timeout_ms=5000")
    ping = result(guest, 0)
    all_answered(ping, ping["sent"])
    assert ping["sent"] > 20, ping
    assert all(e["ping"]["sent"] > 0 for e in guest.events_of("stats")), guest.tail()


@case()
def interval(t):
    """The time from one request to the next."""
    wire = t.wire()
    echo_guest(t, wire)
    guest = ping_guest(t, wire, "dst=10.0.0.1 count=11 interval_us=100000")
    all_answered(result(guest, 0), 11)
    took = guest.events_of("result")[0]["uptime_us"] - guest.wait_ready()["boot_us"]
    assert took > 900_000, f"{took} us for ten intervals of 0.1 s"


@case()
def stations_alike(t):
    """Both ask and both answer, ICMP, at the same time."""
    wire = t.wire()
    words = "app=ping count=0 seconds=3 interval_us=1000 timeout_ms=5000"
    guests = [t.guest(f"{words} ip=10.0.0.{i + 1}/24 ip6=off dst=10.0.0.{2 - i}",
                      [(wire.ends[i], MACS[i])]) for i in range(2)]
    # The one that ends later finds nobody at its last request: the first to end is judged.
    ended = []
    deadline = time.monotonic() + 40
    while not ended and time.monotonic() < deadline:
        ended = [guest for guest in guests if guest.events_of("result")]
        time.sleep(0.01)
    ping = result(ended[0], 0)
    all_answered(ping, ping["sent"])


# ---- A host at the other end ----

@contextlib.contextmanager
def udp_server(guest, answers):
    """answers(n, data) gives the list of (delay in seconds, data) for the n-th datagram."""
    s = guest.ns.socket(socket.AF_INET, socket.SOCK_DGRAM, limit=0.2)
    s.bind((guest.tap.host, 7777))
    stop = threading.Event()

    def serve():
        n = 0
        while not stop.is_set():
            try:
                data, peer = s.recvfrom(65536)
            except TimeoutError:
                continue
            for delay, answer in answers(n, data):
                if delay:
                    timer = threading.Timer(delay, s.sendto, (answer, peer))
                    timers.append(timer)
                    timer.start()
                else:
                    s.sendto(answer, peer)
            n += 1

    timers = []
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        for timer in timers:
            timer.join()
        s.close()


def host_ping(t, words, answers):
    """A guest that asks the host's UDP server; its counters at the end."""
    guest = t.tap_guest("app=ping dst=10.77.0.1 proto=udp port=7777 " + words, ready=False)
    with udp_server(guest, answers):
        guest.wait_exit(40)
    return result(guest, 0 if guest.events[-1]["status"] == 0 else 1)


@case()
def honest_host(t):
    ping = host_ping(t, "count=50 interval_us=0 timeout_ms=5000", lambda n, d: [(0, d)])
    all_answered(ping, 50)


@case(size=[1, 56, 4000])
def wrong_bytes(t, size):
    """One wrong bit, anywhere; then the right answer, which counts."""
    def answers(n, data):
        wrong = bytearray(data)
        wrong[-1 if n % 2 else 0] ^= 0x40
        return [(0, bytes(wrong)), (0, data)]
    ping = host_ping(t, f"count=10 interval_us=0 timeout_ms=5000 size={size}", answers)
    assert ping["received"] == ping["corrupt"] == 10, ping


@case()
def wrong_lengths(t):
    """Shorter, longer, empty: no answers, and without a right one the request is lost."""
    def answers(n, data):
        return [(0, (data[:-1], data + b"x", b"")[n % 3])]
    ping = host_ping(t, "count=3 timeout_ms=300", answers)
    assert ping["lost"] == ping["corrupt"] == 3 and ping["received"] == 0, ping


@case(size=[2, 56])
def late(t, size):
    """Every second answer comes after its time: lost, and late, but never taken for the next."""
    def answers(n, data):
        return [(0.35 if n % 2 else 0, data)]
    ping = host_ping(t, f"count=6 interval_us=0 timeout_ms=250 size={size}", answers)
    assert ping["received"] == 3 and ping["lost"] == 3, ping
    assert ping["late"] in (2, 3), ping  # the last one may come after the end
    assert ping["corrupt"] == ping["duplicate"] == 0, ping


@case()
def duplicates(t):
    """The verdict is good: everything was answered. They are counted all the same."""
    ping = host_ping(t, "count=10 interval_us=20000 timeout_ms=5000",
                     lambda n, d: [(0, d), (0, d)])
    assert ping["received"] == 10 and ping["duplicate"] in (9, 10), ping
    assert ping["lost"] == ping["late"] == ping["corrupt"] == 0, ping


@case()
def round_trips(t):
    """A host that waits 50 ms before nine answers of ten, and 200 ms before the tenth."""
    ping = host_ping(t, "count=40 interval_us=0 timeout_ms=5000",
                     lambda n, d: [(0.2 if n % 10 == 9 else 0.05, d)])
    all_answered(ping, 40)
    assert 50e6 < ping["rtt_min_ns"] <= ping["rtt_p50_ns"] < ping["rtt_p99_ns"], ping
    assert 200e6 < ping["rtt_max_ns"] >= ping["rtt_p99_ns"], ping
    assert ping["rtt_p99_ns"] > 0.98 * ping["rtt_max_ns"], ping


@case()
def tcp_host(t):
    """A TCP server with three faults, one on each connection: a wrong byte, the end in the middle of
    an answer, a reset; then none. Each fault costs one request and one connection."""
    guest = t.tap_guest("app=ping dst=10.77.0.1 proto=tcp port=7777 count=8 timeout_ms=500 "
                        "interval_us=0 size=100", ready=False)
    with guest.ns.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.bind((guest.tap.host, 7777))
        s.listen()
        threading.Thread(target=tcp_faults, args=(s,), daemon=True).start()
        ping = result(guest, 1)
    assert ping["lost"] == 3 and ping["received"] == 5 and ping["corrupt"] == 1, ping
    assert ping["tcp_connects"] == 4 and ping["tcp_disconnects"] == 2, ping


def tcp_faults(listener):
    for fault in ("byte", "end", "reset", None):
        with contextlib.suppress(OSError), listener.accept()[0] as s:
            s.sendall(s.recv(100))
            answer = bytearray(s.recv(100))
            if fault == "byte":
                answer[0] ^= 1
            elif fault == "end":
                del answer[50:]
            elif fault == "reset":  # by closing
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                continue
            s.sendall(answer)
            while fault != "end" and answer:  # until the guest has closed
                answer = s.recv(100)
                s.sendall(answer)


@case(family=["v4", "v6"])
def icmp_host(t, family):
    """The host's kernel answers, in all sizes; the guest answers it meanwhile."""
    dst, sizes = "10.77.0.1", (0, 1472, 1473, 20000)
    if family == "v6":
        t.need_ipv6()
        dst, sizes = "fe80::1", (0, 1452, 1453, 20000)
    for size in sizes:
        guest = t.tap_guest(f"app=ping dst={dst} size={size} count=20 interval_us=50000 "
                            "timeout_ms=5000")
        with Pinger(guest.ns, guest.ip) as pinger:
            pinger.answers()
            pinger.ping(pattern(1000))
        all_answered(result(guest, 0), 20)
        guest.close()


@case()
def link_down(t):
    """Without a link nothing can be sent: lost, and told apart from what was sent. With the link
    back, the rest is answered."""
    guest = t.tap_guest("app=ping dst=10.77.0.1 count=0 seconds=8 interval_us=20000 timeout_ms=200")
    guest.qmp("set_link", name="nic0", up=False)
    guest.wait_line("link down")
    time.sleep(0.5)
    guest.qmp("set_link", name="nic0", up=True)
    guest.wait_line("link up")
    ping = result(guest, 1)
    assert ping["send_failed"] > 0 and ping["received"] > ping["lost"], ping
