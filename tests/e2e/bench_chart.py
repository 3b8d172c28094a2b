"""The chart of bench_notify.py: SVG, readable on light and dark pages.

A column for each back end, a row for each quantity, in each panel a group for each rate. The colour
of a mark is the mode, its shape the ring layout; it is filled with EVENT_IDX and hollow without.
"""
import math
from xml.sax.saxutils import escape, quoteattr

MODES = ("poll", "irq", "adaptive")
VARIANTS = (("split", "on"), ("split", "off"), ("packed", "on"), ("packed", "off"))
COLUMNS = {"tap": "tap: QEMU's own device", "vhost": "vhost: DPDK's testpmd"}
ROWS = (  # what is shown, its title, its unit, whether the scale is logarithmic
    ("kicks", "Kicks", "per frame", False),
    ("interrupts", "Interrupts", "per frame", False),
    ("vcpu", "vCPU, as the host sees it", "% of a core", False),
    ("p50", "Round trip: p50, with a line up to p99", "", True),
)

WIDTH, PANEL_WIDTH, PANEL_HEIGHT = 980, 410, 130
LEFT, TOP, GAP_X, GAP_Y, BOTTOM = 62, 126, 62, 44, 48
LEGEND_Y = 64.0
MARK = 3.5   # half of a mark's width
STEP = 7.5   # between the marks of a mode
TICKS = 4    # of a linear scale, about

STYLE = """
svg { --page: #ffffff; --text: #1f2328; --faint: #6e7781; --line: #d8dee4;
      --poll: #0969da; --irq: #bc4c00; --adaptive: #1a7f37; font: 12px sans-serif; }
@media (prefers-color-scheme: dark) {
  svg { --page: #0d1117; --text: #e6edf3; --faint: #9198a1; --line: #30363d;
        --poll: #58a6ff; --irq: #f0883e; --adaptive: #3fb950; } }
.page { fill: var(--page); } text { fill: var(--text); } .faint { fill: var(--faint); }
.title { font-weight: bold; } .middle { text-anchor: middle; } .end { text-anchor: end; }
.grid { stroke: var(--line); stroke-width: 1; } .mark { stroke-width: 1.5; }
.poll { stroke: var(--poll); } .irq { stroke: var(--irq); } .adaptive { stroke: var(--adaptive); }
.poll.on { fill: var(--poll); } .irq.on { fill: var(--irq); }
.adaptive.on { fill: var(--adaptive); }
.any { stroke: var(--faint); } .any.on { fill: var(--faint); } .off { fill: var(--page); }
"""


def tag(name, content=None, **attributes):
    words = "".join(f" {key.rstrip('_').replace('_', '-')}={quoteattr(shown(value))}"
                    for key, value in attributes.items())
    return f"<{name}{words}/>" if content is None else f"<{name}{words}>{content}</{name}>"


def shown(value):
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


def text(x, y, words, classes=""):
    return tag("text", escape(words), x=x, y=y, class_=classes)


def line(x1, y1, x2, y2, classes):
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=classes)


def mark(x, y, mode, layout, event_idx):
    classes = f"mark {mode} {event_idx}"
    if layout == "split":
        return tag("circle", cx=x, cy=y, r=MARK, class_=classes)
    return tag("rect", x=x - MARK, y=y - MARK, width=2 * MARK, height=2 * MARK, class_=classes)


# ---- Scales ----

class Scale:
    """From values to heights in a panel, with ticks at round values."""

    def __init__(self, values, logarithmic):
        self.log = logarithmic
        if logarithmic:
            low, high = math.log10(min(values)), math.log10(max(values))
            self.low, self.high = math.floor(low), max(math.ceil(high), math.floor(low) + 1)
            self.ticks = [10.0 ** power for power in range(self.low, self.high + 1)]
        else:
            step = self._round_step(max(values) / TICKS)
            self.low = 0
            self.high = step * max(1, math.ceil(max(values) / step - 1e-9))
            self.ticks = [step * i for i in range(round(self.high / step) + 1)]

    @staticmethod
    def _round_step(step):
        if step <= 0:
            return 1.0
        power = 10.0 ** math.floor(math.log10(step))
        return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= step)

    def height(self, value):
        place = math.log10(max(value, 10.0 ** self.low)) if self.log else value
        return PANEL_HEIGHT * (place - self.low) / (self.high - self.low)


def scale_of(medians, name, logarithmic):
    values = [row[column] for row in medians.values()
              for column in ((name, "p99") if logarithmic else (name,)) if row[column]]
    return Scale(values or [1], logarithmic)


def time_title(us):
    if us < 1e3:
        return f"{us:g} µs"
    return f"{us / 1e3:g} ms" if us < 1e6 else f"{us / 1e6:g} s"


def rate_title(rate):
    if rate == 0:
        return "flat out"
    return f"{rate // 1000} k/s" if rate % 1000 == 0 else f"{rate}/s"


# ---- Panels ----

def panel(medians, rates, back_end, name, scale, x, y):
    bottom = y + PANEL_HEIGHT
    parts = []
    for value in scale.ticks:
        at = bottom - scale.height(value)
        parts += [line(x, at, x + PANEL_WIDTH, at, "grid"),
                  text(x - 6, at + 4, time_title(value) if scale.log else f"{value:g}",
                       "faint end")]
    width = PANEL_WIDTH / len(rates)
    for i, rate in enumerate(rates):
        if i > 0:
            parts.append(line(x + i * width, y, x + i * width, bottom, "grid"))
        for j, mode in enumerate(MODES):
            middle = x + (i + (2 * j + 1) / (2 * len(MODES))) * width
            for k, (layout, event_idx) in enumerate(VARIANTS):
                row = medians.get((back_end, rate, mode, layout, event_idx))
                at = middle + (k - (len(VARIANTS) - 1) / 2) * STEP
                parts += marks(row, name, scale, at, bottom, (mode, layout, event_idx))
    return parts


def marks(row, name, scale, x, bottom, kind):
    if row is None or row[name] is None:
        return []
    y = bottom - scale.height(row[name])
    parts = []
    if name == "p50" and row["p99"] is not None:
        parts.append(line(x, y, x, bottom - scale.height(row["p99"]), f"mark {kind[0]}"))
    return [*parts, mark(x, y, *kind)]


def legend():
    parts, x = [], float(LEFT)
    for mode in MODES:
        parts += [mark(x, LEGEND_Y, mode, "split", "on"), text(x + 9, LEGEND_Y + 4, mode)]
        x += 30 + 7 * len(mode)
    x += 30
    for layout, event_idx in VARIANTS:
        words = f"{layout}, EVENT_IDX {event_idx}"
        parts += [mark(x, LEGEND_Y, "any", layout, event_idx), text(x + 9, LEGEND_Y + 4, words)]
        x += 30 + 6.5 * len(words)
    return parts


def subtitle(about):
    """What it was measured on, and how."""
    words = [about["cpu"], f"{about['cores']} cores", f"Linux {about['kernel']}", about["accel"],
             about["qemu"].replace("emulator version ", ""), about["dpdk"],
             f"rounds: {about['rounds']}, {about['seconds']} s each"]
    return ", ".join(filter(None, words))


def chart(about, medians, failures):
    rates = about["rates"]
    height = TOP + len(ROWS) * (PANEL_HEIGHT + GAP_Y) + BOTTOM - GAP_Y
    parts = [tag("style", escape(STYLE)), tag("rect", width=WIDTH, height=height, class_="page"),
             text(LEFT, 22, "What each notification mode costs", "title"),
             text(LEFT, 40, subtitle(about), "faint"), *legend()]
    for j, (back_end, title) in enumerate(COLUMNS.items()):
        x = LEFT + j * (PANEL_WIDTH + GAP_X)
        parts.append(text(x + PANEL_WIDTH / 2, TOP - 30, title, "middle title"))
        present = any(key[0] == back_end for key in medians)
        reasons = [f["reason"] for f in failures if f["back_end"] == back_end]
        for i, (name, title, unit, logarithmic) in enumerate(ROWS):
            y = TOP + i * (PANEL_HEIGHT + GAP_Y)
            parts.append(text(x, y - 7, ", ".join(filter(None, (title, unit)))))
            if present:
                scale = scale_of(medians, name, logarithmic)
                parts += panel(medians, rates, back_end, name, scale, x, y)
            else:
                parts.append(text(x + PANEL_WIDTH / 2, y + PANEL_HEIGHT / 2,
                                  f"not measured: {reasons[0] if reasons else 'not asked for'}",
                                  "faint middle"))
        for i, rate in enumerate(rates):
            parts.append(text(x + (i + 0.5) * PANEL_WIDTH / len(rates), height - BOTTOM + 16,
                              rate_title(rate), "middle"))
        parts.append(text(x + PANEL_WIDTH / 2, height - BOTTOM + 36, "UDP datagrams sent",
                          "faint middle"))
    return tag("svg", "\n".join(["", *parts, ""]), xmlns="http://www.w3.org/2000/svg",
               viewBox=f"0 0 {WIDTH} {height}", width=WIDTH, height=height, role="img") + "\n"
