"""Models that see some of the columns of X: which ones, and banks of heads that see different ones.

A view is a range of neighbouring columns, (start, stop). No copy is made of them: the ops read rows
that lie apart.
"""

from softstep.model.views.columns import Range, check, in_grid, resolve, seen, span
from softstep.model.views.weights import Weights, are_finite, named, of_head, zeros_like

__all__ = [
    "Range",
    "Weights",
    "are_finite",
    "check",
    "in_grid",
    "named",
    "of_head",
    "resolve",
    "seen",
    "span",
    "zeros_like",
]
