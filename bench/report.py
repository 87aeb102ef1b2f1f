"""A run as text: blocks for the terminal, JSON, Markdown."""

import math
from collections.abc import Iterable
from dataclasses import asdict
from itertools import groupby
from typing import Any

from softstep.bench.goals import GOALS, Goal, geometric_mean
from softstep.bench.measure import OURS, Row
from softstep.bench.peak import Peak

TITLES = {
    "a": "The original recipe: one shuffled epoch, batches of 100, MSE through softmax",
    "b": "Banks of heads: one epoch, batches of 100, cross-entropy, a learning rate for each head",
    "c": "1000 classes: one epoch, batches of 256, cross-entropy",
    "d": "The matrix products alone",
    "e": "Softmax",
    "f": "Predict and evaluate",
    "g": "Scaling curves: one epoch of 20000x784->10, batches of 100, one thing varied",
    "h": "MNIST from the array in memory to 92% of the test rows right",
    "i": "`fit` on an array in memory, and the same epochs alone",
    "j": "Loss and gradient over all rows, the work of a round of L-BFGS",
    "k": "Small calls of the estimators",
    "ops": "Every op on every usable backend; `numpy` is the oracle, written to be read",
}
HEADINGS = ("work", "who", "ratio", "time", "GFLOP/s", "of peak", "error")
LEGEND = """\
ratio: how many times as long as softstep it takes, the median of the ratios of interleaved rounds.
time: the median. GFLOP/s: by the operations that the formulas need. of peak: of the float32
multiply-adds measured on the same number of cores. error: the worst, against the oracle in float64,
relative to the largest entry; for an epoch, that of the loss after it; for softmax also in units in
the last place (ULP); for MNIST and `partial_fit`, the share of wrong rows."""


def cells(row: Row) -> tuple[str, ...]:
    """The row's figures, in the order of HEADINGS, without the work."""
    if row.not_run:
        return row.competitor, "", "", "", "", f"not run: {row.not_run}"
    error = "exact" if row.error == 0 else f"{row.error:.0e}"
    if row.agrees and math.isnan(row.error):  # it is what the others are compared with
        error = ""
    if row.suite == "h":
        error = f"{100 * row.error:.1f}%"
    if row.ulp is not None:
        error += f", {row.ulp:.1f} ULP"
    return (
        row.competitor,
        f"{row.ratio:.2f}x" if row.ratio else "",
        _time(row.wall) if row.wall else "",
        f"{row.gflop_per_s:.1f}" if row.gflop_per_s else "",
        f"{100 * row.share:.0f}%" if row.share else "",
        error if row.agrees else f"WRONG {error}",
    )


def _time(seconds: float) -> str:
    return f"{1e3 * seconds:.2f} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.1f} us"


_WIDTHS = (22, 9, 13, 9, 8)


def header() -> str:
    """The line above the blocks."""
    return _line(HEADINGS[1:])


def block(rows: list[Row]) -> str:
    """One case for the terminal: a line that names it, a line for each competitor."""
    return "\n".join([_work(rows[0]), *(_line(cells(row)) for row in rows)])


def _work(row: Row) -> str:
    return f"({row.suite}) {row.case}, {_threads(row)}"


def _threads(one: Row | Goal) -> str:
    return "1 thread" if one.threads == 1 else f"{one.threads} threads"


def _line(parts: Iterable[str]) -> str:
    who, *figures, error = parts
    right = "".join(f.rjust(width) for f, width in zip(figures, _WIDTHS[1:], strict=True))
    return f"    {who.ljust(_WIDTHS[0])}{right}  {error}".rstrip()


def summary(rows: list[Row]) -> str:
    """The geometric mean and the lowest of the ratios to each competitor, for matrix products."""
    lines = []
    ratios = _ratios([row for row in rows if row.suite == "d"])
    for who, figures in ratios.items():
        least, where = min(figures)
        mean = geometric_mean([ratio for ratio, _ in figures])
        lines.append(f"(d) {who}: geometric mean {mean:.2f}x, least {least:.2f}x at {where}")
    return "\n".join(lines)


def _ratios(rows: list[Row]) -> dict[str, list[tuple[float, str]]]:
    found: dict[str, list[tuple[float, str]]] = {}
    for row in rows:
        if row.ratio and row.competitor != OURS:
            found.setdefault(row.competitor, []).append((row.ratio, row.case))
    return found


def peak_lines(peak: Peak) -> list[str]:
    """The measured limits."""
    rates = ", ".join(f"{rate:.0f} on {k}" for k, rate in peak.gflop_per_s.items())
    return [
        f"peak, float32 multiply-adds, GFLOP/s by cores: {rates}",
        f"memory, read by all cores: {peak.gb_per_s:.0f} GB/s",
    ]


def as_json(about: dict[str, str], peak: Peak, rows: list[Row], *, quick: bool) -> dict[str, Any]:
    """Everything."""
    return {
        "machine": about,
        "peak": asdict(peak),
        "rows": rows_as_json(rows),
        "goals": [] if quick else [_goal_json(goal, rows) for goal in GOALS],
    }


def rows_as_json(rows: list[Row]) -> list[dict[str, Any]]:
    """Their figures; NaN and infinity, which JSON does not have, are null."""
    return [{k: _finite(v) for k, v in asdict(row).items()} for row in rows]


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _goal_json(goal: Goal, rows: list[Row]) -> dict[str, Any]:
    return {**asdict(goal), "over": goal.over.__name__, "measured": goal.figure(rows)}


def markdown(
    about: dict[str, str], peak: Peak, rows: list[Row], command: str, *, quick: bool
) -> str:
    """The page docs/results.md. A quick run has no goals: its sizes are too small for them."""
    parts = [
        "# Results",
        f"Written by `{command}`. How it is measured: [benchmarks.md](benchmarks.md).",
        "\n".join(
            [*(f"- {key}: {value}" for key, value in about.items())]
            + [f"- {line}" for line in peak_lines(peak)]
        ),
        LEGEND,
        *([] if quick else _goals(rows)),
    ]
    for suite, own in groupby(rows, key=lambda row: row.suite):
        its = list(own)
        parts.append(f"## ({suite}) {TITLES[suite]}")
        if suite == "d":
            parts.append(summary(its))
        lines = [(f"{row.case}, {_threads(row)}", *cells(row)) for row in its]
        parts.append(_markdown_table(HEADINGS, lines))
    return "\n\n".join(part for part in parts if part) + "\n"


def _goals(rows: list[Row]) -> list[str]:
    return [
        "## Goals",
        "On all cores for all, or on one for all. Figures are ratios; for softstep itself, the "
        "share of the measured peak. Reached: `yes`, `aim` if even the aim is reached, or `NO`.",
        _markdown_table(
            ("work", "against", "required", "aim", "measured", "reached"),
            [_goal_cells(goal, rows) for goal in GOALS],
        ),
    ]


def _goal_cells(goal: Goal, rows: list[Row]) -> tuple[str, ...]:
    figure = goal.figure(rows)
    what = f"({goal.suite}) {goal.work.lstrip('>')}".strip()
    if goal.suite in "de":
        what += f" {goal.over.__name__.replace('_', ' ')} of all"
    if goal.threads:
        what += f", {_threads(goal)}"
    return (
        what,
        "share of the peak" if goal.competitor == OURS else goal.competitor,
        f"{goal.required:g}",
        f"{goal.aim:g}",
        "" if figure is None else f"{figure:.2f}",
        goal.verdict(figure),
    )


def _markdown_table(headings: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    rule = "|".join(["---"] * len(headings))
    rows = ["| " + " | ".join(line) + " |" for line in [headings, *lines]]
    return "\n".join([rows[0], f"|{rule}|", *rows[1:]])
