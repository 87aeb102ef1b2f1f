"""Accuracies at every C, scikit-learn's loop beside ours, let go on to its end.

Where the weights are next to 0, a gap of 1e-6 of the objective leaves the most probable class of
some rows open: where the accuracies of the two are farther apart than asked for, both go on, in
float64, until they are so near the optimum that it pins them.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from softstep.bench.studies.optimum import ours, theirs
from softstep.bench.studies.optimum.results import markdown
from softstep.bench.studies.optimum.works import Work

APART = 1e-3  # asked for, at most
CLOSE = 1e-9  # relative: how near both go where they are farther apart
HEADINGS = ("C", "within", "scikit-learn above ours", "softstep", "scikit-learn", "apart")


def print_accuracies(work: Work, tell: Any) -> None:
    """A table of accuracies on the test rows: a line for each C, two where both went on."""
    lines = _lines(work, ours.TOL, tell)
    farther = np.array([line.C for line in lines if line.apart > APART])
    closer = []
    if len(farther):
        closer = _lines(replace(work, X=work.X.astype(np.float64), C=farther), CLOSE, tell)
    lines = sorted([*lines, *closer], key=lambda line: (line.C, -line.gap))
    print(markdown(HEADINGS, [line.cells() for line in lines]))


class _Line(NamedTuple):
    """At this C, both let go on until they are within `gap` of the optimum: how far scikit-learn's
    objective is above ours, relative to it, and the accuracy of each."""

    C: float
    gap: float
    above: float
    own: float
    other: float

    @property
    def apart(self) -> float:
        return abs(self.own - self.other)

    def cells(self) -> tuple[str, ...]:
        accuracies = (f"{x:.4f}" for x in (self.own, self.other, self.apart))
        return (f"{self.C:.2g}", f"{self.gap:g}", f"{self.above:.1e}", *accuracies)


def _lines(work: Work, gap: float, tell: Any) -> list[_Line]:
    solved = ours.solve(work, tol=gap)
    for line in (f"softstep: {solved.seconds:.1f} s", *solved.said):
        tell(line)
    own = solved.whole
    least = work.objectives(own.W, own.b, work.C)
    other, seconds = theirs.loop(work, least * (1 + gap), tell, centred=True)
    tell(f"scikit-learn, features centred: {seconds:.1f} s")
    above = work.objectives(other.W, other.b, work.C) / least - 1
    accuracies = (work.accuracies(heads.W, heads.b) for heads in (own, other))
    return [_Line(C, gap, *rest) for C, *rest in zip(work.C, above, *accuracies, strict=True)]
