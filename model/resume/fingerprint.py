"""What makes two runs the same: version, backend, settings, seed and rows, as text by field."""

import hashlib
from typing import Any

import numpy as np

from softstep.kernels.arrays import is_on_gpu, to_host
from softstep.kernels.backend import choose
from softstep.model.archive import Array

SAMPLE = 1000  # rows of features that are looked at: there may be 100 GB of them
IRRELEVANT = ("n_threads", "backend", "random_state")  # to the bits, or told by other fields


def about(model: Any, seed: int, data: Any, held_out: Any, **more: Any) -> dict[str, str]:
    """The fields of a run of an estimator.

    data, held_out: `trainer.Rows`, `held_out` None if there are none. more: settings in another
    form than the estimator has them.
    """
    from softstep import __version__

    settings = {n: v for n, v in model.get_params().items() if n not in IRRELEVANT} | more
    backend, _ = choose(model.backend, on_gpu=is_on_gpu(data.X))
    fields = {
        "estimator": type(model).__name__,
        "version": __version__,
        "numpy": np.__version__,
        "backend": backend.name,
        **{name: _said(value) for name, value in settings.items()},
        "seed": str(seed),
        **_of_rows(data, ""),
    }
    return fields if held_out is None else fields | _of_rows(held_out, "_val")


def _said(value: Any) -> str:
    """A setting as text; of an object with a state of its own, its type."""
    if isinstance(value, np.generic):
        value = value.item()
    plain = value is None or isinstance(value, bool | int | float | str | dict | list)
    return repr(value) if plain else type(value).__name__


def _of_rows(data: Any, suffix: str) -> dict[str, str]:
    """Shape, dtype and a sample of the features; all targets and weights."""
    sample = np.arange(len(data.X))
    if len(sample) > SAMPLE:
        sample = np.sort(np.random.default_rng(0).choice(len(sample), SAMPLE, replace=False))
    fields = {
        f"X{suffix}.shape": str(tuple(data.X.shape)),
        f"X{suffix}.dtype": str(data.X.dtype),
        f"X{suffix}.rows": _hash(to_host(data.X[sample])),
        f"X{suffix}.feature_scale": repr(data.feature_scale),
        f"y{suffix}.shape": str(tuple(data.y.shape)),
        f"y{suffix}.values": _hash(to_host(data.y)),
    }
    weights = data.sample_weight
    fields[f"weights{suffix}.values"] = "None" if weights is None else _hash(to_host(weights))
    return fields


def _hash(array: Array) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).view(np.uint8).data).hexdigest()
