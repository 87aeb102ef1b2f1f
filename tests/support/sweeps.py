"""Two fitted sweeps, to the bit."""

import numpy as np


def assert_same_bits(found, expected):
    """All figures, and all heads: weights and history. What L-BFGS proves of a head on its way is
    rounded as the company has it that it is in."""
    assert found.results_.keys() == expected.results_.keys()
    for name, values in expected.results_.items():
        if name == "bound" and expected.solver == "lbfgs":
            np.testing.assert_allclose(found.results_[name], values, rtol=1e-6, atol=1e-12)
            continue
        assert np.array_equal(*(_comparable(v) for v in (found.results_[name], values))), name
    assert np.array_equal(found.loss_curves_, expected.loss_curves_, equal_nan=True)
    assert found.best_index_ == expected.best_index_
    heads, theirs = found._trained, expected._trained
    for name in ("group", "split", "label_set", "weight_set", "part"):
        assert np.array_equal(getattr(heads.heads, name), getattr(theirs.heads, name))
    each = len(heads.heads.group) // len(heads.diverged)
    for index in np.flatnonzero(~heads.diverged).tolist():
        for split in (None, *range(each - 1)):
            one, other = found.estimator(index, split), expected.estimator(index, split)
            assert one.coef_.tobytes() == other.coef_.tobytes(), (index, split)
            assert one.intercept_.tobytes() == other.intercept_.tobytes(), (index, split)
            assert repr(one.history_) == repr(other.history_)
            assert one.n_iter_ == other.n_iter_


def _comparable(values):
    """Values of which NaN equals NaN."""
    if isinstance(values, list):
        return np.array([repr(value) for value in values])
    return values.view(np.int64) if values.dtype == np.float64 else values
