"""Folds and bootstraps as weights: which rows a head learns from, and which it is judged on."""

from typing import Any

import numpy as np

from softstep.model import inputs
from softstep.model.inputs.warnings import warn

BOOTSTRAPS = ("poisson", "multinomial")


def cross_validation(cv: Any, y: Any, groups: Any, codes: Any, seed: Any) -> Any:
    """How often each fold learns from each row, (k, n), and which rows it is judged on, (k, n).

    cv: a number of folds, an object with scikit-learn's `split(X, y, groups)`, or an iterable of
    pairs as that yields them. For a number k the rows are shuffled by `default_rng((seed, 4))`,
    sorted stably by `codes`, their class or -1 (None: not sorted), and dealt to the folds in turn.

    Raises:
        TypeError: cv is none of these, or yields other than pairs of row numbers or masks.
        ValueError: too few rows, a fold without rows, or a row number out of range.
    """
    n = len(y)
    if makes_folds(cv):
        splits = [_rows_of_fold(i, pair, n) for i, pair in enumerate(listed(cv, y, groups))]
    else:
        k = count(cv)
        if k > n:
            raise ValueError(f"cv={k} folds need as many rows, but there are {n}")
        _warn_of_rare_classes(k, codes)
        fold = _dealt(k, n, codes, seed)
        judge = fold == np.arange(k)[:, None]
        return np.subtract(1, judge, dtype=np.uint16), judge
    if not splits:
        raise ValueError("cv gives no folds")
    learn = np.stack([_counts(train, n) for train, _ in splits])
    judge = np.stack([np.bincount(test, minlength=n) > 0 for _, test in splits])
    return learn, not_empty(judge)


def listed(cv: Any, y: Any, groups: Any) -> Any:
    """The folds that cv is, or makes of these labels and groups, as a list; a number stays one."""
    if not makes_folds(cv):
        return cv
    return list(cv.split(np.zeros(len(y)), y, groups) if hasattr(cv, "split") else cv)


def makes_folds(cv: Any) -> bool:
    """Whether cv is an object that makes its own folds, or an iterable of them."""
    return not isinstance(cv, str) and (hasattr(cv, "split") or hasattr(cv, "__iter__"))


def count(cv: Any) -> Any:
    """A number of folds, checked."""
    return inputs.integer("cv", cv, least=2)


def _rows_of_fold(i, pair, n):
    """The rows that fold i learns from, and those it is judged on."""
    try:
        train, test = pair
    except (TypeError, ValueError):
        raise TypeError(
            f"fold {i} of cv is not a pair: rows to learn from, rows to be judged on"
        ) from None
    return (
        _row_numbers(train, n, f"fold {i} learns from"),
        _row_numbers(test, n, f"fold {i} is judged on"),
    )


def _warn_of_rare_classes(k, codes):
    """Warn where some folds are judged on no row of a class."""
    least = k if codes is None else np.bincount(codes[codes >= 0]).min()
    if least < k:
        warn(
            f"a class has {least} rows, fewer than the {k} folds: some folds have none to judge by"
        )


def _row_numbers(rows, n, does):
    """What a splitter yields, row numbers or a mask of all rows, as checked row numbers."""
    rows = np.asarray(rows)
    if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iub"):
        raise TypeError(
            f"{does} {rows.dtype} of shape {rows.shape}: cv must yield row numbers or masks"
        )
    if rows.dtype.kind == "b":
        if len(rows) != n:
            raise ValueError(f"{does} a mask of {len(rows)} rows, but there are {n}")
        rows = np.flatnonzero(rows)
    if not rows.size:
        raise ValueError(f"{does} no rows")
    outside = np.flatnonzero((rows < 0) | (rows >= n))
    if outside.size:
        raise ValueError(f"{does} row {rows[outside[0]]}, but the rows are 0 to {n - 1}")
    return rows


def _counts(rows, n):
    """How often each of n rows is in `rows`: small numbers, kept small."""
    return np.bincount(rows, minlength=n).astype(np.uint16)


def _dealt(k, n, codes, seed):
    """The fold of each row."""
    rows = np.random.default_rng((seed, 4)).permutation(n)
    if codes is not None:
        rows = rows[np.argsort(codes[rows], kind="stable")]
    fold = np.empty(n, dtype=np.int64)
    fold[rows] = np.arange(n) % k
    return fold


def bootstraps(kind: Any, count: Any, n: int, seed: Any) -> Any:
    """How often each of `count` bootstraps learns from each of n rows, and the rows it leaves out
    (none perhaps: `not_empty` checks that, where they are to judge it).

    Bootstrap i draws from `default_rng((seed, 5, i))`: "poisson" a count of mean 1 for each row,
    "multinomial" n rows with replacement.
    """
    learn = np.empty((count, n), dtype=np.uint16)
    for i in range(count):
        rng = np.random.default_rng((seed, 5, i))
        if kind == "poisson":
            learn[i] = rng.poisson(1.0, n)
        else:
            learn[i] = _counts(rng.integers(n, size=n), n)
    return learn, learn == 0


def not_empty(judge: Any) -> Any:
    """The rows each split is judged on, as they are; ValueError naming one that has none."""
    empty = np.flatnonzero(~judge.any(axis=1))
    if empty.size:
        raise ValueError(f"split {empty[0]} has no rows to be judged on")
    return judge
