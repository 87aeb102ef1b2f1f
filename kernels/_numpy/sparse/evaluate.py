"""What trained heads do on CSR: as ../evaluate.py, with the linear layer of linear.py."""

from softstep.kernels._numpy.evaluate import figures_by, labels_by
from softstep.kernels._numpy.sparse.linear import linear_forward


def predict(X, W, b, *, feature_scale=1.0):
    # X CSR (n, d), W (h, d, c), b (h, c) -> (h, n)
    return labels_by(linear_forward, X, W, b, feature_scale)


def evaluate(data, bank):
    # X CSR (n, d), y (t, n) or (n, c), W (h, d, c), b (h, c) -> loss (h,), accuracy (h,)
    return figures_by(linear_forward, data, bank)
