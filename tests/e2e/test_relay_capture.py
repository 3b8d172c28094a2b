"""Captures of bulk data, taken apart by tshark: checksums, retransmissions, closed windows."""
from collections import defaultdict
import socket
import struct

import bulk
from case import EITHER, case
from generated import GOOD, Capture
from relay import PERCENT, relay_guest
from test_offloads import drops_nothing, without
from traffic import Pinger, checksum

# Whole frames of up to 64 KiB, and a buffer for all of them. It is read a second after its first frame.
OPTIONS = ("-s", "0", "-B", "131072", "tcp")
SETTLE = 1.3
FIELDS = ("ip.src ip.dst ip.len ip.hdr_len ip.checksum.status ipv6.src ipv6.dst ipv6.plen "
          "tcp.srcport tcp.dstport tcp.stream tcp.seq tcp.len tcp.checksum tcp.checksum.status "
          "tcp.flags.syn tcp.flags.reset tcp.analysis.zero_window").split()
WORDS = {"offload": "", "none": without("csum", "guest_csum"), "v6": ""}


class Segments:
    """The TCP frames of a capture, those of both directions."""

    def __init__(self, rows, guest):
        self.rows = [row for row in rows if row["tcp.stream"]]
        for row in self.rows:
            row["from_guest"] = guest in (row["ip.src"], row["ipv6.src"])

    def of(self, from_guest):
        return [row for row in self.rows if row["from_guest"] == from_guest]

    def bad_sums(self, from_guest, partial):
        """Those with a wrong checksum; where the rest is left to the other side that of the
        pseudo-header is right, too."""
        return [row for row in self.of(from_guest)
                if row["ip.checksum.status"] not in (GOOD, "") or
                row["tcp.checksum.status"] != GOOD and
                not (partial and int(row["tcp.checksum"], 16) == pseudo_sum(row))]

    def sent_again(self, from_guest):
        """Bytes that had been sent before, and all that were sent."""
        highest, again, total = defaultdict(int), 0, 0
        for row in self.of(from_guest):
            first, length = int(row["tcp.seq"]), int(row["tcp.len"])
            past = highest[row["tcp.stream"]]
            again += max(0, min(past, first + length) - first)
            total += length
            highest[row["tcp.stream"]] = max(past, first + length)
        return again, total


def pseudo_sum(row):
    """Of the pseudo-header (RFC 9293, 3.1; RFC 8200, 8.1), not complemented."""
    if row["ip.src"]:
        ends = socket.inet_aton(row["ip.src"]) + socket.inet_aton(row["ip.dst"])
        length = int(row["ip.len"]) - int(row["ip.hdr_len"])
    else:
        ends = b"".join(socket.inet_pton(socket.AF_INET6, row[name])
                        for name in ("ipv6.src", "ipv6.dst"))
        length = int(row["ipv6.plen"])
    return ~checksum(ends + struct.pack("!HH", socket.IPPROTO_TCP, length)) & 0xffff


@case(accel=EITHER, words=list(WORDS))
def clean(t, words):
    """Without loss hardly anything is sent twice, and the guest never closes the window of what it
    throws away."""
    guest = t.tap_guest(f"ip6=fd77::2/64 {WORDS[words]}".strip())
    if words == "v6":
        t.need_ipv6()
        guest.ns.add_address(guest.tap, "fd77::1/64")
        guest.ip = "fd77::2"
        with Pinger(guest.ns, guest.ip) as pinger:
            pinger.answers()
    features = guest.wait_event("device")["features"]
    with Capture(t, guest.ns, guest.tap, OPTIONS, SETTLE) as capture:
        bulk.discard(guest, 3 * bulk.MB)
        bulk.echo(guest, 3 * bulk.MB)
        bulk.generate(guest, 3 * bulk.MB)
        seen = Segments(capture.rows(FIELDS), guest.ip)
    for from_guest, csum in ((True, "csum"), (False, "guest_csum")):
        bad = seen.bad_sums(from_guest, csum in features)
        assert not bad, f"{len(bad)} wrong checksums, the first: {bad[0]}"
        unaided = seen.bad_sums(from_guest, False)
        assert bool(unaided) == (csum in features), f"{len(unaided)} checksums left to others"
        again, total = seen.sent_again(from_guest)
        assert total - again >= 6 * bulk.MB, (from_guest, again, total)
        # When the machine pauses, a timer may expire, and a window full of data goes out once more.
        assert again <= total / 10, f"{again} of {total} bytes sent again, from guest: {from_guest}"
    drops_nothing(guest)
    closed = [row for row in seen.of(True) if row["tcp.srcport"] == "9" and
              row["tcp.analysis.zero_window"]]
    assert not closed, f"the window was closed {len(closed)} times"


@case(accel=EITHER, limit=90.0, words=["offload", "none"])
def lossy(t, words):
    """A loss of 1 % makes the guest repeat little more than what was lost, and nothing wrong."""
    guest = relay_guest(t, WORDS[words])
    features = guest.wait_event("device")["features"]
    length = (32 if "host_tso4" in features else 4) * bulk.MB  # some hundred frames, to lose a few
    with Capture(t, guest.ns, guest.near, OPTIONS, SETTLE) as capture:
        guest.relay.set(loss=PERCENT)
        bulk.echo(guest, length, 16)
        seen = Segments(capture.rows(FIELDS), guest.ip)
    assert guest.relay.stats()["from"]["lost"] > 0
    bad = seen.bad_sums(True, "csum" in features)
    assert not bad, f"{len(bad)} wrong checksums, the first: {bad[0]}"
    again, total = seen.sent_again(True)
    assert total - again >= length and again <= total / 20, f"{again} of {total} bytes sent again"
    assert again > 0 or "host_tso4" in features, "some of thousands of segments must have been lost"
