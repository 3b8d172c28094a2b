"""The benchmark of the echo workload: its Linux guest serves what Ringlet does, its report says what was
measured."""
import os
import tempfile
from xml.etree import ElementTree

import bench_echo
import bench_echo_report as report
import bench_echo_rig as rig
from bench_report import write_json
from case import TCG, Skip, case
from guest import GuestError
from load import TCP_LOAD, UDP_LOAD
from traffic import pattern, receive_exactly, same, stalled_connection, tcp_echo_many

MIB = 1 << 20


@case(accel=TCG)
def linux_guest(t):
    """It boots, and each load finds right answers; readers that are slow lose nothing."""
    for needed in (UDP_LOAD, TCP_LOAD, rig.LINUX_INIT):
        if not os.path.exists(needed):
            raise Skip(f"build/{os.path.basename(needed)} is not built: make bench-echo does")
    try:
        rig.write_initramfs()
    except GuestError as error:
        raise Skip(str(error)) from None
    t.need_namespace()
    cores = sorted(os.sched_getaffinity(0))
    column = bench_echo.Column("Linux", "linux", "tcg", "", None)
    station = rig.Station(column, "qboot", [cores[0], cores[-1]])
    t.stack.callback(station.close)
    t.guests.append(station.guest)
    for row, load in rig.ROWS.items():
        if load is not None:
            run = report.run_of(station.measure(row, 1), others_max=1e9)
            late = {"lost", "timeouts"}  # a busy machine may keep the guest waiting
            assert run["value"] > 0 and set(run["faults"]) <= late, (row, run)
    data = [pattern(4 * MIB, seed) for seed in range(3)]
    sockets = [t.stack.enter_context(stalled_connection(station.guest, each)) for each in data]
    tcp_echo_many(station.guest, [pattern(MIB, seed) for seed in range(8)])
    for s, each in zip(sockets, data):
        same(receive_exactly(s, len(each)), each, "slow reader")


# ---- The report ----

ABOUT = {"rows": ["udp-1", "bulk-to", "http", "ping"], "rounds": 3, "seconds": 1, "retries": 2,
         "others_max": 10, "timeout_ms": 1000, "took_s": 9, "date": "2000-01-01", "ringlet": "abc",
         "compiler": "gcc",
         "cpu": "cpu", "cores": 2, "kernel": "6", "accel": "tcg", "qemu": "QEMU", "dpdk": None,
         "machine": "q35", "memory": "256M", "pinned": [0, 1], "linux": "6.1", "linux_words": "quiet",
         "columns": [{"name": name, "kind": kind, "accel": "tcg", "words": "", "image": None}
                     for name, kind in (("Linux", "linux"), ("Ringlet", "ringlet"),
                                        ("Ringlet irq", "ringlet"))]}


def runs_of(row, column, values, faults=(), **more):
    return [{"round": i, "row": row, "column": column, "value": value, "faults": list(faults), **more}
            for i, value in enumerate(values)]


def made_up():
    """Ringlet is 3.5 times better in udp-1, as good as Linux in bulk-to (better with mode=irq), and starts 25
    times sooner."""
    return [*runs_of("udp-1", "Linux", [10, 9, 30], received=10, rtt_p50_us=100.0),
            *runs_of("udp-1", "Ringlet", [35, 34, 36], received=10, rtt_p50_us=30.0),
            *runs_of("udp-1", "Ringlet", [1000], ["lost"], lost=1),
            *runs_of("bulk-to", "Linux", [500]), *runs_of("bulk-to", "Ringlet", [500], ["others"]),
            *runs_of("bulk-to", "Ringlet irq", [650]), *runs_of("http", "Linux", [4]),
            *runs_of("http", "Ringlet", [5]),
            *runs_of("ping", "Linux", [2500, 2400, 2600], firmware="seabios"),
            *runs_of("ping", "Linux", [3000], firmware="qboot"),
            *runs_of("ping", "Ringlet", [100], firmware="qboot"),
            *runs_of("ping", "Ringlet", [200], firmware="seabios")]


def cells_of(line):
    return [cell.strip() for cell in line.strip("|\n").split("|")]


@case(accel=None)
def rendered(t):
    """Medians of good runs, ratios the right way round, verdicts by the aims, the notes as they were."""
    folder = t.stack.enter_context(tempfile.TemporaryDirectory(prefix="ringlet-bench-"))
    path = os.path.join(folder, "echo.json")
    failures = [{"row": "http", "column": "Linux", "round": 1, "reason": "it ended"}]
    write_json(path, ABOUT, made_up(), failures)
    with open(os.path.join(folder, "echo.md"), "w", encoding="utf-8") as f:
        f.write(f"{report.NOTES[0]}\nkept\n{report.NOTES[1]}\n")
    report.render(path)
    with open(os.path.join(folder, "echo.md"), encoding="utf-8") as f:
        text = f.read()
    lines = text.splitlines()
    verdicts = {cells_of(line)[0]: cells_of(line)[1:] for line in lines if "≥" in line}
    titles = {row: ", ".join(report.TITLES[row]) for row in ABOUT["rows"]}
    assert verdicts == {
        titles["udp-1"]: ["10", "", "35 = **3.50**", "", "≥ 3", "met"],
        titles["bulk-to"]: ["500", "", "500 = **1.00**", "650 = **1.30**", "≥ 1.2", "met by Ringlet irq"],
        titles["http"]: ["4", "", "5 = **1.25**", "", "≥ 4", "**missed**"],
        titles["ping"]: ["2 500 (seabios)", "", "100 (qboot) = **25.00**", "", "≥ 20", "met"]}, verdicts
    assert "3 of 4 aims are met" in text and "kept" in lines and "lost 1" in text, text
    assert "1 of 9 cells have no undisturbed measurement" in text, text
    assert "- http of Linux: it ended (1 times)" in lines, text
    chart = ElementTree.parse(os.path.join(folder, "echo.svg")).getroot()
    marks = [e for e in chart.iter() if e.tag.endswith("circle")]
    assert len(marks) == 2 + 5, marks  # the legend's, and a ratio for each row with both sides


@case(accel=None)
def faults(t):
    """What keeps a measurement from counting."""
    good = {"received_pps": 5, "lost": 0, "corrupt": 0, "others": 1, "stolen": 1}
    assert report.run_of(good, 10)["faults"] == []
    for name in ("lost", "corrupt", "stale", "refused", "resets", "timeouts"):
        assert report.run_of({**good, name: 1}, 10)["faults"] == [name]
    for name in ("others", "stolen"):
        assert report.run_of({**good, name: 11}, 10)["faults"] == [name]
