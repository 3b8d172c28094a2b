"""Received frames that nobody cut to the MTU (GUEST_TSO4 and 6), and guest_offloads=, which switches them off."""
from case import EITHER, case
from test_config import expect_refusal
from traffic import pattern, receive_all, send_and_shut, stats, tcp_connect, tcp_echo

LAYOUTS = ["packed=off", "packed=on"]
MIB = 1 << 20
DISCARD = 9
GUEST_TSO = {"guest_tso4", "guest_tso6"}


def discard(guest, size):
    """Sends so many bytes into the guest, and waits until it has read them."""
    with tcp_connect(guest, port=DISCARD) as s:
        send_and_shut(s, pattern(size))
        assert receive_all(s) == b""


def received(guest):
    """The counters of what came, where nothing was dropped."""
    nic = stats(guest)["nics"][0]
    rx = nic["rx"]
    assert rx["drop_too_long"] + rx["drop_bad_header"] + rx["drop_short"] == 0, rx
    assert nic["ctrl_errors"] == 0, nic
    return rx


@case(accel=EITHER, nic=LAYOUTS)
def uncut(t, nic):
    """By default TCP comes in frames of up to 64 KiB: far fewer frames than segments."""
    guest = t.tap_guest("", nic)
    features = set(guest.wait_event("device")["features"])
    assert GUEST_TSO | {"ctrl_guest_offloads"} <= features, features
    discard(guest, 5 * MIB)
    rx = received(guest)
    assert rx["gso_frames"] > 20, rx
    assert rx["bytes"] > 5 * MIB and rx["packets"] < 5 * MIB // 1460, rx


@case(accel=EITHER, nic=LAYOUTS, words=["guest_offloads=none", "guest_offloads=csum",
                                        "features=-guest_tso4,-guest_tso6"])
def cut(t, nic, words):
    """Switched off, or not negotiated: no frame is longer than the MTU."""
    guest = t.tap_guest(words, nic)
    discard(guest, 5 * MIB)
    rx = received(guest)
    assert rx["gso_frames"] == 0 and rx["packets"] > 5 * MIB // 1460, rx


@case()
def kept(t):
    """What the key names stays on."""
    guest = t.tap_guest("guest_offloads=csum,tso4")
    discard(guest, 5 * MIB)
    assert received(guest)["gso_frames"] > 20


@case(nic=LAYOUTS, queue=[1, 2, 8, 32, 64, 256])
def small_rings(t, nic, queue):
    """The buffers of any ring hold a whole frame, or the device would wait for ever."""
    guest = t.tap_guest(f"queue={queue}", nic, mem="16M")
    for seed in range(3):
        tcp_echo(guest, pattern(300_001, seed))
    discard(guest, 2 * MIB)
    assert received(guest)["gso_frames"] > 0


BAD = {
    "guest_offloads=tso4": "need csum",
    "guest_offloads=csum,tso5": "'tso5'",
    "guest_offloads=csum,uso4": "guest_uso4",
    "guest_offloads=none features=-ctrl_guest_offloads": "ctrl_guest_offloads",
    "guest_offloads=csum,tso4 features=-mrg_rxbuf": "guest_tso4",
    "app=fwd guest_offloads=none": "app=fwd",
}


@case(words=BAD)
def refused(t, words):
    expect_refusal(t.tap_guest(words, ready=False), BAD[words])
