"""The results of a sweep: the table, and each head as a SoftmaxRegression."""

import copy
import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.kernels.checks import Array
from softstep.kernels.integers import ceil_div
from softstep.model import trainer
from softstep.model.inputs import Schema
from softstep.model.optimum.problem import Problem, is_provable
from softstep.model.optimum.proof import prove
from softstep.model.regression import SoftmaxRegression
from softstep.model.saved_model import State, take_over
from softstep.model.scores import ALWAYS
from softstep.model.sweep.data import Labels
from softstep.model.sweep.heads import ALL_ROWS, Curves, Heads, Training
from softstep.model.sweep.out_of_fold import LeftOut
from softstep.model.views import Part, Weights, of_head


@dataclass(frozen=True)
class Trained:
    """All heads, without the rows they learned from. `schemas`: what each model read."""

    models: list[SoftmaxRegression]
    classes: list[Array]
    schemas: list[Schema]
    heads: Heads
    bank: trainer.BankState
    parts: tuple[Part, ...]
    curves: Curves
    epochs: Array
    diverged: Array
    origin: dict[str, Any]
    optima: list[tuple[float, float, float, bool]] | None  # of heads that were solved,
    ends: Array | None  # and their loss and accuracy at the end, (2, h)
    left_out: LeftOut

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
        setting = index // len(self.classes)
        model, epochs = copy.copy(self.models[setting]), self.epochs[head]
        moves = bool(model.momentum)  # alone, a head without momentum keeps no velocity
        MW, Mb = (moves * of_head(velocity, head) for velocity in self.bank.velocity)
        c = len(self.classes[self.heads.label_set[head]])
        state = State(
            W=of_head(self.bank.W, head),
            b=of_head(self.bank.b[:, :c], head),
            velocity=(MW, Mb[:, :c]),
            classes=self.classes[self.heads.label_set[head]],
            seed=model.seed_,
            schema=self.schemas[setting],
            loss_curve=self.curves.loss[:epochs, head].copy(),
            origin=self.origin,
            optimum=None if self.optima is None else self.optima[head],
            scaler=self.parts[self.heads.part[head]].scaler,
        )
        take_over(model, state)
        model.history_ = self._history(head)
        return model

    def _history(self, head: int) -> list[trainer.Epoch]:
        """Its epochs; of a head that was solved one, of its end, if there is anything to say."""
        steps = int(self.epochs[head])
        if self.ends is None:
            return [self._epoch(number, head) for number in range(steps)]
        held_out = [float(x[-1, head]) for x in (self.curves.val_loss, self.curves.val_accuracy)]
        judged = not np.isnan(held_out[0])
        if not (steps or judged):
            return []
        loss, accuracy = self.ends[:, head].tolist()
        return [trainer.Epoch(0, steps, loss, accuracy, *(held_out if judged else ()))]

    def _epoch(self, number: int, head: int) -> trainer.Epoch:
        curves = self.curves
        figures = (
            float(figure[number, head])
            for figure in (curves.loss, curves.accuracy, curves.val_loss, curves.val_accuracy)
        )
        loss, accuracy, *held_out = figures
        steps, own = curves.steps[number], self.parts[self.heads.part[head]].own
        if own is not None:  # it took fewer than the others
            setting = self.heads.group[head] // len(self.classes)
            steps = ceil_div(own, self.models[setting].batch_size)
        if np.isnan(held_out[0]):
            return trainer.Epoch(number, steps, loss, accuracy)
        return trainer.Epoch(number, steps, loss, accuracy, *held_out)


def trained(
    models: list[SoftmaxRegression],
    data: Labels,
    schemas: list[Schema],
    training: Training,
    origin: dict[str, Any],
) -> Trained:
    solution = training.solution
    return Trained(
        models,
        data.classes,
        schemas,
        training.heads,
        training.bank.on_host(),
        training.plan.parts,
        training.curves,
        training.epochs,
        training.diverged,
        origin,
        None if solution is None else [solution.of_head(k) for k in range(len(solution.b))],
        training.ends,
        training.plan.left_out,
    )


def table(
    settings: list[dict[str, Any]],
    data: Labels,
    training: Training,
    scores: dict[str, Array],
    intervals: dict[str, tuple[Array, Array]],
) -> dict[str, Any]:
    """`SoftmaxSweep.results_`; its docstring says what is in it. scores: that were asked for, of
    the heads. intervals: lowest and highest of each setting, of those that have them."""
    heads, groups = training.heads, np.arange(training.groups)
    whole = heads.split == ALL_ROWS
    params = [setting for setting in settings for _ in range(data.count)]
    defaults = SoftmaxRegression().get_params()
    results: dict[str, Any] = {"params": params}
    for name in sorted({name for setting in settings for name in setting}):
        results[f"param_{name}"] = _column([p.get(name, defaults[name]) for p in params])
    if "param_features" in results:
        results["features_name"] = np.repeat(training.plan.views.names, data.count)
    if data.two_dimensional:
        results["label_set"] = np.array(data.numbers)[heads.label_set[whole]]
    results["rank"] = np.empty(len(groups), np.int64)
    for t in range(data.count):
        order, ranks = training.order(groups[t :: data.count])
        results["rank"][order] = ranks
    diverged = training.diverged
    figures = {name: training.figures[name] for name in ALWAYS}
    for name, of_heads in (figures | scores).items():
        mean, std = training.judged(of_heads), training.judged(of_heads, np.std)
        results[f"mean_val_{name}"] = np.where(diverged, np.nan, mean)
        spread = np.where(diverged, np.nan, std)
        results[f"std_val_{name}"] = spread if training.has_splits else np.full(len(groups), np.nan)
        if name in intervals:
            low, high = intervals[name]
            results[f"low_val_{name}"] = np.where(diverged, np.nan, low)
            results[f"high_val_{name}"] = np.where(diverged, np.nan, high)
    results["diverged"] = diverged
    if training.solution is None:
        results["epochs"] = training.epochs[whole]
        return results | (training.certificate or certificate(training))
    names = "objective", "gradient_norm", "bound", "converged", "n_iter"
    results |= {name: getattr(training.solution, name)[whole] for name in names}
    weights = (
        of_head(training.bank.W, k).astype(np.float64) for k in np.flatnonzero(whole).tolist()
    )
    return results | {"weight_norm": np.array([np.sqrt((W**2).sum()) for W in weights])}


def _column(values: list[Any]) -> Array:
    """One value of each entry; ranges of columns stay pairs."""
    if not any(isinstance(value, tuple) for value in values):
        return np.array(values)
    column = np.empty(len(values), object)
    for i, value in enumerate(values):
        column[i] = value
    return column


def certificate(training: Training) -> dict[str, Array]:
    """objective, gradient_norm and bound of the heads on all rows; NaN where there is no bound."""
    heads, bank, plan = training.heads, training.bank, training.plan
    names = "objective", "gradient_norm", "bound"
    found = {name: np.full(training.groups, np.nan) for name in names}
    chosen = certified(heads)
    chosen = chosen[~training.diverged[heads.group[chosen]]]
    for p in range(len(plan.parts)):
        mine = chosen[heads.part[chosen] == p]
        if not len(mine):
            continue
        some, data = heads.take(mine), plan.rows_of(p, mine, heads)
        problem = Problem.of(plan.sgd, data, some.loss, some.l2, plan.layout)
        W, b = bank.weights(mine)
        if isinstance(W, Weights):
            b, W = W.biases(p, b), W.arrays[p]
        proof = prove(problem, W, b)
        figures = proof.objective, proof.gradient_norm, proof.bound
        for name, of_heads in zip(names, figures, strict=True):
            found[name][some.group] = of_heads
    return found


def certified(heads: Heads) -> Array:
    """The heads, among those on all rows, that a bound exists for."""
    return np.flatnonzero(is_provable(heads.loss, heads.l2) & (heads.split == ALL_ROWS))
