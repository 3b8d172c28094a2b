"""The results of bench_notify.py as JSON, and from that as Markdown and as a chart.

Nothing here knows a result: each number and each sentence comes from the JSON file. Only what
stands between the marks of the notes is written by hand, and kept.
"""
import itertools
import json
import os
import re
import statistics

import bench_chart

NOTES = ("<!-- notes: written by hand, kept by make bench-notify -->", "<!-- end of notes -->")

KEYS = ("back_end", "rate", "mode", "layout", "event_idx")
BACK_END_NAMES = {
    "tap": "tap: QEMU's own device on a tap",
    "vhost": "vhost: DPDK's testpmd by vhost-user",
}
MODES = ("poll", "irq", "adaptive")
EVENT_IDX = ("on", "off")
QUIET = 30   # percent of a core that others may take in the median run
HELD = 0.95  # of the rate that was asked for; less counts as not held


# ---- JSON ----

def write_json(path, about, runs, failures):
    """A row a run, so that differences between two results can be read."""
    columns = list(dict.fromkeys(name for run in runs for name in run))
    rows = [json.dumps([run.get(name) for name in columns]) for run in runs]
    parts = {"about": json.dumps(about, indent=1), "failures": json.dumps(failures, indent=1),
             "columns": json.dumps(columns), "runs": "[\n" + ",\n".join(rows) + "\n]"}
    with open(path, "w", encoding="utf-8") as f:
        f.write("{" + ",\n".join(f'"{name}": {text}' for name, text in parts.items()) + "}\n")


def read_json(path):
    with open(path, encoding="utf-8") as f:
        result = json.load(f)
    runs = [dict(zip(result["columns"], row)) for row in result["runs"]]
    return result["about"], runs, result["failures"]


# ---- Medians ----

def derived(run):
    """What is shown of a run."""
    def share(part, whole):
        return 100 * (run.get(part) or 0) / run[whole] if run[whole] else 0

    frames = run["frames"] or 1
    return {
        "kicks": run["kicks"] / frames,
        "interrupts": run["interrupts"] / frames,
        "wakeups": run["wakeups"] / frames,
        "rechecks": run["rechecks_hit"] / frames,
        "asleep": share("slept_us", "uptime_us"),
        "vcpu": share("vcpu_ns", "wall_ns"),
        "qemu": share("qemu_ns", "wall_ns"),
        "testpmd": share("testpmd_ns", "wall_ns"),
        "generator": 1000 * share("cpu_us", "wall_ns"),
        "others": share("busy_ns", "wall_ns") - share("vcpu_ns", "wall_ns")
        - share("qemu_ns", "wall_ns") - share("testpmd_ns", "wall_ns")
        - 1000 * share("cpu_us", "wall_ns"),
        "stolen": share("steal_ns", "wall_ns"),
        "pps": run["received_pps"],
        "p50": run["rtt_p50_us"],
        "p99": run["rtt_p99_us"],
        "lost": share("lost", "sent"),
        "late": share("late", "sent"),
        "drops": run["drops"],
    }


def medians(runs):
    """For each combination the medians of what is shown, None where there was nothing."""
    return {key: median_of(map(derived, group)) for key, group in grouped(runs, KEYS).items()}


def grouped(rows, names):
    groups = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return groups


def median_of(rows):
    columns = {}
    for row in rows:
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    present = {name: [v for v in values if v is not None] for name, values in columns.items()}
    return {name: statistics.median(values) if values else None
            for name, values in present.items()}


def over_variants(shown, **wanted):
    """Medians over all combinations with those values; None when there are none."""
    rows = [row for key, row in shown.items()
            if all(dict(zip(KEYS, key))[name] == value for name, value in wanted.items())]
    return median_of(rows) if rows else None


# ---- Numbers ----

def number(value):
    if value is None:
        return "-"
    if value == 0:
        return "0"
    if abs(value) < 0.001:
        return "<0.001"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}".replace(",", " ")


def rate_name(rate, about):
    return f"{number(rate)}/s" if rate else f"flat out, window {about['window']}"


# ---- Markdown ----

COLUMNS = {  # title and what is shown
    "answers/s": "pps", "kicks": "kicks", "interrupts": "interrupts", "wake-ups": "wakeups",
    "re-checks": "rechecks", "asleep %": "asleep", "vCPU %": "vcpu", "QEMU %": "qemu",
    "testpmd %": "testpmd", "p50 µs": "p50", "p99 µs": "p99", "lost %": "lost", "late %": "late",
    "drops": "drops",
}


def table(shown, back_end, rate):
    absent = (["testpmd"] if back_end == "tap" else []) + ([] if rate else ["late"])
    titles = {title: name for title, name in COLUMNS.items() if name not in absent}
    lines = ["| mode | layout | EVENT_IDX | " + " | ".join(titles) + " |",
             "|---|---|---|" + "---:|" * len(titles)]
    for key, row in shown.items():
        if key[:2] == (back_end, rate):
            lines.append(f"| {' | '.join(key[2:])} | "
                         + " | ".join(number(row[name]) for name in titles.values()) + " |")
    return lines


def tables(about, shown, failures):
    lines = []
    for back_end, name in BACK_END_NAMES.items():
        lines += [f"### {name}", ""]
        reasons = [f for f in failures if f["back_end"] == back_end]
        for reason, group in grouped(reasons, ("reason",)).items():
            lines += [f"Not measured ({failed_names(group)}): {reason[0]}.", ""]
        for rate in about["rates"]:
            if any(key[:2] == (back_end, rate) for key in shown):
                lines += [f"#### {back_end}, {rate_name(rate, about)}", "",
                          *table(shown, back_end, rate), ""]
    return lines


def failed_names(group):
    words = [" ".join(f"{name}={f[name]}" for name in ("mode", "layout", "event_idx", "round")
                      if name in f) or "all" for f in group]
    return "; ".join(words)


SUMMARY = {title: COLUMNS[title] for title in ("answers/s", "kicks", "interrupts", "asleep %",
                                               "vCPU %", "p50 µs", "p99 µs", "lost %")}


def summary(about, shown):
    """A row for each mode at each rate: medians over the variants."""
    lines = ["| back end | load | mode | " + " | ".join(SUMMARY) + " |",
             "|---|---|---|" + "---:|" * len(SUMMARY)]
    for back_end, rate, mode in itertools.product(BACK_END_NAMES, about["rates"], MODES):
        row = over_variants(shown, back_end=back_end, rate=rate, mode=mode)
        if row is not None:
            lines.append(f"| {back_end} | {rate_name(rate, about)} | {mode} | "
                         + " | ".join(number(row[name]) for name in SUMMARY.values()) + " |")
    return lines


def seen(about, runs, shown):
    """What one sees: a paragraph for each back end, of the same numbers."""
    parts = []
    for back_end in BACK_END_NAMES:
        rows = {(rate, mode): over_variants(shown, back_end=back_end, rate=rate, mode=mode)
                for rate, mode in itertools.product(about["rates"], MODES)}
        if all(rows.values()):
            words = [*trade(about, rows), *event_idx_effect(about, shown, back_end),
                     *not_held(about, rows)]
            parts += [f"**{back_end}.** " + " ".join(words), ""]
    received, corrupt = (sum(run[name] for run in runs) for name in ("received", "corrupt"))
    return [*parts, f"{number(received)} answers were compared byte by byte; {number(corrupt)} "
                    "differed from what was sent."]


def trade(about, rows):
    """Processor time against round trips, and what the modes reach."""
    def each(rate, name, unit):
        return listed([f"{number(rows[rate, mode][name])}{unit} ({mode})" for mode in MODES])

    for rate in about["rates"]:
        if rate == 0:
            yield f"Flat out {each(rate, 'pps', '')} answers come back in a second."
        else:
            yield (f"At {rate_name(rate, about)} the median round trip is "
                   f"{each(rate, 'p50', ' µs')}, and the vCPU takes {each(rate, 'vcpu', ' %')} "
                   "of a core.")


def event_idx_effect(about, shown, back_end):
    words = []
    for rate in about["rates"]:
        on, off = (over_variants(shown, back_end=back_end, rate=rate, mode="irq", event_idx=value)
                   for value in EVENT_IDX)
        if on and off:
            words.append(f"{number(on['kicks'])} + {number(on['interrupts'])} and "
                         f"{number(off['kicks'])} + {number(off['interrupts'])} "
                         + (f"at {rate_name(rate, about)}" if rate else "flat out"))
    if words:
        yield ("Kicks and interrupts a frame in mode irq, with EVENT_IDX and without: "
               + "; ".join(words) + ".")


def not_held(about, rows):
    for rate in about["rates"]:
        slow = [mode for mode in MODES if rows[rate, mode]["pps"] < HELD * rate]
        if slow:
            yield (f"Fewer than {100 * HELD:.0f} % of {rate_name(rate, about)} came back in time in mode "
                   f"{listed(slow)}.")


def listed(words):
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def disturbance(runs):
    """What else the machine did meanwhile: a quiet one has small numbers."""
    rows = list(map(derived, runs))
    others, stolen = ([row[name] for row in rows] for name in ("others", "stolen"))
    return (f"other processes and the kernel took {number(statistics.median(others))} % of a core "
            f"in the median run and {number(max(others))} % in the worst; the machine's own "
            f"hypervisor kept back {number(statistics.median(stolen))} % and "
            f"{number(max(stolen))} %")


def noise(runs):
    others = statistics.median(derived(run)["others"] for run in runs)
    return [] if others < QUIET else [
        "**The machine was not quiet while this was measured** (see *meanwhile* below), so these "
        "numbers say little."]


def setting(about, runs):
    """The table of what it was measured on."""
    accel = about["accel"] + (f", halt_poll_ns {about['halt_poll_ns']}"
                              if about["accel"] == "kvm" and about["halt_poll_ns"] else "")
    rows = {"date": about["date"], "Ringlet": about["ringlet"], "CPU": about["cpu"],
            "cores": about["cores"], "kernel": about["kernel"], "accelerator": accel,
            "QEMU": about["qemu"], "DPDK": about["dpdk"] or "not installed",
            "guest": f"{about['machine']}, 1 vCPU, {about['memory']}, `mode=... {about['words']}`",
            "interrupts by": listed([f"{irq} ({back_end})" for back_end, irq in sorted(
                {(run["back_end"], run["irq"]) for run in runs if run["irq"] != "none"})] or ["-"]),
            "load": f"{about['size']} bytes of data, {about['seconds']} s at each rate, "
                    f"{about['rounds']} interleaved rounds, medians; the generator "
                    f"{about['generator']} between datagrams",
            "meanwhile": disturbance(runs)}
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]


def cores_line(about):
    if about["cores"] == 1:
        return "There is one core, so nothing is pinned and all take turns."
    text = ("The vCPU is pinned to one core; QEMU's other threads (tap) or testpmd's worker, which "
            "never sleeps (vhost), to another.")
    if about["generator"] == "sleeps":
        text += (f" This machine has {about['cores']} cores, fewer than vCPU, back end, generator "
                 "and the rest want, so the generator sleeps until an answer comes or a datagram "
                 "is due, and has to share a core: its wake-ups are part of the round trips.")
    return text


def method(about):
    return [
        "A frame is one that the guest received or sent, by its own counters; *kicks*, "
        "*interrupts*, *wake-ups* (sleeps ended by an interrupt) and *re-checks* (work found by "
        "the look after arming) are per frame. *asleep* is the guest's own account of its time in "
        "HLT. *vCPU*, *QEMU* (its other threads) and *testpmd* are processor time as the host "
        "accounts it, in percent of a core; what KVM spins after a HLT is in *vCPU*. Round trips "
        "go from the send call to the receive call of the generator; without an answer in "
        f"{about['timeout_ms']} ms a datagram is *lost*. *late* ones left more than 50 µs after "
        "their time. *drops* are frames that the guest counted as dropped, in a run. The few "
        "frames with which the counters are read are in the numbers.", "", cores_line(about)]


def kept_notes(path, marks):
    """The hand-written part of an earlier file."""
    try:
        with open(path, encoding="utf-8") as f:
            match = re.search(re.escape(marks[0]) + "(.*?)" + re.escape(marks[1]), f.read(), re.S)
    except FileNotFoundError:
        match = None
    return match[1] if match else "\n"


def markdown(about, runs, failures, notes):
    shown = medians(runs)
    chart = ["![Kicks, interrupts, processor time and round trips by mode](bench-notify.svg)", "",
             "Each mark is a ring layout with or without EVENT_IDX."]
    parts = [
        ["# What each notification mode costs", "",
         "Written by `make bench-notify`; all but the notes is replaced each time. The numbers of "
         "each run are in [bench-notify.json](bench-notify.json)."],
        chart,
        noise(runs),
        ["## What one sees", "",
         "Each number here is a median over the ring layouts, with and without EVENT_IDX.", "",
         *seen(about, runs, shown), "", *summary(about, shown)],
        ["## Notes", "", NOTES[0] + notes + NOTES[1]],
        ["## What was measured, and on what", "", *setting(about, runs), "", *method(about)],
        ["## How to repeat it", "", "    make bench-notify", "",
         f"as root, on a machine with nothing else to do; it took {about['took_s']} s. "
         "`tests/e2e/bench_notify.py --help` has the options, among them shorter runs and one back "
         "end only."],
        ["## All numbers", "", *tables(about, shown, failures)],
    ]
    return "\n\n".join("\n".join(part).rstrip("\n") for part in parts if part) + "\n"


def render(path):
    """Writes Markdown and chart beside the JSON file; returns the names of all three."""
    return write_report(path, NOTES, markdown, lambda about, runs, failures:
                        bench_chart.chart(about, medians(runs), failures))


def write_report(path, marks, markdown_of, chart_of):
    """Writes what both make of the JSON file beside it; what stands between the marks is kept."""
    about, runs, failures = read_json(path)
    base = os.path.splitext(path)[0]
    text = markdown_of(about, runs, failures, kept_notes(base + ".md", marks))
    with open(base + ".md", "w", encoding="utf-8") as f:
        f.write(text)
    with open(base + ".svg", "w", encoding="utf-8") as f:
        f.write(chart_of(about, runs, failures))
    return path, base + ".md", base + ".svg"
