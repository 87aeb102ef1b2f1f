"""The memory that a sweep needs, computed before any is allocated, and the blocks that fit."""

from typing import Any

import numpy as np

from softstep.kernels.checks import compute_dtype
from softstep.kernels.integers import ceil_div
from softstep.model import blocks, trainer
from softstep.model.optimum import curvature, lbfgs, problem, proof
from softstep.model.scores import Asked
from softstep.model.sweep import results
from softstep.model.sweep.data import Labels
from softstep.model.sweep.heads import Heads
from softstep.model.sweep.scoring import bytes_needed

# Arrays the size of the bank: weights and velocity, both again for the remaining heads once some
# have been dropped, the best weights, and two that the fused op packs for itself.
BANKS = 7
ORDERS = 8  # arrays of row numbers held of a block
SCALED = 1 << 24  # bytes for rows that are scaled, some at a time, and for taking their moments
# Bytes for each column of a head, for its mean, its deviation and the sums they are taken by; and
# of X, for a row that is widened for them.
MOMENTS, WIDENED = 40, 128
OTHERS = 1 << 20  # bytes: the stack of the thread that reads, Python's own objects
# Bytes for each row that turning labels into weight sets takes at once: row numbers, their order
# and two weights in float64, which the heap may keep.
SETUP = 32


def layout(
    memory: Any,
    X: np.ndarray,
    data: Labels,
    heads: Heads,
    sgd: trainer.SGDSettings,
    *,
    sizes: np.ndarray,
    scales: bool,
    weight_sets: int,
    few: int,
    given: trainer.Rows | None,
    solves: bool,
    asked: Asked,
) -> blocks.Layout:
    """The blocks that X is read in.

    sizes: of each view, its number of columns. scales: whether any is scaled. weight_sets: sets of
    row weights to learn by. few: rows that are copied, since heads visit them alone. given: the
    held-out rows, where splits do not judge. solves: whether the heads go to their optimum, in
    place of being trained. asked: the scores.

    Raises:
        TypeError, ValueError: `memory` is not an amount of memory, or too little.
    """
    (n, d), h, c = X.shape, len(heads.group), max(data.class_counts)
    widths = sizes[heads.part]
    size = compute_dtype(X).itemsize
    splits = int(heads.split.max()) + 1
    judges = splits if given is None else 0
    judges *= 1 if data.observed is None else data.count
    set_row = data.y.nbytes // n + size * (weight_sets + judges)
    proven = h if solves else len(results.certified(heads))
    soft = data.is_soft and (solves or proven > 0)
    fixed = (
        OTHERS
        + scales * (SCALED + MOMENTS * int(widths.sum()) + WIDENED * d)
        + (SETUP + splits) * n  # the splits as booleans, before they are weights
        + splits * ceil_div(n, 8)  # the rows that each leaves out
        + set_row * n
        + (d * X.itemsize + set_row) * few
        + BANKS * int((widths + 1).sum()) * c * size
        + sgd.batch_size * (d + h * c) * size
        + proof.bytes_needed(n, proven, d, c)
        + (problem.bytes_of_soft(n, c) if soft else 0)
        + (max(lbfgs.bytes_needed(n, h, int(width), c) for width in set(sizes)) if solves else 0)
        + (curvature.bytes_needed(n, int(widths.max()), c) if solves else 0)
    )
    per_row = 2 * set_row + ORDERS * 8
    if given is not None:
        fixed += given.y.nbytes
        fixed += 0 if given.sample_weight is None else given.sample_weight.nbytes
        per_row += _held_out_row(given.X, X)
    if asked.scores:
        rows = n if given is None else len(given.X)
        scores = [*asked.scores.values(), asked.refit]
        groups = int(heads.group.max()) + 1
        fixed += bytes_needed(scores, h, groups, rows, int(widths.max()), c, size)
    return blocks.layout(
        X,
        blocks.size_in_bytes(memory),
        fixed=fixed,
        per_row=per_row,
        batch_size=sgd.batch_size,
    )


def _held_out_row(X_val: np.ndarray, X: np.ndarray) -> int:
    """Bytes a held-out row takes beyond those of a row of X, being wider or converted."""
    wider = max(0, X_val.itemsize - X.itemsize)
    is_converted = compute_dtype(X_val) != compute_dtype(X)
    return X.shape[1] * (2 * wider + is_converted * compute_dtype(X).itemsize)
