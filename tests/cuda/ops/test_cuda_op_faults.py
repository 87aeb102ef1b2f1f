"""Faults planted in the CUDA ops: the checker or the error bounds find every one."""

from dataclasses import dataclass
from typing import Any

import emulator
import numpy as np
import pytest

from softstep.kernels import backend
from softstep.kernels._cupy import cross_entropy, kernel, launch, linear
from softstep.kernels._cupy.arrays import asarray
from softstep.kernels.losses import LOSSES
from softstep.kernels.verify import cases, parity
from softstep.kernels.verify.cases import Size

WRONG = "wrong numbers"
SHARED = ("race", "uninitialised")
OUTSIDE = ("out of bounds",)
LONG = Size(3, 1, 1100)  # a block a row
WIDE, DEEP = Size(40, 400, 36), Size(400, 40, 36)  # on tensor cores, in two parts


@dataclass(frozen=True)
class Fault:
    """`old` replaced by `new` in the kernel's source; what of the findings count."""

    op: str
    size: Size
    old: str
    new: str
    kinds: tuple[str, ...]
    arguments: Any = None  # of the op, in place of the usual ones


def soft(arguments, size):
    (first, _), options = arguments
    return (first, cases.probabilities(size.n, size.c, np.float32, 3)), options


def wide(arguments, size):
    (V, *rest), options = arguments
    return (4 * V, *rest), options


def rising(arguments, size):
    (V, *rest), options = arguments
    return (np.sort(V, axis=1), *rest), options


def near_ties(arguments, size):
    """All but the label's logit, which counts next to nothing."""
    (V, y), options = arguments
    V = np.float32(5) + np.float32(1e-6) * V
    V[np.arange(size.n), y] = -60
    return (V, y), options


def equal(arguments, size):
    (X, W, b), options = arguments
    return (X, 0 * W, 0 * b + 1), options


def halves(arguments, size):
    positional, options = arguments
    of_features = (size.n, size.d)
    return tuple(a.astype("float16") if a.shape == of_features else a for a in positional), options


def with_sets(arguments, size):
    (X, y, W, b), options = arguments
    y = np.stack([y, np.roll(y, 1)])
    weights = np.random.default_rng(1).random((2, size.n)).astype(np.float32)
    index = np.arange(size.h)[::-1] % 2
    sets = {"sample_weight": weights, "y_index": index, "weight_index": index}
    return (X, y, W, b), {**options, **sets}


def each_loss(arguments, size):
    (X, y, W, b), options = arguments
    return (X, y, W, b), {**options, "loss": list(LOSSES)[: size.h]}


def of_gce(arguments, size):
    positional, options = arguments
    return positional, {**options, "loss": "gce"}


FAULTS = {
    # ---- rows
    "a warp's sum read before it is written": Fault(
        "softmax_forward", LONG,
        "parts[threadIdx.x / 32] = sum;\n  __syncthreads();", "parts[threadIdx.x / 32] = sum;",
        SHARED,
    ),
    "the warps' sums overwritten while they are read": Fault(
        "softmax_mse_backward", LONG,
        "add(sum, parts[w]);\n  __syncthreads();", "add(sum, parts[w]);", ("race",),
    ),
    "the warps' largest overwritten while they are read": Fault(
        "predict", Size(40, 2, 1100),
        "larger(most, parts[w]);\n  __syncthreads();", "larger(most, parts[w]);", ("race",),
    ),
    "a wrong lane": Fault(
        "softmax_backward", Size(3, 1, 40),
        "__shfl_xor_sync(lanes_of_reduction(), sum.high, lanes)",
        "__shfl_xor_sync(lanes_of_reduction(), sum.high, 1)", (WRONG,),
    ),
    "half of the lanes": Fault(
        "softmax_backward", Size(3, 1, 40),
        "lanes = ROW_SHARERS / 2; lanes > 0; lanes /= 2) {\n    const REAL high",
        "lanes = ROW_SHARERS / 4; lanes > 0; lanes /= 2) {\n    const REAL high", (WRONG,),
    ),
    "the lanes of the rows beside": Fault(
        "softmax_backward", Size(3, 1, 5),
        "lanes = ROW_SHARERS / 2; lanes > 0; lanes /= 2) {\n    const REAL high",
        "lanes = ROW_SHARERS; lanes > 0; lanes /= 2) {\n    const REAL high", (WRONG,),
    ),
    "a lane left out": Fault(
        "softmax_forward", Size(3, 1, 40),
        "const REAL high = __shfl_xor_sync(lanes_of_reduction()",
        "const REAL high = __shfl_xor_sync(0xffff", ("lane mask",),
    ),
    "a row too many": Fault(
        "softmax_forward", Size(3, 1, 5),
        "row < n) return {row, c};", "row <= n) return {row, c};", OUTSIDE,
    ),
    "columns read past the end of the row": Fault(
        "softmax_forward", Size(3, 1, 5),
        "is_inside(columns, tile, i) ? row[column(tile, i)] : -infinity(REAL())",
        "row[column(tile, i)]",
        (*OUTSIDE, WRONG),
    ),
    "columns written past the end of the row": Fault(
        "softmax_backward", Size(3, 1, 5),
        "if (is_inside(at.columns, tile, i))\n          dV[at.row * c", "dV[at.row * c",
        (*OUTSIDE, "race"),
    ),
    "padding in the sum": Fault(
        "mse_forward", Size(3, 1, 5), "is_inside(at.columns, tile, i) ? target", "true ? target",
        (*OUTSIDE, WRONG),
    ),
    "the largest among the others": Fault(
        "cross_entropy_forward", Size(3, 1, 5),
        "if (column(tile, i) != s.largest.at) add", "add", (WRONG,),
    ),
    "a thread's sum that is not scaled to its new largest": Fault(
        "softmax_forward", Size(3, 1, 300), "sum = rescaled(sum, mine, to);", "", (WRONG,), rising,
    ),
    "threads' sums that are not scaled to the row's largest": Fault(
        "softmax_forward", Size(3, 1, 300), "row_sum(rescaled(sum, mine, s))", "row_sum(sum)",
        (WRONG,), rising,
    ),
    "a largest of before that is forgotten": Fault(
        "cross_entropy_forward", Size(3, 1, 300),
        "if (row_thread() == 0) add(others, before.top);", "", (WRONG,), rising,
    ),
    "a largest of before that every thread adds": Fault(
        "cross_entropy_forward", Size(3, 1, 300), "if (row_thread() == 0) add(others", "add(others",
        (WRONG,), rising,
    ),
    "a sum that is not scaled to the new largest": Fault(
        "cross_entropy_forward", Size(3, 1, 300),
        "others = times(others, ratio(before.scale, before.top, s.scale, s.top));", "",
        (WRONG,), rising,
    ),
    "tiles written with the last one's values": Fault(
        "cross_entropy_backward", Size(3, 1, 300),
        "if (tile == held) return;", "if (tile <= held) return;", (WRONG,),
    ),
    "the rounding of v - max": Fault(
        "softmax_mse_backward", Size(20, 1, 7), "g.low + d.low", "g.low", (WRONG,), wide,
    ),
    "the rounding of 1 / ln 2": Fault(
        "softmax_forward", Size(20, 1, 7), "fma(v, log2_e_rest, fma(v, log2_e, -n))",
        "fma(v, log2_e, -n)", (WRONG,), wide,
    ),
    "the diagonal of the Jacobian alone": Fault(
        "softmax_backward", Size(3, 1, 5),
        "2 * p[i] * (dp[i] / 2 - half_mean)", "p[i] * (1 - p[i]) * dp[i]", (WRONG,),
    ),
    "the class beside the label": Fault(
        "cross_entropy_backward", Size(3, 1, 5), "j == label ? -others", "j == label + 1 ? -others",
        (WRONG,),
    ),
    "p_y - 1 by subtraction": Fault(
        "cross_entropy_backward", Size(20, 1, 3),
        "quotient(j == label ? -others : e[i], total, inverse)",
        "e[i] / total - (j == label)", (WRONG,),
    ),
    "e_i - e_j by subtraction": Fault(
        "softmax_mse_backward", Size(20, 1, 5), "const REAL gap = -more * expm1("
        "rises ? v_i - v_j : v_j - v_i);\n  return rises ? -gap : gap;", "return e_i - e_j;",
        (WRONG,), near_ties,
    ),
    "soft targets of the row above": Fault(
        "softmax_mse_backward", Size(3, 1, 5), "(p[i] - Y[at.row * c + j])",
        "(p[i] - Y[(at.row ? at.row - 1 : at.row) * c + j])", (WRONG,), soft,
    ),
    # ---- the linear layer
    "slabs read before they are complete": Fault(
        "linear_forward", Size(20, 70, 20),
        "store_slab(w, w_slab[now]);\n    __syncthreads();", "store_slab(w, w_slab[now]);", SHARED,
    ),
    "slabs of the backward pass read before they are complete": Fault(
        "linear_backward", Size(70, 20, 20),
        "store_slab(dv, dv_slab[now]);\n    __syncthreads();", "store_slab(dv, dv_slab[now]);",
        SHARED,
    ),
    "one buffer for the slabs": Fault(
        "linear_forward", Size(20, 70, 20),
        "multiply_slabs(a_slab[now], w_slab[now], sums);\n    now = 1 - now;",
        "multiply_slabs(a_slab[now], w_slab[now], sums);", ("race",),
    ),
    "features past the last": Fault(
        "linear_forward", Size(20, 33, 3), "column + i < length ? load_feature", "true ? "
        "load_feature", (*OUTSIDE, WRONG),
    ),
    "vector loads where rows are not aligned": Fault(
        "linear_forward", Size(20, 33, 3), "return length % 4 == 0 &&", "return true ||",
        ("misaligned", *OUTSIDE, WRONG),
    ),
    "rows past the end of a part": Fault(
        "linear_backward", Size(300, 8, 3), "&& r < end;", "&& r <= end;", (*OUTSIDE, WRONG),
    ),
    "columns past the last": Fault(
        "linear_forward", Size(20, 8, 3), "if (row < rows && column < columns)",
        "if (row < rows)", (*OUTSIDE, "race"),
    ),
    "every part in the place of the first": Fault(
        "linear_forward", Size(20, 600, 3), "V + blockIdx.z * n * c", "V",
        ("race between blocks", "uninitialised", WRONG),
    ),
    "a part left out": Fault(
        "linear_forward", Size(20, 600, 3), "k < count; ++k) sum", "k < count - 1; ++k) sum",
        (WRONG,),
    ),
    "the bias of the row": Fault(
        "linear_forward", Size(20, 600, 3), "b[i % c]", "b[i / c]", (*OUTSIDE, WRONG),
    ),
    "column sums read before they are complete": Fault(
        "linear_backward", Size(100, 3, 5), "__syncthreads();  // every warp's sums are there", "",
        SHARED,
    ),
    "rows that no warp adds": Fault(
        "linear_backward", Size(100, 3, 5), "r += COLUMN_THREADS", "r += COLUMN_THREADS + 1",
        (WRONG,),
    ),
    # ---- the same on the tensor cores, whose tile the faults of train are planted in
    "tensor cores: rows past the last": Fault(
        "linear_forward", WIDE, "if (r < rows) result", "result",
        (*OUTSIDE, "race between blocks"), halves,
    ),
    "tensor cores: columns past the last": Fault(
        "linear_forward", WIDE, "if (c >= columns) continue;\n    const", "const",
        (*OUTSIDE, "race"), halves,
    ),
    "tensor cores: rows of X past the last": Fault(
        "linear_forward", WIDE, "min(row + r, n - 1)", "(row + r)", OUTSIDE, halves,
    ),
    "tensor cores: the bias left out": Fault(
        "linear_forward", Size(40, 256, 36), "sums[i][j] * s + plus_bias", "sums[i][j] * s",
        (WRONG,), halves,
    ),
    "tensor cores: every part in the place of the first": Fault(
        "linear_forward", WIDE, "V += blockIdx.z * n * c;", "",
        ("race between blocks", "uninitialised", WRONG), halves,
    ),
    "tensor cores: the depth of the first part for all": Fault(
        "linear_backward", DEEP, "begin = blockIdx.z * part, end = min(n, begin + part)",
        "begin = 0, end = part", (WRONG,), halves,
    ),
    "tensor cores: every part of the backward pass in the place of the first": Fault(
        "linear_backward", DEEP, "dW += blockIdx.z * d * c;", "",
        ("race between blocks", "uninitialised", WRONG), halves,
    ),
    # ---- evaluate
    "losses added before they are complete": Fault(
        "evaluate", Size(300, 3, 3, 2), "__syncthreads();  // what is added now was written before",
        "", SHARED,
    ),
    "rows past the end of a chunk": Fault(
        "evaluate", Size(300, 3, 3, 2), "if (i < count) {", "if (i <= count) {", (*OUTSIDE, WRONG),
    ),
    "a chunk left out": Fault(
        "evaluate", Size(600, 3, 3, 2), "chunk < chunks;", "chunk < chunks - 1;", (WRONG,),
    ),
    "rows of other heads in a row's sums": Fault(
        "evaluate", Size(300, 3, 3, 3), "#define ROWS_DIVERGE  // by", "// by",
        ("lane mask", "deadlock"), each_loss,
    ),
    "the first head's labels for all": Fault(
        "evaluate", Size(300, 3, 3, 2), "targets.labels + targets.y_index[head] * targets.n + r",
        "targets.labels + r", (WRONG,),
        with_sets,
    ),
    "the first head's weights for all": Fault(
        "evaluate", Size(300, 3, 3, 2), "targets.weight_index[head] * targets.n", "0 * targets.n",
        (WRONG,), with_sets,
    ),
    # ---- gradient
    "the last chunk's gradients left out": Fault(
        "gradient", Size(300, 3, 3, 2), "long long k = 0; k < count; ++k) sum +=",
        "long long k = 0; k < count - 1; ++k) sum +=", (WRONG,),
    ),
    "chunks in place of their sum": Fault(
        "gradient", Size(300, 3, 3, 2), "sum += parts[k * size + i]", "sum = parts[k * size + i]",
        (WRONG,),
    ),
    "gradients of rows past the last": Fault(
        "gradient", Size(300, 3, 3, 2), "q < count * h;\n       q +=",
        "q <= count * h;\n       q +=", (*OUTSIDE, WRONG),
    ),
    "every head's labels and weights for the next": Fault(
        "gradient", Size(300, 3, 3, 2), "targets, c, q % h,", "targets, c, (q + 1) % h,", (WRONG,),
        with_sets,
    ),
    "gradients unpacked in the wrong order": Fault(
        "gradient", Size(30, 5, 3, 2), "feature * h + head", "feature * h + h - 1 - head", (WRONG,),
    ),
    # ---- the surface
    "a chunk of the surface left out": Fault(
        "surface_forward", Size(600, 1, 3), "long long chunk = 0; chunk < chunks; ++chunk) {",
        "long long chunk = 1; chunk < chunks; ++chunk) {", (WRONG,),
    ),
    "rows past the end of a chunk of the surface": Fault(
        "surface_forward", Size(300, 1, 3), "first + ROWS < n ? first + ROWS : n", "first + ROWS",
        (*OUTSIDE, WRONG),
    ),
    "points past the last": Fault(
        "surface_forward", Size(30, 1, 3),
        "if (point >= grid.points) return;\n  const", "const", (*OUTSIDE, "race", WRONG),
    ),
    "the grid on its side": Fault(
        "surface_forward", Size(30, 1, 3),
        "x_offsets[point % grid.nx], y = grid.y_offsets[point / grid.nx]",
        "x_offsets[point / 3], y = grid.y_offsets[point % 3]", (WRONG,),
    ),
    "the label's own exponential among the others": Fault(
        "surface_forward", Size(30, 1, 3), "if (j == label) continue;", "", (WRONG,),
    ),
    "sums of the neighbour's chunk": Fault(
        "surface_forward", Size(300, 1, 3), "2 * (blockIdx.y * grid.points + point)",
        "2 * (blockIdx.y + point)", ("race between blocks", "uninitialised", "race", WRONG),
    ),
    # ---- the losses
    "the slope of the cross-entropy for that of gce": Fault(
        "gce_backward", Size(20, 1, 3), "GCE_Q, exp(exponent), false", "GCE_Q, 1, false",
        (WRONG,),
    ),
    "1 - p_y^q by subtraction": Fault(
        "gce_forward", Size(20, 1, 3), "-expm1(exponent) / (REAL)GCE_Q",
        "(1 - exp(exponent)) / (REAL)GCE_Q", (WRONG,), wide,
    ),
    "gce with the class beside the label": Fault(
        "gce_backward", Size(3, 1, 5), "j == label ? -others", "j == label + 1 ? -others", (WRONG,),
    ),
    "cross-entropy evaluated as gce": Fault(
        "evaluate", Size(300, 3, 3, 3),
        "case LOSS_CROSS_ENTROPY:\n      return {entropy(), 1, false};",
        "case LOSS_CROSS_ENTROPY:", (WRONG,), each_loss,
    ),
    "gce evaluated as cross-entropy": Fault(
        "evaluate", Size(300, 3, 3, 3), "return {-expm1(exponent) / (REAL)GCE_Q, exp",
        "return {entropy(), exp", (WRONG,), each_loss,
    ),
    "the first head's loss for all": Fault(
        "evaluate", Size(300, 3, 3, 3), "targets.loss_codes[head], c,", "targets.loss_codes[0], c,",
        (WRONG,), each_loss,
    ),
    "the surface of gce as that of the cross-entropy": Fault(
        "surface_forward", Size(30, 1, 3), "return {-expm1(exponent) / (REAL)GCE_Q, exp",
        "return {entropy(), exp", (WRONG,), of_gce,
    ),
    "heads packed in the wrong order": Fault(
        "predict", Size(30, 5, 3, 2), "head = i / c % h", "head = h - 1 - i / c % h", (WRONG,),
    ),
    "the last of equal logits": Fault(
        "predict", Size(30, 5, 3, 2), "equal ? b.at < a.at", "equal ? b.at > a.at", (WRONG,), equal,
    ),
}  # fmt: skip


def arguments_of(fault):
    usual = cases.OPS[fault.op].arguments(fault.size, np.float32, 1)
    return fault.arguments(usual, fault.size) if fault.arguments else usual


def findings(fault, machine):
    """The kind of error that a run shows."""
    arguments = arguments_of(fault)
    try:
        found = parity.run(fault.op, arguments, "cupy")
    except emulator.KernelError as error:
        return error.kind
    ratios = parity.ratios(found, *parity.truth_and_bounds(fault.op, arguments))
    return WRONG if max(ratios) > 1 else None


@pytest.fixture
def checked(machine, monkeypatch):
    """The emulated GPU under the checker, with short tiles: some rows here have more than one."""
    monkeypatch.setattr(launch, "REGISTER_VALUES", dict.fromkeys(launch.REGISTER_VALUES, 4))
    monkeypatch.setattr(launch, "BLOCKS_PER_MULTIPROCESSOR", 2)
    monkeypatch.setattr(linear, "LEAST_TENSOR_WIDTH", 33)
    monkeypatch.setattr(linear, "LEAST_PART", 200)  # 256 are one part
    backend.probe("cupy")  # by the softmax, before a fault is planted there
    machine.check = True
    return machine


@pytest.mark.parametrize("schedule", ["in_order", "random"])
@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(name, schedule, checked, monkeypatch):
    fault, source, planted = FAULTS[name], kernel.source, []

    def with_fault(file):
        planted.append(source(file).count(fault.old))
        return source(file).replace(fault.old, fault.new)

    monkeypatch.setattr(kernel, "source", with_fault)
    checked.schedule = schedule
    assert findings(fault, checked) in fault.kinds
    assert max(planted) == 1


@pytest.mark.parametrize("name", FAULTS)
def test_without_the_fault_nothing_is_found(name, checked):
    assert findings(FAULTS[name], checked) is None


def test_a_label_read_after_it_was_overwritten_is_found(checked, monkeypatch):
    """In place, without the barrier after which all threads have read V[label]."""
    V, y = cases.logits(3, 5, np.float32, 1), np.array([1, 2, 0])

    def in_place():
        logits = asarray(V)
        cross_entropy.cross_entropy_backward(logits, y, out=logits)

    in_place()
    source = kernel.source
    monkeypatch.setattr(kernel, "source", lambda file: source(file).replace("row_barrier();", ""))
    kernel.compiled.cache_clear()
    with pytest.raises(emulator.KernelError, match="race"):
        in_place()
