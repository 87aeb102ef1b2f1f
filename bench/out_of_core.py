"""A sweep over a file larger than the memory it may use: peak memory, and the speed of reading.

    python -m softstep.bench.out_of_core FILE [--gb 12] [--memory 1.5GB]

FILE, a .npy of float16, is made if it is not there. Linux only: it reads /proc.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from softstep import SoftmaxSweep
from softstep.model.blocks import size_in_bytes

FEATURES, CLASSES = 768, 10
HELD_OUT = 2000  # rows, the first ones
BLOCK = 1 << 14  # rows made or read at a time


def labels(n):
    """(n,): the class of each row."""
    return np.random.default_rng(0).integers(CLASSES, size=n)


def make(path, gigabytes):
    """Write rows around the centre of their class, as many as fill so many 10^9 bytes."""
    n = int(gigabytes * 1e9) // (2 * FEATURES)
    y, rng = labels(n), np.random.default_rng(1)
    centres = 0.1 * rng.standard_normal((CLASSES, FEATURES), dtype=np.float32)
    file = np.lib.format.open_memmap(path, "w+", np.float16, (n, FEATURES))
    for start in range(0, n, BLOCK):
        part = y[start : start + BLOCK]
        noise = rng.standard_normal((len(part), FEATURES), dtype=np.float32)
        file[start : start + BLOCK] = centres[part] + noise
    file.flush()


def seconds_to_read(path):
    """Reading the file from its first byte to its last, into one small buffer."""
    buffer = bytearray(BLOCK * 2 * FEATURES)
    start = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return time.perf_counter() - start


def memory(field):
    """A figure of this process's memory, bytes: VmRSS is now, VmHWM its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def fit(X, y, held_out, limit, heads, epochs):
    rates = np.geomspace(1e-3, 1, heads).tolist()
    sweep = SoftmaxSweep(
        {"learning_rate": rates, "loss": "cross_entropy"},
        epochs=epochs,
        random_state=0,
        memory=limit,
    )
    return sweep.fit(X, y, *held_out)


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m softstep.bench.out_of_core")
    parser.add_argument("file", type=Path)
    parser.add_argument("--gb", type=float, default=12.0, help="size of a file that is made")
    parser.add_argument("--memory", type=size_in_bytes, default="1.5GB")
    parser.add_argument("--heads", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=1)
    arguments = parser.parse_args(argv)
    path = arguments.file
    if not path.exists():
        make(path, arguments.gb)
    X = np.load(path, mmap_mode="r")
    y, size = labels(len(X)), X.nbytes / 1e9
    few = np.array(X[:HELD_OUT]), y[:HELD_OUT]
    train, settings = (X[HELD_OUT:], y[HELD_OUT:]), (arguments.memory, arguments.heads)
    fit(*few, few, *settings, 1)  # compiles
    reading = seconds_to_read(path)
    Path("/proc/self/clear_refs").write_text("5")  # the peak anew
    before, start = memory("VmRSS"), time.perf_counter()
    sweep = fit(*train, few, *settings, arguments.epochs)
    seconds, peak = time.perf_counter() - start, memory("VmHWM")
    print(f"file: {size:.2f} GB, {len(X)} rows of {FEATURES} float16")
    print(f"memory: given {arguments.memory / 1e9:.2f} GB, used {(peak - before) / 1e9:.2f} GB")
    print(f"reading alone: {reading:.2f} s, {size / reading:.2f} GB/s")
    print(
        f"sweep: {arguments.heads} heads, {arguments.epochs} epochs in {seconds:.2f} s, "
        f"{arguments.epochs * size / seconds:.2f} GB/s"
    )
    print(f"best held-out accuracy: {sweep.results_['mean_val_accuracy'].max():.4f}")


if __name__ == "__main__":
    main()
