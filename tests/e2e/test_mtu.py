"""MTUs from 576 to 9000 bytes, of the host's tap and of the device: TCP, UDP and ping at the edges."""
import bulk
from case import EITHER, case
from frames import ICMP, ICMPV6, UDP, Watch
from test_offloads import judge, without
from traffic import Pinger, pattern, udp_answers, udp_echo, udp_socket

MTUS = [576, 1280, 1500, 4000, 9000]
MTU_V6_MIN = 1280
IP_HEADER = {4: 20, 6: 40}
L4_HEADER = 8  # of UDP and of an echo request
WORDS = {"offload": "", "none": without("csum", "guest_csum")}


def mtu_guest(t, mtu, words=""):
    if mtu >= MTU_V6_MIN:
        words = f"ip6=fd77::2/64 {words}"
    guest = t.tap_guest(words.strip(), f"host_mtu={mtu}", mtu=mtu)
    device = guest.wait_event("device")
    assert device["mtu"] == mtu, device
    udp_answers(guest)
    return guest, set(device["features"])


def families(t, guest, mtu):
    """Yields 4 and 6, with guest.ip set to the address of that version."""
    yield 4
    if mtu >= MTU_V6_MIN:
        t.need_ipv6()
        guest.ns.add_address(guest.tap, "fd77::1/64")
        guest.ip = "fd77::2"
        with Pinger(guest.ns, guest.ip) as pinger:
            pinger.answers()
        yield 6


@case(accel=EITHER, words=list(WORDS), mtu=MTUS)
def tcp(t, words, mtu):
    """5 MB each way; no segment is larger than the MTU lets it be."""
    guest, features = mtu_guest(t, mtu, WORDS[words])
    for version in families(t, guest, mtu):
        thrown = bulk.discarded(guest)
        bulk.echo(guest, 5 * bulk.MB)
        bulk.generate(guest, 5 * bulk.MB)
        bulk.discard(guest, 5 * bulk.MB)
        assert bulk.discarded(guest) - thrown == 5 * bulk.MB
        with Watch(guest) as watch:
            bulk.echo(guest, 200_000)
            bulk.generate(guest, 200_000)
        for to_guest, side, csum in ((False, "host", "csum"), (True, "guest", "guest_csum")):
            judge(watch, to_guest, f"{side}_tso{version}" in features, csum in features, mtu)


def ip_len(frame):
    return len(frame.data) - frame.ip


@case(mtu=MTUS)
def edges(t, mtu):
    """The largest datagram and ping of one frame, and one byte more, which makes fragments, both ways."""
    guest, _ = mtu_guest(t, mtu)
    for version in families(t, guest, mtu):
        most = mtu - IP_HEADER[version] - L4_HEADER
        icmp = ICMP if version == 4 else ICMPV6
        with udp_socket(guest) as s, Pinger(guest.ns, guest.ip) as pinger:
            for size, whole in ((most - 1, True), (most, True), (most + 1, False)):
                with Watch(guest) as watch:
                    udp_echo(s, pattern(size))
                    pinger.ping(pattern(size))
                check_edge(watch, size + IP_HEADER[version] + L4_HEADER, whole, (UDP, icmp), mtu)


def check_edge(watch, length, whole, protocols, mtu):
    """One frame in each direction for each protocol, or fragments of it that fill the MTU."""
    for to_guest in (False, True):
        frames = [f for f in watch.frames if f.to_guest == to_guest]
        assert all(ip_len(f) <= mtu for f in frames), [ip_len(f) for f in frames]
        full = [f for f in frames if f.protocol in protocols and not f.fragment and
                ip_len(f) == length]
        cut = [f for f in frames if f.fragment]
        assert len(full) == (2 if whole else 0) and len(cut) == (0 if whole else 4), \
            (to_guest, whole, [ip_len(f) for f in frames])
        assert whole or max(ip_len(f) for f in cut) > mtu - 8, "fragments smaller than they must be"
