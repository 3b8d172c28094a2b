"""Segmentation offload of UDP, where QEMU offers it (8.2 and newer): several datagrams of one flow are one
frame between guest and device, and are datagrams again on both sides."""
import socket

from case import EITHER, Skip, case
from traffic import pattern, stats, udp_answers, udp_socket

UDP_SEGMENT = 103  # linux/udp.h: one send becomes datagrams of this size
FEATURES = {"host_uso", "guest_uso4", "guest_uso6"}


def uso_guest(t, words="", nic=None):
    t.need_ipv6()
    guest = t.tap_guest(f"ip6=fd77::2/64 {words}".strip(), nic)
    guest.ns.add_address(guest.tap, "fd77::1/64")
    need_uso(guest)
    return guest


def need_uso(guest):
    device = guest.wait_event("device")
    if not FEATURES & set(device["features"]):
        raise Skip("this QEMU does not offer UDP segmentation offload")


def echo_many(s, data, size):
    """Sends data as datagrams of `size`, handed to the kernel as one; all have to come back, in order."""
    s.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
    s.send(data)
    for off in range(0, len(data), size):
        assert s.recv(65536) == data[off:off + size], f"datagram at {off} of {len(data)}"


@case(accel=EITHER, layout=["packed=off", "packed=on"], family=["v4", "v6"])
def datagrams(t, layout, family):
    guest = uso_guest(t, nic=layout)
    if family == "v6":
        guest.ip = "fd77::2"
    udp_answers(guest)
    sent = 0
    with udp_socket(guest) as s:
        for size in (1, 13, 512, 1400):
            for count in (2, 3, 40):
                for short in (0, size // 2):
                    echo_many(s, pattern(size * count - short, f"{size} {count}"), size)
                    sent += count
    found = stats(guest)
    rx, tx = (found["nics"][0][queue] for queue in ("rx", "tx"))
    assert rx["gso_frames"] >= 12 and tx["gso_frames"] >= 12, found
    assert found["stack"]["checksum_errors_udp"] == rx["drop_bad_header"] == 0, found
    assert found["echo"]["udp_echoed"] >= sent, found


@case(accel=EITHER, masked=["host_uso", "guest_uso4", "guest_uso4,-host_uso"])
def masked(t, masked):
    """The other direction goes on without."""
    guest = uso_guest(t, f"features=-{masked}")
    udp_answers(guest)
    with udp_socket(guest) as s:
        echo_many(s, pattern(40 * 1000), 1000)
    nic = stats(guest)["nics"][0]
    assert (nic["tx"]["gso_frames"] > 0) == ("host_uso" not in masked), nic
    assert (nic["rx"]["gso_frames"] > 0) == ("guest_uso4" not in masked), nic
