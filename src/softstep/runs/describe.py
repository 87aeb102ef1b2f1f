"""What a file or folder that softstep saved is, and how it came to be, as names and values."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from softstep.model import CheckpointError, SoftmaxRegression, checkpoint
from softstep.model.landscape import Line, Surface
from softstep.model.resume import store
from softstep.runs import record

SHOWN = 20  # of the entries of a list
LONGEST = 500  # characters of a value


@dataclass(frozen=True)
class About:
    """A title, and names with values to be shown below it."""

    title: str
    fields: list[tuple[str, str]]


def described(path: Path) -> list[About]:
    """What is at `path`: of a folder of checkpoints each of them, else one.

    Raises:
        OSError: it cannot be read.
        ValueError: softstep did not save it, or it is damaged.
    """
    if not path.is_dir():
        return [_file(path)]
    if (path / record.NAME).exists():
        return [_run(path)]
    found = store.files_in(path)
    if not found:
        raise ValueError(f"{path} has neither a {record.NAME} nor checkpoints")
    return [_checkpoint(file) for file in found]


def _file(path: Path) -> About:
    kind = checkpoint.kind_of(path)
    if not isinstance(kind, str) or kind not in READERS:
        raise CheckpointError(f"{path} was written in a format that is not known here: {kind!r}")
    return READERS[kind](path)


def _model(path: Path) -> About:
    model = SoftmaxRegression.load(path)
    c, d = model.coef_.shape
    fields = {
        "classes": model.classes_.tolist(),
        "features": model.learned_from_ or "not told",
        "feature_scale": model.feature_scale_,
        "columns": getattr(model, "feature_names_in_", np.array([])).tolist(),
        "epochs run": model.n_iter_,
        "loss": model.loss_curve_[-1].item() if len(model.loss_curve_) else "no epoch",
        "settings": model.get_params(),
        "origin": model.origin_ | {"seed": model.seed_},
    }
    title = f"{path}: a SoftmaxRegression of {d} features and {c} classes, {model.coef_.dtype}"
    return About(title, list(_flat(fields)))


def _surface(path: Path) -> About:
    found = Surface.load(path)
    names = ("directions", "loss_name", "rows", "explained_variance", "origin")
    size = f"{len(found.x)} x {len(found.y)} points"
    return _around(path, "the loss on a plane", size, {n: getattr(found, n) for n in names})


def _line(path: Path) -> About:
    found = Line.load(path)
    names = ("loss_name", "rows", "origin")
    size = f"{len(found.x)} points"
    return _around(path, "the loss on a line", size, {n: getattr(found, n) for n in names})


def _around(path: Path, what: str, size: str, fields: dict[str, Any]) -> About:
    return About(f"{path}: {what} through the weights of a model, {size}", list(_flat(fields)))


def _checkpoint(path: Path) -> About:
    arrays, about = checkpoint.load(path, store.FORMAT)
    heads = len(arrays["W"]) if "W" in arrays and arrays["W"].ndim == 3 else 0
    reached = {
        "epoch": arrays.get("epoch", "not told"),
        "steps in it": arrays.get("sums.steps", "not told"),
        "seconds": arrays.get("seconds", "not told"),
        "heads": heads or "not told",
        "bytes": sum(array.nbytes for array in arrays.values()),
    }
    estimator = about.get("estimator", "training")
    title = f"{path}: a checkpoint of a {estimator}, to be resumed with --resume or resume=True"
    return About(title, list(_flat(reached | about)))


def _run(folder: Path) -> About:
    about = record.read(folder)
    title = f"{folder}: a {about['command']} of {about['data']}"
    left_out = ("format", "command", "data", "parts")
    fields = {name: value for name, value in about.items() if name not in left_out}
    return About(title, list(_flat(fields)))


READERS = {
    checkpoint.FORMAT: _model,
    Surface.FORMAT: _surface,
    Line.FORMAT: _line,
    store.FORMAT: _checkpoint,
}


def _flat(values: dict[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """The values by name; those of a dict within by its name, a dot and theirs."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{before}{name}.")
        elif name == "command" and isinstance(value, list):
            yield before + name, _short(shlex.join(["softstep", *map(str, value)]))
        else:
            yield before + name, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if value is None or (isinstance(value, list | tuple | dict) and not value):
        return "none"
    if isinstance(value, list | tuple):
        more = f", … ({len(value)} in all)" if len(value) > SHOWN else ""
        return _short(", ".join(map(str, value[:SHOWN])) + more)
    return _short(str(value))


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"
