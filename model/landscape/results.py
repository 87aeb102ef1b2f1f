"""The loss around a model's weights: `Surface` on a plane, `Line` on a line."""

import abc
from dataclasses import dataclass
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np

from softstep.kernels.losses import LOSSES
from softstep.model import checkpoint, inputs
from softstep.model.landscape.directions import Array, Direction, refuse_parallel


class Saved(abc.ABC):
    """`save` and `load` for a dataclass of arrays, directions and JSON values.

    SHAPES: for each array in the file a letter per axis; equal letters stand for equal lengths.
    """

    FORMAT: ClassVar[str]
    SHAPES: ClassVar[dict[str, str]]

    @abc.abstractmethod
    def check(self) -> None:
        """Raise ValueError if the values are inconsistent, as in a damaged file."""

    def save(self, path: str | PathLike[str]) -> None:
        """Write it to `path` as an .npz file without pickles, whole or not at all."""
        arrays, settings = {}, {}
        for name, value in vars(self).items():
            if f"{name}.W" in self.SHAPES:
                arrays[f"{name}.W"], arrays[f"{name}.b"] = value
            elif name in self.SHAPES and value is not None:
                arrays[name] = value
            else:
                settings[name] = value
        checkpoint.save(path, arrays, settings, self.FORMAT)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """What `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            CheckpointError: the file is of another kind, or its arrays are inconsistent.
        """
        arrays, settings = checkpoint.load(path, cls.FORMAT)
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        try:
            _refuse_damage({name: (arrays[name], cls.SHAPES[name]) for name in arrays})
            for D in [name.removesuffix(".W") for name in arrays if name.endswith(".W")]:
                values[D] = arrays.pop(f"{D}.W"), arrays.pop(f"{D}.b")
            found = cls(**arrays, **values)
            found.check()
        except (KeyError, TypeError, ValueError) as error:
            raise checkpoint.CheckpointError(
                f"{path} is not a {cls.__name__.lower()}, or damaged"
            ) from error
        return found


def _refuse_damage(arrays: dict[str, tuple[Array, str]]) -> None:
    """Raise ValueError where an array has other axes, two lengths of one axis differ, or something
    in it is no finite number."""
    lengths = {"2": 2}
    for name, (array, axes) in arrays.items():
        if array.dtype.kind not in "iuf" or not array.size or not np.isfinite(array).all():
            raise ValueError(f"{name} must hold finite numbers")
        for axis, length in zip(axes, array.shape, strict=True):
            if lengths.setdefault(axis, length) != length:
                raise ValueError(f"{name} has shape {array.shape}")


def _refuse_others(offsets: tuple[Array, ...], loss_name: Any, rows: Any, origin: Any) -> None:
    """Raise ValueError for offsets that do not rise, another loss, no number of rows, no origin."""
    if not all((np.diff(at) > 0).all() and len(at) > 1 for at in offsets):
        raise ValueError("the offsets must rise")
    inputs.choice("loss_name", loss_name, LOSSES)
    inputs.integer("rows", rows, least=1)
    if not isinstance(origin, dict | None):
        raise ValueError("its origin is not a JSON object")


@dataclass(frozen=True, eq=False)
class Surface(Saved):
    """The loss on a plane through the weights of a model.

    Attributes:
        x, y: the offsets, (steps,) each, from -span to span.
        loss, accuracy: (steps, steps); [i, j] is at W + x[j] D1 + y[i] D2.
        D1, D2: the directions, pairs (dW, db) of shapes (d, c) and (c,).
        directions: what they are: "random", "pca" or "given".
        loss_name: of the table of losses.
        rows: how many rows the figures are means over.
        explained_variance: the shares of D1 and D2 in the variance of the path; only with "pca".
        path: (k, 2), the offsets of the path's points, each moved to the nearest point of the
            plane, with the loss there, path_loss (k,), and the step, path_steps (k,); None without.
        origin: how it came to be, as `SoftmaxRegression.origin_`; its seed is that of random
            directions.
    """

    FORMAT: ClassVar[str] = "softstep surface 1"
    SHAPES: ClassVar[dict[str, str]] = {
        "x": "s",
        "y": "s",
        "loss": "ss",
        "accuracy": "ss",
        "D1.W": "dc",
        "D1.b": "c",
        "D2.W": "dc",
        "D2.b": "c",
        "path": "k2",
        "path_loss": "k",
        "path_steps": "k",
    }

    x: Array
    y: Array
    loss: Array
    accuracy: Array
    D1: Direction
    D2: Direction
    directions: str
    loss_name: str
    rows: int
    explained_variance: tuple[float, float] | None = None
    path: Any = None
    path_loss: Any = None
    path_steps: Any = None
    origin: Any = None

    def check(self) -> None:
        """Raise ValueError if the values are inconsistent, as in a damaged file."""
        _refuse_others((self.x, self.y), self.loss_name, self.rows, self.origin)
        inputs.choice("directions", self.directions, ("random", "pca", "given"))
        refuse_parallel(self.D1, self.D2)
        shares = self.explained_variance
        if (shares is None) == (self.directions == "pca"):
            raise ValueError("principal components have shares in the variance, others have none")
        if shares is not None and [type(share) for share in shares] != [float, float]:
            raise ValueError("there must be two shares in the variance")
        if shares is not None and self.path is None:
            raise ValueError("principal components are those of a path")
        if len({part is None for part in (self.path, self.path_loss, self.path_steps)}) != 1:
            raise ValueError("the path must have a loss and a step for each point")


@dataclass(frozen=True, eq=False)
class Line(Saved):
    """The loss on a line through the weights of a model.

    Attributes:
        x: the offsets, (steps,), from -span to span.
        loss, accuracy, slope: (steps,), at W + x D; the slope is dL/dx.
        D: the direction, a pair (dW, db).
        loss_name: of the table of losses.
        rows: how many rows the figures are means over.
        origin: as of a `Surface`.
    """

    FORMAT: ClassVar[str] = "softstep line 1"
    SHAPES: ClassVar[dict[str, str]] = {
        "x": "x",
        "loss": "x",
        "accuracy": "x",
        "slope": "x",
        "D.W": "dc",
        "D.b": "c",
    }

    x: Array
    loss: Array
    accuracy: Array
    slope: Array
    D: Direction
    loss_name: str
    rows: int
    origin: Any = None

    def check(self) -> None:
        """Raise ValueError if the values are inconsistent, as in a damaged file."""
        _refuse_others((self.x,), self.loss_name, self.rows, self.origin)
