"""The factor applied to the features: uint8 are pixels, scaled to [0, 1]."""

import sys
import warnings

import numpy as np

from softstep.kernels.checks import Array
from softstep.model import inputs

PIXEL_SCALE = 1 / 255  # as torchvision's ToTensor reads bytes


def factor(setting: float | str, X: Array) -> float:
    """The factor for X: the number set; for "auto", 1/255 for uint8 and 1 for other dtypes.

    Raises:
        TypeError, ValueError: the setting is neither "auto" nor a finite number other than 0.
    """
    if setting == "auto":
        return PIXEL_SCALE if X.dtype == np.uint8 else 1.0
    if isinstance(setting, str):
        raise ValueError(f"feature_scale must be 'auto' or a number, not {setting!r}")
    scale = float(inputs.number("feature_scale", setting))
    if scale == 0:
        raise ValueError("feature_scale must not be 0: all features would be")
    return scale


def warn_of_pixels(X: Array, name: str, scale: float, fitted_scale: float) -> None:
    """Warn if a model fitted on uint8 pixels, scaled to [0, 1], is given unscaled pixels."""
    was_pixels = fitted_scale == PIXEL_SCALE and scale == 1
    if was_pixels and isinstance(X, np.ndarray) and X.max() > 1:
        warnings.warn(
            f"the model was fitted on uint8 pixels, read as [0, 1], but {name} is {X.dtype} and "
            f"reaches {X.max():g}: give uint8, or divide by 255",
            stacklevel=_level_of_the_user(),
        )


def _level_of_the_user() -> int:
    """The `stacklevel` at which a warning of the function that calls this names the user's line."""
    level, frame = 1, sys._getframe(1)
    while frame.f_globals.get("__name__", "").startswith("softstep.") and frame.f_back:
        level, frame = level + 1, frame.f_back
    return level
