"""A warning for features that gradient descent will hardly learn from as they are."""

from typing import Any

import numpy as np

from softstep.kernels.checks import Array
from softstep.model.inputs.rows import sample
from softstep.model.inputs.warnings import warn

SAMPLE_ROWS, SAMPLE_VALUES = 1000, 1 << 17
LARGE = 10.0  # standard deviation of a column beyond which it is not scaled
OFF = 30.0  # mean of a column beyond which it is not about zero
UNEVEN = 100.0  # times the least one
SHORT = 0.1  # length of a row, about the mean, below which a step changes next to nothing
CURE = 'give scaling="standard" (--scaling standard)'


def warn_of_spread(X: Array, scale: float, names: Any, solver: str, name: str = "X") -> None:
    """Warn once if the columns of a sample of rows are large, unlike, off zero or all tiny.

    Columns that mostly hold one value, as those of pixels and word counts do, do not count as
    unlike. scale: the factor that is applied to X. names: of the columns, or None (`labels_of`).
    solver: "sgd", which alone minds.
    """
    if solver != "sgd":
        return
    rows = sample(X, max(2, min(SAMPLE_ROWS, SAMPLE_VALUES // X.shape[1])))
    rows = rows.astype(np.float64) * scale
    if not np.isfinite(rows).all():
        return  # which is refused, with its place, once it is met
    with np.errstate(over="ignore"):
        spread, mean = rows.std(axis=0), rows.mean(axis=0)
        length = np.sqrt((spread**2).sum())
    is_dense = (rows != np.median(rows, axis=0)).mean(axis=0) >= 0.5
    counted = np.where(is_dense & (spread > 0), spread, np.inf)
    least, most, off = int(counted.argmin()), int(spread.argmax()), int(np.abs(mean).argmax())
    largest = f"standard deviations up to {_place(most, names, spread)}"
    cure = f"{CURE}, or pixels as uint8, or set feature_scale (--feature-scale)"
    if spread[most] > UNEVEN * counted[least]:
        said = f"standard deviations from {_place(least, names, spread)} to "
        said += _place(most, names, spread)
    elif spread[most] > LARGE:
        said = largest
    elif abs(mean[off]) > OFF:
        said = f"means up to {_place(off, names, mean)}"
    elif 0 < length < SHORT:
        said = f"{largest} alone"
        if X.dtype == np.uint8:
            cure = "if these uint8 are numbers and no pixels, set feature_scale=1 (--feature-scale)"
    else:
        return
    warn(
        f"the columns of {name} have {said}, and descent learns badly unless deviations are near 1 "
        f"and means near 0: {cure}"
    )


def _place(j: int, names: Any, figures: Array) -> str:
    column = f"column {j}" if names is None else f"column {names[j]!r}"
    return f"{figures[j]:.3g} ({column})"
