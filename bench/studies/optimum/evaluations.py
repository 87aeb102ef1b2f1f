"""How often the objective is evaluated until a head is proven, by the curvature to begin with."""

from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np

from softstep.bench.studies.optimum.ours import TOL
from softstep.bench.studies.optimum.works import WORKS, Work
from softstep.model import trainer
from softstep.model.optimum import class_curvature, curvature, solve
from softstep.model.optimum.problem import Problem
from softstep.model.optimum.settings import Optimum

L2 = 10.0 ** np.arange(-1, -7, -1)
CLASSES = "axes, then the classes"
KINDS = ("as they are", "centred", "each feature", "axes", CLASSES)
NEIGHBOUR, EIGHTH = (
    f"{CLASSES}, from the optimum at 1.6 l2",
    "axes, from near that of every 8th row",
)


def print_evaluations(quick: bool) -> None:
    """A table of evaluations for MNIST and embeddings."""
    print("| curvature | rows | " + " | ".join(f"l2 {value:.0e}" for value in L2) + " |")
    print("|---|---|" + len(L2) * "---|")
    for key in ("mnist", "embeddings"):
        work = WORKS[key](quick)
        for kind in (*KINDS, NEIGHBOUR, EIGHTH):
            counts = [evaluations(work, value, kind) for value in L2]
            print(f"| {kind} | {work.name} | " + " | ".join(counts) + " |", flush=True)


def evaluations(work: Work, l2: float, kind: str) -> str:
    """Those of a head until it is proven: in float32 and, after a +, in float64.

    It begins at zeros, or from what `kind` says, which is not counted.
    """
    counts, whole = {np.dtype(np.float32): 0, np.dtype(np.float64): 0}, Problem.value

    def counted(self: Problem, W: Any, b: Any) -> Any:
        counts[W.dtype] += 1
        return whole(self, W, b)

    start = np.zeros((1, work.X.shape[1], work.classes), np.float32), np.zeros((1, work.classes))
    if kind == NEIGHBOUR:
        start = _solved(work, 1.6 * l2, start)
    elif kind == EIGHTH:
        eighth = replace(work, X=np.ascontiguousarray(work.X[::8]), y=work.y[::8])
        start = _solved(eighth, l2, start, tol=0.03)
    with mock.patch.object(Problem, "value", counted), _beginning(kind):
        _solved(work, l2, start)
    return " + ".join(map(str, counts.values()))


def _solved(work: Work, l2: float, start: tuple[Any, Any], tol: float = TOL) -> tuple[Any, Any]:
    """W and b of the head with this l2."""
    problem = Problem(
        data=trainer.Rows(work.X, work.y),
        loss=np.array(["cross_entropy"]),
        l2=np.array([l2]),
        l2_bias=False,
        fit_bias=True,
    )
    W, b = (x.astype(np.float32) for x in start)
    found = solve.solve(problem, W, b, optimum=Optimum(tol, 10_000))
    return found.W, found.b


def _beginning(kind: str) -> Any:
    """The block in which a descent begins with that kind of curvature."""
    of = curvature.Curvature.of

    def plain(problem: Problem, c: int) -> Any:
        center, found = of(problem, c)
        if kind == "as they are":
            center = np.zeros_like(center)
        return center, replace(found, axes=None, inverse=np.ones_like(found.inverse))

    has_axes, looks = kind != "each feature", kind.startswith(CLASSES)
    patches = ExitStack()
    if kind in ("as they are", "centred"):
        patches.enter_context(mock.patch.object(curvature.Curvature, "of", plain))
    patches.enter_context(mock.patch.object(curvature, "has_axes", return_value=has_axes))
    # A head looks at the curvature of its classes as soon as it may, whatever it costs; or never.
    cost = 0 if looks else np.inf
    patches.enter_context(mock.patch.object(class_curvature, "evaluations", return_value=cost))
    return patches
