"""The sweep against its peers: 20 learning rates × 2 losses, one epoch of MNIST-like pixels.

`python -m softstep.bench.sweep` prints the table; `--rows N` takes fewer rows, `--rounds N` more
rounds. A peer takes the same rows in the same order and ends with the same weights.
"""

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable

import numpy as np

from softstep import kernels
from softstep.bench import peak
from softstep.bench.workloads import BATCH_SIZE, SEED_SIZE, Size, pixels, seed_workload
from softstep.kernels.threads import available_cores

RATES = np.geomspace(1e-3, 1, 20)
LOSSES = ("mse", "cross_entropy")
PIXEL_SCALE = 1 / 255

Weights = tuple[np.ndarray, np.ndarray]


def arguments(size: Size = SEED_SIZE, seed: int = 0):
    """X (n, d) uint8, y (n,), order (n,), and the rate and loss of each of the 40 heads."""
    X, y = pixels(size.n, size.d, size.c, seed)
    order = np.random.default_rng((seed, 1, 0)).permutation(size.n)
    return X, y, order, np.tile(RATES, 2), np.repeat(LOSSES, len(RATES))


def flop(size: Size = SEED_SIZE) -> int:
    """Floating-point operations of the 40 heads, counted as the seed workload's are."""
    return len(RATES) * len(LOSSES) * seed_workload(np.uint8, size).flop


def bank(X, y, order, rates, losses) -> Weights:
    """All heads in one call of the fused op: what `SoftmaxSweep` runs an epoch as."""
    h, d, c = len(rates), X.shape[1], int(y.max()) + 1
    W, b = np.zeros((h, d, c), np.float32), np.zeros((h, c), np.float32)
    settings = {"loss": tuple(losses), "learning_rate": rates, "feature_scale": PIXEL_SCALE}
    kernels.train(X, y, order, BATCH_SIZE, W, b, **settings)
    return W, b


def one_by_one(X, y, order, rates, losses) -> Weights:
    """The heads one after the other, each in a call of its own."""
    heads = [bank(X, y, order, rates[k : k + 1], losses[k : k + 1]) for k in range(len(rates))]
    return np.concatenate([W for W, _ in heads]), np.concatenate([b for _, b in heads])


def torch_loop(X, y, order, rates, losses) -> Weights:
    """A Python loop of torch models, as one would write it: nn.Linear, autograd, SGD."""
    import torch
    from torch.nn import functional

    x, targets, rows = _for_torch(X, y, order)
    d, c = x.shape[1], int(targets.max()) + 1
    one_hot = functional.one_hot(targets, c).float()
    W, b = np.empty((len(rates), d, c), np.float32), np.empty((len(rates), c), np.float32)
    for k, (rate, loss) in enumerate(zip(rates, losses, strict=True)):
        model = torch.nn.Linear(d, c)
        torch.nn.init.zeros_(model.weight)
        torch.nn.init.zeros_(model.bias)
        optimizer = torch.optim.SGD(model.parameters(), lr=float(rate))
        for batch in rows.split(BATCH_SIZE):
            optimizer.zero_grad()
            V = model(x[batch])
            if loss == "mse":
                value = functional.mse_loss(V.softmax(dim=1), one_hot[batch])
            else:
                value = functional.cross_entropy(V, targets[batch])
            value.backward()
            optimizer.step()
        W[k], b[k] = model.weight.detach().numpy().T, model.bias.detach().numpy()
    return W, b


def torch_stacked(X, y, order, rates, losses) -> Weights:
    """All heads as one torch matrix product (batch, d) (d, h·c), autograd through it."""
    import torch
    from torch.nn import functional

    x, targets, rows = _for_torch(X, y, order)
    h, d, c = len(rates), x.shape[1], int(targets.max()) + 1
    one_hot = functional.one_hot(targets, c).float()
    is_mse = torch.from_numpy(losses == "mse")
    by_head = torch.from_numpy(rates).float()
    by_column = by_head.repeat_interleave(c)
    W, b = torch.zeros(d, h * c, requires_grad=True), torch.zeros(h, c, requires_grad=True)
    for batch in rows.split(BATCH_SIZE):
        V = (x[batch] @ W).view(-1, h, c) + b
        y_batch = one_hot[batch][:, None]
        squared = ((V[:, is_mse].softmax(dim=2) - y_batch) ** 2).mean(dim=(0, 2)).sum()
        entropy = -(V[:, ~is_mse].log_softmax(dim=2) * y_batch).sum(dim=2).mean(dim=0).sum()
        dW, db = torch.autograd.grad(squared + entropy, (W, b))
        with torch.no_grad():
            W -= by_column * dW
            b -= by_head[:, None] * db
    weights = W.detach().numpy().reshape(d, h, c).transpose(1, 0, 2)
    return np.ascontiguousarray(weights), b.detach().numpy()


def _for_torch(X, y, order):
    """Pixels in [0, 1], labels and order as tensors."""
    import torch

    return (torch.from_numpy(X).float() / 255, torch.from_numpy(y), torch.from_numpy(order))


PEERS: dict[str, Callable[..., Weights]] = {
    "softstep, one bank": bank,
    "softstep, one by one": one_by_one,
    "torch, a loop of models": torch_loop,
    "torch, stacked autograd": torch_stacked,
}


def runnable() -> dict[str, Callable[..., Weights]]:
    """The peers whose library is installed."""
    has_torch = importlib.util.find_spec("torch") is not None
    return {name: run for name, run in PEERS.items() if has_torch or "torch" not in name}


def agrees(found: Weights, expected: Weights) -> bool:
    """Whether the weights are the same up to float32 roundings of a stable descent."""
    return all(
        np.abs(f - e).max() <= 1e-3 * np.abs(e).max() for f, e in zip(found, expected, strict=True)
    )


def measure(size: Size, rounds: int) -> dict[str, list[float]]:
    """Seconds of each peer in `rounds` rounds in which everyone runs once.

    Raises:
        AssertionError: a peer's weights are not those of the bank.
    """
    given = arguments(size)
    expected = bank(*given)
    peers = runnable()
    for name, run in peers.items():
        assert agrees(run(*given), expected), f"{name} ends with other weights"
    times: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(rounds):
        for name, run in peers.items():
            start = time.perf_counter()
            run(*given)
            times[name].append(time.perf_counter() - start)
    return times


def seconds_of_one_head(size: Size, rounds: int) -> float:
    """The median for a single head, averaged over the two losses."""
    X, y, order, rates, losses = arguments(size)
    times = []
    for k in [0, len(RATES)] * rounds:
        start = time.perf_counter()
        bank(X, y, order, rates[k : k + 1], losses[k : k + 1])
        times.append(time.perf_counter() - start)
    return (statistics.median(times[::2]) + statistics.median(times[1::2])) / 2


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m softstep.bench.sweep", description=__doc__)
    parser.add_argument("--rows", type=int, default=SEED_SIZE.n)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    size = Size(options.rows, SEED_SIZE.d, SEED_SIZE.c)
    times = measure(size, options.rounds)
    one = seconds_of_one_head(size, options.rounds)
    cores = available_cores()
    limit = peak.measure({cores}).gflop_per_s[cores]
    ours = times["softstep, one bank"]
    print(
        f"{len(RATES) * len(LOSSES)} heads, one epoch of {size.n} rows, "
        f"{flop(size) / 1e9:.1f} GFLOP; {cores} cores, {limit:.0f} GFLOP/s at most"
    )
    for name, seconds in times.items():
        ratio = statistics.median(s / o for s, o in zip(seconds, ours, strict=True))
        median = statistics.median(seconds)
        rate = flop(size) / median / 1e9
        print(
            f"{name:24} {median:8.3f} s  {rate:7.1f} GFLOP/s  {rate / limit:4.0%} of the peak  "
            f"{ratio:6.2f}x"
        )
    print(
        f"one head alone takes {one:.4f} s: the bank takes {statistics.median(ours) / one:.1f} "
        f"times as long for {len(RATES) * len(LOSSES)}"
    )


if __name__ == "__main__":
    main()
