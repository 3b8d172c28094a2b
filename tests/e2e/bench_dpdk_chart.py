"""The chart of bench_dpdk.py: SVG, readable on light and dark pages.

A panel for each direction, in it a group for each size, in it a bar for each driver and layout
with a line from the lowest to the highest round. A dashed line across a group is DPDK's fastest
path of all.
"""
from xml.sax.saxutils import escape

from bench_chart import LEFT, PANEL_HEIGHT, Scale, WIDTH, line, subtitle, tag, text

BARS = (("Ringlet", "split", ""), ("Ringlet", "packed", ""), ("DPDK", "split", ""),
        ("DPDK", "split", "in-order"), ("DPDK", "packed", ""), ("DPDK", "packed", "in-order"))
TITLES = {"tx": "Guest to host (tx)", "rx": "Host to guest (rx)", "macswap": "Loop (macswap)",
          "sink": "Generator and sink in one guest (sink)"}
TOP, GAP_Y, LEGEND_Y, BOTTOM = 106, 58, 62.0, 10
PANEL_WIDTH = WIDTH - LEFT - 20
SLOTS = len(BARS) + 1  # of a group; one stays free

STYLE = """
svg { --page: #ffffff; --text: #1f2328; --faint: #6e7781; --line: #d8dee4; font: 12px sans-serif;
      --b0: #0969da; --b1: #54aeff; --b2: #953800; --b3: #bc4c00; --b4: #e16f24; --b5: #fb8f44; }
@media (prefers-color-scheme: dark) {
  svg { --page: #0d1117; --text: #e6edf3; --faint: #9198a1; --line: #30363d;
        --b0: #388bfd; --b1: #79c0ff; --b2: #9b4215; --b3: #bd561d; --b4: #db6d28;
        --b5: #ffa657; } }
.page { fill: var(--page); } text { fill: var(--text); } .faint { fill: var(--faint); }
.title { font-weight: bold; } .middle { text-anchor: middle; } .end { text-anchor: end; }
.grid { stroke: var(--line); } .range { stroke: var(--text); } .small { font-size: 10px; }
.best { stroke: var(--text); stroke-dasharray: 4 3; }
""" + "".join(f".b{i} {{ fill: var(--b{i}); }} " for i in range(len(BARS)))


def group(cells, direction, size, scale, x, bottom):
    width = PANEL_WIDTH / len(scale.sizes) / SLOTS
    parts = []
    for i, (driver, layout, variant) in enumerate(BARS):
        cell = cells.one(direction=direction, size=size, driver=driver, layout=layout,
                         variant=variant)
        if cell is None:
            continue
        left, height = x + (i + 0.5) * width, scale.height(cell.mpps)
        middle = left + width / 2 - 1
        parts += [tag("rect", x=left, y=bottom - height, width=width - 2, height=height,
                      class_=f"b{i}"),
                  line(middle, bottom - scale.height(cell.low), middle,
                       bottom - scale.height(cell.high), "range"),
                  text(middle, bottom - scale.height(cell.high) - 4, f"{cell.mpps:.1f}",
                       "middle small")]
    best = max((cell.mpps for cell in cells.dpdk(direction, size)), default=None)
    if best is not None:
        at = bottom - scale.height(best)
        parts.append(line(x + width / 2, at, x + (SLOTS - 0.5) * width, at, "best"))
    return parts


def panel(cells, direction, sizes, y):
    bottom = y + PANEL_HEIGHT
    shown = cells.where(direction=direction)
    scale = Scale([cell.high for cell in shown] or [1], False)
    scale.sizes = sizes
    parts = [text(LEFT, y - 16, f"{TITLES[direction]}, million packets a second", "title")]
    for value in scale.ticks:
        at = bottom - scale.height(value)
        parts += [line(LEFT, at, LEFT + PANEL_WIDTH, at, "grid"),
                  text(LEFT - 6, at + 4, f"{value:g}", "faint end")]
    for i, size in enumerate(sizes):
        x = LEFT + i * PANEL_WIDTH / len(sizes)
        parts += [*group(cells, direction, size, scale, x, bottom),
                  text(x + PANEL_WIDTH / len(sizes) / 2, bottom + 16, f"{size} bytes",
                       "middle faint")]
    return parts


def legend():
    parts, x = [], float(LEFT)
    for i, bar in enumerate(BARS):
        words = " ".join(filter(None, bar))
        parts += [tag("rect", x=x, y=LEGEND_Y - 8, width=10, height=10, class_=f"b{i}"),
                  text(x + 15, LEGEND_Y + 1, words)]
        x += 36 + 6.3 * len(words)
    return [*parts, line(x, LEGEND_Y - 3, x + 24, LEGEND_Y - 3, "best"),
            text(x + 30, LEGEND_Y + 1, "DPDK's fastest")]


def chart(about, cells):
    height = TOP + len(about["directions"]) * (PANEL_HEIGHT + GAP_Y) - GAP_Y + 24 + BOTTOM
    parts = [tag("style", escape(STYLE)), tag("rect", width=WIDTH, height=height, class_="page"),
             text(LEFT, 22, "Ringlet against DPDK's virtio driver, one queue", "title"),
             text(LEFT, 40, subtitle(about), "faint"), *legend()]
    for i, direction in enumerate(about["directions"]):
        parts += panel(cells, direction, about["sizes"], TOP + i * (PANEL_HEIGHT + GAP_Y))
    return tag("svg", "\n".join(["", *parts, ""]), xmlns="http://www.w3.org/2000/svg",
               viewBox=f"0 0 {WIDTH} {height}", width=WIDTH, height=height, role="img") + "\n"
