"""The cost curves as a picture: what was measured, what the model says of it, and of more."""

from pathlib import Path
from typing import Any

import numpy as np

from softstep.bench.studies.workers.calculated import costs_of
from softstep.bench.studies.workers.curves import Curves
from softstep.bench.studies.workers.model import Job, by_heads, by_rows, fitted
from softstep.model.plots import style

WORKERS = np.unique(np.geomspace(1, 1000, 200).round().astype(int)).tolist()
WAYS: Any = {
    "by heads": ("heads", by_heads, "processes"),
    "by rows, MPI": ("rows", by_rows, "mpi"),
    "by rows, Dask": ("rows", by_rows, "dask"),
}


def draw(curves: Curves, file: Path) -> None:
    """Write a PNG. MissingExtraError without matplotlib."""
    figure(curves).savefig(file, format="png")


def figure(curves: Curves) -> Any:
    look = style.LIGHT
    found = style.new_figure(look)
    left, right = found.subplots(1, 2)
    _measured(left, look, curves)
    _calculated(right, look, curves)
    return found


def _measured(axes: Any, look: style.Theme, curves: Curves) -> None:
    """Seconds of each fit, and dashed what the model says."""
    for kind, points in curves.points.items():
        costs = fitted(points, curves.cores)
        sizes = dict.fromkeys((point.rows, point.columns) for point in points)
        for colour, (rows, columns) in zip(look.colours, sizes, strict=False):
            own = [p for p in points if (p.rows, p.columns) == (rows, columns)]
            workers = [point.workers for point in own]
            label = f"{columns // 10} heads" if kind == "heads" else f"{rows} rows"
            axes.plot(workers, [p.seconds for p in own], "o-", color=colour, label=label)
            says = [costs.of(point, curves.cores) for point in own]
            axes.plot(workers, says, "--", color=look.muted)
    style.dress(axes, look, x="processes", y="seconds", title="measured, 2 cores")
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted({p.workers for points in curves.points.values() for p in points}))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yscale("log")
    style.plain_logs(axes.yaxis)
    style.legend(axes, look)


def _calculated(axes: Any, look: style.Theme, curves: Curves) -> None:
    """How much of what is gained with each worker is left, of a billion rows."""
    ways = {name: way for name, way in WAYS.items() if way[2] in ("processes", *curves.empty)}
    for colour, (name, (kind, split, engine)) in zip(look.colours, ways.items(), strict=False):
        costs = costs_of(curves, kind)
        took = [sum(split(Job(), costs, curves, p, engine).values()) for p in WORKERS]
        efficiency = took[0] / (np.array(took) * WORKERS)
        axes.plot(WORKERS, 100 * efficiency, color=colour, label=name)
    style.dress(axes, look, x="workers", y="efficiency, %", title="calculated, 10⁹ rows")
    axes.set_xscale("log")
    style.plain_logs(axes.xaxis)
    axes.set_ylim(0, 105)
    style.legend(axes, look, loc="lower left")
