"""The figures as a picture: bars of ratios for each suite, lines for the scaling curves."""

import math
from typing import Any

import numpy as np

from softstep.bench.measure import OURS, Row
from softstep.bench.peers import installed

COLUMNS = 3
TICKS = (0.25, 0.5, 1, 2, 5, 10, 20, 50, 100)
COLOURS = {
    OURS: "#d62728",
    "NumPy": "#1f77b4",
    "torch by hand": "#ff7f0e",
    "torch autograd": "#e6a15c",
    "JAX scan": "#2ca02c",
}


def require() -> None:
    """Raises ValueError without matplotlib."""
    if not installed("matplotlib"):
        raise ValueError("--chart needs matplotlib: pip install 'softstep[bench]'")


def draw(rows: list[Row], file: Any) -> None:
    """Write a PNG."""
    from matplotlib.figure import Figure

    done = [row for row in rows if row.ratio]
    suites = [row.suite for row in done if row.suite not in ("g", "ops")]
    bars = {f"({s})": [r for r in done if r.suite == s] for s in suites}
    curves = [row.curve[0] for row in done if row.curve]
    lines = {c: [r for r in done if r.curve and r.curve[0] == c] for c in curves}
    tallest = max(map(len, bars.values()), default=0)
    parts = [
        (panels, draw_panel, math.ceil(len(panels) / COLUMNS) * height)
        for panels, draw_panel, height in ((bars, _bars, 2 + 0.13 * tallest), (lines, _lines, 3))
        if panels
    ]
    heights = [height for *_, height in parts]
    figure = Figure(figsize=(6 * COLUMNS, sum(heights) or 1), layout="constrained")
    folders: Any = []
    if parts:
        folders = figure.subfigures(len(parts), height_ratios=heights, squeeze=False)
    for folder, (panels, draw_panel, _) in zip(np.ravel(folders), parts, strict=True):
        for i, (title, its) in enumerate(panels.items(), start=1):
            axes = folder.add_subplot(math.ceil(len(panels) / COLUMNS), COLUMNS, i)
            draw_panel(axes, its)
            axes.set_title(title, fontsize=10)
    figure.savefig(file, format="png", dpi=110)


def _bars(axes: Any, rows: list[Row]) -> None:
    """Each competitor's time relative to softstep's, to the right of 1 where it takes longer."""
    peers = [row for row in rows if row.competitor != OURS]
    names = [f"{r.case}, {r.threads} thr.: {r.competitor}" for r in peers]
    ratios = [row.ratio or 1.0 for row in peers]
    colours = [COLOURS.get(r.competitor, "#999999") for r in peers]
    bars = axes.barh(names, [ratio - 1 for ratio in ratios], left=1, color=colours)
    axes.bar_label(bars, [f" {ratio:.2f} " for ratio in ratios], fontsize=7)
    axes.axvline(1, color=COLOURS[OURS])
    axes.set_xscale("log")
    axes.set_xlim(min([0.5, *ratios]) / 1.5, max([2.0, *ratios]) * 2)
    ticks = [tick for tick in TICKS if min([0.5, *ratios]) <= tick <= max([2.0, *ratios])]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=7)
    axes.set_xlabel("time relative to softstep", fontsize=8)


def _lines(axes: Any, rows: list[Row]) -> None:
    """Milliseconds against the quantity that is varied, above the floor of the machine's limits."""
    for name in dict.fromkeys(row.competitor for row in rows):
        its = [row for row in rows if row.competitor == name]
        points = [(r.curve[1], 1e3 * r.wall) for r in its if r.curve and r.wall]
        axes.plot(*zip(*points, strict=True), "o-", label=name, color=COLOURS.get(name))
    floors = sorted({(r.curve[1], 1e3 * r.floor) for r in rows if r.curve and r.floor})
    if floors:
        axes.plot(*zip(*floors, strict=True), "k--", label="floor: arithmetic, memory")
    values = sorted({r.curve[1] for r in rows if r.curve})
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(values, map(str, values))
    axes.set_xticks([], minor=True)
    axes.set_ylabel("ms", fontsize=8)
    axes.legend(fontsize=7)
