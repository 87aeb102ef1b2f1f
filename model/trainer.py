"""Minimal SGD: shuffled minibatches, epoch by epoch, for a bank of heads.

Epoch e visits the rows in the order `numpy.random.default_rng((seed, 1, e)).permutation(n)`, the
same on every backend and for every head.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from softstep import kernels
from softstep.kernels.arrays import host_copy, is_on_gpu, to_device_of, to_host
from softstep.kernels.backend import beside, choose
from softstep.kernels.checks import compute_dtype
from softstep.kernels.csr import CSR, settle
from softstep.kernels.integers import ceil_div
from softstep.kernels.losses import LOSSES
from softstep.model import inputs, schedules, views
from softstep.model.path import WeightPath
from softstep.model.resume import Keeper, fill, whole
from softstep.model.shards.over import added, over_rows, shards_of
from softstep.model.views import Weights

INITS = ("zeros", "normal")


@dataclass
class BankState:
    """The state of h heads that train together.

    W: weights (h, d, c); `Weights` of heads that see X in different ways, or have other numbers of
    classes. b: biases (h, c), with zeros after those of heads that have fewer classes than others.
    velocity: (MW, Mb), of the same forms; None: zeros. active: (h,) bool, which heads still train.
    decay: (h,), between the steps of an epoch on sparse rows the weights are decay[k] W[k]; else 1.

    W, b and velocity are in host memory or, of a bank `beside` rows that a GPU reads, on that GPU;
    active and decay are always in host memory.
    """

    W: Any
    b: Any
    velocity: Any = None
    active: np.ndarray = field(init=False)
    decay: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        if self.velocity is None:
            self.velocity = views.mapped(np.zeros_like, self.W), np.zeros_like(self.b)
        self.active = np.ones(len(self.W), dtype=bool)
        self.decay = np.ones(len(self.W))

    def beside(self, X: Any, backend: str | None) -> "BankState":
        """This bank where the backend that trains it on rows X computes: on a GPU a copy, which
        stays there from epoch to epoch, until `on_host`.

        Raises:
            MemoryError: the GPU has no room for it.
        """
        if not choose(backend, on_gpu=is_on_gpu(X))[0].on_gpu:
            return self
        return self._moved(lambda array: beside(array, X, backend))

    def on_host(self) -> "BankState":
        """This bank in host memory."""
        if isinstance(self.b, np.ndarray):
            return self
        return self._moved(to_host)

    def _moved(self, move: Callable[[Any], Any]) -> "BankState":
        MW, Mb = self.velocity
        velocity = views.mapped(move, MW), move(Mb)
        bank = BankState(views.mapped(move, self.W), move(self.b), velocity)
        bank.active, bank.decay = self.active, self.decay
        return bank

    def take(self, heads: np.ndarray) -> "BankState":
        """A bank of these heads, copied."""
        MW, Mb = self.velocity
        velocity = views.taken(MW, heads), views.taken(Mb, heads)
        bank = BankState(*self.weights(heads), velocity)
        bank.decay = self.decay[heads]
        return bank

    def put(self, heads: np.ndarray, bank: "BankState") -> None:
        """Write what `take` took back."""
        theirs = bank.W, bank.b, *bank.velocity
        for own, values in zip((self.W, self.b, *self.velocity), theirs, strict=True):
            views.put(own, heads, values)
        self.decay[heads] = bank.decay

    def of_weights(self, W: np.ndarray, b: np.ndarray) -> "BankState":
        """A copy of a bank of one head with these weights, (d, c) and (c,), in place of its own."""
        MW, Mb = self.velocity
        bank = BankState(np.empty_like(self.W), np.empty_like(self.b), (MW.copy(), Mb.copy()))
        bank.W[0], bank.b[0] = W, b
        bank.decay = self.decay.copy()
        return bank

    def weights(self, heads: Any) -> tuple[Any, Any]:
        """W and b of these heads, numbers or `...` for all, copied where they are."""
        return views.taken(self.W, heads), views.taken(self.b, heads)

    def first(self) -> tuple[np.ndarray, np.ndarray]:
        """The weights of the first head and its bias, copied to host memory."""
        W, b = host_copy(self.W[0]), host_copy(self.b[0])
        settle(W[None], self.decay[:1].copy())
        return W, b

    def sound(self) -> np.ndarray:
        """(h,), the heads that have not diverged: active, and with weights that are finite."""
        sound: np.ndarray = self.active & views.are_finite(self.W) & views.are_finite(self.b)
        return sound

    def settle(self) -> None:
        """Let the weights take in their decay."""
        if isinstance(self.W, Weights):
            for p, heads in self.W.by_part():
                settle(self.W.arrays[p], self.decay[heads])
            self.decay[:] = 1
        else:
            settle(self.W, self.decay)

    @property
    def columns(self) -> Any:
        """How many columns the bank has for the ops, h·c; for `Weights` those of each part."""
        if isinstance(self.W, Weights):
            return tuple(len(array) * array.shape[2] for array in self.W.arrays)
        return len(self.W) * self.b.shape[1]

    def of_part(self, p: int, heads: np.ndarray) -> "BankState":
        """The heads of part p, on the weights and velocities of this bank, all else copied."""
        MW, Mb = self.velocity
        velocity = MW.arrays[p], MW.biases(p, views.taken(Mb, heads))
        part = BankState(self.W.arrays[p], self.W.biases(p, views.taken(self.b, heads)), velocity)
        part.active, part.decay = self.active[heads], self.decay[heads]
        return part

    def put_part(self, heads: np.ndarray, part: "BankState") -> None:
        """Write back what `of_part` copied."""
        c = part.b.shape[1]
        for own, values in (self.b, part.b), (self.velocity[1], part.velocity[1]):
            whole = views.taken(own, heads)
            views.put(whole[:, :c], ..., values)
            views.put(own, heads, whole)
        self.active[heads], self.decay[heads] = part.active, part.decay

    def arrays(self) -> dict[str, Any]:
        """All but which heads are active, by name, as they are and where they are in memory."""
        MW, Mb = self.velocity
        rest = {"b": self.b, "Mb": Mb, "decay": self.decay}
        return views.named("W", self.W) | views.named("MW", MW) | rest


@dataclass(frozen=True)
class Rows:
    """Rows and their targets, in the form that `kernels.train` and `kernels.evaluate` take.

    host_weight: sample_weight in host memory, by which rows are counted; None: it is there itself.
    factors: by which these rows of X come to unit length, where they are kept from epoch to epoch.
    """

    X: np.ndarray
    y: np.ndarray
    sample_weight: np.ndarray | None = None
    feature_scale: float = 1.0
    y_index: np.ndarray | None = None
    weight_index: np.ndarray | None = None
    host_weight: np.ndarray | None = None
    factors: inputs.Factors | None = None

    def placed(self) -> "Rows":
        """These rows with all else that the ops read of them where X is, to be read there in each
        epoch. On a GPU it takes 8 bytes for each row and label set, and 4 or 8 for each weight set.

        Raises:
            MemoryError: the GPU has no room for it.
        """
        if isinstance(self.y, np.ndarray) and not is_on_gpu(self.X):
            return self
        y, weights = to_device_of(self.y, self.X), self.sample_weight
        if weights is None or not is_on_gpu(self.X):
            return replace(self, y=y)
        there = to_device_of(weights.astype(compute_dtype(self.X), copy=False), self.X)
        return replace(self, y=y, sample_weight=there, host_weight=weights)

    def keywords(self) -> Any:
        return {
            "sample_weight": self.sample_weight,
            "feature_scale": self.feature_scale,
            "y_index": self.y_index,
            "weight_index": self.weight_index,
        }

    def taken(self, rows: Any) -> "Rows":
        """These rows, by number or a slice, with their weights; sparse ones become dense."""
        y = self.y[rows] if self.y.dtype.kind == "f" else self.y[..., rows]
        weights = None if self.sample_weight is None else self.sample_weight[..., rows]
        return replace(self, X=self.X[rows], y=y, sample_weight=weights, factors=None)

    def seen(self, part: views.Part, heads: np.ndarray) -> "Rows":
        """What these heads, which are in this part of a bank, learn from."""
        y_index, weight_index = (
            None if index is None else index[heads] for index in (self.y_index, self.weight_index)
        )
        X, kept = views.seen(self.X, part.columns), None
        if self.factors is not None and part.scaler is not None and part.scaler.unit:
            kept = self.factors.of(self.X, part.columns)
        X, scale = inputs.scaled(X, part.scaler, self.feature_scale, kept)
        y = self.y
        if y_index is not None and y.dtype.kind != "f":
            used = np.unique(y_index)
            if len(used) < len(y):  # the others may have more classes
                y, y_index = views.taken(y, used), np.searchsorted(used, y_index)
        return replace(
            self, X=X, y=y, feature_scale=scale, y_index=y_index, weight_index=weight_index
        )

    def only(self, rows: np.ndarray) -> "Rows":
        """A copy of these rows, without their weights."""
        is_soft = self.y.dtype.kind == "f"
        y = self.y[rows] if is_soft else self.y[..., rows]
        bare = replace(self, sample_weight=None, weight_index=None, factors=None)
        return replace(bare, X=self.X[rows], y=y)

    def counted(self, order: np.ndarray) -> Any:
        """How many rows in `order` have a nonzero weight: (h,), or one number without weights."""
        if self.sample_weight is None:
            return len(order)
        sets = np.atleast_2d(self.sample_weight if self.host_weight is None else self.host_weight)
        if len(order) < sets.shape[1]:
            sets = sets[:, order]
        counts = np.array([np.count_nonzero(s) for s in sets])
        return counts[0] if self.weight_index is None else counts[self.weight_index]


@dataclass(frozen=True)
class SGDSettings:
    """The settings of a descent, as in `kernels.train`: scalars, or one value per head."""

    loss: str | tuple[str, ...]
    learning_rate: float | np.ndarray
    batch_size: int
    l2: float | np.ndarray = 0.0
    l2_bias: bool = False
    momentum: float | np.ndarray = 0.0
    has_momentum: bool = False  # any head of the bank before any was dropped
    fit_bias: bool = True
    schedule: str = "constant"
    backend: str | None = None
    n_threads: int | None = None
    columns: Any = None  # `BankState.columns` before any head was dropped

    @classmethod
    def of(cls, model: Any) -> "SGDSettings":
        """The settings of a SoftmaxRegression, checked.

        Raises:
            TypeError, ValueError: a setting is not as described.
        """
        momentum = inputs.number("momentum", model.momentum, least=0, below=1)
        return cls(
            loss=inputs.choice("loss", model.loss, LOSSES),
            learning_rate=inputs.number("learning_rate", model.learning_rate, above=0),
            batch_size=inputs.integer("batch_size", model.batch_size, least=1),
            l2=inputs.number("l2", model.l2, least=0),
            l2_bias=inputs.flag("l2_bias", model.l2_bias),
            momentum=momentum,
            has_momentum=momentum > 0,
            fit_bias=inputs.flag("fit_intercept", model.fit_intercept),
            schedule=inputs.choice("schedule", model.schedule, schedules.SCHEDULES),
            backend=model.backend,
            n_threads=inputs.integer("n_threads", model.n_threads, least=1, optional=True),
        )

    def of_part(self, p: int, heads: np.ndarray) -> "SGDSettings":
        """Those of these heads, which are in part p of the bank."""

        def of(setting: Any) -> Any:
            return setting[heads] if isinstance(setting, np.ndarray) else setting

        loss = self.loss if isinstance(self.loss, str) else tuple(np.array(self.loss)[heads])
        return replace(
            self,
            loss=loss,
            learning_rate=of(self.learning_rate),
            l2=of(self.l2),
            momentum=of(self.momentum),
            columns=None if self.columns is None else self.columns[p],
        )


@dataclass(frozen=True)
class Epoch:
    """Figures of one epoch, one per head.

    `loss` and `accuracy` are means over the epoch's rows, each step's taken before its update;
    `val_loss` and `val_accuracy` belong to the weights after the epoch, and are None where the
    held-out rows were not evaluated.
    """

    number: int
    steps: int
    loss: Any
    accuracy: Any
    val_loss: Any = None
    val_accuracy: Any = None


def row_order(seed: int, epoch: int, n: int) -> np.ndarray:
    """The order in which epoch `epoch` visits n rows."""
    given: Any = seed, 1, epoch
    if max(given) < 2**32:  # as the words that NumPy would make of them
        given = np.array(given, np.uint32)
    return np.random.default_rng(given).permutation(n)


def initial_weights(model: Any, shape: tuple[int, int], dtype: Any) -> np.ndarray:
    """W (d, c) of a SoftmaxRegression before its first step, by `init`, `init_seed` and `seed_`.

    Zeros, or normal with standard deviation 1/√d, drawn in float64 and cast.
    """
    if model.init == "zeros":
        return np.zeros(shape, dtype)
    seed = model.seed_ if model.init_seed is None else model.init_seed
    draws = np.random.default_rng((seed, 2)).standard_normal(shape)
    return (draws / np.sqrt(shape[0])).astype(dtype)


def run_steps(
    data: Rows, bank: BankState, sgd: SGDSettings, order: np.ndarray, *, done: int, total: int
) -> tuple[np.ndarray, np.ndarray]:
    """Take the steps over the rows in `order`, updating `bank`.

    `done` of the descent's `total` steps came before, which its schedule depends on.

    Returns:
        The mean loss and the number of correct rows of each step and head, (steps, h) each.
    """
    if isinstance(bank.W, Weights):
        return _run_parts(data, bank, sgd, order, done=done, total=total)
    X: Any = data.X
    decay = None
    if isinstance(X, inputs.MadeRows):
        X = X.as_read(sgd.backend)
        if X is None or (isinstance(X, CSR) and sgd.has_momentum):
            return _run_dense_steps(data, bank, sgd, order, done=done, total=total)
        decay = bank.decay if isinstance(X, CSR) else None
    steps = ceil_div(len(order), sgd.batch_size)
    figures = kernels.train(
        X,
        data.y,
        order,
        sgd.batch_size,
        bank.W,
        bank.b,
        loss=sgd.loss,
        learning_rate=schedules.rates(
            sgd.schedule, sgd.learning_rate, steps, first=done, total=total
        ),
        l2=sgd.l2,
        l2_bias=sgd.l2_bias,
        momentum=sgd.momentum,
        velocity=bank.velocity if _any(sgd.momentum) else None,
        fit_bias=sgd.fit_bias,
        active=bank.active,
        backend=sgd.backend,
        n_threads=sgd.n_threads,
        columns=sgd.columns,
        decay=decay,
        **data.keywords(),
    )
    losses, correct = map(to_host, figures)
    return losses, correct


def _any(setting: float | np.ndarray) -> bool:
    """Whether it is not 0 for all heads."""
    return bool(setting.any() if isinstance(setting, np.ndarray) else setting)


def _run_dense_steps(
    data: Rows, bank: BankState, sgd: SGDSettings, order: np.ndarray, *, done: int, total: int
) -> tuple[np.ndarray, np.ndarray]:
    """`run_steps` on rows that are made in their order, some whole batches at a time."""
    X: Any = data.X
    steps = max(1, X.rows_at_once // sgd.batch_size)
    figures = []
    for first in range(0, ceil_div(len(order), sgd.batch_size), steps):
        rows = order[first * sgd.batch_size : (first + steps) * sgd.batch_size]
        part, in_turn = data.taken(rows), np.arange(len(rows))
        figures.append(run_steps(part, bank, sgd, in_turn, done=done + first, total=total))
    losses, correct = (np.concatenate(each) for each in zip(*figures, strict=True))
    return losses, correct


def _run_parts(
    data: Rows, bank: BankState, sgd: SGDSettings, order: np.ndarray, *, done: int, total: int
) -> tuple[np.ndarray, np.ndarray]:
    """`run_steps` of heads that see X differently: those of one part after those of another. Heads
    with rows of their own do not visit these: 0 in both."""
    shape = ceil_div(len(order), sgd.batch_size), len(bank.b)
    losses, correct = np.zeros(shape), np.zeros(shape, np.int64)
    for p, heads in bank.W.by_part():
        if bank.W.parts[p].own is not None:
            continue
        part, settings = bank.of_part(p, heads), sgd.of_part(p, heads)
        rows = data.seen(bank.W.parts[p], heads)
        figures = run_steps(rows, part, settings, order, done=done, total=total)
        losses[:, heads], correct[:, heads] = figures
        bank.put_part(heads, part)
    return losses, correct


class EpochSums:
    """Sums over the steps of an epoch, added step by step, so that the bits of a head's sum depend
    neither on the number of heads nor on how the steps are split into calls."""

    steps: int
    rows: int
    batch_size: int
    planned: int
    heads: int

    def __init__(self, batch_size: int, planned: int, heads: int):
        """planned: the rows of the epoch. heads: how many train."""
        self.batch_size, self.planned, self.heads = batch_size, planned, heads
        self.steps = self.rows = 0
        self.loss: Any = 0.0
        self.correct: Any = 0
        self.counted: Any = 0

    def add(self, losses: np.ndarray, correct: np.ndarray, rows: int, counted: Any) -> None:
        """Add losses and correct (steps, h) of `rows` rows, `counted` of them with a weight."""
        if len(losses) == 1:
            self.loss, self.correct = rows * losses[0] + self.loss, self.correct + correct[0]
        else:
            rows_per_step = np.full(len(losses), self.batch_size)
            rows_per_step[-1] = rows - self.batch_size * (len(losses) - 1)
            terms = rows_per_step[:, None] * losses
            terms[0] += self.loss
            self.loss = np.cumsum(terms, axis=0)[-1]
            self.correct = self.correct + correct.sum(axis=0)
        self.counted = self.counted + counted
        self.steps += len(losses)
        self.rows += rows

    def state(self) -> dict[str, np.ndarray]:
        names = "steps", "rows", "loss", "correct", "counted"
        return {name: np.asarray(getattr(self, name)) for name in names}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Go on from what `state` gave.

        Raises:
            KeyError, ValueError: it is of another epoch.
        """
        self.rows = whole(arrays, "rows", self.planned)
        self.steps = whole(arrays, "steps", self.rows)
        is_whole = self.rows % self.batch_size == 0 or self.rows == self.planned
        if not is_whole or self.steps != ceil_div(self.rows, self.batch_size) or not self.steps:
            raise ValueError(f"{self.rows} rows are not those of {self.steps} steps")
        a_head = (self.heads,)
        for name, kinds, shapes in (
            ("loss", "f", (a_head,)),
            ("correct", "iu", (a_head,)),
            ("counted", "iu", (a_head, ())),
        ):
            found = arrays[name]
            if found.shape not in shapes or found.dtype.kind not in kinds:
                raise ValueError(f"{name} is {found.dtype} of shape {found.shape}")
            setattr(self, name, found)
        counts = self.correct >= 0, self.correct <= self.counted, self.counted <= self.rows
        if not all(np.all(count) for count in counts):
            raise ValueError(f"of {self.rows} rows more are right, or count, than there are")

    def means(self, number: int) -> Epoch:
        if isinstance(self.counted, int) and self.counted:
            return Epoch(number, self.steps, self.loss / self.rows, self.correct / self.counted)
        with np.errstate(invalid="ignore"):
            return Epoch(number, self.steps, self.loss / self.rows, self.correct / self.counted)


def add_steps(
    sums: EpochSums,
    data: Rows,
    bank: BankState,
    sgd: SGDSettings,
    order: np.ndarray,
    *,
    done: int,
    total: int,
    keeper: Keeper | None,
) -> None:
    """Take the steps over the rows in `order`, in slices if there is a keeper; adds to `sums`.

    `done` of the descent's `total` steps came before this epoch.
    """
    while len(order):
        steps = ceil_div(len(order), sgd.batch_size)
        if keeper is not None:
            steps = min(steps, keeper.steps_at_once)
        part, order = order[: steps * sgd.batch_size], order[steps * sgd.batch_size :]
        with keeper.slice(steps) if keeper is not None else contextlib.nullcontext():
            figures = run_steps(data, bank, sgd, part, done=done + sums.steps, total=total)
            sums.add(*figures, len(part), data.counted(part))


def run_epoch(
    data: Rows,
    bank: BankState,
    sgd: SGDSettings,
    number: int,
    *,
    seed: int,
    done: int,
    total: int,
    path: WeightPath | None = None,
    keeper: Keeper | None = None,
) -> Epoch:
    """One pass over the rows, or the remaining `total - done` steps if fewer; updates `bank`."""
    order = row_order(seed, number, len(data.X))[: (total - done) * sgd.batch_size]
    sums = EpochSums(sgd.batch_size, len(order), len(bank.W))
    if keeper is not None:
        keeper.begin_epoch(number, sums)
    while True:
        if path is not None and done + sums.steps == path.due:
            path.add(path.due, *bank.first())
        if sums.rows >= len(order):
            break
        stop = len(order) if path is None else (path.due - done) * sgd.batch_size
        part = order[sums.rows : stop]
        add_steps(sums, data, bank, sgd, part, done=done, total=total, keeper=keeper)
    if isinstance(data.X, inputs.MadeRows):  # others leave the decay as it is
        bank.settle()
    return sums.means(number)


def planned_steps(n: int, batch_size: int, epochs: int, max_steps: int | None) -> int:
    """The number of steps in `epochs` passes over n rows, at most `max_steps`."""
    steps = epochs * ceil_div(n, batch_size)
    return steps if max_steps is None else min(steps, max_steps)


def epochs(
    data: Rows,
    bank: BankState,
    sgd: SGDSettings,
    *,
    seed: int,
    count: int,
    max_steps: int | None = None,
    first: int = 0,
    held_out: Rows | None = None,
    eval_every: int | None = None,
    path: WeightPath | None = None,
    keeper: Keeper | None = None,
) -> Iterator[Epoch]:
    """Train for `count` epochs, or `max_steps` steps if that is less, and yield each one's figures.

    Epochs are numbered from `first`; the number determines the row order. Held-out rows are
    evaluated every `eval_every` epochs and after the last one; None: only after the last. `path`
    records the weights of the first head; the caller, who may restore earlier weights, begins and
    ends it. A `keeper` may have resumed the descent: it says with which epoch.
    """
    n = len(data.X)
    total = planned_steps(n, sgd.batch_size, count, max_steps)
    run = partial(run_epoch, data, bank, sgd, seed=seed, total=total, path=path, keeper=keeper)
    for number in range(first if keeper is None else keeper.number, first + count):
        done = (number - first) * ceil_div(n, sgd.batch_size)  # only the last may be shorter
        result = run(number, done=done)
        is_last = done + result.steps == total
        due = eval_every is not None and (number - first + 1) % eval_every == 0
        if held_out is not None and (is_last or due):
            figures = evaluate(held_out, bank.W, bank.b, sgd)
            result = replace(result, val_loss=figures[0], val_accuracy=figures[1])
        yield result
        if is_last:
            return


def evaluate(data: Rows, W: Any, b: Any, sgd: SGDSettings) -> tuple[np.ndarray, np.ndarray]:
    """Mean loss and accuracy of each head of a bank, (h,)."""
    if isinstance(W, Weights):
        loss, accuracy = np.empty((2, len(b)))
        for p, heads in W.by_part():
            rows, settings = data.seen(W.parts[p], heads), sgd.of_part(p, heads)
            own = W.biases(p, views.taken(b, heads))
            loss[heads], accuracy[heads] = evaluate(rows, W.arrays[p], own, settings)
        return loss, accuracy
    X: Any = data.X
    if shards_of(X) is not None:
        return _means(over_rows(data, _totals, W, b, sgd))
    if isinstance(X, inputs.MadeRows):
        made = X
        X = made.as_read(sgd.backend)
        if X is None:
            return evaluate_parts((data.taken(rows) for rows in made.blocks()), W, b, sgd)
    figures = kernels.evaluate(
        X,
        data.y,
        W,
        b,
        loss=sgd.loss,
        backend=sgd.backend,
        n_threads=sgd.n_threads,
        **data.keywords(),
    )
    mean_loss, accuracy = map(to_host, figures)
    return mean_loss, accuracy


def evaluate_parts(
    parts: Iterable[Rows], W: Any, b: Any, sgd: SGDSettings
) -> tuple[np.ndarray, np.ndarray]:
    """`evaluate` on rows that come in parts, (h,) float64."""
    sums: Any = np.zeros((2, len(W))), np.zeros(len(W))
    for part in parts:
        sums = added(sums, _totals(part, W, b, sgd))
    return _means(sums)


def _totals(data: Rows, W: Any, b: Any, sgd: SGDSettings) -> tuple[np.ndarray, np.ndarray]:
    """Loss and accuracy of each head times what its rows weigh, (2, h), and that, (h,)."""
    counts = np.full(len(W), float(len(data.X)))
    if data.sample_weight is not None:
        sums = np.atleast_2d(data.sample_weight).sum(axis=1, dtype=np.float64)
        counts = sums if data.weight_index is None else sums[data.weight_index]
    figures = np.stack(evaluate(data, W, b, sgd))
    return np.where(counts > 0, counts * figures, 0), counts


def _means(sums: Any) -> tuple[np.ndarray, np.ndarray]:
    totals, weight = sums
    with np.errstate(invalid="ignore"):
        mean_loss, accuracy = totals / weight
    return mean_loss, accuracy


class EarlyStop:
    """Detects when the held-out loss has stopped improving, and keeps the best weights, where the
    bank is."""

    steps: int
    best_steps: int

    def __init__(self, patience: int):
        self.patience = patience
        self.best_loss: float = np.inf
        self.waited: int = 0
        self.steps = self.best_steps = 0
        self.best: tuple[Any, Any] | None = None

    def state(self) -> dict[str, Any]:
        W, b = self.best if self.best is not None else (np.empty(0), np.empty(0))
        waits = self.waited, self.steps, self.best_steps
        return {
            "stop.best_loss": np.array(float(self.best_loss)),
            "stop.waits": np.array(waits, np.int64),
            "stop.W": W,
            "stop.b": b,
        }

    def restore(self, arrays: dict[str, np.ndarray], bank: BankState) -> None:
        """Go on from what `state` gave, of a bank of this form.

        Raises:
            KeyError, ValueError: it is of another training.
        """
        best_loss, waits = np.empty(()), np.empty(3, np.int64)
        fill(best_loss, arrays, "stop.best_loss")
        fill(waits, arrays, "stop.waits")
        self.best_loss = float(best_loss)
        self.waited, self.steps, self.best_steps = waits.tolist()
        if self.best_loss < np.inf:
            self.best = bank.weights(...)
            fill(self.best[0], arrays, "stop.W")
            fill(self.best[1], arrays, "stop.b")

    def should_stop(self, epoch: Epoch, bank: BankState) -> bool:
        self.steps += epoch.steps
        if epoch.val_loss is None:
            return False
        if epoch.val_loss[0] < self.best_loss:
            self.best_loss, self.waited = epoch.val_loss[0], 0
            self.best, self.best_steps = bank.weights(...), self.steps
        else:
            self.waited += 1
        return self.waited >= self.patience

    def put_back(self, bank: BankState) -> None:
        """Put the best weights seen, those after `best_steps` steps, back into the bank."""
        if self.best is not None:
            for own, best in zip((bank.W, bank.b), self.best, strict=True):
                views.put(own, ..., best)
