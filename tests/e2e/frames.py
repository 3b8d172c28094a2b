"""Frames on a tap, byte by byte: watched, judged by their checksums, and made by hand."""
import contextlib
import queue
import socket
import struct
import threading
import time

from guest import GuestError
from traffic import checksum

ETH_P_ALL, ETH_P_IP, ETH_P_IPV6, ETH_P_ARP, ETH_P_VLAN = 3, 0x0800, 0x86dd, 0x0806, 0x8100
TCP, UDP, ICMP, ICMPV6, FRAGMENT = 6, 17, 1, 58, 44
SOL_PACKET, PACKET_AUXDATA, PACKET_VNET_HDR = 263, 8, 15
PACKET_OUTGOING = 4       # from the host to the guest
TP_STATUS_VLAN_VALID = 1 << 4
SO_RCVBUFFORCE = 33       # more than the system's limit, for root
VNET_HDR = struct.Struct("<BBHHHH")
NEEDS_CSUM = 1
GSO_TCPV4, GSO_TCPV6, GSO_ECN = 1, 4, 0x80


def mac_bytes(text):
    return bytes.fromhex(text.replace(":", ""))


class Port:
    """A packet socket on a tap, with a virtio header in front of every frame in both directions."""

    def __init__(self, ns, tap, limit=2.0):
        with ns.entered():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self.socket.bind((tap.name, ETH_P_ALL))
        self.socket.settimeout(limit)
        self.mac = self.socket.getsockname()[4]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, frame, flags=0, start=0, offset=0):
        self.send_raw(VNET_HDR.pack(flags, 0, 0, 0, start, offset) + frame)

    def send_raw(self, data):
        """A frame with the virtio header that is to go with it."""
        self.socket.send(data)

    def receive(self):
        """The next frame in either direction."""
        data, ancillary, _, address = self.socket.recvmsg(70000, 256)
        tag = None
        for level, kind, value in ancillary:
            if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                status, _, _, _, _, tci, _ = struct.unpack("IIIHHHH", value[:20])
                tag = tci if status & TP_STATUS_VLAN_VALID else None
        return Frame.of(data, address[2] == PACKET_OUTGOING, tag)

    def wait(self, match, limit=5.0, what="frame"):
        """The first frame from the guest for which match() holds."""
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                frame = self.receive()
                if not frame.to_guest and match(frame):
                    return frame
        raise GuestError(f"{what}: not within {limit:.0f} s")


class Frame:
    """A frame as it was seen, taken apart as far as tests need it."""

    def __init__(self, data, to_guest=False, header=bytes(VNET_HDR.size)):
        self.data, self.to_guest = data, to_guest
        (self.flags, self.gso_type, self.hdr_len, self.gso_size, self.start,
         self.offset) = VNET_HDR.unpack(header)
        self.type, self.ip = struct.unpack_from("!H", data, 12)[0], 14
        self.tag = None
        if self.type == ETH_P_VLAN:
            self.tag, self.type = struct.unpack_from("!HH", data, 14)
            self.ip = 18
        self.protocol, self.fragment, self.l4, self.end = None, False, len(data), len(data)
        if self.type == ETH_P_IP:
            self.l4 = self.ip + (data[self.ip] & 15) * 4
            self.end = self.ip + struct.unpack_from("!H", data, self.ip + 2)[0]
            self.fragment = bool(struct.unpack_from("!H", data, self.ip + 6)[0] & 0x3fff)
            self.protocol = data[self.ip + 9]
            self.addresses = data[self.ip + 12:self.ip + 20]
        elif self.type == ETH_P_IPV6:
            self.l4 = self.ip + 40
            self.end = self.l4 + struct.unpack_from("!H", data, self.ip + 4)[0]
            self.protocol = data[self.ip + 6]
            self.fragment = self.protocol == FRAGMENT
            self.addresses = data[self.ip + 8:self.ip + 40]

    @classmethod
    def of(cls, data, to_guest, tag=None):
        """Of bytes that begin with a virtio header. `tag`: the kernel takes the tag out of frames that it
        receives, and it is put back."""
        frame = cls(data[VNET_HDR.size:], to_guest, data[:VNET_HDR.size])
        if tag is None:
            return frame
        tagged = cls(frame.data[:12] + struct.pack("!HH", ETH_P_VLAN, tag) + frame.data[12:], to_guest,
                     data[:VNET_HDR.size])
        tagged.start += 4
        return tagged

    def payload(self):
        """What follows the TCP or UDP header."""
        skip = 8 if self.protocol == UDP else (self.data[self.l4 + 12] >> 4) * 4
        return self.data[self.l4 + skip:self.end]

    def judged(self):
        """None: no whole TCP or UDP packet. "complete": its checksum is right. "partial": the header
        asks for it rightly, so that what the specification says leads to a right one. Else a text
        that starts with "wrong"."""
        if self.protocol not in (TCP, UDP) or self.fragment:
            return None
        packet = bytearray(self.data[:self.end])
        if self.flags & NEEDS_CSUM:
            at = self.start + self.offset
            if self.start != self.l4 or self.offset != (16 if self.protocol == TCP else 6):
                return f"wrong place: {self.start} + {self.offset}"
            packet[at:at + 2] = struct.pack("!H", checksum(bytes(packet[self.start:])))
        pseudo = self.addresses + struct.pack("!HH", self.protocol, self.end - self.l4)
        if checksum(pseudo + bytes(packet[self.l4:])) != 0:
            return f"wrong sum, header flags {self.flags:#x}: {bytes(self.data[:80]).hex()}"
        return "partial" if self.flags & NEEDS_CSUM else "complete"


    def reset(self):
        return self.protocol == TCP and bool(self.data[self.l4 + 13] & 4)

    def gso_fault(self, mtu):
        """None when the frame fits, or when its virtio header makes segments of it that do (5.1.6.2);
        else a text. The kernel fills in hdr_len anew, so it is only held against the frame's length."""
        if self.gso_type == 0:
            length = len(self.data) - self.ip
            return f"{length} bytes and no gso_type" if length > mtu else None
        kind = {ETH_P_IP: GSO_TCPV4, ETH_P_IPV6: GSO_TCPV6}.get(self.type)
        if self.protocol != TCP or self.gso_type & ~GSO_ECN != kind:
            return f"gso_type {self.gso_type}, protocol {self.protocol}"
        if not self.flags & NEEDS_CSUM:
            return "gso_type without NEEDS_CSUM"
        headers = self.l4 + (self.data[self.l4 + 12] >> 4) * 4
        if not 0 < self.gso_size <= mtu - (headers - self.ip):
            return f"gso_size {self.gso_size} behind {headers} bytes of headers"
        if not headers <= self.hdr_len <= len(self.data):
            return f"hdr_len {self.hdr_len}, {headers} bytes of headers"
        return None


class Watch:
    """All frames of a tap while a test runs: `with Watch(guest) as watch: ...; watch.frames`."""

    def __init__(self, guest):
        self._port = Port(guest.ns, guest.tap, limit=0.2)
        self._stop = threading.Event()
        self._seen = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run)
        self.frames = []

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        time.sleep(0.1)  # what is still on its way to the socket
        self._stop.set()
        self._thread.join()
        self._port.close()
        while not self._seen.empty():
            self.frames.append(self._seen.get())

    def _run(self):
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                self._seen.put(self._port.receive())

    def verdicts(self, to_guest):
        """The set of what the frames of one direction were judged to be."""
        return {frame.judged() for frame in self.frames if frame.to_guest == to_guest} - {None}


# ---- Made by hand ----

def ethernet(dst, src, kind, payload, vlan=None):
    tag = b"" if vlan is None else struct.pack("!HH", ETH_P_VLAN, vlan)
    return dst + src + tag + struct.pack("!H", kind) + payload


def ipv4(src, dst, protocol, payload, fragment=0, ident=1):
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), ident, fragment, 64, protocol, 0,
                         socket.inet_aton(src), socket.inet_aton(dst))
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def tcp_segment(src, dst, src_port, dst_port, data):
    """A segment over IPv4 as a sender with offload leaves it: the checksum is the pseudo-header's."""
    length = struct.pack("!HH", TCP, 20 + len(data))
    value = ~checksum(socket.inet_aton(src) + socket.inet_aton(dst) + length) & 0xffff
    return struct.pack("!HHIIBBHHH", src_port, dst_port, 1, 1, 0x50, 0x10, 65535, value, 0) + data


def udp(src, dst, src_port, dst_port, data, spoil=0, partial=False):
    """A datagram with its IPv4 pseudo-header in the checksum: right, off by `spoil`, or only the
    pseudo-header's sum as a sender with offload leaves it."""
    header = struct.pack("!HHHH", src_port, dst_port, 8 + len(data), 0)
    pseudo = (socket.inet_aton(src) + socket.inet_aton(dst) +
              struct.pack("!HH", UDP, len(header) + len(data)))
    value = ~checksum(pseudo) & 0xffff if partial else checksum(pseudo + header + data) or 0xffff
    return header[:6] + struct.pack("!H", (value + spoil) & 0xffff) + data
