"""Directions in weight space: random, along the training path, or given.

A direction is a pair (dW, db) of the shapes of weights and bias, (d, c) and (c,), in float64.
"""

from typing import Any

import numpy as np

from softstep.model import inputs
from softstep.model.fitted import Fitted
from softstep.model.path import WeightPath
from softstep.model.regression import SoftmaxRegression

Array = np.ndarray
Direction = tuple[Array, Array]

PATH_REACH = 0.8  # of the way from the middle to the offset 1
PARALLEL = 1e-12  # sin² of the angle below which two directions are one, or a path is flat


def fitted_weights(model: Any) -> tuple[Array, Array]:
    """W (d, c) and b (c,) of a fitted model, float64.

    Raises:
        TypeError: not a SoftmaxRegression. NotFittedError: before `fit`.
    """
    if not isinstance(model, SoftmaxRegression):
        raise TypeError(f"model must be a SoftmaxRegression, not {type(model).__name__}")
    fitted = Fitted.of(model)
    return fitted.W.astype(np.float64), fitted.b.astype(np.float64)


def random_directions(W: Array, b: Array, count: int, seed: int, normalise: str | None) -> Any:
    """Standard normal directions; their bias is zero if the model's is.

    normalise: "filter" scales the part of each class, weights and bias, to the length of the same
        part in the model (Li, Xu, Taylor, Studer, Goldstein 2018, section 4); None: as drawn.
    """
    inputs.choice("normalise", normalise, ("filter", None))
    d, c = W.shape
    found = []
    for draws in np.random.default_rng((seed, 4)).standard_normal((count, d + 1, c)):
        if not b.any():
            draws[d] = 0
        if normalise == "filter":
            lengths = np.sqrt((W**2).sum(axis=0) + b**2)
            if not lengths.any():
                raise ValueError(
                    "the model's weights are all zero, and so are random directions of their "
                    "length: train it, or give normalise=None"
                )
            draws *= lengths / np.linalg.norm(draws, axis=0)
        found.append((draws[:d], draws[d]))
    return found


def principal_directions(path: WeightPath, W: Array, b: Array, count: int) -> Any:
    """The first principal components of the path, and their shares of its variance.

    They have the same length, chosen so that along each of them the path stays within ±0.8 of the
    model. Their signs are such that the path comes from the negative side of the first and bulges
    to the positive side of the second.

    Raises:
        ValueError: the path has fewer dimensions, or belongs to another model.
    """
    points = _from_the_model(path, W, b)
    centred = points - points.mean(axis=0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    if len(points) <= count or not sizes[count - 1] > PARALLEL**0.5 * sizes[0]:
        raise ValueError(
            f"the path's {len(points)} points do not reach into {count} dimensions: train longer, "
            "or take random directions"
        )
    offsets = points @ axes[:count].T
    signs = np.sign(offsets[np.abs(offsets).argmax(axis=0), np.arange(count)])
    signs[0] = -signs[0]
    scaled = axes[:count] * signs[:, None] * (np.abs(offsets).max() / PATH_REACH)
    shares = (sizes**2 / (sizes**2).sum())[:count]
    return [_pair(axis, W) for axis in scaled], tuple(shares.tolist())


def given_direction(name: str, value: Any, W: Array) -> Direction:
    """A direction as given, dW (d, c) alone or (dW, db), checked.

    Raises:
        TypeError, ValueError: of another shape, not finite, or all zero.
    """
    d, c = W.shape
    pair = value if isinstance(value, tuple) and len(value) == 2 else (value, np.zeros(c))
    parts = []
    for part, array, shape in zip(("dW", "db"), pair, ((d, c), (c,)), strict=True):
        try:
            array = np.asarray(array)
        except ValueError as error:  # lists of unequal length
            raise ValueError(f"{name} must be an array dW or a tuple (dW, db): {error}") from error
        if array.dtype.kind not in "iuf":
            raise TypeError(f"{name} must hold numbers, not {array.dtype}")
        if array.shape != shape:
            raise ValueError(
                f"{name} must be dW of shape {(d, c)}, or a pair (dW, db) with db of shape {(c,)}, "
                f"but its {part} has shape {array.shape}"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite")
        parts.append(array.astype(np.float64))
    if not (parts[0].any() or parts[1].any()):
        raise ValueError(f"{name} is zero throughout: it leads nowhere")
    return parts[0], parts[1]


def weight_direction(model: Any, feature: int, label: Any) -> Direction:
    """The direction in which only the weight of `feature` for the class `label` increases."""
    d, c = fitted_weights(model)[0].shape
    if np.ndim(label) != 0 or label is None:
        raise ValueError(f"label must be one label, not {label!r}")
    k = int(inputs.encode(np.atleast_1d(label), model.classes_, "label")[0])
    i = inputs.integer("feature", feature, least=0)
    if i >= d:
        raise ValueError(f"feature must be below {d}, not {i}")
    dW = np.zeros((d, c))
    dW[i, k] = 1
    return dW, np.zeros(c)


def refuse_parallel(D1: Direction, D2: Direction) -> None:
    """Raise ValueError if two directions do not span a plane."""
    units, lengths = _units([D1, D2])
    if not lengths.all():
        raise ValueError("a direction is zero throughout: it leads nowhere")
    if np.linalg.det(units @ units.T) <= PARALLEL:
        raise ValueError("the two directions are parallel: they span no plane")


def project(path: WeightPath, W: Array, b: Array, directions: list[Direction]) -> Array:
    """Offsets, (k, directions), of the points of the plane nearest to those of the path."""
    units, lengths = _units(directions)
    along = units @ _from_the_model(path, W, b).T
    return np.linalg.solve(units @ units.T, along).T / lengths


def steepest(D1: Direction, D2: Direction, slopes: Array) -> Array:
    """The direction in the plane of steepest ascent, (k, 2), from the slopes along D1 and D2.

    It is given as offsets; when drawn, it is perpendicular to the contours if D1 and D2 are
    orthogonal and of the same length, as principal components are.
    """
    units, lengths = _units([D1, D2])
    return np.linalg.solve(units @ units.T, (slopes / lengths).T).T / lengths


def angles(D1: Direction, D2: Direction, a: Array, b: Array) -> Array:
    """Angles in weight space, in degrees, between moves in the plane, given as offsets (k, 2)."""
    units, lengths = _units([D1, D2])
    gram, a, b = units @ units.T, a * lengths, b * lengths
    inner = [((u @ gram) * v).sum(axis=1) for u, v in ((a, b), (a, a), (b, b))]
    return np.degrees(np.arccos(np.clip(inner[0] / np.sqrt(inner[1] * inner[2]), -1, 1)))


def _units(directions: list[Direction]) -> tuple[Array, Array]:
    """The directions, flattened and of length 1, (k, d·c + c), and their lengths, (k,)."""
    flat = np.stack([_flat(*direction) for direction in directions])
    largest = np.abs(flat).max(axis=1)  # the squares of extreme lengths over- or underflow
    flat /= np.where(largest, largest, 1)[:, None]
    lengths = np.linalg.norm(flat, axis=1)
    return flat / np.where(lengths, lengths, 1)[:, None], largest * lengths


def _from_the_model(path: WeightPath, W: Array, b: Array) -> Array:
    """The difference of each point from the model, (k, d·c + c), float64."""
    if path.W.shape[1:] != W.shape:
        raise ValueError(
            f"the path is of weights {path.W.shape[1:]}, but the model's are {W.shape}"
        )
    return np.concatenate(
        [(path.W - W).reshape(len(path), -1), path.b - b], axis=1, dtype=np.float64
    )


def _flat(dW: Array, db: Array) -> Array:
    return np.concatenate([dW.ravel(), db])


def _pair(flat: Array, W: Array) -> Direction:
    d, c = W.shape
    return flat[: d * c].reshape(d, c), flat[d * c :]
