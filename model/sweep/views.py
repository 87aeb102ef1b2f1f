"""What the settings of a sweep see of X, and the parts of the bank that follow from it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np

from softstep.kernels.checks import Array
from softstep.model import views
from softstep.model.inputs import labels_of, measured
from softstep.model.trainer import Rows
from softstep.model.views import Part, Range, Scaler, Weights


class Key(NamedTuple):
    """What the heads of one part have in common: view, number of classes, scaling, the weight set
    that their statistics are by (-1: none are), the split whose rows they visit alone (-1: they
    visit all)."""

    view: int
    classes: int
    scaling: str | None
    weight_set: int
    split: int


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
        few: dict[int, Rows],
        class_counts: list[int],
        release: Callable[[int, int], None] | None,
    ) -> tuple[Any, tuple[Part, ...], dict[int, Rows]]:
        """The heads, whose `part` is final now, the parts of their bank, and of each part with rows
        of its own these rows.

        Heads are in one part that see the same columns, scaled alike, have as many classes, and
        visit the same rows: those that learn from other rows, as folds do, have other means and
        deviations. few: the rows of splits that visit theirs alone. class_counts: of each label
        set. release: as `measured` takes it.
        """
        setting = np.arange(len(heads.group)) // (len(heads.group) // len(models))
        keys = []
        columns = setting, heads.label_set, heads.weight_set, heads.split
        for s, t, weight_set, split in zip(*(c.tolist() for c in columns), strict=True):
            scaling = models[s].scaling
            depends = scaling is not None and "standard" in scaling
            key = Key(
                view=int(self.of_setting[s]),
                classes=class_counts[t],
                scaling=scaling,
                weight_set=weight_set if depends else -1,
                split=split if split in few else -1,
            )
            keys.append(key)
        place = {key: p for p, key in enumerate(dict.fromkeys(keys))}
        each = int(heads.split.max()) + 2
        found = self._scalers(place, rows, few, each, models[0].fit_intercept, release)
        counts = {split: len(own.X) for split, own in few.items()}
        parts = tuple(
            Part(self.columns[key.view], found[key], counts.get(key.split)) for key in place
        )
        own = {p: few[key.split] for key, p in place.items() if key.split in few}
        return replace(heads, part=np.array([place[key] for key in keys])), parts, own

    def _scalers(
        self,
        keys: Iterable[Key],
        rows: Rows,
        few: dict[int, Rows],
        each: int,
        centers: bool,
        release: Callable[[int, int], None] | None,
    ) -> dict[Key, Scaler | None]:
        """Those of these keys. each: how many weight sets of all rows there are for one of few."""
        found: dict[Key, Scaler | None] = dict.fromkeys(keys)
        alike: dict[Any, list[Key]] = {}
        for key in found:
            if key.scaling is not None:
                alike.setdefault((key.view, key.scaling, key.split), []).append(key)
        for (v, scaling, split), some in alike.items():
            own, step = (few[split], each) if split in few else (rows, 1)
            sets = [None if key.weight_set < 0 else key.weight_set // step for key in some]
            X = views.seen(own.X, self.columns[v])
            scalers = measured(
                X,
                scaling,
                rows.feature_scale,
                own.sample_weight,
                sets,
                centers=centers,
                names=labels_of(None, self.ranges[v]),
                release=release if own is rows else None,
            )
            found |= dict(zip(some, scalers, strict=True))
        return found


def first_weights(of_head: Callable[[int], Array], part: Array, parts: tuple[Part, ...]) -> Any:
    """W of heads in these parts of a bank, (h,).

    of_head: the weights (d, c) that a head begins with; those of constant columns are 0.
    """
    arrays = [
        np.stack([of_head(k) for k in np.flatnonzero(part == p).tolist()])
        for p in range(len(parts))
    ]
    if len(parts) == 1 and parts[0].scaler is None:
        return arrays[0]
    for array, own in zip(arrays, parts, strict=True):
        if own.scaler is not None:
            array[:] = [own.scaler.begun(W) for W in array]
    return Weights(parts, part, arrays)
