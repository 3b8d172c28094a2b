"""The chart of bench_echo.py: SVG, readable on light and dark pages.

A line for each row of the benchmark, in it a mark for each guest but the Linux one: how many times better it
is than that, on a logarithmic scale, with a line from its worst to its best round. A short upright
line is the aim of the row.
"""
import math
from xml.sax.saxutils import escape

from bench_chart import WIDTH, line, subtitle, tag, text

COLORS = ("#0969da", "#bc4c00", "#1a7f37", "#8250df", "#bf3989", "#6e7781")  # repeated from the seventh on
LEFT, TOP, LEGEND_Y, BOTTOM, RIGHT = 300, 96, 62.0, 40, 24
ROW_HEIGHT, MARK = 34, 4
TICKS = (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128)

STYLE = """
svg { --page: #ffffff; --text: #1f2328; --faint: #6e7781; --line: #d8dee4; font: 12px sans-serif; }
@media (prefers-color-scheme: dark) {
  svg { --page: #0d1117; --text: #e6edf3; --faint: #9198a1; --line: #30363d; } }
.page { fill: var(--page); } text { fill: var(--text); } .faint { fill: var(--faint); }
.title { font-weight: bold; } .middle { text-anchor: middle; } .end { text-anchor: end; }
.grid { stroke: var(--line); } .one { stroke: var(--faint); } .small { font-size: 10px; }
.aim { stroke: var(--text); stroke-width: 2; }
""" + "".join(f".c{i} {{ fill: {color}; stroke: {color}; }} " for i, color in enumerate(COLORS))


class Scale:
    """From ratios to places, logarithmic, between the ticks around all of them."""

    def __init__(self, ratios):
        low, high = min([1, *ratios]), max([2, *ratios])
        first = max((i for i, tick in enumerate(TICKS) if tick <= low), default=0)
        last = min((i for i, tick in enumerate(TICKS) if tick >= high), default=len(TICKS) - 1)
        self.ticks = TICKS[first:last + 1]

    def place(self, ratio):
        low, high = self.ticks[0], self.ticks[-1]
        share = math.log(min(max(ratio, low), high) / low) / math.log(high / low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)


def grid(scale, bottom):
    parts = []
    for tick in scale.ticks:
        x = scale.place(tick)
        parts += [line(x, TOP, x, bottom, "one" if tick == 1 else "grid"),
                  text(x, bottom + 16, f"{tick:g}×", "faint middle")]
    return parts


def marks(cells, row, names, scale, y):
    parts = []
    for i, name in enumerate(names):
        ratio = cells.ratio(row, name)
        if ratio is None:
            continue
        at = y + (i + 1) * ROW_HEIGHT / (len(names) + 1)
        low, high = cells.ratio_range(row, name)
        color = f"c{i % len(COLORS)}"
        parts += [line(scale.place(low), at, scale.place(high), at, color),
                  tag("circle", cx=scale.place(ratio), cy=at, r=MARK, class_=color)]
    return parts


def legend(names):
    parts, x = [], float(LEFT)
    for i, name in enumerate(names):
        parts += [tag("circle", cx=x, cy=LEGEND_Y - 4, r=MARK, class_=f"c{i % len(COLORS)}"),
                  text(x + 10, LEGEND_Y, name)]
        x += 34 + 6.5 * len(name)
    return [*parts, line(x, LEGEND_Y - 10, x, LEGEND_Y + 2, "aim"), text(x + 8, LEGEND_Y, "aim")]


def chart(about, cells, titles, aims):
    names = [column["name"] for column in about["columns"] if column["name"] != "Linux"]
    shown = [ratio for row in about["rows"] for name in names
             if (ratio := cells.ratio(row, name)) is not None]
    scale = Scale([*shown, *(aims[row] for row in about["rows"])])
    bottom = TOP + len(about["rows"]) * ROW_HEIGHT
    height = bottom + BOTTOM
    parts = [tag("style", escape(STYLE)), tag("rect", width=WIDTH, height=height, class_="page"),
             text(20, 22, "Times better than a Linux guest", "title"),
             text(20, 40, subtitle(about), "faint"), *legend(names), *grid(scale, bottom)]
    for i, row in enumerate(about["rows"]):
        y = TOP + i * ROW_HEIGHT
        aim = scale.place(aims[row])
        parts += [text(LEFT - 14, y + ROW_HEIGHT / 2 + 4, titles[row][0], "end"),
                  line(aim, y + 6, aim, y + ROW_HEIGHT - 6, "aim"),
                  *marks(cells, row, names, scale, y)]
    return tag("svg", "\n".join(["", *parts, ""]), xmlns="http://www.w3.org/2000/svg",
               viewBox=f"0 0 {WIDTH} {height}", width=WIDTH, height=height, role="img") + "\n"
