"""The programs in tools/ as users run them: to their end, without a terminal."""
import os
import subprocess

from guest import ROOT, GuestError


def tool(name):
    return os.path.join(ROOT, "tools", name)


def environment(**more):
    """Without the variables that run-guest takes for options; make may have been given some."""
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "TMPDIR")}
    return kept | more


def run_tool(name, *words, limit=20, within=(), **variables):
    """Runs it, behind the words of `within` if given; returns status, output and errors."""
    process = subprocess.Popen([*within, tool(name), *words], env=environment(**variables), text=True,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    try:
        output, errors = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.terminate()  # not kill(): it still has to end QEMU
        output, errors = process.communicate(timeout=limit)
        raise GuestError(f"{name} {' '.join(words)}: not ended after {limit} s: "
                         f"{output[-300:]} {errors[-300:]}") from None
    return subprocess.CompletedProcess(words, process.returncode, output, errors)
