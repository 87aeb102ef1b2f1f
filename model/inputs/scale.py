"""The factor applied to the features: uint8 are pixels, scaled to [0, 1], where that is meant; int8
are numbers, as other integers are."""

from collections.abc import Iterator
from enum import StrEnum

import numpy as np

from softstep.kernels.arrays import to_host
from softstep.kernels.checks import Array
from softstep.model.inputs.rows import BLOCK_VALUES, SAMPLE_ROWS, Features, sample
from softstep.model.inputs.settings import number
from softstep.model.inputs.sparse import SparseRows
from softstep.model.inputs.warnings import warn

PIXEL_SCALE = 1 / 255  # as torchvision's ToTensor reads bytes
BEYOND = 10.0  # what is no longer an outlier of features within [0, 1]


class Kind(StrEnum):
    """What features were when a model learned from them."""

    PIXELS = "uint8 pixels"
    WHOLE = "integers or booleans"
    UNIT = "floats within [0, 1]"
    FLOATS = "floats beyond [0, 1]"

    @classmethod
    def of(cls, rows: Features) -> "Kind":
        if rows.X.dtype == np.uint8:
            return cls.PIXELS
        if rows.are_whole:
            return cls.WHOLE
        if isinstance(rows.X, SparseRows):
            return cls.UNIT if _are_within_unit(rows.X) else cls.FLOATS
        least, most = rows.extremes  # a pass over all dense rows may cost as much as an epoch
        return cls.UNIT if least >= 0 and most <= 1 else cls.FLOATS

    def and_then(self, later: "Kind") -> "Kind":
        """What a model has learned from after rows of a further kind, which it could read."""
        if Kind.FLOATS in (self, later) or (self, later) == (Kind.WHOLE, Kind.UNIT):
            return Kind.FLOATS
        return self


def first_factor(setting: float | str, kind: Kind) -> float:
    """The factor for the rows a model learns from first: the number set, or by their kind.

    Raises:
        TypeError, ValueError: the setting is neither "auto" nor a finite number other than 0.
    """
    if _is_auto(setting):
        return PIXEL_SCALE if kind is Kind.PIXELS else 1.0
    return _set_factor(setting)


def factor(setting: float | str, rows: Features, name: str, learned: Kind | None) -> float:
    """The factor for rows given to a model that learned from rows of the kind `learned`.

    learned: None for a model that was saved before it was kept.

    Raises:
        TypeError: as `first_factor`.
        ValueError: as `first_factor`, or rows that the model would misread; the text has the cure.
    """
    if not _is_auto(setting):
        return _set_factor(setting)
    if rows.X.dtype == np.uint8:
        return _factor_of_bytes(rows.X, name, learned)
    if learned is Kind.PIXELS:
        _refuse_unless_scaled(rows, name)
    if learned is Kind.UNIT and rows.are_whole and not _are_within_unit(rows.X):
        raise ValueError(
            f"the model was fitted on {learned}, but {name} is {rows.dtype} and {_reach(rows.X)}: "
            "give floats that are scaled alike, or pixels as uint8"
        )
    if learned in (Kind.UNIT, Kind.WHOLE) and not rows.are_whole:
        _warn_of_another_scale(rows, name, learned)
    return 1.0


def check_scale(setting: float | str) -> None:
    """Raise TypeError or ValueError unless it is "auto" or a finite number other than 0."""
    if not _is_auto(setting):
        _set_factor(setting)


def _warn_of_another_scale(rows: Features, name: str, learned: Kind) -> None:
    """Warn of floats, by a sample of rows, that are far from what the model learned from."""
    if learned is Kind.UNIT:
        least, most = rows.extremes
        if not (most > BEYOND or least < -BEYOND):
            return
        said = f"{name} {_reached(least, most)}"
    else:
        some = sample(rows.X, SAMPLE_ROWS)
        if not (some != np.trunc(some)).any():
            return
        said = f"{name} holds fractions"
    warn(f"the model was fitted on {learned}, but {said}: give rows that are scaled alike")


def _is_auto(setting: float | str) -> bool:
    if isinstance(setting, str) and setting != "auto":
        raise ValueError(f"feature_scale must be 'auto' or a number, not {setting!r}")
    return isinstance(setting, str)


def _set_factor(setting: float | str) -> float:
    scale = float(number("feature_scale", setting))
    if scale == 0:
        raise ValueError("feature_scale must not be 0: all features would be")
    return scale


def _factor_of_bytes(X: Array, name: str, learned: Kind | None) -> float:
    """The factor for uint8."""
    if learned is Kind.PIXELS:
        return PIXEL_SCALE
    if learned is Kind.WHOLE:
        return 1.0
    if learned is Kind.UNIT:
        if _extremes(X)[1] > 1:
            return PIXEL_SCALE
        raise ValueError(
            f"the model was fitted on {learned}, and {name} is uint8 without a value above 1: "
            f"these may be pixels or zeros and ones; give {name}.astype(np.float32), and divide "
            "it by 255 if they are pixels"
        )
    origin = f"on {learned}" if learned else "before it was kept on what"
    raise ValueError(
        f"the model was fitted {origin}, but {name} is uint8, which may be pixels or numbers: "
        "give floats prepared as those it learned from"
    )


def _refuse_unless_scaled(rows: Features, name: str) -> None:
    """Raise ValueError unless these, for a model of pixels, are pixels scaled to [0, 1]."""
    if rows.are_whole or not _are_within_unit(rows.X):
        raise ValueError(
            f"the model was fitted on uint8 pixels, read as [0, 1], but {name} is {rows.dtype} "
            f"and {_reach(rows.X)}: give uint8, or divide by 255"
        )


def _reach(X: Array) -> str:
    return _reached(*_extremes(X))


def _reached(least: float, most: float) -> str:
    return f"reaches {most:g}" if most > 1 or least >= 0 else f"goes down to {least:g}"


def _are_within_unit(X: Array) -> bool:
    """Whether all values are within [0, 1]; the first block that says no ends the search."""
    return all(block.min() >= 0 and block.max() <= 1 for block in _blocks(X))


def _extremes(X: Array) -> tuple[float, float]:
    blocks = [(block.min(), block.max()) for block in _blocks(X)]
    return float(min(low for low, _ in blocks)), float(max(high for _, high in blocks))


def _blocks(X: Array) -> Iterator[Array]:
    if isinstance(X, SparseRows):  # what it stores, and a zero that it does not
        yield np.append(X.matrix.data, X.dtype.type(0))
        return
    count = max(1, BLOCK_VALUES // X.shape[1])
    for start in range(0, len(X), count):
        yield to_host(X[start : start + count])
