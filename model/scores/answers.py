"""What some heads say of some rows, in the forms that scores need, each computed at most once."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from softstep import kernels
from softstep.kernels.checks import Array
from softstep.kernels.losses import find


@dataclass(frozen=True)
class Answers:
    """What g heads say of r rows.

    logits: (r, g, c). y: labels (r, g), or soft targets (r, c). loss: that of all these heads.
    backend, n_threads: of the ops.
    """

    logits: Array
    y: Array
    loss: str
    backend: str | None = None
    n_threads: int | None = None

    @cached_property
    def probabilities(self) -> Array:
        """(r, g, c), as `predict_proba` gives them."""
        V = self._rows(self.logits)
        P: Array = kernels.softmax_forward(V, backend=self.backend, n_threads=self.n_threads)
        return P.reshape(self.logits.shape)

    @cached_property
    def predictions(self) -> Array:
        """(r, g), the class of the largest logit."""
        labels: Array = self.logits.argmax(axis=2)
        return labels

    @property
    def cross_entropy(self) -> Array:
        """(r, g), of the logits, so that it is exact however small a probability is."""
        return self._lost("cross_entropy")

    @property
    def losses(self) -> Array:
        """(r, g), what the heads' own loss is."""
        return self._lost(self.loss)

    @property
    def labels(self) -> Array:
        """(r, g); of soft targets the most probable class."""
        if self.y.dtype.kind != "f":
            return self.y
        best = self.y.argmax(axis=1)[:, None]
        return np.broadcast_to(best, self.logits.shape[:2])

    @property
    def targets(self) -> Array:
        """Labels (r, g), or soft targets (r, 1, c)."""
        return self.y[:, None] if self.y.dtype.kind == "f" else self.y

    def _lost(self, name: str) -> Array:
        loss = find(name)
        of = self.logits if loss.forward_input == "V" else self.probabilities
        y = self.y.ravel()
        if self.y.dtype.kind == "f":
            y = self._rows(np.broadcast_to(self.y[:, None], self.logits.shape))
        forward = getattr(kernels, loss.forward)
        lost: Array = forward(self._rows(of), y, backend=self.backend, n_threads=self.n_threads)
        return lost.reshape(self.logits.shape[:2])

    def _rows(self, values: Array) -> Array:
        """(r, g, c) -> (r·g, c)"""
        return np.ascontiguousarray(values).reshape(-1, values.shape[2])
