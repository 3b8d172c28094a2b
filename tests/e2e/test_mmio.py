"""Devices without PCI: QEMU's microvm with virtio-mmio, found by the ACPI tables or by words that QEMU
appends to the command line."""
from case import EACH, EITHER, MODES, case
from debugger import Debugger
from frames import mac_bytes, ethernet
from networks import UserNet
from test_config import expect_refusal
from test_fwd import Lab
from test_modes import check_link, check_traffic, ping_in_turn, result_of
from test_recovery import RX, Ring, Stream, bad_id, check_recovery, check_reset, packed_next
from test_recovery import packed_used, quiet_guest, split_next, split_used, take_room
from test_state import queues
from traffic import pattern, udp_answers

MACHINES = ["microvm-mmio", "microvm-words"]
LAYOUTS = ["packed=off", "packed=on", "packed=off,event_idx=off", "packed=on,event_idx=off"]


def no_devices_on_pci(guest, count=1):
    """The device events, in the order of addresses."""
    events = [guest.wait_event("device", count=i + 1) for i in range(count)]
    addresses = [int(event["mmio"], 16) for event in events]
    assert addresses == sorted(set(addresses)), events
    assert not any("pci" in event for event in events), events
    return events


@case(accel=EACH, machine=MACHINES)
def boot(t, machine):
    """As the matrix of test_boot: an address from QEMU's DHCP server, and answers."""
    guest = t.user_guest(machine=machine)
    assert guest.wait_event("boot")["machine"] == "microvm"
    no_devices_on_pci(guest)
    assert guest.wait_event("device")["irq"] == "none"
    assert guest.wait_ready()["ip"].startswith("10.0.2.15")
    udp_answers(guest)


@case(accel=EITHER, machine=MACHINES)
def seabios(t, machine):
    udp_answers(t.user_guest(machine=machine, firmware="seabios"))


@case(accel=EITHER, machine=MACHINES, mode=["poll", "irq", "adaptive"], nic=LAYOUTS)
def traffic(t, machine, mode, nic):
    """Ping and echo, single and in streams, with an interrupt line or without any interrupt."""
    guest = t.tap_guest(f"mode={mode} stats=1", nic, machine=machine)
    device = no_devices_on_pci(guest)[0]
    assert device["irq"] == ("none" if mode == "poll" else "line"), device
    assert device["layout"] == ("packed" if "packed=on" in nic else "split"), device
    check_traffic(guest)
    rx, tx = queues(result_of(guest))
    assert (rx["interrupts"] > 0) == (mode != "poll"), rx
    assert rx["device_errors"] == tx["device_errors"] == 0, (rx, tx)


@case(accel=EITHER, machine=MACHINES)
def link(t, machine):
    """A change of the configuration comes by the line, too."""
    guest = t.tap_guest("mode=irq", machine=machine)
    check_link(guest)


@case(accel=EITHER, options=["ioapic2=off", "ioapic2=on"])
def inputs(t, options):
    """Where the lines end: at the only I/O APIC or at the second one."""
    guest = t.tap_guest("mode=irq stats=1", machine="microvm-mmio", extra=["-machine", options])
    line = guest.wait_line(r"line at input (\d+), level triggered")
    assert (int(line[1]) >= 24) == (options == "ioapic2=on"), line[0]
    check_traffic(guest)
    assert queues(result_of(guest))[0]["interrupts"] > 0


@case(accel=EITHER, machine=MACHINES, mode=MODES)
def two_nics(t, machine, mode):
    """Two devices, whose lines share a vector."""
    ns = t.namespace()
    taps = [ns.add_tap() for _ in range(2)]
    words = "ip=" + ",".join(f"{tap.guest}/24" for tap in taps)
    guest = t.guest(f"{words} mode={mode} stats=1", [(tap, None) for tap in taps], machine=machine,
                    namespace=ns)
    guest.wait_ready()
    no_devices_on_pci(guest, 2)
    ping_in_turn(t, ns, taps)
    for nic in result_of(guest)["nics"]:
        assert (nic["rx"]["interrupts"] > 0) == (mode == "irq"), nic


@case(accel=EITHER, machine=MACHINES, nic=["packed=off", "packed=on"])
def forwarder(t, machine, nic):
    lab = Lab(t, "fwd=mac dst_mac=02:00:00:00:00:d0,02:00:00:00:00:d1", nic=nic, machine=machine)
    for source, to in ((0, 1), (1, 0)):
        sent = [pattern(60 + i, i) for i in range(200)]
        lab.exchange(source, to, [ethernet(lab.macs[source], b"\2" * 6, 0x88b5, data) for data in sent],
                     [ethernet(mac_bytes(f"02:00:00:00:00:d{to}"), lab.macs[to], 0x88b5, data)
                      for data in sent])
    assert lab.stats()["fwd"]["forwarded"] == 400


# ---- What goes wrong ----

@case(machine=MACHINES, nic=["", "packed=on"], mode=MODES)
def reset(t, machine, nic, mode):
    """The reset button amid traffic, twice."""
    check_reset(t, machine, "qboot", nic, mode)


@case(accel=EITHER, nic=["packed=off", "packed=on"])
def broken_queue(t, nic):
    """The device lies of a buffer. QEMU offers RING_RESET here without the register for it: the guest sees
    that, and resets the device."""
    debugger = Debugger(t)
    guest = quiet_guest(t, nic, debugger, "mode=poll features=-mrg_rxbuf", machine="microvm-mmio")
    stream = Stream(t, guest, 1 << 18)
    used, next_of = (packed_used, packed_next) if nic == "packed=on" else (split_used, split_next)
    with debugger:
        bad_id(Ring(guest, debugger, RX), used, next_of)
    check_recovery(guest, stream, device_errors=1, expected=(1, 0))


@case(accel=EITHER, mode=MODES)
def needs_reset(t, mode):
    """QEMU's device gives up and says so: as recovery/device_needs_reset."""
    debugger = Debugger(t)
    guest = quiet_guest(t, "", debugger, f"mode={mode} features=-mrg_rxbuf", machine="microvm-words")
    take_room(guest, debugger, Stream(t, guest))


# ---- Discovery ----

@case()
def both_sources(t):
    """What the tables and the command line both tell of is used once."""
    guest = t.user_guest("virtio_mmio.device=512@0xfeb00200:25 mode=irq", machine="microvm-mmio")
    no_devices_on_pci(guest)
    assert len(guest.events_of("device")) == 1
    udp_answers(guest)


@case(accel=EITHER, words=["", "pci=off"])
def beside_pci(t, words):
    """A machine with both: NICs on PCI come first, and with pci=off they are not looked at."""
    nets = [UserNet(), UserNet()]
    extra = ["-global", "virtio-mmio.force-legacy=false", "-netdev", nets[1].netdev(1),
             "-device", "virtio-net-device,netdev=n1"]
    guest = t.guest(words, [(nets[0], None)], machine="microvm", extra=extra)
    guest.net = nets[1] if words else nets[0]
    guest.wait_ready()
    buses = [next(key for key in ("pci", "mmio") if key in event)
             for event in guest.events_of("device")]
    assert buses == (["mmio"] if words else ["pci", "mmio"]), buses
    assert guest.wait_event("boot")["machine"] == "microvm"
    udp_answers(guest)


@case(machine=MACHINES)
def legacy_device(t, machine):
    guest = t.guest(nics=[(UserNet(), None)], machine=machine,
                    extra=["-global", "virtio-mmio.force-legacy=true"])
    # What is wrong with this one, and how that is put right; that there is no other.
    expect_refusal(guest, "legacy", "virtio-mmio.force-legacy=false", lines=2)


@case(machine=MACHINES)
def no_device(t, machine):
    expect_refusal(t.guest(machine=machine), "no host bridge")


@case()
def other_device(t):
    expect_refusal(t.guest(machine="microvm-words", extra=["-device", "virtio-rng-device"]),
                   "virtio-net")


@case(machine=["q35", "microvm-words"])
def pci_off(t, machine):
    """Without PCI there is no NIC on q35; on a machine without it the word changes nothing."""
    guest = t.guest("pci=off", [(UserNet(), None)], machine=machine)
    if machine == "q35":
        expect_refusal(guest, "no virtio-net device")
    else:
        guest.wait_ready()


@case(words=["4K@0x1000:5", "4K@0xd0000000", "0@0xd0000000:5", "4K@0xd0000000:5:x"])
def bad_words(t, words):
    guest = t.guest(f"virtio_mmio.device={words}", [(UserNet(), None)])
    expect_refusal(guest, "virtio_mmio.device=", words)


@case(accel=EACH)
def nothing_at_that_address(t):
    """Where no device is, or no virtio device, that is said; the others are used."""
    guest = t.user_guest("virtio_mmio.device=4K@0xd0000000:5 virtio_mmio.device=4K@0xfec00000:6",
                         machine="microvm-mmio")
    errors = [line for line in guest.lines if line.startswith("error:")]
    assert len(errors) == 2 and all("no virtio device" in line for line in errors), errors
    no_devices_on_pci(guest)
    udp_answers(guest)


@case()
def no_such_input(t):
    """An interrupt line that leads nowhere, in a mode that needs it."""
    guest = t.guest("virtio_mmio.device=512@0xfeb00200:200 mode=irq", [(UserNet(), None)],
                    machine="microvm-mmio")
    expect_refusal(guest, "no I/O APIC has an input 200", lines=2)
