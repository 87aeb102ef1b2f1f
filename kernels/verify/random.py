"""Random differential testing: ops on drawn arguments, against the oracle in float64.

`python -m softstep.kernels.verify.random --minutes 10` draws case after case: an op, a shape, a
dtype, a layout of the features, and for the fused ops heads, losses, settings, label and weight
sets, soft targets, an order with repeats, momentum and the kind of kernel. Each is held to its
derived bound (docs/numerics.md). A seed and a number make a case again.
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.kernels.backend import choose
from softstep.kernels.losses import LOSSES, Targets
from softstep.kernels.verify import cases, parity
from softstep.kernels.verify.cases import Arguments, Size

MOST_PRODUCTS = 1_000_000  # n·d·c·h of a case, so that the oracle is quick
MOST = {"n": 600, "d": 1200, "c": 300, "h": 9}
STEPS = 3  # of `train`: the bound grows with each
BATCHED = ("evaluate", "train")
LABELS_ONLY = ("gce_forward", "gce_backward")
SPREADS = (1e-3, 0.3, 1.0, 10.0, 100.0)  # of logits, in units of those of `cases`


@dataclass(frozen=True)
class Case:
    """A call of an op: how it was drawn, what is special about it, and its arguments."""

    seed: int
    number: int
    op: str
    size: Size
    dtype: str
    features: tuple[str, ...]
    arguments: Arguments

    def __str__(self) -> str:
        s, also = self.size, ", ".join(self.features)
        shape = f"n={s.n} d={s.d} c={s.c} h={s.h}"
        return f"{self.op} {shape} {self.dtype} {also} (--seed {self.seed} --case {self.number})"


@dataclass
class _Drawing:
    """Draws the arguments of a case, and notes what is special about them."""

    rng: np.random.Generator
    size: Size
    dtype: str
    notes: list[str]

    def some(self, note: str, chance: float = 0.3) -> bool:
        if self.rng.random() >= chance:
            return False
        self.notes.append(note)
        return True

    def each(self, low: float, high: float) -> Any:
        """A setting: one number, or one for each head."""
        if self.some("by head", 0.5):
            return self.rng.uniform(low, high, self.size.h)
        return float(self.rng.uniform(low, high))

    def weights(self, *shape: int) -> Any:
        """Row weights, some of them 0."""
        drawn = self.rng.uniform(0, 2, shape)
        return drawn * (self.rng.random(shape) > 0.2)

    def soft(self) -> Any:
        s = self.size
        seed = int(self.rng.integers(1 << 30))
        return cases.probabilities(s.n, s.c, cases.weight_dtype(self.dtype), seed)

    def laid_out(self, X: Any) -> Any:
        """The same features in another place in memory."""
        if self.some("part of wider rows"):
            wider = np.empty((len(X), X.shape[1] + 5), X.dtype)
            wider[:, 2:-3] = X
            return wider[:, 2:-3]
        return np.asfortranarray(X) if self.some("Fortran order", 0.1) else X


def draw(seed: int, number: int) -> Case:
    """The case of that number."""
    rng = np.random.default_rng((seed, number))
    op = str(rng.choice([*cases.OPS, "train", "train", "evaluate"]))
    reads_features = op in parity.READS_FEATURES
    dtypes = parity.FEATURE_DTYPES if reads_features else parity.FEATURE_DTYPES[:2]
    dtype = str(rng.choice(dtypes))
    size = _size(rng, op)
    drawing = _Drawing(rng, size, dtype, [])
    arguments = cases.OPS[op].arguments(size, dtype, int(rng.integers(1 << 30)))
    if op == "surface_forward":
        arguments = _surface(drawing, arguments)
    elif op in BATCHED:
        arguments = _batched(drawing, op, arguments)
    elif op in ("linear_forward", "predict"):
        (X, *rest), options = arguments
        arguments = (drawing.laid_out(X), *rest), options
    elif not reads_features:
        arguments = _rows(drawing, op, arguments)
    return Case(seed, number, op, size, dtype, tuple(drawing.notes), arguments)


def _size(rng: np.random.Generator, op: str) -> Size:
    """Every magnitude alike, the odd as often as the even; a case of one op is not too large."""
    while True:
        drawn = {name: int(np.exp(rng.uniform(0, np.log(most + 1)))) for name, most in MOST.items()}
        size = Size(**drawn)
        points = 15 if op == "surface_forward" else 1
        if size.n * size.c * size.h * points * max(size.d, size.c) <= MOST_PRODUCTS:
            return size


def _rows(drawing: _Drawing, op: str, arguments: Arguments) -> Arguments:
    """Of an op on rows of logits or probabilities: another spread, soft targets."""
    (values, *rest), options = arguments
    if "softmax_backward" not in op and not op.startswith("mse_"):
        spread = float(drawing.rng.choice(SPREADS))
        drawing.notes.append(f"spread {spread:g}")
        values = (values * spread).astype(values.dtype)
    takes_targets = bool(rest) and op not in (*LABELS_ONLY, "softmax_backward")
    if takes_targets and drawing.some("soft targets"):
        rest = [drawing.soft()]
    return (values, *rest), options


def _surface(drawing: _Drawing, arguments: Arguments) -> Arguments:
    positional, options = arguments
    options = {**options, "loss": str(drawing.rng.choice(list(LOSSES)))}
    if drawing.some("weights"):
        dtype = cases.weight_dtype(drawing.dtype)
        options["sample_weight"] = drawing.weights(drawing.size.n).astype(dtype)
    return positional, options


def _batched(drawing: _Drawing, op: str, arguments: Arguments) -> Arguments:
    """Of `evaluate` and `train`: everything that they take."""
    (X, y, *rest), options = arguments
    rng, s = drawing.rng, drawing.size
    X = drawing.laid_out(X)
    soft_losses = [n for n, loss in LOSSES.items() if loss.targets is not Targets.LABELS]
    soft = drawing.some("soft targets")
    names = soft_losses if soft else list(LOSSES)
    if drawing.some("losses by head"):
        loss: Any = [str(name) for name in rng.choice(names, s.h)]
    else:
        loss = str(rng.choice(names))
    options = {**options, "loss": loss}
    if soft:
        y = drawing.soft()
    elif drawing.some("label sets"):
        count = int(rng.integers(1, 4))
        y = rng.integers(0, s.c, (count, s.n))
        options["y_index"] = rng.integers(0, count, s.h)
    if drawing.some("weight sets"):
        count = int(rng.integers(1, 4))
        options["sample_weight"] = drawing.weights(count, s.n)
        options["weight_index"] = rng.integers(0, count, s.h)
    elif drawing.some("weights"):
        options["sample_weight"] = drawing.weights(s.n)
    if op == "train":
        return _train(drawing, (X, y, *rest), options)
    return (X, y, *rest), options


def _train(drawing: _Drawing, positional: Any, options: dict[str, Any]) -> Arguments:
    X, y, order, _, W, b = positional
    rng, s = drawing.rng, drawing.size
    if drawing.some("repeats in the order"):
        order = rng.integers(0, s.n, int(rng.integers(1, s.n + 1)))
    batch = -(-len(order) // int(rng.integers(1, STEPS + 1)))
    steps = -(-len(order) // batch)
    options["learning_rate"] = drawing.each(0.01, 0.3)
    if drawing.some("rates by step"):
        options["learning_rate"] = rng.uniform(0, 0.3, (steps, s.h))
    if drawing.some("l2"):
        options |= {"l2": drawing.each(0, 0.1), "l2_bias": drawing.some("l2 on the bias", 0.5)}
    if drawing.some("momentum"):
        dtype, seed = cases.weight_dtype(drawing.dtype), int(rng.integers(1 << 30))
        options["momentum"] = drawing.each(0, 0.95)
        options["velocity"] = cases.weights(s.h, s.d, s.c, dtype, seed)
    if drawing.some("no bias", 0.1):
        options["fit_bias"] = False
    if drawing.some("columns", 0.5):
        options["columns"] = int(rng.choice([1, 20, 1000]))
        drawing.notes[-1] = f"columns={options['columns']}"
    return (X, y, order, batch, W, b), options


def error(case: Case, backend: str) -> float:
    """How far the backend's results are off, in units of their bounds: more than 1 is wrong."""
    positional, options = case.arguments
    exact = {name: value for name, value in options.items() if name != "columns"}
    with np.errstate(all="ignore"):
        truth, bound = parity.truth_and_bounds(case.op, (positional, exact))
    found = cases.run(case.op, case.arguments, backend)
    return max(parity.ratios(found, truth, bound), default=0.0)


def tried(backend: str, seed: int, numbers: Iterator[int]) -> Iterator[tuple[Case, float]]:
    """The cases of these numbers, and how far each is off."""
    for number in numbers:
        case = draw(seed, number)
        yield case, error(case, backend)


def main(argv: list[str] | None = None) -> int:
    """Print a line for each case that is wrong, and a count of all by op; 1 if any is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m softstep.kernels.verify.random",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="this case alone")
    parser.add_argument("--backend", help="default: as softstep chooses")
    given = parser.parse_args(argv)
    backend = choose(given.backend)[0].name
    numbers = _until(60 * given.minutes) if given.case is None else iter([given.case])
    counts: Counter[str] = Counter()
    largest: dict[str, float] = {}
    wrong = 0
    for case, off in tried(backend, given.seed, numbers):
        counts[case.op] += 1
        largest[case.op] = max(off, largest.get(case.op, 0.0))
        if not off <= 1:
            wrong += 1
            print(f"WRONG by {off:.3g} times its bound: {case}", flush=True)
    print(f"backend {backend}, seed {given.seed}\n\n| op | cases | worst error in bounds |")
    print("|---|---|---|")
    for op in sorted(counts):
        print(f"| {op} | {counts[op]} | {largest[op]:.2g} |")
    print(f"\n{wrong} of {counts.total()} cases are wrong")
    return int(wrong > 0)


def _until(seconds: float) -> Iterator[int]:
    """0, 1, 2 and so on for so long."""
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        yield number
        number += 1


if __name__ == "__main__":
    raise SystemExit(main())
