"""Accuracies at every third C where both sides are so near the optimum that it pins them.

Where the weights are next to 0, a gap of 1e-6 of the objective leaves the most probable class of
some rows open.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from softstep.bench.studies.optimum import ours, theirs
from softstep.bench.studies.optimum.works import Work

CLOSE = 1e-9  # relative: how near both go
THIRD = 3
MOST_SECONDS = 200.0  # of scikit-learn's loop, after which no other C is begun


def print_accuracies(work: Work, tell: Any, most_seconds: float = MOST_SECONDS) -> None:
    """A table of accuracies on the test rows, both sides' in float64: a line for each C."""
    work = replace(work, X=work.X.astype(np.float64), C=work.C[::THIRD])
    solved = ours.solve(work, tol=CLOSE)
    for line in solved.said:
        tell(line)
    heads = solved.whole
    goals = work.objectives(heads.W, heads.b, work.C) * (1 + CLOSE)
    found, _ = theirs.loop(work, goals, tell, centred=True, most_seconds=most_seconds)
    accuracies = (work.accuracies(some.W, some.b) for some in (heads, found))
    print("| C | softstep | scikit-learn | apart |\n|---|---|---|---|")
    for C, own, other in zip(work.C, *accuracies, strict=False):  # as many as the loop got to
        print(f"| {C:.2g} | {own:.4f} | {other:.4f} | {abs(own - other):.4f} |")
