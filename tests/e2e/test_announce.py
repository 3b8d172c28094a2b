"""Where we are: what the guest says to switches and neighbours by itself."""
import contextlib
import socket
import time

from case import EITHER, case
from frames import ETH_P_ARP, ICMPV6, Port, mac_bytes
from traffic import checksum, eui64, udp_answers

ADVERTISEMENT = 136
OVERRIDE = 0x20


class Listener:
    """Waits for the announcements of all addresses of a guest: 10.77.0.2, fd77::2, link-local."""

    def __init__(self, t, words=""):
        t.need_ipv6()
        # QEMU tells of an announcement only guests without offloads that it could not restore.
        self.guest = t.tap_guest(f"ip6=fd77::2/64 {words}", "ctrl_guest_offloads=off")
        self.guest.wait_event("address", match=lambda e: (e["addr"] or "").startswith("fd77"))
        udp_answers(self.guest)
        text = self.guest.wait_event("device")["mac"]
        self.mac = mac_bytes(text)
        self.addresses = {"fd77::2", eui64("fe80::", text)}
        self.port = Port(self.guest.ns, self.guest.tap, limit=0.5)
        t.stack.callback(self.port.close)

    def hear(self, limit=10.0):
        """Everything is announced in right packets within the limit."""
        missing = {self.guest.ip} | self.addresses
        deadline = time.monotonic() + limit
        while missing and time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                frame = self.port.receive()
                if not frame.to_guest:
                    missing.discard(self.announced(frame))
        assert not missing, f"not announced: {missing}"

    def announced(self, frame):
        """The address that the frame announces, None if it is another frame."""
        assert frame.data[6:12] == self.mac
        packet = frame.data[frame.ip:frame.end]
        if frame.type == ETH_P_ARP and packet[14:18] == packet[24:28]:
            return socket.inet_ntoa(packet[14:18])
        body = frame.data[frame.l4:frame.end]
        if frame.protocol != ICMPV6 or body[0] != ADVERTISEMENT or not self.to_all_nodes(frame):
            return None
        target = socket.inet_ntop(socket.AF_INET6, body[8:24])
        pseudo = frame.addresses + len(body).to_bytes(4, "big") + bytes((0, 0, 0, ICMPV6))
        assert checksum(pseudo + body) == 0 and packet[7] == 255, "checksum or hop limit"
        assert frame.addresses[:16] == body[8:24], "comes from another address"
        assert body[4] == OVERRIDE and body[24:32] == b"\x02\x01" + self.mac, body.hex()
        return target

    @staticmethod
    def to_all_nodes(frame):
        return (frame.data[:6] == b"\x33\x33\0\0\0\x01" and
                frame.addresses[16:] == socket.inet_pton(socket.AF_INET6, "ff02::1"))


@case(accel=EITHER, mode=["poll", "irq"])
def asked(t, mode):
    """The device asks, as after a migration."""
    listener = Listener(t, f"mode={mode}")
    listener.guest.qmp("announce-self", initial=50, max=50, rounds=1, step=50)
    listener.hear()
    udp_answers(listener.guest)


@case()
def link(t):
    """The cable is put into another port."""
    listener = Listener(t)
    listener.guest.qmp("set_link", name="nic0", up=False)
    listener.guest.wait_line("link down")
    listener.guest.qmp("set_link", name="nic0", up=True)
    listener.hear()
    udp_answers(listener.guest)


@case()
def tagged(t):
    """With vlan= announcements carry the tag."""
    t.need_ipv6()
    guest = t.tap_guest("ip6=off vlan=9", "ctrl_guest_offloads=off")
    with Port(guest.ns, guest.tap) as port:
        guest.qmp("announce-self", initial=50, max=50, rounds=1, step=50)
        frame = port.wait(lambda f: f.type == ETH_P_ARP, 10, "gratuitous ARP")
    assert frame.tag == 9, frame.tag
