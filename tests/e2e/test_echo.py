"""The echo workload: UDP and TCP echo, discard, chargen, iperf."""
import re
import socket
import struct
import time

from case import EACH, EITHER, case
from guest import GuestError
from traffic import (Pinger, pattern, receive_all, receive_exactly, same, stalled_connection,
                     tcp_connect, tcp_echo, tcp_echo_many, udp_answers, udp_echo, udp_socket)

MIB = 1 << 20


@case(accel=EACH)
def udp_sizes(t):
    guest = t.tap_guest()
    udp_answers(guest)
    data = pattern(1472)
    with udp_socket(guest) as s:
        for size in range(1473):
            udp_echo(s, data[:size])


@case(size=[1473, 8000])
def udp_fragments(t, size):
    guest = t.tap_guest()
    udp_answers(guest)
    with udp_socket(guest) as s:
        for seed in range(20):
            udp_echo(s, pattern(size, seed))


@case(accel=EITHER, size=[0, 1, 1460, 65536, 10 * MIB])
def tcp(t, size):
    """Everything comes back in order, and the end after it: the client closes its half first."""
    tcp_echo(t.tap_guest(), pattern(size))


@case()
def tcp_user_network(t):
    tcp_echo(t.user_guest(), pattern(10 * MIB))


@case()
def over_v6(t):
    t.need_ipv6()
    guest = t.tap_guest("ip6=fd77::2/64")
    guest.ns.add_address(guest.tap, "fd77::1/64")
    with Pinger(guest.ns, "fd77::2") as pinger:
        pinger.answers()
    guest.ip = "fd77::2"
    with udp_socket(guest) as s:
        for size in (0, 1, 1452, 1453, 8000):
            udp_echo(s, pattern(size))
    tcp_echo(guest, pattern(MIB))


@case()
def tcp_small_writes(t):
    """Many segments of one byte, each answered before the next."""
    guest = t.tap_guest()
    with tcp_connect(guest) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for value in range(500):
            s.sendall(bytes((value & 0xff,)))
            same(s.recv(16), bytes((value & 0xff,)), "TCP echo")


@case()
def half_close(t):
    """After the client's FIN the rest still comes, then the guest's own FIN."""
    guest = t.tap_guest()
    data = pattern(100_000)
    with tcp_connect(guest) as s:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        time.sleep(0.5)
        same(receive_all(s), data, "TCP echo after half-close")


@case(accel=EITHER, count=[1, 4, 16])
def slow_readers(t, count):
    """Clients that send 4 MB each and do not read stall themselves, lose nothing, and disturb
    nobody else."""
    guest = t.tap_guest()
    data = [pattern(4 * MIB, seed) for seed in range(count)]
    sockets = [stalled_connection(guest, each) for each in data]
    try:
        time.sleep(1)
        with Pinger(guest.ns, guest.ip) as pinger:
            for _ in range(20):
                pinger.ping(pattern(1400))
        udp_answers(guest)
        tcp_echo(guest, pattern(MIB, "meanwhile"))
        for s, each in zip(sockets, data):
            same(receive_exactly(s, len(each)), each, "slow reader")
    finally:
        for s in sockets:
            s.close()
    tcp_echo(guest, pattern(MIB, "afterwards"))


@case(accel=EACH)
def many_connections(t):
    """100 connections at once, each with its own data."""
    guest = t.tap_guest()
    tcp_echo_many(guest, [pattern(100_000, seed) for seed in range(100)])


@case()
def connections_in_turn(t):
    """More connections than there can be control blocks: closed ones are given back."""
    guest = t.tap_guest()
    for seed in range(500):
        tcp_echo(guest, pattern(100, seed))


@case()
def reset_midway(t):
    """Connections that are reset in the middle of their data leave nothing behind."""
    guest = t.tap_guest()
    for seed in range(200):
        with tcp_connect(guest) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.setblocking(False)
            try:
                s.send(pattern(65536, seed))
            except BlockingIOError:
                pass
    udp_answers(guest)
    tcp_echo(guest, pattern(MIB))


@case()
def refused(t):
    """A port that nothing serves is answered with a reset, at once."""
    guest = t.tap_guest()
    try:
        tcp_connect(guest, port=8).close()
    except ConnectionRefusedError:
        return
    raise AssertionError("port 8 accepts connections")


@case()
def discard(t):
    guest = t.tap_guest()
    with tcp_connect(guest, port=9) as s:
        s.sendall(pattern(2 * MIB))
        s.shutdown(socket.SHUT_WR)
        assert receive_all(s) == b""
    with udp_socket(guest, port=9, limit=0.5) as s:
        s.send(b"into the void")
        try:
            raise AssertionError(f"UDP discard answered {s.recv(100)!r}")
        except socket.timeout:
            pass


@case()
def chargen(t):
    """RFC 864: lines of 72 printable characters, each one further round the ring of 95."""
    guest = t.tap_guest()
    ring = bytes(range(0x20, 0x7f)) * 2
    lines = b"".join(ring[i % 95:i % 95 + 72] + b"\r\n" for i in range(15000))
    with tcp_connect(guest, port=19) as s:
        same(receive_exactly(s, len(lines)), lines, "chargen")
    with udp_socket(guest, port=19) as s:
        s.send(bytes(200))
        answer = s.recv(2000)
        assert 0 < len(answer) <= 512
        same(answer, lines[:len(answer)], "UDP chargen")


@case(accel=EACH)
def iperf(t):
    t.need_program("iperf")
    guest = t.tap_guest()
    done = guest.ns.run("iperf", "-c", guest.ip, "-t", "2", "-f", "m", limit=20)
    rates = [float(r) for r in re.findall(r"([0-9.]+) Mbits/sec", done.stdout)]
    if done.returncode != 0 or not rates or rates[-1] <= 1:
        raise GuestError(f"iperf: {done.stdout.strip()[-300:]}")
    udp_answers(guest)
