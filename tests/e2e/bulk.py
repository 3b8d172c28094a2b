"""Bulk transfers over TCP: echoed, generated and discarded by the guest, every byte accounted for.

Each function moves `length` bytes over so many connections at once; parts that are left over go with
the last one."""
import concurrent.futures
import functools
import hashlib
import threading

from guest import GuestError, wait_until
from traffic import pattern, same, send_and_shut, stats, tcp_connect

MB = 1_000_000
BLOCK = 1 << 18
CHARGEN = b"".join(bytes(32 + (n + i) % 95 for i in range(72)) + b"\r\n" for n in range(95))
READS = 12  # of the statistics, each with five frames or so: more than wait for the next refill


@functools.lru_cache(maxsize=8)
def payload(length, seed=0):
    """Bytes that repeat nowhere, with their SHA-256. Made once: many tests move the same."""
    data = pattern(length, f"bulk {seed}")
    return data, hashlib.sha256(data).digest()


@functools.lru_cache(maxsize=8)
def generated(length):
    """The beginning of what port 19 sends, with its SHA-256."""
    data = (CHARGEN * (length // len(CHARGEN) + 1))[:length]
    return data, hashlib.sha256(data).digest()


def echo(guest, length, streams=1):
    """Both ways at once, and then the end of the stream."""
    on_streams(streams, lambda i: _echo(guest, *payload(length // streams, i)))


def _echo(guest, data, digest):
    with tcp_connect(guest) as s:
        sender = threading.Thread(target=send_and_shut, args=(s, data), daemon=True)
        sender.start()
        got = receive_into(s, len(data))
        end = s.recv(1)
        sender.join(timeout=10)
    check(got, data, digest, "echo")
    assert end == b"", "the echo is longer than what was sent"


def generate(guest, length, streams=1):
    """From the guest: the beginning of an endless stream."""
    on_streams(streams, lambda _: _generate(guest, *generated(length // streams)))


def _generate(guest, data, digest):
    with tcp_connect(guest, port=19) as s:
        check(receive_into(s, len(data)), data, digest, "chargen")


def discard(guest, length, streams=1):
    """To the guest. It closes when it has read the end; what it has thrown away it counts."""
    def one(_):
        with tcp_connect(guest, port=9) as s:
            send_and_shut(s, payload(length // streams)[0])
            assert s.recv(1) == b"", "the discard service answers"
    on_streams(streams, one)


def discarded(guest):
    """Bytes that the guest has thrown away since its start."""
    return stats(guest)["echo"]["tcp_discarded_bytes"]


def on_streams(count, move):
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(move, i) for i in range(count)]:
            done.result()


def receive_into(s, length):
    """So many bytes, or fewer when the other side closes before."""
    got = bytearray(length)
    at = 0
    with memoryview(got) as view:
        while at < length:
            part = s.recv_into(view[at:at + BLOCK])
            if part == 0:
                break
            at += part
    del got[at:]
    return got


def check(got, expected, digest, what):
    """Compares the hashes, and says where the first difference is."""
    if hashlib.sha256(got).digest() != digest:
        same(bytes(got), expected, what)


# ---- What the guest still holds ----

def held(guest):
    """Packet buffers in use, at most, and what else waits in the stack's pools. Buffers of the receive
    ring are in use, too: their number falls with each frame until some are given again, so it is looked
    at often enough to meet the highest."""
    most = {}
    for _ in range(READS):
        seen = stats(guest)
        now = {name: seen["stack"][name] for name in ("tcp_segments", "copied_frames",
                                                      "backlog_frames")}
        now["buffers"] = sum(nic["buffers"] - nic["buffers_free"] for nic in seen["nics"])
        now["open"] = seen["echo"]["tcp_open"]
        most = {name: max(value, most.get(name, 0)) for name, value in now.items()}
    return most


def returns_to(guest, before, limit=15.0):
    """Waits until the guest holds what it held before. The request for its statistics holds something
    itself, not each time the same."""
    last = {}

    def returned():
        last.update(held(guest))
        return all(last[name] <= before[name] + 8 for name in before) and last["open"] == 0
    try:
        wait_until(returned, limit, "pools")
    except GuestError as error:
        raise GuestError(f"{error}: {last} instead of {before}") from None
