"""The losses as the fused ops need them: of rows of logits, by their row in the table of losses."""

from softstep.kernels._numpy.cross_entropy import cross_entropy_backward, cross_entropy_forward
from softstep.kernels._numpy.gce import gce_backward, gce_forward
from softstep.kernels._numpy.mse import mse_backward, mse_forward
from softstep.kernels._numpy.softmax import softmax_backward, softmax_forward
from softstep.kernels.losses import codes


def _mse_of_logits(V, y):
    return mse_forward(softmax_forward(V), y)


def _mse_gradient(V, y):
    # as a textbook has it: the loss by the probabilities, then through the softmax's Jacobian
    P = softmax_forward(V)
    return softmax_backward(mse_backward(P, y), P)


_FORWARD = {
    "mse": _mse_of_logits,
    "cross_entropy": cross_entropy_forward,
    "gce": gce_forward,
}
_BACKWARD = {
    "mse": _mse_gradient,
    "cross_entropy": cross_entropy_backward,
    "gce": gce_backward,
}


def require(losses):
    """BackendError for a loss that is not computed here."""
    codes(losses, _FORWARD.keys() & _BACKWARD.keys(), "numpy")


def row_losses(V, y, loss):
    # V (n, c), y (n,) or (n, c) -> (n,)
    return _FORWARD[loss.name](V, y)


def logit_gradients(V, y, loss):
    # V (n, c), y (n,) or (n, c) -> dV (n, c)
    return _BACKWARD[loss.name](V, y)


def right_rows(V, y):
    # V (n, c), y (n,) or (n, c) -> (n,) bool
    return V.argmax(axis=1) == (y if y.ndim == 1 else y.argmax(axis=1))
