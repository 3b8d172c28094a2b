"""Bulk data through a relay that loses, repeats, swaps and delays frames: all of it arrives, and the
guest holds nothing back when it is over.

A sender without selective acknowledgements, as lwIP is one, waits for its timer after many a loss, so
that data goes over many connections at once."""
import bulk
from case import EITHER, case
from relay import PERCENT, relay_guest
from test_offloads import without

FAULTS = {
    "none": {},
    "loss": {"loss": PERCENT},
    "all": {"loss": PERCENT, "dup": PERCENT, "swap": PERCENT, "delay_us": 1000, "jitter_us": 500},
}
# Words of the guest, and whether the host leaves segmentation to the device.
SEGMENTS = {
    "offload": ("", True),
    "single": (without("host_tso4", "guest_tso4"), False),  # each segment is lost by itself
}
STREAMS = 16


@case(accel=EITHER, limit=120.0, segments=list(SEGMENTS), faults=list(FAULTS))
def echo(t, segments, faults):
    words, offload = SEGMENTS[segments]
    guest = relay_guest(t, words)
    guest.relay.offload(offload)
    before = bulk.held(guest)
    guest.relay.set(**FAULTS[faults])
    streams = STREAMS if FAULTS[faults] else 1
    bulk.echo(guest, 50 * bulk.MB, streams)
    counts = relay_counts(guest, FAULTS[faults])
    assert counts["to"]["bytes"] > 50 * bulk.MB < counts["from"]["bytes"], counts
    bulk.returns_to(guest, before, 40.0)


@case(accel=EITHER, limit=120.0, segments=list(SEGMENTS), faults=list(FAULTS))
def one_way(t, segments, faults):
    words, offload = SEGMENTS[segments]
    guest = relay_guest(t, words)
    guest.relay.offload(offload)
    before = bulk.held(guest)
    guest.relay.set(**FAULTS[faults])
    bulk.discard(guest, 50 * bulk.MB)
    bulk.generate(guest, 16 * bulk.MB, STREAMS)
    relay_counts(guest, FAULTS[faults])
    assert bulk.discarded(guest) == 50 * bulk.MB
    bulk.returns_to(guest, before, 40.0)


def relay_counts(guest, faults):
    """What the relay did so far, which is no more and no less than it was told. From now on it does
    nothing to frames."""
    counts = guest.relay.stats()
    guest.relay.set(**dict.fromkeys(faults, 0))
    for way in (counts["to"], counts["from"]):
        assert way["overflows"] == way["refused"] == way["overruns"] == 0, counts
        for name, counter in (("loss", "lost"), ("dup", "duplicated"), ("swap", "swapped")):
            assert (way[counter] > 0) == (name in faults), (name, counts)
    return counts
