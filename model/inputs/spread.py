"""A warning for features that gradient descent will hardly learn from as they are."""

from typing import Any

import numpy as np

from softstep.kernels.checks import Array
from softstep.model.inputs.rows import sample
from softstep.model.inputs.warnings import warn

SAMPLE_ROWS, SAMPLE_VALUES = 1000, 1 << 17
LARGE = 10.0  # standard deviation of a column beyond which it is not scaled
UNEVEN = 100.0  # times the least one


def warn_of_spread(X: Array, scale: float, names: Any, name: str = "X") -> None:
    """Warn once if the columns' standard deviations, of a sample of rows, are large or unlike.

    Columns that mostly hold one value, as those of pixels and word counts do, do not count as
    unlike. scale: the factor that is applied to X. names: of the columns, or None (`labels_of`).
    """
    rows = sample(X, max(2, min(SAMPLE_ROWS, SAMPLE_VALUES // X.shape[1])))
    rows = rows.astype(np.float64) * scale
    if not np.isfinite(rows).all():
        return  # which is refused, with its place, once it is met
    with np.errstate(over="ignore"):
        spread = rows.std(axis=0)
    is_dense = (rows != np.median(rows, axis=0)).mean(axis=0) >= 0.5
    counted = np.where(is_dense & (spread > 0), spread, np.inf)
    least, most = int(counted.argmin()), int(spread.argmax())
    is_uneven = spread[most] > UNEVEN * counted[least]
    if spread[most] <= LARGE and not is_uneven:
        return
    largest = _place(most, names, spread)
    span = f"from {_place(least, names, spread)} to {largest}" if is_uneven else f"up to {largest}"
    warn(
        f"the columns of {name} have standard deviations {span}, and descent learns badly unless "
        "all are near 1: scale them, for instance by scikit-learn's StandardScaler, or give "
        "pixels as uint8"
    )


def _place(j: int, names: Any, spread: Array) -> str:
    column = f"column {j}" if names is None else f"column {names[j]!r}"
    return f"{spread[j]:.3g} ({column})"
