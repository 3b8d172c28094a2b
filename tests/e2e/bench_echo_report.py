"""The results of bench_echo.py as Markdown and as a chart, from the JSON file alone.

Only what stands between the marks of the notes is written by hand, and kept.
"""
import statistics

import bench_echo_chart
from bench_dpdk_report import median
from bench_report import grouped, listed, number, write_report

NOTES = ("<!-- notes: written by hand, kept by make bench-echo -->", "<!-- end of notes -->")

BASE, OURS = "Linux", ("Ringlet", "Ringlet irq")  # the columns that the aims compare
SHOWN = ("Linux bare", *OURS)  # beside the first
TITLES = {
    "udp-1": ("UDP echo, 64 bytes, 1 outstanding", "requests/s"),
    "udp-32": ("UDP echo, 64 bytes, 32 outstanding", "requests/s"),
    "udp-32-1400": ("UDP echo, 1400 bytes, 32 outstanding", "requests/s"),
    "tcp-1": ("TCP echo, 64 bytes, 1 connection, depth 1", "requests/s"),
    "tcp-32": ("TCP echo, 64 bytes, 1 connection, depth 32", "requests/s"),
    "tcp-16x1": ("TCP echo, 64 bytes, 16 connections, depth 1", "requests/s"),
    "http": ("HTTP: connect, GET, close", "pages/s"),
    "bulk-to": ("TCP stream to the guest (port 9)", "Mbit/s"),
    "bulk-from": ("TCP stream from the guest (port 19)", "Mbit/s"),
    "bulk-echo": ("TCP stream through echo (port 7)", "Mbit/s"),
    "ping": ("QEMU's start to the first ping reply", "ms"),
}
SMALLER_IS_BETTER = ("ping",)
AIMS = {"udp-1": 3, "udp-32": 4, "udp-32-1400": 4, "tcp-1": 3, "tcp-32": 2, "tcp-16x1": 4, "http": 4,
        "bulk-to": 1.2, "bulk-from": 1.2, "bulk-echo": 1.2, "ping": 20}
# What may be wrong with requests, by its name in what the generators report; each is a fault.
WRONG = ("lost", "corrupt", "stale", "refused", "resets", "timeouts")
PERCENTILES = ("rtt_p50_us", "rtt_p99_us", "rtt_p99_9_us")
FROM_LOAD = ("sent", "received", "bytes", *WRONG, *PERCENTILES, "guest", "others", "stolen")


# ---- A run ----

def run_of(load, others_max):
    """What is kept of a generator's report, with the reasons why it does not count."""
    faults = [name for name in WRONG if load.get(name)]
    faults += [name for name in ("others", "stolen") if load[name] > others_max]
    value = load.get("received_pps", load.get("mbit_s"))
    return {"value": value, **{name: load.get(name) for name in FROM_LOAD}, "faults": faults}


def one_value(row, run):
    """A run as the terminal shows it."""
    faults = f" ({', '.join(run['faults'])})" if run["faults"] else ""
    return f"{row} {number(run['value'])}{faults}"


# ---- Medians ----

class Cell:
    """The runs of one row in one column, as medians: of the good ones, of all if there are no others."""

    def __init__(self, row, runs):
        good = [run for run in runs if not run["faults"]]
        self.disturbed = not good
        self.row, runs = row, good or runs
        # Each guest's best firmware counts, where there is a choice.
        by_firmware = grouped([{"firmware": None, **run} for run in runs], ("firmware",))
        (self.firmware,), runs = min(by_firmware.items(), key=lambda item: median(
            [run["value"] for run in item[1]]))
        values = [run["value"] for run in runs]
        self.value, self.low, self.high = statistics.median(values), min(values), max(values)
        self.percentiles = [median([run.get(name) for run in runs]) for name in PERCENTILES]

    def ratio(self, value, base):
        """How many times better than that number the value is."""
        better, worse = (base, value) if self.row in SMALLER_IS_BETTER else (value, base)
        return better / worse if worse else None


class Cells:
    def __init__(self, runs):
        self._cells = {key: Cell(key[0], group)
                       for key, group in grouped(runs, ("row", "column")).items()}

    def one(self, row, column):
        return self._cells.get((row, column))

    def ratio(self, row, column):
        """To the Linux guest, None when a side is missing."""
        ours, base = self.one(row, column), self.one(row, BASE)
        return ours.ratio(ours.value, base.value) if ours and base else None

    def ratio_range(self, row, column):
        """The ratios of the column's worst and best round to the Linux guest's median."""
        ours, base = self.one(row, column), self.one(row, BASE)
        return sorted(ours.ratio(value, base.value) or 0 for value in (ours.low, ours.high))

    def disturbed(self):
        return sum(cell.disturbed for cell in self._cells.values())

    def __len__(self):
        return len(self._cells)


# ---- Aims ----

def verdict(cells, row):
    """A line of the table of aims, None when a side is missing."""
    ratios = {name: ratio for name in OURS if (ratio := cells.ratio(row, name)) is not None}
    if not ratios:
        return None
    title, unit = TITLES[row]
    met = [name for name, ratio in ratios.items() if ratio >= AIMS[row]]
    words = "**missed**" if not met else "met" if met[0] == OURS[0] else f"met by {met[0]}"
    shown = (f"{value_text(cells.one(row, name))} = **{ratio:.2f}**"
             if (ratio := cells.ratio(row, name)) is not None else "" for name in SHOWN)
    return (f"| {title}, {unit} | {value_text(cells.one(row, BASE))} | {' | '.join(shown)} | "
            f"≥ {AIMS[row]:g} | {words} |")


def aims(about, cells):
    lines = list(filter(None, (verdict(cells, row) for row in about["rows"])))
    if not lines:
        return ["Nothing was measured on both sides."]
    missed = sum("**missed**" in line for line in lines)
    return [f"Rounds: {about['rounds']}, medians, all under TCG, with ratios to the Linux guest. "
            f"{len(lines) - missed} of {len(lines)} aims are met.", "",
            f"| | {BASE} | {' | '.join(SHOWN)} | aim | |", "|---|" + "---:|" * (len(SHOWN) + 2) + "---|",
            *lines]


def checked(runs):
    """What was compared byte by byte, and what was wrong."""
    answers, moved = (sum(run.get(name) or 0 for run in runs) for name in ("received", "bytes"))
    wrong = {name: sum(run.get(name) or 0 for run in runs) for name in WRONG}
    text = (f"{number(answers)} answers and streams of {number(moved / 1e6)} MB were taken; what came "
            "was compared byte by byte.")
    found = [f"{name} {number(count)}" for name, count in wrong.items() if count]
    return text + (f" **Not all was right**: {listed(found)}." if found else " All was right.")


# ---- Tables ----

def value_text(cell):
    return number(cell.value) + (f" ({cell.firmware})" if cell.firmware else "")


def tables(about, cells):
    for row in about["rows"]:
        title, unit = TITLES[row]
        has_times = any(cell and cell.percentiles[0] is not None
                        for cell in (cells.one(row, c["name"]) for c in about["columns"]))
        times = ["p50 µs", "p99 µs", "p99.9 µs"] if has_times else []
        names = [unit, "lowest to highest", "ratio to Linux", *times]
        yield from ["", f"### {title}", "", f"| | {' | '.join(names)} |",
                    "|---|" + "---:|" * len(names)]
        for column in about["columns"]:
            cell = cells.one(row, column["name"])
            if cell is not None:
                yield table_line(cells, cell, column["name"], cell.percentiles if times else [])


def table_line(cells, cell, name, percentiles):
    ratio = cells.ratio(cell.row, name)
    words = [value_text(cell) + (" \\*" if cell.disturbed else ""),
             f"{number(cell.low)} to {number(cell.high)}", f"{ratio:.2f}" if ratio else "",
             *map(number, percentiles)]
    return f"| {name} | {' | '.join(words)} |"


def failed(failures):
    if not failures:
        return []
    lines = ["## What failed", ""]
    for (reason,), group in grouped(failures, ("reason",)).items():
        names = dict.fromkeys(f"{f['row']} of {f['column']}" for f in group)
        lines.append(f"- {listed(list(names))}: {reason} ({len(group)} times)")
    return lines


# ---- What it was measured on ----

def column_text(column, about):
    if column["kind"] == "linux":
        return f"Debian's {about['linux']}, `{' '.join([about['linux_words'], column['words']]).strip()}`"
    words = f"`{column['words']}`" if column["words"] else "default words"
    return " ".join(filter(None, (words, column["image"] and f"image {column['image']}")))


def setting(about, runs):
    loads = [run for run in runs if run.get("others") is not None]
    disturbed = sum(bool(run["faults"]) for run in runs)
    rows = {
        "date": about["date"], "Ringlet": f"{about['ringlet']}, {about['compiler']} -O2",
        "CPU": about["cpu"], "cores": about["cores"], "kernel of the host": about["kernel"],
        "QEMU": about["qemu"],
        "machine": f"{about['machine']}, 1 vCPU, {about['memory']}, virtio-net-pci on a tap with "
                   "vnet_hdr, all offloads that QEMU has",
        "pinned": "all of QEMU on core {}, the load generator on core {}".format(*about["pinned"]),
        "measurements": f"{about['seconds']} s each, {about['rounds']} interleaved rounds, medians",
        "disturbed": f"{disturbed} of {len(runs)} measurements"}
    if loads:
        others, stolen = ([run[name] for run in loads] for name in ("others", "stolen"))
        rows["meanwhile"] = (
            f"others took {number(median(others))} % of a core in the median run and "
            f"{number(max(others))} % in the worst; the machine's own hypervisor kept back "
            f"{number(median(stolen))} % and {number(max(stolen))} %")
    rows |= {f"guest {c['name']}": f"{c['accel']}, {column_text(c, about)}" for c in about["columns"]}
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]


METHOD = """
The Linux guest is Debian's cloud kernel as its package has it (*bare*: without mitigations and SMAP, whose price
under emulation is higher than on a processor), and an initramfs with the modules of
the network device and one static program (`tests/e2e/linux_init.c`): a loop over epoll, sockets that never
block, datagrams by recvmmsg and sendmmsg, TCP_NODELAY, discard without a copy (MSG_TRUNC). Over
HTTP both answer with the same page, Ringlet's `/`, behind a header of the same length; the kernel's
buffers are as large as it makes them.

`udp_load` and `tcp_load` never sleep. A round trip goes from the call that sends to the return of the one
that receives, for HTTP from connect to the end of the page. *To the guest* counts what the guest
acknowledged, *from the guest* and *through echo* what came. Depth is how many requests of a connection are
outstanding. Of SeaBIOS and qboot each guest's faster one counts for the first ping reply; its times
are exact to 3 ms.

A measurement is *disturbed* when a request found no answer in {timeout_ms} ms or anything was wrong, or
when others or the hypervisor took more than {others_max} % of a core. It is repeated then, up to {retries}
times; a disturbed one counts only where a row has no other (\\*). The JSON file has them all.
"""


def markdown(about, runs, failures, notes):
    cells = Cells(runs)
    parts = [
        ["# Ringlet's echo workload against a Linux guest", "",
         "Written by `make bench-echo`; all but the notes is replaced each time. The numbers of each "
         "run are in [echo.json](echo.json)."],
        ["![Ratios to the Linux guest by workload](echo.svg)"],
        [f"**The machine was not quiet while this was measured**: {cells.disturbed()} of "
         f"{len(cells)} cells have no undisturbed measurement."] if cells.disturbed() else [],
        ["## What one sees", "", *aims(about, cells), "", checked(runs)],
        ["## Notes", "", NOTES[0] + notes + NOTES[1]],
        ["## All numbers", *tables(about, cells)],
        failed(failures),
        ["## What was measured, and on what", "", *setting(about, runs), "",
         METHOD.strip("\n").format(**about)],
        ["## How to repeat it", "", "    make bench-echo", "",
         f"as root, on a machine with nothing else to do; it took {about['took_s']} s. "
         "`tests/e2e/bench_echo.py --help` has shorter runs, single rows, and more columns: Ringlet "
         "with other words (`--variant`) or from another image (`--image`)."],
    ]
    return "\n\n".join("\n".join(part).rstrip("\n") for part in parts if part) + "\n"


def render(path):
    """Writes Markdown and chart beside the JSON file; returns the names of all three."""
    return write_report(path, NOTES, markdown, lambda about, runs, _:
                        bench_echo_chart.chart(about, Cells(runs), TITLES, AIMS))
