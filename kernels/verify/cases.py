"""THE table of test cases: every op, its arguments made from a seed, its floating-point operations.

The benchmarks, the parity checks before them and the tests take their inputs from here. The inputs
are drawn in float64 and cast, so that a seed gives the same numbers in every dtype.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep import kernels
from softstep.kernels.integers import ceil_div


@dataclass(frozen=True)
class Size:
    """n rows, d features, c classes, h heads."""

    n: int
    d: int
    c: int
    h: int = 1


BATCH_SIZE = 100
SEED_SIZE = Size(60_000, 784, 10)
SURFACE = (3, 5)  # the grid of `surface_forward`

QUICK = (Size(2_000, 784, 10, h=4),)
FULL = (Size(20_000, 784, 10, h=4), Size(2_048, 1_024, 1_000))


# Inputs. Each function draws from its own stream of the seed, so that no two repeat each other.


def features(n: int, d: int, dtype: Any, seed: int) -> np.ndarray:
    """Standard normal features (n, d); for uint8 and int8 all they can be, as pixels in 0…255."""
    rng = np.random.default_rng((seed, 0))
    if np.dtype(dtype).kind in "iu":
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
        return rng.integers(least, most, (n, d), dtype=dtype, endpoint=True)
    return rng.standard_normal((n, d)).astype(dtype)


def labels(n: int, c: int, seed: int) -> np.ndarray:
    """Integer labels (n,) in [0, c)."""
    return np.random.default_rng((seed, 1)).integers(0, c, n)


def weights(h: int, d: int, c: int, dtype: Any, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A bank W (h, d, c), b (h, c) whose logits are of order 1 for features of order 1."""
    rng = np.random.default_rng((seed, 2))
    W = rng.standard_normal((h, d, c)) / np.sqrt(d)
    return W.astype(dtype), rng.standard_normal((h, c)).astype(dtype)


def logits(n: int, c: int, dtype: Any, seed: int, spread: float = 3.0) -> np.ndarray:
    """Normal logits (n, c) with the standard deviation `spread`."""
    return (spread * np.random.default_rng((seed, 3)).standard_normal((n, c))).astype(dtype)


def probabilities(n: int, c: int, dtype: Any, seed: int) -> np.ndarray:
    """Rows (n, c) that sum to 1; also soft targets."""
    e = np.exp(logits(n, c, np.float64, seed))
    return (e / e.sum(axis=1, keepdims=True)).astype(dtype)


def gradients(n: int, c: int, dtype: Any, seed: int) -> np.ndarray:
    """Normal gradients (n, c) of the logits or the probabilities."""
    return np.random.default_rng((seed, 4)).standard_normal((n, c)).astype(dtype)


def pixels(n: int, d: int, c: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures that can be told apart, uint8 (n, d), and their labels.

    Each class has ink on a fifth of the pixels of its own, about as much as handwritten digits
    have, so that gradient descent behaves alike on both.
    """
    rng = np.random.default_rng((seed, 5))
    ink = (rng.random((c, d)) < 0.2).astype(np.uint8)
    y = labels(n, c, seed)
    return rng.integers(0, 256, (n, d), dtype=np.uint8) * ink[y], y


def feature_scale(dtype: Any) -> float:
    """The scale for features of this dtype: pixels are read in [0, 1], int8 about in [-1, 1], all
    others as they are."""
    return {"uint8": 1 / 255, "int8": 1 / 127}.get(np.dtype(dtype).name, 1.0)


def weight_dtype(dtype: Any) -> type:
    """The dtype of the weights and logits for features of this dtype."""
    return np.float64 if np.dtype(dtype) == np.float64 else np.float32


# The arguments of the ops, positional and by keyword, for a size, a dtype of the features, a seed.

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def run(op: str, arguments: Arguments, backend: str) -> tuple[np.ndarray, ...]:
    """All results of the op. `train` gets copies of its weights, and of its velocity if there is
    one, and returns them last. The features keep their memory layout.
    """
    positional, options = arguments
    call: Callable[..., Any] = getattr(kernels, op)
    if op != "train":
        result = call(*positional, **options, backend=backend)
        return result if isinstance(result, tuple) else (result,)
    *data, W, b = positional
    W, b = W.copy(), b.copy()
    velocity = tuple(m.copy() for m in options.get("velocity") or ())
    options = {**options, "velocity": velocity or None}
    return *call(*data, W, b, **options, backend=backend), W, b, *velocity


def _linear_forward(s: Size, dtype: Any, seed: int) -> Arguments:
    W, b = weights(1, s.d, s.c, weight_dtype(dtype), seed)
    X = features(s.n, s.d, dtype, seed)
    return (X, W[0], b[0]), {"feature_scale": feature_scale(dtype)}


def _linear_backward(s: Size, dtype: Any, seed: int) -> Arguments:
    dV = gradients(s.n, s.c, weight_dtype(dtype), seed)
    return (dV, features(s.n, s.d, dtype, seed)), {"feature_scale": feature_scale(dtype)}


def _logits(s: Size, dtype: Any, seed: int) -> Arguments:
    return (logits(s.n, s.c, weight_dtype(dtype), seed),), {}


def _logits_and_labels(s: Size, dtype: Any, seed: int) -> Arguments:
    return (logits(s.n, s.c, weight_dtype(dtype), seed), labels(s.n, s.c, seed)), {}


def _probabilities_and_labels(s: Size, dtype: Any, seed: int) -> Arguments:
    return (probabilities(s.n, s.c, weight_dtype(dtype), seed), labels(s.n, s.c, seed)), {}


def _gradients_and_probabilities(s: Size, dtype: Any, seed: int) -> Arguments:
    dP = gradients(s.n, s.c, weight_dtype(dtype), seed)
    return (dP, probabilities(s.n, s.c, weight_dtype(dtype), seed)), {}


def _surface_forward(s: Size, dtype: Any, seed: int) -> Arguments:
    kind = weight_dtype(dtype)
    V = [logits(s.n, s.c, kind, seed + k) for k in range(3)]
    offsets = np.linspace(-1, 1, SURFACE[1]), np.linspace(-0.5, 1, SURFACE[0])
    return (*V, labels(s.n, s.c, seed), *offsets), {"loss": "cross_entropy"}


def _predict(s: Size, dtype: Any, seed: int) -> Arguments:
    W, b = weights(s.h, s.d, s.c, weight_dtype(dtype), seed)
    return (features(s.n, s.d, dtype, seed), W, b), {"feature_scale": feature_scale(dtype)}


def _evaluate(s: Size, dtype: Any, seed: int) -> Arguments:
    (X, W, b), options = _predict(s, dtype, seed)
    return (X, labels(s.n, s.c, seed), W, b), {**options, "loss": "cross_entropy"}


def _train(s: Size, dtype: Any, seed: int) -> Arguments:
    (X, y, W, b), options = _evaluate(s, dtype, seed)
    order = np.random.default_rng((seed, 6)).permutation(s.n)
    return (X, y, order, BATCH_SIZE, W, b), {**options, "learning_rate": 0.01}


# Floating-point operations of the formulas in docs/derivation.md: +, -, ×, ÷, exp and log count 1
# each, comparisons and copies 0; terms of order n are left out.


def _linear_flop(s: Size) -> int:
    return 2 * s.n * s.d * s.c + s.n * s.c  # multiply, add; the bias or its gradient


def _bank_flop(s: Size) -> int:
    return s.h * _linear_flop(s)


def _evaluate_flop(s: Size) -> int:
    return s.h * (_linear_flop(s) + 3 * s.n * s.c)  # the loss: see cross_entropy_forward


# The loss and its gradient by the logits. MSE: softmax 4, MSE 3, its gradient 2, the Jacobian 4;
# cross-entropy: 3, its gradient 2 more; generalised cross-entropy: one more, its factor.
LOSS_FLOP = {"mse": 13, "cross_entropy": 5, "gce": 6}


def gradient_flop(s: Size, loss: str) -> int:
    """Forward, loss and backward of every row, for each head."""
    return s.h * (2 * _linear_flop(s) + LOSS_FLOP[loss] * s.n * s.c)


def _gradient_flop(s: Size) -> int:
    return gradient_flop(s, "cross_entropy")


def epoch_flop(s: Size, batch_size: int, loss: str) -> int:
    """Forward, loss, backward of every row, and the update W - lr·dW once per batch."""
    steps = ceil_div(s.n, batch_size)
    return gradient_flop(s, loss) + s.h * 2 * steps * (s.d + 1) * s.c


def _train_flop(s: Size) -> int:
    return epoch_flop(s, BATCH_SIZE, "cross_entropy")


def _per_entry(count: int) -> Callable[[Size], int]:
    return lambda s: count * s.n * s.c


@dataclass(frozen=True)
class Op:
    """How an op's arguments are made, what it costs, and how a case of it is written."""

    arguments: Callable[[Size, Any, int], Arguments]
    flop: Callable[[Size], int]
    case: str


_ROWS, _LAYER, _BANK = "{s.n}x{s.c}", "{s.n}x{s.d}->{s.c}", "{s.n}x{s.d}->{s.h}x{s.c}"

OPS = {
    "linear_forward": Op(_linear_forward, _linear_flop, _LAYER),
    "linear_backward": Op(_linear_backward, _linear_flop, _LAYER),
    # v - max, exp, sum, ÷
    "softmax_forward": Op(_logits, _per_entry(4), _ROWS),
    # dp·p, sum, dp - sum, ·p
    "softmax_backward": Op(_gradients_and_probabilities, _per_entry(4), _ROWS),
    # y - p, square, sum
    "mse_forward": Op(_probabilities_and_labels, _per_entry(3), _ROWS),
    # p - y, ·2/c
    "mse_backward": Op(_probabilities_and_labels, _per_entry(2), _ROWS),
    # v - max, exp, sum
    "cross_entropy_forward": Op(_logits_and_labels, _per_entry(3), _ROWS),
    # softmax; p - y changes one entry of a row
    "cross_entropy_backward": Op(_logits_and_labels, _per_entry(4), _ROWS),
    # softmax 4, gradient of MSE 2, Jacobian 4
    "softmax_mse_backward": Op(_logits_and_labels, _per_entry(10), _ROWS),
    # v - max, exp, sum
    "gce_forward": Op(_logits_and_labels, _per_entry(3), _ROWS),
    # softmax 4, its product with a factor
    "gce_backward": Op(_logits_and_labels, _per_entry(5), _ROWS),
    # at each point 2 multiply, 2 add; v - max, exp, sum
    "surface_forward": Op(_surface_forward, _per_entry(7 * SURFACE[0] * SURFACE[1]), _ROWS),
    "predict": Op(_predict, _bank_flop, _BANK),
    "evaluate": Op(_evaluate, _evaluate_flop, _BANK),
    "gradient": Op(_evaluate, _gradient_flop, _BANK),
    "train": Op(_train, _train_flop, _BANK),
}


@dataclass(frozen=True)
class Workload:
    """One line of the benchmarks: an op of softstep.kernels on one case."""

    op: str
    case: str
    flop: int
    arguments: Callable[[int], Arguments]  # seed -> positional, by keyword
    has_peers: bool = False  # whether the peers of `train` can run it

    def __str__(self) -> str:
        return f"{self.op} {self.case}"

    def run(self, arguments: Arguments, backend: str) -> tuple[np.ndarray, ...]:
        """The op's results, as `run` returns them."""
        return run(self.op, arguments, backend)


def op_workload(name: str, size: Size, dtype: Any = np.float32) -> Workload:
    """The op `name` at one size, its features in `dtype`."""
    op = OPS[name]
    return Workload(
        name,
        f"{op.case.format(s=size)} {np.dtype(dtype).name}",
        op.flop(size),
        lambda seed: op.arguments(size, dtype, seed),
    )


def op_workloads(sizes: tuple[Size, ...]) -> list[Workload]:
    """Every op at every size, float32."""
    return [op_workload(name, size) for name in OPS for size in sizes]


def seed_workload(dtype: Any, size: Size = SEED_SIZE) -> Workload:
    """One shuffled epoch of the original recipe: MSE through softmax, rate 0.2, zero weights.

    Pictures as stored, uint8 (scaled to [0, 1] by the op), or as float32 in [0, 1].
    """

    def arguments(seed: int) -> Arguments:
        X, y = pixels(size.n, size.d, size.c, seed)
        if np.dtype(dtype) != np.uint8:
            X = np.multiply(X, 1 / 255, dtype=dtype)
        order = np.random.default_rng((seed, 1, 0)).permutation(size.n)
        kind: Any = weight_dtype(dtype)
        W, b = np.zeros((1, size.d, size.c), kind), np.zeros((1, size.c), kind)
        options = {"loss": "mse", "learning_rate": 0.2, "feature_scale": feature_scale(dtype)}
        return (X, y, order, BATCH_SIZE, W, b), options

    return Workload(
        "train",
        f"seed {size.n}x{size.d}->{size.c} {np.dtype(dtype).name}",
        epoch_flop(size, BATCH_SIZE, "mse"),
        arguments,
        has_peers=True,
    )


def seed_workloads(size: Size = SEED_SIZE) -> list[Workload]:
    """The seed workload as float32 and as uint8."""
    return [seed_workload(dtype, size) for dtype in (np.float32, np.uint8)]
