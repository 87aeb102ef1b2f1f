"""Promise: in the loops of the tiles every sum stays in a register, on each kind of processor.

The code is generated, not run: LLVM writes down what it would do on AVX-512, AVX2, SSE2 and NEON.
AVX-512 twice: by what it knows of Zen 4, LLVM would read so early that no registers are left.
"""

import json
import os
import platform
import re
import subprocess
import sys

import pytest

CODE = r"""
import json, platform, re, sys
if "neon" in sys.argv:  # its shapes: short vectors, many registers
    platform.machine = lambda: "aarch64"
from llvmlite import binding
from numba import float32, int64, uint8, void
from softstep.kernels._numba.compiling import cache
from softstep.kernels._numba.jit import STRICT, jit
from softstep.kernels._numba.simd import tiles
from softstep.kernels._numba.simd.tiles import Ahead
from softstep.kernels._numba.simd.vector import LANES

cache.keep = lambda dispatcher: None
three, two, dots_of_rows, outer = (
    tiles.products_of_three, tiles.products_of_two, tiles.dots_full, tiles.outer_full)
X, columns, W, rows = float32[:, ::1], float32[:, ::1], float32[:, :, ::1], int64[::1]

@jit(STRICT)
def products_of_three(A, count, B, out):
    three(A, 0, count, B, 0, out, 0, 0)

@jit(STRICT)
def products_of_two(A, count, B, out):
    two(A, 0, count, B, 0, out, 0, 0)

@jit(STRICT)
def products_of_panels(A, count, B, out):
    three(A.T, 0, count, B, 0, out, 0, 0)

@jit(STRICT)
def dots(X, rows, W, sums, count, ahead, begin, end):
    share = Ahead(X, rows, ahead, begin, end)
    dots_of_rows(X, X.shape[1], rows, 0, 0, count, W, 0, share, sums)

@jit(STRICT)
def outer_products(X, rows, count, dV, out, d, ahead, line):
    share = Ahead(X, rows, ahead, line, d)
    outer(X, X.shape[1], rows, 0, count, dV, 0, d, share, line, False, out)

KERNELS = {
    products_of_three: (X, int64, W, W),
    products_of_two: (X, int64, W, W),
    products_of_panels: (X, int64, W, W),
    dots: (X, rows, columns, W, int64, int64, int64, int64),
    outer_products: (X, rows, int64, columns, columns, int64, int64, int64),
}

def assembly(kernel):
    library = next(iter(kernel.overloads.values())).library
    if "neon" not in sys.argv:
        return library.get_asm_str()
    target = binding.Target.from_triple("aarch64-unknown-linux-gnu")
    machine = target.create_target_machine(cpu="cortex-a76", opt=3)
    text = re.sub(r"target (triple|datalayout) = .*", "", library.get_llvm_str())
    alone = re.sub(r"^define [^@]*@(?!_ZN8__main__).*?^\}\n", "", text, flags=re.M | re.S)
    return machine.emit_assembly(binding.parse_assembly(alone))

binding.initialize_all_targets()
binding.initialize_all_asmprinters()
shapes = {
    "products_of_three": (tiles.TILE_ROWS, 3),
    "products_of_two": (tiles.TILE_ROWS, 2),
    "products_of_panels": (tiles.TILE_ROWS, 3),
    "dots": (tiles.DOT_ROWS, tiles.DOT_COLUMNS),
    "outer_products": (tiles.DOT_COLUMNS, tiles.OUTER_VECTORS),
}
for kernel, signature in KERNELS.items():
    kernel.compile(void(*signature))
used = {name: assembly(kernel) for kernel in KERNELS if (name := kernel.__name__) in shapes}
if tiles.TILE_VECTORS < 3:
    del used["products_of_three"], used["products_of_panels"]
print(json.dumps([[name, *shapes[name], text] for name, text in used.items()]))
"""

PROCESSORS = {
    "avx512": ("skylake-avx512", "+sse2,+avx,+avx2,+fma,+f16c,+avx512f,+avx512vl,+avx512dq"),
    "zen4": ("znver4", "+sse2,+avx,+avx2,+fma,+f16c,+avx512f,+avx512vl,+avx512dq"),
    "avx2": ("haswell", "+sse2,+avx,+avx2,+fma,+f16c"),
    "sse2": ("x86-64", "+sse2"),
    "neon": ("x86-64", "+sse2"),
}
MULTIPLY_ADD = re.compile(r"\b(vfmadd\w+|fmla|mulps)\b")
# A vector register beside an address: of x86-64, in which an operand may be in memory, and of ARM.
LOAD = re.compile(r"\(%r\w+.*%[xyz]mm|\bld(r|1r|ur)\b.*[qvs]\d+.*\[x")
PAIR = re.compile(r"\bldp\b.*q\d+")
SPILL = re.compile(r"%rsp.*%[xyz]mm|%[xyz]mm.*%rsp|[qvd]\d+.*\[sp")


def _loops(assembly):
    """The lines of each loop that ends in a jump back."""
    lines = [re.split(r"#|//", line)[0].rstrip() for line in assembly.splitlines()]
    labels = {m[1]: i for i, line in enumerate(lines) if (m := re.match(r"(\.?L\w+):", line))}
    for i, line in enumerate(lines):
        jump = re.match(r"\s+(?:j\w+|b\S*|cbn?z\s+\w+,|tbn?z\s.*,)\s+(\.?L\w+)$", line)
        if jump and labels.get(jump[1], i) < i:
            yield lines[labels[jump[1]] : i + 1]


def _count(pattern, lines):
    return sum(bool(pattern.search(line)) for line in lines)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="Numba writes code for x86-64")
@pytest.mark.parametrize("processor", PROCESSORS)
def test_sums_stay_in_registers_with(processor):
    name, features = PROCESSORS[processor]
    environment = {**os.environ, "NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}
    done = subprocess.run(
        [sys.executable, "-c", CODE, processor],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    tiles = json.loads(done.stdout)
    assert len(tiles) >= 3
    for tile, rows, columns, assembly in tiles:
        loop = max(_loops(assembly), key=lambda lines: _count(MULTIPLY_ADD, lines) / len(lines))
        sums, loads = _count(MULTIPLY_ADD, loop), _count(LOAD, loop) + 2 * _count(PAIR, loop)
        assert sums > 0, tile
        assert sums % (rows * columns) == 0, tile
        assert loads <= sums // (rows * columns) * (rows + columns), tile
        assert _count(SPILL, loop) == 0, tile
