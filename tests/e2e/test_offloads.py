"""Segmentation and checksum offload in all combinations that differ in code: bulk data in both
directions is right, frames are cut where that was negotiated and only there, and those that are not
carry headers that lead to right segments.

What is expected follows from the features that the guest says were negotiated; `negotiated` says what
those have to be."""
import bulk
from case import EITHER, case
from frames import (ETH_P_IP, GSO_ECN, GSO_TCPV4, GSO_TCPV6, NEEDS_CSUM, TCP, UDP, VNET_HDR, Frame, Watch,
                    ethernet, ipv4, tcp_segment, udp)
from traffic import Pinger, stats

OFFLOADS = {"csum", "guest_csum", "host_tso4", "host_tso6", "guest_tso4", "guest_tso6"}
TX, RX = {"host_tso4", "host_tso6"}, {"guest_tso4", "guest_tso6"}


def without(*names):
    return "features=" + ",".join("-" + name for name in names)


# Device options, words of the guest, and what is not negotiated of the offloads.
COMBINATIONS = {
    "all": ("", "", set()),
    "packed": ("packed=on", "", set()),
    "no_csum": ("", without("csum"), {"csum"} | TX),
    "no_guest_csum": ("packed=on", without("guest_csum"), {"guest_csum"} | RX),
    "neither": ("", without("csum", "guest_csum"), OFFLOADS),
    "device_neither": ("packed=on,csum=off,guest_csum=off", "", OFFLOADS),
    "only_csum": ("", without(*TX, *RX), TX | RX),
    "device_only_csum": ("host_tso4=off,host_tso6=off,guest_tso4=off,guest_tso6=off", "", TX | RX),
    "only_tx": ("packed=on", without(*RX), RX),
    "only_rx": ("", without(*TX), TX),
    "only_v4": ("", without("host_tso6", "guest_tso6"), {"host_tso6", "guest_tso6"}),
    "only_v6": ("packed=on", without("host_tso4", "guest_tso4"), {"host_tso4", "guest_tso4"}),
    "crossed": ("host_tso4=off,guest_tso6=off", "", {"host_tso4", "guest_tso6"}),
    "no_mrg": ("", without("mrg_rxbuf"), RX),  # a frame of 64 KiB has to fit into several buffers
    "packed_no_mrg": ("packed=on,mrg_rxbuf=off", "", RX),
    "no_indirect": ("", without("indirect_desc"), set()),
    "packed_no_indirect": ("packed=on", without("indirect_desc"), set()),
    "ring_16": ("", "queue=16", set()),
    "packed_ring_16": ("packed=on", "queue=16 " + without("indirect_desc"), set()),
    "irq": ("packed=on", "mode=irq", set()),
    "no_event_idx": ("event_idx=off", "mode=irq", set()),
}


def offload_guest(t, combination, **options):
    """A guest that is spoken to over both families, and the offloads that it negotiated."""
    t.need_ipv6()
    nic, words, _ = COMBINATIONS[combination]
    guest = t.tap_guest(f"ip6=fd77::2/64 {words}".strip(), nic or None, **options)
    guest.ns.add_address(guest.tap, "fd77::1/64")
    return guest, OFFLOADS & set(guest.wait_event("device")["features"])


@case(combination=list(COMBINATIONS))
def negotiated(t, combination):
    """All that device, words and dependencies leave."""
    _, features = offload_guest(t, combination)
    missing = COMBINATIONS[combination][2]
    assert features == OFFLOADS - missing, f"{sorted(features)}"


@case(accel=EITHER, combination=list(COMBINATIONS))
def moves(t, combination):
    """50 MB through echo over each family and some more each way, with nothing lost or left behind."""
    guest, features = offload_guest(t, combination)
    before = bulk.held(guest)
    for version, address in ((4, guest.ip), (6, "fd77::2")):
        guest.ip = address
        with Pinger(guest.ns, address) as pinger:
            pinger.answers()  # over IPv6 some seconds after the start
        sends_uncut, receives_uncut = (f"{side}_tso{version}" in features for side in ("host", "guest"))
        counts, thrown = gso_frames(guest), bulk.discarded(guest)
        bulk.echo(guest, 50 * bulk.MB)
        bulk.generate(guest, 10 * bulk.MB)
        bulk.discard(guest, 10 * bulk.MB)
        assert bulk.discarded(guest) - thrown == 10 * bulk.MB
        sent, received = (now - then for now, then in zip(gso_frames(guest), counts))
        assert (sent > 0) == sends_uncut, (version, sent, features)
        assert (received > 0) == receives_uncut, (version, received, features)
        with Watch(guest) as watch:
            bulk.echo(guest, 200_000)
            bulk.generate(guest, 200_000)
        judge(watch, False, sends_uncut, "csum" in features)
        judge(watch, True, receives_uncut, "guest_csum" in features)
    drops_nothing(guest)
    bulk.returns_to(guest, before)


def gso_frames(guest):
    """Frames with more than one segment, sent and received. A guest that knows none counts none."""
    nic = stats(guest)["nics"][0]
    return [nic[queue].get("gso_frames", 0) for queue in ("tx", "rx")]


def drops_nothing(guest):
    """Frames may be late: nothing on this way throws any away."""
    found = stats(guest)
    for queue in ("rx", "tx"):
        counts = found["nics"][0][queue]
        drops = {name: n for name, n in counts.items() if name.startswith("drop") and n > 0}
        assert not drops and counts["device_errors"] == 0, (queue, counts)
    stack = found["stack"]
    assert stack["checksum_errors_tcp"] == stack["checksum_errors_udp"] == 0, stack
    assert stack["ip_drops"] == stack["ip6_drops"] == 0, stack


def judge(watch, to_guest, uncut, partial, mtu=1500):
    """What is longer than the MTU says how it is to be cut, so that each segment fits; the rest fits.
    Resets aside, whose checksums the host itself completes."""
    frames = [f for f in watch.frames if f.to_guest == to_guest and not f.reset()]
    faults = {f.gso_fault(mtu) for f in frames} - {None}
    assert not faults, faults
    assert any(f.gso_type for f in frames) == uncut, f"uncut frames: {not uncut}"
    verdicts = {f.judged() for f in frames} - {None}
    assert verdicts == {"partial" if partial else "complete"}, verdicts


# What a virtio header says of a frame with 3000 bytes of data, and how the verdict begins.
HEADERS = {
    "right": ((NEEDS_CSUM, GSO_TCPV4, 54, 1460, 34, 16), None),
    "ecn": ((NEEDS_CSUM, GSO_TCPV4 | GSO_ECN, 54, 1460, 34, 16), None),
    "none": ((0, 0, 0, 0, 0, 0), "3040 bytes"),
    "family": ((NEEDS_CSUM, GSO_TCPV6, 54, 1460, 34, 16), "gso_type 4"),
    "no_csum": ((0, GSO_TCPV4, 54, 1460, 0, 0), "gso_type without"),
    "no_size": ((NEEDS_CSUM, GSO_TCPV4, 54, 0, 34, 16), "gso_size 0"),
    "size": ((NEEDS_CSUM, GSO_TCPV4, 54, 1461, 34, 16), "gso_size 1461"),
    "short": ((NEEDS_CSUM, GSO_TCPV4, 53, 1460, 34, 16), "hdr_len 53"),
    "long": ((NEEDS_CSUM, GSO_TCPV4, 3055, 1460, 34, 16), "hdr_len 3055"),
}


@case(accel=None, header=list(HEADERS))
def judged(t, header):
    """Each way in which a header can be wrong is found."""
    ends = "10.0.0.1", "10.0.0.2"
    fields, expected = HEADERS[header]
    frame = ethernet(bytes(6), bytes(6), ETH_P_IP,
                     ipv4(*ends, TCP, tcp_segment(*ends, 9, 9, bytes(3000))))
    fault = Frame(frame, header=VNET_HDR.pack(*fields)).gso_fault(1500)
    assert fault.startswith(expected) if expected else fault is None, fault


@case(accel=None)
def judged_protocol(t):
    ends = "10.0.0.1", "10.0.0.2"
    frame = ethernet(bytes(6), bytes(6), ETH_P_IP, ipv4(*ends, UDP, udp(*ends, 9, 9, bytes(3000))))
    header = VNET_HDR.pack(NEEDS_CSUM, GSO_TCPV4, 54, 1460, 34, 6)
    assert Frame(frame, header=header).gso_fault(1500).endswith("protocol 17")
