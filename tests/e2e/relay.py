"""A network whose frames go through build/relay: the guest and the host sit on two taps."""
import json
import os
import subprocess

from case import Skip
from guest import ROOT, GuestError

RELAY = os.path.join(ROOT, "build", "relay")
PERCENT = 10_000  # millionths


class Relay:
    """A running relay between the taps; close() ends it. In a direction, "to" the guest or "from" it,
    faults are words of build/relay without that prefix: loss=10_000 (of a million frames)."""

    def __init__(self, ns, guest_tap, host_tap):
        command = ns.command(RELAY, guest_tap.name, host_tap.name)
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE, text=True)
        try:
            self._answer("ready")
        except BaseException:
            self.close()
            raise

    def close(self):
        """Nothing is left to be said to it: it ends by itself, or is ended."""
        try:
            self._process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def set(self, direction=None, **words):
        """Faults of one direction, or of both when none is named."""
        for way in (direction,) if direction else ("to", "from"):
            for name, value in words.items():
                self.say(f"{way}.{name}={value}")
        self.stats()  # answered after that: it holds for whatever is sent from now on

    def seed(self, number):
        self.say(f"seed={number}")

    def offload(self, on):
        """Whether the host leaves segmentation and checksums to the guest's side."""
        self.say(f"offload={int(on)}")
        self.stats()

    def stats(self):
        """What it has counted so far, for "to" and "from"."""
        self.say("stats")
        return self._answer("relay")

    def end(self, term=False):
        """The counters that it prints at its end: that of stdin, or a SIGTERM."""
        if term:
            self._process.terminate()
        text, errors = self._process.communicate(timeout=5)
        if self._process.returncode != 0:
            raise GuestError(errors.strip() or f"relay: status {self._process.returncode}")
        return json.loads(text)

    def say(self, word):
        """A line for it, as on its command line."""
        try:
            self._process.stdin.write(word + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise GuestError(self._process.stderr.read().strip()) from None

    def _answer(self, event):
        line = self._process.stdout.readline()
        if not line:
            raise GuestError(self._process.stderr.read().strip() or "relay: ended")
        answer = json.loads(line)
        if answer["event"] != event:
            raise GuestError(f"relay: {line.strip()} instead of {event}")
        return answer


def need_relay():
    if not os.path.exists(RELAY):
        raise Skip("build/relay is not built: make build/relay")


def relay_guest(t, words="", nic=None, mtu=1500, **options):
    """A guest as t.tap_guest() makes it, with guest.relay between its tap and the host's. guest.tap is
    the host's: what is seen there from the guest has come through the relay; guest.near is its own."""
    need_relay()
    ns = t.namespace()
    guest_tap, host_tap = ns.add_bare_tap(mtu), ns.add_tap(mtu)
    relay = Relay(ns, guest_tap, host_tap)
    t.stack.callback(relay.close)
    guest = t.guest(f"ip={host_tap.guest}/24 {words}".strip(), [(guest_tap, nic)], namespace=ns,
                    **options)
    guest.ns, guest.tap, guest.ip = ns, host_tap, host_tap.guest
    guest.near, guest.relay = guest_tap, relay
    guest.wait_ready()
    return guest
