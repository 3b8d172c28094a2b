"""Runs the load generator (tests/e2e/udp_load.c) in this or another network namespace."""
import json
import os
import subprocess

from guest import ROOT, GuestError

UDP_LOAD = os.path.join(ROOT, "build", "udp_load")


def run_load(address, ns=None, cores=(), **options):
    """What it reports; the options are those of the program, `seconds` always given. It runs on any
    of the cores, or on those that are named."""
    command = [UDP_LOAD, address, *(f"{name}={value}" for name, value in options.items())]
    if cores:
        command = ["taskset", "-c", ",".join(map(str, cores)), *command]
    if ns is not None:
        command = ns.command(*command)
    # Datagrams wait for an answer for a second at most; the rest is for a busy machine.
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False,
                          timeout=options["seconds"] + 30)
    if done.returncode == 2 or not done.stdout:
        raise GuestError(done.stderr.strip() or f"udp_load: status {done.returncode}")
    return json.loads(done.stdout)
