"""Faults of ring 0 itself: none is known, so QEMU's debugger interface makes one."""
import os
import shutil
import socket
import subprocess
import tempfile

import guest as g
from case import case

UD2 = bytes((0x0F, 0x0B))


@case()
def fault(t):
    """An invalid opcode in the trap handler ends in the same report as a fault of ring 3."""
    t.need_program("nm")
    folder = tempfile.mkdtemp(prefix="ringlet-gdb-")
    t.stack.callback(shutil.rmtree, folder, ignore_errors=True)
    path = os.path.join(folder, "gdb")
    guest = t.guest("app=crash-test kind=hlt",
                    extra=["-S", "-chardev", f"socket,id=gdb,path={path},server=on,wait=off",
                           "-gdb", "chardev:gdb"])
    address = symbol("wait_service")
    with Debugger(path) as debugger:
        debugger.write(address, UD2)
        debugger.go_on()
        assert guest.wait_exit() == 3
    panic = guest.wait_event("panic")
    assert panic["ring"] == 0 and panic["vector"] == 6, panic
    assert int(panic["rip"], 16) == address, panic
    assert guest.events[-1]["event"] == "exit" and guest.events[-1]["status"] == 3


def symbol(name):
    listing = subprocess.run(["nm", g.IMAGE], text=True, stdout=subprocess.PIPE, check=True).stdout
    return next(int(s[0], 16) for s in map(str.split, listing.splitlines()) if s[-1] == name)


class Debugger:
    """The little of gdb's remote protocol that writes memory: $payload#checksum, answered by + and
    a packet."""

    def __init__(self, path, limit=10.0):
        g.wait_until(lambda: os.path.exists(path), limit, "debugger socket")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(limit)
        self._socket.connect(path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def _send(self, payload):
        self._socket.sendall(b"$%s#%02x" % (payload, sum(payload) % 256))

    def _answer(self):
        data = b""
        while b"#" not in data[:-2]:
            received = self._socket.recv(4096)
            if not received:
                raise g.GuestError("the debugger's connection ended")
            data += received
        self._socket.sendall(b"+")
        return data[data.index(b"$") + 1:data.rindex(b"#")]

    def write(self, address, data):
        self._send(b"M%x,%x:%s" % (address, len(data), data.hex().encode()))
        answer = self._answer()
        assert answer == b"OK", f"debugger: {answer}"

    def go_on(self):
        self._send(b"c")
