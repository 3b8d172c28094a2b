"""Connections that the guest closed first, whose late segments it waits for (TIME-WAIT): a peer may use their
ports again at once, and they do not take the room of others."""
import errno
import socket

from case import EITHER, case
from guest import wait_until
from traffic import plain_socket, receive_all, stats, target, udp_answers

REUSES = 100
CLOSED = 400
TIME_WAIT_MAX = 128  # net/time_wait.h


def get(guest, port=None, path="/"):
    """A page from the guest, which closes the connection; from a given port of ours."""
    with plain_socket(guest, socket.SOCK_STREAM) as s:
        if port is not None:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("", port))
        wait_until(lambda: connects(s, guest), 5, "our side of the old connection is closed")
        s.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        head, _, body = receive_all(s).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        return body


def connects(s, guest):
    """False while our own side has not seen the last acknowledgement of the old connection."""
    error = s.connect_ex(target(guest, "tcp", 80))
    assert error in (0, errno.EADDRNOTAVAIL), errno.errorcode[error]
    return error == 0


@case(accel=EITHER, family=["v4", "v6"])
def same_port(t, family):
    """Refused, each would be tried again after a second."""
    guest = t.tap_guest("ip6=fd77::2/64" if family == "v6" else "ip6=off")
    if family == "v6":
        t.need_ipv6()
        guest.ns.add_address(guest.tap, "fd77::1/64")
        guest.ip = "fd77::2"
    udp_answers(guest)
    retransmitted = tcp_counter(guest, "RetransSegs")
    pages = {len(get(guest, 45678)) for _ in range(REUSES)}
    assert len(pages) == 1, pages
    assert tcp_counter(guest, "RetransSegs") - retransmitted < REUSES / 10


def tcp_counter(guest, name):
    """A counter of the host's TCP in the guest's namespace."""
    with guest.ns.entered(), open("/proc/thread-self/net/snmp", encoding="ascii") as f:
        names, values = (line.split() for line in f if line.startswith("Tcp:"))
    return int(dict(zip(names, values))[name])


@case(accel=EITHER)
def forgotten(t):
    guest = t.tap_guest("ip6=off")
    udp_answers(guest)
    for _ in range(CLOSED):
        get(guest)
    used = stats(guest)["pools"]["tcp_connections"]["used"]
    assert TIME_WAIT_MAX <= used <= TIME_WAIT_MAX + 8, used
