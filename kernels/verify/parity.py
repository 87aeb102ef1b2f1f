"""Does a backend compute what the oracle computes? Errors in units of their bounds.

`softstep check` prints these checks; the tests go through many more shapes and settings.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.kernels.arrays import bfloat16, is_bfloat16
from softstep.kernels.losses import LOSSES
from softstep.kernels.verify import bounds, cases, gradients, train_bounds
from softstep.kernels.verify.bounds import Arithmetic
from softstep.kernels.verify.cases import Arguments, Size, run

ORACLE = "numpy"
BOUNDS: Any = {
    **{name: getattr(bounds, name) for name in cases.OPS if hasattr(bounds, name)},
    "evaluate": train_bounds.evaluate,
    "gradient": train_bounds.gradient,
    "surface_forward": train_bounds.surface_forward,
    "train": train_bounds.train,
}

Array = np.ndarray[Any, Any]
Results = tuple[Array, ...]


def worst(found: Array, truth: Array, bound: Array) -> float:
    """The largest error in units of its bound; 1 or less is right.

    It is 0 where both are equal, NaN and infinity included. It is inf where only one is NaN or
    infinite, where they differ and the bound is 0, and where the shapes differ.
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
        is_array = isinstance(value, np.ndarray)
        is_features = is_array and (value.dtype.kind == "f" or is_bfloat16(value))
        return value.astype(np.float64) if is_features else value

    positional, options = arguments
    X = [np.float64(p) if _is_of_bytes(p) else p for p in positional]
    return tuple(widened(p) for p in X), {k: widened(v) for k, v in options.items()}


def _is_of_bytes(value: Any) -> bool:
    """Whether these are features in whole numbers: labels and orders take more than a byte."""
    return isinstance(value, np.ndarray) and value.dtype in (np.uint8, np.int8)


def arithmetic(arguments: Arguments) -> Arithmetic:
    """The arithmetic of this call: float64 for a float64 first argument, else float32."""
    return Arithmetic.of(cases.weight_dtype(arguments[0][0].dtype))


def truth_and_bounds(op: str, arguments: Arguments) -> tuple[Results, Results]:
    """The oracle's results in float64, and how far a backend's may be from them.

    The oracle rounds too, so the bound is computed with u plus the u of float64. A result that is
    all 0 (no rows, or the gradients of one class) must be met exactly.
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
class Check:
    """What was checked, on which backend and in which dtype, and the worst error.

    The error is in units of its bound: more than 1 is wrong.
    """

    name: str
    backend: str
    dtype: str
    error: float

    @property
    def passed(self) -> bool:
        return self.error <= 1


SIZES = (Size(1, 1, 2), Size(37, 17, 3, h=3), Size(230, 785, 10, h=2))
FEATURE_DTYPES = ("float64", "float32", "float16", "uint8")
# Results have the bits of float32 (tests/kernels/features/test_narrow_features.py). To save the
# time that their kernels take to compile, the cases that are drawn (random.py) have none of these.
AS_FLOAT32 = ("int8", "bfloat16")
READS_FEATURES = ("linear_forward", "linear_backward", "predict", "evaluate", "gradient", "train")
TAKES_A_LOSS = ("surface_forward", "evaluate", "gradient", "train")


def check(backend: str) -> Iterator[Check]:
    """Check every op on every dtype it reads, with every loss it takes, then every gradient."""
    features = (*FEATURE_DTYPES, *filter(_is_there, AS_FLOAT32))
    for op in cases.OPS:
        for dtype in features if op in READS_FEATURES else FEATURE_DTYPES[:2]:
            for loss in LOSSES if op in TAKES_A_LOSS else (None,):
                name = op if loss is None else f"{op} {loss}"
                yield Check(name, backend, dtype, _worst_error(op, dtype, loss, backend))
    for case in gradients.all_cases(Size(7, 5, 4)):
        error = gradients.error(case.found(backend), case.truth) / gradients.TOLERANCE
        yield Check(f"complex step: {case.name}", backend, "float64", error)


def _is_there(dtype: str) -> bool:
    """Whether NumPy knows this dtype: bfloat16 once ml_dtypes is imported, if it is installed."""
    try:
        return dtype != "bfloat16" or bfloat16().name == dtype
    except TypeError:
        return False


def _worst_error(op: str, dtype: str, loss: str | None, backend: str) -> float:
    """Over SIZES, in units of its bound."""
    errors = [0.0]
    for size in SIZES:
        positional, options = cases.OPS[op].arguments(size, dtype, 0)
        if loss is not None:
            options = {**options, "loss": loss}
        arguments = positional, options
        errors += ratios(run(op, arguments, backend), *truth_and_bounds(op, arguments))
    return max(errors)
