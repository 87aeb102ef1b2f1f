"""The work that is timed. Each suite yields its cases; `quick` takes small sizes.

(a) the original recipe   (b) banks of heads   (c) 1000 classes   (d) the matrix products alone
(e) softmax   (f) predict and evaluate   (g) scaling curves   (h) MNIST to 92%
(i) `fit` and its epochs alone   (j) loss and gradient over all rows   (k) small calls
(ops) every op on every usable backend
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from softstep import SoftmaxRegression, kernels
from softstep.bench import gate, peers, problems
from softstep.bench.measure import OURS, Call, Case, Results, against
from softstep.bench.peers import Peer
from softstep.bench.problems import SEED, Epoch, Layer, Model
from softstep.kernels.backend import probe
from softstep.kernels.names import Backend, Loss
from softstep.kernels.registry import BACKENDS
from softstep.kernels.threads import available_cores
from softstep.kernels.verify import cases
from softstep.kernels.verify.cases import OPS, Size, Workload
from softstep.model import datasets, trainer
from softstep.model.datasets import download

BACKEND: Backend = "numba"
ORACLE: Backend = "numpy"


def cores() -> int:
    return available_cores()


def thread_counts() -> list[int]:
    """All cores, and one."""
    return [cores(), 1] if cores() > 1 else [1]


def usable_backends() -> list[str]:
    return [name for name in BACKENDS if probe(name).usable]


# ---- (a), (b), (c), (g): training


def train(epoch: Epoch, backend: str) -> Results:
    """One epoch from zero weights: W (h, d, c), b (h, c)."""
    positional, options = epoch.arguments
    kernels.train(*positional, **options, backend=backend)
    return positional[-2:]


def _training(
    suite: str, name: str, epoch: Epoch, others: tuple[Peer, ...], **more: Any
) -> Iterator[Case]:
    """The same epoch on each number of threads."""
    check = gate.of_op("train", epoch.arguments)
    flop = cases.epoch_flop(epoch.size, epoch.batch_size, epoch.loss)
    for threads in more.pop("threads"):
        ours = functools.partial(train, epoch, BACKEND)
        what = functools.partial(against, suite=suite, name=name, flop=flop, check=check)
        yield what(others, ours, epoch, threads=threads, **more)


def recipe(quick: bool) -> Iterator[Case]:
    n = 3_000 if quick else 60_000
    others = peers.RECIPE if quick else (*peers.RECIPE, peers.TORCH_COMPILED)
    for dtype in ("uint8", "float32"):
        name = f"{n}x784->10 {dtype}"
        counts = [cores()] if quick else thread_counts()
        yield from _training("a", name, problems.recipe(n, dtype), others, threads=counts)


def banks(quick: bool) -> Iterator[Case]:
    n = 1_000 if quick else 20_000
    for h in (16,) if quick else (4, 16, 52):
        epoch = problems.bank(Size(n, 784, 10, h), 100)
        others = peers.EPOCH if quick else (*peers.EPOCH, peers.TORCH_COMPILED)
        if h <= 16:
            others = (*others, peers.TORCH_HEADS)
        counts = [cores()] if quick else thread_counts()
        yield from _training("b", f"{n}x784->{h} heads x 10", epoch, others, threads=counts)


def many_classes(quick: bool) -> Iterator[Case]:
    n = 1_024 if quick else 20_480
    epoch = problems.bank(Size(n, 1_024, 1_000), 256)
    counts = [cores()] if quick else thread_counts()
    others = peers.EPOCH if quick else (*peers.EPOCH, peers.TORCH_COMPILED)
    yield from _training("c", f"{n}x1024->1000", epoch, others, threads=counts)


BASE = {"rows": 20_000, "features": 784, "classes": 10, "heads": 1, "batch": 100}
CURVES = {
    "rows": (1_000, 5_000, 20_000, 80_000),
    "features": (64, 256, 784, 3_072),
    "classes": (2, 10, 100, 1_000),
    "heads": (1, 4, 16, 52),
    "batch": (10, 50, 200, 1_000),
}
QUICK_CURVES = {"rows": (1_000, 4_000)}


def curves(quick: bool) -> Iterator[Case]:
    others = (peers.NUMPY_EPOCH, peers.TORCH_BY_HAND, peers.JAX_SCAN)
    for what, values in (QUICK_CURVES if quick else CURVES).items():
        for value in values:
            epoch = _at(**{**BASE, what: value})
            more: dict[str, Any] = {"curve": (what, value), "least_bytes": epoch.X.nbytes}
            yield from _training("g", f"{what} {value}", epoch, others, threads=[cores()], **more)
    if not quick:
        epoch = _at(**{**BASE, "heads": 16})
        for threads in range(1, cores() + 1):
            more = {"curve": ("threads", threads), "least_bytes": epoch.X.nbytes}
            name = f"threads {threads}, 16 heads"
            yield from _training("g", name, epoch, others, threads=[threads], **more)


def _at(rows: int, features: int, classes: int, heads: int, batch: int) -> Epoch:
    return problems.bank(Size(rows, features, classes, heads), batch)


# ---- (d), (e), (f): the ops alone

SHAPES = (
    (100, 784, 10),
    (10_000, 784, 10),
    (60_000, 784, 10),
    (20_000, 768, 2),
    (300, 300, 300),
    (5_000, 100, 500),
    (2_048, 512, 100),
    (256, 1_024, 1_000),
    (4_096, 1_024, 1_000),
    (1_000, 4_096, 1_000),
    (997, 1_237, 13),
)
QUICK_SHAPES = (SHAPES[1], SHAPES[7])


def products(quick: bool) -> Iterator[Case]:
    for shape in QUICK_SHAPES if quick else SHAPES:
        size = Size(*shape)
        layer = problems.layer(size)
        case = f"{size.n}x{size.d}->{size.c}"
        for name, op, others in (
            ("forward", "linear_forward", peers.FORWARD),
            ("backward", "linear_backward", peers.BACKWARD),
        ):
            ours = functools.partial(_product, op, layer)
            yield against(
                others,
                ours,
                layer,
                suite="d",
                name=f"{name} {case}",
                flop=OPS[op].flop(size),
                check=gate.of_op(op, layer.arguments(op)),
            )


def _product(op: str, layer: Layer) -> Results:
    return cases.run(op, layer.arguments(op), BACKEND)


WIDTHS = ((20_000, 10), (20_000, 100), (4_096, 1_000), (128, 30_000))
QUICK_WIDTHS = (WIDTHS[0], (1_024, 1_000))


def softmax(quick: bool) -> Iterator[Case]:
    for n, c in QUICK_WIDTHS if quick else WIDTHS:
        V = cases.logits(n, c, np.float32, SEED)
        yield against(
            peers.SOFTMAX,
            functools.partial(_softmax, V),
            V,
            suite="e",
            name=f"{n}x{c}",
            flop=OPS["softmax_forward"].flop(Size(n, 0, c)),
            check=gate.of_op("softmax_forward", ((V,), {})),
            ulp=functools.partial(_worst_ulp, V),
        )


def _softmax(V: np.ndarray) -> Results:
    return (kernels.softmax_forward(V, backend=BACKEND),)


def _worst_ulp(V: np.ndarray, found: Results) -> float:
    """The largest error, in units in the last place of the result in float64."""
    truth = kernels.softmax_forward(V.astype(np.float64), backend=ORACLE)
    return float((np.abs(found[0] - truth) / np.spacing(truth.astype(np.float32))).max())


MODELS = ((60_000, 784, 10), (20_480, 1_024, 1_000))
QUICK_MODELS = ((6_000, 784, 10),)


def inference(quick: bool) -> Iterator[Case]:
    for shape in QUICK_MODELS if quick else MODELS:
        size = Size(*shape)
        model = problems.model(size)
        for op, call, others in (
            ("predict", _predict, peers.PREDICT),
            ("evaluate", _evaluate, peers.EVALUATE),
        ):
            yield against(
                others,
                functools.partial(call, model),
                model,
                suite="f",
                name=f"{op} {size.n}x{size.d}->{size.c}",
                flop=OPS[op].flop(size),
                check=gate.of_op(op, model.arguments(op)),
            )


def _predict(model: Model) -> Results:
    return (kernels.predict(model.X, model.W, model.b, backend=BACKEND),)


def _evaluate(model: Model) -> Results:
    (X, y, W, b), options = model.arguments("evaluate")
    return kernels.evaluate(X, y, W, b, **options, backend=BACKEND)


# ---- (h): MNIST

ENOUGH = 0.92
# The fewest steps after which the test accuracy is enough, and the rate for it:
# softstep.bench.studies.budgets.
LOSS: Loss = "cross_entropy"
RATE, STEPS = 0.5, 1_710


def mnist(quick: bool) -> Iterator[Case]:
    """Downloads nothing. It takes too long for the quick table."""
    name = "MNIST to 92%"
    if quick:
        return
    if not _mnist_is_here():
        why = "MNIST is not on this machine; SOFTSTEP_DATA names its folder"
        yield Case("h", name, 0, cores(), {}, lambda found: (np.nan, False), {OURS: why})
        return
    data = datasets.load_mnist()
    X_test: Any = data.X_test

    def check(found: Results) -> tuple[float, bool]:
        X = X_test if isinstance(found[0], SoftmaxRegression) else X_test * np.float32(1 / 255)
        accuracy = float(found[0].score(X, data.y_test))
        return 1 - accuracy, accuracy >= ENOUGH

    ours = functools.partial(_fit, data)
    yield against(peers.FIT, ours, data, suite="h", name=name, flop=0, check=check)


def _mnist_is_here() -> bool:
    folders = download._folders("mnist")
    return all(
        any((folder / form).is_file() for folder in folders for form in (file, f"{file}.gz"))
        for file in download.SHA256["mnist"]
    )


def _fit(data: datasets.Dataset) -> Results:
    model = SoftmaxRegression(
        loss=LOSS,
        learning_rate=RATE,
        max_steps=STEPS,
        random_state=SEED,
        backend=BACKEND,
    )
    return (model.fit(data.X_train, data.y_train),)


# ---- (i): what `fit` adds to its epochs

FIT_EPOCHS = 3
EPOCHS_ALONE = "its epochs alone"


def fit(quick: bool) -> Iterator[Case]:
    """`fit` on an array in memory, and the calls of `train` that it makes."""
    n = 6_000 if quick else 60_000
    for dtype in ("uint8", "float32"):
        epoch = problems.recipe(n, dtype)
        orders = [trainer.row_order(SEED, e, n) for e in range(FIT_EPOCHS)]
        whole = dataclasses.replace(epoch, order=np.concatenate(orders))
        name = f"{FIT_EPOCHS} epochs of {n}x784->10 {dtype}"
        flop = FIT_EPOCHS * cases.epoch_flop(epoch.size, epoch.batch_size, epoch.loss)
        calls: dict[str, Call] = {
            OURS: functools.partial(_fitted, epoch),
            EPOCHS_ALONE: functools.partial(_epochs, epoch, orders),
        }
        yield Case("i", name, flop, cores(), calls, gate.of_op("train", whole.arguments))


def _fitted(epoch: Epoch) -> Results:
    model = SoftmaxRegression(
        loss=epoch.loss,
        learning_rate=float(epoch.rates[0]),
        batch_size=epoch.batch_size,
        epochs=FIT_EPOCHS,
        random_state=SEED,
        backend=BACKEND,
    ).fit(epoch.X, epoch.y)
    return model.coef_.T[None], model.intercept_[None]


def _epochs(epoch: Epoch, orders: list[np.ndarray]) -> Results:
    (X, y, _, batch_size, W, b), options = epoch.arguments
    for order in orders:
        kernels.train(X, y, order, batch_size, W, b, **options, backend=BACKEND)
    return W, b


# ---- (j): what an optimiser of whole sums asks for


def sums(quick: bool) -> Iterator[Case]:
    """Loss and gradient of a bank over all rows, the work of a round of L-BFGS."""
    n = 1_000 if quick else 20_000
    for h in (4,) if quick else (1, 4, 16, 52):
        bank = problems.heads(Size(n, 784, 10, h))
        for threads in [cores()] if quick else thread_counts():
            yield against(
                peers.GRADIENT,
                functools.partial(_gradient, bank),
                bank,
                suite="j",
                name=f"{n}x784->{h} heads x 10",
                flop=OPS["gradient"].flop(Size(n, 784, 10, h)),
                check=gate.of_op("gradient", bank.arguments),
                threads=threads,
            )


def _gradient(bank: problems.Heads) -> Results:
    positional, options = bank.arguments
    return kernels.gradient(*positional, **options, backend=BACKEND)


# ---- (k): small calls, as people serve and stream


def small_calls(quick: bool) -> Iterator[Case]:
    """`predict` of one row and `partial_fit` of a hundred: most of it is what a call costs."""
    batch = problems.model(Size(100, 784, 10))
    fitted = SoftmaxRegression(random_state=SEED, backend=BACKEND).fit(batch.X, batch.y)
    row = Model(batch.X[:1], batch.y[:1], fitted.coef_.T, fitted.intercept_)
    yield against(
        (peers.PREDICT_ONE,),
        lambda: (fitted.predict(row.X),),
        row,
        suite="k",
        name="predict of 1 row 784->10",
        flop=OPS["predict"].flop(Size(1, 784, 10)),
        check=gate.of_op("predict", row.arguments("predict")),
    )
    yield against(
        (peers.PARTIAL_FIT,),
        _partial_fit(batch),
        batch,
        suite="k",
        name="partial_fit of 100 rows 784->10",
        flop=cases.epoch_flop(Size(100, 784, 10), 100, "cross_entropy"),
        check=functools.partial(_has_learned, batch),
    )


def _partial_fit(model: Model) -> Call:
    estimator = SoftmaxRegression(loss="cross_entropy", learning_rate=0.05, backend=BACKEND)
    classes = np.arange(len(model.b))

    def call() -> Results:
        estimator.partial_fit(model.X, model.y, classes)
        return estimator.coef_.T, estimator.intercept_

    return call


def _has_learned(model: Model, found: Results) -> tuple[float, bool]:
    """The share of wrong rows; a step for all of them and a step for each differ."""
    W, b = found
    wrong = float(np.mean(np.argmax(model.X @ W + b, axis=1) != model.y))
    return wrong, wrong < 0.5


# ---- (ops): the interface on every backend


def ops(quick: bool) -> Iterator[Case]:
    for workload in cases.op_workloads(cases.QUICK if quick else cases.FULL):
        yield backends_case(workload)


def backends_case(workload: Workload) -> Case:
    """One op on every usable backend, first on the one that the other suites call softstep."""
    arguments = workload.arguments(SEED)
    calls = {name: functools.partial(workload.run, arguments, name) for name in usable_backends()}
    ours = {OURS: calls.pop(BACKEND)} if BACKEND in calls else {}
    check = gate.of_op(workload.op, arguments)
    return Case("ops", str(workload), workload.flop, cores(), {**ours, **calls}, check)


SUITES: dict[str, Callable[[bool], Iterator[Case]]] = {
    "a": recipe,
    "b": banks,
    "c": many_classes,
    "d": products,
    "e": softmax,
    "f": inference,
    "g": curves,
    "h": mnist,
    "i": fit,
    "j": sums,
    "k": small_calls,
    "ops": ops,
}
