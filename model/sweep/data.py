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
    """Label sets as numbers, (t, n), or soft targets (n, c); the classes of each label set.

    Sets of fewer than two classes are left out: `found` are the classes of all that were given,
    `numbers` which of them are here. observed: (t, n), which labels are there; None: all are.
    missing: the label that stands for none. names: of all sets that were given, or None.
    """

    y: Array
    classes: list[Array]
    two_dimensional: bool
    found: list[Array]
    numbers: list[int]
    observed: Array | None = None
    missing: Any = None
    names: tuple[str, ...] | None = None

    @property
    def is_soft(self) -> bool:
        return self.y.dtype.kind == "f"

    @property
    def count(self) -> int:
        return len(self.classes)

    @property
    def class_counts(self) -> list[int]:
        return [len(classes) for classes in self.classes]

    @property
    def strata(self) -> Array | None:
        """What folds are stratified by: the one label set, in which no label is -1."""
        if self.is_soft or self.two_dimensional:
            return None
        if self.observed is None:
            return self.y[0]
        return np.where(self.observed[0], self.y[0], -1)

    def codes(self, label_set: int) -> Array | None:
        return None if self.is_soft else self.y[label_set]

    def have_own_weights(self, class_weight: Any) -> bool:
        """Whether the rows weigh something else for each label set."""
        return class_weight is not None or self.observed is not None

    def spread(self, values: list[Any]) -> list[Any]:
        """A value for each label set that was given: None for those left out."""
        of = dict(zip(self.numbers, values, strict=True))
        return [of.get(t) for t in range(len(self.found))]

    def for_splitter(self, y: Any) -> Array:
        """The labels as given, for what makes folds of them; where some are missing or left out,
        those of `y`, -1 for none."""
        if self.observed is not None or len(self.numbers) < len(self.found):
            codes = self.y if self.observed is None else np.where(self.observed, self.y, -1)
            return codes.T if self.two_dimensional else codes[0]
        y = to_host(inputs.target_array(y))
        return np.array(y.tolist()) if y.dtype.kind == "T" else y  # a splitter may not know it

    def encode(self, y: Any, n: int, name: str) -> tuple[Array, Array | None]:
        """Other labels of these classes, in the form of `self.y` and of `observed`.

        Several label sets may come as floats too.

        Raises:
            TypeError, ValueError: another form, another name of a label set, or a label that is not
                one of the classes.
        """
        may_be_soft = not self.two_dimensional
        sets = inputs.label_sets(y, n, name, self.missing, may_be_soft=may_be_soft)
        if sets is None:
            y = inputs.target_array(y, name)
            return to_host(inputs.soft_target_rows(y, n, self.classes[0], name)[0]), None
        if len(sets) != len(self.found):
            raise ValueError(f"{name} has {len(sets)} label sets, but y has {len(self.found)}")
        sets = inputs.by_name(sets, y, self.names, name)
        sets = [sets[t] for t in self.numbers]
        pairs = zip(sets, self.classes, strict=True)
        codes = [inputs.encode(one.values, classes, name) for one, classes in pairs]
        return np.stack(codes), _observed(sets)


def labels(y: Any, n: int, missing: Any = None) -> Labels:
    """y in the form the ops take, from labels (n,) or (n, 1), label sets (n, t) or float targets.

    Label sets of fewer than two classes are left out, with a warning. missing: the label that
    stands for none.

    Raises:
        TypeError, ValueError: another form, or no label set with two classes.
    """
    sets = inputs.label_sets(y, n, "y", missing)
    if sets is None:
        y, classes = inputs.soft_target_rows(inputs.target_array(y), n)
        return Labels(to_host(y), [classes], False, [classes], [0])
    found = [np.unique(s.values if s.observed is None else s.values[s.observed]) for s in sets]
    if sets[0].observed is None:
        inputs.warn_of_regression(sets[0].values, found[0])
    numbers = [t for t, classes in enumerate(found) if len(classes) > 1]
    _say_what_is_skipped(found, numbers)
    sets, classes = [sets[t] for t in numbers], [found[t] for t in numbers]
    pairs = zip(sets, classes, strict=True)
    codes = np.stack([inputs.encode(one.values, of) for one, of in pairs])
    several, names = len(found) > 1, inputs.set_names(y)
    return Labels(codes, classes, several, found, numbers, _observed(sets), missing, names)


def _observed(sets: list[inputs.LabelSet]) -> Array | None:
    """Which labels are there, (t, n); None if all are."""
    if all(one.observed is None or one.observed.all() for one in sets):
        return None
    ones = np.ones(len(sets[0].values), bool)
    return np.stack([ones if one.observed is None else one.observed for one in sets])


def _say_what_is_skipped(found: list[Array], numbers: list[int]) -> None:
    """Warn of label sets that are none; ValueError if there is no other."""
    if len(found) == 1 and not numbers:
        what = f"one class only, {found[0][0]!s}" if len(found[0]) else "no labels"
        raise ValueError(f"y has {what}: at least two are needed")
    if not numbers:
        raise ValueError(f"none of the {len(found)} label sets of y has two classes")
    skipped = [str(t) for t in range(len(found)) if t not in numbers]
    if skipped:
        inputs.warn(f"label sets with fewer than two classes are skipped: {', '.join(skipped)}")


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
    if groups is not None and not hasattr(sweep.cv, "split"):
        inputs.warn(
            "groups are ignored: they count for a cv that splits by them, such as scikit-learn's "
            "GroupKFold"
        )
    if sweep.n_bootstrap is not None:
        learn, left_out = folds.bootstraps(sweep.bootstrap, sweep.n_bootstrap, n, seed)
        return Splits(learn, folds.not_empty(left_out) if judges else None)
    if sweep.cv is None:
        return Splits(np.empty((0, n)), None)
    y = data.for_splitter(y)
    cv = folds.listed(sweep.cv, y, groups)
    learn, judge = folds.cross_validation(cv, y, groups, data.strata, seed)
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

    With class weights, or where labels are missing, there is such a group of sets for each label
    set, stacked. None if all weights are 1. Those of splits of `few_shot` have mean 1 over the rows
    that these learn from.
    """
    learn, n = splits.learn, splits.learn.shape[1]
    by_set = data.have_own_weights(class_weight)
    if sample_weight is None and not by_set and not len(learn):
        return None, np.array([n], np.float64)
    rows = np.ones(n) if sample_weight is None else inputs.weight_array(sample_weight, n)
    groups = data.count if by_set else 1
    sets = np.empty((groups * (1 + len(learn)), n), dtype)
    sums = np.empty(len(sets))
    for i in range(len(sets)):
        t, split = divmod(i, 1 + len(learn))
        counts = rows if split == 0 else rows * learn[split - 1]
        if data.observed is not None:
            counts = counts * data.observed[t]
            if not counts.any():
                raise ValueError(_no_labels(data, t, split - 1, "learns from"))
        codes, classes = data.codes(t), data.classes[t]
        weights = inputs.row_weights(counts, class_weight, codes, classes, n)
        own = splits.few.get(split - 1, slice(None))
        if not weights[own].any():
            who = _who(split - 1)
            raise ValueError(f"the weights of the rows that {who} learns from sum to zero")
        sets[i], sums[i] = 0, weights[own].sum()
        sets[i, own] = inputs.of_mean_one(weights[own])
    return sets, sums


def judges(data: Labels, judge: Array, dtype: np.dtype[Any]) -> Array:
    """The rows that each split is judged on, (k, n), as weights; (t k, n) where labels are missing.

    Raises:
        ValueError: a label set has no labels in those rows.
    """
    if data.observed is None:
        return judge.astype(dtype)
    both = data.observed[:, None] & judge
    empty = np.argwhere(~both.any(axis=2)).tolist()
    if empty:
        t, split = empty[0]
        raise ValueError(_no_labels(data, t, split, "is judged on"))
    return both.reshape(-1, judge.shape[1]).astype(dtype)


def held_out_weights(
    data: Labels, observed: Array | None, weights: Array | None, dtype: np.dtype[Any]
) -> Array | None:
    """What given rows count that judge, (1, n), or (t, n) where labels are missing; None: alike.

    observed: as `Labels.encode` gives it. weights: (n,), or None.

    Raises:
        ValueError: a label set has no labels in rows that count.
    """
    if weights is not None:
        weights = inputs.of_mean_one(weights)[None]
    if observed is not None:
        weights = observed.astype(np.float64) * (1 if weights is None else weights)
        empty = np.flatnonzero(~weights.any(axis=1))
        if empty.size:
            t = data.numbers[empty[0]]
            raise ValueError(f"label set {t} has no labels in the rows of y_val that count")
    return None if weights is None else weights.astype(dtype)


def _no_labels(data: Labels, t: int, split: int, does: str) -> str:
    return f"label set {data.numbers[t]} has no labels in the rows that {_who(split)} {does}"


def _who(split: int) -> str:
    return "a head" if split < 0 else f"split {split}"


def given_C(heads: Heads, models: list[Any], data: Labels) -> Array:
    """The C of the setting of each head, (h,); NaN where it has none."""
    C = np.array([np.nan if model.C is None else model.C for model in models], float)
    return C[heads.group // data.count]


def with_C(heads: Heads, models: list[Any], data: Labels, sums: Array) -> Heads:
    """The heads with the l2 that the C of their settings is, where they have one.

    sums: of the weight sets.
    """
    C = given_C(heads, models, data)
    if np.isnan(C).all():
        return heads
    l2 = l2_of(C, sums[heads.weight_set], np.array(data.class_counts)[heads.label_set])
    return replace(heads, l2=np.where(np.isnan(C), heads.l2, l2))


def heads(
    settings: list[Any], part: Array, label_sets: int, split_count: int, by_set: bool
) -> Heads:
    """One head for each setting, label set and split, all rows first: the split runs fastest.

    settings: a SoftmaxRegression for each. part: (m,), of the bank, that the heads of each are in.
    by_set: whether rows weigh something else for each label set.
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
        weight_set=split + (label_set * each if by_set else 0),
        loss=of("loss"),
        learning_rate=of("learning_rate").astype(float),
        l2=of("l2").astype(float),
        momentum=of("momentum").astype(float),
        part=part[setting],
    )
