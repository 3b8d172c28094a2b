"""Traffic goes on after what goes wrong around the guest: it stands still, is reset, or its device
fails or lies. QEMU's own device does neither, so the debugger's interface changes its rings."""
import threading
import time

from case import EITHER, MODES, case
from debugger import Debugger, Ring
from guest import GuestError
from test_state import queues
from traffic import (Pinger, pattern, receive_all, receive_exactly, same, send_and_shut, tcp_connect,
                     udp_answers, udp_socket)

MIB = 1 << 20
RX, TX = 0, 1
PACKED_AVAIL, PACKED_USED = 0x80, 0x8000  # flags of a packed descriptor


class Stream:
    """A connection to the echo port, over which data goes before, during and after an incident."""

    def __init__(self, t, guest, length=8 * MIB):
        self.data = pattern(length)
        self.socket = t.stack.enter_context(tcp_connect(guest, limit=30))
        self.socket.sendall(self.data[:10_000])
        same(receive_exactly(self.socket, 10_000), self.data[:10_000], "TCP echo before")

    def go_on(self):
        threading.Thread(target=send_and_shut, args=(self.socket, self.data[10_000:]),
                         daemon=True).start()

    def finish(self):
        same(receive_all(self.socket), self.data[10_000:], "TCP echo across the incident")


@case(accel=EITHER, mode=MODES)
def standstill(t, mode):
    """The machine is stopped amid traffic and continued, twice."""
    guest = t.tap_guest(f"mode={mode}")
    with Pinger(guest.ns, guest.ip, limit=0.2) as pinger:
        for _ in range(2):
            pinger.answers()
            stream = Stream(t, guest)
            stream.go_on()
            guest.qmp("stop")
            assert not answers_once(pinger), "a guest that stands still answers"
            time.sleep(1.2)
            guest.qmp("cont")
            pinger.answers()
            stream.finish()
    assert len(guest.events_of("boot")) == 1


def answers_once(pinger):
    try:
        return pinger.ping() is not None
    except (OSError, GuestError):
        return False


@case(machine=["pc", "q35", "microvm"], nic=["", "packed=on"], mode=MODES)
def reset(t, machine, nic, mode):
    """The reset button amid traffic, twice: it boots again, finds the same device, and answers."""
    check_reset(t, machine, "qboot", nic, mode)


@case(accel=None, machine=["pc", "q35", "microvm"])
def reset_seabios(t, machine):
    """The same with the firmware that assigns addresses, and on TCG, where it is quick."""
    t.accel = "tcg"
    check_reset(t, machine, "seabios", "", "poll")


def check_reset(t, machine, firmware, nic, mode):
    guest = t.tap_guest(f"mode={mode}", nic, machine=machine, firmware=firmware, reboots=True)
    for count in (1, 2):
        Stream(t, guest).go_on()
        guest.qmp("system_reset")
        guest.wait_event("ready", count=count + 1)
        udp_answers(guest)
        stream = Stream(t, guest)
        stream.go_on()
        stream.finish()
    assert len(guest.events_of("boot")) == 3
    first, *others = [{k: v for k, v in event.items() if k != "seen"}
                      for event in guest.events_of("device")]
    assert others == [first, first], (first, others)


# ---- The device fails ----

def quiet_guest(t, nic, debugger, words, **options):
    """A guest on a network where nobody says a word but the test: what is changed in a ring must not
    be overtaken by the device's own changes."""
    guest = t.tap_guest(f"{words} ip6=off stats=1", nic, extra=debugger.options, **options)
    guest.ns.run("sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6")
    udp_answers(guest)
    return guest


def repairs(event):
    """Resets of the device, and of single queues."""
    return event["nics"][0]["restarts"], sum(queue["resets"] for queue in queues(event))


def check_recovery(guest, stream, device_errors, expected=(1, 0)):
    """One reset, and the connection from before it goes on."""
    guest.wait_event("stats", limit=5, match=lambda event: sum(repairs(event)) > 0)
    stream.go_on()
    with Pinger(guest.ns, guest.ip) as pinger:
        pinger.answers()
    stream.finish()
    event = guest.wait_event("stats", limit=5, count=len(guest.events_of("stats")) + 1)
    assert repairs(event) == expected and event["nics"][0]["link"], event
    assert sum(queue["device_errors"] for queue in queues(event)) == device_errors, event
    assert len(guest.events_of("boot")) == 1


@case(accel=EITHER, nic=["", "packed=on"], mode=MODES)
def device_needs_reset(t, nic, mode):
    """Its receive buffers suddenly have no bytes: QEMU's device gives up and asks for a reset. With
    MRG_RXBUF it would wait for more buffers instead."""
    debugger = Debugger(t)
    guest = quiet_guest(t, nic, debugger, f"mode={mode} features=-mrg_rxbuf")
    take_room(guest, debugger, Stream(t, guest))


def take_room(guest, debugger, stream):
    with debugger:
        ring = Ring(guest, debugger, RX)
        ring.put_descriptors([[addr, 0, *rest] for addr, _, *rest in ring.descriptors()])
    with Pinger(guest.ns, guest.ip, limit=0.2) as pinger:
        assert not answers_once(pinger), "a device without buffers receives"
    check_recovery(guest, stream, device_errors=0)
    assert "zero sized buffers" in guest.stderr(), guest.stderr()


# ---- The device lies ----

def split_used(ring, *entries):
    """As if the device had used the buffers of these pairs of id and length."""
    idx = ring.get(ring.used + 2, "<H")[0]
    for i, entry in enumerate(entries):
        ring.put(ring.used + 4 + 8 * ((idx + i) % ring.num), "<II", *entry)
    ring.put(ring.used + 2, "<H", (idx + len(entries)) % 65536)


def split_next(ring):
    """The id of the buffer that the device would use next."""
    idx = ring.get(ring.used + 2, "<H")[0]
    assert idx != ring.get(ring.avail + 2, "<H")[0], "no buffer is available"
    return ring.get(ring.avail + 4 + 2 * (idx % ring.num), "<H")[0]


def packed_used(ring, *entries):
    table = ring.descriptors()
    for i, (ident, length) in enumerate(entries):
        slot = table[(ring.used_idx + i) % ring.num]
        slot[1:] = length, ident, slot[3] ^ PACKED_USED
    ring.put_descriptors(table)


def packed_next(ring):
    _, _, ident, flags = ring.descriptors()[ring.used_idx]
    assert bool(flags & PACKED_AVAIL) != bool(flags & PACKED_USED), "no buffer is available"
    return ident


def bad_id(ring, used, next_of):
    next_of(ring)
    used(ring, (ring.num, 60))


def id_twice(ring, used, next_of):
    used(ring, *[(next_of(ring), 26)] * 2)


def bad_length(ring, used, next_of):
    used(ring, (next_of(ring), 1 << 31))


def too_many(ring, used, next_of):
    used(ring, *[(next_of(ring), 60)] * (ring.num + 1))


# The queue, and what is said in it. A packed ring has no index that could be too far ahead.
LIES = {
    "rx-id": (RX, bad_id), "rx-id-twice": (RX, id_twice), "rx-length": (RX, bad_length),
    "rx-index": (RX, too_many), "tx-id": (TX, bad_id),
}
# A device that does not look for a while at what the guest sends, so that there is something to lie of.
# With ioeventfd it would look when the machine goes on.
SLOW = "ioeventfd=off,tx=timer,x-txtimer=300000000"


@case(lie=LIES, queue_reset=["on", "off"])
def split_lies(t, lie, queue_reset):
    """The device says of a buffer what cannot be: that is counted, and the queue is reset, or the
    device where it cannot reset a queue alone."""
    device_lies(t, *LIES[lie], "packed=off", queue_reset, split_used, split_next)


@case(lie=[name for name in LIES if name != "rx-index"], queue_reset=["on", "off"])
def packed_lies(t, lie, queue_reset):
    device_lies(t, *LIES[lie], "packed=on", queue_reset, packed_used, packed_next)


def device_lies(t, queue, tell, layout, queue_reset, used, next_of):
    debugger = Debugger(t)
    nic = f"{layout},queue_reset={queue_reset}"
    # In poll mode, because a device that lies need not interrupt. Without MRG_RXBUF, because the header
    # of a buffer that was never received into would be a second lie.
    guest = quiet_guest(t, f"{nic},{SLOW}" if queue == TX else nic, debugger,
                        "mode=poll features=-mrg_rxbuf")
    stream = Stream(t, guest, MIB // 4)
    if queue == TX:
        with udp_socket(guest) as s:
            s.send(b"answer me")
            time.sleep(0.1)
    with debugger:
        tell(Ring(guest, debugger, queue), used, next_of)
    check_recovery(guest, stream, device_errors=1,
                   expected=(0, 1) if queue_reset == "on" else (1, 0))
