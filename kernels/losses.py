"""THE table of losses. Whoever needs to know something about a loss asks its row.

    cross_entropy  L = -log p_y              dv = p - y
    mse            L = (1/c) Σ_i (y_i - p_i)²  dv = the softmax Jacobian times (2/c)(p - y)
    gce            L = (1 - p_y^q)/q, q = 0.7  dv = p_y^q (p - y)

"gce" is the generalised cross-entropy of Zhang and Sabuncu (NeurIPS 2018): q → 0 is cross-entropy,
q = 1 the mean absolute error, and between them wrong labels pull less than with cross-entropy. Like
it, gce has one value for each 1 - p_y, so with labels it is a function of the cross-entropy alone:
L = -expm1(-q CE)/q.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import numpy as np

from softstep.kernels.errors import BackendError

GCE_Q = 0.7


class Targets(Enum):
    """Which targets a loss takes; integer labels always."""

    LABELS = auto()  # and nothing else
    DISTRIBUTIONS = auto()  # also soft targets, rows >= 0 that sum to 1
    NUMBERS = auto()  # also any rows of finite numbers


@dataclass(frozen=True)
class Loss:
    """A row of the table.

    name: what users write. code: how compiled kernels know it.
    forward: the op for the loss of each row, which takes `forward_input`: logits "V" or
        probabilities "P". backward: the op for dV from the logits.
    targets: what it can learn from.
    title, axis: what texts and axes call it, `axis` with its unit. meaning: what it measures.
    formula: in mathtext. formula_text: in plain text, powers as in e^(v); what stands after `Σ_i`
        is the term of one class.
    gradient_text: the gradient with respect to `forward_input`.
    is_convex: in the logits, and so in the weights.
    """

    name: str
    code: int
    forward: str
    forward_input: str
    backward: str
    targets: Targets
    title: str
    axis: str
    meaning: str
    formula: str
    formula_text: str
    gradient_text: str
    is_convex: bool

    @property
    def input_backward(self) -> str:
        """The op for the gradient with respect to `forward_input`: of logits it is `backward`."""
        return self.forward.removesuffix("_forward") + "_backward"


LOSSES = {
    loss.name: loss
    for loss in (
        Loss(
            name="mse",
            code=0,
            forward="mse_forward",
            forward_input="P",
            backward="softmax_mse_backward",
            targets=Targets.NUMBERS,
            title="MSE",
            axis="MSE",
            meaning="how far the probabilities are from the target",
            formula=r"L = \frac{1}{c}\,\sum_i\,(y_i - p_i)^2",
            formula_text="L = (1/c) Σ_i (y_i − p_i)²",
            gradient_text="dp_i = ∂L/∂p_i = (2/c) (p_i − y_i)",
            is_convex=False,
        ),
        Loss(
            name="cross_entropy",
            code=1,
            forward="cross_entropy_forward",
            forward_input="V",
            backward="cross_entropy_backward",
            targets=Targets.DISTRIBUTIONS,
            title="cross-entropy",
            axis="cross-entropy (nats)",
            meaning="how surprising the right class is",
            formula=r"L = -\log\,p_y",
            formula_text="L = −log p_y = log Σ_j e^(v_j) − v_y",
            gradient_text="dv_i = ∂L/∂v_i = p_i − y_i",
            is_convex=True,
        ),
        Loss(
            name="gce",
            code=2,
            forward="gce_forward",
            forward_input="V",
            backward="gce_backward",
            targets=Targets.LABELS,
            title="generalised cross-entropy",
            axis="generalised cross-entropy",
            meaning="how surprising the right class is, up to a limit",
            formula=rf"L = (1 - p_y^{{{GCE_Q}}})\,/\,{GCE_Q}",
            formula_text="L = (1 − p_y^(0.7)) / 0.7",
            gradient_text="dv_i = ∂L/∂v_i = p_y^(0.7) (p_i − y_i)",
            is_convex=False,
        ),
    )
}


def find(name: object) -> Loss:
    """The loss called `name`.

    Raises:
        ValueError: there is none.
    """
    loss = LOSSES.get(name) if isinstance(name, str) else None
    if loss is None:
        raise ValueError(f"unknown loss {name!r}: choose one of {', '.join(LOSSES)}")
    return loss


def codes(
    losses: Iterable[Loss], computed: Collection[str], backend: str
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The codes of these losses, (h,), for a backend that computes those named in `computed`.

    Raises:
        BackendError: the backend does not compute one of them.
    """
    losses = tuple(losses)
    for loss in losses:
        if loss.name not in computed or LOSSES[loss.name].code != loss.code:
            raise BackendError(f"the {backend} backend does not compute the loss {loss.name!r}")
    return np.array([loss.code for loss in losses], np.uint8)
