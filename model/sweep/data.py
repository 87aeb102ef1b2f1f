"""What a sweep trains on: label sets, splits as weight sets, and the heads that use them."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from softstep.kernels.arrays import to_host
from softstep.kernels.checks import Array
from softstep.model import inputs
from softstep.model.optimum.settings import l2_of
from softstep.model.sweep import few_rows, folds
from softstep.model.sweep.heads import Heads


@dataclass(frozen=True)
class Labels:
    """Label sets as numbers, (t, n), or soft targets (n, c); the classes of each label set."""

    y: Array
    classes: list[Array]
    two_dimensional: bool

    @property
    def is_soft(self) -> bool:
        return self.y.dtype.kind == "f"

    @property
    def count(self) -> int:
        return len(self.classes)

    def codes(self, label_set: int) -> Array | None:
        return None if self.is_soft else self.y[label_set]

    def encode(self, y: Any, n: int, name: str) -> Array:
        """Other labels of these classes, in the form of `self.y`.

        Raises:
            TypeError, ValueError: another form, or a label that is not one of the classes.
        """
        y = inputs.target_array(y, name)
        if inputs.is_soft(y):
            return to_host(inputs.soft_target_rows(y, n, self.classes[0], name)[0])
        columns = _columns(y, n, name)
        if len(columns) != self.count:
            raise ValueError(f"{name} has {len(columns)} label sets, but y has {self.count}")
        pairs = zip(columns, self.classes, strict=True)
        return np.stack([inputs.encode(column, classes, name) for column, classes in pairs])


def labels(y: Any, n: int) -> Labels:
    """y in the form the ops take, from labels (n,) or (n, 1), label sets (n, t) or float targets.

    Raises:
        TypeError, ValueError: another form, fewer than two classes, or label sets with different
            numbers of classes.
    """
    y = inputs.target_array(y)
    if inputs.is_soft(y):
        y, found = inputs.soft_target_rows(y, n)
        return Labels(to_host(y), [found], False)
    columns = _columns(y, n, "y")
    classes = [np.unique(column) for column in columns]
    inputs.warn_of_regression(columns[0], classes[0])
    for t, found in enumerate(classes):
        if len(found) < 2:
            raise ValueError(f"y has one class only, {found[0]!s}: at least two are needed")
        if len(found) != len(classes[0]):
            raise ValueError(
                f"label set {t} has {len(found)} classes, but label set 0 has {len(classes[0])}: "
                "in one sweep all need as many"
            )
    pairs = zip(columns, classes, strict=True)
    codes = np.stack([inputs.encode(column, found) for column, found in pairs])
    return Labels(codes, classes, two_dimensional=len(columns) > 1)


def _columns(y: Any, n: int, name: str) -> list[Array]:
    y = to_host(y)
    if y.ndim != 2 or y.shape[1] == 1:
        return [inputs.label_values(y, n, name)]
    if len(y) != n or not y.shape[1]:
        raise ValueError(
            f"{name} has shape {y.shape}, but there are {n} rows: give one column for each label "
            f"set, ({n}, t)"
        )
    if y.dtype.kind in "iub" and y.shape[1] > 2 and (np.sort(y, axis=1) == _one_hot(y)).all():
        inputs.warn(
            f"each row of {name} has a single 1: its {y.shape[1]} columns are read as label sets; "
            f"for {y.shape[1]} classes give {name}.argmax(axis=1), or floats"
        )
    return [inputs.label_values(y[:, t], n, f"{name}[:, {t}]") for t in range(y.shape[1])]


def _one_hot(y: Array) -> Array:
    """A sorted row of zeros and a single 1, as wide as y."""
    return np.arange(y.shape[1]) == y.shape[1] - 1


@dataclass(frozen=True)
class Splits:
    """How often each split learns from each row, and the rows it is judged on, (k, n).

    few: the rows that splits of `few_shot` learn from, by the number of the split.
    """

    learn: Array
    judge: Array | None
    few: dict[int, Array] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return len(self.learn)


def split_count(sweep: Any) -> int | None:
    """The number of splits a SoftmaxSweep asks for; None if only its folds tell."""
    if sweep.cv is not None and sweep.n_bootstrap is not None:
        raise ValueError("give cv or n_bootstrap, not both")
    if sweep.n_bootstrap is not None:
        return inputs.integer("n_bootstrap", sweep.n_bootstrap, least=2)
    if sweep.cv is None:
        return 0
    return None if folds.makes_folds(sweep.cv) else folds.count(sweep.cv)


def splits(
    sweep: Any, y: Any, groups: Any, data: Labels, n: int, seed: int, *, judges: bool
) -> Splits:
    """The k folds or bootstraps of a SoftmaxSweep; k = 0 for neither.

    judges: whether heads are judged on the rows their split leaves out.
    """
    if sweep.n_bootstrap is not None:
        learn, left_out = folds.bootstraps(sweep.bootstrap, sweep.n_bootstrap, n, seed)
        return Splits(learn, folds.not_empty(left_out) if judges else None)
    if sweep.cv is None:
        return Splits(np.empty((0, n)), None)
    codes = data.codes(0) if data.count == 1 else None
    y = to_host(inputs.target_array(y))
    y = np.array(y.tolist()) if y.dtype.kind == "T" else y  # a splitter may not know it
    cv = folds.listed(sweep.cv, y, groups)
    learn, judge = folds.cross_validation(cv, y, groups, codes, seed)
    few = few_rows.of_folds(cv, learn) if isinstance(cv, list) else {}
    if few and sweep.max_steps is not None:
        raise ValueError(
            "max_steps ends all heads after as many steps, but splits of few_shot take fewer in an "
            "epoch: give epochs"
        )
    return Splits(learn, judge, few)


def weight_sets(
    sample_weight: Any, class_weight: Any, data: Labels, splits: Splits, dtype: np.dtype[Any]
) -> tuple[Array | None, Array]:
    """A set of weights of mean 1 for all rows and one for each split, (1 + k, n) in `dtype`, and
    their sums before they were scaled.

    With class weights there is such a group of sets for each label set, stacked. None if all
    weights are 1. Those of splits of `few_shot` have mean 1 over the rows that these learn from.
    """
    learn, n = splits.learn, splits.learn.shape[1]
    if sample_weight is None and class_weight is None and not len(learn):
        return None, np.array([n], np.float64)
    rows = np.ones(n) if sample_weight is None else inputs.weight_array(sample_weight, n)
    groups = data.count if class_weight is not None else 1
    sets = np.empty((groups * (1 + len(learn)), n), dtype)
    sums = np.empty(len(sets))
    for i in range(len(sets)):
        t, split = divmod(i, 1 + len(learn))
        counts = rows if split == 0 else rows * learn[split - 1]
        codes, classes = data.codes(t), data.classes[t]
        weights = inputs.row_weights(counts, class_weight, codes, classes, n)
        own = splits.few.get(split - 1, slice(None))
        sets[i], sums[i] = 0, weights[own].sum()
        sets[i, own] = inputs.of_mean_one(weights[own])
    return sets, sums


def with_C(heads: Heads, models: list[Any], data: Labels, sums: Array) -> Heads:
    """The heads with the l2 that the C of their settings is, where they have one.

    sums: of the weight sets.
    """
    C = np.array([np.nan if model.C is None else model.C for model in models], float)
    if np.isnan(C).all():
        return heads
    C = C[heads.group // data.count]
    l2 = l2_of(C, sums[heads.weight_set], len(data.classes[0]))
    return replace(heads, l2=np.where(np.isnan(C), heads.l2, l2))


def heads(
    settings: list[Any], part: Array, label_sets: int, split_count: int, class_weight: bool
) -> Heads:
    """One head for each setting, label set and split, all rows first: the split runs fastest.

    settings: a SoftmaxRegression for each. part: (m,), of the bank, that the heads of each are in.
    """
    each = 1 + split_count
    h = len(settings) * label_sets * each
    group, split = np.divmod(np.arange(h), each)
    setting, label_set = np.divmod(group, label_sets)

    def of(name: str) -> Array:
        return np.array([getattr(model, name) for model in settings])[setting]

    return Heads(
        group=group,
        split=split - 1,  # ALL_ROWS, 0, 1, …
        label_set=label_set,
        weight_set=split + (label_set * each if class_weight else 0),
        loss=of("loss"),
        learning_rate=of("learning_rate").astype(float),
        l2=of("l2").astype(float),
        momentum=of("momentum").astype(float),
        part=part[setting],
    )
