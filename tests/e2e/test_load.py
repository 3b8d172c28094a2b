"""The load generator of the benchmarks: what it counts is so."""
import os
import socket
import struct
import threading

from case import Skip, case
from load import UDP_LOAD, run_load
from traffic import udp_answers

# What a bad echo does with each ten datagrams; the others come back as they are.
FLIPS, DROPS, DOUBLES, CUTS, MOVES_TIME, INVENTS = range(6)


def need_generator():
    if not os.path.exists(UDP_LOAD):
        raise Skip("build/udp_load is not built: make build/udp_load")


@case(load=["rate=500", "window=1", "window=64"])
def echo(t, load):
    """The guest answers each datagram, unchanged and once, in an open and in a closed loop."""
    need_generator()
    guest = t.tap_guest("ip6=off")
    udp_answers(guest)
    name, value = load.split("=")
    result = run_load(guest.ip, guest.ns, seconds=1, timeout_ms=1000, sleep=1, **{name: value})
    assert result["sent"] == result["received"] > 0, result
    assert result["lost"] == result["corrupt"] == result["stale"] == result["refused"] == 0, result
    assert 0 < result["rtt_min_us"] <= result["rtt_p50_us"] <= result["rtt_max_us"], result


@case(accel=None)
def bad_echo(t):
    """Each way in which an answer can be wrong is found."""
    need_generator()
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    thread = threading.Thread(target=answer_badly, args=(server,), daemon=True)
    thread.start()
    t.stack.callback(thread.join, 10)
    t.stack.callback(server.sendto, b"", server.getsockname())  # ends the thread
    result = run_load("127.0.0.1", port=server.getsockname()[1], rate=200, seconds=1,
                      timeout_ms=1000, sleep=1)
    tenth = result["sent"] / 10
    assert tenth > 1 and result["sent"] + result["unsent"] == 200, result
    assert abs(result["received"] - 5 * tenth) <= 5, result
    assert abs(result["corrupt"] - 4 * tenth) <= 4 and abs(result["stale"] - tenth) <= 1, result
    assert result["lost"] == result["sent"] - result["received"], result


def answer_badly(server):
    with server:
        while True:
            data, client = server.recvfrom(65536)
            if not data:
                return
            number, sent_ns = struct.unpack_from("=QQ", data)
            what, body = number % 10, data[16:]
            if what == FLIPS:
                data = data[:-1] + bytes((data[-1] ^ 1,))
            elif what == DROPS:
                continue
            elif what == DOUBLES:
                server.sendto(data, client)
            elif what == CUTS:
                data = data[:-1]
            elif what == MOVES_TIME:
                data = struct.pack("=QQ", number, sent_ns + 1) + body
            elif what == INVENTS:
                data = struct.pack("=QQ", number + 1 << 40, sent_ns) + body
            server.sendto(data, client)


@case(accel=None)
def nobody(t):
    """No echo service: an error for the caller, not a result of zeros."""
    need_generator()
    closed = t.stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    closed.bind(("127.0.0.1", 0))  # held by a socket that talks to another peer: port is closed
    closed.connect(("127.0.0.1", 9))
    result = run_load("127.0.0.1", port=closed.getsockname()[1], window=1, seconds=1)
    assert result["received"] == 0 and result["lost"] == result["sent"] > 0, result
