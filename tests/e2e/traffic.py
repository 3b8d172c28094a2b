"""What the tests say to a guest: patterned data over UDP and TCP, pings, router advertisements."""
import hashlib
import json
import re
import selectors
import socket
import struct
import threading
import time

from guest import GuestError, wait_until

TCP_LIMIT = 10.0  # seconds of silence after which a connection counts as dead


def pattern(length, seed=0):
    """Bytes that repeat nowhere, so that a lost, doubled or misplaced part shows."""
    return hashlib.shake_128(str(seed).encode()).digest(length)


def same(got, expected, what):
    """Fails with the place of the first difference, not with megabytes of it."""
    if got == expected:
        return
    at = next((i for i, (a, b) in enumerate(zip(got, expected)) if a != b),
              min(len(got), len(expected)))
    raise GuestError(f"{what}: {len(got)} bytes instead of {len(expected)}, "
                     f"first difference at {at}")


# ---- Where to: a guest on a tap or behind forwarded ports ----

def target(guest, protocol, port):
    """Address and port under which a port of the guest is reached."""
    if hasattr(guest, "ns"):
        return guest.ip, port
    return "127.0.0.1", getattr(guest.net, protocol)[port]


def plain_socket(guest, kind, limit=TCP_LIMIT):
    if hasattr(guest, "ns"):
        family = socket.AF_INET6 if ":" in guest.ip else socket.AF_INET
        return guest.ns.socket(family, kind, limit=limit)
    s = socket.socket(socket.AF_INET, kind)
    s.settimeout(limit)
    return s


def udp_socket(guest, port=7, limit=2.0):
    s = plain_socket(guest, socket.SOCK_DGRAM, limit)
    s.connect(target(guest, "udp", port))
    return s


def tcp_connect(guest, port=7, limit=TCP_LIMIT):
    s = plain_socket(guest, socket.SOCK_STREAM, limit)
    try:
        s.connect(target(guest, "tcp", port))
    except OSError:
        s.close()
        raise
    return s


# ---- UDP ----

def udp_echo(s, payload):
    """One round trip. Answers to earlier, repeated requests are passed over."""
    s.send(payload)
    deadline = time.monotonic() + s.gettimeout()
    while time.monotonic() < deadline:
        answer = s.recv(65536)
        if answer == payload:
            return
        if len(answer) == len(payload):
            same(answer, payload, "UDP echo")
    raise GuestError(f"UDP echo of {len(payload)} bytes: no answer")


def udp_answers(guest, limit=10.0):
    """Waits until the guest answers on its UDP echo port; returns when it did."""
    with udp_socket(guest, limit=0.2) as s:
        payload = b"anybody there?"

        def once():
            try:
                udp_echo(s, payload)
            except (OSError, GuestError):
                return None
            return time.monotonic()
        return wait_until(once, limit, "UDP echo")


# ---- TCP ----

def receive_all(s, limit=512 << 20):
    """Everything until the other side closes."""
    parts, total = [], 0
    while total <= limit:
        part = s.recv(262144)
        if not part:
            return b"".join(parts)
        parts.append(part)
        total += len(part)
    raise GuestError(f"TCP: no end after {limit} bytes")


def receive_exactly(s, length):
    parts, left = [], length
    while left > 0:
        part = s.recv(min(left, 262144))
        if not part:
            raise GuestError(f"TCP: closed {left} bytes before the end of {length}")
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def tcp_echo(guest, data, port=7):
    """Sends data while it reads, closes its half, and expects all of it back and then the end."""
    with tcp_connect(guest, port) as s:
        sender = threading.Thread(target=send_and_shut, args=(s, data), daemon=True)
        sender.start()
        answer = receive_all(s)
        sender.join(timeout=TCP_LIMIT)
    same(answer, data, "TCP echo")


def send_and_shut(s, data):
    """Unlike sendall(), whose time limit is for all of it, this one may take long while it goes on."""
    left = memoryview(data)
    try:
        while left:
            left = left[s.send(left[:262144]):]
        s.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the reader sees it too, and says so


def stalled_connection(guest, data):
    """A connection with a small receive buffer whose sender got stuck in the middle of data."""
    s = plain_socket(guest, socket.SOCK_STREAM, limit=20)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    s.connect(target(guest, "tcp", 7))
    threading.Thread(target=send_and_shut, args=(s, data), daemon=True).start()
    return s


def stats(guest):
    """What the guest counts, over HTTP from /stats.json."""
    with tcp_connect(guest, port=80) as s:
        s.sendall(b"GET /stats.json HTTP/1.0\r\n\r\n")
        return json.loads(receive_all(s).partition(b"\r\n\r\n")[2])


def tcp_echo_many(guest, streams):
    """All streams at once from one thread, each in both directions; compares each."""
    with selectors.DefaultSelector() as selector:
        sessions = []
        try:
            for data in streams:
                sessions.append(_Session(tcp_connect(guest), data))
                sessions[-1].register(selector)
            while any(not session.done for session in sessions):
                ready = selector.select(timeout=TCP_LIMIT)
                if not ready:
                    raise GuestError(f"{sum(not s.done for s in sessions)} of {len(sessions)} "
                                     f"connections make no progress")
                for key, mask in ready:
                    key.data.step(selector, mask)
        finally:
            for session in sessions:
                session.socket.close()
    for i, session in enumerate(sessions):
        same(bytes(session.got), session.data, f"connection {i}")


class _Session:
    """One echoed stream of tcp_echo_many()."""

    def __init__(self, s, data):
        s.setblocking(False)
        self.socket, self.data = s, data
        self.sent, self.got, self.done = 0, bytearray(), False

    def register(self, selector):
        selector.register(self.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, self)

    def step(self, selector, mask):
        if mask & selectors.EVENT_WRITE:
            self.sent += self.socket.send(self.data[self.sent:self.sent + 65536])
            if self.sent == len(self.data):
                self.socket.shutdown(socket.SHUT_WR)
                selector.modify(self.socket, selectors.EVENT_READ, self)
        if mask & selectors.EVENT_READ:
            part = self.socket.recv(262144)
            self.got += part
            if not part:
                self.done = True
                selector.unregister(self.socket)


# ---- ICMP ----

class Pinger:
    """ICMP and ICMPv6 echo requests with our own payload, over a raw socket in a namespace."""

    def __init__(self, ns, address, tap=None, limit=2.0):
        self.v6 = ":" in address
        family = socket.AF_INET6 if self.v6 else socket.AF_INET
        protocol = socket.IPPROTO_ICMPV6 if self.v6 else socket.IPPROTO_ICMP
        self.socket = ns.socket(family, socket.SOCK_RAW, protocol, limit)
        self.limit = limit
        self.request, self.reply = (128, 129) if self.v6 else (8, 0)
        self.ident, self.sequence = id(self) >> 4 & 0xffff, 0
        if self.v6:
            with ns.entered():
                scope = socket.if_nametoindex(tap.name) if tap else 0
            self.to = (address, 0, 0, scope)
        else:
            self.to = (address, 0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def ping(self, payload=b"ringlet"):
        """Seconds that the round trip took; the answer has to carry the same payload."""
        self.sequence = self.sequence + 1 & 0xffff
        packet = struct.pack("!BBHHH", self.request, 0, 0, self.ident, self.sequence) + payload
        if not self.v6:  # the kernel does it for ICMPv6
            packet = packet[:2] + struct.pack("!H", checksum(packet)) + packet[4:]
        started = time.monotonic()
        self.socket.sendto(packet, self.to)
        while time.monotonic() - started < self.limit:
            answer = self._message(self.socket.recv(65536))
            if answer[:2] == bytes((self.reply, 0)) and answer[4:8] == packet[4:8]:
                same(answer[8:], payload, f"ping of {len(payload)} bytes")
                return time.monotonic() - started
        raise GuestError(f"ping of {len(payload)} bytes: no answer")

    def _message(self, packet):
        return packet if self.v6 else packet[(packet[0] & 15) * 4:]

    def answers(self, limit=10.0):
        """Waits for the first answer."""
        def once():
            try:
                return self.ping()
            except (OSError, GuestError):
                return None
        return wait_until(once, limit, f"ping {self.to[0]}")


def checksum(data):
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def system_ping(guest, count, interval, *options):
    """Packets sent and received by the program ping."""
    done = guest.ns.run("ping", "-n", "-q", "-c", str(count), "-i", str(interval), "-W", "2",
                        *options, guest.ip)
    match = re.search(r"(\d+) packets transmitted, (\d+) received", done.stdout)
    if match is None:
        raise GuestError(f"ping: {done.stdout.strip()[-200:]}")
    return int(match[1]), int(match[2])


# ---- IPv6 ----

def advertise(ns, tap, prefix):
    """Sends one router advertisement with that /64 prefix for address configuration (RFC 4861)."""
    with ns.entered():
        index = socket.if_nametoindex(tap.name)
    flags_of_prefix = 0x80 | 0x40  # on-link, autonomous
    option = struct.pack("!BBBBIII16s", 3, 4, 64, flags_of_prefix, 3600, 3600, 0,
                         socket.inet_pton(socket.AF_INET6, prefix))
    packet = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + option
    with ns.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as s:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        s.sendto(packet, ("ff02::1", 0, 0, index))


def eui64(prefix, mac):
    """The address that a host with that MAC makes itself under a /64 prefix such as 'fd78::'."""
    raw = bytes.fromhex(mac.replace(":", ""))
    low = bytes((raw[0] ^ 2,)) + raw[1:3] + b"\xff\xfe" + raw[3:]
    return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, prefix)[:8] + low)
