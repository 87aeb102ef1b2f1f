"""Shared by the tests: a result against the oracle's, and proof that its bound can fail."""

import numpy as np
import pytest

from softstep.bench import parity


@pytest.fixture(scope="session")
def assert_parity():
    """check(op, arguments, backend): the results, within bounds that refuse zeros and NaN."""

    def check(op, arguments, backend):
        found = parity.run(op, arguments, backend)
        expected = parity.run(op, arguments, parity.ORACLE)
        assert [f.dtype for f in found] == [e.dtype for e in expected]
        truth, bound = parity.truth_and_bounds(op, arguments)
        assert max(parity.ratios(found, truth, bound)) <= 1
        for t, e in zip(truth, bound, strict=True):
            assert_bound_can_fail(t, e)
        return found

    return check


def assert_bound_can_fail(truth, bound):
    """All zeros are refused, or where zero is the truth, anything else is; and so is NaN."""
    if not truth.size:
        return
    wrong = np.zeros_like(truth) if truth.any() else np.full_like(truth, 1e-300, float)
    assert parity.worst(wrong, truth, bound) > 1
    if not np.isnan(truth).all():
        assert parity.worst(np.full(truth.shape, np.nan), truth, bound) > 1
