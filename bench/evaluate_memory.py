"""The memory that `evaluate` and `predict` take above X: with 1000 classes the logits are the most.

    python -m softstep.bench.evaluate_memory [--rows 1000000] [--backend numba]

Resident memory, its peak while the op runs over what it was before, in this process; the kernels
were loaded before by a call on few rows. All logits would be rows × classes × 4 bytes. The exit
code is 1 for more than 200 MB. Linux only: it reads /proc.
"""

import argparse
import functools
import time
from pathlib import Path

from softstep import kernels
from softstep.bench import problems
from softstep.bench.out_of_core import memory
from softstep.bench.workloads import Size

FEATURES, CLASSES, FEW = 16, 1000, 2000
MOST = 200e6


def peak_above(call):
    """Bytes by which the peak while `call` runs is above what was there before; seconds."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak anew
    before, start = memory("VmRSS"), time.perf_counter()
    call()
    seconds = time.perf_counter() - start
    return memory("VmHWM") - before, seconds


def calls(model, rows, backend):
    """The ops on the first rows of the model's data, by name."""
    X, y, W, b = model.X[:rows], model.y[:rows], model.W[None], model.b[None]
    evaluate = functools.partial(
        kernels.evaluate, X, y, W, b, loss="cross_entropy", backend=backend
    )
    predict = functools.partial(kernels.predict, X, W, b, backend=backend)
    return {"evaluate": evaluate, "predict": predict}


def main(argv=None):
    """Print the figures; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m softstep.bench.evaluate_memory")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--backend", default="numba")
    given = parser.parse_args(argv)
    model = problems.model(Size(given.rows, FEATURES, CLASSES))
    for call in calls(model, FEW, given.backend).values():
        call()
    logits = 4 * given.rows * CLASSES
    print(f"{given.rows} rows, {FEATURES} features, {CLASSES} classes, {given.backend}")
    print(f"X: {model.X.nbytes / 1e6:.0f} MB; all logits: {logits / 1e6:.0f} MB")
    most = 0.0
    for name, call in calls(model, given.rows, given.backend).items():
        above, seconds = peak_above(call)
        most = max(most, above)
        print(f"{name}: {above / 1e6:.1f} MB above X, {seconds:.2f} s")
    return int(most > MOST)


if __name__ == "__main__":
    raise SystemExit(main())
