"""What the settings of a sweep see of X."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from softstep.kernels.checks import Array
from softstep.model import views
from softstep.model.views import Range, Weights


@dataclass(frozen=True)
class Views:
    """The views of m settings.

    span: the columns of X that are read, from the first to the last that any setting sees. ranges:
    the different views, as columns of X. of_setting: (m,), which of them each setting has. names:
    (m,), what they are called, "start:stop" without a name. settings: those of the grid, in which
    "features" is (start, stop), if any has it.
    """

    span: Range
    ranges: tuple[Range, ...]
    of_setting: Array
    names: list[str]
    settings: list[dict[str, Any]]

    @classmethod
    def of(cls, models: list[Any], settings: list[dict[str, Any]], width: int) -> Self:
        """Those of settings of the grid.

        models: a SoftmaxRegression for each, which is given its range. width: columns of X.

        Raises:
            TypeError, ValueError: as `views.resolve`.
        """
        given = [setting.get("features", (None, None)) for setting in settings]
        found = [views.resolve(features, width) for features, _ in given]
        if any("features" in setting for setting in settings):
            both = zip(settings, found, strict=True)
            settings = [setting | {"features": columns} for setting, columns in both]
        for model, setting in zip(models, settings, strict=True):
            model.features = setting.get("features")
        ranges = tuple(dict.fromkeys(found))
        of_setting = np.array([ranges.index(columns) for columns in found])
        pairs = zip(found, given, strict=True)
        names = [str(name or f"{start}:{stop}") for (start, stop), (_, name) in pairs]
        return cls(views.span(ranges), ranges, of_setting, names, settings)

    @property
    def columns(self) -> tuple[Range, ...]:
        """The views as columns of the span."""
        first, _ = self.span
        return tuple((start - first, stop - first) for start, stop in self.ranges)

    @property
    def sizes(self) -> Array:
        """How many columns each view has."""
        return np.array([stop - start for start, stop in self.ranges])

    def weights(self, of_settings: list[Array], view: Array) -> Any:
        """W of heads with the views `view`, (h,), of which each setting has as many.

        of_settings: the weights (d, c) that all heads of a setting begin with.
        """
        each = len(view) // len(of_settings)
        arrays = []
        for v in range(len(self.ranges)):
            mine = [W for W, own in zip(of_settings, self.of_setting, strict=True) if own == v]
            arrays.append(np.repeat(np.stack(mine), each, axis=0))
        return arrays[0] if len(arrays) == 1 else Weights(self.columns, view, arrays)
