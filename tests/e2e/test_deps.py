"""What the tests need is what tools/deps brings."""
import os
import subprocess

from case import PACKAGES, case
from guest import ROOT


@case(accel=None)
def packages(t):
    """Each program that a test may ask for is in a package of tools/deps.txt."""
    done = subprocess.run([os.path.join(ROOT, "tools", "deps"), "--list", "optional"], text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=20, check=True)
    missing = set(PACKAGES.values()) - set(done.stdout.split())
    assert not missing, f"tools/deps does not know {missing}"
