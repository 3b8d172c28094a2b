"""Frames of app=gen: captured on a tap, taken apart by tshark, their stamps and payloads judged by
a second description of net/stamp.h. And what both ends count."""
import contextlib
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import time

from guest import GuestError, wait_until
from traffic import same

MAGIC = 0x5152
STAMP = struct.Struct("<HIQQ")
FLOW_BITS = 20
STEP, MASK = 0x9e3779b97f4a7c15, (1 << 64) - 1

# tshark's names; a field that occurs twice in a frame has both values.
FIELDS = ("frame.len eth.src eth.dst ieee8021ad.id vlan.id ip.src ip.dst ipv6.src ipv6.dst "
          "udp.srcport udp.dstport tcp.srcport tcp.dstport tcp.seq_raw ip.checksum.status "
          "udp.checksum.status tcp.checksum.status udp.payload tcp.payload").split()
CHECKSUMS = ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE",
             "-o", "tcp.check_checksum:TRUE"]
GOOD = "1"  # status of a checksum


class Capture:
    """What comes from a guest on its tap: `with Capture(t, ns, tap) as c: ...; c.frames()`. `options`
    are tcpdump's, for another choice of frames."""

    # It must not lose a frame: its buffer has as many slots as snapshots (-s) fit into 16 MiB.
    OPTIONS = ("-Q", "in", "-s", "2048", "-B", "16384", "--immediate-mode")

    def __init__(self, t, ns, tap, options=OPTIONS, settle=0.3):
        t.need_program("tcpdump")
        t.need_program("tshark")
        folder = tempfile.mkdtemp(prefix="ringlet-capture-")
        t.stack.callback(shutil.rmtree, folder, ignore_errors=True)
        self._file = os.path.join(folder, "frames.pcap")
        self._log = os.path.join(folder, "log")
        self._settle = settle  # seconds that a frame may take to tcpdump
        # As root, or it may not write there.
        self._command = ns.command("tcpdump", "-i", tap.name, *options, "-U", "-Z", "root", "-n", "-w",
                                   self._file)

    def __enter__(self):
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL,
                                             stdout=log, stderr=log)
        try:
            wait_until(lambda: "listening" in self._text(), 10, "tcpdump")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_):
        self._end()

    def _text(self):
        with open(self._log, encoding="utf-8") as log:
            return log.read()

    def _end(self):
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def frames(self):
        """Those with UDP or TCP; to be asked for after the guest's end."""
        frames = [Frame(values) for values in self.rows(FIELDS)]
        return [frame for frame in frames if frame.protocol]

    def rows(self, fields, *options):
        """tshark's fields of each frame, as texts by their names. Ends the capture."""
        time.sleep(self._settle)
        self._end()
        if not re.search(r"^0 packets dropped by kernel", self._text(), re.M):
            raise GuestError(f"tcpdump lost frames, or failed: {self._text()[-200:]}")
        columns = [word for field in fields for word in ("-e", field)]
        command = ["tshark", "-n", "-r", self._file, *CHECKSUMS, *options, "-T", "fields", *columns]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=30, check=False)
        if done.returncode != 0:
            raise GuestError(f"tshark: {done.stderr.strip()[-200:]}")
        return [dict(zip(fields, line.split("\t"))) for line in done.stdout.splitlines()]


class Frame:
    """tshark's fields, and the stamp."""

    def __init__(self, values):
        self.len = int(values["frame.len"])
        self.eth = (values["eth.src"], values["eth.dst"])
        self.tags = (values["ieee8021ad.id"], values["vlan.id"])
        version = "ip" if values["ip.src"] else "ipv6"
        self.ip = (values[f"{version}.src"], values[f"{version}.dst"])
        self.protocol = "udp" if values["udp.srcport"] else "tcp" if values["tcp.srcport"] else None
        if self.protocol is None:
            return
        self.ports = tuple(int(values[f"{self.protocol}.{end}"]) for end in ("srcport", "dstport"))
        self.tcp_seq = values["tcp.seq_raw"]
        self.sums = [values[f"{self.protocol}.checksum.status"]]
        if version == "ip":
            self.sums.append(values["ip.checksum.status"])
        self.data = bytes.fromhex(values[f"{self.protocol}.payload"])
        self.stamped = len(self.data) >= STAMP.size
        if self.stamped:
            self.magic, word, self.seq, self.tsc = STAMP.unpack_from(self.data)
            self.flow, self.session = word & (1 << FLOW_BITS) - 1, word >> FLOW_BITS
            self.data = self.data[STAMP.size:]

    def lasting(self):
        """What is the same in each run of the generator with the same words."""
        return (self.len, self.eth, self.tags, self.ip, self.ports, self.tcp_seq, self.stamped and
                (self.flow, self.seq), self.data)


def payload(seed, flow, seq, length):
    """What a frame carries behind its stamp."""
    x = ((seed << 32 | flow) * STEP ^ seq) & MASK
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9 & MASK
    x = (x ^ x >> 27) * 0x94d049bb133111eb & MASK
    x ^= x >> 31
    blocks = (struct.pack("<QQ", word, word ^ MASK)
              for word in ((x + i * STEP) & MASK for i in range(length // 16 + 1)))
    return b"".join(blocks)[:length]


def check_frames(frames, count, flows=1, seed=1):
    """So many, checksums and payloads right, flows in turn, the numbers of the stamped frames of each
    from 0 on in order."""
    bad = [f.sums for f in frames if set(f.sums) != {GOOD}]
    assert not bad, f"{len(bad)} frames with a bad checksum: {bad[0]}"
    assert len(frames) == count, f"{len(frames)} frames captured, {count} expected"
    following = [0] * flows
    for i, frame in enumerate(frames):
        if frame.stamped:
            flow = i % flows
            same((frame.magic, frame.flow, frame.seq), (MAGIC, flow, following[flow]), f"stamp {i}")
            following[flow] += 1
    assert len({f.session for f in frames if f.stamped}) == 1
    for f in frames:
        if f.stamped:
            same(f.data, payload(seed, f.flow, f.seq, len(f.data)), f"payload of {f.flow}/{f.seq}")


def result(guest, status=0, limit=30):
    """The last line of the workload, with the status at the end that is expected."""
    ended = guest.wait_exit(limit)
    events = guest.events_of("result")
    assert ended == status and len(events) == 1, \
        f"status {ended} instead of {status}, results: {[e.get(e['app']) for e in events]}"
    return events[0]


def generator(guest, frames, status=0, limit=30):
    """The numbers of app=gen at its end: it sent so many, the device took so many."""
    event = result(guest, status, limit)
    gen, tx = event["gen"], event["nics"][0]["tx"]
    assert gen["frames"] == frames, gen
    drops = {name: value for name, value in tx.items() if name.startswith("drop") and value}
    assert not drops and tx["device_errors"] == 0, tx
    return event


def receiver(guest, status=0, limit=30):
    """The numbers of app=sink at its end."""
    event = result(guest, status, limit)
    rx = event["nics"][0]["rx"]
    drops = {name: value for name, value in rx.items() if name.startswith("drop") and value}
    assert not drops and rx["device_errors"] == 0, rx
    return event


def check_sink(sink, **wanted):
    """The counters that are wanted, and of all kinds of damage that are not named there is none."""
    wanted = dict.fromkeys("lost duplicates reordered too_old missed_start bad_stamp unknown_flows "
                           "other_session bad_length bad_checksum corrupt".split(), 0) | wanted
    wrong = {name: sink[name] for name, value in wanted.items() if sink[name] != value}
    assert not wrong, f"sink: {wrong} instead of { {name: wanted[name] for name in wrong} }"


# ---- Taps of one namespace ----

DISABLE_IPV6 = "/proc/sys/net/ipv6/conf/all/disable_ipv6"


def bridge(ns, *taps):
    """Joins them, without frames of the host's own (IPv6, the bridge's questions for groups)."""
    with ns.entered(), contextlib.suppress(FileNotFoundError):
        with open(DISABLE_IPV6, "w", encoding="ascii") as switch:
            switch.write("1")
    for words in (("add", "bridge", "type", "bridge", "mcast_snooping", "0"),
                  *(("set", tap.name, "master", "bridge") for tap in taps),
                  ("set", "bridge", "up")):
        done = ns.run("ip", "link", *words)
        if done.returncode != 0:
            raise GuestError(f"ip link {' '.join(words)}: {done.stdout.strip()}")


def link_counters(ns, tap):
    """Frames that the host received on the tap, and sent there."""
    text = ns.run("ip", "-j", "-s", "link", "show", tap.name).stdout
    counters = json.loads(text)[0]["stats64"]
    return {"rx": counters["rx"]["packets"], "tx": counters["tx"]["packets"]}
