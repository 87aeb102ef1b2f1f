"""The loss on a grid of 51 × 51 weights, MNIST, beside torch: seconds, and the peak of memory.

`python -m softstep.bench.landscape` prints the table; `--rounds N` takes more rounds. Linux only:
it reads /proc. The torch loops go through every 100th point and are scaled to all of them.
"""

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from softstep import SoftmaxRegression
from softstep.bench.out_of_core import memory
from softstep.kernels.checks import LOSSES
from softstep.model.datasets import load_mnist
from softstep.model.landscape import Surface, loss_surface

STEPS = 51
EVERY = 100  # of the points is evaluated by torch
PIXEL_SCALE = 1 / 255
AGREEMENT = 1e-4  # relative, of losses in float32

Points = list[tuple[int, int]]


def points(steps: int = STEPS, every: int = EVERY) -> Points:
    """Which (i, j) of the grid the torch loops evaluate."""
    return [divmod(k, steps) for k in range(0, steps**2, every)]


def torch_each(model: Any, x: Any, y: Any, surface: Surface, at: Points) -> list[float]:
    """As one would write it: the weights are moved, and all logits computed, at each point."""
    W, b, (dW1, db1), (dW2, db2) = _tensors(model, surface)
    losses, loss = [], _loss_function(model.loss, y, len(b))
    for i, j in at:
        p, q = float(surface.x[j]), float(surface.y[i])
        V = x @ (W + p * dW1 + q * dW2) + (b + p * db1 + q * db2)
        losses.append(loss(V))
    return losses


def torch_affine(model: Any, x: Any, y: Any, surface: Surface, at: Points) -> list[float]:
    """With the three products taken once, as softstep does."""
    W, b, (dW1, db1), (dW2, db2) = _tensors(model, surface)
    loss = _loss_function(model.loss, y, len(b))
    V0, V1, V2 = x @ W + b, x @ dW1 + db1, x @ dW2 + db2
    return [loss(V0 + float(surface.x[j]) * V1 + float(surface.y[i]) * V2) for i, j in at]


def _tensors(model: Any, surface: Surface) -> list[Any]:
    import torch

    def tensor(a: Any) -> Any:
        return torch.from_numpy(np.ascontiguousarray(a)).float()

    pairs = [tuple(map(tensor, D)) for D in (surface.D1, surface.D2)]
    return [tensor(model.coef_.T), tensor(model.intercept_), *pairs]


def _loss_function(name: str, y: Any, c: int) -> Callable[[Any], float]:
    from torch.nn import functional

    if name == "cross_entropy":
        return lambda V: float(functional.cross_entropy(V, y))
    targets = functional.one_hot(y, c).float()
    return lambda V: float(functional.mse_loss(V.softmax(dim=1), targets))


PEERS: dict[str, Callable[..., list[float]]] = {
    "torch, a product at each point": torch_each,
    "torch, three products": torch_affine,
}


def agrees(losses: list[float], surface: Surface, at: Points) -> bool:
    """Whether these are the surface's losses, up to float32 roundings."""
    expected = np.array([surface.loss[i, j] for i, j in at])
    return bool(np.abs(np.array(losses) / expected - 1).max() <= AGREEMENT)


def trained(loss: str, X: Any, y: Any) -> SoftmaxRegression:
    """A model of one epoch."""
    return SoftmaxRegression(loss=loss, epochs=1, random_state=0).fit(X, y)


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure_peer(name: str, model: Any, x: Any, y: Any, surface: Surface) -> float:
    """Seconds for the whole grid, from every 100th point.

    Raises:
        AssertionError: its losses are not those of the surface.
    """
    at, run = points(), PEERS[name]
    assert agrees(run(model, x, y, surface, at), surface, at), f"{name} has other losses"
    few = min(seconds(lambda: run(model, x, y, surface, at[:1])) for _ in range(3))
    many = seconds(lambda: run(model, x, y, surface, at))
    return few + (many - few) / (len(at) - 1) * (STEPS**2 - 1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m softstep.bench.landscape", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    data = load_mnist()
    rows = {60_000: (data.X_train, data.y_train), 10_000: (data.X_test, data.y_test)}
    models = {loss: trained(loss, *rows[60_000]) for loss in LOSSES}
    for model in models.values():
        loss_surface(model, *rows[10_000], steps=2)  # compiles
    surfaces, table = {}, []
    for loss, model in models.items():
        for n, (X, y) in rows.items():
            surfaces[loss, n] = loss_surface(model, X, y, steps=STEPS)
            work = partial(loss_surface, model, X, y, steps=STEPS)
            times = [seconds(work) for _ in range(options.rounds)]
            table.append((loss, n, "softstep", statistics.median(times)))
    peak = memory("VmHWM")
    if importlib.util.find_spec("torch"):
        import torch

        for loss, model in models.items():
            X, y = rows[60_000]
            x, labels = torch.from_numpy(X).float() * PIXEL_SCALE, torch.from_numpy(y)
            for name in PEERS:
                taken = measure_peer(name, model, x, labels, surfaces[loss, 60_000])
                table.append((loss, 60_000, name, taken))
    print(f"loss and accuracy at {STEPS} × {STEPS} points (torch: loss alone)")
    ours = {key[:2]: key[3] for key in table if key[2] == "softstep"}
    for loss, n, name, taken in sorted(table, key=lambda row: row[:2]):
        ratio = taken / ours[loss, n]
        print(f"{loss:13} {n:6} rows  {name:30} {taken:8.3f} s  {ratio:6.1f}x")
    print(f"peak memory before torch, the data's 55 MB included: {peak / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
