"""Promise: the ops on rows keep their bounds at every width, and threads change no bit of them."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from softstep import kernels
from softstep.kernels import threads
from softstep.kernels.verify import bounds, cases
from softstep.kernels.verify.bounds import Arithmetic
from softstep.kernels.verify.cases import Size
from softstep.kernels.verify.parity import worst

ROW_OPS = (
    "softmax_forward",
    "softmax_backward",
    "mse_forward",
    "mse_backward",
    "cross_entropy_forward",
    "cross_entropy_backward",
    "softmax_mse_backward",
    "gce_forward",
    "gce_backward",
)
FROM_LOGITS = ("softmax_forward", *ROW_OPS[4:])
SOFT_OPS = ("mse_forward", "mse_backward", "cross_entropy_forward", "cross_entropy_backward")
WIDTHS = range(1, 131)  # a few vectors, whole ones and others, in lanes and along the row


def arguments_of(op, n, c, dtype):
    return cases.OPS[op].arguments(Size(n, 1, c), dtype, 0)[0]


def check(op, arguments):
    """Compare Numba with the oracle in float64, within the op's bound."""
    found = getattr(kernels, op)(*arguments, backend="numba")
    wide = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arguments]
    truth = getattr(kernels, op)(*wide, backend="numpy")
    (bound,) = getattr(bounds, op)(Arithmetic.of(arguments[0].dtype), *wide)
    assert worst(found, truth, bound) <= 1
    assert worst(np.zeros_like(found), truth, bound) > 1 or arguments[0].shape[1] == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", ROW_OPS)
def test_every_width_keeps_the_bound(op, dtype):
    for c in WIDTHS:
        check(op, arguments_of(op, 19, c, dtype))


@pytest.mark.parametrize("target", ["float32", "float64"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", SOFT_OPS)
def test_every_width_keeps_the_bound_for_soft_targets(op, dtype, target):
    for c in (1, 2, 3, 7, 8, 9, 16, 17, 47, 48, 49, 64, 100, 1000):
        given, _ = arguments_of(op, 19, c, dtype)
        check(op, (given, cases.probabilities(19, c, target, 1)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", ROW_OPS)
def test_the_number_of_threads_changes_no_bit(op, dtype, monkeypatch):
    monkeypatch.setattr(threads, "FLOP_PER_CALL", 1)  # threads for the smallest work
    for c in (1, 2, 10, 47, 48, 100, 1000):
        arguments = arguments_of(op, 40_000 // c + 3, c, dtype)
        results = [
            getattr(kernels, op)(*arguments, backend="numba", n_threads=k).tobytes()
            for k in (1, 2, 3, 7)
        ]
        assert results.count(results[0]) == 4


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", [op for op in ROW_OPS if op.endswith("backward")])
def test_a_result_may_be_written_over_an_input(op, dtype):
    for c in (1, 2, 3, 10, 17, 47, 48, 100, 131):
        arguments = arguments_of(op, 37, c, dtype)
        expected = getattr(kernels, op)(*arguments, backend="numba")
        for k, given in enumerate(arguments):
            if given.shape == expected.shape and given.dtype == expected.dtype:
                copies = [a.copy() for a in arguments]
                getattr(kernels, op)(*copies, out=copies[k], backend="numba")
                assert copies[k].tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_result_may_be_written_over_soft_targets(dtype):
    for c in (3, 17, 47, 48, 100, 131):
        V, Y = cases.logits(37, c, dtype, 0), cases.probabilities(37, c, dtype, 1)
        for op in ("cross_entropy_backward", "mse_backward"):
            expected = getattr(kernels, op)(V, Y, backend="numba")
            out = Y.copy()
            getattr(kernels, op)(V, out, out=out, backend="numba")
            assert out.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", FROM_LOGITS)
def test_a_bad_row_is_nan_at_every_width(op, dtype):
    for c in (2, 10, 47, 48, 100, 131):
        given = arguments_of(op, 23, c, dtype)
        expected = getattr(kernels, op)(*given, backend="numba")
        V = given[0].copy()
        V[3, c - 1], V[7, 0], V[11] = np.nan, np.inf, -np.inf
        found = getattr(kernels, op)(V, *given[1:], backend="numba")
        bad = np.isin(np.arange(23), [3, 7, 11])
        assert np.isnan(found[bad]).all()
        np.testing.assert_array_equal(found[~bad], expected[~bad])


@pytest.mark.parametrize("shift", [0, 200, -300, 1e4, -1e6, 1e30])
def test_float32_probabilities_are_within_an_ulp_wherever_the_logits_are(shift):
    for c in (3, 17, 100):
        V = (cases.logits(200, c, np.float64, 0, 20.0) + shift).astype(np.float32)
        e = np.exp(V.astype(np.longdouble) - V.max(axis=1, keepdims=True))
        exact = e / e.sum(axis=1, keepdims=True)
        found = kernels.softmax_forward(V, backend="numba")
        tiny = np.finfo(np.float32).smallest_subnormal
        allowed = np.maximum(0.8 * np.spacing(exact.astype(np.float32)), 2 * tiny)
        assert (np.abs(found - exact) <= allowed).all()


CODE = """
import test_row_ops as t
for dtype in ("float32", "float64"):
    for op in ("softmax_forward", "cross_entropy_backward", "mse_forward"):
        for c in (1, 2, 5, 16, 47, 48, 100):
            t.check(op, t.arguments_of(op, 19, c, dtype))
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="code for x86-64")
@pytest.mark.parametrize(
    ("name", "features"), [("haswell", "+sse2,+avx,+avx2,+fma,+f16c"), ("x86-64", "+sse2")]
)
def test_other_vectors_keep_the_bounds(name, features):
    environment = {**os.environ, "NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
