"""What the model says of a billion rows, as tables."""

from dataclasses import replace

from softstep.bench.studies.workers.curves import Curves
from softstep.bench.studies.workers.model import (
    PACERS,
    WORK,
    Costs,
    Job,
    Split,
    Terms,
    by_heads,
    by_rows,
    crossing,
    fitted,
    furthest,
)

SHOWN = (1, 10, 45, 100, 300, 1000)  # workers
# Where nothing was measured: a machine of 200 GFLOP/s that reads 10 GB/s, tasks that are 3% apart,
# a scheduler that does a thousand of them a second.
ASSUMED = Costs(fixed=0.0, task=0.0, read=2 / 10e9, compute=4 / 200e9)
UNMEASURED = Curves({"heads": []}, {"dask": 1e-3}, spread=0.03, cores=1, about={})
LAST = replace(Job(), settings=1, folds=0)  # the head that converges last, alone


def costs_of(curves: Curves, kind: str) -> Costs:
    """Those that are fitted to points of this kind; without any to those of heads, whose kernels do
    the same work; where nothing was measured those that are assumed."""
    points = curves.points.get(kind) or curves.points["heads"]
    return fitted(points, curves.cores) if points else ASSUMED


def lines(curves: Curves) -> list[str]:
    """Markdown: the costs, and a table for each way to split the rows or the heads."""
    found = [_costs(curves), ""]
    cases: list[tuple[str, str, Split, Job, str]] = [
        ("by heads", "heads", by_heads, Job(), "processes"),
        ("by rows, MPI, all heads", "rows", by_rows, Job(), "mpi"),
        ("by rows, Dask, all heads", "rows", by_rows, Job(), "dask"),
        ("by rows, MPI, the last head", "rows", by_rows, LAST, "mpi"),
        ("by rows, Dask, the last head", "rows", by_rows, LAST, "dask"),
    ]
    for title, kind, split, job, engine in cases:
        if split is by_rows and engine == "dask" and engine not in curves.empty:
            continue
        found += [f"{title}:", "", *_table(split, job, costs_of(curves, kind), curves, engine), ""]
    return found


def _costs(curves: Curves) -> str:
    costs, points = costs_of(curves, "heads"), curves.points["heads"]
    off = (
        f"at most {furthest(costs, points, curves.cores):.0%} off a point" if points else "assumed"
    )
    empty = ", ".join(f"{name} {1e3 * took:.2f} ms" for name, took in curves.empty.items())
    return (
        f"fixed {costs.fixed:.3f} s; task {1e3 * costs.task:.1f} ms; read "
        f"{1e9 * costs.read:.3f} ns; compute {1e12 * costs.compute:.2f} ps; {off}. Equal tasks are "
        f"{curves.spread:.1%} apart. An empty task: {empty}."
    )


def _table(split: Split, job: Job, costs: Costs, curves: Curves, engine: str) -> list[str]:
    found = [
        f"| workers | {WORK} | {' | '.join(PACERS)} | efficiency |",
        "|---|---|---|---|---|---|",
    ]
    one = sum(split(job, costs, curves, 1, engine).values())
    for p in SHOWN:
        terms = split(job, costs, curves, p, engine)
        cells = [_bold(name, terms) for name in (WORK, *PACERS)]
        found.append(f"| {p} | {' | '.join(cells)} | {one / (p * sum(terms.values())):.0%} |")
    where = {name: crossing(split, job, costs, curves, engine, name) for name in PACERS}
    about = {name: float(f"{p:.2g}") for name, p in where.items() if p}
    return [*found, "", _as_long(about)]


def _as_long(about: dict[str, float]) -> str:
    """From how many workers on what takes as long as the work."""
    if not about:
        return "Nothing takes as long as the work."
    (name, p), *others = about.items()
    more = (f", from about {q:.0f} on the {other}" for other, q in others)
    return f"From about {p:.0f} workers on the {name} takes as long as the work{''.join(more)}."


def _bold(name: str, terms: Terms) -> str:
    """Its seconds, in bold where it is what takes longest beside the work."""
    pace = max(PACERS, key=lambda pacer: terms[pacer])
    text = f"{float(f'{terms[name]:.3g}'):g} s"
    return f"**{text}**" if name == pace and terms[name] else text
