"""The data that competitors work on, made from a seed."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.kernels.verify import cases
from softstep.kernels.verify.cases import Size

Array = np.ndarray[Any, Any]
SEED = 0


@dataclass(frozen=True)
class Epoch:
    """One pass of gradient descent over the rows in `order`, from zero weights.

    X (n, d), y (n,) in [0, c), order (n,) a whole number of batches; a head for each of the rates
    (h,), with one loss for all of them or one for each. Results: W (h, d, c), b (h, c).
    """

    X: Array
    y: Array
    order: Array
    batch_size: int
    c: int
    rates: Array
    loss: Any
    feature_scale: float

    @property
    def size(self) -> Size:
        n, d = self.X.shape
        return Size(n, d, self.c, len(self.rates))

    @property
    def arguments(self) -> cases.Arguments:
        """The arguments of `train`."""
        h, d, c = len(self.rates), self.X.shape[1], self.c
        W, b = np.zeros((h, d, c), np.float32), np.zeros((h, c), np.float32)
        options = {
            "loss": self.loss,
            "learning_rate": self.rates,
            "feature_scale": self.feature_scale,
        }
        return (self.X, self.y, self.order, self.batch_size, W, b), options


@dataclass(frozen=True)
class Layer:
    """A linear layer both ways: X (n, d), W (d, c), b (c,), dV (n, c)."""

    X: Array
    W: Array
    b: Array
    dV: Array

    def arguments(self, op: str) -> cases.Arguments:
        forward = op == "linear_forward"
        return (self.X, self.W, self.b) if forward else (self.dV, self.X), {}


@dataclass(frozen=True)
class Model:
    """Rows and the weights that label them: X (n, d), y (n,), W (d, c), b (c,)."""

    X: Array
    y: Array
    W: Array
    b: Array

    def arguments(self, op: str) -> cases.Arguments:
        if op == "predict":
            return (self.X, self.W, self.b), {}
        return (self.X, self.y, self.W[None], self.b[None]), {"loss": "cross_entropy"}


@dataclass(frozen=True)
class Heads:
    """A bank whose loss and gradient are summed over all rows, cross-entropy.

    X (n, d), y (n,), W (h, d, c), b (h, c). Results: Σ L (h,), its gradient (h, d, c) and (h, c).
    """

    X: Array
    y: Array
    W: Array
    b: Array

    @property
    def arguments(self) -> cases.Arguments:
        """The arguments of `gradient`."""
        return (self.X, self.y, self.W, self.b), {"loss": "cross_entropy"}


@dataclass(frozen=True)
class Plane:
    """Points (p, q) of the weights W0 + p W1 + q W2: the loss at each.

    X (n, d), y (n,); heads: three pairs W (d, c), b (c,). Results: losses, an entry for each point.
    """

    X: Array
    y: Array
    heads: tuple[tuple[Array, Array], ...]
    loss: str
    feature_scale: float
    points: tuple[tuple[float, float], ...]


def epoch(arguments: cases.Arguments) -> Epoch:
    """The epoch of these arguments of `train`, whose weights are zero."""
    (X, y, order, batch_size, W, _), options = arguments
    h, _, c = W.shape
    rates = np.full(h, options["learning_rate"], np.float32)
    return Epoch(X, y, order, batch_size, c, rates, options["loss"], options["feature_scale"])


def recipe(n: int, dtype: Any) -> Epoch:
    """The original recipe: pixels, 10 classes, batches of 100, MSE through softmax, rate 0.2."""
    return epoch(cases.seed_workload(dtype, Size(n, 784, 10)).arguments(SEED))


def bank(size: Size, batch_size: int) -> Epoch:
    """Normal features, cross-entropy, h heads with rates from 0.001 to 0.01."""
    X, y = (
        cases.features(size.n, size.d, np.float32, SEED),
        cases.labels(size.n, size.c, SEED),
    )
    order = np.random.default_rng((SEED, 6)).permutation(size.n)
    rates = np.geomspace(0.01, 0.001, size.h).astype(np.float32)
    return Epoch(X, y, order, batch_size, size.c, rates, "cross_entropy", 1.0)


def heads(size: Size) -> Heads:
    """Normal features, and h heads that are right by chance."""
    (X, y, W, b), _ = cases.OPS["gradient"].arguments(size, np.float32, SEED)
    return Heads(X, y, W, b)


def layer(size: Size) -> Layer:
    W, b = cases.weights(1, size.d, size.c, np.float32, SEED)
    X = cases.features(size.n, size.d, np.float32, SEED)
    return Layer(X, W[0], b[0], cases.gradients(size.n, size.c, np.float32, SEED))


def model(size: Size) -> Model:
    W, b = cases.weights(1, size.d, size.c, np.float32, SEED)
    X = cases.features(size.n, size.d, np.float32, SEED)
    return Model(X, cases.labels(size.n, size.c, SEED), W[0], b[0])
