"""The same heads by scikit-learn, each fit ended at its first iterate that is as good as ours."""

import multiprocessing
import os
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any
from unittest import mock

import numpy as np

from softstep.bench.measure import clocked
from softstep.bench.problems import Array
from softstep.bench.studies.optimum.ours import TOL, Heads
from softstep.bench.studies.optimum.works import WORKS, Work

NEVER = {"tol": 1e-12, "max_iter": 20_000}  # it is not scikit-learn that ends a fit
ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
SIDE_BY_SIDE = 2  # folds, a process with one thread for each


class _OverTime(Exception):
    """Raised in a fit that is not to begin."""


@contextmanager
def ending_at(goals: Array, most_seconds: float = np.inf) -> Iterator[list[float]]:
    """Within this block the k-th fit ends when its objective is at most goals[k]; after so many
    seconds the block ends, at the beginning of a fit.

    Yields a list that gets, from each fit, how far it ended above the objectives that the goals
    were made of, relative to them: more than TOL where it did not get there.
    """
    from scipy import optimize

    minimize, left, end = optimize.minimize, iter(goals), time.perf_counter() + most_seconds
    above: list[float] = []

    def ending(fun: Any, x0: Any, *, callback: Any = None, **options: Any) -> Any:
        if time.perf_counter() > end:
            raise _OverTime
        goal = next(left)

        def is_as_good(intermediate_result: Any) -> None:
            if intermediate_result.fun <= goal:
                raise StopIteration

        result = minimize(fun, x0, callback=is_as_good, **options)
        above.append(float(result.fun / goal * (1 + TOL) - 1))
        return result

    with warnings.catch_warnings(), mock.patch.object(optimize, "minimize", ending):
        warnings.simplefilter("ignore")  # that it has not converged
        with suppress(_OverTime):
            yield above


def loop(
    work: Work, goals: Array, tell: Any, *, centred: bool = False, most_seconds: float = np.inf
) -> tuple[Heads, float]:
    """A loop over C that starts each fit from the last one's weights, and its seconds.

    It is broken off after a fit that ends later than `most_seconds`; the heads are those so far.

    centred: with the mean taken off each feature first, which leaves the objectives as they are
    where the bias is free, and better conditioned.
    """
    from sklearn.linear_model import LogisticRegression

    models: list[Any] = []
    X, total = work.X, 0.0
    if centred:
        X, total = clocked(lambda: work.X - work.X.mean(axis=0))
    with ending_at(goals):
        for C in work.C:
            model = LogisticRegression(C=C, warm_start=True, **NEVER)
            if models:
                model.coef_, model.intercept_ = models[-1].coef_, models[-1].intercept_
            _, seconds = clocked(partial(model.fit, X, work.y))
            models.append(model)
            total += seconds
            tell(f"C = {C:.3g}: {model.n_iter_[0]} iterations, {seconds:.1f} s")
            if total > most_seconds:
                break
    heads = Heads.of(models)
    return (heads.uncentred(work.X) if centred else heads), total


def one_fit(work: Work, goals: Array, repeats: int) -> tuple[float, float]:
    """Of the only C: the median of the seconds, and how far above the objective it ended."""
    from sklearn.linear_model import LogisticRegression

    def fit() -> None:
        LogisticRegression(C=work.C[0], **NEVER).fit(work.X, work.y)

    with ending_at(np.repeat(goals, repeats)) as above:
        seconds = float(np.median([clocked(fit)[1] for _ in range(repeats)]))
    return seconds, max(above)


def cross_validated(
    quick: bool, goals: list[Array], most_seconds: float = np.inf
) -> tuple[float, float, int]:
    """Seconds that LogisticRegressionCV takes for its folds on two processes, how far above the
    objectives it ended at most, and the least number of C it got to in `most_seconds`.

    Two of them are run, side by side as its own processes would; all take as many times as long as
    they are more.
    """
    context = multiprocessing.get_context("spawn")
    with (
        mock.patch.dict(os.environ, dict.fromkeys(ONE_THREAD, "1")),  # as joblib's processes have
        ProcessPoolExecutor(SIDE_BY_SIDE, context) as pool,
    ):
        most = most_seconds * SIDE_BY_SIDE / len(goals)
        runs = [pool.submit(_fold, quick, k, goals[k], most) for k in range(SIDE_BY_SIDE)]
        seconds, above = zip(*(run.result() for run in runs), strict=True)
    times = max(seconds) * len(goals) / SIDE_BY_SIDE
    return times, max(map(max, above)), min(map(len, above))


def _fold(quick: bool, number: int, goals: Array, most: float) -> tuple[float, list[float]]:
    from sklearn.linear_model import LogisticRegressionCV

    work = WORKS["folds"](quick)
    model = LogisticRegressionCV(Cs=work.C, cv=[work.folds[number]], n_jobs=1, refit=False, **NEVER)
    began = time.perf_counter()
    with ending_at(goals, most) as above:
        model.fit(work.X, work.y)
    return time.perf_counter() - began, above


def goals_of(objectives: Array) -> Array:
    """What is as good as objectives that are proven."""
    return objectives * (1 + TOL)
