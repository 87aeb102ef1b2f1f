"""Folds and bootstraps as weights: which rows a head learns from, and which it is judged on."""

import numpy as np

from softstep.model import inputs

BOOTSTRAPS = ("poisson", "multinomial")


def cross_validation(cv, y, groups, codes, seed):
    """How often each fold learns from each row, (k, n), and which rows it is judged on, (k, n).

    cv: a number of folds, or an object with scikit-learn's `split(X, y, groups)`. For a number k
    the rows are shuffled by `default_rng((seed, 4))`, sorted stably by `codes`, their class (None:
    not sorted), and dealt to the folds in turn.

    Raises:
        TypeError: cv is neither, or yields what is neither row numbers nor a mask.
        ValueError: too few rows, a fold without rows, or a row that is not there.
    """
    n = len(y)
    if hasattr(cv, "split") and not isinstance(cv, str):
        splits = [
            (
                _row_numbers(train, n, f"fold {i} learns from"),
                _row_numbers(test, n, f"fold {i} is judged on"),
            )
            for i, (train, test) in enumerate(cv.split(np.zeros(n), y, groups))
        ]
    else:
        k = inputs.integer("cv", cv, least=2)
        if k > n:
            raise ValueError(f"cv={k} folds need as many rows, but there are {n}")
        fold = _dealt(k, n, codes, seed)
        splits = [(np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in range(k)]
    if not splits:
        raise ValueError("cv gives no folds")
    learn = np.stack([_counts(train, n) for train, _ in splits])
    judge = np.stack([np.bincount(test, minlength=n) > 0 for _, test in splits])
    return learn, _not_empty(judge)


def _row_numbers(rows, n, does):
    """What a splitter yields, row numbers or a mask of all rows, as checked row numbers."""
    rows = np.asarray(rows)
    if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iub"):
        raise TypeError(
            f"{does} {rows.dtype} of shape {rows.shape}: cv.split must yield row numbers or masks"
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


def bootstraps(kind, count, n, seed):
    """How often each of `count` bootstraps learns from each of n rows, and the rows it leaves out.

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
    return learn, _not_empty(learn == 0)


def _not_empty(judge):
    empty = np.flatnonzero(~judge.any(axis=1))
    if empty.size:
        raise ValueError(f"split {empty[0]} has no rows to be judged on")
    return judge
