"""app=gen and app=sink: all that one sends the other receives, over each kind of back end."""
import os
import shutil
import tempfile

import guest as g
from networks import UserNet
from case import EACH, case
from generated import bridge, check_sink, generator, link_counters, receiver, result
from ovs import OpenVSwitch
from test_config import expect_refusal
from vhost import CONNECTS, TESTPMD, Testpmd, VhostUser, shared_memory, vhost_port

FRAMES = 1000
MACS = ["52:54:00:00:00:01", "52:54:00:00:00:02"]  # generator, sink
NICS = {"split": "", "packed": "packed=on"}

# After its datagram socket was full, QEMU 7.2 asks for a doorbell at a place in a packed ring, goes
# beyond it without asking anew, and waits for ever. Without EVENT_IDX it does not.
WIRE_NICS = NICS | {"packed": "packed=on,event_idx=off"}

# Not so fast that a back end cannot keep up.
PACE = "rate=2000pps catchup=16"


class Pair:
    """A generator and a sink, each at a network. The sink is ready before the generator starts."""

    def __init__(self, t, networks, words="", sink_words="check=1", frames=FRAMES, nic="",
                 ns=None, shared=False, pace=PACE):
        def start(app, i):
            extra = networks[i].extra(0) + shared_memory("64M") if shared else ()
            # Room for all frames: none is lost, however long the sink waits for a processor.
            options = f"mac={MACS[i]},rx_queue_size=1024,{nic}".rstrip(",")
            return t.guest(app, [(networks[i], options)], namespace=ns, extra=extra)
        self.frames = frames
        limit = "" if "frames=" in sink_words else f"frames={frames}"
        limit += "" if "seconds=" in sink_words else " seconds=20"
        self.sink = start(f"app=sink {limit} {sink_words}", 1)
        self.sink.wait_ready()
        self.gen = start(f"app=gen dst_mac={MACS[1]} frames={frames} {pace} {words}", 0)

    def ended(self):
        """The last lines of both, which agree to the frame, with nothing lost or changed."""
        gen, sink = generator(self.gen, self.frames), receiver(self.sink)
        check_sink(sink["sink"], frames=self.frames, received=self.frames, sessions=1,
                   bytes=gen["gen"]["bytes"], session=gen["gen"]["session"],
                   flows_seen=gen["gen"]["flows"], flows_lossy=0)
        assert gen["nics"][0]["tx"]["packets"] == self.frames
        assert sink["nics"][0]["rx"]["packets"] == self.frames + sink["sink"]["other"]
        latency = sink["sink"]["latency_ns"]
        assert latency["count"] + sink["sink"]["clock_skewed"] == self.frames, sink["sink"]
        return gen, sink


@case(accel=EACH, layout=WIRE_NICS)
def wire(t, layout):
    """QEMU's datagram back end, which needs nothing of the host."""
    cable = t.wire()
    Pair(t, cable.ends, "size=64,594:3,1514 flows=10 dport=1-10", nic=WIRE_NICS[layout]).ended()


@case(accel=EACH)
def bridged(t):
    """Two taps at a bridge of Linux."""
    ns = t.namespace()
    taps = [ns.add_tap(), ns.add_tap()]
    bridge(ns, *taps)
    before = [link_counters(ns, tap) for tap in taps]
    words = "proto=tcp src=fd77::1 dst=fd77::2-fd77::9 size=104,999 vlan=5 qinq=6"
    gen, sink = Pair(t, taps, words, ns=ns, nic=NICS["packed"]).ended()
    after = [link_counters(ns, tap) for tap in taps]
    assert after[0]["rx"] - before[0]["rx"] == gen["gen"]["frames"], (before, after)
    assert after[1]["tx"] - before[1]["tx"] == sink["nics"][0]["rx"]["packets"], (before, after)


def joined_by_testpmd(t):
    """DPDK's testpmd between two vhost-user sockets, and the networks at these."""
    t.need_program(TESTPMD)
    ns = t.namespace()
    folder = tempfile.mkdtemp(prefix="ringlet-vhost-")
    t.stack.callback(shutil.rmtree, folder, ignore_errors=True)
    networks = [VhostUser(os.path.join(folder, f"socket{i}"), CONNECTS) for i in range(2)]
    back_end = Testpmd(ns, *(vhost_port(i, network.path) for i, network in enumerate(networks)))
    t.stack.callback(back_end.close)
    t.details.append(back_end.tail)
    back_end.wait_forwarding()
    return back_end, networks


@case(spins=True, layout=NICS)
def testpmd(t, layout):
    back_end, networks = joined_by_testpmd(t)
    pair = Pair(t, networks, "size=64,1514 flows=3 payload=fixed", "check=0", nic=NICS[layout],
                shared=True)
    gen, sink = pair.ended()
    # The generator's first frame may be before testpmd has said that it needs no doorbell.
    assert sink["certified_polled"] and gen["nics"][0]["tx"]["kicks"] <= 1, gen
    counters = [back_end.counters(i) for i in range(2)]
    assert counters[0]["rx"] == {"packets": FRAMES, "bytes": gen["gen"]["bytes"]}, counters
    assert counters[1]["tx"] == {"packets": FRAMES, "bytes": gen["gen"]["bytes"]}, counters


@case(spins=True, layout=NICS)
def full_speed(t, layout):
    """As fast as can be: what is too much is dropped, but nothing is changed, doubled or late. The
    generator has no end, the sink ends when it has seen enough."""
    _, networks = joined_by_testpmd(t)
    pair = Pair(t, networks, "size=64,65:3,594,1514 flows=5", "frames=40000 check=1", frames=0,
                nic=NICS[layout], shared=True, pace="rate=max")
    sink = receiver(pair.sink)["sink"]
    assert sink["frames"] >= 40000, sink
    check_sink(sink, lost=sink["lost"], received=sink["frames"], sessions=1, flows_seen=5)


@case(spins=True, layout=NICS)
def ovs(t, layout):
    """Open vSwitch with DPDK."""
    switch = OpenVSwitch(t)
    ports = [switch.add_port("dpdkvhostuser") for _ in range(2)]
    switch.lead(ports[0].port, ports[1].port)
    pair = Pair(t, ports, "size=64,594:3 flows=100 dport=random:1-65535", ns=switch.ns,
                nic=NICS[layout], shared=True)
    pair.ended()
    g.wait_until(lambda: switch.led(ports[0].port) >= FRAMES, 5, "the switch's counter")
    assert switch.led(ports[0].port) == FRAMES


# ---- One guest that hears itself ----

def check_returned(gen):
    check_sink(gen["rx"], frames=FRAMES, received=FRAMES, sessions=1, session=gen["session"])
    assert gen["rx"]["unreturned"] == 0, gen["rx"]


@case()
def two_nics(t):
    """rx=1: what NIC 0 sends comes in on NIC 1."""
    ns = t.namespace()
    taps = [ns.add_tap(), ns.add_tap()]
    bridge(ns, *taps)
    nics = [(tap, f"mac={mac},rx_queue_size=1024") for tap, mac in zip(taps, MACS)]
    guest = t.guest(f"app=gen rx=1 check=1 dst_mac={MACS[1]} frames={FRAMES} {PACE} size=64,1000 "
                    "flows=7", nics, namespace=ns)
    event = generator(guest, FRAMES)
    check_returned(event["gen"])
    assert event["nics"][1]["rx"]["packets"] == FRAMES + event["gen"]["ignored"], event


@case(layout=WIRE_NICS)
def by_forwarder(t, layout):
    """rx=1: a second guest sends all back to where it came from."""
    cable = t.wire()
    forwarder = t.guest("app=fwd fwd=macswap", [(cable.ends[1], WIRE_NICS[layout])])
    forwarder.wait_ready()
    guest = t.guest(f"app=gen rx=1 drain_ms=2000 dst_mac={MACS[1]} frames={FRAMES} {PACE} "
                    "size=64,1000",
                    [(cable.ends[0], WIRE_NICS[layout])])
    event = generator(guest, FRAMES)
    check_returned(event["gen"])


# ---- Modes and the end ----

@case(accel=EACH, mode=["irq", "adaptive"])
def sleeps(t, mode):
    """Both sleep between frames."""
    cable = t.wire()
    pair = Pair(t, cable.ends, f"mode={mode}", f"mode={mode}", frames=50, pace="rate=100pps")
    for event in pair.ended():
        assert event["slept_us"] > 100000, event["slept_us"]


@case()
def by_time(t):
    """seconds= ends both well; the counters of each line are not below those before."""
    cable = t.wire()
    words = "app=sink ip=off seconds=3 stats=1"
    sink = t.guest(words, [(cable.ends[1], f"mac={MACS[1]}")])
    sink.wait_ready()
    gen = t.guest(f"app=gen dst_mac={MACS[1]} {PACE} seconds=2 stats=1", [(cable.ends[0], "")])
    event = receiver(sink)
    counts = [e["sink"]["frames"] for e in sink.events_of("stats") + [event]]
    assert len(counts) >= 3 and counts == sorted(counts) and counts[-1] > 0, counts
    check_sink(event["sink"], received=counts[-1])
    assert result(gen)["gen"]["frames"] == counts[-1]


@case()
def second_session(t):
    """A generator that starts again is a new session, with numbers from 0 on: all is well."""
    cable = t.wire()
    sink = t.guest(f"app=sink frames={2 * FRAMES} seconds=20 check=1", [(cable.ends[1], "")])
    sink.wait_ready()
    for _ in range(2):
        gen = t.guest(f"app=gen dst_mac={MACS[1]} frames={FRAMES} {PACE} flows=3",
                      [(cable.ends[0], "")])
        session = generator(gen, FRAMES)["gen"]["session"]
        gen.close()
    event = receiver(sink)
    check_sink(event["sink"], frames=2 * FRAMES, received=2 * FRAMES, sessions=2, session=session,
               session_frames=FRAMES, flows_seen=3)


# ---- What cannot be followed ----

# Words, and what the line has to name.
BAD = {
    "flows=0": "flows=0",
    "flows=1048577": "flows=1048577",
    "flows=1048576": "flows=1048576",
    "loss_ppm=1000001": "loss_ppm=1000001",
    "check=2": "check=2",
    "frames=-1": "frames=-1",
    "rate=max": "rate",
    "dst_mac=02:00:00:00:00:01": "dst_mac",
    "burst=0": "burst=0",
}


@case(words=BAD)
def bad(t, words):
    """With so little memory that a table of 2^20 flows does not fit."""
    expect_refusal(t.guest(f"app=sink {words}", [(UserNet(), None)], mem="16M"), BAD[words])
