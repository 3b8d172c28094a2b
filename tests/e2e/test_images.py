"""Disk images that tools/make-image makes: what is in them, and that two runs make the same."""
import binascii
import hashlib
import os
import re
import shutil
import struct
import subprocess
import tempfile
import uuid

from case import Skip, case
from guest import ROOT
from tool import environment, run_tool
from traffic import pattern

IMAGES = ("ringlet.img", "ringlet.iso", "ringlet.qcow2")
LOADER = os.path.join(ROOT, "build", "BOOTX64.EFI")
EPOCH = "1700000000"
EPOCH_TEXT = "2023-11-14  22:13"
SECTOR = 512
ESP_TYPE = uuid.UUID("C12A7328-F81F-11D2-BA4B-00A0C93EC93B")
CONFIG = b"# of a test\napp=echo seconds=5\n"


def fake_loader(machine=0x8664, subsystem=10, seed=0):
    """The headers of an EFI application, and a body that compresses to nothing smaller."""
    head = bytearray(512)
    head[:2] = b"MZ"
    struct.pack_into("<I", head, 0x3c, 64)
    struct.pack_into("<4sH", head, 64, b"PE\0\0", machine)
    struct.pack_into("<H", head, 64 + 24 + 68, subsystem)
    return bytes(head) + pattern(300_000, seed)


def need_programs(t):
    for name in ("mcopy", "qemu-img", "xorriso", "sfdisk"):
        t.need_program(name)


def folder(t):
    return t.stack.enter_context(tempfile.TemporaryDirectory(prefix="ringlet-e2e-"))


def write(directory, name, data):
    path = os.path.join(directory, name)
    with open(path, "wb") as f:
        f.write(data)
    return path


def read(path):
    with open(path, "rb") as f:
        return f.read()


def make(t, loader=None, config=None, **variables):
    """Makes the images in a new folder, whose name it returns."""
    need_programs(t)
    where = folder(t)
    words = ["--output", where, "--loader", write(where, "loader", loader or fake_loader())]
    if config is not None:
        words += ["--config", write(where, "config", config)]
    done = run_tool("make-image", *words, **({"SOURCE_DATE_EPOCH": EPOCH} | variables))
    assert done.returncode == 0, done
    left = set(os.listdir(where)) - {"loader", "config"}
    assert left == set(IMAGES), left
    return where


def hashes(where):
    return [hashlib.sha256(read(os.path.join(where, name))).hexdigest() for name in IMAGES]


def output(*command, ok=True):
    done = subprocess.run(command, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=20, check=False,
                          env={"PATH": os.environ["PATH"] + ":/usr/sbin", "TZ": "UTC", "LC_ALL": "C"})
    assert (done.returncode == 0) == ok, (command, done.stdout)
    return done.stdout


@case(accel=None)
def reproducible(t):
    """Directory, hour, time zone and home make no difference; each input does, to every image."""
    first = hashes(make(t, config=CONFIG))
    again = hashes(make(t, config=CONFIG, TZ="Asia/Tokyo", HOME=folder(t), LC_ALL="tr_TR.UTF-8"))
    assert first == again, (first, again)
    for other in (make(t, config=CONFIG, SOURCE_DATE_EPOCH="1600000000"),
                  make(t, config=CONFIG + b"\n"), make(t),
                  make(t, config=CONFIG, loader=fake_loader(seed=1))):
        assert not set(first) & set(hashes(other)), (first, other)


@case(accel=None)
def times(t):
    """Every file and directory has the time of SOURCE_DATE_EPOCH; without it that of the commit."""
    disk = os.path.join(make(t, config=CONFIG), IMAGES[0]) + "@@1M"
    listing = output("mdir", "-/", "-i", disk, "::/")
    dated = [line for line in listing.splitlines() if "-" in line and ":" in line[-10:]]
    entries = [line for line in listing.splitlines() if EPOCH_TEXT in line]
    # EFI; BOOT, . and ..; BOOTX64.EFI, ringlet.cfg, . and ..
    assert len(entries) == 8, listing
    assert all(line in entries for line in dated if not line.startswith(("Directory", " Volume"))), listing
    where = folder(t)
    done = run_tool("make-image", "--output", where, "--loader",
                    write(where, "loader", fake_loader()))
    assert done.returncode == 0, done
    if not os.path.exists(os.path.join(ROOT, ".git")):
        raise Skip("the tree is not git's, so there is no commit's time")
    commit = output("git", "-C", ROOT, "log", "-1", "--date=format-local:%Y-%m-%d  %H:%M",
                    "--format=%cd").strip()
    listing = output("mdir", "-i", os.path.join(where, IMAGES[0]) + "@@1M", "::/EFI/BOOT")
    hour = commit.replace("  0", "   ")  # mdir writes no leading zero
    assert hour in listing, (commit, listing)


def gpt_header(disk, sector):
    """The header at a sector, after a look at its checksums (UEFI 2.10, 5.3.2)."""
    header = disk[sector * SECTOR:sector * SECTOR + 92]
    (signature, revision, size, crc, _, own, other, first, last, _, entries_at, count, entry_size,
     entries_crc) = struct.unpack("<8sIIIIQQQQ16sQIII", header)
    assert signature == b"EFI PART" and revision == 0x10000 and size == 92, header
    assert binascii.crc32(header[:16] + bytes(4) + header[20:]) == crc, "header"
    assert own == sector, own
    entries = disk[entries_at * SECTOR:entries_at * SECTOR + count * entry_size]
    assert binascii.crc32(entries) == entries_crc, "entries"
    used = [entries[i:i + entry_size] for i in range(0, len(entries), entry_size)
            if any(entries[i:i + 16])]
    return {"other": other, "first": first, "last": last, "used": used}


@case(accel=None)
def gpt(t):
    """Both headers are whole and agree; one partition, for EFI, is there and holds a FAT."""
    path = os.path.join(make(t), IMAGES[0])
    disk = read(path)
    end = len(disk) // SECTOR - 1
    assert len(disk) % (1 << 20) == 0 and disk[510:512] == b"\x55\xaa" and disk[450] == 0xee
    main, backup = gpt_header(disk, 1), gpt_header(disk, end)
    assert main["other"] == end and backup["other"] == 1 and main["used"] == backup["used"]
    assert len(main["used"]) == 1, main
    kind, _, first, last = struct.unpack("<16s16sQQ", main["used"][0][:48])
    assert uuid.UUID(bytes_le=kind) == ESP_TYPE
    assert first == 2048 and main["first"] <= first <= last <= main["last"], (first, last)
    assert disk[first * SECTOR + 54:first * SECTOR + 59] == b"FAT16"
    assert "No errors" in output("sfdisk", "--verify", path)


@case(accel=None, config=["none", "given"])
def contents(t, config):
    """The partition holds what was given, and nothing else; the other images hold the same."""
    wanted = {"BOOTX64.EFI": fake_loader()} | ({"ringlet.cfg": CONFIG} if config == "given" else {})
    where = make(t, config=wanted.get("ringlet.cfg"))
    disk, iso, qcow2 = (os.path.join(where, name) for name in IMAGES)
    extracted = folder(t)
    output("mcopy", "-s", "-i", disk + "@@1M", "::/", extracted)
    found = {os.path.relpath(os.path.join(at, name), extracted): read(os.path.join(at, name))
             for at, _, names in os.walk(extracted) for name in names}
    assert found == {f"EFI/BOOT/{name}": data for name, data in wanted.items()}, list(found)
    assert "identical" in output("qemu-img", "compare", disk, qcow2)
    output("qemu-img", "check", qcow2)
    esp = os.path.join(extracted, "esp")
    output("xorriso", "-osirrox", "on", "-indev", iso, "-extract", "/efi.img", esp)
    assert read(esp) == read(disk)[2048 * SECTOR:][:os.path.getsize(esp)]


@case(accel=None)
def config_by_hand(t):
    """The manual's commands put a configuration into an image, show it, and take it out again."""
    where = make(t, config=b"old\n")
    with open(os.path.join(ROOT, "docs", "manual.md"), encoding="utf-8") as f:
        commands = re.findall(r"^    (m\w+) (.*ringlet\.img@@1M.*)$", f.read(), re.M)
    assert [name for name, _ in commands] == ["mcopy", "mtype", "mdel"], commands
    write(where, "ringlet.cfg", CONFIG)
    shown = [subprocess.run([name, *words.replace("build/", "").split()], cwd=where, check=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=10).stdout
             for name, words in commands]
    assert shown == [b"", CONFIG, b""], shown
    listing = output("mdir", "-b", "-i", os.path.join(where, IMAGES[0]) + "@@1M", "::/EFI/BOOT")
    assert listing.split() == ["::/EFI/BOOT/BOOTX64.EFI"], listing


@case(accel=None)
def iso_entries(t):
    """El Torito's entry is for EFI without emulation, and the GPT has the same blocks as a partition."""
    iso = os.path.join(make(t), IMAGES[1])
    report = output("xorriso", "-indev", iso, "-report_el_torito", "plain",
                    "-report_system_area", "plain")
    entries = [line.split()[5:] for line in report.splitlines()
               if line.startswith("El Torito boot img :")]
    assert len(entries) == 1 and entries[0][1:4] == ["UEFI", "y", "none"], report
    assert "El Torito img path :   1  /efi.img" in report, report
    block = int(entries[0][-1])  # of 2048 bytes
    disk = read(iso)
    main = gpt_header(disk, 1)
    parts = [struct.unpack("<16s16sQQ", entry[:48]) for entry in main["used"]]
    esp = [first for kind, _, first, _ in parts if uuid.UUID(bytes_le=kind) == ESP_TYPE]
    assert esp == [block * 4] and disk[block * 2048 + 54:][:5] == b"FAT16", (block, parts)


@case(accel=None)
def mistakes(t):
    need_programs(t)
    where = folder(t)
    good = write(where, "good", fake_loader())
    for words, variables, named in (
            (["--loader", "/nonexistent/loader"], {}, "/nonexistent/loader"),
            (["--loader", write(where, "empty", b"")], {}, "not an EFI application"),
            (["--loader", write(where, "arm", fake_loader(machine=0xaa64))], {}, "not an EFI"),
            (["--loader", write(where, "driver", fake_loader(subsystem=11))], {}, "not an EFI"),
            (["--loader", write(where, "wild", b"MZ" + b"\xff" * 200)], {}, "not an EFI"),
            (["--config", "/nonexistent/config"], {}, "/nonexistent/config"),
            (["--output", "/nonexistent"], {}, "/nonexistent"),
            (["--colour"], {}, "--colour"),
            ([], {"SOURCE_DATE_EPOCH": "yesterday"}, "SOURCE_DATE_EPOCH=yesterday"),
            ([], {"SOURCE_DATE_EPOCH": "315532799"}, "315532800"),
            ([], {"SOURCE_DATE_EPOCH": "4354819200"}, "4354819199")):
        done = run_tool("make-image", "--loader", good, "--output", where, *words, **variables)
        assert done.returncode == 2 and named in done.stderr, (words, variables, done)
        assert "Traceback" not in done.stderr
    big = write(where, "big", fake_loader() + bytes(9 << 20))
    done = run_tool("make-image", "--loader", big, "--output", where)
    assert done.returncode == 1 and "full" in done.stderr.lower(), done
    assert not set(os.listdir(where)) & set(IMAGES), os.listdir(where)


@case(accel=None, limit=240)
def whole_build(t):
    """A build in another directory makes the same kernel and the same loader, down to the last byte."""
    ours = read(t.need_file(LOADER, "make image builds it"))
    other = os.path.join(folder(t), "build")
    for part in ("lwip", "newlib"):
        shutil.copytree(os.path.join(ROOT, "build", "deps", part), os.path.join(other, "deps", part),
                        ignore=shutil.ignore_patterns("*.o", "*.d"))
    write(os.path.join(other, "deps"), "stamp", b"")
    done = subprocess.run(["make", "-s", "-j2", "-C", ROOT, f"B={other}", f"{other}/BOOTX64.EFI"],
                          env=environment(), text=True, check=False, timeout=220,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout[-500:]
    assert read(os.path.join(other, "BOOTX64.EFI")) == ours
    assert read(os.path.join(other, "ringlet.elf")) == read(os.path.join(ROOT, "build", "ringlet.elf"))


@case(accel=None, limit=120, image=IMAGES, machine=["q35", "pc"])
def boots(t, image, machine):
    """Firmware finds the loader in each image, and the guest answers. Not under KVM: one that emulates
    ring 0 cannot run the firmware."""
    t.need_file("/usr/share/ovmf/OVMF.fd", "package ovmf")
    where = make(t, loader=read(t.need_file(LOADER, "make image builds it")), config=b"stats=1\n")
    done = run_tool("boot-and-ping", "--image", os.path.join(where, image), "--accel", "tcg",
                    "--machine", machine, "--timeout", "60", limit=100)
    assert done.returncode == 0, (done.stdout, done.stderr)
