"""Promise: instructions are counted in the machine code that NVRTC makes, loop by loop."""

import re

import budget
import numpy as np
import nvrtc
import pytest
import sass
import tables
import works

from softstep.kernels._cupy import surface
from softstep.kernels._cupy.kernel import options, source
from softstep.kernels._cupy.training.call import types_of

pytestmark = pytest.mark.skipif(sass.missing() is not None, reason=str(sass.missing()))

LOOP = """
extern "C" __global__ void loop(float *x, int n) {
  float a = x[0], b = x[1];
  _Pragma("unroll 1") for (int i = 0; i < n; ++i) {
    _Pragma("unroll") for (int k = 0; k < 24; ++k) b = b * a + 0.5f;
  }
  x[2] = b * a + b;
}
extern "C" __global__ void none(float *x) { x[threadIdx.x] *= 2; }
"""

NESTED = """
.text.nested:
        /*0000*/                   LDC R1, c[0x0][0x37c] ;
.L_x_1:
        /*0010*/                   FADD R0, R0, R1 ;
.L_x_0:
        /*0020*/              @!P0 FFMA R2, R0, R1, R2 ;
        /*0030*/               @P1 BRA `(.L_x_0) ;
        /*0040*/                   FMUL R2, R2, R1 ;
        /*0050*/              @!P2 BRA `(.L_x_1) ;
        /*0060*/                   BRA `(.L_x_2) ;
.L_x_2:
        /*0070*/                   EXIT ;
"""


@pytest.mark.parametrize("architecture", nvrtc.ARCHITECTURES)
def test_the_loop_of_a_kernel_is_found_in_its_machine_code(architecture):
    if architecture not in nvrtc.architectures():
        pytest.skip(f"this NVRTC does not know sm_{architecture}")
    code = sass.instructions(LOOP, "loop.cu", "loop", (), architecture)
    (loop,) = (each for each in sass.loops(code) if sass.counts(each)["FFMA"])
    assert sass.counts(loop)["FFMA"] == 24
    assert sass.counts(code)["FFMA"] == 25
    assert not sass.counts(sass.instructions(LOOP, "loop.cu", "none", (), architecture))["FFMA"]


def test_a_loop_has_none_of_the_instructions_of_the_loops_in_it():
    loops = [[each.code for each in loop] for loop in sass.loops(sass.parsed(NESTED, "nested"))]
    assert sorted(loops) == [["FADD", "FMUL", "BRA"], ["FFMA", "BRA"]]


def test_the_loop_around_another_is_the_next_one():
    code = sass.parsed(NESTED, "nested")
    inner, outer = sorted(sass.loops(code), key=len)
    assert sass.around(inner, [outer, inner, code]) is outer


# Instructions that a warp issues for 32 elements, at most.
MOST = {
    ("softmax_forward", "10 classes"): 72,
    ("softmax_forward", "100 classes"): 54,
    ("softmax_forward", "1000 classes"): 34,
    ("softmax_forward", "30000 classes"): 60,
    ("evaluate_rows", "10 classes"): 272,
    ("linear_forward_tensor", "uint8"): 0.26,
    ("linear_forward_tensor", "float16"): 0.24,
    ("train_logits_tensor", "float16"): 0.24,
    ("train_update_tensor", "float16"): 0.28,
    ("train_update", "float16, 64 x 64"): 2.08,
}


def loop_of(place):
    (loop,) = (loop for loop in budget.loops() if (loop.kernel, loop.name) == place)
    return loop


@pytest.mark.parametrize("place", MOST, ids=str)
def test_the_main_loops_keep_to_their_budget(place):
    issued = loop_of(place).cost(90, 32, 0).issued
    assert MOST[place] / 2 < issued <= MOST[place]


PAGE = tables.PAGE.read_text(encoding="utf-8")
same_compiler = pytest.mark.skipif(
    f"NVRTC {nvrtc.version()}" not in PAGE, reason="docs/gpu.md has the code of another NVRTC"
)


@same_compiler
@pytest.mark.parametrize("place", MOST, ids=str)
def test_the_page_says_what_the_main_loops_cost(place):
    loop = loop_of(place)
    first = "| " + " | ".join(budget.place(loop)) + " |"
    (line,) = (line for line in PAGE.splitlines() if line.startswith(first))
    h200 = line.split(" | ")[3 + nvrtc.ARCHITECTURES.index(90)]
    assert h200 == budget.cell(loop, 90)


@same_compiler
def test_the_page_says_how_long_whole_works_take():
    assert works.table() in PAGE
    assert works.table_of_aims() in PAGE


@same_compiler
def test_every_main_loop_is_in_the_page():
    found = re.findall(r"^\| (`\w+`) \| ([^|]+) \| ([\d.]+) \|(?: [^|]*\|){5}$", PAGE, re.MULTILINE)
    assert [list(cells) for cells in found] == list(map(budget.place, budget.loops()))


LOADS = """
        /*0000*/                   LDG.E R2, desc[UR4][R8.64] ;
        /*0010*/              @!P0 LDG.E.128 R4, desc[UR4][R10.64+0x10] ;
        /*0020*/                   FADD R0, R1, R3 ;
        /*0030*/                   LDG.E R3, desc[UR4][R8.64+0x20] ;
        /*0040*/                   FMUL R4, R4, R0 ;
        /*0050*/                   LDG.E R5, desc[UR4][R8.64+0x30] ;
"""


def test_loads_are_counted_until_one_of_them_is_used():
    assert sass.loads_on_the_way(sass.parsed(f".text.loads:\n{LOADS}", "loads")) == 3


def test_a_thread_of_a_small_bank_asks_for_much_before_it_waits():
    """Its step is trips to memory: four times four features at once, 16 slices of four logits."""
    types = {**types_of(np.dtype(np.uint8)), "SLICE_FEATURES": 32}
    opts = options({**types, "Y_SOFT": 0, "ROW_LANES": 2})
    code = sass.instructions(source("train_steps.cu"), "train_steps.cu", "train_steps", opts, 90)
    loops = [(sass.counts(loop), sass.loads_on_the_way(loop)) for loop in sass.loops(code)]
    of_features = [most for count, most in loops if count["I2FP"] == 16 and count["LDG"] == 4]
    assert of_features == [4, 4]  # before the first step, and in each for the next
    assert 16 in [most for count, most in loops if count["LDG"] == 16 and count["FADD"] == 64]


def code_of(file, kernel, **defines):
    return sass.instructions(source(file), file, kernel, options(defines), 90)


def test_whether_a_row_is_finite_is_asked_of_several_numbers_at_once():
    rows = {**types_of(np.dtype(np.float32)), "Y_SOFT": 0, "ROW_LANES": 2}
    loops = [
        loop
        for loop in sass.loops(code_of("train_rows.cu", "train_rows", **rows))
        if sass.counts(loop)["LDG"]
    ]
    assert sass.loads_on_the_way(min(loops, key=len)) >= 4
    points = sass.loops(code_of("surface.cu", "surface_chunks", **surface.defines(budget.FLOAT)))
    assert 6 in [sass.loads_on_the_way(loop) for loop in points]  # three numbers of two classes


def test_an_update_asks_for_a_column_of_weights_and_velocities_before_it_stores_one():
    types = {**types_of(np.dtype(np.float16)), "TILE_FEATURES": 128, "TILE_COLUMNS": 128}
    code = code_of("train_tensor.cu", "train_update_tensor", **types)
    order = "".join(each.code[0] for each in code if each.code in ("LDG", "STG"))
    assert len(re.findall("L{16,}S{16}", order)) == 8  # columns
