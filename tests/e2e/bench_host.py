"""What benchmarks need to know of the machine: its facts, and what threads take of a processor."""
import contextlib
import os
import platform
import re
import shutil
import subprocess
import time

import guest as g
from vhost import TESTPMD

HALT_POLL = "/sys/module/kvm/parameters/halt_poll_ns"
TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


# ---- Facts ----

def facts(accel):
    """What a result has to name, without names and paths of this machine."""
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "ringlet": ringlet_version(),
        "accel": accel,
        "qemu": version(r"QEMU emulator version [0-9.]+", g.QEMU, "--version"),
        "dpdk": version(r"DPDK [0-9.]+", TESTPMD, "-v", "-h"),
        "kernel": platform.release(),
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        # After HLT the host's KVM spins for up to so long, on the vCPU's account.
        "halt_poll_ns": read(HALT_POLL),
    }


def read(path):
    try:
        with open(path, encoding="utf-8") as f:
            return f.read().strip()
    except OSError:
        return None


def version(pattern, *command):
    """What matches the pattern in the output of a program; None without the program."""
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=20, check=False)
    match = re.search(pattern, done.stdout)
    return match[0] if match else "unknown"


def cpu_model():
    match = re.search(r"^model name\s*: (.*)$", read("/proc/cpuinfo") or "", re.M)
    return match[1] if match else platform.machine()


def ringlet_version():
    """The commit, and whether files differ from it."""
    try:
        done = subprocess.run(["git", "describe", "--always", "--dirty", "--exclude=*"],
                              cwd=g.ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, timeout=20, check=False)
        return done.stdout.strip() or "unknown"
    except OSError:
        return "unknown"


# ---- Threads ----

def threads(pid):
    """Id and name of each thread of a process."""
    found = {}
    for tid in map(int, os.listdir(f"/proc/{pid}/task")):
        name = read(f"/proc/{pid}/task/{tid}/comm")
        if name is not None:
            found[tid] = name
    return found


def cpu_ns(pid, tids):
    """Nanoseconds for which threads have run so far; those that are gone count nothing."""
    return sum(thread_ns(pid, tid) for tid in tids)


def thread_ns(pid, tid):
    exact = read(f"/proc/{pid}/task/{tid}/schedstat")
    if exact is not None and int(exact.split()[0]) > 0:
        return int(exact.split()[0])
    stat = read(f"/proc/{pid}/task/{tid}/stat")  # in ticks of 10 ms, for kernels without schedstat
    if stat is None:
        return 0
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) * TICK_NS


def machine_ns():
    """Processor time of the whole machine so far: in use, and taken away by its own hypervisor."""
    user, nice, system, _, _, irq, softirq, steal = map(int, read("/proc/stat").split()[1:9])
    return {"busy_ns": (user + nice + system + irq + softirq) * TICK_NS,
            "steal_ns": steal * TICK_NS}


def pin(tids, cores):
    for tid in tids:
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.sched_setaffinity(tid, cores)
