"""tools/make-config: ringlet.cfg in the EFI system partition of an image."""
import os
import re
import shutil
import struct
import subprocess
import tempfile
import zlib

from case import case
from guest import ROOT

TOOL = os.path.join(ROOT, "tools", "make-config")
SECTOR = 512
ENTRY_LEN = 128
LONGEST = 4095
LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
OLD = "stats=7\n"  # what every image has at first


def run(*words, stdin=b"", **variables):
    return subprocess.run([TOOL, *words], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=os.environ | variables, timeout=30, check=False)


def host(*command, stdin=b""):
    return subprocess.run(command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=30, check=True).stdout


class Image:
    """A small disk: another partition first, then the system partition, at `start` sectors."""

    def __init__(self, t, start=2048, kind="U"):
        t.need_program("sfdisk")
        t.need_program("mcopy")
        self.folder = t.stack.enter_context(tempfile.TemporaryDirectory())
        self.path = os.path.join(self.folder, "disk.img")
        with open(self.path, "wb") as f:
            f.truncate(4 << 20)
        first = f"start=40, size=24, type={LINUX}\n" if start >= 64 else ""
        table = f"label: gpt\nfirst-lba: 34\n{first}start={start}, size=4096, type={kind}\n"
        host("sfdisk", "-q", self.path, stdin=table.encode())
        self.partition = f"{self.path}@@{start * SECTOR}"
        host("mformat", "-i", self.partition, "-v", "RINGLET", "-T", "4096", "-h", "64", "-s", "32",
             "-c", "1", "::")
        host("mcopy", "-i", self.partition, "-", "::/ringlet.cfg", stdin=OLD.encode())
        host("mcopy", "-i", self.partition, "-", "::/other.txt", stdin=b"another file")

    def text(self):
        return host("mcopy", "-i", self.partition, "::/ringlet.cfg", "-").decode()

    def put_beside(self):
        """The place of the UEFI application, with the file that counts before that in the root."""
        host("mmd", "-i", self.partition, "::/EFI", "::/EFI/BOOT")
        host("mcopy", "-i", self.partition, "-", "::/EFI/BOOT/ringlet.cfg", stdin=OLD.encode())

    def text_beside(self):
        return host("mcopy", "-i", self.partition, "::/EFI/BOOT/ringlet.cfg", "-").decode()

    def bytes(self):
        with open(self.path, "rb") as f:
            return f.read()

    def put(self, offset, data):
        with open(self.path, "r+b") as f:
            f.seek(offset)
            f.write(data)

    def flip(self, offset):
        """Another byte, whatever stands there: identifiers are random."""
        self.put(offset, bytes([self.bytes()[offset] ^ 0xff]))

    def put_gpt(self, offset, data):
        """Changes an entry of the table, and makes both checksums right again."""
        self.put(2 * SECTOR + offset, data)
        content = self.bytes()
        header = bytearray(content[SECTOR:SECTOR + 92])
        count, size = struct.unpack_from("<II", header, 80)
        struct.pack_into("<I", header, 88, zlib.crc32(content[2 * SECTOR:2 * SECTOR + count * size]))
        header[16:20] = bytes(4)
        struct.pack_into("<I", header, 16, zlib.crc32(header))
        self.put(SECTOR, header)


def refused(image, done, *named, status=2):
    """One line that says why, and the image as it was."""
    lines = done.stderr.decode().splitlines()
    assert done.returncode == status, (done.returncode, lines)
    assert len(lines) == 1 and lines[0].startswith("make-config: "), lines
    missing = [word for word in named if word not in lines[0]]
    assert not missing, f"no {missing} in {lines[0]!r}"
    assert not done.stdout, done.stdout
    if image is not None:
        assert image.text() == OLD


@case(accel=None)
def beside(t):
    """Where the UEFI application lies, the loader looks first."""
    image = Image(t)
    image.put_beside()
    done = run(image.path, "app=sink")
    assert done.returncode == 0, done.stderr
    assert (image.text_beside(), image.text()) == ("app=sink\n", OLD)
    assert run(image.path, "--show").stdout == b"app=sink\n"
    names = host("mdir", "-b", "-i", image.partition, "::/EFI/BOOT").split()
    assert names == [b"::/EFI/BOOT/ringlet.cfg"], names


@case(accel=None, start=[34, 64, 2048, 3000])
def words(t, start):
    """Wherever the partition is: replaced as a whole, nothing else of the disk touched."""
    image = Image(t, start)
    done = run(image.path, "app=echo", "ip=10.0.0.2/24 ip6=off", "# a comment")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), done
    assert image.text() == "app=echo\nip=10.0.0.2/24 ip6=off\n# a comment\n"
    done = run(image.path, "stats=1")
    assert done.returncode == 0 and image.text() == "stats=1\n"
    names = host("mdir", "-b", "-i", image.partition, "::").split()
    assert sorted(names) == [b"::/other.txt", b"::/ringlet.cfg"], names
    assert host("mcopy", "-i", image.partition, "::/other.txt", "-") == b"another file"
    host("sfdisk", "--verify", image.path)


@case(accel=None)
def file_and_stdin(t):
    image = Image(t)
    text = b"# bench 3\r\napp=echo\tstats=1 # word is no=word\r\n\r\nip=dhcp"
    path = os.path.join(image.folder, "lab.cfg")
    with open(path, "wb") as f:
        f.write(text)
    assert run(image.path, "--file", path).returncode == 0
    assert image.text().encode() == text
    assert run(image.path, stdin=text + b" seconds=1").returncode == 0
    assert image.text().encode() == text + b" seconds=1"
    assert run(image.path, stdin=b"").returncode == 0
    assert image.text() == ""


@case(accel=None)
def show(t):
    image = Image(t)
    before = image.bytes()
    done = run(image.path, "--show")
    assert (done.returncode, done.stdout, done.stderr) == (0, OLD.encode(), b""), done
    assert image.bytes() == before
    host("mdel", "-i", image.partition, "::/ringlet.cfg")
    done = run(image.path, "--show")
    refused(None, done, image.path, "ringlet.cfg", status=1)
    assert run(image.path, "a=1").returncode == 0 and image.text() == "a=1\n"


BAD_TEXTS = {
    "verbose": (b"app=echo\nverbose # really", "verbose: not of the form key=value"),
    "no key": (b"=echo", "=echo: not of the form key=value"),
    "zero": (b"app=echo\0", "byte 8 is a zero"),
    "long word": (b"ip=" + 285 * b"1", "longer than 287 bytes"),
    "long": (b"#".ljust(LONGEST + 1), "longer than 4095 bytes"),
    "very long": (bytes(10_000_000), "longer than 4095 bytes"),
}


@case(accel=None, text=list(BAD_TEXTS))
def bad_words(t, text):
    image = Image(t)
    content, reason = BAD_TEXTS[text]
    refused(image, run(image.path, stdin=content), reason)


@case(accel=None)
def longest_text(t):
    image = Image(t)
    text = (b"ip=" + 284 * b"1" + b" #").ljust(LONGEST, b"x")
    assert run(image.path, stdin=text).returncode == 0
    assert image.text().encode() == text


@case(accel=None)
def full_partition(t):
    """Said with status 1, and the old text stays, although mcopy takes a file cut off for a success."""
    image = Image(t)
    free = re.search(rb"([0-9 ]+) bytes free", host("mdir", "-i", image.partition, "::")).group(1)
    fill = bytes(int(free.replace(b" ", b"")))
    host("mcopy", "-i", image.partition, "-", "::/fill", stdin=fill)
    refused(image, run(image.path, stdin=b"#".ljust(LONGEST, b"x")), "full", status=1)
    assert b"ringlet.new" not in host("mdir", "-b", "-i", image.partition, "::")


def qcow2(image):
    """Only its first bytes matter, so that no program has to make one."""
    image.put(0, b"QFI\xfb")


BAD_IMAGES = {
    "empty": (lambda i: os.truncate(i.path, 0), "no GPT"),
    "short": (lambda i: os.truncate(i.path, 600), "no GPT"),
    "cut off": (lambda i: os.truncate(i.path, 2 << 20), "does not lie in it"),
    "no GPT": (lambda i: i.put(SECTOR, bytes(8)), "has no GPT"),
    "header": (lambda i: i.flip(SECTOR + 60), "header", "damaged"),
    "header length": (lambda i: i.put(SECTOR + 12, b"\xff\xff\xff\xff"), "has no GPT"),
    "entries": (lambda i: i.flip(2 * SECTOR + 60), "entries", "damaged"),
    "other type": (lambda i: i.put_gpt(ENTRY_LEN, bytes(16)), "no EFI system partition"),
    "start": (lambda i: i.put_gpt(ENTRY_LEN + 32, struct.pack("<Q", 1 << 60)), "does not lie in it"),
    "end": (lambda i: i.put_gpt(ENTRY_LEN + 40, struct.pack("<Q", (1 << 64) - 1)), "does not lie in it"),
    "reversed": (lambda i: i.put_gpt(ENTRY_LEN + 40, struct.pack("<Q", 2047)), "does not lie in it"),
    "qcow2": (qcow2, "qcow2", "qemu-img convert"),
    "missing": (lambda i: os.remove(i.path), "No such file"),
}


@case(accel=None, image=list(BAD_IMAGES))
def bad_image(t, image):
    disk = Image(t)
    change, *named = BAD_IMAGES[image]
    change(disk)
    before = disk.bytes() if image != "missing" else None
    for words in (["a=1"], ["--show"]):
        refused(None, run(disk.path, *words), disk.path, *named)
    assert before is None or disk.bytes() == before


@case(accel=None)
def no_file_system(t):
    image = Image(t)
    image.put(2048 * SECTOR, bytes(SECTOR))
    refused(None, run(image.path, "a=1"), image.path, "mcopy", status=1)


@case(accel=None)
def options(t):
    image = Image(t)
    for wrong in (["a=1", "--show"], ["--file", "x", "--show"], ["a=1", "--file", "x"], ["--what"]):
        done = run(image.path, *wrong)
        assert done.returncode == 2 and b"make-config: error:" in done.stderr, done
    assert run().returncode == 2
    refused(image, run(image.path, "--file", "/nonexistent/file"), "/nonexistent/file", "No such file")
    refused(image, run(image.path, "a=1", PATH=python_only(t)), "mtools")
    assert b"--show" in run("--help").stdout


def python_only(t):
    """A folder with nothing but the interpreter that the tool's first line asks for."""
    folder = t.stack.enter_context(tempfile.TemporaryDirectory())
    os.symlink(shutil.which("python3"), os.path.join(folder, "python3"))
    return folder
