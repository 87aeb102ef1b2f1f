"""Promise: the kernels are right on processors with other vectors, and without half precision.

A wide bank even has the same bits wherever a product and a sum are rounded together.

Numba compiles for another processor where NUMBA_CPU_NAME and NUMBA_CPU_FEATURES say so; this one
must be able to run the code. NEON was never run: its shapes are, on the vectors of SSE2.
"""

import os
import platform
import subprocess
import sys

import pytest

from softstep.kernels._numba.simd.vector import HAS_FMA

CODE = """
import platform, sys
if "neon" in sys.argv:  # its shapes: short vectors, many registers
    platform.machine = lambda: "aarch64"
import numpy as np
from softstep.kernels._numba.simd import vector
from softstep.kernels.verify import cases, parity
from softstep.kernels.verify.cases import Size
print("bytes", vector.BYTES, "half", vector.HAS_HALF)
ops = [("softmax_forward", "float32"), ("surface_forward", "float32"),
       ("linear_forward", "float16"), ("train", "uint8")]
for op, dtype in ops:
    for size in (Size(37, 17, 3, h=3), Size(33, 41, 10, h=4)):  # narrow and wide
        arguments = cases.OPS[op].arguments(size, dtype, 0)
        found = parity.run(op, arguments, "numba")
        print(op, max(parity.ratios(found, *parity.truth_and_bounds(op, arguments))))
"""

PROCESSORS = {
    "avx2": ("haswell", "+sse2,+avx,+avx2,+fma,+f16c", "bytes 32 half True"),
    "sse2": ("x86-64", "+sse2", "bytes 16 half False"),
    "neon": ("x86-64", "+sse2", "bytes 16 half False"),
}


needs_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="code for x86-64")


def lines_of(code, processor, **more):
    """What the code prints where Numba compiles for this processor. more: of the environment."""
    name, features, _ = PROCESSORS[processor]
    environment = {**os.environ, "NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features, **more}
    done = subprocess.run(
        [sys.executable, "-c", code, processor],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@needs_x86
@pytest.mark.parametrize("processor", PROCESSORS)
def test_parity_with_the_vectors_of(processor, tmp_path):
    expected = PROCESSORS[processor][2]
    # Kernels are kept by processor: those of SSE2 would pass for those of its vectors as NEON.
    own_cache = {"NUMBA_CACHE_DIR": str(tmp_path)} if processor == "neon" else {}
    first, *lines = lines_of(CODE, processor, **own_cache)
    assert first == expected
    assert len(lines) == 8
    assert all(float(line.split()[1]) <= 1 for line in lines)


BITS = """
import numpy as np
from softstep import kernels
rng = np.random.default_rng(0)
X, y = rng.normal(size=(99, 37)).astype(np.float32), rng.integers(0, 10, 99)
W, b = np.zeros((4, 37, 10), np.float32), np.zeros((4, 10), np.float32)
kernels.train(X, y, np.arange(99), 20, W, b, loss="cross_entropy", learning_rate=0.5)
print(W.tobytes().hex())
"""


@needs_x86
@pytest.mark.skipif(not HAS_FMA, reason="this processor rounds products apart")
def test_a_wide_bank_has_the_same_bits_with_the_vectors_of_avx2(capsys):
    exec(BITS, {})
    assert [capsys.readouterr().out.strip()] == lines_of(BITS, "avx2")
