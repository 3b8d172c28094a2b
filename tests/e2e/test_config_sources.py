"""Where the configuration comes from: fw_cfg files, SMBIOS OEM strings, the command line; which one wins."""
import os
import tempfile

from case import EITHER, case
from networks import UserNet
from test_config import expect_refusal

LONGEST = 4095  # bytes of a text
NO_DMA = ["-global", "fw_cfg.dma_enabled=off"]


def fw_cfg(name, text):
    """Commas are doubled, as QEMU wants them."""
    return ["-fw_cfg", f"name=opt/ringlet/{name},string={text.replace(',', ',,')}"]


def fw_cfg_file(t, name, content):
    path = os.path.join(t.stack.enter_context(tempfile.TemporaryDirectory()), "text")
    with open(path, "wb") as f:
        f.write(content)
    return ["-fw_cfg", f"name=opt/ringlet/{name},file={path}"]


def oem(*strings):
    return ["-smbios", "type=11" + "".join(f",value={s.replace(',', ',,')}" for s in strings)]


def addresses(t, extra, words="", **options):
    """The IPv4 address that the guest has, which tells the source of ip=."""
    guest = t.guest(words, [(UserNet(), None)], extra=extra, **options)
    return guest.wait_ready()["ip"]


# ---- Each source on each machine ----

@case(accel=EITHER, machine=["pc", "q35", "microvm"], firmware=["seabios", "qboot"],
      name=["config", "cmdline"])
def file(t, machine, firmware, name):
    extra = fw_cfg(name, "ip=10.0.2.40/24 ip6=off")
    assert addresses(t, extra, machine=machine, firmware=firmware) == "10.0.2.40"


@case(accel=EITHER, machine=["pc", "q35"], firmware=["seabios", "qboot"])
def smbios(t, machine, firmware):
    extra = oem("ringlet:ip=10.0.2.41/24", "ringlet of another", "ringlet:ip6=off features=-csum,-mtu")
    guest = t.guest(nics=[(UserNet(), None)], extra=extra, machine=machine, firmware=firmware)
    assert guest.wait_ready()["ip"] == "10.0.2.41"
    assert "csum" not in guest.wait_event("device")["features"]


@case(accel=EITHER, machine=["pc", "q35"], firmware=["seabios", "qboot"])
def smbios_of_firmware(t, machine, firmware):
    """A hypervisor without fw_cfg's DMA: its files are not seen, firmware's copy of SMBIOS is."""
    extra = NO_DMA + oem("ringlet:ip=10.0.2.42/24") + fw_cfg("cmdline", "ip=10.0.2.43/24")
    assert addresses(t, extra, machine=machine, firmware=firmware) == "10.0.2.42"


@case(accel=EITHER, firmware=["seabios", "qboot"])
def microvm_without_smbios(t, firmware):
    """This machine shows none; docs/manual.md says so. Its other sources are not disturbed."""
    extra = oem("ringlet:ip=10.0.2.41/24") + fw_cfg("config", "ip=10.0.2.40/24")
    assert addresses(t, extra, machine="microvm", firmware=firmware) == "10.0.2.40"


@case()
def long_smbios_table(t):
    """Ours is the last of many strings."""
    extra = []
    for i in range(40):
        extra += oem(f"string {i} " + 900 * "x")
    extra += oem("ringlet:ip=10.0.2.41/24")
    assert addresses(t, extra) == "10.0.2.41"


# ---- Precedence ----

SOURCES = {  # the weakest first
    "smbios": ("10.0.2.41", lambda text: oem("ringlet:" + text)),
    "config": ("10.0.2.40", lambda text: fw_cfg("config", text)),
    "cmdline": ("10.0.2.43", lambda text: fw_cfg("cmdline", text)),
    "append": ("10.0.2.44", None),
}


@case(strongest=list(SOURCES), order=["forward", "backward"])
def precedence(t, strongest, order):
    """A later source wins for a key, however QEMU was told; other keys of earlier ones stay."""
    names = list(SOURCES)[:list(SOURCES).index(strongest) + 1]
    extra, words = [], ""
    for name in names if order == "forward" else names[::-1]:
        address, option = SOURCES[name]
        if option is None:
            words = f"ip={address}/24"
        else:
            mode = " mode=irq" if name == "smbios" else ""  # nobody else has this key
            extra += option(f"ip={address}/24{mode}")
    guest = t.guest(words, [(UserNet(), None)], extra=extra)
    assert guest.wait_ready()["ip"] == SOURCES[strongest][0]
    assert guest.wait_event("device")["mode"] == "irq"


@case()
def workload_of_a_later_source(t):
    """app= of the strongest source decides which keys there are, in all of them."""
    extra = fw_cfg("config", "app=ping dst=10.0.2.2 count=2") + fw_cfg("cmdline", "seconds=1")
    guest = t.guest("app=echo", [(UserNet(), None)], extra=extra)
    expect_refusal(guest, "config: opt/ringlet/config: dst: not a key of app=echo")
    guest = t.guest("ip=10.0.2.15/24", [(UserNet(), None)],
                    extra=fw_cfg("cmdline", "app=ping dst=10.0.2.2 count=2"))
    assert guest.wait_event("result")["app"] == "ping" and guest.wait_exit() == 0


# ---- Texts ----

@case(accel=EITHER, lines_end=["LF", "CRLF"])
def comments_and_lines(t, lines_end):
    ending = {"LF": "\n", "CRLF": "\r\n"}[lines_end]
    lines = ["# the guest of the test bench", "ip=10.0.2.45/24", "", "\t ip6=off   # no IPv6: a=b",
             "#mode=irq", "stats=0"]
    extra = fw_cfg_file(t, "config", ending.join(lines).encode() + ending.encode())
    guest = t.guest(nics=[(UserNet(), None)], extra=extra)
    ready = guest.wait_ready()
    assert ready["ip"] == "10.0.2.45" and ready["ip6"] is None, ready
    assert guest.wait_event("device")["mode"] == "poll"


@case(name=["config", "cmdline"], length=[LONGEST, LONGEST + 1, 100_000])
def length(t, name, length):
    text = b"ip=10.0.2.46/24 #".ljust(length, b"x")
    guest = t.guest(nics=[(UserNet(), None)], extra=fw_cfg_file(t, name, text))
    if length <= LONGEST:
        assert guest.wait_ready()["ip"] == "10.0.2.46"
    else:
        expect_refusal(guest, f"config: opt/ringlet/{name}: longer than {LONGEST} bytes")


@case()
def empty_file(t):
    assert addresses(t, fw_cfg_file(t, "config", b"")).startswith("10.0.2.15")


@case(text=["zero", "zero at the end"])
def no_text(t, text):
    content = {"zero": b"stats=0\0ip6=off", "zero at the end": b"stats=0\0"}[text]
    guest = t.guest(nics=[(UserNet(), None)], extra=fw_cfg_file(t, "config", content))
    expect_refusal(guest, "config: opt/ringlet/config: no text, byte 7 is a zero")


@case()
def long_words(t):
    extra = []
    for _ in range(5):
        extra += oem("ringlet:#" + 900 * "x")
    guest = t.guest(nics=[(UserNet(), None)], extra=extra)
    expect_refusal(guest, "config: SMBIOS: the strings for Ringlet are longer than", str(LONGEST))


# ---- Errors name their source ----

WRONG = {
    "smbios": (oem("ringlet:wrong=1"), "config: SMBIOS: wrong: unknown key"),
    "config": (fw_cfg("config", "stats=0 wrong=1"), "config: opt/ringlet/config: wrong: unknown key"),
    "cmdline": (fw_cfg("cmdline", "queue=0"), "config: opt/ringlet/cmdline: queue=0: must be"),
    "append": ([], "error: config: wrong: unknown key"),
    "twice": (oem("ringlet:stats=1", "ringlet:stats=2"), "config: SMBIOS: stats: given twice"),
    "word": (fw_cfg("config", "verbose"), "config: opt/ringlet/config: verbose: not of the form"),
}


@case(accel=EITHER, source=list(WRONG))
def errors(t, source):
    extra, sentence = WRONG[source]
    words = "wrong=1" if source == "append" else "stats=0"
    expect_refusal(t.guest(words, [(UserNet(), None)], extra=extra), sentence)


@case()
def damaged_smbios(t):
    """A structure that is shorter than its own header: a line on the console, and the guest works."""
    path = os.path.join(t.stack.enter_context(tempfile.TemporaryDirectory()), "structure")
    with open(path, "wb") as f:
        f.write(bytes((200, 2, 0, 0)) + bytes(8))
    extra = ["-smbios", f"file={path}"] + oem("ringlet:ip=10.0.2.41/24")
    guest = t.guest(nics=[(UserNet(), None)], extra=extra)
    assert guest.wait_ready()["ip"].startswith("10.0.2.15")
    guest.wait_line("^smbios: table is damaged")
