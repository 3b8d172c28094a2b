"""Bulk data through a relay that loses, repeats, swaps and delays frames: all of it arrives, and the
guest holds nothing back when it is over.

What was lost at the end of all that is on its way only a timer notices, so that data goes over many
connections at once."""
import bulk
from case import EITHER, case
from relay import PERCENT, relay_guest
from test_offloads import without
from traffic import stats

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


def faulty(t, segments, faults):
    """A guest behind a relay with these faults, and what it holds without traffic."""
    words, offload = SEGMENTS[segments]
    guest = relay_guest(t, words)
    guest.relay.offload(offload)
    before = bulk.held(guest)
    guest.relay.set(**FAULTS[faults])
    return guest, before


@case(accel=EITHER, limit=120.0, segments=list(SEGMENTS), faults=list(FAULTS))
def echo(t, segments, faults):
    guest, before = faulty(t, segments, faults)
    streams = STREAMS if FAULTS[faults] else 1
    bulk.echo(guest, 50 * bulk.MB, streams)
    counts = relay_counts(guest, FAULTS[faults])
    assert counts["to"]["bytes"] > 50 * bulk.MB < counts["from"]["bytes"], counts
    bulk.returns_to(guest, before, 40.0)


@case(accel=EITHER, limit=120.0, segments=list(SEGMENTS), faults=list(FAULTS))
def one_way(t, segments, faults):
    guest, before = faulty(t, segments, faults)
    bulk.discard(guest, 50 * bulk.MB)
    bulk.generate(guest, 16 * bulk.MB, STREAMS)
    relay_counts(guest, FAULTS[faults])
    assert bulk.discarded(guest) == 50 * bulk.MB
    bulk.returns_to(guest, before, 40.0)


@case(accel=EITHER, limit=120.0, sack=[1, 0])
def one_stream(t, sack):
    """A single connection through losses that fall elsewhere each time. With selective acknowledgements the
    guest sends again what they say is missing; without, what lwIP's timer says."""
    guest = relay_guest(t)
    done = guest.ns.run("sysctl", "-qw", f"net.ipv4.tcp_sack={sack}")
    assert done.returncode == 0, done.stdout
    before = bulk.held(guest)
    guest.relay.set(**FAULTS["loss"])
    for seed in range(8 if sack else 1):
        guest.relay.seed(seed)
        bulk.echo(guest, 20 * bulk.MB)
    counts = guest.relay.stats()
    assert counts["to"]["lost"] > 0 < counts["from"]["lost"], counts
    guest.relay.set(loss=0)
    found = stats(guest)["stack"]
    assert (found["tcp_recoveries"] > 0) == (found["tcp_resent"] > 0) == bool(sack), found
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
