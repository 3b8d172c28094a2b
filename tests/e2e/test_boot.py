"""The image starts: machines, firmware, memory sizes, reset."""
from case import EACH, EITHER, case
from networks import UserNet
from traffic import Pinger, eui64, udp_answers, udp_echo, udp_socket


@case(accel=EITHER, machine=["pc", "q35", "microvm"], firmware=["seabios", "qboot"])
def matrix(t, machine, firmware):
    """Boots to the ready line with an address from QEMU's DHCP server, and answers."""
    guest = t.user_guest(machine=machine, firmware=firmware)
    boot = guest.wait_event("boot")
    ready = guest.wait_ready()
    assert boot["accelerator"] == t.accel and boot["boot"] == "pvh", boot
    assert boot["memory_mib"] in (63, 64), boot
    assert boot["machine"] == machine, boot
    assert len(guest.events_of("device")) == 1
    assert ready["app"] == "echo" and ready["boot_us"] > 0, ready
    assert ready["ip"].startswith("10.0.2.15"), ready
    udp_answers(guest)


@case(accel=EITHER, mem=["16M", "3G", "3584M", "8G"], machine=["pc", "q35", "microvm"])
def memory(t, mem, machine):
    """From the minimum to far above 4 GiB, with what lies below 4 GiB split in different places."""
    mib = int(mem[:-1]) * (1024 if mem.endswith("G") else 1)
    guest = t.user_guest(mem=mem, machine=machine)
    boot = guest.wait_event("boot")
    assert mib - 1 <= boot["memory_mib"] <= mib, boot
    udp_answers(guest)
    with udp_socket(guest) as s:
        for size in (0, 1, 1000, 1472):
            udp_echo(s, bytes(size))


@case(accel=EITHER, mem=["8M", "12M"])
def little_memory(t, mem):
    """Below the minimum there is a clear line, not a hang."""
    guest = t.guest("ip=10.0.2.15/24", [(UserNet(), None)], mem=mem)
    assert guest.wait_exit() == 2
    errors = [line for line in guest.lines if line.startswith("error:")]
    assert len(errors) == 1 and "memory" in errors[0] and "16 MiB" in errors[0], errors


@case(accel=EACH)
def reset(t):
    """The machine's reset button: boots again from the start, and again."""
    guest = t.user_guest(reboots=True)
    for count in (1, 2, 3):
        guest.wait_event("ready", count=count)
        udp_answers(guest)
        if count < 3:
            guest.qmp("system_reset")
    assert len(guest.events_of("boot")) == 3


@case(limit=90)
def no_dhcp_server(t):
    """Without an answer the workload starts all the same, and IPv6 works."""
    guest = t.tap_guest("ip=dhcp")
    assert guest.wait_ready()["ip"] is None
    mac = guest.wait_event("device")["mac"]
    with Pinger(guest.ns, eui64("fe80::", mac), guest.tap) as pinger:
        pinger.answers()
