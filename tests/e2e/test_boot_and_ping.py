"""tools/boot-and-ping: that it passes on each network, and finds each fault."""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from xml.etree import ElementTree

import vhost
from case import EITHER, case
from guest import IMAGE, wait_until
from tool import environment, run_tool, tool

NAMES = ["boot", "ping", "tcp_echo", "udp_echo", "http", "exit"]


class Result:
    """A finished run: exit status, and outcome and message of each check as the XML has them."""

    def __init__(self, t, *words, limit=50, image=IMAGE, **options):
        folder = t.stack.enter_context(tempfile.TemporaryDirectory(prefix="ringlet-e2e-"))
        self.path = os.path.join(folder, "junit.xml")
        self.done = run_tool("boot-and-ping", "--image", image, "--junit", self.path, *words,
                             limit=limit, **options)
        self.status = self.done.returncode
        self.outcomes, self.messages, self.consoles = {}, {}, {}
        assert "Traceback" not in self.done.stderr, self.done.stderr[-500:]
        if os.path.exists(self.path):
            self._read()

    def _read(self):
        suite = ElementTree.parse(self.path).getroot().find("testsuite")
        for each in suite.iter("testcase"):
            name = each.get("name")
            marks = [child for child in each if child.tag != "system-out"]
            assert len(marks) <= 1 and float(each.get("time")) >= 0, ElementTree.tostring(each)
            self.outcomes[name] = marks[0].tag if marks else "passed"
            self.messages[name] = marks[0].get("message") if marks else ""
            self.consoles[name] = each.findtext("system-out")
        counted = list(self.outcomes.values())
        for attribute, outcome in (("failures", "failure"), ("errors", "error"),
                                   ("skipped", "skipped")):
            assert int(suite.get(attribute)) == counted.count(outcome), suite.attrib
        assert int(suite.get("tests")) == len(counted) and list(self.outcomes) == NAMES

    def check_passed(self, ping="passed"):
        assert self.status == 0, (self.done.stdout, self.done.stderr)
        assert self.outcomes == dict.fromkeys(NAMES, "passed") | {"ping": ping}, self.outcomes
        assert '"event":"ready"' in self.consoles["boot"], self.consoles
        assert '"event":"exit"' in self.consoles["exit"], self.consoles

    def check_boot_failed(self, outcome, message):
        assert self.outcomes["boot"] == outcome and message in self.messages["boot"], \
            (self.outcomes, self.messages, self.done)
        assert set(list(self.outcomes.values())[1:]) == {"skipped"}, self.outcomes


@case(accel=EITHER, machine=["q35", "pc"])
def user(t, machine):
    result = Result(t, "--accel", t.accel, "--machine", machine)
    result.check_passed(ping="skipped")
    assert "ICMP" in result.messages["ping"], result.messages


@case(accel=EITHER, mode=["poll", "irq"])
def tap(t, mode):
    t.need_namespace()
    Result(t, "--accel", t.accel, "--net", "tap", "--mode", mode).check_passed()


@case()
def ends_by_itself(t):
    """With seconds= the power button is left alone."""
    result = Result(t, "--args", "seconds=3")
    result.check_passed(ping="skipped")
    assert "seconds=" in result.consoles["exit"], result.consoles["exit"][:200]


@case(accel=EITHER, how=["bridge", "tap"])
def existing(t, how):
    """A bridge and a tap that somebody else has made; they are there afterwards, and nothing more is."""
    ns = t.namespace()
    if how == "bridge":
        for words in ("add br0 type bridge", "set br0 up"):
            assert ns.run("ip", "link", *words.split()).returncode == 0
        ns.run("ip", "addr", "add", "192.0.2.1/24", "dev", "br0")
        net, address = "bridge:br0", "192.0.2.9/24"
    else:
        device = ns.add_tap()
        net, address = f"tap:{device.name}", f"{device.guest}/24"
    before = ns.run("ip", "-brief", "link").stdout.split("\n")
    Result(t, "--accel", t.accel, "--net", net, "--ip", address,
           within=ns.command()).check_passed()
    after = ns.run("ip", "-brief", "link").stdout.split("\n")
    assert [line.split()[:1] for line in before] == [line.split()[:1] for line in after], after


@case(accel=EITHER, limit=90, spins=True, role=["", ",server"])
def vhost_user(t, role):
    """Through a back end outside QEMU, from the namespace behind it, whichever of the two listens."""
    t.need_program(vhost.TESTPMD)
    ns = t.namespace()
    device = ns.add_tap(1500, "multi_queue")
    folder = t.stack.enter_context(tempfile.TemporaryDirectory(prefix="ringlet-e2e-"))
    path = os.path.join(folder, "socket")
    testpmd = vhost.Testpmd(ns, vhost.vhost_port(0, path, listens=not role), vhost.tap_port(device))
    t.stack.callback(testpmd.close)
    testpmd.wait_forwarding()
    if not role:
        wait_until(lambda: os.path.exists(path), 5, "testpmd's socket")
    Result(t, "--accel", t.accel, "--net", f"vhost-user:{path}{role}", "--ip", f"{device.guest}/24",
           "--peer", ns.name).check_passed()


@case()
def refused_words(t):
    """A command line that the guest does not understand: it says why, and so does the report."""
    result = Result(t, "--args", "colour=blue")
    assert result.status == 1
    result.check_boot_failed("failure", "status 2: error: config: colour: unknown key")
    assert '"event":"exit"' in result.consoles["boot"]


@case()
def panic(t):
    result = Result(t, "--args", "app=crash-test kind=divide")
    assert result.status == 1
    result.check_boot_failed("failure", "divide")


@case()
def never_ready(t):
    """A processor that does not run."""
    result = Result(t, "--timeout", "2", "--", "-S")
    assert result.status == 1
    result.check_boot_failed("failure", "not ready within 2 s")


@case()
def qemu_fails(t):
    result = Result(t, "--", "-nonsense")
    assert result.status == 125
    result.check_boot_failed("error", "-nonsense")


@case()
def no_address(t):
    """Nobody on the network gives addresses."""
    ns = t.namespace()
    device = ns.add_tap()
    result = Result(t, "--net", f"tap:{device.name}", within=ns.command())
    assert result.status == 1
    result.check_boot_failed("failure", "no IPv4 address")


@case(accel=None, how=["TERM", "INT"])
def interrupted(t, how):
    """Ended from outside it takes QEMU and its namespace along."""
    t.need_namespace()
    process = subprocess.Popen([tool("boot-and-ping"), "--image", IMAGE, "--net", "tap", "--", "-S"],
                               env=environment(), stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    t.stack.callback(process.wait)
    t.stack.callback(process.terminate)
    children = f"/proc/{process.pid}/task/{process.pid}/children"

    def qemu():
        """Its process, once it is QEMU and no longer what starts it in the namespace."""
        with open(children, encoding="ascii") as f:
            for pid in f.read().split():
                with open(f"/proc/{pid}/cmdline", "rb") as command:
                    if command.read().startswith(b"qemu-system"):
                        return pid
        return None

    pid = wait_until(qemu, 10, "QEMU")
    assert os.path.exists(f"/run/netns/ringlet-{process.pid}")
    process.send_signal(getattr(signal, "SIG" + how))
    assert process.wait(10) == 128 + getattr(signal, "SIG" + how)
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), 5, "QEMU ends")
    assert not os.path.exists(f"/run/netns/ringlet-{process.pid}"), "the namespace is still there"


@case()
def other_workload(t):
    """A guest that answers pings and nothing else: each check tells for itself."""
    t.need_namespace()
    result = Result(t, "--net", "tap", "--args", "app=sink")
    wanted = dict.fromkeys(NAMES, "failure") | {"boot": "passed", "ping": "passed", "exit": "passed"}
    assert result.status == 1 and result.outcomes == wanted, (result.outcomes, result.messages)


FAULTS = {  # of fake_qemu.py: the check that finds it, its outcome, and words of its message
    "tcp-wrong": ("tcp_echo", "failure", "difference is at 65535"),
    "tcp-short": ("tcp_echo", "failure", "65535 bytes came back of 65536"),
    "tcp-long": ("tcp_echo", "failure", "65537 bytes came back of 65536"),
    "udp-wrong": ("udp_echo", "failure", "difference is at 0"),
    "udp-short": ("udp_echo", "failure", "0 bytes came back of 1"),
    "udp-long": ("udp_echo", "failure", "2 bytes came back of 1"),
    "udp-silent": ("udp_echo", "failure", "no answer to 3 datagrams of 1 bytes"),
    "http-error": ("http", "failure", "GET /: status 500"),
    "http-other": ("http", "failure", "not Ringlet's"),
    "http-text": ("http", "failure", "JSONDecodeError"),
    "http-empty": ("http", "failure", "IndexError"),
    "refuses": ("exit", "failure", "refuses system_powerdown"),
    "deaf": ("exit", "failure", "runs on 10 s after the power button"),
    "exit-1": ("exit", "failure", "status 1"),
    "exit-1-silent": ("exit", "failure", "without its exit line"),
    "silent": ("exit", "error", "QEMU failed"),
    "killed": ("exit", "error", "QEMU failed"),
    "no-boot-time": ("boot", "failure", "KeyError"),
    "none": (None, None, None), "udp-lossy": (None, None, None), "controls": (None, None, None),
}


@case(accel=None, fault=list(FAULTS))
def faults(t, fault):
    """Each fault is found by the check for it, and by no other."""
    folder = t.stack.enter_context(tempfile.TemporaryDirectory(prefix="ringlet-e2e-"))
    fake = os.path.join(folder, "qemu-system-x86_64")
    shutil.copy(os.path.join(os.path.dirname(__file__), "fake_qemu.py"), fake)
    with open(fake, encoding="utf-8") as f:
        text = f.read()
    with open(fake, "w", encoding="utf-8") as f:
        f.write(f"#!{sys.executable}\n{text}")
    os.chmod(fake, 0o755)
    result = Result(t, "--accel", "tcg", "--args", f"fault={fault}",
                    PATH=f"{folder}:{os.environ['PATH']}")
    check, outcome, message = FAULTS[fault]
    wanted = dict.fromkeys(NAMES, "passed") | {"ping": "skipped"}
    if check == "boot":
        result.check_boot_failed(outcome, message)
    else:
        assert result.outcomes == wanted | ({check: outcome} if check else {}), \
            (result.outcomes, result.messages)
    assert check is None or message in result.messages[check], result.messages
    assert result.status == {None: 0, "failure": 1, "error": 125}[outcome], result.status


@case(accel=None)
def help_text(t):
    done = run_tool("boot-and-ping", "--help")
    assert done.returncode == 0 and not done.stderr
    for word in ("--image", "--net", "--ip", "--gw", "--peer", "--timeout", "--junit", "--accel", "--args",
                 "exit status", "vhost-user:SOCKET"):
        assert word in done.stdout, word


@case(accel=None)
def mistakes(t):
    """Nothing is started, and no report is written."""
    for words, named in ((["--image", "/nonexistent/kernel"], "/nonexistent/kernel"),
                         (["--net", "none"], "--net none"), (["--net", "wifi"], "--net wifi"),
                         (["--net", "tap:none0"], "tap:none0"),
                         (["--timeout", "soon"], "--timeout soon"),
                         (["--timeout", "0"], "--timeout 0"),
                         (["--junit", "/nonexistent/a.xml"], "/nonexistent/a.xml"),
                         (["--peer", "none0"], "--peer none0"),
                         (["--net", "tap:lo", "--peer", "none0"], "--peer none0"),
                         (["--nics", "2"], "--nics"), (["word"], "word")):
        result = Result(t, *words)
        assert result.status == 2 and named in result.done.stderr, (words, result.done)
        assert not result.outcomes and not os.path.exists(result.path), words
