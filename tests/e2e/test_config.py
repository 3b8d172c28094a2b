"""Command lines that cannot be followed: one clear line, status 2, and never a hang."""
from case import case
from networks import UserNet

# Words, and what the line has to name.
BAD = {
    "colour=blue": "colour: unknown key",
    "verbose": "verbose",
    "app=nonsense": "app=nonsense",
    "app=gen": "dst_mac=",
    "app=": "app=",
    "ring=packed": "ring=packed",
    "ring=round": "ring=round",
    "mode=sometimes": "mode=sometimes",
    "intx=1": "intx=1",
    "idle_pause=sometimes": "idle_pause=sometimes",
    "idle_pause=spin mode=irq": "idle_pause=spin",
    "yield_us=0": "yield_us=0",
    "app=sink trace=latency": "trace",
    "pci=on": "pci=on",
    "virtio_mmio.device=": "virtio_mmio.device=",
    "app=ping": "dst=",
    "dst=10.0.0.1": "dst",
    "app=ping dst=10.0.0": "dst=10.0.0:",
    "app=ping dst=peer": "dst=peer",
    "app=ping dst=224.0.0.1": "dst=224.0.0.1",
    "app=ping dst=fd77:::1": "dst=fd77:::1",
    "app=ping dst=ff02::1": "dst=ff02::1",
    "app=ping dst=::": "dst=::",
    "app=ping dst=fd77::1 ip6=off": "IPv6",
    "app=ping dst=10.0.2.2 ip=off": "IPv4",
    "app=ping dst=10.0.2.2 proto=sctp": "proto=sctp",
    "app=ping dst=10.0.2.2 proto=tcp size=0": "size=0",
    "app=ping dst=10.0.2.2 size=65001": "size=65001",
    "app=ping dst=10.0.2.2 port=0": "port=0",
    "app=ping dst=10.0.2.2 timeout_ms=0": "timeout_ms=0",
    "seconds=soon": "seconds=soon",
    "seconds=-1": "seconds=-1",
    "stats=99999999999999999999": "stats=",
    "queue=3": "queue=3",
    "queue=0": "queue=0",
    "queue=70000": "queue=70000",
    "queue=512": "256",
    "ip=1.2.3": "ip=1.2.3",
    "ip=10.0.0.1/33": "ip=10.0.0.1/33",
    "ip=10.0.0.1": "ip=10.0.0.1",
    "ip=10.0.0.256/24": "ip=10.0.0.256/24",
    "ip=10.0.0.1/24,10.0.1.1/24": "ip=",
    "ip=10.0.0.2/24 gw=192.168.7.1": "gw=192.168.7.1",
    "ip=10.0.0.2/24 gw=nowhere": "gw=nowhere",
    "gw=10.0.2.2": "gw=",
    "ip6=fd77::2": "ip6=fd77::2",
    "ip6=fd77:::2/64": "ip6=fd77:::2/64",
    "ip6=fd77::2/129": "ip6=fd77::2/129",
    "features=-nonsense": "nonsense",
    "features=mrg_rxbuf": "mrg_rxbuf",
    "features=-version_1": "version_1",
    "ip=dhcp ip=off": "ip: given twice",
    "kind=null-write": "kind",
    "app=crash-test": "kind=",
    "app=crash-test kind=nonsense": "kind=nonsense",
    "x" * 300: "too long",
    "stats=0 " * 600: "command line",
}


@case(words=BAD)
def bad(t, words):
    guest = t.guest(words, [(UserNet(), None)])
    expect_refusal(guest, BAD[words])


def expect_refusal(guest, *named, lines=1):
    """The guest ends with status 2 after so many error lines; the first has those words in it."""
    status = guest.wait_exit(limit=15)
    errors = [line for line in guest.lines if line.startswith("error:")]
    assert status == 2 and len(errors) == lines, f"status {status}, errors {errors}"
    missing = [word for word in named if word not in errors[0]]
    assert not missing, f"no {missing} in {errors[0]!r}"
    assert guest.events_of("exit") and guest.events[-1]["event"] == "exit", guest.events[-1:]
    assert guest.events[-1]["status"] == 2
    assert not guest.events_of("panic") and not guest.events_of("ready")


@case(machine=["pc", "q35", "microvm"])
def no_device(t, machine):
    expect_refusal(t.guest(machine=machine), "virtio-net")


@case()
def other_device(t):
    """A virtio device that is no network device is not taken for one."""
    expect_refusal(t.guest(extra=["-device", "virtio-balloon-pci"]), "virtio-net")


@case(machine=["pc", "q35"])
def legacy_device(t, machine):
    guest = t.guest(nics=[(UserNet(), "disable-modern=on,disable-legacy=off")], machine=machine)
    expect_refusal(guest, "legacy", lines=2)  # what is wrong with this one; that there is no other
