"""What models see of X: some of its columns, scaled; and banks of heads that see it differently.

A view is a range of neighbouring columns, (start, stop). No copy is made of them: the ops read rows
that lie apart. Rows are scaled some at a time, when they are computed on.
"""

from softstep.model.views.columns import Range, check, in_grid, resolve, seen, span
from softstep.model.views.scaler import SCALINGS, Moments, Scaler
from softstep.model.views.weights import (
    Part,
    Weights,
    are_finite,
    mapped,
    named,
    of_head,
    put,
    taken,
)

__all__ = [
    "SCALINGS",
    "Moments",
    "Part",
    "Range",
    "Scaler",
    "Weights",
    "are_finite",
    "check",
    "in_grid",
    "mapped",
    "named",
    "of_head",
    "put",
    "resolve",
    "seen",
    "span",
    "taken",
]
