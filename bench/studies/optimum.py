"""Every head to its optimum: SoftmaxSweep against loops of scikit-learn's LogisticRegression.

Everybody has all cores, and the same rows in float32. softstep stops when each head is proven to be
within 1e-6 of the least objective, relative to it. scikit-learn is timed to its first iterate that
is as good: it runs with the fewest of some numbers of iterations that get there, so its time is
that of fits that knew when to stop. Accuracy is compared at each C.

--proofs puts 200 problems to SciPy instead; --evaluations counts, for each choice of variables, how
often the objective is evaluated, which noise does not touch.
"""

import functools
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep import SoftmaxRegression, SoftmaxSweep
from softstep.bench.measure import clocked
from softstep.bench.problems import Array
from softstep.bench.studies import parser, proofs
from softstep.model.datasets import load_digits, load_mnist
from softstep.model.optimum.problem import Problem
from softstep.model.optimum.space import Space

SEED, TOL = 0, 1e-6
MAX_ITERS = (25, 50, 100, 200, 400, 800, 1_600, 3_200)
PATCH, STRIDE = 6, 2  # pixels of the random features


@dataclass(frozen=True)
class Work:
    """A line of the table: rows, labels, the grid of C, the number of folds or None."""

    name: str
    X: Array
    y: Array
    X_test: Array
    y_test: Array
    C: Array
    cv: int | None


def works(quick: bool) -> list[Work]:
    """Those of the table, or small ones of the same kinds."""
    data: Any = load_mnist()
    digits: Any = load_digits()
    n, few = (2_000, 4) if quick else (60_000, 40)
    X, X_test = ((x / np.float32(255)).astype("f4") for x in (data.X_train[:n], data.X_test))
    mnist = X, data.y_train[:n], X_test, data.y_test
    X, y, X_test, y_test = (a.astype("f4") if a.ndim == 2 else a for a in _digits(digits))
    C = np.geomspace(1e-6, 1e2, few)
    return [
        Work("one head, digits", X, y, X_test, y_test, np.ones(1), None),
        Work(f"MNIST {n}x784->10, {few} C", *mnist, C, None),
        Work(f"MNIST {n}x784->10, {few} C, 5 folds", *mnist, C, 5),
        embeddings(500 if quick else 20_000, 64 if quick else 768, 3 if quick else 20),
    ]


def _digits(data: Any) -> tuple[Array, ...]:
    return data.X_train, data.y_train, data.X_test, data.y_test


def embeddings(n: int, d: int, count: int) -> Work:
    """Random patches of MNIST as convolution kernels, rectified and pooled over quarters;
    100 classes: each of the ten cut into ten by a random direction of its pixels."""
    rng = np.random.default_rng(SEED)
    data: Any = load_mnist()
    rows = rng.permutation(len(data.X_train))[: n + n // 5]
    images = (data.X_train[rows] / np.float32(255)).reshape(-1, 28, 28)
    windows = np.lib.stride_tricks.sliding_window_view(images, (PATCH, PATCH), axis=(1, 2))
    windows = windows[:, ::STRIDE, ::STRIDE]
    count_of = d // 4
    picks = rng.integers((len(images), windows.shape[1], windows.shape[2]), size=(count_of, 3))
    kernels = windows[tuple(picks.T)].reshape(count_of, -1)
    kernels = kernels - kernels.mean(axis=1, keepdims=True)
    kernels /= np.linalg.norm(kernels, axis=1, keepdims=True) + 1e-6
    half = windows.shape[1] // 2
    features = np.empty((len(images), 2, 2, count_of), np.float32)
    for start in range(0, len(images), 500):
        found = windows[start : start + 500].reshape(-1, *windows.shape[1:3], PATCH**2) @ kernels.T
        np.maximum(found, 0, out=found)
        for i, top in enumerate((found[:, :half], found[:, half:])):
            for j, part in enumerate((top[:, :, :half], top[:, :, half:])):
                features[start : start + 500, i, j] = part.mean(axis=(1, 2))
    direction = images.reshape(len(images), -1) @ rng.standard_normal(784)
    y = np.empty(len(images), np.int64)
    for label in range(10):
        own = np.flatnonzero(data.y_train[rows] == label)
        y[own] = 10 * label + np.argsort(np.argsort(direction[own])) * 10 // len(own)
    X = features.reshape(len(images), -1)
    C = np.geomspace(1e-3, 1e3, count)
    name = f"embeddings {n}x{d}->100, {count} C"
    return Work(name, X[:n], y[:n], X[n:], y[n:], C, None)


def by_sweep(work: Work) -> tuple[Array, Array]:
    """Objectives and test accuracies of the heads on all rows."""
    if len(work.C) == 1:
        model = SoftmaxRegression(
            loss="cross_entropy", solver="lbfgs", C=float(work.C[0]), tol=TOL, random_state=SEED
        ).fit(work.X, work.y)
        return np.array([model.objective_]), np.array([model.score(work.X_test, work.y_test)])
    grid = {"loss": "cross_entropy", "C": work.C.tolist()}
    sweep = SoftmaxSweep(
        grid, cv=work.cv, solver="lbfgs", tol=TOL, max_iter=10_000, random_state=SEED
    )
    held_out: dict[str, Any] = {} if work.cv else {"X_val": work.X_test, "y_val": work.y_test}
    sweep.fit(work.X, work.y, **held_out)
    assert sweep.results_["converged"].all()
    heads = [sweep.estimator(i) for i in range(len(work.C))]
    accuracy = np.array([head.score(work.X_test, work.y_test) for head in heads])
    return sweep.results_["objective"], accuracy


def by_loop(work: Work, max_iter: int) -> tuple[Array, Array]:
    """The same by a loop over C that starts each fit from the last one's weights."""
    from sklearn.linear_model import LogisticRegression

    objectives, accuracies, last = [], [], None
    for C in work.C:
        model = LogisticRegression(C=C, tol=1e-12, max_iter=max_iter, warm_start=True)
        if last is not None:
            model.coef_, model.intercept_ = last.coef_, last.intercept_
        last = model.fit(work.X, work.y)
        objectives.append(objective(work, model.coef_, model.intercept_, C))
        accuracies.append(model.score(work.X_test, work.y_test))
    return np.array(objectives), np.array(accuracies)


def by_folds(work: Work, max_iter: int) -> tuple[Array, Array]:
    """LogisticRegressionCV with a process for each core, refitted at each C on all rows: the same
    heads as the sweep's."""
    from sklearn.linear_model import LogisticRegressionCV

    LogisticRegressionCV(
        Cs=work.C, cv=work.cv, tol=1e-12, max_iter=max_iter, n_jobs=-1, refit=False
    ).fit(work.X, work.y)
    return by_loop(work, max_iter)


def objective(work: Work, coef: Array, intercept: Array, C: float) -> float:
    """Ours, of their weights, in float64."""
    n, W = len(work.X), coef.T.astype(np.float64)
    total = 0.0
    for start in range(0, n, 5_000):
        V = work.X[start : start + 5_000] @ W + intercept
        V -= V.max(axis=1, keepdims=True)
        y = work.y[start : start + 5_000]
        total += (np.log(np.exp(V).sum(axis=1)) - V[np.arange(len(V)), y]).sum()
    return float(total / n + np.sum(W**2) / (2 * C * n))


def as_good(work: Work, fit: Any, least: Array) -> tuple[float, Array, int]:
    """Seconds, accuracies and iterations of the cheapest fit that is as good at every C."""
    for max_iter in MAX_ITERS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged
            (found, accuracy), seconds = clocked(functools.partial(fit, work, max_iter))
        if (found <= least * (1 + TOL)).all():
            break
    return seconds, accuracy, max_iter


def compare(work: Work) -> str:
    """A line of the table."""
    by_sweep(work)  # compiles
    (least, accuracy), seconds = clocked(functools.partial(by_sweep, work))
    theirs, their_accuracy, max_iter = as_good(work, by_folds if work.cv else by_loop, least)
    apart = np.abs(accuracy - their_accuracy).max()
    return (
        f"| {work.name} | {seconds:.2f} | {theirs:.2f} | {theirs / seconds:.1f}x | {max_iter} "
        f"| {apart:.4f} |"
    )


# ---- numbers of evaluations


def evaluations(work: Work, l2: Array, kind: str) -> list[int]:
    """Evaluations of each head until it is proven, with variables of this kind."""
    from unittest import mock

    from softstep.model import trainer
    from softstep.model.optimum import lbfgs, solve
    from softstep.model.optimum.settings import Optimum

    counts, whole, of = {"heads": 0}, Problem.value, Space.of

    def counted(self: Problem, W: Array, b: Array) -> Any:
        counts["heads"] += 1
        return whole(self, W, b)

    def plain(problem: Problem, c: int) -> Space:
        space = of(problem, c)
        center = space.center if kind != "as they are" else np.zeros_like(space.center)
        inverse = space.inverse if kind == "centred and scaled" else np.ones_like(space.inverse)
        return Space(center, inverse)

    found = []
    for value in l2:
        counts["heads"] = 0
        rows = trainer.Rows(work.X, work.y)
        problem = Problem(
            data=rows,
            loss=np.array(["cross_entropy"]),
            l2=np.array([value]),
            l2_bias=False,
            fit_bias=True,
        )
        d, c = work.X.shape[1], int(work.y.max()) + 1
        W, b = np.zeros((1, d, c), work.X.dtype), np.zeros((1, c), work.X.dtype)
        with (
            mock.patch.object(lbfgs.Problem, "value", counted),
            mock.patch.object(solve.Space, "of", plain),
        ):
            solve.solve(problem, W, b, optimum=Optimum(TOL, 10_000))
        found.append(counts["heads"])
    return found


def print_evaluations(quick: bool) -> None:
    """A table of evaluations for MNIST and embeddings."""
    _, mnist, _, probes = works(quick=True) if quick else works(quick=False)
    print("| variables | rows | " + " | ".join(f"l2 1e{k}" for k in range(-1, -6, -1)) + " |")
    print("|---|---|" + 5 * "---|")
    for work in (mnist, probes):
        for kind in ("as they are", "centred", "centred and scaled"):
            counts = evaluations(work, 10.0 ** np.arange(-1, -6, -1), kind)
            print(f"| {kind} | {work.name} | " + " | ".join(map(str, counts)) + " |", flush=True)


def main(argv: list[str] | None = None) -> int:
    options = parser("optimum", __doc__)
    options.add_argument("--quick", action="store_true", help="small sizes")
    options.add_argument("--proofs", action="store_true", help="200 problems against SciPy")
    options.add_argument("--evaluations", action="store_true", help="count evaluations")
    arguments = options.parse_args(argv)
    if arguments.proofs:
        print(proofs.table(12 if arguments.quick else 200))
        return 0
    if arguments.evaluations:
        print_evaluations(arguments.quick)
        return 0
    print("| work | softstep, s | scikit-learn, s | ratio | its max_iter | accuracies apart |")
    print("|---|---|---|---|---|---|")
    for work in works(arguments.quick):
        print(compare(work), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
