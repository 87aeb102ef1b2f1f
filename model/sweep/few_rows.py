"""Splits that learn from few of the rows, and whose heads visit these alone."""

import numbers
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from softstep.kernels.arrays import to_device_of, to_host
from softstep.kernels.checks import Array
from softstep.model import inputs, trainer
from softstep.model.inputs import ShardedRows, SparseRows


class FewShotSplit(NamedTuple):
    """A fold for `cv=`: the numbers of the rows to learn from, and of those to be judged on.

    Its heads visit the rows of `learn` alone, in an order drawn for their number, as a model that
    is fitted on them does; those of any other fold visit all rows, of which some weigh nothing.
    """

    learn: Array
    judge: Array


def few_shot(y: Any, k: Any, seeds: Any = 5, *, missing: Any = None) -> list[FewShotSplit]:
    """Splits that learn from k rows of each class, or a share of them, for `SoftmaxSweep(cv=)`.

    Seed s orders the rows by `default_rng((s, 6))` and takes the first k of each class; all others
    judge. So of one seed the rows of a smaller k are among those of a larger one. Lists of splits
    may be added: `few_shot(y, 1) + few_shot(y, 10)`.

    Args:
        y: labels (n,), those of `fit`.
        k: how many rows of each class, a whole number; or the share of them, between 0 and 1:
            0.01 is one percent, rounded, but at least one row.
        seeds: whole numbers, one for each split; or how many splits, whose seeds are 0, 1, 2 …
        missing: the label that stands for none, that of `SoftmaxSweep(missing=)`: its rows neither
            learn nor judge.

    Returns:
        A list with a `FewShotSplit` for each seed, the rows in ascending order.

    Raises:
        TypeError, ValueError: y, k or a seed is not as described; a class has fewer than k rows; no
            row is left to be judged on.
    """
    y, there = _labels(y, missing)
    classes, known = np.unique(y[there], return_inverse=True)
    counts, codes = _counts(k, classes, np.bincount(known)), np.full(len(y), len(classes))
    codes[there] = known
    splits = []
    for seed in _seeds(seeds):
        rows = np.random.default_rng((seed, 6)).permutation(len(y))
        rows = rows[there[rows]]
        rows = rows[np.argsort(codes[rows], kind="stable")]
        firsts = np.searchsorted(codes[rows], np.arange(len(classes)))
        pairs = zip(firsts, counts, strict=True)
        learn = np.concatenate([rows[first : first + count] for first, count in pairs])
        is_judge = there.copy()
        is_judge[learn] = False
        splits.append(FewShotSplit(np.sort(learn), np.flatnonzero(is_judge)))
    return splits


def _labels(y: Any, missing: Any) -> tuple[Array, Array]:
    """The labels (n,), and which of them are there."""
    if missing is None:
        y = inputs.label_values(y, None)
        return y, np.ones(len(y), bool)
    sets = inputs.label_sets(y, None, "y", missing, may_be_soft=False)
    if sets is None or len(sets) > 1:
        raise ValueError("y must be 1-D: few_shot takes the rows of one label set")
    (one,) = sets
    return one.values, np.ones(len(one.values), bool) if one.observed is None else one.observed


def _counts(k: Any, classes: Array, there: Array) -> Array:
    """How many rows of each class are taken. there: how many there are."""
    is_whole = isinstance(k, numbers.Integral) and not isinstance(k, bool | np.bool_)
    is_share = isinstance(k, numbers.Real) and not isinstance(k, numbers.Integral)
    if not is_whole and not is_share:
        raise TypeError(f"k must be a number of rows of each class, or a share, not {k!r}")
    if not (k >= 1 if is_whole else 0 < k < 1):
        raise ValueError(
            f"k must be a whole number of rows of each class, at least 1, or a share of them, "
            f"between 0 and 1, not {k!r}"
        )
    counts = np.full(len(there), k) if is_whole else np.rint(k * there).astype(np.int64)
    counts = np.maximum(counts, 1)
    scarce = np.flatnonzero(counts > there)
    if scarce.size:
        t = scarce[0]
        raise ValueError(f"class {classes[t]!s} has {there[t]} rows, fewer than k={k}")
    if (counts == there).all():
        raise ValueError(f"k={k} takes all {there.sum()} rows: none is left to be judged on")
    return counts


def _seeds(seeds: Any) -> list[int]:
    if isinstance(seeds, Iterable) and not isinstance(seeds, str):
        return [int(inputs.integer("seeds", seed, least=0)) for seed in seeds]
    return list(range(inputs.integer("seeds", seeds, least=1)))


def of_folds(folds: Any, learn: Array) -> dict[int, Array]:
    """The rows that each `FewShotSplit` among these folds learns from, by the fold's number.

    learn: (k, n), how often each fold learns from each row.
    """
    found = enumerate(folds or ())
    return {i: np.flatnonzero(learn[i]) for i, fold in found if isinstance(fold, FewShotSplit)}


def taken(
    rows: trainer.Rows,
    few: dict[int, Array],
    splits: int,
    release: Callable[[int, int], None] | None,
) -> dict[int, trainer.Rows]:
    """Copies of the rows that these splits learn from, each with the weight sets that are its own:
    weight set i of all rows is set i // (1 + splits) of a copy.

    few: as `of_folds` gives it. splits: of the sweep. release: called with the first row and the
    last, exclusive, of those no longer needed; None: X is no file.
    """
    found = {}
    for split, own in few.items():
        weights = rows.sample_weight
        assert weights is not None  # a split has some
        found[split] = replace(
            rows,
            X=_copied(rows.X, own, release),
            y=rows.y[own] if rows.y.dtype.kind == "f" else rows.y[:, own],
            sample_weight=weights[1 + split :: 1 + splits][:, own],
            factors=None if rows.factors is None else inputs.Factors(),
        )
    return found


def _copied(X: Any, rows: Array, release: Callable[[int, int], None] | None) -> Any:
    """These rows of X, where X is; of sparse ones, sparse."""
    if isinstance(X, SparseRows):
        return X[rows, :]
    if isinstance(X, np.ndarray | ShardedRows) and release is None:
        return X[rows]
    found = np.empty((len(rows), X.shape[1]), X.dtype)
    for i, row in enumerate(rows.tolist()):
        found[i] = to_host(X[row : row + 1])[0]
        if release is not None:
            release(row, row + 1)
    return to_device_of(found, X)
