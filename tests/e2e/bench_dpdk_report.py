"""The results of bench_dpdk.py as Markdown and as a chart, from the JSON file alone.

Only what stands between the marks of the notes is written by hand, and kept.
"""
import statistics

import bench_dpdk_chart
from bench_report import grouped, listed, number, write_report

NOTES = ("<!-- notes: written by hand, kept by make bench -->", "<!-- end of notes -->")
PATTERN = "stamp, payload"  # the generator's row with all that a frame can carry

FAULTS = ("far", "slow", "unsteady", "others", "stolen")
KEYS = ("direction", "size", "driver", "layout", "variant")
DIRECTIONS = {"tx": "guest to host", "rx": "host to guest", "macswap": "loop of {} frames",
              "sink": "generator and sink in one guest"}
LAYOUTS = ("split", "packed")
SMALLEST = 64
# What this is to reach with the smallest frames: at least so many times DPDK's packets a second,
# with the same layout and best against best; at most so much of DPDK's cycles for a packet.
AIMS = {"tx": (1.8, 1.3), "rx": (1.1, 1.05), "macswap": (1.3, 1.15)}
CYCLES_AIM = 0.5
GENERATOR_AIM = 1.2
SINK_MPPS_AIM = 10
FLOWS_AIM = 1.25  # cycles of a frame with the most flows to those with one


def one_line(run):
    """A run as the terminal shows it."""
    driver, back_end = (number(run[name]) for name in ("driver_cycles", "back_end_cycles"))
    return (f"{run['pps'] / 1e6:.2f} Mpps, cycles {driver}, back end {back_end}"
            + (f", kicks {run['kicks']}, interrupts {run['interrupts']}" if "kicks" in run else "")
            + f", others {run['others']:.0f} %")


# ---- Medians ----

class Cell:
    """The runs of one row, as medians: of the good ones, of all if there are no others."""

    def __init__(self, key, runs):
        for name, value in zip(KEYS, key):
            setattr(self, name, value)
        self.name = " ".join(filter(None, (self.driver, self.layout, self.variant)))
        good = [run for run in runs if not run["faults"]]
        self.disturbed = not good
        runs = good or runs
        rates = [run["pps"] / 1e6 for run in runs]
        self.mpps, self.low, self.high = statistics.median(rates), min(rates), max(rates)
        self.cycles, self.back_end_cycles = (
            median([run[name] for run in runs]) for name in ("driver_cycles", "back_end_cycles"))


class Cells:
    def __init__(self, runs):
        self.all = [Cell(key, group) for key, group in grouped(runs, KEYS).items()]

    def where(self, **wanted):
        return [cell for cell in self.all
                if all(getattr(cell, name) == value for name, value in wanted.items())]

    def one(self, **wanted):
        return next(iter(self.where(**wanted)), None)

    def ringlet(self, direction, size, layout):
        return self.one(direction=direction, size=size, driver="Ringlet", layout=layout, variant="")

    def dpdk(self, direction, size, layout=None):
        """DPDK's paths; with a layout those that have what Ringlet has, so without IN_ORDER."""
        return [cell for cell in self.where(direction=direction, size=size, driver="DPDK")
                if layout is None or (cell.layout == layout and "in-order" not in cell.variant)]


def median(values):
    present = [value for value in values if value is not None]
    return statistics.median(present) if present else None


def fastest(cells):
    return max(filter(None, cells), key=lambda cell: cell.mpps, default=None)


# ---- Verdicts ----

def verdict(what, ours, theirs, aim, measure, least=True):
    """A row of the table of aims, None when a side is missing."""
    if ours is None or theirs is None or not measure(theirs) or measure(ours) is None:
        return None
    ratio = measure(ours) / measure(theirs)
    met = ratio >= aim if least else ratio <= aim
    return (f"| {what} | {ours.name} {number(measure(ours))} | {theirs.name} "
            f"{number(measure(theirs))} | {ratio:.2f} | {'≥' if least else '≤'} {aim:g} | "
            f"{'met' if met else '**missed**'} |")


def mpps(cell):
    return cell.mpps


def cycles(cell):
    return cell.cycles


def verdicts(cells):
    for direction, (same, best) in AIMS.items():
        for layout in LAYOUTS:
            yield verdict(f"{direction}, same layout", cells.ringlet(direction, SMALLEST, layout),
                          fastest(cells.dpdk(direction, SMALLEST, layout)), same, mpps)
        ours = fastest(cells.ringlet(direction, SMALLEST, layout) for layout in LAYOUTS)
        yield verdict(f"{direction}, best against best", ours,
                      fastest(cells.dpdk(direction, SMALLEST)), best, mpps)
    for layout in LAYOUTS:
        ours = cells.one(direction="tx", size=SMALLEST, driver="Ringlet", layout=layout,
                         variant=PATTERN)
        yield verdict("tx with stamp, payload and 1024 flows, same layout", ours,
                      fastest(cells.dpdk("tx", SMALLEST, layout)), GENERATOR_AIM, mpps)
    for direction in AIMS:
        for layout in LAYOUTS:
            theirs = min((cell for cell in cells.dpdk(direction, SMALLEST, layout) if cell.cycles),
                         key=cycles, default=None)
            waits = " (DPDK's with waiting)" if direction == "tx" else ""
            yield verdict(f"{direction}, busy cycles a packet{waits}, same layout",
                          cells.ringlet(direction, SMALLEST, layout), theirs, CYCLES_AIM, cycles,
                          least=False)
    yield from verdicts_alone(cells)


def verdicts_alone(cells):
    """Aims that compare Ringlet with itself, or with a number."""
    for layout in LAYOUTS:
        one, most = (cells.one(direction="tx", size=SMALLEST, driver="Ringlet", layout=layout,
                               variant=variant) for variant in ("1 flow", "65536 flows"))
        yield verdict("tx, busy cycles a packet, flows", most, one, FLOWS_AIM, cycles, least=False)
        sink = cells.ringlet("sink", SMALLEST, layout)
        if sink is not None:
            yield (f"| sink, loss, order and delay of each frame, Mpps | {sink.name} "
                   f"{number(sink.mpps)} | | | ≥ {SINK_MPPS_AIM} | "
                   f"{'met' if sink.mpps >= SINK_MPPS_AIM else '**missed**'} |")


def aims(cells):
    rows = list(filter(None, verdicts(cells)))
    if not rows:
        return ["Nothing that has an aim was measured on both sides."]
    return ["| frames of 64 bytes | Ringlet | DPDK | ratio | aim | |",
            "|---|---|---|---:|---:|---|", *rows]


def certified(runs):
    ours = [run for run in runs if run.get("kicks") is not None]
    kicks, interrupts = (sum(run[name] for run in ours) for name in ("kicks", "interrupts"))
    text = (f"Ringlet moved {number(sum(run['packets'] for run in ours))} packets in {len(ours)} "
            f"measurements, with {number(kicks)} doorbells and {number(interrupts)} interrupts.")
    odd = [run for run in ours
           if run["kicks"] or run["interrupts"] or run["certified_polled"] is False]
    return text + (f" **In {len(odd)} of them it was not polling alone.**" if odd else "")


# ---- Tables ----

def tables(about, cells):
    for direction in about["directions"]:
        title = DIRECTIONS[direction].format(about["in_flight"])
        yield from ["", f"### {direction}: {title}", "",
                    "Mpps: median (lowest to highest round); \\*: all rounds were disturbed.", "",
                    *table(about, cells, direction, rate_text), "",
                    "Cycles a packet, of the driver / of the back end.", "",
                    *table(about, cells, direction, cycles_text)]
        if cells.where(direction=direction, driver="DPDK"):
            yield from ["", "Packets a second, Ringlet's over DPDK's.", "",
                        *ratios(about, cells, direction)]


def rate_text(cell):
    return (f"{cell.mpps:.2f} ({cell.low:.2f} to {cell.high:.2f})"
            + (" \\*" if cell.disturbed else ""))


def cycles_text(cell):
    return f"{number(cell.cycles)} / {number(cell.back_end_cycles)}"


def table(about, cells, direction, text):
    names = dict.fromkeys(cell.name for cell in sorted(
        cells.where(direction=direction),
        key=lambda cell: (cell.driver != "Ringlet", LAYOUTS.index(cell.layout))))
    lines = header("", about["sizes"])
    for name in names:
        found = [cells.one(direction=direction, name=name, size=size) for size in about["sizes"]]
        lines.append(f"| {name} | " + " | ".join(text(c) if c else "" for c in found) + " |")
    return lines


def header(title, sizes):
    return [f"| {title} | " + " | ".join(f"{size} bytes" for size in sizes) + " |",
            "|---|" + "---:|" * len(sizes)]


def ratios(about, cells, direction):
    lines = header("", about["sizes"])
    for layout in about["layouts"]:
        pairs = [(cells.ringlet(direction, size, layout),
                  fastest(cells.dpdk(direction, size, layout))) for size in about["sizes"]]
        lines.append(ratio_line(f"{layout}: to DPDK's fastest without IN_ORDER", pairs))
    pairs = [(fastest(cells.ringlet(direction, size, layout) for layout in LAYOUTS),
              fastest(cells.dpdk(direction, size))) for size in about["sizes"]]
    return [*lines, ratio_line("best to best", pairs)]


def ratio_line(title, pairs):
    shown = [f"{ours.mpps / theirs.mpps:.2f}" if ours and theirs and theirs.mpps else ""
             for ours, theirs in pairs]
    return f"| {title} | " + " | ".join(shown) + " |"


def failed(failures):
    if not failures:
        return []
    lines = ["## Not measured", ""]
    for (reason,), group in grouped(failures, ("reason",)).items():
        names = dict.fromkeys(" ".join(filter(None, (str(f[key]) for key in KEYS))) for f in group)
        lines.append(f"- {listed(list(names))}: {reason} ({len(group)} times)")
    return lines


# ---- What it was measured on ----

def setting(about, runs):
    others, stolen = ([run[name] for run in runs] for name in ("others", "stolen"))
    pinned = about["pinned"]
    rows = {
        "date": about["date"], "Ringlet": f"{about['ringlet']}, {about['compiler']} -O2",
        "CPU": f"{about['cpu']} ({', '.join(about['cpu_flags'])})", "cores": about["cores"],
        "kernel": " ".join([about["kernel"], *about["kernel_options"]]),
        "accelerator": about["accel"], "QEMU": about["qemu"], "DPDK": about["dpdk"],
        "guest": f"q35, 1 vCPU, {about['memory']}, hugepages",
        "rings": f"{about['ring']} descriptors each; {about['mbufs']} mbufs in each testpmd",
        "pinned": f"driver on core {pinned['driver']}, back end on core {pinned['back_end']}, all "
                  f"else on {listed(list(map(str, pinned['others'])))}",
        "measurements": f"{about['seconds']} s each, {about['rounds']} interleaved rounds, medians",
        "meanwhile": f"others took {number(median(others))} % of a core in the median run and "
                     f"{number(max(others))} % in the worst; the machine's own hypervisor kept "
                     f"back {number(median(stolen))} % and {number(max(stolen))} %"}
    rows["disturbed"] = disturbances(about, runs)
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]


def disturbances(about, runs):
    counts = {name: sum(name in run["faults"] for run in runs)
              for name in FAULTS}
    return (f"{sum(bool(run['faults']) for run in runs)} of {len(runs)} measurements ("
            + ", ".join(f"{name}: {count}" for name, count in counts.items())
            + f"); core to core and back {about['nearest_ns']} ns at best, "
            f"{max(max(run['core_trips_ns']) for run in runs)} ns at worst")


METHOD = """
The back end counts: packets of its port between two looks at `show port stats`, over the time
between them. *tx*: the driver sends as fast as it can, the back end drops; *rx*: the other way
round; *macswap*: the driver returns each frame with its addresses swapped, the back end returns
it as it is, and so frames go round; *sink*: the back end returns what `app=gen rx=1` sends, and the
guest counts each flow's loss, order and delay. Ringlet's `app=gen` writes source addresses of 1024 flows,
numbers and time stamps into its frames; DPDK's txonly sends one fixed frame. Its mode with 64
flows is a row of its own.

Cycles are ticks of the time stamp counter in passes that moved packets, over packets: testpmd's
own account (`set record-core-cycles on`, `show fwd stats all`), Ringlet's `busy_cycles`. txonly
also counts passes that found the ring full, so in *tx* DPDK's cycles (and in *rx* those of the
back end) contain waiting and are no more than an upper bound. Ringlet's counters are read by
`stats=` lines just before and just after a measurement, since printing one inside would be part
of it.

What two drivers do with a ring is mostly to send cache lines from core to core, so the way
between the cores decides everything; in a virtual machine it can change by the second. So before
and after each measurement `core_trip` takes the time of a line there and back. A measurement is
*disturbed* when that was {near} times the best seen (*far*), when a fixed piece of work on one of the
cores took a fifth longer than the least seen (*slow*: as when a neighbour has the other half of the physical core), when a
quarter of it was slower than {steady:.0%} of the fastest quarter (*unsteady*), or when other processes (*others*) or the
hypervisor (*stolen*) took more than {others_max} % of a core. It is repeated then, up to
{retries} times; a disturbed one counts only where a row has no other. The JSON file has them all.

Same layout means: the fastest path that DPDK has for that layout without IN_ORDER, which QEMU 7.2
does not offer to a guest. Best against best means the fastest of all. *no mrg* is without
MRG_RXBUF, with which frames may lie in several buffers; Ringlet takes it. *vectorized* is DPDK's
SIMD path. Frames have no checksum at their end, so 64 bytes are 68 on a wire.
"""


def commands(about):
    """What was typed, for each driver and direction with the smallest frames measured."""
    size = about["sizes"][0]
    lines = []
    for name, command in about["commands"].items():
        words = name.split(" ", 3)
        if words[1] == str(size) and (len(words) < 4 or name.endswith("back end")
                                      or words[3] in LAYOUTS):
            lines += [f"# {name}", command, ""]
    return ["```sh", *lines[:-1], "```"]


def repeat(about):
    return ["## How to repeat it", "", "    make bench", "",
            f"as root, on a machine with nothing else to do; it took {about['took_s']} s. "
            "`tests/e2e/bench_dpdk.py --help` has shorter runs. By hand: first the back end, then "
            "the driver. In each testpmd `set record-core-cycles on` and `start`, in the back end "
            f"of the loop `start tx_first {about['in_flight'] // 32}`; QEMU's vCPU thread is "
            "pinned to the driver's core. The commands of the other rows are in the JSON file.", "",
            *commands(about)]


def markdown(about, runs, failures, notes):
    cells = Cells(runs)
    disturbed = sum(cell.disturbed for cell in cells.all)
    parts = [
        ["# Ringlet against DPDK's virtio driver", "",
         "Written by `make bench`; all but the notes is replaced each time. The numbers of each "
         "run are in [dpdk.json](dpdk.json)."],
        ["![Packets a second by direction, size and driver](dpdk.svg)"],
        [f"**The machine was not quiet while this was measured**: {disturbed} of "
         f"{len(cells.all)} rows have no undisturbed measurement."] if disturbed else [],
        ["## What one sees", "", *aims(cells), "", certified(runs)],
        ["## Notes", "", NOTES[0] + notes + NOTES[1]],
        ["## All numbers", *tables(about, cells)],
        failed(failures),
        ["## What was measured, and on what", "", *setting(about, runs), "",
         METHOD.strip("\n").format(**about)],
        repeat(about),
    ]
    return "\n\n".join("\n".join(part).rstrip("\n") for part in parts if part) + "\n"


def render(path):
    """Writes Markdown and chart beside the JSON file; returns the names of all three."""
    return write_report(path, NOTES, markdown, lambda about, runs, _:
                        bench_dpdk_chart.chart(about, Cells(runs)))
