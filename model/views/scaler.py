"""How rows are scaled before a model sees them: to unit length, then columns to mean 0, variance 1.

    u = s x, or s x / ‖s x‖         ũ = (u - μ) / σ

Weights W̃, b̃ of scaled rows and W, b of u are the same model where W = W̃/σ, b = b̃ - Wᵀμ.
"""

from dataclasses import dataclass

import numpy as np

from softstep.kernels.checks import Array

SCALINGS = (None, "standard", "l2", "l2+standard")


@dataclass(frozen=True, eq=False)
class Scaler:
    """unit: whether rows are brought to unit length; rows of zeros stay.

    mean, scale: μ and σ, (d,) float64; None: columns stay. σ is 0 for a constant column, of which
    all scaled values, and the weights of u, are 0.
    """

    unit: bool
    mean: Array | None = None
    scale: Array | None = None

    @property
    def scaling(self) -> str:
        """The setting that it is of."""
        if self.mean is None:
            return "l2"
        return "l2+standard" if self.unit else "standard"

    @property
    def is_finite(self) -> bool:
        return self.scale is None or bool(np.isfinite(self.scale).all())

    @property
    def inverse(self) -> Array:
        """1/σ, and 0 for constant columns."""
        assert self.scale is not None
        constant = self.scale == 0
        return np.where(constant, 0.0, 1 / np.where(constant, 1.0, self.scale))

    def apply(self, x: Array) -> Array:
        """Scale the rows s x, (r, d) float32 or float64, in place.

        In float32 the mean is taken off in two parts, so that none of its figures is lost.
        """
        if self.unit:
            x /= lengths(x)[:, None].astype(x.dtype)
        if self.mean is not None:
            high = self.mean.astype(x.dtype)
            rest = (high - self.mean) * self.inverse
            x -= high
            x *= self.inverse.astype(x.dtype)
            if rest.any():
                x += rest.astype(x.dtype)
        return x

    def folded(self, W: Array, b: Array) -> tuple[Array, Array]:
        """The weights W (d, c), b (c,) of u, from those of scaled rows, in their dtype."""
        if self.mean is None:
            return W, b
        raw = W * self.inverse[:, None]
        return raw.astype(W.dtype), (b - self.mean @ raw).astype(b.dtype)

    def unfolded(self, W: Array, b: Array) -> tuple[Array, Array]:
        """Back: the weights of scaled rows, from those of u, in their dtype."""
        if self.mean is None or self.scale is None:
            return W, b
        shifted = b + self.mean @ W.astype(np.float64)
        return (W * self.scale[:, None]).astype(W.dtype), shifted.astype(b.dtype)


def lengths(x: Array) -> Array:
    """‖x‖ of each row, 1 for rows of zeros; (r,) float64."""
    found = np.sqrt(np.einsum("rd,rd->r", x, x, dtype=np.float64))
    found[found == 0] = 1
    return found


class Moments:
    """Sums of w, w u and w u² about the first row, for some sets of row weights, from which each
    μ and σ follows. The bits of one set do not depend on the others."""

    def __init__(self, sets: int) -> None:
        self.weight, self.origin = np.zeros(sets), np.zeros(0)
        self.first, self.second = np.zeros((2, sets, 0))

    def add(self, u: Array, weights: list[Array | None]) -> None:
        """Add a chunk of rows u (r, d); weights: (r,) of each set, None: 1 each."""
        if not self.origin.size:
            self.origin = u[0].astype(np.float64)
            self.first, self.second = np.zeros((2, len(self.weight), u.shape[1]))
        away = np.subtract(u, self.origin, dtype=np.float64)
        squares = away * away
        for k, given in enumerate(weights):
            w = np.ones(len(u)) if given is None else given.astype(np.float64)
            self.weight[k] += w.sum()
            self.first[k] += w @ away
            self.second[k] += w @ squares

    def scalers(self, unit: bool, *, centers: bool, n: int) -> list[Scaler]:
        """One of each set. centers: whether the mean is taken off. n: rows, by which rounding is
        told from a variance."""
        found = []
        for weight, first, second in zip(self.weight, self.first, self.second, strict=True):
            mean, square = first / weight, second / weight
            variance = square - mean**2
            variance[variance <= n * np.finfo(np.float64).eps * square] = 0
            mean = self.origin + mean if centers else np.zeros(len(mean))
            found.append(Scaler(unit, mean, np.sqrt(variance)))
        return found
