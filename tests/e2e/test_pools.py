"""What a guest has room for: datagrams and connections at once, and that all of it comes back."""
import contextlib
import resource
import selectors
import socket
import threading

import bulk
from case import EACH, EITHER, case
from load import run_load
from test_load import need_generator
from traffic import (pattern, plain_socket, receive_exactly, same, send_and_shut, stats, target,
                     tcp_connect, udp_answers)

CONNECTIONS = 1000
ECHOES = 3


# Words of the guest and device options.
RINGS = {"64": ("queue=64", None), "256": ("queue=256", None), "packed_64": ("queue=64", "packed=on")}


@case(accel=EITHER, ring=list(RINGS), size=[64, 1400])
def outstanding(t, ring, size):
    """32, and then 256 datagrams on their way at once, and none is lost."""
    need_generator()
    guest = t.tap_guest(*RINGS[ring])
    udp_answers(guest)
    before = bulk.held(guest)
    for window in (32, 256):
        result = run_load(guest.ip, guest.ns, seconds=1, timeout_ms=1000, sleep=1, size=size,
                          window=window)
        assert result["sent"] == result["received"] > window, result
        faults = {name: result[name] for name in ("lost", "corrupt", "stale", "refused")}
        assert not any(faults.values()), faults
    bulk.returns_to(guest, before)


def allow_files():
    """As many open files as this process may have: each connection is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@case(accel=EACH)
def thousand_connections(t):
    """In 16 MiB: each of 1000 open connections is answered three times, and all are closed in order."""
    allow_files()
    guest = t.tap_guest("ip6=off", mem="16M")
    before = bulk.held(guest)
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(tcp_connect(guest)) for _ in range(CONNECTIONS)]
        for turn in range(ECHOES):
            for i, s in enumerate(sockets):
                s.sendall(pattern(64, f"{turn} {i}"))
            for i, s in enumerate(sockets):
                same(receive_exactly(s, 64), pattern(64, f"{turn} {i}"), f"connection {i}")
        counts = stats(guest)["echo"]
        assert counts["tcp_open"] == counts["tcp_accepted"] == CONNECTIONS, counts
        for s in sockets:
            s.shutdown(socket.SHUT_WR)
        for i, s in enumerate(sockets):
            assert s.recv(1) == b"", f"connection {i}"
    bulk.returns_to(guest, before)
    found = stats(guest)
    assert found["echo"]["tcp_refused"] == found["echo"]["tcp_reset"] == 0, found["echo"]
    assert found["echo"]["tcp_stalled"] == found["stack"]["memory_errors"] == 0, found["stack"]


@case(accel=EACH)
def thousand_at_once(t):
    """In 16 MiB: 1000 SYNs without a pause. What finds the list of half-open ones full is sent again."""
    allow_files()
    guest = t.tap_guest("ip6=off", mem="16M")
    udp_answers(guest)
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS):
            s = stack.enter_context(plain_socket(guest, socket.SOCK_STREAM))
            s.setblocking(False)
            s.connect_ex(target(guest, "tcp", 7))
            selector.register(s, selectors.EVENT_WRITE)
        while selector.get_map():
            ready = selector.select(timeout=10)
            assert ready, f"{len(selector.get_map())} of {CONNECTIONS} do not connect"
            for key, _ in ready:
                assert key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
                selector.unregister(key.fileobj)
        counts = stats(guest)["echo"]
        assert (counts["tcp_open"], counts["tcp_refused"]) == (CONNECTIONS, 0), counts


@case(accel=EITHER, port=[7, 19], buffer=[1, 16384])
def small_window(t, port, buffer):
    """A peer with hardly any receive buffer gets everything all the same, a little at a time."""
    guest = t.tap_guest()
    before = bulk.held(guest)
    data = pattern(300_000) if port == 7 else bulk.generated(300_000)[0]
    with plain_socket(guest, socket.SOCK_STREAM) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)  # the kernel makes 1 some 2 KiB
        s.connect(target(guest, "tcp", port))
        if port == 7:
            sender = threading.Thread(target=send_and_shut, args=(s, data), daemon=True)
            sender.start()
        got = b""
        while len(got) < len(data):
            part = s.recv(min(997, len(data) - len(got)))
            assert part, f"the end after {len(got)} bytes"
            got += part
        if port == 7:
            assert s.recv(1) == b""
            sender.join(timeout=10)
    same(got, data, f"port {port}")
    bulk.returns_to(guest, before)
