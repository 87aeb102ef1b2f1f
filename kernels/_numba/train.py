"""Minibatch gradient descent of a bank of heads, one compiled call for all steps it is given.

This file makes the job; train_few.py and train_many.py do it, in two ways with the same meaning.
"""

from collections import namedtuple

import numpy as np

from softstep.kernels._numba import layout, team
from softstep.kernels._numba.targets import split_sets
from softstep.kernels._numba.train_few import scratch_few, train_few
from softstep.kernels._numba.train_many import scratch_many, train_many
from softstep.kernels.threads import threads_for

# What a step needs. W, M and what else has columns is stored as layout.py says.
Job = namedtuple(
    "Job",
    "X scale labels soft order batch weights y_index w_index c is_mse "
    "W b M Mb rate l2 momentum l2_bias fit_bias keep active losses correct",
)


@np.errstate(over="ignore")  # settings beyond float32 become infinite
def train(
    X,
    y,
    order,
    batch_size,
    W,
    b,
    *,
    loss,
    learning_rate,
    l2=0.0,
    l2_bias=False,
    momentum=0.0,
    velocity=None,
    fit_bias=True,
    sample_weight=None,
    y_index=None,
    weight_index=None,
    feature_scale=1.0,
    active=None,
    columns=None,
):
    # X (n, d), y (t, n) or (n, c), order (m,), W (h, d, c), b (h, c) -> losses, correct (steps, h)
    h, d, c = W.shape
    losses = np.full(learning_rate.shape, np.nan)
    correct = np.zeros(learning_rate.shape, np.int64)
    if not losses.size:
        return losses, correct
    MW, Mb = velocity or (np.zeros_like(W), np.zeros_like(b))
    few = columns <= layout.FEW
    pack, unpack = (
        (layout.pack_few, layout.unpack_few) if few else (layout.pack_many, layout.unpack_many)
    )
    packed, momenta = pack(W), pack(MW)

    def per_column(values):
        """Values (h,) or (h, c) as the kind of kernel wants them."""
        return values if few else layout.spread(values, c, packed)

    bias, bias_momenta = per_column(b), per_column(Mb)
    labels, soft = split_sets(y)
    job = Job(
        layout.stored(X),
        feature_scale,
        labels,
        soft,
        order,
        batch_size,
        np.empty((0, 0), W.dtype) if sample_weight is None else sample_weight,
        y_index,
        weight_index,
        c,
        np.array(loss) == "mse",
        packed,
        bias,
        momenta,
        bias_momenta,
        learning_rate.astype(W.dtype),
        per_column(l2.astype(W.dtype)),
        per_column(momentum.astype(W.dtype)),
        l2_bias,
        fit_bias,
        velocity is not None or bool(momentum.any()),
        active,
        losses,
        correct,
    )
    flop = 4 * d * h * c
    threads = threads_for(flop * len(order), flop * batch_size)
    rows = min(batch_size, len(order))
    if few:
        scratch = scratch_few(threads, packed, c, rows, h)
        team.run(train_few, threads, job, scratch)
    else:
        scratch = scratch_many(threads, packed, c, rows, h)
        team.run(train_many, threads, job, scratch)
    unpack(packed, W)
    if job.keep:
        unpack(momenta, MW)
    if not few:
        b[:] = bias[: h * c].reshape(h, c)
        Mb[:] = bias_momenta[: h * c].reshape(h, c)
    return losses, correct
