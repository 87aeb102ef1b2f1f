"""Only results within bounds of the oracle's, in float64, are timed.

The bounds of an op are those of `softstep check` (`kernels/verify/bounds.py`). For softmax and
cross-entropy, which the other libraries compute in plain float32, they are those of plain float32.
After an epoch of training the weights and the loss are bounded: see `after_an_epoch`.
"""

import functools
from collections.abc import Callable

import numpy as np

from softstep import kernels
from softstep.kernels.losses import GCE_Q
from softstep.kernels.verify import bounds, parity
from softstep.kernels.verify.bounds import Array
from softstep.kernels.verify.cases import Arguments, run
from softstep.kernels.verify.parity import ORACLE, Results

Judge = Callable[[Results], tuple[float, bool]]  # results -> error, whether they are right
Reference = tuple[Results, Results]  # the truth, and how far off results may be

PLAIN: dict[str, Callable[..., Results]] = {
    "softmax_forward": bounds.plain_softmax_forward,
    "cross_entropy_forward": bounds.plain_cross_entropy_forward,
}
DEVIATIONS = 6  # standard deviations of a sum of independent roundings
FLIPS = 1e-3  # of the rows counted right while training: rounding may decide a near tie

# Of each loss with c classes: at least ‖∂dv/∂v‖, and at least ‖dv‖.
CURVATURES: dict[str, Callable[[int], float]] = {
    "mse": lambda c: 2.5 / c,
    "cross_entropy": lambda c: 0.5,
    "gce": lambda c: 0.5,
}
STEEPEST: dict[str, Callable[[int], float]] = {
    "mse": lambda c: 2**0.5 / c,
    "cross_entropy": lambda c: 2**0.5,
    # √2 p^q (1 - p) is largest at p = q/(1 + q)
    "gce": lambda c: 2**0.5 * GCE_Q**GCE_Q / (1 + GCE_Q) ** (1 + GCE_Q),
}


def of_op(op: str, arguments: Arguments) -> Judge:
    """The judge of the op's results.

    The error is the worst, relative to the largest entry; of an epoch, that of the loss after it.
    The oracle runs when the first results come.
    """
    if op == "train":
        return _of_epoch(arguments)
    reference = functools.cache(lambda: _reference(op, arguments))
    return lambda found: agreement(found, *reference())


def agreement(found: Results, truth: Results, bound: Results) -> tuple[float, bool]:
    """The worst error relative to the truth's largest entry; whether all are within the bounds.

    Where a bound is infinite, rounding decides, and no error counts. Results in fewer than 32 bits
    are not right.
    """
    errors, right = [0.0], len(found) == len(truth)
    for f, t, e in zip(found, truth, bound, strict=False):
        wide_enough = f.dtype.kind == t.dtype.kind and f.dtype.itemsize >= 4
        if f.shape != t.shape or not wide_enough:
            return float("inf"), False
        right &= parity.worst(f, t, e) <= 1
        difference = np.where(np.isinf(e), 0, np.abs(f - t))
        errors.append(float(difference.max(initial=0) / (np.abs(t).max(initial=0) or 1)))
    return float(np.max(errors)), right


def _reference(op: str, arguments: Arguments) -> Reference:
    if op not in PLAIN:
        return parity.truth_and_bounds(op, arguments)
    positional, options = wide = parity.wide(arguments)
    truth = run(op, wide, ORACLE)
    return truth, PLAIN[op](parity.arithmetic(arguments), *positional, **options)


# ---- an epoch


def _of_epoch(arguments: Arguments) -> Judge:
    """Judges the weights and the loss after an epoch. Results: W, b or losses, correct, W, b."""
    reference = functools.cache(lambda: after_an_epoch(arguments))

    def judge(found: Results) -> tuple[float, bool]:
        losses, correct, W, b, loss, weight_bound, loss_bound, row_bound = reference()
        *steps, W_found, b_found = found
        forms = [(f.shape, f.dtype) for f in (W_found, b_found)]
        kind = arguments[0][4].dtype
        if forms != [(W.shape, kind), (b.shape, kind)]:
            return float("inf"), False
        apart = np.sqrt(((W_found - W) ** 2).sum((1, 2)) + ((b_found - b) ** 2).sum(1))
        found_loss = loss_of(arguments, W_found, b_found)
        error, right = agreement((found_loss,), (loss,), (loss_bound,))
        right &= bool((apart <= weight_bound).all())  # NaN is not
        if steps:
            right &= agreement((steps[0],), (losses,), (row_bound + 0 * losses,))[1]
            right &= steps[1].shape == correct.shape and steps[1].dtype == correct.dtype
            right = right and bool(np.abs(steps[1] - correct).sum() <= FLIPS * correct.sum())
        return error, right

    return judge


def loss_of(arguments: Arguments, W: Array, b: Array) -> Array:
    """The mean loss over the rows, (h,), with weights W, b: by the oracle, in float64."""
    (X, y, *_), options = parity.wide(arguments)
    options = {key: options[key] for key in ("loss", "feature_scale")}
    W, b = W.astype(np.float64), b.astype(np.float64)
    loss: Array = kernels.evaluate(X, y, W, b, **options, backend=ORACLE)[0]
    return loss


def after_an_epoch(arguments: Arguments) -> tuple[Array, ...]:
    """losses, correct, W, b and the loss after the epoch, in float64, and three bounds (h,).

    A step's roundings move the weights of a head by about

        r = u (‖W‖ + α (ℓ √(d/B) R² ‖W‖ + (√B + √c + 8) R D)),

    u ‖W‖ by storing them; α times the error of the gradient: a logit, a sum of d products, is off
    by u √d ‖x‖ ‖W‖, the row's gradient by ℓ times that, of which the mean over B rows leaves 1/√B;
    and the row's own operations and the sum over B rows. R² is the mean of ‖x‖² + 1; ℓ ≥ ‖∂dv/∂v‖
    and D ≥ ‖dv‖ depend on the loss (CURVATURES, STEEPEST). Gradient descent at a stable rate takes
    two sets of weights no further apart, and the roundings of T steps are independent: the weights
    end within δ = 6 √T r of the exact ones. The loss after the epoch is then within
    ‖∇L‖ δ + ½ ℓ R² δ², and the loss of any step's batch within max ‖x‖ D δ and its own roundings.
    """
    a, positional, options = parity.arithmetic(arguments), *parity.wide(arguments)
    X, y, _, batch_size, W, b = positional
    losses, correct, W, b = run("train", (positional, options), ORACLE)
    n, (_, d, c) = len(X), W.shape
    # one step at rate 1 over all rows: the loss, and the gradient as the change of the weights
    whole = (X, y, np.arange(n), n, W, b), {**options, "learning_rate": 1.0}
    loss, _, W_next, b_next = run("train", whole, ORACLE)
    slope = _norm(W - W_next, b - b_next)
    losses_of_heads = np.broadcast_to(options["loss"], len(W)).tolist()
    curvature = np.array([CURVATURES[name](c) for name in losses_of_heads])
    steepest = np.array([STEEPEST[name](c) for name in losses_of_heads])
    squares = options["feature_scale"] ** 2 * np.einsum("ij,ij->i", X, X) + 1
    R2, size, rate = squares.mean(), _norm(W, b), options["learning_rate"]
    steps = len(losses)
    logits = curvature * (d / batch_size) ** 0.5 * R2 * size
    rows = (batch_size**0.5 + c**0.5 + 8) * R2**0.5 * steepest
    apart = DEVIATIONS * a.u * steps**0.5 * (size + rate * (logits + rows))
    of_loss = slope * apart + curvature * R2 * apart**2 / 2
    of_step = steepest * squares.max() ** 0.5 * apart + 64 * a.u * losses.max(axis=0)
    return losses, correct, W, b, loss[0], apart, of_loss, of_step


def _norm(W: Array, b: Array) -> Array:
    """Of each head's weights and bias, (h,)."""
    return np.sqrt((W**2).sum((1, 2)) + (b**2).sum(1))
