"""ICMP and ICMPv6 echo."""
from case import EACH, case
from guest import GuestError, wait_until
from traffic import Pinger, advertise, eui64, pattern, system_ping


@case(accel=EACH)
def no_loss(t):
    t.need_program("ping")
    guest = t.tap_guest()
    sent, received = system_ping(guest, 200, 0.005)
    assert (sent, received) == (200, 200), f"{received} of {sent}"


@case(accel=EACH)
def sizes(t):
    """Each payload from 0 to 1472 bytes, compared."""
    guest = t.tap_guest()
    data = pattern(1472)
    with Pinger(guest.ns, guest.ip) as pinger:
        pinger.answers()
        for size in range(1473):
            pinger.ping(data[:size])


@case(size=[1473, 4000, 8000])
def fragments(t, size):
    """More than one frame holds: reassembled, and answered in fragments."""
    guest = t.tap_guest()
    with Pinger(guest.ns, guest.ip) as pinger:
        pinger.answers()
        for seed in range(20):
            pinger.ping(pattern(size, seed))


@case()
def flood_and_answer(t):
    """A burst of far more than the rings hold loses at most itself."""
    t.need_program("ping")
    guest = t.tap_guest()
    guest.ns.run("ping", "-n", "-q", "-f", "-l", "1000", "-c", "20000", "-s", "1400", guest.ip)
    sent, received = system_ping(guest, 50, 0.005)
    assert (sent, received) == (50, 50), f"{received} of {sent}"


@case()
def v6_link_local(t):
    t.need_ipv6()
    guest = t.tap_guest()
    mac = guest.wait_event("device")["mac"]
    with Pinger(guest.ns, eui64("fe80::", mac), guest.tap) as pinger:
        pinger.answers()
        for size in (0, 1, 56, 1000, 1452):
            pinger.ping(pattern(size))


@case()
def v6_static(t):
    t.need_ipv6()
    guest = t.tap_guest("ip6=fd77::2/64")
    guest.ns.add_address(guest.tap, "fd77::1/64")
    with Pinger(guest.ns, "fd77::2") as pinger:
        pinger.answers()
        for size in (0, 1, 56, 1000, 1452):
            pinger.ping(pattern(size))


@case()
def v6_autoconfigured(t):
    """Makes itself an address from the prefix that a router advertises (SLAAC)."""
    t.need_ipv6()
    guest = t.tap_guest("ip6=auto")
    guest.ns.add_address(guest.tap, "fd78::1/64")
    mac = guest.wait_event("device")["mac"]
    with Pinger(guest.ns, eui64("fd78::", mac), limit=0.3) as pinger:
        def advertised():
            advertise(guest.ns, guest.tap, "fd78::")
            try:
                return pinger.ping()
            except (OSError, GuestError):
                return None
        wait_until(advertised, 10, "ping of the autoconfigured address")
        pinger.ping(pattern(1000))


@case()
def v6_off(t):
    t.need_ipv6()
    guest = t.tap_guest("ip6=off")
    mac = guest.wait_event("device")["mac"]
    with Pinger(guest.ns, guest.ip) as pinger:
        pinger.answers()
    with Pinger(guest.ns, eui64("fe80::", mac), guest.tap, limit=1) as pinger:
        try:
            pinger.ping()
        except (OSError, GuestError):
            return
    raise AssertionError("answers over IPv6")
