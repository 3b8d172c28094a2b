"""The control queue: filters, addresses, announcements, as QEMU's device sees them."""
import contextlib
import socket
import time

from case import EITHER, case
from guest import wait_until
from test_config import expect_refusal
from test_modes import result_of
from traffic import Pinger, pattern, udp_answers, udp_echo, udp_socket

LAYOUTS = ["packed=off", "packed=on"]


def filters(guest):
    return guest.qmp("query-rx-filter", name="nic0")[0]


@case(accel=EITHER, nic=LAYOUTS)
def filter_by_default(t, nic):
    """Own address, multicast and broadcast; the device drops the rest."""
    guest = t.tap_guest("stats=1", nic)
    state = filters(guest)
    assert state["promiscuous"] is False and state["main-mac"] == "52:54:00:12:34:56", state
    assert state["multicast"] == "all", state
    udp_answers(guest)
    guest.ns.add_neighbour(guest.tap, "10.77.0.3", "02:00:00:00:00:99")
    with udp_socket(guest) as s:
        for _ in range(20):
            s.sendto(b"for another station", ("10.77.0.3", 7))
    event = result_of(guest)
    assert event["stack"]["not_for_us"] == 0 and event["nics"][0]["ctrl_errors"] == 0, event


@case(nic=["ctrl_vq=off", "ctrl_rx=off"])
def no_filter(t, nic):
    """Without the feature the frames come, and are dropped and counted by the guest."""
    guest = t.tap_guest("stats=1", nic)
    assert filters(guest)["promiscuous"] is True
    udp_answers(guest)
    guest.ns.add_neighbour(guest.tap, "10.77.0.3", "02:00:00:00:00:99")
    with udp_socket(guest) as s:
        for _ in range(20):
            s.sendto(b"for another station", ("10.77.0.3", 7))
    assert result_of(guest)["stack"]["not_for_us"] >= 20


@case(accel=EITHER, nic=LAYOUTS)
def mac(t, nic):
    """mac= changes the address in the device too."""
    guest = t.tap_guest("mac=02:00:00:0a:0b:0c", nic)
    assert guest.wait_event("device")["mac"] == "02:00:00:0a:0b:0c"
    assert filters(guest)["main-mac"] == "02:00:00:0a:0b:0c", filters(guest)
    with Pinger(guest.ns, guest.ip) as pinger:
        pinger.answers()
        pinger.ping(pattern(1000))


@case()
def made_up_mac(t):
    """Without VIRTIO_NET_F_MAC the guest makes an address and tells the device."""
    guest = t.tap_guest("features=-mac")
    address = guest.wait_event("device")["mac"]
    assert int(address[:2], 16) & 3 == 2, address
    assert filters(guest)["main-mac"] == address, filters(guest)
    udp_answers(guest)


BAD = {
    "mac=02:00:00:00:00": "mac=",
    "mac=01:00:00:00:00:01": "unicast",
    "mac=00:00:00:00:00:00": "unicast",
    "mac=02:00:00:00:00:01,02:00:00:00:00:02": "2 addresses",
    "mac=02:00:00:00:00:01 features=-ctrl_mac_addr": "ctrl_mac_addr",
    "mac=02:00:00:00:00:01 features=-ctrl_vq": "ctrl_mac_addr",
    "coalesce=rx:100,16": "notf_coal",
    "coalesce=rx:100": "coalesce=rx:100",
    "coalesce=rx:1,2;rx:1,2": "coalesce=",
    "vlan=4095": "vlan=4095",
}


@case(words=BAD)
def refused(t, words):
    expect_refusal(t.tap_guest(words, ready=False), BAD[words])


@case(accel=EITHER, mode=["poll", "irq"])
def announce(t, mode):
    """The device asks, as after a migration: the network hears of the address again, and the request
    is acknowledged, so the device asks once only."""
    guest = t.tap_guest(f"mode={mode} stats=1", "ctrl_guest_offloads=off")
    assert "guest_announce" in guest.wait_event("device")["features"]
    udp_answers(guest)
    with guest.ns.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806), limit=10) as s:
        s.bind((guest.tap.name, 0x0806))
        guest.qmp("announce-self", initial=50, max=50, rounds=1, step=50)
        wait_until(lambda: is_gratuitous(s.recv(2000), guest.ip), 10, "gratuitous ARP")
        # A request that is not acknowledged is seen again, at the latest a second later.
        assert gratuitous_within(s, guest, 2.5) == 0
    with udp_socket(guest) as s:
        udp_echo(s, pattern(100))
    assert result_of(guest)["nics"][0]["ctrl_errors"] == 0


def gratuitous_within(s, guest, seconds):
    count, end = 0, time.monotonic() + seconds
    with contextlib.suppress(socket.timeout):
        while time.monotonic() < end:
            s.settimeout(max(0.01, end - time.monotonic()))
            count += is_gratuitous(s.recv(2000), guest.ip)
    return count


def is_gratuitous(frame, address):
    """An ARP packet whose sender and target are that address, from the guest itself."""
    raw = socket.inet_aton(address)
    return frame[6:12] == bytes.fromhex("525400123456") and frame[28:32] == raw == frame[38:42]


@case(speed=["speed=10000,duplex=full", "speed=100,duplex=half", ""])
def speed(t, speed):
    device = t.tap_guest(nic=speed).wait_event("device")
    expected = dict(word.split("=") for word in speed.split(",")) if speed else {}
    assert device.get("speed_mbps") == (int(expected["speed"]) if expected else None), device
    assert device.get("duplex") == expected.get("duplex"), device
