"""The kernels in kernels_for_tests: how each is launched on odd sizes, and what it should give."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "kernels_for_tests"


@dataclass
class Case:
    """args for a launch; the array that holds the result; what it should hold, and how nearly."""

    grid: object
    block: int
    args: tuple
    result: np.ndarray
    expected: np.ndarray
    atol: float
    shared_bytes: int = 0
    cooperative: bool = False

    def launch_options(self):
        return {"shared_bytes": self.shared_bytes, "cooperative": self.cooperative}


def vector_add():
    n = 1003
    x = np.random.default_rng(1).random(n, np.float32)
    z = np.full(n, np.nan, np.float32)
    return Case(5, 64, (x, 2 * x, z, np.int64(n)), z, 3 * x, 1e-6)


def block_sum():
    n = 100  # fewer than threads: some have nothing to add
    x = 1 + np.random.default_rng(2).random(n, np.float32)
    out = np.full(2, np.nan, np.float32)
    expected = [x[:64].sum(), x[64:].sum()]
    return Case(2, 64, (x, out, np.int64(n)), out, np.array(expected), 1e-4, shared_bytes=4 * 64)


def warp_softmax():
    n, c = 7, 45
    V = np.random.default_rng(3).normal(size=(n, c)).astype(np.float32)
    P = np.full_like(V, np.nan)
    e = np.exp(V.astype(np.float64))
    expected = e / e.sum(axis=1, keepdims=True)
    return Case(4, 64, (V, P, np.int64(n), np.int32(c)), P, expected, 1e-6)


def matmul():
    m, n, k = 45, 68, 52
    rng = np.random.default_rng(4)
    A = rng.normal(size=(m, k)).astype(np.float32)
    B = rng.normal(size=(k, n)).astype(np.float32)
    C = np.full((m, n), np.nan, np.float32)
    sizes = tuple(np.int64(size) for size in (m, n, k))
    return Case((3, 2), 64, (A, B, C, *sizes), C, A @ B, 1e-4)


def grid_steps():
    n = 250
    x = np.random.default_rng(5).random(n, np.float32)
    args = (x, np.zeros_like(x), np.zeros(1, np.uint32), np.int64(n), np.int32(4))
    return Case(4, 64, args, x, 0.5 * (x + x[::-1]), 1e-6, cooperative=True)


CASES = {case.__name__: case for case in (vector_add, block_sum, warp_softmax, matmul, grid_steps)}


def source(name):
    return (FOLDER / f"{name}.cu").read_text()
