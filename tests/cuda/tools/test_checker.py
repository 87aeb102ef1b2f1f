"""The checker finds every planted fault, names its kind and its line, and is silent otherwise."""

import emulator
import numpy as np
import pytest
from kernel_cases import CASES, source

pytestmark = pytest.mark.skipif(emulator.missing() is not None, reason=str(emulator.missing()))

# kernel, what is replaced, by what, the kind reported, a text of the line reported.
# Without a barrier, what is read may be of another time or not be there yet: by the schedule.
FAULTS = {
    "tail not guarded": (
        "vector_add", "if (first + 4 <= n)", "if (first < n)",
        "out of bounds", "const float4 a",
    ),
    "bound off by one": (
        "vector_add", "i < n; ++i", "i <= n; ++i", "out of bounds", "z[i] = x[i] + y[i]",
    ),
    "vector read misaligned": (
        "vector_add", "(y + first)", "(y + first - 2)", "misaligned", "const float4 b",
    ),
    "vector written misaligned": (
        "vector_add", "(z + first)", "(z + first - 1)", "misaligned", "make_float4(a.x + b.x",
    ),
    "blocks overlap": (
        "vector_add", "(long long)blockDim.x +", "(long long)(blockDim.x - 1) +",
        "race between blocks", "make_float4(a.x + b.x",
    ),
    "barrier before the tree removed": (
        "block_sum", "part[t] = sum;\n  __syncthreads();", "part[t] = sum;\n",
        "race or uninitialised", "part[t] += part[t + half]",
    ),
    "barrier in the tree removed": (
        "block_sum", "__syncthreads();  // the next", "// the next",
        "race", "part[t] += part[t + half]",
    ),
    "barrier in a branch": (
        "block_sum", "part[t + half];\n    __syncthreads();", "part[t + half], __syncthreads();\n",
        "divergent barrier", "__syncthreads();",
    ),
    "tree's bound off by one": (
        "block_sum", "if (t < half)", "if (t <= half)", "out of bounds", "part[t + half]",
    ),
    "empty shares not written": (
        "block_sum", "  part[t] = sum;", "  if (sum > 0.0f) part[t] = sum;",
        "uninitialised", "part[t + half]",
    ),
    "every thread writes the result": (
        "block_sum", "if (t == 0) out", "out", "race", "out[blockIdx.x] = part[0]",
    ),
    "half of the mask": (
        "warp_softmax", "#define FULL 0xffffffffu", "#define FULL 0x0000ffffu",
        "lane mask", "v = fmaxf(v, __shfl",
    ),
    "idle lanes exit": (
        "warp_softmax", "if (row >= n) return;", "if (row >= n || lane + 32 >= c) return;",
        "lane mask", "v = fmaxf(v, __shfl",
    ),
    "lane of a neighbour": (
        "warp_softmax", "c - 1 - lane; j >= 0", "c - lane; j >= 0",
        "uninitialised", "P[row * c + j] = rows[warp][j]",
    ),
    "warp's barrier removed": (
        "warp_softmax", "__syncwarp();", "", "race", "P[row * c + j] = rows[warp][j]",
    ),
    "shared row for one warp of two": (
        "warp_softmax", "rows[2][ROOM]", "rows[1][ROOM]", "out of bounds", "rows[warp][j] = e",
    ),
    "rows past the end": (
        "warp_softmax", "if (row >= n) return;", "if (row > n) return;",
        "out of bounds", "top = fmaxf(top, V",
    ),
    "barrier between the buffers removed": (
        "matmul", "    __syncthreads();\n", "\n",
        "race or uninitialised", "[1 - now][depth]",
    ),
    "one buffer for two": (
        "matmul", "u = a[1 - now]", "u = a[now]", "race or uninitialised", "u = a[now]",
    ),
    "rows not guarded": (
        "matmul", "row >= rows || ", "", "out of bounds", "(matrix + row * columns + column)",
    ),
    "shared vector misaligned": (
        "matmul", "&b[1 - now][depth][q]", "&b[1 - now][depth][q + 1]",
        "misaligned", "&b[1 - now][depth][q + 1]",
    ),
    "shared array too short": (
        "matmul", "b[2][DEPTH][TILE]", "b[2][DEPTH - 1][TILE]",
        "out of bounds", "&b[now][depth][q]) =",
    ),
    "own array's index off by one": (
        "matmul", "sum[i][3] += u * v.w", "sum[i][4] += u * v.w",
        "out of bounds", "sum[i][4] += u * v.w",
    ),
    "grid barrier removed": (
        "grid_steps", "    grid_barrier(counter", "    if (0) grid_barrier(counter",
        "race between blocks or race", "to[i] = 0.5f",
    ),
    "grid barrier a step behind": (
        "grid_steps", "(step + 1) * gridDim.x", "step * gridDim.x",
        "race between blocks", "to[i] = 0.5f",
    ),
    "no barrier of the block before": (
        "grid_steps", "target) {\n  __syncthreads();", "target) {\n",
        "race between blocks", "to[i] = 0.5f",
    ),
    "no barrier of the block after": (
        "grid_steps", "  }\n  __syncthreads();\n}", "  }\n}",
        "race between blocks", "to[i] = 0.5f",
    ),
    "no release": (
        "grid_steps", "__ATOMIC_RELEASE", "__ATOMIC_RELAXED",
        "race between blocks", "to[i] = 0.5f",
    ),
    "no acquire": (
        "grid_steps", "__ATOMIC_ACQUIRE", "__ATOMIC_RELAXED",
        "race between blocks", "to[i] = 0.5f",
    ),
    "a block too many awaited": (
        "grid_steps", "* gridDim.x);", "* gridDim.x + 1);", "deadlock", "__nanosleep(0)",
    ),
}  # fmt: skip


def run(name, text, schedule):
    case = CASES[name]()
    module = emulator.compile_source(text, name=f"{name}.cu", check=True)
    emulator.launch(
        module[name], case.grid, case.block, case.args, schedule=schedule, **case.launch_options()
    )


@pytest.mark.parametrize("schedule", emulator.SCHEDULES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_caught_with_its_kind_and_line(fault, schedule):
    name, old, new, kind, place = FAULTS[fault]
    text = source(name)
    assert text.count(old) == 1
    text = text.replace(old, new)
    with pytest.raises(emulator.KernelError) as caught:
        run(name, text, schedule)
    error = caught.value
    lines = text.splitlines()
    assert error.kind in kind.split(" or "), error
    assert (error.kernel, error.file) == (name, f"{name}.cu"), error
    assert any(place in lines[n - 1] for n in (error.line, error.other_line) if n), error


@pytest.mark.parametrize("schedule", emulator.SCHEDULES)
@pytest.mark.parametrize("name", CASES)
def test_a_clean_kernel_raises_no_alarm(name, schedule):
    run(name, source(name), schedule)


# Small kernels of two blocks of 64, x of 128 ints, flags of 128 bytes; 256 bytes of dynamic shared.
PROLOGUE = """extern "C" __global__ void k(int *x, unsigned char *flags, int *counter) {
  extern __shared__ int d[];
  __shared__ int s[64];
  const int t = threadIdx.x, b = blockIdx.x, i = 64 * b + t;
"""

WRONG = {
    "a shuffle orders no memory": (
        "s[t] = t;  __shfl_sync(~0u, 1, 0);\n x[i] = s[t ^ 1];",
        "race or uninitialised",
    ),
    "half a warp meets, the other half is read": (
        "s[t] = t; __syncwarp(t % 32 < 16 ? 0xffff : 0xffff0000);\n x[i] = s[t ^ 16];",
        "race or uninitialised",
    ),
    "a write after another thread's read": (
        "s[t] = t; __syncthreads(); int v = s[(t + 1) % 64];\n s[t] = v;",
        "race",
    ),
    "a write after another warp's read, as its own warp met": (
        "s[t] = t; __syncthreads(); int v = s[(t + 32) % 64]; __syncwarp();\n s[t] = v;",
        "race",
    ),
    "a write after another block's read": (
        "int v = x[(i + 64) % 128]; __syncthreads();\n x[i] = v;",
        "race between blocks",
    ),
    "a write after reads of all": (
        "int v = x[5]; __syncthreads();\n if (i == 5) x[5] = v + 1;",
        "race between blocks",
    ),
    "many write the same": ("if (i < 2)\n x[0] = 1;", "race"),
    "an atomic and a plain read": (
        "atomicAdd(counter, 1);\n x[i] = *counter;",
        "race or race between blocks",
    ),
    "a part of a vector that nobody uses": (
        "if (i == 127) x[0] =\n reinterpret_cast<int2 *>(x)[63 + t % 2].x;",
        "out of bounds",
    ),
    "a double at four bytes": (
        "if (t == 0)\n *reinterpret_cast<double *>(x + 1) = 0.0;",
        "misaligned",
    ),
    "a copy read before it is waited for": (
        "if (t < 16) emulator::copy_async(s + 4 * t, x + 4 * t, 16, 16); emulator::commit_copies();"
        "\n flags[i] = s[t];",
        "race or uninitialised",
    ),
    "a copy of no group": (
        "if (t < 16) emulator::copy_async(s + 4 * t, x + 4 * t, 16, 16);"
        "emulator::wait_for_copies(0); __syncthreads();\n flags[i] = s[t];",
        "race",
    ),
    "the newest group left out": (
        "emulator::commit_copies(); if (t < 16) emulator::copy_async(s + 4 * t, x, 16, 16);"
        "emulator::commit_copies(); emulator::wait_for_copies(1); __syncthreads();"
        "\n flags[i] = s[t];",
        "race",
    ),
    "a copy that is there, without a barrier": (
        "if (t < 16) emulator::copy_async(s + 4 * t, x + 4 * t, 16, 16); emulator::commit_copies();"
        "emulator::wait_for_copies(0);\n flags[i] = s[63 - t];",
        "race or uninitialised",
    ),
    "a copy to what is still read": (
        "s[t] = t; __syncthreads(); flags[i] = s[63 - t];"
        "\n if (t < 16) emulator::copy_async(s + 4 * t, x + 4 * t, 16, 16);",
        "race",
    ),
    "a copy that writes past the end": (
        "if (t < 16)\n emulator::copy_async(s + 4 * t + 4, x, 16, 16);",
        "out of bounds",
    ),
    "a copy that reads past the end": (
        "if (t < 16)\n emulator::copy_async(s + 4 * t, x + 4 * t + 68, 16, 16);",
        "out of bounds",
    ),
    "before the first element": ("if (i == 0)\n x[-1] = 0;", "out of bounds"),
    "past dynamic shared memory": ("\n d[t + 1] = 0;", "out of bounds"),
    "before a static shared array": ("int *p = s;\n p[t - 1] = 0;", "out of bounds"),
    "a row of one's own, too long": (
        "int own[4]; for (int j = 0; j <= *counter + 4; ++j)\n own[j] = j; x[i] = own[t % 4];",
        "out of bounds",
    ),
}

RIGHT = {
    "neighbouring bytes": "flags[i] = 1; __syncthreads(); flags[i ^ 1] = 2;",
    "neighbouring bytes of shared memory": (
        "unsigned char *p = (unsigned char *)s; p[t] = 1; p[64 + t] = p[t];"
    ),
    "a chain of meetings": """
        if (t == 0) s[0] = 1;
        if (t < 2) __syncwarp(3);
        if (t == 1 || t == 2) __syncwarp(6);
        if (t == 2) x[b] = s[0];""",
    "what all read": "int v = x[0] + x[127]; __syncthreads(); flags[i] = v;",
    "a counter": "atomicAdd(counter, 1); atomicCAS(counter, 5, 6); atomicExch(counter, 1);",
    "the last block adds up": """
        __shared__ int last;
        if (t == 0) {
          x[b] = 1;
          __threadfence();
          last = atomicAdd(counter, 1) == 1;
        }
        __syncthreads();
        if (last) x[2 + t] = x[0] + x[1];""",
    "shared memory used again": """
        for (int j = 0; j < 3; ++j) {
          s[t] = j; d[63 - t] = j;
          __syncthreads();
          x[i] = s[t ^ 32] + d[t];
          __syncthreads();
        }""",
    "arrays of one's own": """
        int own[8];
        for (int j = 0; j < 8; ++j) own[j] = j * t;
        int *p = own + x[i] % 8;
        x[i] = *p;""",
    "copies in two groups": """
        if (t < 8) emulator::copy_async(s + 4 * t, x + 4 * t, 16, 16);
        emulator::commit_copies();
        if (t < 8) emulator::copy_async(s + 32 + 4 * t, x + 4 * t, 16, 8);
        emulator::commit_copies();
        emulator::wait_for_copies(1);
        __syncthreads();
        flags[i] = s[t % 32];
        emulator::wait_for_copies(0);
        __syncthreads();
        flags[i] += s[t];
        __syncthreads();
        if (t < 8) emulator::copy_async(s + 4 * t, s + 4 * t, 4, 0);""",
    "constants": "static const int table[4] = {3, 1, 4, 1}; x[i] = table[t % 4];",
}


def run_small(body, schedule, cooperative=False):
    module = emulator.compile_source(PROLOGUE + body + "\n}\n", check=True)
    args = (np.zeros(128, np.int32), np.zeros(128, np.uint8), np.zeros(1, np.int32))
    emulator.launch(module["k"], 2, 64, args, 256, schedule, cooperative=cooperative)


@pytest.mark.parametrize("schedule", emulator.SCHEDULES)
@pytest.mark.parametrize("fault", WRONG)
def test_what_is_wrong_is_an_error_at_its_line(fault, schedule):
    body, kind = WRONG[fault]
    with pytest.raises(emulator.KernelError) as caught:
        run_small(body, schedule)
    assert caught.value.kind in kind.split(" or "), caught.value
    assert PROLOGUE.count("\n") + 2 in (caught.value.line, caught.value.other_line), caught.value


@pytest.mark.parametrize("cooperative", [False, True])
@pytest.mark.parametrize("schedule", emulator.SCHEDULES)
@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_is_no_error(name, schedule, cooperative):
    run_small(RIGHT[name], schedule, cooperative)


def test_launches_do_not_touch_memory_outside_their_arrays():
    whole = np.arange(128, dtype=np.int32)
    text = 'extern "C" __global__ void k(int *x) { x[threadIdx.x] = 0; }'
    kernel = emulator.compile_source(text, check=True)["k"]
    emulator.launch(kernel, 1, 32, (whole[32:64],))
    np.testing.assert_array_equal(whole == 0, (np.arange(128) // 32 == 1) | (np.arange(128) == 0))
    with pytest.raises(emulator.KernelError, match="out of bounds"):
        emulator.launch(kernel, 1, 33, (whole[32:64],))


def test_arrays_that_overlap_stay_one_memory():
    x = np.arange(64, dtype=np.int32)
    text = """extern "C" __global__ void k(const int *x, int *y) {
      const int v = x[32 + threadIdx.x];
      __syncthreads();
      y[threadIdx.x] = v;
    }"""
    kernel = emulator.compile_source(text, check=True)["k"]
    emulator.launch(kernel, 1, 32, (x, x[16:]))
    np.testing.assert_array_equal(x[16:48], np.arange(32, 64))
