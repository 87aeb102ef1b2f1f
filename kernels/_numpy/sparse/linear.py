"""The linear layer on CSR: V = s X W + b, from the values that are stored."""

import numpy as np

from softstep.kernels._numpy.linear import scaled

BLOCK_ROWS = 1024


@np.errstate(all="ignore")
def linear_forward(X, W, b, *, feature_scale=1.0, out=None):
    # X CSR (n, d), W (d, c), b (c,) -> V (n, c)
    V = np.empty((len(X), len(b)), W.dtype)
    for start in range(0, len(X), BLOCK_ROWS):
        rows = np.arange(start, min(start + BLOCK_ROWS, len(X)))
        row, feature, x = entries(X, rows, feature_scale)
        V[rows] = sums(row, x[:, None] * W[feature], len(rows)) + b
    if out is None:
        return V
    out[:] = V
    return out


def entries(X, rows, feature_scale):
    # X CSR (n, d), rows (r,) -> of each value that they store: its row, counted from 0, its feature
    # and s x, (m,) each
    spans = [np.arange(X.indptr[r], X.indptr[r + 1]) for r in rows]
    at = np.concatenate(spans)
    row = np.repeat(np.arange(len(rows)), [len(span) for span in spans])
    return row, X.indices[at], scaled(X.data[at], feature_scale)


def sums(row, values, count):
    # row (m,), ascending, values (m, c) -> (count, c): the sum of the values of each row
    total = np.zeros((count, values.shape[1]), values.dtype)
    there, first = np.unique(row, return_index=True)
    if len(there):
        total[there] = np.add.reduceat(values, first, axis=0)
    return total
