"""QEMU's debugger interface, and what tests do with it: change the memory of a guest that stands still."""
import contextlib
import os
import re
import shutil
import socket
import struct
import tempfile

import guest as g
from case import Skip

PACKET_BYTES = 1024  # of memory in one packet; QEMU takes 4096 characters


class Debugger:
    """A door into a guest. The guest gets `options`; `with debugger:` stops it, leaving lets it go on.
    The little of gdb's remote protocol that this takes: $payload#checksum, answered by + and a packet."""

    def __init__(self, t, halted=False):
        """`halted`: the guest does not start before it was visited."""
        folder = tempfile.mkdtemp(prefix="ringlet-gdb-")
        t.stack.callback(shutil.rmtree, folder, ignore_errors=True)
        self._path = os.path.join(folder, "gdb")
        self._socket = None
        self._received = b""
        self.options = ["-chardev", f"socket,id=gdb,path={self._path},server=on,wait=off",
                        "-gdb", "chardev:gdb"] + (["-S"] if halted else [])

    def __enter__(self):
        g.wait_until(lambda: os.path.exists(self._path), g.BOOT_LIMIT, "debugger socket")
        self._socket = socket.socket(socket.AF_UNIX)
        self._received = b""
        try:
            self._socket.settimeout(10)
            self._socket.connect(self._path)
            self._execute(b"Qqemu.PhyMemMode:1")  # and by that time QEMU has stopped the guest
        except BaseException:
            self._socket.close()
            raise
        return self

    def __exit__(self, *_):
        try:
            self._execute(b"D")  # detach, and go on
        finally:
            self._socket.close()

    def _send(self, payload):
        self._socket.sendall(b"$%s#%02x" % (payload, sum(payload) % 256))

    def _answer(self):
        while True:
            packet = re.search(rb"\$([^#]*)#..", self._received)
            if packet is None:
                part = self._socket.recv(4096)
                if not part:
                    raise g.GuestError("the debugger's connection ended")
                self._received += part
                continue
            self._received = self._received[packet.end():]
            with contextlib.suppress(BrokenPipeError):  # QEMU may end as soon as it is let go on
                self._socket.sendall(b"+")
            if not packet[1].startswith(b"T"):  # which says unasked that the guest has stopped
                return packet[1]

    def _execute(self, payload, expected=b"OK"):
        self._send(payload)
        answer = self._answer()
        if expected is not None and answer != expected:
            raise g.GuestError(f"debugger: {payload[:40]} was answered with {answer[:40]}")
        return answer

    def read(self, address, length):
        """Physical memory; so does write()."""
        data = b""
        while len(data) < length:
            size = min(length - len(data), PACKET_BYTES)
            answer = self._execute(b"m%x,%x" % (address + len(data), size), None)
            if len(answer) != 2 * size:
                raise g.GuestError(f"debugger: reading {address:#x} was answered with {answer[:40]}")
            data += bytes.fromhex(answer.decode())
        return data

    def write(self, address, data):
        for at in range(0, len(data), PACKET_BYTES):
            part = data[at:at + PACKET_BYTES]
            self._execute(b"M%x,%x:%s" % (address + at, len(part), part.hex().encode()))


class Ring:
    """A virtqueue of a guest's first NIC, in the memory of the guest that stands still. Both layouts
    have descriptors of 16 bytes, with the buffer's length in the middle."""

    def __init__(self, guest, debugger, queue):
        # On PCI the device proper is a part of what QEMU calls so.
        part = "" if guest.machine in g.NO_PCI else "/virtio-backend"
        try:
            state = guest.qmp("x-query-virtio-queue-status", queue=queue,
                              path=f"/machine/peripheral/nic0{part}")
        except g.GuestError as error:
            if "not been found" in str(error) and "command" in str(error):
                raise Skip("this QEMU does not say where the rings are") from None
            raise
        self.debugger = debugger
        self.num = state["vring-num"]
        self.desc, self.avail, self.used = (state[f"vring-{area}"]
                                            for area in ("desc", "avail", "used"))
        self.used_idx = state["used-idx"]  # where the device puts the next used buffer

    def get(self, address, form):
        return struct.unpack(form, self.debugger.read(address, struct.calcsize(form)))

    def put(self, address, form, *values):
        self.debugger.write(address, struct.pack(form, *values))

    def descriptors(self):
        data = self.debugger.read(self.desc, 16 * self.num)
        return [list(each) for each in struct.iter_unpack("<QIHH", data)]

    def put_descriptors(self, table):
        self.debugger.write(self.desc, b"".join(struct.pack("<QIHH", *each) for each in table))
