"""The results of a sweep: the table, and each head as a SoftmaxRegression."""

import copy
import numbers
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.kernels.arrays import to_host
from softstep.kernels.checks import Array
from softstep.model import blocks, trainer
from softstep.model.inputs import Schema
from softstep.model.regression import SoftmaxRegression
from softstep.model.saved_model import State, take_over
from softstep.model.sweep import certificate
from softstep.model.sweep.data import Labels
from softstep.model.sweep.heads import ALL_ROWS, Curves, Heads, Training


@dataclass(frozen=True)
class Trained:
    """All heads, without the rows they learned from."""

    models: list[SoftmaxRegression]
    classes: list[Array]
    schema: Schema
    heads: Heads
    bank: trainer.BankState
    curves: Curves
    epochs: Array
    diverged: Array
    origin: dict[str, Any]

    def estimator(self, index: int, split: int | None) -> SoftmaxRegression:
        """The head of that entry and split (None: all rows) as a fitted SoftmaxRegression.

        Raises as `SoftmaxSweep.estimator`, except NotFittedError.
        """
        for name, value in (("index", index), ("split", 0 if split is None else split)):
            if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral):
                raise TypeError(f"{name} must be a whole number, not {value!r}")
        each = len(self.heads.group) // len(self.diverged)
        if not 0 <= index < len(self.diverged):
            raise IndexError(f"there is no setting {index}: there are {len(self.diverged)}")
        if split is not None and not 0 <= split < each - 1:
            raise IndexError(f"there is no split {split}: there are {each - 1}")
        if self.diverged[index]:
            raise FloatingPointError(f"setting {index} diverged: it has no weights")
        head = index * each + (0 if split is None else 1 + split)
        model = copy.copy(self.models[index // len(self.classes)])
        epochs = self.epochs[head]
        own = slice(head, head + 1)
        moves = bool(model.momentum)  # alone, a head without momentum keeps no velocity
        MW, Mb = (moves * velocity[own] for velocity in self.bank.velocity)
        state = State(
            W=self.bank.W[own].copy(),
            b=self.bank.b[own].copy(),
            velocity=(MW, Mb),
            classes=self.classes[self.heads.label_set[head]],
            seed=model.seed_,
            schema=self.schema,
            loss_curve=self.curves.loss[:epochs, head].copy(),
            origin=self.origin,
        )
        take_over(model, state)
        model.history_ = [self._epoch(number, head) for number in range(epochs)]
        return model

    def _epoch(self, number: int, head: int) -> trainer.Epoch:
        curves = self.curves
        figures = (
            float(figure[number, head])
            for figure in (curves.loss, curves.accuracy, curves.val_loss, curves.val_accuracy)
        )
        loss, accuracy, *held_out = figures
        if np.isnan(held_out[0]):
            return trainer.Epoch(number, curves.steps[number], loss, accuracy)
        return trainer.Epoch(number, curves.steps[number], loss, accuracy, *held_out)


def trained(
    models: list[SoftmaxRegression],
    data: Labels,
    schema: Schema,
    training: Training,
    origin: dict[str, Any],
) -> Trained:
    return Trained(
        models,
        data.classes,
        schema,
        training.heads,
        training.bank,
        training.curves,
        training.epochs,
        training.diverged,
        origin,
    )


def table(settings: list[dict[str, Any]], data: Labels, training: Training) -> dict[str, Any]:
    """`SoftmaxSweep.results_`; its docstring says what is in it."""
    heads, groups = training.heads, np.arange(training.groups)
    whole = heads.split == ALL_ROWS
    params = [setting for setting in settings for _ in range(data.count)]
    defaults = SoftmaxRegression().get_params()
    results: dict[str, Any] = {"params": params}
    for name in sorted({name for setting in settings for name in setting}):
        results[f"param_{name}"] = np.array([p.get(name, defaults[name]) for p in params])
    if data.two_dimensional:
        results["label_set"] = heads.label_set[whole]
    results["rank"] = np.empty(len(groups), np.int64)
    for t in range(data.count):
        order, ranks = training.order(groups[t :: data.count])
        results["rank"][order] = ranks
    diverged = training.diverged
    for name, figures in (("accuracy", training.head_accuracy), ("loss", training.head_loss)):
        mean, std = training.judged(figures), training.judged(figures, np.std)
        results[f"mean_val_{name}"] = np.where(diverged, np.nan, mean)
        spread = np.where(diverged, np.nan, std)
        results[f"std_val_{name}"] = spread if training.has_splits else np.full(len(groups), np.nan)
    results["epochs"] = training.epochs[whole]
    results["diverged"] = diverged
    return results | _certificate(training)


def _certificate(training: Training) -> dict[str, Array]:
    """objective, gradient_norm and bound of the heads on all rows; NaN where they do not apply."""
    heads, bank = training.heads, training.bank
    names = "objective", "gradient_norm", "bound"
    found = {name: np.full(training.groups, np.nan) for name in names}
    chosen = certified(heads, training.plan.sgd)
    chosen = chosen[~training.diverged[heads.group[chosen]]]
    together = certificate.group_heads(*bank.W.shape[1:])
    for some in (chosen[i : i + together] for i in range(0, len(chosen), together)):
        for name, figures in zip(names, _certify(training, some), strict=True):
            found[name][heads.group[some]] = figures
    return found


def certified(heads: Heads, sgd: trainer.SGDSettings) -> Array:
    """The heads, among those on all rows, that the certificate applies to."""
    apply = [
        certificate.applies(loss, l2, sgd.l2_bias, sgd.fit_bias)
        for loss, l2 in zip(heads.loss, heads.l2, strict=True)
    ]
    return np.flatnonzero(np.array(apply) & (heads.split == ALL_ROWS))


def _certify(training: Training, some: Array) -> tuple[Array, Array, Array]:
    """Objective, gradient norm and bound of these heads."""
    plan, bank, heads = training.plan, training.bank, training.heads.take(some)
    f, dW, db = certificate.objective_and_gradient(
        _blocks(plan.data, heads, bank.W.shape, plan.layout),
        len(plan.data.X),
        bank.W[some],
        bank.b[some],
        heads.l2,
        feature_scale=plan.data.feature_scale,
        fit_bias=plan.sgd.fit_bias,
    )
    return f, *certificate.bounds(dW, db, heads.l2)


def _blocks(
    data: trainer.Rows, heads: Heads, shape: tuple[int, ...], layout: blocks.Layout | None
) -> Iterator[tuple[Array, Array, Array]]:
    """Features, targets and weights of some rows at a time, for these heads."""
    _, d, c = shape
    count = certificate.block_rows(d, len(heads.group) * c)
    whole = [(data.X, np.arange(len(data.X)))]
    for X, rows in whole if layout is None else blocks.in_order(data.X, layout):
        for start in range(0, len(X), count):
            part = rows[start : start + count]
            soft = data.y.dtype.kind == "f"
            weights = np.ones((len(part), len(heads.group)))
            if data.sample_weight is not None:
                weights[:] = data.sample_weight[np.ix_(heads.weight_set, part)].T
            y = data.y[part] if soft else data.y[np.ix_(heads.label_set, part)].T
            yield to_host(X[start : start + count]), y, weights
