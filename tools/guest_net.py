"""The networks that a guest in QEMU can be joined to; for run-guest and boot-and-ping.

A network is a context: what it makes on the host exists inside and is removed at the end, whatever
happens. Before that it only knows what QEMU and the guest have to be told, which --dry-run prints.
"""
import contextlib
import ctypes
import os
import shlex
import shutil
import socket
import subprocess

EXIT_USAGE = 2         # the caller has to change something; nothing was started

KINDS = "user|tap|tap:NAME|bridge:NAME|vhost-user:SOCKET|none"
CLONE_NEWNET = 0x40000000  # sched.h
PORT_BASE = 10000
PORT_BASE_TRIES = 50
SERVICES = (("tcp", 7), ("udp", 7), ("tcp", 80), ("tcp", 5001))

HELP = """\
networks:
  user   QEMU's own network; no root needed. Echo (7), HTTP (80) and iperf 2 (5001) of the first
         NIC are forwarded from loopback ports: port base + 7, + 80 and + 5001.
  tap    A new network namespace with one tap for each NIC; needs root. On NIC N the host is
         10.77.N.1/24 and fd77:N::1/64, the guest 10.77.N.2/24 and fd77:N::2/64; words ip= and
         ip6= in --args come instead of these. The namespace is removed at the end.
  tap:NAME     A tap device that is there and may be opened (ip tuntap add ... user NAME).
  bridge:NAME  A bridge that is there: each NIC gets a new tap on it, removed at the end; needs root.
  vhost-user:SOCKET  A switch that listens at this unix socket; with ,server behind the path it is QEMU
         that listens, and the guest starts when the switch has connected.
  none   No NIC at all.
  On a tap: or bridge: that is there and on vhost-user NICs get MAC addresses of their own in each run."""


class Failure(Exception):
    """Ends the program with one line of error."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


def network(text, nics, port_base):
    """The network that --net names. `port_base` is None unless the caller chose one."""
    kind, _, rest = text.partition(":")
    if text == "user":
        return UserNet(nics, port_base)
    if text == "tap":
        return TapNamespace(nics)
    if text == "none":
        return Network(0)
    if kind in SHARED and rest:
        return SHARED[kind](rest, nics)
    raise Failure(EXIT_USAGE, f"--net {text}: must be one of {KINDS.replace('|', ', ')}")


class Network:
    """What all networks answer. Itself: no network. In a `with` statement it is there."""

    namespace = None  # name of the network namespace that QEMU runs in

    def __init__(self, nics):
        self.nics = nics

    def __enter__(self):
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_):
        self._remove()

    def _make(self):
        """Makes what the network needs."""

    def _remove(self):
        """Takes away what was made, even if that is not all."""

    def check(self):
        """Raises Failure when this machine cannot have it."""

    def netdev(self, i):
        """QEMU's -netdev of NIC i, with the id n<i>."""
        raise NotImplementedError

    def device_options(self, i):
        """More properties of the device of NIC i, each with a comma in front."""
        return ""

    def options(self, memory):
        """QEMU's other options, for a guest with so much memory."""
        return []

    def words(self):
        """Words of the guest's command line, by key."""
        return {}

    def command(self, *words):
        """The command that runs where the network is."""
        return list(words)


# ---- QEMU's user network: loopback ports ----

class UserNet(Network):
    def __init__(self, nics, port_base):
        super().__init__(nics)
        self._reservations = contextlib.ExitStack()
        self.port_base = self._pick(port_base)

    def _remove(self):
        self._reservations.close()

    def netdev(self, i):
        spec = f"user,id=n{i},net=10.0.{2 + i}.0/24"
        if i == 0:
            for protocol, port in SERVICES:
                spec += f",hostfwd={protocol}:127.0.0.1:{self.port_base + port}-:{port}"
        return spec

    def _pick(self, given):
        """The base that was asked for, or the first one from PORT_BASE on whose ports are all free."""
        candidates = [PORT_BASE + 100 * i for i in range(PORT_BASE_TRIES)] if given is None else [given]
        for base in candidates:
            reservation = self._reservations.enter_context(socket.socket())
            error = base_error(base, reservation)
            if error is None:
                return base
            reservation.close()
        raise Failure(EXIT_USAGE, f"--port-base {given}: {error}" if given is not None else
                      f"no free loopback ports from {PORT_BASE} on; use --port-base")


def base_error(base, reservation):
    """Why the ports of a base cannot be used, None when they can.

    QEMU binds them only later. So that two of us do not choose the same ones at the same time, the
    base itself is bound to `reservation` for as long as we run."""
    try:
        reservation.bind(("127.0.0.1", base))
    except OSError as error:
        return f"tcp port 127.0.0.1:{base}: {error.strerror}"
    return next(filter(None, (port_error(proto, base + port) for proto, port in SERVICES)), None)


def port_error(protocol, port):
    """Why the loopback port cannot be bound, None when it can."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as s:
        if protocol == "tcp":
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError as error:
            return f"{protocol} port 127.0.0.1:{port}: {error.strerror}"
    return None


# ---- Taps in a network namespace of its own ----

class TapNamespace(Network):
    def __init__(self, nics):
        super().__init__(nics)
        self.namespace = f"ringlet-{os.getpid()}"

    def check(self):
        check_root("tap", "makes a network namespace")
        if not os.path.exists("/dev/net/tun"):
            raise Failure(EXIT_USAGE, "--net tap needs /dev/net/tun: modprobe tun")

    def netdev(self, i):
        return tap_netdev(i, f"rl{i}")

    def words(self):
        return {"ip": ",".join(f"10.77.{i}.2/24" for i in range(self.nics)),
                "ip6": ",".join(f"fd77:{i}::2/64" for i in range(self.nics))}

    def command(self, *words):
        # Not by `ip netns exec`, which remounts /sys and therefore fails where / is no mount point, as
        # in a plain chroot.
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *words]

    def _make(self):
        run_checked(["ip", "netns", "add", self.namespace])
        self._ip("link", "set", "lo", "up")
        for i in range(self.nics):
            tap = f"rl{i}"
            self._ip("tuntap", "add", "dev", tap, "mode", "tap", "vnet_hdr")
            self._ip("addr", "add", f"10.77.{i}.1/24", "dev", tap)
            if os.path.exists("/proc/net/if_inet6"):
                # Usable at once: nobody else can have the address on this link.
                self._ip("addr", "add", f"fd77:{i}::1/64", "dev", tap, "nodad")
            self._ip("link", "set", tap, "up")

    def _ip(self, *words):
        run_checked(self.command("ip", *words))

    def _remove(self):
        subprocess.run(["ip", "netns", "del", self.namespace], stderr=subprocess.DEVNULL,
                       check=False)


# ---- Networks that are there, with other stations on them ----

class SharedNet(Network):
    """QEMU would give the first NIC of each guest the same MAC address."""

    def __init__(self, nics):
        super().__init__(nics)
        self._macs = ["52:54:00:" + os.urandom(3).hex(":") for _ in range(nics)]

    def device_options(self, i):
        return f",mac={self._macs[i]}"


class HostTap(SharedNet):
    def __init__(self, name, nics):
        super().__init__(nics)
        check_one_nic("tap:NAME", nics)
        self._name = name

    def check(self):
        check_interface("tap", self._name)

    def netdev(self, i):
        return tap_netdev(i, self._name)


class BridgePorts(SharedNet):
    """Not by QEMU's bridge helper, which wants a configuration file even for root."""

    def __init__(self, name, nics):
        super().__init__(nics)
        self._bridge = name
        self._taps = [f"rl{os.getpid()}n{i}" for i in range(nics)]
        self._made = []

    def _make(self):
        for tap in self._taps:
            run_checked(["ip", "tuntap", "add", "dev", tap, "mode", "tap", "vnet_hdr"])
            self._made.append(tap)
            run_checked(["ip", "link", "set", tap, "master", self._bridge, "up"])

    def check(self):
        check_root("bridge:NAME", "makes a tap")
        check_interface("bridge", self._bridge)
        found = subprocess.run(["ip", "-o", "link", "show", "dev", self._bridge, "type", "bridge"],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        if not found.stdout:
            raise Failure(EXIT_USAGE, f"--net bridge:{self._bridge}: it is no bridge")

    def netdev(self, i):
        return tap_netdev(i, self._taps[i])

    def _remove(self):
        for tap in self._made:
            subprocess.run(["ip", "link", "del", tap], stderr=subprocess.DEVNULL, check=False)


class VhostUser(SharedNet):
    def __init__(self, path, nics):
        super().__init__(nics)
        check_one_nic("vhost-user:SOCKET", nics)
        self._path = path.removesuffix(",server")
        self._listens = self._path != path

    def check(self):
        if not self._listens and not os.path.exists(self._path):
            raise Failure(EXIT_USAGE, f"--net vhost-user:{self._path}: no such socket; if the switch "
                                      "is the one that connects, write ,server behind the path")

    def netdev(self, i):
        return f"vhost-user,id=n{i},chardev=vhost{i}"

    def options(self, memory):
        # The switch maps the guest's memory.
        role = "server=on" if self._listens else "server=off"
        return ["-chardev", f"socket,id=vhost0,path={qemu_text(self._path)},{role}",
                "-object", f"memory-backend-memfd,id=shared,size={memory},share=on",
                "-machine", "memory-backend=shared"]


SHARED = {"tap": HostTap, "bridge": BridgePorts, "vhost-user": VhostUser}


# ---- Parts ----

@contextlib.contextmanager
def entered(namespace):
    """The calling thread, and what it starts, is in the network namespace; None: it stays."""
    if namespace is None:
        yield
        return
    with open("/proc/thread-self/ns/net", "rb") as before, \
            open(f"/run/netns/{namespace}", "rb") as inside:
        set_namespace(inside)
        try:
            yield
        finally:
            set_namespace(before)


def set_namespace(file):
    libc = ctypes.CDLL(None, use_errno=True)  # Python has os.setns() from 3.12 on
    if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
        raise Failure(EXIT_USAGE, f"{file.name}: {os.strerror(ctypes.get_errno())}")


def tap_netdev(i, name):
    return f"tap,id=n{i},ifname={name},script=no,downscript=no"


def qemu_text(text):
    """As a value among QEMU's options, where a comma ends it."""
    return text.replace(",", ",,")


def check_one_nic(net, nics):
    if nics != 1:
        raise Failure(EXIT_USAGE, f"--net {net} is for one NIC; --nics {nics} is too many")


def check_interface(kind, name):
    # Not by /sys, which shows the network namespace in which it was mounted.
    try:
        socket.if_nametoindex(name)
    except OSError:
        raise Failure(EXIT_USAGE, f"--net {kind}:{name}: no such network device") from None


def check_root(net, why):
    if os.geteuid() != 0:
        raise Failure(EXIT_USAGE, f"--net {net} {why}, which needs root: use sudo, or --net user")
    if shutil.which("ip") is None:
        raise Failure(EXIT_USAGE, f"--net {net} needs the program ip (iproute2): make deps")


def run_checked(command):
    result = subprocess.run(command, stdin=subprocess.DEVNULL, text=True, stderr=subprocess.PIPE,
                            check=False)
    if result.returncode != 0:
        raise Failure(EXIT_USAGE, f"{shlex.join(command)}: {result.stderr.strip()}")
