"""THE interface: one function per op. The docstrings are the contract, the same on every backend.

Each op checks its arguments (`checks.py`), then hands them to the backend that runs (`backend.py`).
`n` rows, `d` features, `c` classes, `h` heads; V logits, P probabilities, `d<what>` = dL/d<what>.

Common to all ops:
    backend: "auto", "numpy", "numba" or "cupy"; None follows use_backend(), SOFTSTEP_BACKEND, auto.
    n_threads: at most so many threads of the numba backend; None follows SOFTSTEP_NUM_THREADS, then
        all cores of this process, as far as NUMBA_NUM_THREADS and OMP_NUM_THREADS allow. Results
        are the same bits for any number. NumPy's products have the threads of its BLAS.
    out: an array of the result's shape and dtype to write to. It may be one of the op's inputs, but
        not overlap one otherwise: that is a ValueError.
    Features X are float32, float64, float16, bfloat16, uint8 or int8 and are read as stored; the
    arithmetic is float64 for float64 features and float32 for all others. bfloat16 is that of
    ml_dtypes, or a tensor. Columns of a wider matrix, `X[:, a:b]`, are read where they are; what
    does not lie in rows is copied.
    linear_forward, predict, evaluate and train also take rows in compressed form, `CSR`, on the
    numpy and the numba backend, and then compute with those values alone that are stored. These ops
    and gradient take `Scaled` rows there too, which they scale as they read them.
    Arrays on an NVIDIA GPU stay there, also to be checked, and results come back on the device, and
    in the library, X came from; as CuPy arrays if that library has no `from_dlpack`. JAX makes
    float32 and int32 of 64-bit results unless `jax_enable_x64` is set. A GPU backend that was asked
    for takes NumPy arrays too.
    TypeError: wrong dtypes. ValueError: wrong shapes, labels out of range, unknown names.
    BackendError: a backend asked for by name that cannot run, or that does not compute a loss.
Non-finite values are let through. The accuracy each op keeps is in docs/numerics.md, the
derivation of each formula in docs/derivation.md.
"""

from typing import Any

import numpy as np

from softstep.kernels import checks
from softstep.kernels.arrays import to_caller
from softstep.kernels.backend import load
from softstep.kernels.bundles import Bank, Data, SGDSteps
from softstep.kernels.csr import CSR, settle
from softstep.kernels.errors import BackendError
from softstep.kernels.integers import ceil_div
from softstep.kernels.losses import LOSSES
from softstep.kernels.scaled import Scaled


def linear_forward(
    X: Any,
    W: Any,
    b: Any,
    *,
    feature_scale: float = 1.0,
    out: Any = None,
    backend: str | None = None,
    n_threads: int | None = None,
) -> Any:
    """Logits of one head: V = s X W + b, with s = feature_scale.

    Args:
        X: features, (n, d), or CSR, or Scaled.
        W, b: weights (d, c) and bias (c,), float64 for float64 features, else float32.
        feature_scale: multiplies the features, 1/255 for pixels.

    Returns:
        V, (n, c), in the dtype of W.

    Raises:
        TypeError, ValueError, BackendError: as all ops do.
    """
    ops = _reading(X, load(backend, n_threads, X=X, W=W, b=b, out=out))
    x = checks.features_of_any_form(X)
    W, b = checks.weights(W, b, x)
    target = checks.out_array(out, (len(x), len(b)), W.dtype, W, b, *checks.memory_of(x).values())
    V = ops.linear_forward(x, W, b, feature_scale=checks.scale(feature_scale), out=target)
    return to_caller(V, X, out)


def linear_backward(
    dV: Any,
    X: Any,
    *,
    feature_scale: float = 1.0,
    backend: str | None = None,
    n_threads: int | None = None,
) -> tuple[Any, Any]:
    """Gradients of the weights: dW = s Xᵀ dV, the outer products x ⊗ dv summed over the rows.

    Args:
        dV: gradient of the logits, (n, c), float64 for float64 features, else float32.
        X: features, (n, d).
        feature_scale: multiplies the features.

    Returns:
        dW (d, c) and db (c,) = the sum of dV over the rows, in the dtype of dV.

    Raises:
        TypeError, ValueError, BackendError: as all ops do.
    """
    ops = load(backend, n_threads, dV=dV, X=X)
    dv, x = checks.rows_by_classes("dV", dV), checks.features(X)
    if len(dv) != len(x):
        raise ValueError(f"dV has {len(dv)} rows, but X has {len(x)}")
    if dv.dtype != checks.compute_dtype(x):
        raise TypeError(
            f"dV is {dv.dtype}, but {x.dtype} features take a {checks.compute_dtype(x)} gradient"
        )
    dW, db = ops.linear_backward(dv, x, feature_scale=checks.scale(feature_scale))
    return to_caller(dW, X), to_caller(db, X)


def softmax_forward(
    V: Any, *, out: Any = None, backend: str | None = None, n_threads: int | None = None
) -> Any:
    """Probabilities of each row: p_i = e^{v_i} / Σ_j e^{v_j}, with the row's maximum taken off v.

    NaN, +inf or all -inf in a row make it NaN; -inf beside finite logits gives an exact 0; one
    class gives exactly 1.

    Args:
        V: logits, (n, c), float32 or float64.

    Returns:
        P, (n, c), in the dtype of V.

    Raises:
        TypeError, ValueError, BackendError: as all ops do.

    Examples:
        >>> softmax_forward(np.log([[1.0, 2.0, 5.0]])).round(6).tolist()
        [[0.125, 0.25, 0.625]]
    """
    ops = load(backend, n_threads, V=V, out=out)
    v = checks.rows_by_classes("V", V)
    target = checks.out_array(out, v.shape, v.dtype, v)
    return to_caller(ops.softmax_forward(v, out=target), V, out)


def softmax_backward(
    dP: Any, P: Any, *, out: Any = None, backend: str | None = None, n_threads: int | None = None
) -> Any:
    """Gradient of the logits through the softmax: dv_i = p_i (dp_i - Σ_j dp_j p_j).

    This is the product with the whole Jacobian ∂p_j/∂v_i = p_j (δ_ij - p_i), not its diagonal.

    Args:
        dP: gradient of the probabilities, (n, c), float32 or float64.
        P: probabilities, of the same form.

    Returns:
        dV, (n, c), in the dtype of P.

    Raises:
        TypeError, ValueError, BackendError: as all ops do.
    """
    ops = load(backend, n_threads, dP=dP, P=P, out=out)
    dp, p = checks.rows_by_classes("dP", dP), checks.rows_by_classes("P", P)
    checks.same_shape_and_dtype("dP", dp, "P", p)
    target = checks.out_array(out, p.shape, p.dtype, dp, p)
    return to_caller(ops.softmax_backward(dp, p, out=target), P, out)


def mse_forward(P: Any, Y: Any, *, backend: str | None = None, n_threads: int | None = None) -> Any:
    """Mean squared error of each row: L = (1/c) Σ_i (y_i - p_i)².

    Args:
        P: probabilities, (n, c), float32 or float64.
        Y: integer labels (n,), read as one-hot rows, or float targets (n, c).

    Returns:
        loss, (n,), in the dtype of P.

    Raises:
        TypeError, ValueError, BackendError: as all ops do.
    """
    ops = load(backend, n_threads, P=P, Y=Y)
    p = checks.rows_by_classes("P", P)
    return to_caller(ops.mse_forward(p, checks.targets("Y", Y, *p.shape)), P)


def mse_backward(
    P: Any, Y: Any, *, out: Any = None, backend: str | None = None, n_threads: int | None = None
) -> Any:
    """Gradient of the mean squared error: dp_i = (2/c)(p_i - y_i); (p_i - y_i)/5 for 10 classes.

    Args:
        P: probabilities, (n, c), float32 or float64.
        Y: integer labels (n,), read as one-hot rows, or float targets (n, c).

    Returns:
        dP, (n, c), in the dtype of P.

    Raises:
        TypeError, ValueError, BackendError: as all ops do.
    """
    ops = load(backend, n_threads, P=P, Y=Y, out=out)
    p = checks.rows_by_classes("P", P)
    y = checks.targets("Y", Y, *p.shape)
    target = checks.out_array(out, p.shape, p.dtype, p, y)
    return to_caller(ops.mse_backward(p, y, out=target), P, out)


def cross_entropy_forward(
    V: Any, y: Any, *, backend: str | None = None, n_threads: int | None = None
) -> Any:
    """Cross-entropy of each row, from its logits: L = log Σ_j e^{v_j} - v_y.

    Args:
        V: logits, (n, c), float32 or float64.
        y: integer labels (n,), or float targets (n, c), rows >= 0 that sum to 1, for which
            L = Σ_j y_j (log Σ_k e^{v_k} - v_j).

    Returns:
        loss, (n,), in natural units (nats), in the dtype of V.

    Raises:
        TypeError, ValueError, BackendError: as all ops do.
    """
    ops = load(backend, n_threads, V=V, y=y)
    v = checks.rows_by_classes("V", V)
    y = checks.targets("y", y, *v.shape, LOSSES["cross_entropy"])
    return to_caller(ops.cross_entropy_forward(v, y), V)


def cross_entropy_backward(
    V: Any, y: Any, *, out: Any = None, backend: str | None = None, n_threads: int | None = None
) -> Any:
    """Gradient of the cross-entropy: dv = p - y, with p_y - 1 computed as -Σ_{j≠y} p_j.

    Args:
        V: logits, (n, c), float32 or float64.
        y: integer labels (n,), or float targets (n, c), rows >= 0 that sum to 1.

    Returns:
        dV, (n, c), in the dtype of V.

    Raises:
        TypeError, ValueError, BackendError: as all ops do.
    """
    ops = load(backend, n_threads, V=V, y=y, out=out)
    v = checks.rows_by_classes("V", V)
    y = checks.targets("y", y, *v.shape, LOSSES["cross_entropy"])
    target = checks.out_array(out, v.shape, v.dtype, v, y)
    return to_caller(ops.cross_entropy_backward(v, y, out=target), V, out)


def softmax_mse_backward(
    V: Any, y: Any, *, out: Any = None, backend: str | None = None, n_threads: int | None = None
) -> Any:
    """Gradient of MSE through softmax: dv_i = p_i Σ_j p_j (g_i - g_j), with g = (2/c)(p - y).

    The same as softmax_backward(mse_backward(P, y), P), without the cancellation in g_i - g·p.

    Args:
        V: logits, (n, c), float32 or float64.
        y: integer labels (n,), or float targets (n, c).

    Returns:
        dV, (n, c), in the dtype of V.

    Raises:
        TypeError, ValueError, BackendError: as all ops do.
    """
    ops = load(backend, n_threads, V=V, y=y, out=out)
    v = checks.rows_by_classes("V", V)
    y = checks.targets("y", y, *v.shape)
    target = checks.out_array(out, v.shape, v.dtype, v, y)
    return to_caller(ops.softmax_mse_backward(v, y, out=target), V, out)


def gce_forward(V: Any, y: Any, *, backend: str | None = None, n_threads: int | None = None) -> Any:
    """Generalised cross-entropy of each row, from its logits: L = (1 - p_y^q)/q with q = 0.7.

    Zhang and Sabuncu, Generalized cross entropy loss for training deep neural networks with noisy
    labels, NeurIPS 2018, equation 6. Computed as -expm1(-q CE)/q, which keeps the figures of sure
    rows.

    Args:
        V: logits, (n, c), float32 or float64.
        y: integer labels (n,). The loss is not defined for soft targets.

    Returns:
        loss, (n,), in [0, 1/q], in the dtype of V.

    Raises:
        TypeError, ValueError, BackendError: as all ops do.
    """
    ops = load(backend, n_threads, V=V, y=y)
    v = checks.rows_by_classes("V", V)
    y = checks.targets("y", y, *v.shape, LOSSES["gce"])
    return to_caller(ops.gce_forward(v, y), V)


def gce_backward(
    V: Any, y: Any, *, out: Any = None, backend: str | None = None, n_threads: int | None = None
) -> Any:
    """Gradient of the generalised cross-entropy: dv = p_y^q (p - y), q = 0.7.

    Args:
        V: logits, (n, c), float32 or float64.
        y: integer labels (n,).

    Returns:
        dV, (n, c), in the dtype of V.

    Raises:
        TypeError, ValueError, BackendError: as all ops do.
    """
    ops = load(backend, n_threads, V=V, y=y, out=out)
    v = checks.rows_by_classes("V", V)
    y = checks.targets("y", y, *v.shape, LOSSES["gce"])
    target = checks.out_array(out, v.shape, v.dtype, v, y)
    return to_caller(ops.gce_backward(v, y, out=target), V, out)


def predict(
    X: Any,
    W: Any,
    b: Any,
    *,
    feature_scale: float = 1.0,
    backend: str | None = None,
    n_threads: int | None = None,
) -> Any:
    """The class with the largest logit of each row; the first of equals, the first NaN before all.

    Holds the logits of one block of rows at a time, never all (n, h·c).

    Args:
        X: features, (n, d), or CSR, or Scaled.
        W, b: one head, (d, c) and (c,), or a bank, (h, d, c) and (h, c).
        feature_scale: multiplies the features.

    Returns:
        Labels, int64: (n,) for one head, (h, n) for a bank.

    Raises:
        TypeError, ValueError, BackendError: as all ops do.
    """
    ops = _reading(X, load(backend, n_threads, X=X, W=W, b=b))
    x = checks.features_of_any_form(X)
    single = np.ndim(W) == 2
    W, b = checks.bank(W, b, x)
    found = ops.predict(x, W, b, feature_scale=checks.scale(feature_scale))
    return to_caller(found[0] if single else found, X)


def evaluate(
    X: Any,
    y: Any,
    W: Any,
    b: Any,
    *,
    loss: Any,
    sample_weight: Any = None,
    y_index: Any = None,
    weight_index: Any = None,
    feature_scale: float = 1.0,
    backend: str | None = None,
    n_threads: int | None = None,
) -> tuple[Any, Any]:
    """Mean loss and accuracy of each head: Σ_r w_r L_r / Σ_r w_r, and the same of "is right".

    Holds the logits of one block of rows at a time, never all (n, h·c). With soft targets a row is
    right when the largest logit is where the largest target is. No rows, or no weight: NaN.

    Args:
        X: features, (n, d), or CSR, or Scaled.
        y: integer labels, (n,), or (t, n) for t label sets; or float targets (n, c).
        W, b: a bank, (h, d, c) and (h, c), or one head, (d, c) and (c,).
        loss: "mse", "cross_entropy" or "gce", one for all heads or one for each.
        sample_weight: weights of the rows, (n,), or (s, n) for s weight sets.
        y_index, weight_index: (h,), which label set and which weight set each head uses.
        feature_scale: multiplies the features.

    Returns:
        loss (h,) and accuracy (h,), float64.

    Raises:
        TypeError, ValueError, BackendError: as all ops do.
    """
    ops = _reading(X, load(backend, n_threads, X=X, y=y, W=W, b=b, sample_weight=sample_weight))
    x = checks.features_of_any_form(X)
    W, b = checks.bank(W, b, x)
    heads = Bank(W=W, b=b, loss=checks.bank_losses(loss, len(W)))
    data = _data(x, y, heads, sample_weight, y_index, weight_index, feature_scale)
    mean_loss, accuracy = ops.evaluate(data, heads)
    return to_caller(mean_loss, X), to_caller(accuracy, X)


def gradient(
    X: Any,
    y: Any,
    W: Any,
    b: Any,
    *,
    loss: Any,
    sample_weight: Any = None,
    y_index: Any = None,
    weight_index: Any = None,
    feature_scale: float = 1.0,
    backend: str | None = None,
    n_threads: int | None = None,
) -> tuple[Any, Any, Any]:
    """Loss and gradient of each head: Σ_r w_r L_r, Σ_r w_r x_r ⊗ dv_r and Σ_r w_r dv_r.

    They are sums over the rows, without l2, so that those of blocks of rows add up. The arithmetic
    of a row is that of `train`; a few hundred rows at a time are summed in it, and those partial
    sums in float64, so that many rows lose no figures. A head gets the same bits whichever heads
    are beside it. Holds the logits of one block of rows at a time, never all (n, h·c). A head with
    a logit that is not finite gets NaN in all three. No rows: 0.

    Args:
        X: features, (n, d), or Scaled.
        y: integer labels, (n,), or (t, n) for t label sets; or float targets (n, c).
        W, b: a bank, (h, d, c) and (h, c), or one head, (d, c) and (c,). Of float64 they may be for
            features of any dtype, which are then widened as they are read: all is in float64.
        loss: "mse", "cross_entropy" or "gce", one for all heads or one for each.
        sample_weight: weights of the rows, (n,), or (s, n) for s weight sets.
        y_index, weight_index: (h,), which label set and which weight set each head uses.
        feature_scale: multiplies the features.

    Returns:
        loss (h,), dW (h, d, c) and db (h, c), float64.

    Raises:
        TypeError, ValueError, BackendError: as all ops do.
    """
    ops = load(backend, n_threads, X=X, y=y, W=W, b=b, sample_weight=sample_weight)
    ops, x = _reading(X, ops), checks.features_or_scaled(X)
    W, b = checks.bank(W, b, x, may_be_wider=True)
    heads = Bank(W=W, b=b, loss=checks.bank_losses(loss, len(W)))
    data = _data(x, y, heads, sample_weight, y_index, weight_index, feature_scale)
    total, dW, db = ops.gradient(data, heads)
    return to_caller(total, X), to_caller(dW, X), to_caller(db, X)


def surface_forward(
    V0: Any,
    V1: Any,
    V2: Any,
    y: Any,
    x_offsets: Any,
    y_offsets: Any,
    *,
    loss: str,
    sample_weight: Any = None,
    backend: str | None = None,
    n_threads: int | None = None,
) -> tuple[Any, Any]:
    """Sums of loss and hits over the rows at every point of a grid: V = V0 + x V1 + y V2.

    The logits are affine in the weights, so those at W + x D1 + y D2 are V0 + x X D1 + y X D2, with
    V0 those at W. Never holds (n, ny, nx) of anything. Sums over blocks of rows add up to those of
    all rows. A row with a NaN or an infinity in V0, V1 or V2 makes every loss NaN and is no hit;
    where differences of finite logits overflow, losses may be NaN.

    Args:
        V0, V1, V2: logits at the middle, and what a step of 1 in each direction adds: (n, c),
            float32 or float64.
        y: integer labels, (n,).
        x_offsets, y_offsets: (nx,) and (ny,) finite numbers; rounded to the dtype of V0.
        loss: "mse", "cross_entropy" or "gce".
        sample_weight: weights of the rows, (n,).

    Returns:
        Σ_r w_r L_r and Σ_r w_r [the largest logit of row r is at its label], both (ny, nx) float64.

    Raises:
        TypeError, ValueError, BackendError: as all ops do.
    """
    ops = load(backend, n_threads, V0=V0, V1=V1, V2=V2, y=y, sample_weight=sample_weight)
    v0 = checks.rows_by_classes("V0", V0)
    others = [checks.rows_by_classes(name, V) for name, V in (("V1", V1), ("V2", V2))]
    for name, v in zip(("V1", "V2"), others, strict=True):
        checks.same_shape_and_dtype(name, v, "V0", v0)
    labels = checks.targets("y", y, *v0.shape)
    if labels.ndim != 1:
        raise ValueError(f"y must be labels of shape (n,), but its shape is {labels.shape}")
    (row_loss,) = checks.bank_losses(loss, 1)
    weights = checks.row_weights(sample_weight, len(v0), v0.dtype)
    if weights is not None and len(weights) > 1:
        raise ValueError(f"sample_weight has shape {weights.shape}: one weight set only")
    losses, hits = ops.surface_forward(
        v0,
        *others,
        labels,
        checks.offsets("x_offsets", x_offsets),
        checks.offsets("y_offsets", y_offsets),
        loss=row_loss,
        sample_weight=None if weights is None else weights[0],
    )
    return to_caller(losses, V0), to_caller(hits, V0)


def train(
    X: Any,
    y: Any,
    order: Any,
    batch_size: int,
    W: Any,
    b: Any,
    *,
    loss: Any,
    learning_rate: Any,
    l2: Any = 0.0,
    l2_bias: bool = False,
    momentum: Any = 0.0,
    velocity: Any = None,
    fit_bias: bool = True,
    sample_weight: Any = None,
    y_index: Any = None,
    weight_index: Any = None,
    feature_scale: float = 1.0,
    active: Any = None,
    columns: int | None = None,
    decay: Any = None,
    backend: str | None = None,
    n_threads: int | None = None,
) -> tuple[Any, Any]:
    """Minibatch gradient descent of a bank of heads over the rows in `order`; updates W and b.

    Each step takes the next `batch_size` rows (the last step what is left) and for each head:
        dW = (1/rows in this batch) Σ_r w_r x_r ⊗ dv_r,   g = dW + l2·W,
        M ← momentum·M + g,   W ← W - learning_rate·M,
    the bias alike, with l2 only if `l2_bias`. A head whose logits turn non-finite is cleared in
    `active` and keeps its weights from before that step. What is updated must not overlap another
    array that is given: that is a ValueError. Calls on consecutive whole-batch slices of `order`
    give the same bits as one call (with momentum: hand on `velocity`; with l2 on CSR: `decay`).

    On CSR a step writes the weights of the features that occur in its batch, and no others: what
    l2 takes off all of them is one factor for each head. There is no momentum then, and where
    weights are infinite a feature that does not occur counts nothing.

    Args:
        X: features, (n, d), or CSR, or Scaled.
        y: integer labels, (n,), or (t, n) for t label sets; or float targets (n, c).
        order: row numbers in the order they are visited, (m,), each in [0, n).
        batch_size: rows per step.
        W, b: the bank, (h, d, c) and (h, c), float64 for float64 features, else float32.
        loss: "mse", "cross_entropy" or "gce", one for all heads or one for each.
        learning_rate: a number, (h,), or (steps, h) for a schedule.
        l2, momentum: a number or (h,).
        l2_bias: whether l2 acts on the bias too.
        velocity: (MW, Mb) of the forms of W and b, updated in place; None starts at zero.
        fit_bias: False leaves b as it is.
        sample_weight: weights of the rows, (n,), or (s, n) for s weight sets; used as given.
        y_index, weight_index: (h,), which label set and which weight set each head uses.
        feature_scale: multiplies the features.
        active: (h,) bool, updated in place; heads that are False are left alone.
        columns: choose between a backend's kinds of kernel as for a bank of so many columns; None:
            as for this one, h·c. A head gets the same bits in all banks of one kind, so a bank that
            loses heads on the way keeps its kind by giving the columns it began with.
        decay: for CSR, (h,) float64, updated in place: the weights of head k are decay[k] W[k],
            before and after. None: they are W, which takes the factors in at the end.

    Returns:
        losses, (steps, h) float64: (1/rows) Σ_r w_r L_r before the update, without the l2 term; NaN
        for a head that is not active. correct, (steps, h) int64: rows of non-zero weight whose
        largest logit is at the label, before the update; 0 for a head that is not active.

    Raises:
        TypeError, ValueError, BackendError: as all ops do.
    """
    ops = load(
        backend,
        n_threads,
        X=X,
        y=y,
        order=order,
        W=W,
        b=b,
        sample_weight=sample_weight,
        active=active,
    )
    given = (W, b, active, *(velocity if isinstance(velocity, tuple | list) else ()))
    ops, x = _reading(X, ops), checks.features_of_any_form(X)
    W, b = checks.bank_in_place(W, b, x)
    h, _, c = W.shape
    heads = Bank(W=W, b=b, loss=checks.bank_losses(loss, h))
    order = checks.row_order(order, len(x))
    batch_size = min(checks.positive_integer("batch_size", batch_size), max(len(order), 1))
    data = _data(x, y, heads, sample_weight, y_index, weight_index, feature_scale)
    momentum = checks.setting("momentum", momentum, (h,))
    steps = SGDSteps(
        order=order,
        batch_size=batch_size,
        learning_rate=checks.setting(
            "learning_rate", learning_rate, (ceil_div(len(order), batch_size), h)
        ),
        l2=checks.setting("l2", l2, (h,)),
        l2_bias=checks.flag("l2_bias", l2_bias),
        momentum=momentum,
        velocity=checks.velocities(velocity, W, b),
        fit_bias=checks.flag("fit_bias", fit_bias),
        active=checks.active_heads(active, h),
        columns=h * c if columns is None else checks.positive_integer("columns", columns),
        decay=checks.decays(decay, x, momentum, velocity),
    )
    checks.apart(data, heads, steps)
    losses, correct = ops.train(data, heads, steps)
    if decay is None and steps.decay is not None:
        settle(W, steps.decay)
    return to_caller(losses, X, *given), to_caller(correct, X)


def _data(
    X: Any,
    y: Any,
    heads: Bank,
    sample_weight: Any,
    y_index: Any,
    weight_index: Any,
    feature_scale: Any,
) -> Data:
    """What the heads learn from, checked; X has been."""
    h, _, c = heads.W.shape
    targets = checks.label_sets(y, len(X), c, *heads.loss)
    label_sets = len(targets) if targets.dtype.kind == "i" else 1
    weights = checks.row_weights(sample_weight, len(X), heads.W.dtype)
    weight_sets = 1 if weights is None else len(weights)
    return Data(
        X=X,
        y=targets,
        sample_weight=weights,
        y_index=checks.set_index("y_index", y_index, h, label_sets),
        weight_index=checks.set_index("weight_index", weight_index, h, weight_sets),
        feature_scale=checks.scale(feature_scale),
    )


def _reading(X: Any, ops: Any) -> Any:
    """Where the backend `ops` has the ops for rows of this form.

    Raises:
        BackendError: X is CSR, or Scaled, which it does not read.
    """
    for kind, reads in ((CSR, hasattr(ops, "sparse")), (Scaled, hasattr(ops, "READS_SCALED"))):
        if isinstance(X, kind) and not reads:
            name, cure = ops.__name__.rpartition("._")[2], "give dense rows, or use another"
            raise BackendError(f"the {name} backend does not read {kind.__name__}: {cure}")
    return ops.sparse if isinstance(X, CSR) else ops
