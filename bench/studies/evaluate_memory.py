"""The memory that `evaluate` and `predict` take in addition to X, with 1000 classes.

How far the resident memory of this process rises while the op runs, once a call on a few rows has
loaded the kernels. All logits would be rows × classes × 4 bytes. The exit code is 1 for more than
200 MB. Linux only: it reads /proc.
"""

import functools
from typing import Any

from softstep import kernels
from softstep.bench import memory, problems
from softstep.bench.studies import parser
from softstep.kernels.verify.cases import Size

FEATURES, CLASSES = 16, 1000
FIRST_ROWS = 2000  # of the call that loads the kernels
MOST = 200e6


def calls(model: Any, rows: Any, backend: Any) -> Any:
    """The ops on the first rows of the model's data, by name."""
    X, y, W, b = model.X[:rows], model.y[:rows], model.W[None], model.b[None]
    evaluate = functools.partial(
        kernels.evaluate, X, y, W, b, loss="cross_entropy", backend=backend
    )
    predict = functools.partial(kernels.predict, X, W, b, backend=backend)
    return {"evaluate": evaluate, "predict": predict}


def main(argv: list[str] | None = None) -> int:
    """Print the figures. The exit code is 1 if an op takes more than MOST."""
    options = parser("evaluate_memory", __doc__)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--backend", default="numba")
    given = options.parse_args(argv)
    model = problems.model(Size(given.rows, FEATURES, CLASSES))
    for call in calls(model, FIRST_ROWS, given.backend).values():
        call()
    logits = 4 * given.rows * CLASSES
    print(f"{given.rows} rows, {FEATURES} features, {CLASSES} classes, {given.backend}")
    print(f"X: {model.X.nbytes / 1e6:.0f} MB; all logits: {logits / 1e6:.0f} MB")
    most = 0.0
    for name, call in calls(model, given.rows, given.backend).items():
        _, above, seconds = memory.peak_above(call)
        most = max(most, above)
        print(f"{name}: {above / 1e6:.1f} MB above X, {seconds:.2f} s")
    return int(most > MOST)


if __name__ == "__main__":
    raise SystemExit(main())
