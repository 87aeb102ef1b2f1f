"""The emulator runs a .cu source as a GPU would, and reports what would hang or corrupt there."""

import emulator
import numpy as np
import pytest
from kernel_cases import CASES, source

pytestmark = pytest.mark.skipif(emulator.missing() is not None, reason=str(emulator.missing()))

FULL_WARP = np.arange(32)


def load(name, *options, check=False):
    return emulator.compile_source(source(name), options, name=f"{name}.cu", check=check)


def run(text, *args, block=32, check=False, **options):
    """Launches the kernel `k` of a source in one block."""
    module = emulator.compile_source(text, check=check)
    emulator.launch(module["k"], 1, block, args, **options)


# ---- what kernels compute


@pytest.mark.parametrize("schedule", emulator.SCHEDULES)
@pytest.mark.parametrize("name", CASES)
def test_a_kernel_gives_what_numpy_gives(name, schedule):
    case = CASES[name]()
    kernel = load(name)[name]
    emulator.launch(
        kernel, case.grid, case.block, case.args, schedule=schedule, **case.launch_options()
    )
    np.testing.assert_allclose(case.result, case.expected, rtol=0, atol=case.atol)


def test_a_checked_launch_works_on_the_arrays_it_was_given():
    case = CASES["matmul"]()
    emulator.launch(load("matmul", check=True)["matmul"], case.grid, case.block, case.args)
    np.testing.assert_allclose(case.result, case.expected, rtol=0, atol=case.atol)


@pytest.mark.parametrize("width", [32, 8])
@pytest.mark.parametrize("operand", [1, 5])
@pytest.mark.parametrize("kernel", ["shuffles_float", "shuffles_long"])
def test_shuffles_move_values_within_segments(kernel, operand, width):
    lane = FULL_WARP
    first = lane - lane % width
    up, down, across = lane - operand, lane + operand, lane ^ operand
    sources = [
        first + operand % width,
        np.where(up >= first, up, lane),
        np.where(down < first + width, down, lane),
        across,
    ]
    is_float = kernel == "shuffles_float"
    values = lane + np.float32(0.5) if is_float else lane + np.int64(1 << 40)
    out = np.zeros((4, 32), np.float32 if is_float else np.int64)
    emulator.launch(load("warp_ops")[kernel], 1, 32, (out, np.int32(operand), np.int32(width)))
    np.testing.assert_array_equal(out, [values[source] for source in sources])


@pytest.mark.parametrize("yes", [0x00000000, 0xFFFFFFFF, 0x000003FF, 0x80000001])
def test_groups_of_lanes_vote_apart(yes):
    out = np.zeros((3, 32), np.uint32)
    emulator.launch(load("warp_ops")["votes"], 1, 32, (out, np.int32(10), np.uint32(yes)))
    mask = np.where(FULL_WARP < 10, 0x3FF, 0xFFFFFC00)
    ballot = mask & yes
    np.testing.assert_array_equal(out, [ballot, ballot != 0, ballot == mask])


@pytest.mark.parametrize("check", [False, True])
def test_shared_memory_belongs_to_a_block(check):
    out = np.zeros((3, 32, 4), np.int32)
    kernel = load("shared_by_block", check=check)["shared_by_block"]
    args = (out, np.zeros(1, np.uint32))
    emulator.launch(kernel, 3, 32, args, shared_bytes=128, cooperative=True)
    block, thread = np.arange(3)[:, None], FULL_WARP
    mine = 100 * block + thread
    np.testing.assert_array_equal(
        np.moveaxis(out, 2, 0), [mine, mine + 1, mine + 2, 100 * block + 3 + 0 * thread]
    )


def test_indices_have_three_dimensions():
    out = np.zeros((2, 3, 4, 5, 6, 7), np.int32)
    text = """extern "C" __global__ void k(int *out) {
      long long i = 0;
      i = i * gridDim.z + blockIdx.z;
      i = i * gridDim.y + blockIdx.y;
      i = i * gridDim.x + blockIdx.x;
      i = i * blockDim.z + threadIdx.z;
      i = i * blockDim.y + threadIdx.y;
      out[i * blockDim.x + threadIdx.x] += 1;
    }"""
    kernel = emulator.compile_source(text)["k"]
    emulator.launch(kernel, (4, 3, 2), (7, 6, 5), (out,))
    np.testing.assert_array_equal(out, 1)


def test_ftz_flushes_subnormals():
    for options, expected in ((["-ftz=true"], 0.0), (["-ftz=false"], 2.0**-128)):
        f, d = np.array([2.0**-126], np.float32), np.array([2.0**-200])
        emulator.launch(load("arithmetic", *options)["quarter"], 1, 1, (f, d))
        assert f[0] == expected
        assert d[0] == 2.0**-202
    assert np.float32(2.0**-126) * np.float32(0.25) == 2.0**-128  # Python's own mode is restored


def test_rn_intrinsics_are_not_fused():
    x, out = np.float32(1 + 2.0**-12), np.zeros(2, np.float32)
    args = (x, np.float32(1 + 2.0**-11), out)
    emulator.launch(load("arithmetic")["rounded"], 1, 1, args)
    assert out.tolist() == [0.0, 2.0**-24]


def test_float16_is_read_as_bits():
    half = np.array([0, -0.0, 1.5, -65504, 6e-8, 6e-5, np.inf, -np.inf], np.float16)
    out = np.zeros(8, np.float32)
    emulator.launch(load("arithmetic", "-ftz=true")["widen"], 1, 8, (half, out))
    np.testing.assert_array_equal(out, half.astype(np.float32))


# ---- tensor cores and asynchronous copies

KINDS = [("tf32", 8), ("f16", 8), ("f16", 16), ("bf16", 8), ("bf16", 16)]


def as_bits(values, number):
    if number == "f16":
        return values.astype(np.float16).view(np.uint16)
    bits = values.astype(np.float32).view(np.uint32)
    return bits if number == "tf32" else (bits >> 16).astype(np.uint16)


def product(A, B, C, number):
    """C + A B, by one instruction."""
    k, result = A.shape[1], C.astype(np.float32)
    bits = "unsigned" if number == "tf32" else "unsigned short"
    options = f"-DNUMBER={number}", f"-DBITS={bits}", f"-DK={k}"
    module = emulator.compile_source(source("mma"), options)
    emulator.launch(module["mma"], 1, 32, (as_bits(A, number), as_bits(B, number), result))
    return result


@pytest.mark.parametrize(("number", "k"), KINDS)
def test_a_product_on_the_tensor_cores_is_that_of_its_matrices(number, k):
    rng = np.random.default_rng(7)
    A, B, C = (rng.integers(-9, 9, shape) for shape in ((16, k), (k, 8), (16, 8)))
    np.testing.assert_array_equal(product(A, B, C, number), A @ B + C)


@pytest.mark.parametrize(("number", "k"), KINDS)
def test_its_sums_are_cut_off_at_the_last_bit_of_the_largest(number, k):
    A, B = np.full((16, k), 2.0**-12), np.full((k, 8), 1.5 * 2.0**-12)
    for first in (1.0, -1.0):  # each product is three quarters of the last bit
        C = np.full((16, 8), first)
        np.testing.assert_array_equal(product(first * A, B, C, number), C)
    exact = np.float32(k * 1.5 * 2.0**-24)
    np.testing.assert_array_equal(product(A, B, 0 * C, number), np.full((16, 8), exact))


def test_infinity_and_nan_stay_in_their_row_and_column():
    A, B = np.ones((16, 8)), np.ones((8, 8))
    A[3, 1], B[2, 5] = np.inf, np.nan
    found = product(A, B, np.zeros((16, 8)), "tf32")
    expected = np.full((16, 8), 8.0)
    expected[3], expected[:, 5] = np.inf, np.nan
    np.testing.assert_array_equal(found, expected)


def test_the_last_13_bits_of_a_float32_are_not_read():
    A = np.full((16, 8), np.float32(1 + 2.0**-10 + 2.0**-11))
    found = product(A, np.eye(8), np.zeros((16, 8)), "tf32")
    np.testing.assert_array_equal(found, np.full((16, 8), 1 + 2.0**-10))


COPIES = """extern "C" __global__ void k(const int *x, int *out) {
  __shared__ __align__(16) int s[64];
  const int t = threadIdx.x;
  s[t] = s[32 + t] = 7;
  __syncthreads();
  if (t < 8) emulator::copy_async(s + 4 * t, x + 4 * t, 16, GIVEN);
  emulator::commit_copies();
  if (t < 8) emulator::copy_async(s + 32 + 4 * t, x + 4 * t, 16, 16);
  emulator::commit_copies();
  emulator::wait_for_copies(LEFT);
  __syncthreads();
  out[t] = s[t];
  out[32 + t] = s[32 + t];
}"""


@pytest.mark.parametrize("given", [0, 4, 16])
@pytest.mark.parametrize("left", [0, 1, 2])
def test_copies_are_there_when_their_group_was_waited_for(left, given):
    x, out = np.arange(1, 33, dtype=np.int32), np.zeros(64, np.int32)
    kernel = emulator.compile_source(COPIES, (f"-DGIVEN={given}", f"-DLEFT={left}"))["k"]
    emulator.launch(kernel, 1, 32, (x, out))
    first = np.where(np.arange(32) % 4 < given // 4, x, 0)  # what is not given is 0
    missing = np.full(32, -1)
    expected = [first if left < 2 else missing, x if left < 1 else missing]
    np.testing.assert_array_equal(out.reshape(2, 32), expected)


def test_definitions_reach_the_source():
    out = np.zeros(1)
    text = 'extern "C" __global__ void k(T *out) { *out = VALUE; }'
    module = emulator.compile_source(text, ["-DT=double", "-DVALUE=2.5"])
    emulator.launch(module["k"], 1, 1, (out,))
    assert out[0] == 2.5


# ---- the order in which threads run


def order(schedule, seed=0):
    out = np.zeros(12, np.int32)
    kernel = load("order")["tickets"]
    args = (out, np.zeros(1, np.int32))
    emulator.launch(kernel, 1, 128, args, schedule=schedule, seed=seed)
    return out.tolist()


def test_schedules_order_warps_as_they_say():
    assert order("in_order") == [0, 1, 2, 3] * 3
    assert order("reversed") == [3, 2, 1, 0] * 3
    assert order("greedy_warp") == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3


def test_a_random_schedule_depends_on_its_seed_alone():
    orders = [order("random", seed) for seed in range(5)]
    assert orders == [order("random", seed) for seed in range(5)]
    assert len({tuple(o) for o in orders}) > 1


def test_a_whole_gpu_of_threads_is_alive_at_once():
    n = 132 * 256
    x = np.random.default_rng(6).random(n, np.float32)
    expected = 0.5 * (x + x[::-1])
    args = (x, np.zeros_like(x), np.zeros(1, np.uint32), np.int64(n), np.int32(10))
    emulator.launch(load("grid_steps")["grid_steps"], 132, 256, args, cooperative=True)
    np.testing.assert_allclose(x, expected, rtol=0, atol=1e-6)


def test_the_portable_switch_works(monkeypatch):
    compiler = emulator._compiler()
    monkeypatch.setattr(emulator, "_compiler", lambda: [*compiler, "-DEMULATOR_UCONTEXT"])
    test_a_kernel_gives_what_numpy_gives("grid_steps", "random")


# ---- what is reported, without the checker too

HANGS = {
    "a thread exits before a barrier": (
        "if (threadIdx.x == 5) return;\n  __syncthreads();",
        "divergent barrier",
        "__syncthreads();",
    ),
    "a thread exits from a barrier's other side": (
        "if (threadIdx.x != 5)\n  __syncthreads();",
        "divergent barrier",
        "__syncthreads();",
    ),
    "two barriers": (
        "if (threadIdx.x < 16)\n  __syncthreads();\n else\n  __syncthreads();",
        "divergent barrier",
        "__syncthreads();",
    ),
    "a named lane has exited": (
        "if (threadIdx.x == 5) return;\n  out[0] = __shfl_sync(~0u, 1, 0);",
        "lane mask",
        "__shfl_sync",
    ),
    "a lane exits while others wait": (
        "if (threadIdx.x == 31) return;\n  __syncwarp();",
        "lane mask",
        "__syncwarp",
    ),
    "a lane not in its mask": ("__syncwarp(0xffff);", "lane mask", "__syncwarp"),
    "a source not in the mask": (
        "if (threadIdx.x < 16)\n out[0] = __shfl_sync(0xffff, 1, 16);",
        "lane mask",
        "__shfl_sync",
    ),
    "two calls for one mask": (
        "if (threadIdx.x < 16)\n  __any_sync(~0u, 1);\nelse __all_sync(~0u, 1);",
        "lane mask",
        "_sync(~0u, 1)",
    ),
    "a lane waits at the barrier": (
        "if (threadIdx.x < 16)\n  __syncwarp();\n  __syncthreads();",
        "lane mask or deadlock",
        "__syncwarp",
    ),
    "a spin that nothing ends": (
        "while (__atomic_load_n(out, __ATOMIC_ACQUIRE) == 0)\n __nanosleep(0);",
        "deadlock",
        "__nanosleep",
    ),
    "a trap": ("if (threadIdx.x == 7)\n  __trap();", "trap", "__trap"),
    "a misaligned vector": (
        "int4 v =\n  *(int4 *)(out + 1); out[0] = v.x;",
        "misaligned",
        "(int4 *)",
    ),
    "a misaligned copy": (
        "__shared__ __align__(16) int s[8];\n  emulator::copy_async(s, out + 1, 16, 16);",
        "misaligned",
        "copy_async",
    ),
    "a lane that has left a product": (
        "unsigned a[4] = {}, b[2] = {}; float c[4] = {}; if (threadIdx.x == 5) return;\n"
        "  emulator::mma(emulator::Number::tf32, 8, a, b, c);",
        "lane mask",
        "emulator::mma",
    ),
    "a null pointer": ("int *p = 0;\n  p[threadIdx.x] = 1;", "crash", "p[threadIdx.x] = 1"),
    "a division by zero": ("out[1] = 7 /\n  out[0];", "crash", "7 /"),
}


@pytest.mark.parametrize("schedule", emulator.SCHEDULES)
@pytest.mark.parametrize("fault", HANGS)
def test_a_fault_is_an_error_with_its_kind_and_line(fault, schedule):
    body, kind, place = HANGS[fault]
    text = f'extern "C" __global__ void k(int *out) {{\n  {body}\n}}\n'
    with pytest.raises(emulator.KernelError) as caught:
        run(text, np.zeros(32, np.int32), block=64, schedule=schedule)
    error = caught.value
    assert (error.kernel, error.file) == ("k", "kernel.cu")
    assert error.kind in kind.split(" or "), error
    assert place in text.splitlines()[error.line - 1], error


def test_an_endless_loop_is_an_error(monkeypatch):
    monkeypatch.setattr(emulator, "TIME_LIMIT", 1)
    text = 'extern "C" __global__ void k(volatile int *x) {\n while (*x == 0);\n}'
    with pytest.raises(emulator.KernelError, match=r"kernel\.cu:2: time limit in k"):
        run(text, np.zeros(1, np.int32))


def test_a_stack_that_overflows_is_an_error():
    text = """__device__ __noinline__ int deep(int n) {
      volatile int pad[64];
      pad[n % 64] = n;
      const int below = n ? deep(n + 1) : 0;
      return below ^ pad[n % 64];  // read after the call, which is thus no jump
    }
    extern "C" __global__ void k(int *x) { *x = deep(1); }"""
    with pytest.raises(emulator.KernelError, match=r"crash in k: .*overflowed its stack"):
        run(text, np.zeros(1, np.int32))


def test_after_an_error_the_module_still_works():
    text = 'extern "C" __global__ void k(int *x, int bad) { if (bad) __trap(); *x = 1; }'
    module, x = emulator.compile_source(text), np.zeros(1, np.int32)
    with pytest.raises(emulator.KernelError):
        emulator.launch(module["k"], 1, 32, (x, np.int32(1)))
    emulator.launch(module["k"], 1, 32, (x, np.int32(0)))
    assert x[0] == 1


# ---- what is refused


@pytest.mark.parametrize(
    ("position", "value", "error"),
    [
        (0, np.zeros(4), TypeError),
        (0, [0.0], TypeError),
        (0, np.zeros((4, 4), np.float32)[:, 0], ValueError),
        (1, np.zeros(4, np.int16), TypeError),
        (2, 4, TypeError),
        (2, np.int32(4), TypeError),
        (2, np.float64(4), TypeError),
    ],
)
def test_arguments_must_have_the_kernels_types(position, value, error):
    text = 'extern "C" __global__ void k(float *x, const unsigned short *y, long long n) {}'
    args = [np.zeros(4, np.float32), np.zeros(4, np.float16), np.int64(4)]
    run(text, *args)
    args[position] = value
    with pytest.raises(error):
        run(text, *args)


def test_an_array_that_is_written_must_be_writeable():
    x = np.zeros(1, np.float32)
    x.flags.writeable = False
    run('extern "C" __global__ void k(const float *x) {}', x)
    with pytest.raises(ValueError, match="read-only"):
        run('extern "C" __global__ void k(float *x) {}', x)


@pytest.mark.parametrize(("grid", "block"), [(0, 32), (1, 0), (1, 1025), (1, (33, 32))])
def test_a_grid_and_its_blocks_have_a_size(grid, block):
    kernel = emulator.compile_source('extern "C" __global__ void k() {}')["k"]
    with pytest.raises(ValueError, match="a block 1 to 1024 threads"):
        emulator.launch(kernel, grid, block, ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('extern "C" __global__ void k() { oops; }', "kernel.cu:1.*oops"),
        ('extern "C" __global__ void k() {\n mystery(1);\n}', "kernel.cu:2.*mystery"),
        ("__shared__ int a[4];", "inside the function"),
        ('extern "C" __global__ void k() { __shared__ int a[4], b; }', "one shared array"),
    ],
)
def test_a_source_that_is_wrong_is_a_compile_error(text, message):
    with pytest.raises(emulator.CompileError, match=message):
        emulator.compile_source(text)


def test_an_unknown_option_is_refused():
    with pytest.raises(ValueError, match="--use_fast_math"):
        emulator.compile_source("", ["--use_fast_math"])


def test_a_machine_without_gcc_is_told_so(monkeypatch):
    monkeypatch.setattr(emulator.shutil, "which", lambda name: None)
    assert emulator.missing() == "the CUDA emulator needs g++, which is not installed"
