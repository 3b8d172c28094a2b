"""What the tests need is what tools/deps brings."""
import os
import subprocess

from case import PACKAGES, case
from guest import ROOT


def listed(group):
    done = subprocess.run([os.path.join(ROOT, "tools", "deps"), "--list", group], text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=20, check=True)
    return set(done.stdout.split())


@case(accel=None)
def packages(t):
    """Each program that a test may ask for is in a package of tools/deps.txt."""
    missing = set(PACKAGES.values()) - listed("optional")
    assert not missing, f"tools/deps does not know {missing}"


@case(accel=None)
def groups(t):
    """What include what: images need no QEMU, and tests need everything but what is optional."""
    build, run, image, test, every = (listed(group) for group in
                                      ("build", "run", "image", "test", "optional"))
    assert build < run < test < every and build < image < test, (build, run, image)
    assert image - build == {"fdisk", "mtools", "qemu-utils", "xorriso"}, image - build
    assert not (image - build) & (run - build)
    assert listed("bench") == run  # the kernel that it wants is not installed
