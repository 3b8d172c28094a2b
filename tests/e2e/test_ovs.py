"""Open vSwitch with DPDK between guests and the host: a switch that polls, and that others are on."""
import time

from case import EACH, EITHER, MODES, case
from guest import GuestError
from ovs import OpenVSwitch
from test_state import queues
from traffic import Pinger, pattern, tcp_echo, udp_echo, udp_socket
from vhost import mode_words, shared_memory

MIB = 1 << 20


class Lab:
    """The switch and guests on its ports. The host is 10.77.0.1 there, guests count on from .2."""

    def __init__(self, t):
        self.t = t
        self.switch = OpenVSwitch(t)

    def guest(self, network, index, words, nic=""):
        """Not ready yet: with dpdkvhostuserclient QEMU waits for the switch, which tries each second."""
        ip = f"10.77.0.{2 + index}"
        nic = f"mac=52:54:00:77:00:{2 + index:02x}" + (f",{nic}" if nic else "")
        guest = self.t.guest(f"{words} ip={ip}/24 ip6=off stats=1", [(network, nic)],
                             namespace=self.switch.ns,
                             extra=network.extra(0) + shared_memory("64M"))
        guest.ns, guest.tap, guest.ip, guest.port = self.switch.ns, self.switch.local, ip, \
            network.port
        return guest

    def two(self, words=""):
        """One with split rings, one with packed ones."""
        ports = [self.switch.add_port("dpdkvhostuserclient") for _ in range(2)]
        guests = [self.guest(ports[0], 0, words), self.guest(ports[1], 1, words, "packed=on")]
        for guest, layout in zip(guests, ("split", "packed")):
            guest.wait_ready()
            assert guest.wait_event("device")["layout"] == layout
        return guests

    def agreed(self, guest):
        """A stats event that has counted the same frames as the switch."""
        for _ in range(5):
            before = self.switch.counters(guest.port)
            event = guest.wait_event("stats", limit=5, count=len(guest.events_of("stats")) + 1)
            rx, tx = (queue["packets"] for queue in queues(event))
            if before == self.switch.counters(guest.port) == {"rx": tx, "tx": rx}:
                return event
        raise GuestError(f"guest received {rx}, sent {tx}; switch {self.switch.counters(guest.port)}")


def check_traffic(guest):
    with Pinger(guest.ns, guest.ip) as pinger:
        pinger.answers()
        for size in (0, 56, 1472, 3000):
            pinger.ping(pattern(size))
    with udp_socket(guest) as s:
        for seed in range(100):
            udp_echo(s, pattern(1400, seed))
    tcp_echo(guest, pattern(4 * MIB))


def check_counters(before, after, mode):
    for old, new in zip(queues(before), queues(after)):
        drops = {name: value for name, value in new.items() if name.startswith("drop") and value}
        assert not drops and new["device_errors"] == 0, new
        if mode == "poll":
            assert new["kicks"] == old["kicks"] and new["interrupts"] == 0, (old, new)


@case(accel=EITHER, spins=True, mode=MODES)
def host_and_two_guests(t, mode):
    """The host reaches both, the switch counts what they count, and neither kicks it."""
    lab = Lab(t)
    guests = lab.two(mode_words(t.accel, mode))
    first = {}
    for guest in guests:
        with Pinger(guest.ns, guest.ip) as pinger:
            pinger.answers()
        first[guest] = lab.agreed(guest)
    for guest in guests:
        check_traffic(guest)
    for guest in guests:
        check_counters(first[guest], lab.agreed(guest), mode)


@case(spins=True, nic=["", "packed=on"])
def switch_listens(t, nic):
    """The older kind of port, where QEMU connects."""
    lab = Lab(t)
    guest = lab.guest(lab.switch.add_port("dpdkvhostuser"), 0, "", nic)
    guest.wait_ready()
    check_traffic(guest)


@case(accel=EACH, spins=True, limit=90)
def guest_to_guest(t):
    """One asks, the other echoes, through nothing but the switch. Each protocol with a new machine at
    the same port."""
    lab = Lab(t)
    echo = lab.guest(lab.switch.add_port("dpdkvhostuserclient"), 0, "")
    port = lab.switch.add_port("dpdkvhostuserclient")
    echo.wait_ready()
    for proto, size in (("icmp", 1472), ("udp", 1400), ("tcp", 1000)):
        # Not many: where more threads spin than there are processors, each waits for the scheduler.
        words = (f"app=ping dst={echo.ip} proto={proto} size={size} count=100 interval_us=0 "
                 f"timeout_ms=5000")
        guest = lab.guest(port, 1, words, "packed=on")
        status = guest.wait_exit()
        ping = guest.events_of("result")[-1]["ping"]
        assert status == 0 and ping["received"] == 100, ping
        guest.close()


@case(spins=True, nic=["", "packed=on"])
def switch_restarts(t, nic):
    """What an upgrade of the switch is to its guests: the process ends, another one takes over."""
    lab = Lab(t)
    guest = lab.guest(lab.switch.add_port("dpdkvhostuserclient"), 0, "", nic)
    guest.wait_ready()
    check_traffic(guest)
    lab.switch.crash()
    time.sleep(1.5)
    lab.switch.start()
    with Pinger(guest.ns, guest.ip, limit=0.5) as pinger:
        pinger.answers(limit=15)
    check_traffic(guest)
    assert len(guest.events_of("boot")) == 1
