"""A sweep over a file larger than the memory it may use: peak memory, and the speed of reading.

FILE, a .npy of float16, is made if it does not exist. Linux only: it reads /proc.
"""

import functools
from pathlib import Path
from typing import Any

import numpy as np

from softstep import SoftmaxSweep
from softstep.bench import memory
from softstep.bench.measure import clocked
from softstep.bench.studies import parser
from softstep.model.blocks import size_in_bytes

FEATURES, CLASSES = 768, 10
HELD_OUT = 2000  # rows, the first ones
BLOCK = 1 << 14  # rows made or read at a time


def labels(n: int) -> Any:
    """(n,): the class of each row."""
    return np.random.default_rng(0).integers(CLASSES, size=n)


def make(path: Any, gigabytes: Any) -> None:
    """Write `gigabytes` (10^9 bytes) of rows, each around the centre of its class."""
    n = int(gigabytes * 1e9) // (2 * FEATURES)
    y, rng = labels(n), np.random.default_rng(1)
    centres = 0.1 * rng.standard_normal((CLASSES, FEATURES), dtype=np.float32)
    file = np.lib.format.open_memmap(path, "w+", np.float16, (n, FEATURES))
    for start in range(0, n, BLOCK):
        part = y[start : start + BLOCK]
        noise = rng.standard_normal((len(part), FEATURES), dtype=np.float32)
        file[start : start + BLOCK] = centres[part] + noise
    file.flush()


def read(path: Any) -> None:
    """Read the file from its first byte to its last, into one small buffer."""
    buffer = bytearray(BLOCK * 2 * FEATURES)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def fit(X: Any, y: Any, held_out: Any, limit: Any, heads: Any, epochs: Any) -> Any:
    rates = np.geomspace(1e-3, 1, heads).tolist()
    sweep = SoftmaxSweep(
        {"learning_rate": rates, "loss": "cross_entropy"},
        epochs=epochs,
        random_state=0,
        memory=limit,
    )
    return sweep.fit(X, y, X_val=held_out[0], y_val=held_out[1])


def main(argv: list[str] | None = None) -> int:
    options = parser("out_of_core", __doc__)
    options.add_argument("file", metavar="FILE", type=Path)
    options.add_argument("--gb", type=float, default=12.0, help="size of a file that is made (12)")
    options.add_argument("--memory", type=size_in_bytes, default="1.5GB")
    options.add_argument("--heads", type=int, default=20)
    options.add_argument("--epochs", type=int, default=1)
    arguments = options.parse_args(argv)
    path = arguments.file
    if not path.exists():
        make(path, arguments.gb)
    X = np.load(path, mmap_mode="r")
    y, size = labels(len(X)), X.nbytes / 1e9
    few = np.array(X[:HELD_OUT]), y[:HELD_OUT]
    train, settings = (X[HELD_OUT:], y[HELD_OUT:]), (arguments.memory, arguments.heads)
    fit(*few, few, *settings, 1)  # compiles
    _, reading = clocked(functools.partial(read, path))
    sweep, used, seconds = memory.peak_above(
        functools.partial(fit, *train, few, *settings, arguments.epochs)
    )
    print(f"file: {size:.2f} GB, {len(X)} rows of {FEATURES} float16")
    print(f"memory: given {arguments.memory / 1e9:.2f} GB, used {used / 1e9:.2f} GB")
    print(f"reading alone: {reading:.2f} s, {size / reading:.2f} GB/s")
    print(
        f"sweep: {arguments.heads} heads, {arguments.epochs} epochs in {seconds:.2f} s, "
        f"{arguments.epochs * size / seconds:.2f} GB/s"
    )
    print(f"best held-out accuracy: {sweep.results_['mean_val_accuracy'].max():.4f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
