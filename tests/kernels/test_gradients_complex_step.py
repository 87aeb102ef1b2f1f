"""The backward ops are the derivatives of the forward formulas, to 1e-13 of the largest entry."""

import numpy as np
import pytest

from softstep import kernels
from softstep.kernels.verify import cases, gradients
from softstep.kernels.verify.cases import Size

SIZES = (Size(1, 1, 2), Size(7, 5, 4), Size(3, 17, 2), Size(4, 3, 17))
NAMES = [case.name for case in gradients.all_cases(SIZES[0])]


def case_of(name, size, seed=0):
    (found,) = (case for case in gradients.all_cases(size, seed) if case.name == name)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_the_complex_step_derivative(name, backend):
    for size in SIZES:
        for seed in (0, 1):
            case = case_of(name, size, seed)
            assert gradients.error(case.found(backend), case.truth) <= 1e-13


def test_every_backward_op_and_train_are_covered():
    ops = {op for op in kernels.__all__ if op.endswith("_backward")} | {"train"}
    assert {name.partition(",")[0].partition(" ")[0] for name in NAMES} == ops


@pytest.mark.parametrize("name", NAMES)
def test_zeros_and_nans_are_refused(name):
    truth = case_of(name, SIZES[1]).truth
    for i, part in enumerate(truth):
        for wrong in (np.zeros_like(part), np.full_like(part, np.nan), part * (1 + 1e-12)):
            assert gradients.error((*truth[:i], wrong, *truth[i + 1 :]), truth) > 1e-13


def test_the_diagonal_of_the_jacobian_alone_is_refused():
    size = SIZES[1]
    P = cases.probabilities(size.n, size.c, np.float64, 0)
    dP = cases.gradients(size.n, size.c, np.float64, 0)
    assert gradients.error((dP * P * (1 - P),), case_of("softmax_backward", size).truth) > 0.1


def test_complex_step_gives_known_derivatives_to_rounding():
    x = np.array([[0.3, -1.7], [2.0, 1e-8]])
    gradient = gradients.complex_step(lambda z: (np.exp(z) * z**2).sum(), x)
    np.testing.assert_allclose(gradient, np.exp(x) * (x**2 + 2 * x), rtol=1e-15)
