"""The work that is timed. Each suite yields its cases; `quick` takes small sizes.

(a) the original recipe   (b) banks of heads   (c) 1000 classes   (d) the matrix products alone
(e) softmax   (f) predict and evaluate   (g) scaling curves   (h) MNIST to 92%
(ops) every op on every usable backend
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from softstep import SoftmaxRegression, kernels
from softstep.bench import peers, problems, workloads
from softstep.bench.measure import OURS, Case, Check, Results, agreement
from softstep.bench.peers import Peer
from softstep.bench.problems import SEED, Epoch, Layer, Model
from softstep.bench.workloads import OPS, Size, Workload
from softstep.kernels.backend import BACKENDS, probe
from softstep.kernels.threads import available_cores
from softstep.model import datasets, download

BACKEND, ORACLE = "numba", "numpy"
U = float(np.finfo(np.float32).eps) / 2

# Which results are decisions: labels, counts of right rows.
DECISIONS = {"surface_forward": (1,), "predict": (0,), "evaluate": (1,), "train": (1,)}


def cores() -> int:
    return available_cores()


def thread_counts() -> list[int]:
    """All cores, and one."""
    return [cores(), 1] if cores() > 1 else [1]


def usable_backends() -> list[str]:
    return [name for name in BACKENDS if probe(name).usable]


def _case(
    suite: str,
    name: str,
    flop: int,
    ours: Callable[[], Results],
    check: Check,
    problem: Any,
    others: tuple[Peer, ...],
    *,
    threads: int | None = None,
    **more: Any,
) -> Case:
    """softstep and those of the others that can run."""
    count = threads or cores()
    why_not = {peer.name: peer.why_not(count, cores()) for peer in others}
    calls = {peer.name: peer.prepare(problem) for peer in others if why_not[peer.name] is None}
    not_run = {name: why for name, why in why_not.items() if why is not None}
    return Case(suite, name, flop, count, {OURS: ours, **calls}, check, not_run, **more)


def _against(
    op: str, size: Size, expected: Callable[[], Results], decisions: tuple[int, ...] = ()
) -> Check:
    """Compare with the oracle, which runs when the first result comes, within the op's bound."""
    oracle = functools.cache(expected)
    tolerance = OPS[op].roundoffs(size) * U
    if op == "softmax_forward":  # the peers sum the row in float32
        tolerance += 2 * 6 * size.c**0.5 * U
    return lambda found: agreement(found, oracle(), tolerance, decisions)


# ---- (a), (b), (c), (g): training


def train(epoch: Epoch, backend: str) -> Results:
    """One epoch from zero weights: W (h, d, c), b (h, c)."""
    s = epoch.size
    W, b = np.zeros((s.h, s.d, s.c), np.float32), np.zeros((s.h, s.c), np.float32)
    kernels.train(
        epoch.X,
        epoch.y,
        epoch.order,
        epoch.batch_size,
        W,
        b,
        loss=epoch.loss,
        learning_rate=epoch.rates,
        feature_scale=epoch.feature_scale,
        backend=backend,
    )
    return W, b


def _training(
    suite: str, name: str, epoch: Epoch, others: tuple[Peer, ...], **more: Any
) -> Iterator[Case]:
    """The same epoch in each of the thread counts."""
    check = _against("train", epoch.size, lambda: train(epoch, ORACLE))
    flop = workloads.epoch_flop(epoch.size, epoch.batch_size, epoch.loss)
    for threads in more.pop("threads", thread_counts()):
        ours = functools.partial(train, epoch, BACKEND)
        yield _case(suite, name, flop, ours, check, epoch, others, threads=threads, **more)


def recipe(quick: bool) -> Iterator[Case]:
    n = 3_000 if quick else 60_000
    others: tuple[Peer, ...] = (*peers.EPOCH, peers.TORCH_DATALOADER)
    if not quick:  # compiling takes longer than all of the quick table
        others += (peers.TORCH_COMPILED,)
    for dtype in ("uint8", "float32"):
        name = f"{n}x784->10 {dtype}"
        counts = [cores()] if quick else thread_counts()
        yield from _training("a", name, problems.recipe(n, dtype), others, threads=counts)


def banks(quick: bool) -> Iterator[Case]:
    n = 2_000 if quick else 20_000
    for h in (16,) if quick else (4, 16, 52):
        epoch = problems.bank(Size(n, 784, 10, h), 100)
        others = (*peers.EPOCH, peers.TORCH_HEADS) if h <= 16 else peers.EPOCH
        counts = [cores()] if quick else thread_counts()
        yield from _training("b", f"{n}x784->{h} heads x 10", epoch, others, threads=counts)


def many_classes(quick: bool) -> Iterator[Case]:
    n = 2_048 if quick else 20_480
    epoch = problems.bank(Size(n, 1_024, 1_000), 256)
    counts = [cores()] if quick else thread_counts()
    yield from _training("c", f"{n}x1024->1000", epoch, peers.EPOCH, threads=counts)


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
    others = (peers.NUMPY_EPOCH, peers.TORCH_BY_HAND)
    for what, values in (QUICK_CURVES if quick else CURVES).items():
        for value in values:
            epoch = _at(**{**BASE, what: value})
            curve = (what, value)
            name = f"{what} {value}"
            yield from _training("g", name, epoch, others, threads=[cores()], curve=curve)
    if not quick:
        epoch = _at(**{**BASE, "heads": 16})
        for threads in range(1, cores() + 1):
            curve, name = ("threads", threads), f"threads {threads}, 16 heads"
            yield from _training("g", name, epoch, others, threads=[threads], curve=curve)


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
            call = functools.partial(_product, op, layer)
            check = _against(op, size, functools.partial(call, ORACLE))
            ours = functools.partial(call, BACKEND)
            yield _case("d", f"{name} {case}", OPS[op].flop(size), ours, check, layer, others)


def _product(op: str, layer: Layer, backend: str) -> Results:
    if op == "linear_forward":
        return (kernels.linear_forward(layer.X, layer.W, layer.b, backend=backend),)
    return kernels.linear_backward(layer.dV, layer.X, backend=backend)


WIDTHS = ((20_000, 10), (20_000, 100), (4_096, 1_000), (128, 30_000))
QUICK_WIDTHS = (WIDTHS[0], (1_024, 1_000))


def softmax(quick: bool) -> Iterator[Case]:
    for n, c in QUICK_WIDTHS if quick else WIDTHS:
        V = workloads.logits(n, c, np.float32, SEED)
        call = functools.partial(_softmax, V)
        size = Size(n, 0, c)
        check = _against("softmax_forward", size, functools.partial(call, ORACLE))
        ulp = functools.partial(_worst_ulp, V)
        flop, ours = OPS["softmax_forward"].flop(size), functools.partial(call, BACKEND)
        yield _case("e", f"{n}x{c}", flop, ours, check, V, peers.SOFTMAX, ulp=ulp)


def _softmax(V: np.ndarray, backend: str) -> Results:
    return (kernels.softmax_forward(V, backend=backend),)


def _worst_ulp(V: np.ndarray, found: Results) -> float:
    """The largest error in units in the last place of the exact result, as float64 gives it."""
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
            expected = functools.partial(call, model, ORACLE)
            check = _against(op, size, expected, DECISIONS[op])
            ours = functools.partial(call, model, BACKEND)
            name = f"{op} {size.n}x{size.d}->{size.c}"
            yield _case("f", name, OPS[op].flop(size), ours, check, model, others)


def _predict(model: Model, backend: str) -> Results:
    return (kernels.predict(model.X, model.W, model.b, backend=backend),)


def _evaluate(model: Model, backend: str) -> Results:
    loss, accuracy = kernels.evaluate(
        model.X, model.y, model.W, model.b, loss="cross_entropy", backend=backend
    )
    return loss[0], accuracy[0]


# ---- (h): MNIST

ENOUGH = 0.92
STEPS = 1_800  # the fewest, in hundreds, after which the test accuracy is enough


def mnist(quick: bool) -> Iterator[Case]:
    """Nothing is downloaded for it; too long for the quick table."""
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
    yield _case("h", name, 0, ours, check, data, peers.FIT)


def _mnist_is_here() -> bool:
    folders = download._folders("mnist")
    return all(
        any((folder / form).is_file() for folder in folders for form in (file, f"{file}.gz"))
        for file in download.SHA256["mnist"]
    )


def _fit(data: datasets.Dataset) -> Results:
    model = SoftmaxRegression(
        loss="cross_entropy",
        learning_rate=0.3,
        max_steps=STEPS,
        random_state=SEED,
        backend=BACKEND,
    )
    return (model.fit(data.X_train, data.y_train),)


# ---- (ops): the interface on every backend


def ops(quick: bool) -> Iterator[Case]:
    for workload in workloads.op_workloads(workloads.QUICK if quick else workloads.FULL):
        yield backends_case(workload)


def backends_case(workload: Workload) -> Case:
    """One op on every usable backend; the one that the other suites call softstep comes first."""
    arguments = workload.arguments(SEED)
    calls = {name: functools.partial(workload.run, arguments, name) for name in usable_backends()}
    ours = {OURS: calls.pop(BACKEND)} if BACKEND in calls else {}
    expected = functools.cache(lambda: workload.run(arguments, ORACLE))

    def check(found: Results) -> tuple[float, bool]:
        decisions = DECISIONS.get(workload.op, ())
        return agreement(found, expected(), workload.tolerance, decisions)

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
    "ops": ops,
}
