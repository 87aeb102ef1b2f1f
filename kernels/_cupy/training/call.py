"""A call of `train` as its kernels see it: what they are given, and how they are compiled."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.kernels._cupy.arrays import asarray, rows, zeros
from softstep.kernels._cupy.evaluate import targets_of_heads
from softstep.kernels._cupy.launch import Struct, scalar
from softstep.kernels._cupy.linear import x_kind
from softstep.kernels._cupy.losses import DEFINES
from softstep.kernels._cupy.training.shapes import THREADS, row_lanes, steps_take_tensor_cores
from softstep.kernels.arrays import row_length


def types_of(dtype):
    """How the kernels are compiled for features of this dtype."""
    real = "double" if dtype == np.float64 else "float"
    return {"REAL": real, "X_KIND": x_kind(dtype), "THREADS": THREADS, **DEFINES}


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call of `train`.

    types: how all kernels are compiled; row_types: what those that work on rows take besides.
    features, dtype: of X, of the arithmetic. total_rows: of all steps; batch: of a step, at most
    all there are. d, h, c: features, heads, classes. job: what all are given (struct Job).
    """

    types: dict[str, Any]
    row_types: dict[str, Any]
    features: np.dtype[Any]
    dtype: np.dtype[Any]
    total_rows: int
    batch: int
    d: int
    h: int
    c: int
    steps: int
    job: Struct

    def takes_tensor_cores(self, count):
        """Whether steps of so many rows do."""
        return steps_take_tensor_cores(self.features, count, self.d, self.c)


def call_of(data, bank, steps, weights, velocity, results):
    """The call, with its data on the device."""
    (h, d, c), dtype = bank.W.shape, bank.W.dtype
    batch = min(steps.batch_size, len(steps.order))
    targets, is_soft = targets_of_heads(data, bank)
    (W, b), (MW, Mb), X = weights, velocity, rows(data.X)
    job = Struct(
        features={
            "X": X,
            "d": np.int64(d),
            "stride": np.int64(row_length(X)),
            "scale": scalar(data.feature_scale, dtype),
        },
        batches={
            "order": asarray(steps.order),
            "m": np.int64(len(steps.order)),
            "size": np.int64(batch),
        },
        targets=targets,
        bank={"W": W, "b": b, "MW": MW, "Mb": Mb, "h": np.int64(h), "c": np.int64(c)},
        settings=_settings(steps, dtype),
        results=results,
    )
    return Call(
        types=types_of(data.X.dtype),
        features=np.dtype(data.X.dtype),
        row_types={"Y_SOFT": is_soft, "ROW_LANES": row_lanes(c)},
        dtype=dtype,
        total_rows=len(steps.order),
        batch=batch,
        d=d,
        h=h,
        c=c,
        steps=len(steps.learning_rate),
        job=job,
    )


def velocity_of(steps, bank):
    """(MW, Mb) on the device, or a pair of None where no head needs them."""
    if steps.velocity is not None:
        return tuple(map(asarray, steps.velocity))
    if not steps.momentum.any():
        return None, None
    return zeros(bank.W.shape, bank.W.dtype), zeros(bank.b.shape, bank.b.dtype)


def _settings(steps, dtype):
    """The fields of struct Settings, in the dtype of the arithmetic."""

    def on_device(values):
        with np.errstate(over="ignore"):  # what float32 does not hold is infinite
            return asarray(values.astype(dtype))

    return {
        "learning_rate": on_device(steps.learning_rate),
        "l2": on_device(steps.l2),
        "momentum": on_device(steps.momentum),
        "l2_bias": np.bool_(steps.l2_bias),
        "fit_bias": np.bool_(steps.fit_bias),
    }
