"""Runs the load generators (tests/e2e/udp_load.c, tcp_load.c) in this or another network namespace."""
import json
import os
import subprocess

from guest import ROOT, GuestError

UDP_LOAD = os.path.join(ROOT, "build", "udp_load")
TCP_LOAD = os.path.join(ROOT, "build", "tcp_load")


def run_load(address, ns=None, cores=(), **options):
    """What udp_load reports; the options are those of the program, `seconds` always given. It runs on any
    of the cores, or on those that are named."""
    return run_generator([UDP_LOAD, address], ns, cores, options)


def run_tcp_load(mode, address, ns=None, cores=(), **options):
    """The same for tcp_load."""
    return run_generator([TCP_LOAD, mode, address], ns, cores, options)


def run_generator(command, ns, cores, options):
    command += [f"{name}={value}" for name, value in options.items()]
    name = os.path.basename(command[0])
    if cores:
        command = ["taskset", "-c", ",".join(map(str, cores)), *command]
    if ns is not None:
        command = ns.command(*command)
    # Requests wait for an answer for 10 seconds at most; the rest is for a busy machine.
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False,
                          timeout=options["seconds"] + 30)
    if done.returncode == 2 or not done.stdout:
        raise GuestError(done.stderr.strip() or f"{name}: status {done.returncode}")
    return json.loads(done.stdout)
