"""The machine's measured limits: float32 multiply-adds by number of cores, and reading memory."""

import statistics
import threading
import time
from dataclasses import dataclass

import numpy as np

from softstep.kernels._numba.jit import STRICT, jit
from softstep.kernels._numba.simd.vector import LANES, fma, load, registers, store

ROUNDS = 5
ACCUMULATORS = 12  # independent sums, more than the FMA's latency times its units
STEPS = 10**7
BYTES = 2**28  # more than any cache holds


@jit(STRICT)
def multiply_add(B, out, steps):
    # B (2, LANES), out (ACCUMULATORS, LANES): sums of steps products a·b, all in registers
    acc = registers(B, 12, 1)
    a, b = load(B, (0, 0)), load(B, (1, 0))
    for _ in range(steps):
        for r in range(12):
            acc[r, 0] = fma(a, b, acc[r, 0])
    for r in range(12):
        store(out, (r, 0), acc[r, 0])


@jit(STRICT)
def read(A, out):
    # A (n, 8·LANES), out (8, LANES): sums of the columns
    acc = registers(A, 8, 1)
    for i in range(len(A)):
        for r in range(8):
            acc[r, 0] = acc[r, 0] + load(A, (i, LANES * r))
    for r in range(8):
        store(out, (r, 0), acc[r, 0])


@dataclass(frozen=True)
class Peak:
    """GFLOP/s by the number of threads, and the GB/s at which all of them read."""

    gflop_per_s: dict[int, float]
    gb_per_s: float

    def floor(self, flop: int, size: int, threads: int) -> float:
        """Seconds that so much arithmetic, or reading so many bytes, takes at least."""
        return max(flop / self.gflop_per_s[threads], size / self.gb_per_s) / 1e9


def of_machine(threads: set[int]) -> Peak:
    """Measure both: medians of a few rounds."""
    flop = {k: _median(lambda k=k: _flop_per_s(k)) for k in sorted(threads)}
    most = max(threads)
    A = np.ones((BYTES // (32 * LANES), 8 * LANES), np.float32)
    return Peak({k: rate / 1e9 for k, rate in flop.items()}, _median(lambda: _read(A, most)) / 1e9)


def _median(rate):
    rate()
    return statistics.median(rate() for _ in range(ROUNDS))


def _flop_per_s(threads):
    B = np.zeros((2, LANES), np.float32)
    outs = np.zeros((threads, ACCUMULATORS, LANES), np.float32)
    seconds = _together(multiply_add, [(B, out, STEPS) for out in outs])
    return threads * 2 * ACCUMULATORS * LANES * STEPS / seconds


def _read(A, threads):
    outs = np.zeros((threads, 8, LANES), np.float32)
    parts = np.array_split(A, threads)
    return A.nbytes / _together(read, list(zip(parts, outs, strict=True)))


def _together(kernel, arguments):
    workers = [threading.Thread(target=kernel, args=a) for a in arguments]
    start = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return time.perf_counter() - start
