"""Whether a backend computes what the oracle computes: errors in units of their bounds.

`softstep check` prints the table; the tests go through many more shapes and settings.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.bench import bounds, gradients, train_bounds, workloads
from softstep.bench.bounds import Arithmetic
from softstep.bench.workloads import Arguments, Size, run

ORACLE = "numpy"
BOUNDS = {
    **{name: getattr(bounds, name) for name in workloads.OPS if hasattr(bounds, name)},
    "evaluate": train_bounds.evaluate,
    "surface_forward": train_bounds.surface_forward,
    "train": train_bounds.train,
}

Array = np.ndarray[Any, Any]
Results = tuple[Array, ...]


def worst(found: Array, truth: Array, bound: Array) -> float:
    """The largest error in units of its bound; 1 or less is right.

    0 where both are equal, also in NaN or infinity; inf where only one is NaN or infinite, where
    they differ although the bound is 0, and for another shape.
    """
    if np.shape(found) != np.shape(truth):
        return float("inf")
    with np.errstate(all="ignore"):
        same = (found == truth) | (np.isnan(found) & np.isnan(truth))
        error = np.abs(np.asarray(found, np.float64) - truth)
        ratio = np.where(same, 0.0, error / bound)
    return float(np.where(np.isnan(ratio), np.inf, ratio).max(initial=0.0))


def wide(arguments: Arguments) -> Arguments:
    """The same numbers in float64."""

    def widened(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(widened(v) for v in value)
        is_features = isinstance(value, np.ndarray) and value.dtype.kind == "f"
        return value.astype(np.float64) if is_features else value

    positional, options = arguments
    X = [np.float64(p) if getattr(p, "dtype", None) == np.uint8 else p for p in positional]
    return tuple(widened(p) for p in X), {k: widened(v) for k, v in options.items()}


def arithmetic(arguments: Arguments) -> Arithmetic:
    """What rounds in this call: float64 for a float64 first argument, else float32."""
    return Arithmetic.of(workloads.weight_dtype(arguments[0][0].dtype))


def truth_and_bounds(op: str, arguments: Arguments) -> tuple[Results, Results]:
    """The oracle's results in float64, and how far a backend's may be from them.

    The oracle rounds too: the bound is that of the arithmetic's u plus that of float64. A result
    that is 0 throughout (no rows, the gradients of one class) must be met exactly.
    """
    a, oracle = arithmetic(arguments), Arithmetic.of(np.float64)
    positional, options = exact = wide(arguments)
    both = Arithmetic(a.u + oracle.u, a.tiny + oracle.tiny)
    truth = run(op, exact, ORACLE)
    bound = BOUNDS[op](both, *positional, **options)[: len(truth)]
    return truth, tuple(
        e if t.any() else np.zeros(t.shape) for t, e in zip(truth, bound, strict=True)
    )


def ratios(found: Results, truth: Results, bound: Results) -> list[float]:
    """`worst` of each result."""
    return [worst(f, t, e) for f, t, e in zip(found, truth, bound, strict=True)]


@dataclass(frozen=True)
class Row:
    """A line of `softstep check`. The error is in units of its bound: more than 1 is wrong."""

    check: str
    backend: str
    dtype: str
    error: float

    @property
    def passed(self) -> bool:
        return self.error <= 1


SIZES = (Size(1, 1, 2), Size(37, 17, 3, h=3), Size(230, 785, 10, h=2))
FEATURE_DTYPES = ("float64", "float32", "float16", "uint8")
READS_FEATURES = ("linear_forward", "linear_backward", "predict", "evaluate", "train")


def check(backend: str) -> Iterator[Row]:
    """Every op on every dtype it reads, then every gradient."""
    for op in workloads.OPS:
        for dtype in FEATURE_DTYPES if op in READS_FEATURES else FEATURE_DTYPES[:2]:
            errors = [0.0]
            for size in SIZES:
                arguments = workloads.OPS[op].arguments(size, dtype, 0)
                errors += ratios(run(op, arguments, backend), *truth_and_bounds(op, arguments))
            yield Row(op, backend, dtype, max(errors))
    for case in gradients.cases(Size(7, 5, 4)):
        error = gradients.error(case.found(backend), case.truth) / gradients.TOLERANCE
        yield Row(f"complex step: {case.name}", backend, "float64", error)


HEADING = """\
Each op against the oracle in float64; each gradient of the op against complex-step differentiation.
Worst error, in units of its bound (docs/numerics.md): up to 1 is right."""


def check_command(backends: list[str]) -> int:
    """Check these backends and print a line for each op and dtype.

    Returns:
        The exit code: 1 if anything is out of bounds, else 0.
    """
    print(HEADING)
    wrong = 0
    for backend in backends:
        print(f"\n{backend}")
        for row in check(backend):
            wrong += not row.passed
            verdict = "" if row.passed else "  WRONG"
            print(f"  {row.check:50} {row.dtype:8} {row.error:8.2g}{verdict}", flush=True)
    print(f"\n{wrong} checks failed" if wrong else "\nall checks passed")
    return 1 if wrong else 0
