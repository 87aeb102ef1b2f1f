"""200 problems on which the proof of an optimum is put to the test, against SciPy's optimum.

A proof holds if what SciPy finds, in float64 and from our weights on, is not lower than the bound
allows. SciPy's objective is never below the least, so this can only be too lenient by what SciPy
leaves. On the problems of `EXTREMES` float64 itself is in the way, and SciPy is given an objective
in extended precision.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from softstep import SoftmaxRegression
from softstep.bench.problems import Array
from softstep.bench.studies import parser

KINDS = (
    "plain",
    "separable",
    "weights",
    "tiny l2",
    "huge l2",
    "features x 1000",
    "features / 1000",
    "columns of all sizes",
    "a constant column",
    "duplicate columns",
    "far from 0",
    "a class without weight",
)
EXTREMES = "rows that are sure", "far from 0 by 1e9"
ROUNDING = 1e-13  # of an objective in float64, relative


@dataclass(frozen=True)
class Posed:
    """A problem: X (n, d), labels y (n,), weights w (n,), l2, and whether the bias is penalised."""

    kind: str
    X: Array
    y: Array
    w: Array
    l2: float
    l2_bias: bool
    fit_intercept: bool


@dataclass(frozen=True)
class Found:
    """bound: what was proven, relative to the objective. gap: how far above SciPy's it is, alike.
    holds: gap ≤ bound, but for rounding, or nothing was proven. converged: whether `tol` was
    reached."""

    bound: float
    gap: float
    holds: bool
    converged: bool
    steps: int


def posed(count: int, seed: int = 0) -> Iterator[Posed]:
    """So many problems, of each kind in turn."""
    for number in range(count):
        yield _posed(KINDS[number % len(KINDS)], np.random.default_rng((seed, number)), number)


def extremes(count: int, seed: int = 0) -> Iterator[Posed]:
    """So many problems of `EXTREMES`, of each kind in turn, in float64."""
    for number in range(count):
        rng = np.random.default_rng((seed, 1, number))
        n, d, c = int(rng.integers(20, 120)), int(rng.integers(1, 6)), int(rng.integers(2, 5))
        y = rng.permutation(np.arange(n) % c)
        X = rng.standard_normal((n, d)) + 0.7 * rng.standard_normal((c, d))[y]
        kind, l2 = EXTREMES[number % len(EXTREMES)], 1e-3
        if kind == "rows that are sure":
            X[:, 0], l2 = 10.0 * y, 1e-14
        else:
            X[:, 0], l2 = X[:, 0] + 1e9, 1e-2
        yield Posed(kind, X, y, np.ones(n), l2, False, True)


def _posed(kind: str, rng: Any, number: int) -> Posed:
    n, d, c = int(rng.integers(8, 120)), int(rng.integers(1, 30)), int(rng.integers(2, 7))
    c += kind == "a class without weight" and c == 2  # or one class were left
    y = rng.permutation(np.arange(n) % c)
    X = rng.standard_normal((n, d)) + 0.7 * rng.standard_normal((c, d))[y]
    w, l2 = np.ones(n), 10.0 ** rng.uniform(-4, 0)
    if kind == "separable":
        X[:, 0], l2 = 10.0 * y, 1e-5
    elif kind == "weights":
        w = rng.choice([0.0, 1.0, 3.0], n) + (rng.random(n) < 0.3)
    elif kind == "tiny l2":
        l2 = 1e-7
    elif kind == "huge l2":
        l2 = 1e3
    elif kind == "features x 1000":
        X *= 1000
    elif kind == "features / 1000":
        X /= 1000
    elif kind == "columns of all sizes":
        X *= 10.0 ** rng.uniform(-3, 3, d)
    elif kind == "a constant column":
        X[:, -1] = 5
    elif kind == "duplicate columns":
        X = np.concatenate([X, X, X[:, :1]], axis=1)
    elif kind == "far from 0":
        X += 30
    elif kind == "a class without weight":
        w[y == 0] = 0
    dtype = np.float32 if number // len(KINDS) % 2 else np.float64
    bias = number // (2 * len(KINDS)) % 4  # free in half of them
    return Posed(kind, X.astype(dtype), y, w, l2, bias == 2, bias != 3)


def check(problem: Posed, tol: float = 1e-6) -> Found:
    """Solve it, and compare with SciPy."""
    model = SoftmaxRegression(
        loss="cross_entropy",
        solver="lbfgs",
        tol=tol,
        max_iter=20_000,
        l2=problem.l2,
        l2_bias=problem.l2_bias,
        fit_intercept=problem.fit_intercept,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scales, which are meant, and of what falls short
        model.fit(problem.X, problem.y, problem.w)
    f = least(problem, model)
    gap, bound = (model.objective_ - f) / f, model.bound_ / f
    return Found(bound, gap, not gap > bound + ROUNDING, model.converged_, model.n_iter_)


def least(problem: Posed, model: SoftmaxRegression) -> float:
    """The least objective that SciPy finds, from the model's weights on, in float64."""
    from scipy import optimize

    W, b = model.coef_.T.astype(np.float64), model.intercept_.astype(np.float64)
    options = {"maxiter": 20_000, "maxfun": 50_000, "ftol": 1e-16, "gtol": 1e-13, "maxcor": 30}
    function, unit = objective, 1.0
    if problem.kind in EXTREMES:  # the bias is free, and the features can be moved
        center = np.where(np.abs(problem.X.mean(axis=0)) > 1e6, 1e9, 0.0)
        b = (b + center.astype(np.longdouble) @ W).astype(np.float64)
        problem = replace(problem, X=problem.X - center)  # exactly
        function, unit = objective_of_sure_rows, problem.l2
    start = np.concatenate([W.ravel(), np.maximum(b, -1e3)])

    def in_units(theta: Array) -> tuple[float, Array]:
        f, gradient = function(theta, problem, W.shape)
        return float(f / unit), (gradient / unit).astype(np.float64)

    found = optimize.minimize(in_units, start, jac=True, method="L-BFGS-B", options=options)
    return float(found.fun * unit)


def objective_of_sure_rows(theta: Array, problem: Posed, shape: Any) -> tuple[Any, Array]:
    """As `objective`, with a free bias, in extended precision, and what the label leaves over is
    not taken from 1."""
    X, y, w = problem.X.astype(np.longdouble), problem.y, problem.w / problem.w.sum()
    W, b = theta[: -shape[1]].reshape(shape).astype(np.longdouble), theta[-shape[1] :]
    V, rows = X @ W + b, np.arange(len(y))
    e = np.exp(V - V[rows, y][:, None])
    e[rows, y] = 0
    others = e.sum(axis=1)
    f = w @ np.log1p(others) + problem.l2 / 2 * np.sum(W**2)
    dV = e / (1 + others)[:, None]
    dV[rows, y] = -others / (1 + others)
    dV *= w[:, None]
    return f, np.concatenate([(X.T @ dV + problem.l2 * W).ravel(), dV.sum(axis=0)])


def objective(theta: Array, problem: Posed, shape: tuple[int, ...]) -> tuple[float, Array]:
    """f and its gradient, written out anew, at theta = W (d, c) and b (c,)."""
    # the weights as the ops take them, of mean 1 and in the dtype of X
    w = (problem.w / problem.w.mean()).astype(problem.X.dtype).astype(np.float64) / len(problem.w)
    X, y = problem.X.astype(np.float64), problem.y
    W, b = theta[: -shape[1]].reshape(shape), theta[-shape[1] :] * problem.fit_intercept
    V = X @ W + b
    V -= V.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(V).sum(axis=1))
    rows = np.arange(len(y))
    l2, l2_of_b = problem.l2, problem.l2 * problem.l2_bias
    f = w @ (log_sum - V[rows, y]) + l2 / 2 * np.sum(W**2) + l2_of_b / 2 * np.sum(b**2)
    dV = np.exp(V - log_sum[:, None])
    dV[rows, y] -= 1
    dV *= w[:, None]
    db = (dV.sum(axis=0) + l2_of_b * b) * problem.fit_intercept
    return float(f), np.concatenate([(X.T @ dV + l2 * W).ravel(), db])


def table(count: int) -> str:
    """Markdown: of each kind of `count` problems, how many proofs hold."""
    return _table(posed(count), KINDS)


def table_of_extremes(count: int) -> str:
    """The same of `EXTREMES`."""
    return _table(extremes(count), EXTREMES)


def _table(problems: Iterator[Posed], kinds: tuple[str, ...]) -> str:
    found: dict[str, list[Found]] = {kind: [] for kind in kinds}
    for problem in problems:
        found[problem.kind].append(check(problem))
    lines = ["| problems | proofs that hold | proven to 1e-6 | largest bound | most steps |"]
    lines += ["|---|---|---|---|---|"]
    for kind, of in {**found, "all": [f for each in found.values() for f in each]}.items():
        if of:
            lines.append(
                f"| {kind} | {sum(f.holds for f in of)} of {len(of)} "
                f"| {sum(f.converged for f in of)} | {np.nanmax([f.bound for f in of]):.1e} "
                f"| {max(f.steps for f in of)} |"
            )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser("proofs", __doc__).parse_args(argv)
    print(table(200))
    print()
    print(table_of_extremes(40))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
