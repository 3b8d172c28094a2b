"""Open vSwitch with DPDK in a namespace: its own database, sockets and processes, nothing of the
machine's. It needs no hugepages: its memory is ordinary, that of the guests is shared by them."""
import os
import re
import shutil
import subprocess
import tempfile

import guest as g
import networks
from case import Skip
from vhost import CONNECTS, LISTENS, VhostUser

SWITCH = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
BRIDGE = "br0"
START_LIMIT = 20  # seconds
# Without --legacy-mem Open vSwitch adds --in-memory, which contradicts --no-huge.
DPDK_OPTIONS = "--no-pci --no-huge --legacy-mem -m 384 --no-shconf --no-telemetry"


class OpenVSwitch:
    """A bridge in userspace. Its local port is a tap of the namespace with the host's address."""

    def __init__(self, t):
        t.need_namespace()
        t.need_program("ovs-vsctl")
        t.need_program(SWITCH)
        if not os.path.exists(SCHEMA):
            raise Skip(f"{SCHEMA} is missing")
        self.folder = tempfile.mkdtemp(prefix="ringlet-ovs-")
        t.stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        os.mkdir(self._path("ports"))
        self._environment = {"PATH": os.environ["PATH"], "OVS_RUNDIR": self.folder,
                             "OVS_LOGDIR": self.folder, "OVS_DBDIR": self.folder}
        self.ns = t.namespace()
        self.local = networks.Tap(BRIDGE, 0)
        self._ports = 0
        self._database = self._switch = None
        t.stack.callback(self.close)
        t.details.append(self.tail)
        self._start_database()
        self.start()
        self.control("add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=netdev")
        self._set_address()

    def close(self):
        """The switch removes its taps when it is asked to end; the namespace takes what is left."""
        if self._switch is not None and self._switch.poll() is None:
            self._run("ovs-appctl", "-T", "5", "-t", self._path("switch.ctl"), "exit", "--cleanup",
                      check=False)
        for process in (self._switch, self._database):
            if process is not None:
                end(process)

    # ---- Processes ----

    def _path(self, name):
        return os.path.join(self.folder, name)

    def _run(self, *command, check=True):
        done = subprocess.run(self.ns.command(*command), env=self._environment, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=START_LIMIT + 10, check=False)
        if check and done.returncode != 0:
            raise g.GuestError(f"{' '.join(command)[:200]}: {done.stdout.strip()[-300:]}")
        return done.stdout

    def _spawn(self, name, *command):
        # In the foreground, and with an end to it should these tests die.
        command = ["setpriv", "--pdeathsig", "KILL", *command, "--no-chdir", "-vconsole:off",
                   f"--pidfile={self._path(name)}.pid", f"--log-file={self._path(name)}.log",
                   f"--unixctl={self._path(name)}.ctl"]
        return subprocess.Popen(self.ns.command(*command), env=self._environment,
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)

    def _start_database(self):
        self._run("ovsdb-tool", "create", self._path("db"), SCHEMA)
        self._database = self._spawn("database", "ovsdb-server", self._path("db"),
                                     f"--remote=punix:{self._path('db.sock')}")
        g.wait_until(lambda: os.path.exists(self._path("db.sock")), START_LIMIT, "ovsdb-server")
        self.control("--no-wait", "init")
        processors = os.sched_getaffinity(0)
        settings = {"dpdk-init": "true", "dpdk-extra": DPDK_OPTIONS, "vhost-sock-dir": "ports",
                    "per-port-memory": "true",  # a tenth of the one pool for any number of ports
                    "dpdk-lcore-mask": f"{1 << min(processors):#x}",
                    "pmd-cpu-mask": f"{1 << max(processors):#x}"}  # the thread that polls
        self.control("--no-wait", "set", "Open_vSwitch", ".",
                     *(f'other_config:{key}="{value}"' for key, value in settings.items()))

    def start(self):
        """The switch, as the database describes it."""
        self._switch = self._spawn("switch", SWITCH, f"unix:{self._path('db.sock')}")
        g.wait_until(lambda: self._switch.poll() is not None or
                     self.control("get", "Open_vSwitch", ".", "dpdk_initialized") == "true",
                     START_LIMIT, "Open vSwitch")
        if self._switch.poll() is not None:
            raise g.GuestError("Open vSwitch ended at its start")

    def crash(self):
        self._switch.kill()
        self._switch.wait()

    # ---- What is asked of it ----

    def control(self, *words):
        return self._run("ovs-vsctl", f"--timeout={START_LIMIT}",
                         f"--db=unix:{self._path('db.sock')}", *words).strip()

    def _set_address(self):
        """Of the local port. It stays there when the switch crashes, and the next one takes it over."""
        for words in (("link", "set", BRIDGE, "addrgenmode", "none"),
                      ("addr", "add", f"{self.local.host}/24", "dev", BRIDGE),
                      ("link", "set", BRIDGE, "up")):
            self._run("ip", *words)

    def add_port(self, kind):
        """A port of type dpdkvhostuser (the switch listens) or dpdkvhostuserclient (QEMU does)."""
        name = f"port{self._ports}"
        self._ports += 1
        path = os.path.join(self._path("ports"), name)
        words = ["add-port", BRIDGE, name, "--", "set", "Interface", name, f"type={kind}"]
        if kind == "dpdkvhostuserclient":
            words.append(f"options:vhost-server-path={path}")
        self.control(*words)
        network = VhostUser(path, LISTENS if kind == "dpdkvhostuserclient" else CONNECTS)
        network.port = name
        return network

    def counters(self, port):
        """Frames that the switch received at that port, and sent there, at this moment."""
        text = self._run("ovs-appctl", "-T", "5", "-t", self._path("switch.ctl"), "dpctl/show", "-s")
        match = re.search(rf"port \d+: {port} .*?RX packets:(\d+).*?TX packets:(\d+)", text, re.S)
        if match is None:
            raise g.GuestError(f"Open vSwitch: no counters of {port} in {text[-300:]}")
        return {"rx": int(match[1]), "tx": int(match[2])}

    def lead(self, source, target):
        """Frames from one port go to the other one from now on, and are counted."""
        self._run("ovs-ofctl", "add-flow", f"unix:{self._path(BRIDGE)}.mgmt",
                  f"in_port={source},actions=output:{target}")

    def led(self, source):
        """How many did, so far as the switch has added them up. Counters of a port end with its guest,
        these do not."""
        text = self._run("ovs-ofctl", "--names", "dump-flows", f"unix:{self._path(BRIDGE)}.mgmt",
                         f"in_port={source}")
        return int(re.search(r"n_packets=(\d+)", text)[1])

    def tail(self):
        """For a report."""
        try:
            with open(self._path("switch.log"), encoding="utf-8", errors="replace") as log:
                return [f"> {line.strip()[:g.TAIL_WIDTH]}" for line in log
                        if re.search(r"\|(WARN|ERR|EMER)\|", line)][-8:]
        except OSError:
            return []


def end(process):
    """By its own id, first politely."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
