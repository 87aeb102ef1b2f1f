"""The loss around a model's weights: on a plane, on a line, and how steep it is there.

At W + x D1 + y D2 the logits of a row are V0 + x V1 + y V2: three products for each block of rows
serve the whole grid (`kernels.surface_forward`). All figures are means over the rows given,
training or test rows, without the l2 term and without weights of rows or classes.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from softstep import kernels
from softstep.kernels import losses
from softstep.kernels.arrays import to_device_of, to_host
from softstep.kernels.backend import to_backend
from softstep.model import inputs
from softstep.model.fitted import Fitted
from softstep.model.landscape.directions import (
    Array,
    Direction,
    fitted_weights,
    given_direction,
    principal_directions,
    project,
    random_directions,
    refuse_parallel,
)
from softstep.model.landscape.results import Line, Surface
from softstep.model.path import WeightPath
from softstep.model.regression import SoftmaxRegression
from softstep.model.resume import Clock, of_rows, origin_of
from softstep.model.trainer import Rows

__all__ = ["Line", "Surface", "loss_line", "loss_surface", "plane_slopes"]

BLOCK_VALUES, BLOCK_ROWS = 1 << 21, 8192  # logits of a block of rows, and rows, at most

Callback = Callable[[int, int], Any]


def loss_surface(
    model: SoftmaxRegression,
    X: Any,
    y: Any,
    directions: Any = "random",
    span: float = 1.0,
    steps: int = 51,
    normalise: str | None = "filter",
    *,
    path: WeightPath | None = None,
    random_state: int = 0,
    callback: Callback | None = None,
) -> Surface:
    """Loss and accuracy of `model` on a grid in a plane through its weights.

    Holds the logits of one block of rows at a time.

    Args:
        model: a fitted SoftmaxRegression; its loss, its backend and its threads are used.
        X, y: the rows, (n, d), and their labels (n,).
        directions: "random"; "pca", the principal components of `path`; or a pair (D1, D2), each an
            array dW (d, c) or a tuple (dW, db), such as `weight_direction` gives.
        span: the offsets go from -span to span.
        steps: the number of offsets in each direction.
        normalise: for random directions: "filter" gives each class's part the length of that
            class's weights and bias; None leaves them as drawn.
        path: the WeightPath of the model's training, to be projected on the plane; the path of
            another model of the same shape may be given too.
        random_state: seed of random directions.
        callback: called after each block of rows with the number of rows done and in total.

    Returns:
        A `Surface`.

    Raises:
        TypeError, ValueError: an argument is not as described.
        NotFittedError: before `fit`. BackendError: the model's backend cannot run.
    """
    W, b = fitted_weights(model)
    path = _path_of(path)
    offsets = _offsets(span, steps)
    shares, name = None, directions if isinstance(directions, str) else "given"
    if name == "given":
        pair = _two(directions)
        D1, D2 = (given_direction(f"D{k}", D, W) for k, D in enumerate(pair, 1))
        refuse_parallel(D1, D2)
    else:
        (D1, D2), shares = _named(name, W, b, 2, normalise, path, random_state)
    points = np.empty((0, 2)) if path is None else project(path, W, b, [D1, D2])
    data, clock = _rows(model, X, y), Clock()
    sums, on_path = np.zeros((2, steps, steps)), np.zeros(len(points))
    for V, codes in _blocks(model, data, (D1, D2), callback):
        sums += _sums(model, V, codes, offsets, offsets)
        for k, (p, q) in enumerate(points):
            on_path[k] += _sums(model, V, codes, [p], [q])[0, 0, 0]
    _refuse_overflow(sums[0], offsets)
    _refuse_overflow(on_path, points)
    rows = len(data.y)
    surface = Surface(
        x=offsets,
        y=offsets.copy(),
        loss=sums[0] / rows,
        accuracy=sums[1] / rows,
        D1=D1,
        D2=D2,
        directions=name,
        loss_name=model.loss,
        rows=rows,
        explained_variance=shares,
        origin=_origin(model, data, name, random_state, clock),
    )
    if path is None:
        return surface
    return replace(surface, path=points, path_loss=on_path / rows, path_steps=path.steps)


def loss_line(
    model: SoftmaxRegression,
    X: Any,
    y: Any,
    direction: Any = "random",
    span: float = 1.0,
    steps: int = 51,
    normalise: str | None = "filter",
    *,
    path: WeightPath | None = None,
    random_state: int = 0,
    callback: Callback | None = None,
) -> Line:
    """The loss, the accuracy and the slope of the loss along one direction.

    The slope is the exact directional derivative, Σ_r dv_r · (x_r D) / n with the gradient dv of
    the logits from the kernels, not a finite difference.

    Args:
        direction: "random"; "pca", the first principal component of `path`; or dW (d, c), or a
            tuple (dW, db). path: for "pca" only. The others are those of `loss_surface`.

    Returns:
        A `Line`.

    Raises as `loss_surface`.
    """
    W, b = fitted_weights(model)
    offsets = _offsets(span, steps)
    path = _path_of(path)
    if isinstance(direction, str):
        (D,), _ = _named(direction, W, b, 1, normalise, path, random_state)
    else:
        D = given_direction("direction", direction, W)
    data, clock = _rows(model, X, y), Clock()
    sums, slopes = np.zeros((2, 1, steps)), np.zeros((steps, 1))
    for V, codes in _blocks(model, data, (D,), callback):
        sums += _sums(model, [*V, V[1]], codes, offsets, [0.0])  # a plane with one offset, 0
        slopes += _slopes(model, V, codes, offsets[:, None])
    _refuse_overflow(sums[0], offsets)
    rows = len(data.y)
    loss, accuracy = sums[:, 0] / rows
    came = _origin(model, data, direction, random_state, clock)
    return Line(offsets, loss, accuracy, slopes[:, 0] / rows, D, model.loss, rows, came)


def plane_slopes(model: SoftmaxRegression, X: Any, y: Any, surface: Surface, points: Any) -> Array:
    """The derivatives of the loss along D1 and D2, (k, 2), at the points (k, 2) of a plane.

    Args:
        points: offsets (x, y), such as those of `surface.path`. The others are those of
            `loss_surface`, and its result.

    Raises:
        TypeError: no `Surface`. ValueError: points of another form. Others as `loss_surface`.
    """
    fitted_weights(model)
    if not isinstance(surface, Surface):
        raise TypeError(f"surface must be a Surface, not {type(surface).__name__}")
    at = np.asarray(points, dtype=np.float64)
    if at.ndim != 2 or at.shape[1] != 2 or not np.isfinite(at).all():
        raise ValueError(f"points must be finite offsets of shape (k, 2), not {at.shape}")
    sums, data = np.zeros(at.shape), _rows(model, X, y)
    for V, codes in _blocks(model, data, (surface.D1, surface.D2), None):
        sums += _slopes(model, V, codes, at)
    _refuse_overflow(sums, at)
    return sums / len(data.y)


def _path_of(path: Any) -> WeightPath | None:
    if not isinstance(path, WeightPath | None):
        raise TypeError(f"path must be a WeightPath, not {path!r}")
    if path is not None and not len(path):
        raise ValueError("the path is empty: give it to fit first")
    return path


def _offsets(span: Any, steps: Any) -> Array:
    span = inputs.number("span", span, above=0)
    steps = inputs.integer("steps", steps, least=2)
    return span * np.linspace(-1, 1, steps)


def _refuse_overflow(figures: Array, offsets: Array) -> None:
    if not np.isfinite(figures).all():
        most = np.abs(offsets).max(initial=0)
        raise ValueError(f"the loss overflows at offsets up to {most:g}: take smaller ones")


def _two(directions: Any) -> tuple[Any, Any]:
    if not isinstance(directions, tuple | list | np.ndarray) or len(directions) != 2:
        raise ValueError('directions must be "random", "pca" or a pair (D1, D2)')
    return directions[0], directions[1]


def _named(name, W, b, count, normalise, path, random_state):
    """The first `count` directions of that name, and their shares of the variance, or None."""
    inputs.choice("directions", name, ("random", "pca"))
    if name == "random":
        seed = inputs.integer("random_state", random_state, least=0)
        return random_directions(W, b, count, seed, normalise), None
    if path is None:
        raise ValueError(
            '"pca" needs the path of the training: fit(X, y, path=path), then path=path'
        )
    return principal_directions(path, W, b, count)


def _rows(model: SoftmaxRegression, X: Any, y: Any) -> Rows:
    """The rows as `model` reads them, with the codes of their labels."""
    fitted = Fitted.of(model)
    inputs.warn_of_other_rows(X, {"y": y})
    X, scale = fitted.features(X)
    codes = inputs.encode(inputs.label_values(y, len(X)), fitted.classes)
    return Rows(X, codes, None, scale)


def _origin(
    model: SoftmaxRegression, data: Rows, directions: Any, random_state: int, clock: Clock
) -> dict[str, Any]:
    drawn = isinstance(directions, str) and directions == "random"
    seed = int(random_state) if drawn else None
    return origin_of(model, data.X, seed=seed, data=of_rows(data), seconds=clock.seconds())


def _blocks(
    model: SoftmaxRegression,
    data: Rows,
    directions: tuple[Direction, ...],
    callback: Callback | None,
) -> Iterator[tuple[list[Any], Array]]:
    """For each block of rows its logits, what each direction adds to them, and its labels' codes.

    The logits are in the memory in which the backend computes.
    """
    X, codes, scale = data.X, data.y, data.feature_scale
    W, b = Fitted.of(model).weights(X)
    pairs = [(W, b), *(_narrowed(D, W.dtype) for D in directions)]
    count = max(1, min(BLOCK_ROWS, BLOCK_VALUES // len(b)))
    for start in range(0, len(X), count):
        x = to_backend(X[start : start + count], model.backend)
        logits = [
            kernels.linear_forward(
                x, *pair, feature_scale=scale, backend=model.backend, n_threads=model.n_threads
            )
            for pair in pairs
        ]
        yield logits, codes[start : start + count]
        if callback is not None:
            callback(min(start + count, len(X)), len(X))


@np.errstate(over="ignore", under="ignore")
def _narrowed(direction: Direction, dtype: Any) -> Direction:
    """The direction in the dtype of the logits; ValueError if that cannot represent it."""
    dW, db = (part.astype(dtype) for part in direction)
    if not (np.isfinite(dW).all() and np.isfinite(db).all() and (dW.any() or db.any())):
        raise ValueError(f"a direction is too long or too short for {dtype}")
    return dW, db


def _sums(model: SoftmaxRegression, V: list[Any], codes: Array, x: Any, y: Any) -> Array:
    """Sums of loss and hits over the rows of a block, (2, len(y), len(x))."""
    V0, V1, V2 = V
    figures = kernels.surface_forward(
        V0, V1, V2, codes, x, y, loss=model.loss, backend=model.backend, n_threads=model.n_threads
    )
    return np.stack([to_host(figure) for figure in figures])


@np.errstate(over="ignore", invalid="ignore")  # `_refuse_overflow` sees it
def _slopes(model: SoftmaxRegression, V: list[Any], codes: Array, points: Array) -> Array:
    """Sums over the rows of a block of the loss's derivative in each direction, (k, directions)."""
    backward = getattr(kernels, losses.find(model.loss).backward)
    start, *steps = (to_host(v) for v in V)
    found = np.empty(points.shape)
    for k, point in enumerate(points):
        logits = start.copy()
        for offset, step in zip(point, steps, strict=True):
            logits += logits.dtype.type(offset) * step
        dV = backward(
            to_device_of(logits, V[0]), codes, backend=model.backend, n_threads=model.n_threads
        )
        dv = to_host(dV).astype(np.float64)
        found[k] = [(dv * step).sum() for step in steps]
    return found
