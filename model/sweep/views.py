"""What the settings of a sweep see of X, and the parts of the bank that follow from it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from softstep.kernels.checks import Array
from softstep.model import views
from softstep.model.inputs import labels_of, measured, refuse_non_finite
from softstep.model.trainer import Rows
from softstep.model.views import Part, Range, Scaler, Weights


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

    def parts(
        self,
        models: list[Any],
        heads: Any,
        rows: Rows,
        release: Callable[[int, int], None] | None,
    ) -> tuple[Any, tuple[Part, ...]]:
        """The heads, whose `part` is final now, and the parts of their bank.

        Heads are in one part that see the same columns, scaled alike: those that learn from other
        rows, as folds do, have other means and deviations. release: as `measured` takes it.
        """
        if all(model.scaling is None for model in models):
            return heads, tuple(map(Part, self.columns))
        setting = np.arange(len(heads.group)) // (len(heads.group) // len(models))
        keys = []
        for s, weight_set in zip(setting, heads.weight_set.tolist(), strict=True):
            scaling = models[s].scaling
            depends = scaling is not None and "standard" in scaling
            keys.append((int(self.of_setting[s]), scaling, weight_set if depends else -1))
        distinct = list(dict.fromkeys(keys))
        found = self._scalers(distinct, rows, models[0].fit_intercept, release)
        parts = tuple(Part(self.columns[key[0]], found[key]) for key in distinct)
        return replace(heads, part=np.array([distinct.index(key) for key in keys])), parts

    def _scalers(
        self,
        keys: list[Any],
        rows: Rows,
        centers: bool,
        release: Callable[[int, int], None] | None,
    ) -> dict[Any, Scaler | None]:
        """Those of (view, scaling, weight set)."""
        found: dict[Any, Scaler | None] = {}
        for v, scaling in dict.fromkeys(key[:2] for key in keys):
            if scaling is None:
                found[v, None, -1] = None
                continue
            sets = [s for view, other, s in keys if (view, other) == (v, scaling)]
            weights: list[Array | None] = [None] * len(sets)
            if rows.sample_weight is not None:
                weights = [rows.sample_weight[s] if s >= 0 else None for s in sets]
            X = views.seen(rows.X, self.columns[v])
            scalers = measured(
                X, scaling, rows.feature_scale, weights, centers=centers, release=release
            )
            if not all(scaler.is_finite for scaler in scalers):
                refuse_non_finite(X, names=labels_of(None, self.ranges[v]))
            found |= {(v, scaling, s): scaler for s, scaler in zip(sets, scalers, strict=True)}
        return found


def first_weights(of_settings: list[Array], part: Array, parts: tuple[Part, ...]) -> Any:
    """W of heads in these parts of a bank, (h,), of which each setting has as many.

    of_settings: the weights (d, c) that all heads of a setting begin with.
    """
    each = len(part) // len(of_settings)
    arrays = [
        np.stack([of_settings[k // each] for k in np.flatnonzero(part == p)])
        for p in range(len(parts))
    ]
    if len(parts) == 1 and parts[0].scaler is None:
        return arrays[0]
    return Weights(parts, part, arrays)
