"""app=sink behind a relay that loses, repeats, swaps and changes frames: it counts just that."""
import contextlib
import threading
from collections import Counter

from case import case
from frames import ETH_P_IP, UDP, Port, ethernet, ipv4, mac_bytes, udp
from generated import check_sink, generator, receiver

FRAMES = 1001
MACS = ["52:54:00:00:00:01", "52:54:00:00:00:02"]  # generator, sink

# A frame of no generator, as long as one would be.
STRANGER = ethernet(mac_bytes(MACS[1]), mac_bytes("02:00:00:00:00:55"), ETH_P_IP,
                    ipv4("10.0.0.1", "10.0.0.2", UDP, udp("10.0.0.1", "10.0.0.2", 9, 9, bytes(22))))


class Relay:
    """Carries the generator's frames from one tap to another. plan(n) says what becomes of
    the n-th: "drop", "double", "hold" until after the next one that goes on, "flip" a bit at its
    end, or None."""

    def __init__(self, ns, source, target, plan):
        self.done = Counter()
        self._source, self._target = Port(ns, source, limit=0.2), Port(ns, target)
        self._plan = plan
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        self._source.close()
        self._target.close()

    def send(self, data):
        self._target.send(data)

    def _run(self):
        held = None
        to_sink = mac_bytes(MACS[1])
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                frame = self._source.receive()
                if not frame.to_guest and frame.data.startswith(to_sink):
                    held = self._carry(bytearray(frame.data), held)

    def _carry(self, data, held):
        """What is held back from now on."""
        what = self._plan(self.done.total())
        self.done[what] += 1
        if what == "drop":
            return held
        if what == "hold":
            return data
        if what == "flip":
            data[-1] ^= 0x10
        for _ in range(2 if what == "double" else 1):
            self.send(data)
        if held is not None:
            self.send(held)
        return None


def every(number, what):
    """To each so many-th frame."""
    return lambda n: what if n % number == number - 1 else None


def mixed(n):
    """No frame is held while another one is."""
    for number, what in ((10, "drop"), (7, "double"), (12, "hold"), (11, "flip")):
        if n % number == number - 1:
            return what
    return None


def damaged(t, plan, doubled=0, dropped=0, words="", sink_words="check=1", status=0):
    """The sink's numbers after a run, and what was done to its frames."""
    ns = t.namespace()
    taps = [ns.add_tap(), ns.add_tap()]
    count = FRAMES + doubled - dropped
    sink = t.guest(f"app=sink frames={count} seconds=20 {sink_words}",
                   [(taps[1], f"mac={MACS[1]},rx_queue_size=1024")], namespace=ns)
    sink.wait_ready()
    with Relay(ns, *taps, plan) as relay:
        relay.send(STRANGER)
        gen = t.guest(f"app=gen dst_mac={MACS[1]} frames={FRAMES} rate=2000pps catchup=16 {words}",
                      [(taps[0], f"mac={MACS[0]}")], namespace=ns)
        generator(gen, FRAMES)
        event = receiver(sink, status)
    numbers, done = event["sink"], relay.done
    flipped = done["flip"] if "check=1" in sink_words else 0
    assert done.total() == FRAMES and done["double"] == doubled and done["drop"] == dropped, done
    assert numbers["other"] >= 1 and numbers["sessions"] == 1, numbers
    check_sink(numbers, frames=count, received=FRAMES - dropped, lost=dropped, duplicates=doubled,
               reordered=done["hold"], corrupt=flipped, bad_checksum=flipped)
    return numbers


@case()
def drops(t):
    """Of four flows the first and the third lose frames, none its last one: that would not show."""
    numbers = damaged(t, lambda n: "drop" if n % 10 == 4 else None, dropped=100,
                      words="flows=4 size=64,300")
    assert numbers["flows_seen"] == 4 and numbers["flows_lossy"] == 2, numbers


# 100 of 1001 are 99900.1 millionths.
LIMITS = {99900: 1, 99901: 0}


@case(ppm=LIMITS)
def loss_limit(t, ppm):
    damaged(t, every(10, "drop"), dropped=100, sink_words=f"loss_ppm={ppm}", status=LIMITS[ppm])


@case()
def doubles(t):
    damaged(t, every(7, "double"), doubled=143, words="flows=2 src=fd77::1 dst=fd77::2 size=84")


@case()
def swaps(t):
    numbers = damaged(t, every(5, "hold"), words="size=99")
    assert numbers["reorder_max"] == 1, numbers


@case(words=["proto=tcp size=91", "src=fd77::1 dst=fd77::2 size=1514"])
def flips(t, words):
    """One bit is enough for status 1."""
    damaged(t, every(20, "flip"), words=words, status=1)


@case()
def flips_unchecked(t):
    """Without check=1 nobody looks."""
    damaged(t, every(20, "flip"), words="size=91", sink_words="")


@case()
def all_at_once(t):
    plan = Counter(mixed(n) for n in range(FRAMES))
    numbers = damaged(t, mixed, doubled=plan["double"], dropped=plan["drop"], words="size=91,100",
                      status=1)
    assert numbers["reordered"] > 50 and numbers["corrupt"] > 50, numbers
