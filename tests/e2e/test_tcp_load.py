"""The load generator for TCP: what it counts is so, and what is wrong does not pass."""
import os
import socket
import struct
import threading

from case import Skip, case
from load import TCP_LOAD, run_tcp_load
from traffic import udp_answers

ERRORS = ("corrupt", "resets", "timeouts")
PATIENT_MS = 10000  # for guests, which a busy machine may keep waiting
PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage"


def need_generator():
    if not os.path.exists(TCP_LOAD):
        raise Skip("build/tcp_load is not built: make build/tcp_load")


def clean(result):
    return not any(result[name] for name in ERRORS) and not result.get("lost")


@case(load=["echo connections=1 depth=1", "echo connections=1 depth=32", "echo connections=16 depth=1",
            "echo connections=3 depth=5 size=3001", "http connections=1", "http connections=4"])
def requests(t, load):
    """Each request to the guest ends as a right answer, and the round trips are of all of them."""
    need_generator()
    guest = t.tap_guest("ip6=off")
    udp_answers(guest)
    mode, *options = load.split()
    result = run_tcp_load(mode, guest.ip, guest.ns, seconds=1, timeout_ms=PATIENT_MS,
                          **dict(option.split("=") for option in options))
    assert clean(result) and result["sent"] == result["received"] > 0, result
    assert result["received_pps"] <= result["received"], result
    assert 0 < result["rtt_min_us"] <= result["rtt_p50_us"] <= result["rtt_max_us"], result


@case(mode=["up", "down", "through"])
def streams(t, mode):
    """Bytes move, and are those that have to come."""
    need_generator()
    guest = t.tap_guest("ip6=off")
    udp_answers(guest)
    result = run_tcp_load(mode, guest.ip, guest.ns, seconds=1, timeout_ms=PATIENT_MS, connections=2)
    assert clean(result) and result["bytes"] > 0 and result["mbit_s"] > 0, result


@case()
def wrong_service(t):
    """Bytes that answer nothing, and a connection that answers nothing, are found out."""
    need_generator()
    guest = t.tap_guest("ip6=off")
    udp_answers(guest)
    result = run_tcp_load("echo", guest.ip, guest.ns, seconds=1, timeout_ms=PATIENT_MS, port=19)
    assert result["corrupt"] == 1 and result["received"] == 0, result
    assert result["lost"] == result["sent"], result
    result = run_tcp_load("through", guest.ip, guest.ns, seconds=1, timeout_ms=PATIENT_MS, port=19)
    assert result["corrupt"] == 1 and result["bytes"] == 0, result
    result = run_tcp_load("down", guest.ip, guest.ns, seconds=1, timeout_ms=200, port=9)
    assert result["timeouts"] == 1 and result["bytes"] == 0, result
    result = run_tcp_load("http", guest.ip, guest.ns, seconds=1, timeout_ms=PATIENT_MS,
                          length=1)
    assert result["corrupt"] == result["sent"] == result["lost"] > 0, result


# ---- Servers that are wrong in one way ----

def serve(t, answer, count):
    """A server on the loopback that hands so many connections, one at a time, to answer()."""
    server = t.stack.enter_context(socket.create_server(("127.0.0.1", 0)))

    def run():
        for i in range(count):
            try:
                connection, _ = server.accept()
                with connection:
                    answer(connection, i)
            except OSError:
                return
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    t.stack.callback(thread.join, 10)
    t.stack.callback(server.shutdown, socket.SHUT_RDWR)  # ends the thread
    return server.getsockname()[1]


def echo_until_eleventh(connection, then):
    """Echoes ten requests; then: what comes instead of the next answer, None for a reset."""
    for _ in range(10):
        connection.sendall(connection.recv(64, socket.MSG_WAITALL))
    data = connection.recv(64, socket.MSG_WAITALL)
    if then is None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return
    connection.sendall(then(data))
    while connection.recv(4096):
        pass


ECHOES = {  # what comes instead of the eleventh answer, and as what it counts
    "flipped": (lambda data: data[:-1] + bytes((data[-1] ^ 1,)), "corrupt"),
    "twice": (lambda data: data + data, "corrupt"),
    "shifted": (lambda data: data[1:] + data[:1], "corrupt"),
    "cut": (lambda data: data[:-1], "timeouts"),
    "silent": (lambda data: b"", "timeouts"),
    "reset": (None, "resets"),
}


@case(accel=None, fault=list(ECHOES))
def bad_echo(t, fault):
    """Ten right answers count, the wrong one ends the connection and is lost."""
    need_generator()
    then, name = ECHOES[fault]
    port = serve(t, lambda connection, _: echo_until_eleventh(connection, then), 1)
    result = run_tcp_load("echo", "127.0.0.1", port=port, seconds=2, timeout_ms=300)
    received = 11 if fault == "twice" and result["received"] == 11 else 10  # as it falls into calls
    assert result["received"] == received and result["sent"] == received + 1, result
    assert result["lost"] == 1 and {e: result[e] for e in ERRORS} == {e: int(e == name)
                                                                      for e in ERRORS}, result


PAGES = {  # and as what they count
    "status": (PAGE.replace(b"200", b"500"), "corrupt"),
    "short": (PAGE[:-1], "corrupt"),
    "long": (PAGE + b"!", "corrupt"),
    "other": (PAGE.replace(b"page", b"pace"), "corrupt"),
    "no length": (PAGE.replace(b"Length", b"Breadth"), "corrupt"),
    "empty": (b"", "corrupt"),
}


@case(accel=None, fault=list(PAGES))
def bad_page(t, fault):
    """Of two pages the second is wrong; then nobody accepts any more."""
    need_generator()

    def answer(connection, i):
        connection.recv(1000)
        connection.sendall(PAGES[fault][0] if i == 1 else PAGE)
    result = run_tcp_load("http", "127.0.0.1", port=serve(t, answer, 2), seconds=1, timeout_ms=300)
    assert result["received"] == 1 and result["corrupt"] == 1 and result["resets"] == 0, result
    assert result["sent"] == result["received"] + result["lost"], result
    assert result["lost"] == result["corrupt"] + result["timeouts"], result


@case(accel=None, mode=["echo", "down", "http"])
def nobody(t, mode):
    """No service: nothing but refused connections."""
    need_generator()
    closed = t.stack.enter_context(socket.socket())
    closed.bind(("127.0.0.1", 0))  # nobody else gets the port, and nobody listens
    result = run_tcp_load(mode, "127.0.0.1", port=closed.getsockname()[1], seconds=1)
    assert result["resets"] > 0 and "rtt_p50_us" not in result, result
    assert result.get("bytes", 0) == result.get("received", 0) == 0, result
