"""What makes two runs the same: version, backend, settings, seed and rows, as text by field."""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from softstep.kernels import processor
from softstep.kernels.arrays import is_on_gpu, to_host
from softstep.kernels.backend import choose
from softstep.model.archive import Array
from softstep.model.inputs.sharded import ShardedRows
from softstep.model.inputs.sparse import SparseRows
from softstep.model.resume.origin import versions

SAMPLE = 256  # rows of features that are looked at: there may be 100 GB of them
RUN = 16  # of them at a time: a view, also of an array on a GPU
KINDS = ("sample", "whole")  # of fingerprints
READ_AT_ONCE = 1 << 24  # bytes of features, where all are looked at
IRRELEVANT = ("n_threads", "backend", "random_state")  # to the bits, or told by other fields
INSTRUCTIONS = "processor"  # the field of which another value is told, not refused


def about(model: Any, seed: int, X: Any, rows: dict[str, str], **more: Any) -> dict[str, str]:
    """The fields of a run of an estimator on features X.

    rows: the fingerprints of its rows. more: settings in another form than the estimator has them.
    """
    settings = {n: v for n, v in model.get_params().items() if n not in IRRELEVANT} | more
    backend, _ = choose(model.backend, on_gpu=is_on_gpu(X))
    installed = versions()
    return {
        "estimator": type(model).__name__,
        "version": installed["softstep"],
        "numpy": installed["numpy"],
        **{name: v for name, v in installed.items() if name.startswith(backend.name)},
        "backend": backend.name,
        INSTRUCTIONS: ", ".join(processor.features()),
        **{name: _said(value) for name, value in settings.items()},
        "seed": str(seed),
        **rows,
    }


def _said(value: Any) -> str:
    """A setting as text; of an array its digest, of an object with a state of its own its type."""
    return repr(_plain(value))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return dict(sorted((repr(_plain(name)), _plain(of)) for name, of in value.items()))
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, np.ndarray) and value.dtype != object:
        return f"{value.dtype} {value.shape} {_hash(value)}"
    if isinstance(value, np.generic):
        value = value.item()
    known = value is None or isinstance(value, bool | int | float | str)
    return value if known else type(value).__name__


def of_rows(data: Any, kind: str = "sample", suffix: str = "") -> dict[str, str]:
    """The fingerprint of `data`, `trainer.Rows`: all targets and weights, and of the features
    shape, dtype, and some rows ("sample") or all ("whole"). suffix: of the names of its fields."""
    fields = {
        f"fingerprint{suffix}": kind,
        f"X{suffix}.shape": str(tuple(data.X.shape)),
        f"X{suffix}.dtype": _kind_of(data.X),
        f"X{suffix}.rows": _digest(data.X, kind),
        f"X{suffix}.feature_scale": repr(data.feature_scale),
        f"y{suffix}.shape": str(tuple(data.y.shape)),
        f"y{suffix}.values": _hash(data.y),
    }
    weights = data.sample_weight
    fields[f"weights{suffix}.values"] = "None" if weights is None else _hash(weights)
    return fields


def are_others(X: Any, fields: dict[str, str]) -> bool:
    """Whether these features are known to be others than those of a fingerprint. Of the same
    numbers stored in another way nothing is known."""
    is_alike = [str(tuple(X.shape)), _kind_of(X)] == [fields["X.shape"], fields["X.dtype"]]
    return is_alike and _digest(X, fields["fingerprint"]) != fields["X.rows"]


def _kind_of(X: Any) -> str:
    return f"{X.dtype}, sparse" if _are_sparse(X) else str(X.dtype)


def _are_sparse(X: Any) -> bool:
    return isinstance(X, SparseRows) or (isinstance(X, ShardedRows) and X.are_sparse)


def _digest(X: Any, kind: str) -> str:
    return _sample(X) if kind == "sample" else _whole(X)


def _sample(X: Any) -> str:
    if len(X) <= SAMPLE:
        return _whole(X)
    runs = np.random.default_rng(0).choice(len(X) // RUN, SAMPLE // RUN, replace=False)
    return _hash(X, (slice(RUN * run, RUN * (run + 1)) for run in np.sort(runs).tolist()))


def _whole(X: Any) -> str:
    count = max(1, READ_AT_ONCE // max(1, X.dtype.itemsize * X.shape[1]))
    return _hash(X, (slice(start, start + count) for start in range(0, len(X), count)))


def _hash(X: Any, parts: Iterable[Any] = (...,)) -> str:
    """Of these parts; of sparse rows, of what they store."""
    digest = hashlib.sha256()
    for part in parts:
        for found in X.stored(part) if _are_sparse(X) else (X[part],):
            array: Array = np.ascontiguousarray(to_host(found))
            digest.update(array.view(np.uint8).data)
    return digest.hexdigest()
