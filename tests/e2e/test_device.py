"""The device side: several NICs, options of QEMU's virtio-net, bridges, link changes."""
import contextlib

from case import EACH, EITHER, case
from guest import GuestError, wait_until
from traffic import (Pinger, pattern, stalled_connection, stats, system_ping, tcp_echo, udp_answers,
                     udp_echo, udp_socket)

MIB = 1 << 20

@case(nic=["rx_queue_size=256", "rx_queue_size=1024,tx_queue_size=1024", "page-per-vq=on",
           "modern-pio-notify=on", "mrg_rxbuf=off", "csum=off", "guest_csum=off",
           "event_idx=off,indirect_desc=off", "ctrl_vq=off", "status=off", "mq=on,vectors=6",
           "vectors=0", "packed=on", "disable-legacy=on", "disable-legacy=off", "ioeventfd=off"])
def options(t, nic):
    check_traffic(t.tap_guest(nic=nic))


@case(words=["queue=1", "queue=2", "queue=64", "ring=split", "features=-mrg_rxbuf,-event_idx",
             "features=-status", "features=-mac"])
def driver_options(t, words):
    check_traffic(t.tap_guest(words))


@case(accel=EITHER, words=["ring=auto", "ring=packed queue=1", "ring=packed queue=3", "queue=240",
                         "ring=split"])
def packed_device(t, words):
    """A device with packed rings: packed unless split is asked for, of any size."""
    guest = t.tap_guest(words, "packed=on")
    event = guest.wait_event("device")
    assert event["layout"] == ("split" if "split" in words else "packed"), event
    assert ("ring_packed" in event["features"]) == (event["layout"] == "packed"), event
    assert "queue=" not in words or event["rx_size"] == int(words.split("=")[-1]), event
    check_traffic(guest)
    tcp_echo(guest, pattern(10 * MIB))


@case()
def mac_address(t):
    guest = t.tap_guest(nic="mac=02:00:00:0a:0b:0c")
    assert guest.wait_event("device")["mac"] == "02:00:00:0a:0b:0c"
    check_traffic(guest)


def check_traffic(guest):
    with Pinger(guest.ns, guest.ip) as pinger:
        pinger.answers()
        for size in (0, 56, 1472):
            pinger.ping(pattern(size))
    with udp_socket(guest) as s:
        for seed in range(300):  # more than the largest ring that was asked for
            udp_echo(s, pattern(1000, seed))
    tcp_echo(guest, pattern(200_000))


@case()
def transitional_on_pc(t):
    """A device with both interfaces, on the conventional bus, where it is the default."""
    check_traffic(t.tap_guest(nic="disable-legacy=off,disable-modern=off", machine="pc"))


@case(machine=["pc", "q35", "microvm"])
def jumbo_frames(t, machine):
    guest = t.tap_guest(nic="host_mtu=9000", mtu=9000, machine=machine)
    assert guest.wait_event("device")["mtu"] == 9000
    with Pinger(guest.ns, guest.ip) as pinger:
        pinger.answers()
        for size in (1472, 1473, 8000, 8972):
            pinger.ping(pattern(size))
    with udp_socket(guest) as s:
        udp_echo(s, pattern(8900))
    tcp_echo(guest, pattern(MIB))


@case(mtu=[1280, 700])
def small_mtu(t, mtu):
    """The device's limit holds for what is sent: segments and fragments stay below it."""
    guest = t.tap_guest(nic=f"host_mtu={mtu}", mtu=mtu)
    assert guest.wait_event("device")["mtu"] == mtu
    with Pinger(guest.ns, guest.ip) as pinger:
        pinger.answers()
        for size in (mtu - 28, mtu - 27, 3000):
            pinger.ping(pattern(size))
    tcp_echo(guest, pattern(200_000))


# Machine, bridges in front of the NIC, the bus that the NIC is on.
BRIDGES = {
    "pci-bridge": ("pc", ["pci-bridge,id=b0,chassis_nr=1"], "b0"),
    "two-pci-bridges": ("pc", ["pci-bridge,id=b0,chassis_nr=1",
                               "pci-bridge,id=b1,chassis_nr=2,bus=b0"], "b1"),
    "root-port": ("q35", ["pcie-root-port,id=b0,chassis=1,slot=1"], "b0"),
    "pcie-pci-bridge": ("q35", ["pcie-root-port,id=b0,chassis=1,slot=1",
                                "pcie-pci-bridge,id=b1,bus=b0"], "b1"),
    "microvm-root-port": ("microvm", ["pcie-root-port,id=b0,chassis=1,slot=1"], "b0"),
}


@case(accel=EITHER, words=["", "features=-guest_csum", "mode=irq"], nic=["", "packed=on"])
def longer_than_a_buffer(t, words, nic):
    """The host's MTU is larger than the guest's: a frame takes up to six buffers. All sizes around
    the places where the first two end are compared, and the answers come in fragments."""
    guest = t.tap_guest(words, nic or None, mtu=9000)
    assert "mrg_rxbuf" in guest.wait_event("device")["features"]
    with Pinger(guest.ns, guest.ip) as pinger, udp_socket(guest) as s:
        pinger.answers()
        for size in [*range(1480, 1510), *range(3030, 3060), 8000, 8971, 8972]:
            pinger.ping(pattern(size))
            udp_echo(s, pattern(size, "udp"))
    check_traffic(guest)


@case()
def longer_than_a_buffer_copied(t):
    """While peers that do not read hold most buffers, such frames are copied out of theirs. Some find
    no memory at all, but none comes back wrong."""
    guest = t.tap_guest(mtu=9000, mem="16M")
    sockets = [stalled_connection(guest, pattern(4 * MIB, seed)) for seed in range(40)]
    try:
        # How many more there will be is not known: connections that do not move are reset meanwhile.
        wait_until(lambda: received(guest)["copies"] > 0, 20, "copies")
        with Pinger(guest.ns, guest.ip, limit=0.5) as pinger:
            for size in (1400, 1493, 1494, 1495, 8000, 8972):
                ping_until_answered(pinger, pattern(size))
    finally:
        for s in sockets:
            s.close()


def ping_until_answered(pinger, payload):
    for _ in range(40):
        with contextlib.suppress(TimeoutError):
            pinger.ping(payload)
            return
    raise GuestError(f"ping of {len(payload)} bytes: no answer in 40 tries")


def received(guest):
    return stats(guest)["nics"][0]["rx"]


@case(bridge=BRIDGES, firmware=["qboot", "seabios"])
def behind_bridge(t, bridge, firmware):
    """With qboot neither bus numbers nor windows nor BARs are assigned."""
    machine, bridges, bus = BRIDGES[bridge]
    extra = [word for each in bridges for word in ("-device", each)]
    check_traffic(t.tap_guest(nic=f"bus={bus}", machine=machine, firmware=firmware, extra=extra))


@case(accel=EITHER, count=[2, 3])
def several(t, count):
    """Each NIC has its own driver, address and network."""
    ns = t.namespace()
    taps = [ns.add_tap() for _ in range(count)]
    words = "ip=" + ",".join(f"{tap.guest}/24" for tap in taps)
    guest = t.guest(words, [(tap, None) for tap in taps], namespace=ns)
    guest.wait_ready()
    devices = guest.events_of("device")
    assert len(devices) == count
    assert len({d["mac"] for d in devices}) == count and len({d["pci"] for d in devices}) == count
    pingers = [t.stack.enter_context(Pinger(ns, tap.guest)) for tap in taps]
    for pinger in pingers:
        pinger.answers()
    for seed in range(50):
        for pinger in pingers:
            pinger.ping(pattern(1000, seed))


@case(machine=["pc", "q35", "microvm"])
def eight(t, machine):
    """As many as the driver takes, on one bus with unassigned BARs."""
    ns = t.namespace()
    taps = [ns.add_tap() for _ in range(8)]
    words = "ip=" + ",".join(f"{tap.guest}/24" for tap in taps)
    guest = t.guest(words, [(tap, None) for tap in taps], namespace=ns, machine=machine)
    guest.wait_ready()
    for tap in taps:
        with Pinger(ns, tap.guest) as pinger:
            pinger.answers()


@case(accel=EACH)
def link(t):
    """The cable is pulled and put back, twice: traffic stops, and resumes."""
    guest = t.tap_guest("stats=1")
    udp_answers(guest)
    for _ in range(2):
        for up in (False, True):
            guest.qmp("set_link", name="nic0", up=up)
            seen = len(guest.events_of("stats"))
            guest.wait_event("stats", limit=5, count=seen + 2)
            assert guest.events_of("stats")[-1]["nics"][0]["link"] is up
        udp_answers(guest)
    sent, received = system_ping(guest, 20, 0.01)
    assert sent == received
