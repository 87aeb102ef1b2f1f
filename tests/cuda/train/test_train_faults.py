"""Faults planted in train.cuh and train_*.cu: the checker or the error bounds find every one."""

import emulator
import pytest
from train_cases import LAUNCHES, STEPS, mixed

from softstep.kernels._cupy import kernel, linear
from softstep.kernels._cupy.training import shapes as train_shapes
from softstep.kernels._cupy.training import steps as train_steps
from softstep.kernels.verify import cases, parity
from softstep.kernels.verify.cases import Size

A, B, OWNERS, WIDE, SLICES, TENSOR = (
    STEPS, LAUNCHES, "by owner", "wide heads", "slices", "tensor cores",
)  # fmt: skip
WRONG, RACE, BLOCKS, UNSET, BOUNDS = (
    "wrong numbers", "race", "race between blocks", "uninitialised", "out of bounds",
)  # fmt: skip


# What is wrong: the path, what is replaced, by what, and the findings that count. Which of them it
# is depends on the schedule.
FAULTS = {
    # a step in two launches
    "tiles read before they are complete": (
        B, "__syncthreads();  // the tiles are complete\n      if (k +", "if (k +", {RACE, UNSET},
    ),
    "tiles overwritten while they are read": (
        B, "sum);\n      __syncthreads();  // nobody", "sum);\n      // nobody", {RACE},
    ),
    "tiles of the update read before they are complete": (
        B, "__syncthreads();  // the tiles are complete\n    if (r0 +", "if (r0 +", {RACE, UNSET},
    ),
    "logits used before they are complete": (
        B, "__syncthreads();  // the logits are complete\n}", "}", {RACE, UNSET},
    ),
    "gradients copied before they are complete": (
        B, "__syncthreads();  // the gradients are complete\n  copy", "copy", {RACE},
    ),
    "rows past the end of a short batch": (
        B, "if (r >= tile.rows) continue;", "", {BOUNDS, UNSET, RACE, BLOCKS},
    ),
    "features past the last": (B, "x_k < d && reader.x_row", "reader.x_row", {BOUNDS, WRONG}),
    "columns past the last": (
        B, "t % TILE_COLUMNS < tile.columns\n                        ? weight_at",
        "true ? weight_at", {BOUNDS},
    ),
    "weights past the last feature": (
        B, "if (k >= left) continue;", "", {BOUNDS, BLOCKS},
    ),
    "rows of the tile above": (B, "* V_STRIDE + k * (int)c,", "* V_STRIDE,", {RACE, WRONG, UNSET}),
    "a slice's sum left out": (B, "total[i][j] += sum[i][j]", "total[i][j] = sum[i][j]", {WRONG}),
    "a head's flags of another head": (
        B, "results.flags + head * job", "results.flags + (head + h) * job",
        {BOUNDS},
    ),
    "sums of half the lanes": (
        B, "int step = ROW_LANES / 2; step > 0; step /= 2)\n    value",
        "int step = ROW_LANES / 4; step > 0; step /= 2)\n    value", {WRONG},
    ),
    "half of the lanes' mask": (B, ">> (32 - ROW_LANES)", ">> (33 - ROW_LANES)", {"lane mask"}),
    "the diagonal of the Jacobian alone": (
        B, "p * fma(p_y, q, plus(p, -s))", "p * p * (1 - p)", {WRONG},
    ),
    "the step's number written where it is read": (
        B, "counter[0] = step + 1", "counter[1] = step + 2", {BLOCKS, RACE},
    ),
    "the next step's states written where they are read": (
        B, "active[(step + 1) % 2 * h", "active[step % 2 * h", {BLOCKS, RACE, WRONG},
    ),
    "a head reported by every block": (B, "blockIdx.x == 0 && head * c", "head * c", {BLOCKS}),
    "the bias updated by every block": (
        B, "has_bias = blockIdx.x == 0 && t", "has_bias = t", {BLOCKS, WRONG},
    ),
    # slices of the features in blocks of their own
    "slices: each in the place of the first": (
        SLICES, "results.slices + slice * job", "results.slices + 0 * job", {BLOCKS, WRONG},
    ),
    "slices: the features of the first for all": (
        SLICES, "read(reader, job, first_slice * SLICE_FEATURES)", "read(reader, job, 0)", {WRONG},
    ),
    "slices: the bias in each": (
        SLICES, "slice == 0 && column < tile.columns", "column < tile.columns", {WRONG},
    ),
    "slices: the tile's rows for all": (
        SLICES, "V[(tile.first_row + row_of_sum(i)) *", "V[row_of_sum(i) *", {BLOCKS, WRONG},
    ),
    "slices: one left out": (
        SLICES, "results.slice_count,\n", "results.slice_count - 1,\n", {WRONG},
    ),
    "slices: the step's number written by all of them": (
        SLICES, "blockIdx.z == 0 && threadIdx", "threadIdx", {BLOCKS},
    ),
    "slices: logits used before they are complete": (
        SLICES, "__syncthreads();  // the logits are complete\n  }\n", "}\n", {RACE},
    ),
    "wide heads: the row above": (
        WIDE, "results.dV + pair * c", "results.dV + max(pair - 1, 0ll) * c",
        {RACE, BLOCKS, WRONG},
    ),
    # the losses
    "the slope of the cross-entropy for that of gce": (
        B, "(REAL)GCE_Q, exp(exponent), false", "(REAL)GCE_Q, 1, false", {WRONG},
    ),
    "gce reported as cross-entropy": (
        A, "return {-expm1(exponent) / (REAL)GCE_Q, exp", "return {entropy(), exp", {WRONG},
    ),
    "MSE without its factor": (A, "(REAL)2 / (REAL)c, true", "1, true", {WRONG}),
    "the first head's loss for all": (B, "loss_codes[head]", "loss_codes[0]", {WRONG}),
    "the cross-entropy through the Jacobian": (
        A, "return {entropy(), 1, false}", "return {entropy(), 1, true}", {WRONG},
    ),
    # many steps in one launch
    "no grid barrier": (
        A, "if (!wait(block, exchange, counter, arrivals += gridDim.x)) return;\n\n",
        "arrivals += gridDim.x;\n\n",
        {BLOCKS, UNSET},
    ),
    "a grid barrier for a block too few": (A, "< arrivals;", "< arrivals - 1;", {BLOCKS}),
    "a grid barrier for a block too many": (A, "< arrivals;", "< arrivals + 1;", {"deadlock"}),
    "no release": (A, "__ATOMIC_RELEASE", "__ATOMIC_RELAXED", {BLOCKS}),
    "no acquire": (A, "__ATOMIC_ACQUIRE", "__ATOMIC_RELAXED", {BLOCKS}),
    "no barrier of the block before the release": (
        A, "  __syncthreads();  // what this", "  // what this", {BLOCKS},
    ),
    "one buffer for the partial logits": (
        A, "partials + step % 2 * gridDim.x * size", "partials", {BLOCKS, WRONG},
    ),
    "one buffer for the features": (
        A, "x_slices + step % 2 * block", "x_slices + 0 * block", {RACE, WRONG, UNSET},
    ),
    "rows gathered before it is known which": (
        A, "__syncthreads();  // it is known which rows are gathered", "", {RACE, UNSET},
    ),
    "one place for the rows' numbers": (
        A, "index = block.index + step % 3 * block", "index = block.index + 0 * block",
        {RACE, WRONG, UNSET},
    ),
    "features of the row above": (
        A, "row = r < count ? rows.index[r]", "row = r < count ? rows.index[max(r - 1, 0)]",
        {WRONG},
    ),
    "rows past the end of a short step": (
        A, "row = r < count ? rows.index[r] : 0", "row = rows.index[r]", {BOUNDS, UNSET, RACE},
    ),
    "features past the end of the last slice": (
        A, "(int)min(features.d - block.first_feature, (long long)SLICE_FEATURES)",
        "SLICE_FEATURES", {BOUNDS, WRONG},
    ),
    "four features at a time where rows are not aligned": (
        A, "if (rows_are_aligned(features.X", "if (true || rows_are_aligned(features.X",
        {"misaligned", BOUNDS, WRONG},
    ),
    "sums used before they are complete": (
        A, "__syncthreads();  // the logits are complete\n  for", "for", {RACE, UNSET},
    ),
    "weights read before they are updated": (
        A, "__syncthreads();  // the next step reads the new weights", "", {RACE},
    ),
    "states read before they are known": (
        A, "__syncthreads();  // it is known which heads are updated", "", {RACE, UNSET},
    ),
    "the bias added by every block": (
        A, "block.has_bias ? block.bias[column] : (REAL)0", "block.bias[column]", {UNSET},
    ),
    # the tile on the tensor cores, which products of other ops have too
    "a slab used before its copies are there": (
        TENSOR, "    wait_for_copies();\n", "", {RACE},
    ),
    "copies that belong to no group": (TENSOR, "    commit_copies();\n", "", {RACE}),
    "the newest group not waited for": (
        TENSOR, "emulator::wait_for_copies(0)", "emulator::wait_for_copies(1)", {RACE},
    ),
    "a slab used before all have their copies": (
        TENSOR, "__syncthreads();  // all of this slab", "// all of this slab", {RACE, UNSET},
    ),
    "one buffer for the slabs": (
        TENSOR, "next = 1 - next;", "next = 0;", {RACE, UNSET},
    ),
    "lines of the slab before": (
        TENSOR, "find_lines(depth + SLAB)", "find_lines(depth)", {WRONG},
    ),
    "features past the last of a line": (
        TENSOR, "max(0, min(left - unit() * per_unit, per_unit))", "per_unit", {BOUNDS},
    ),
    "lines past the end of the depth": (
        TENSOR, "inside = line() + i < left", "inside = true", {BOUNDS},
    ),
    "rows past the last of a step": (
        TENSOR, "rows.index[min(row + r, rows.count - 1)]", "rows.index[row + r]", {BOUNDS},
    ),
    "columns past the last of the bank": (
        TENSOR, "columns - 4 + j % 4", "first + j", {BOUNDS},
    ),
    "rows of the factors exchanged": (
        TENSOR, "x[i / 2][2 * q + i % 2]", "x[i / 2][2 * q + 1 - i % 2]", {WRONG},
    ),
    "features of the factors exchanged": (
        TENSOR, "[2 * q + r % 2]", "[2 * q + 1 - r % 2]", {WRONG},
    ),
    "places in the depth exchanged": (
        TENSOR, "parts[q][part], parts[q + 1][part]", "parts[q + 1][part], parts[q][part]",
        {WRONG},
    ),
    "columns of the sums by the thread alone": (
        TENSOR, "+ 2 * thread_of_quad() + j % 2", "+ thread_of_quad() + j % 2",
        {RACE, WRONG},
    ),
    "units read where they are not": (
        TENSOR, "swizzled(place, column / 4) * 4", "column / 4 * 4", {WRONG},
    ),
    "what the first 11 bits leave left out": (TENSOR, "part < PARTS", "part < 1", {WRONG}),
    "the first 12 bits for the first 11": (
        TENSOR, "& 0xffffe000u", "& 0xfffff000u", {WRONG},
    ),
    "the sum of a slab left out": (TENSOR, "sums[i][j] += slab", "sums[i][j] = slab", {WRONG}),
    "the bias of one slab": (TENSOR, "bias += slab", "bias = slab", {WRONG}),
    "sums without the scale": (
        TENSOR, "features.scale * sums[i][j]", "sums[i][j]", {WRONG},
    ),
    "owners: no second barrier": (
        OWNERS,
        "if (!wait(block, exchange, counter, arrivals += gridDim.x)) return;\n      take_in",
        "arrivals += gridDim.x;\n      take_in", {BLOCKS, UNSET},
    ),
    "owners: shares from anywhere on": (
        OWNERS, "(int)gridDim.x + 3) / 4 * 4;", "(int)gridDim.x);", {"misaligned", WRONG},
    ),
    "owners: places that are not taken in": (
        OWNERS, "< count) to[first", "< count - 1) to[first", {WRONG, UNSET},
    ),
    "owners: pairs without one": (
        OWNERS, "((pairs + (int)gridDim.x - 1) / (int)gridDim.x + 3) / 4 * 4",
        "pairs / (int)gridDim.x / 4 * 4", {WRONG},
    ),
}  # fmt: skip


def problem(path):
    """A bank of more than one tile, slice and step, with a short last batch and tile."""
    if path == TENSOR:  # one step, on tiles that are not full, of slabs that are not either
        (X, y, order, _, W, b), options = cases.OPS["train"].arguments(
            Size(44, 48, 132), "uint8", 0
        )
        return (X, y, order, len(X), 2 * W, b), {**options, "learning_rate": 0.07}
    size = Size(20, 70, 130, 2) if path == WIDE else Size(44, 70, 10, 3)
    (X, y, order, _, W, b), options = cases.OPS["train"].arguments(size, "float32", 0)
    options = {**options, "learning_rate": 0.07, "loss": mixed(size.h), "momentum": 0.5}
    return (X, y, order, 20, 2 * W, b), options


@pytest.fixture
def finding(machine, run_on, monkeypatch):
    """finding(path, schedule): the kind of error that the kernels show, or None."""

    def find(path, schedule):
        if path == OWNERS:
            monkeypatch.setattr(train_steps, "REDUNDANT_BYTES", 0)
        if path == TENSOR:
            monkeypatch.setattr(linear, "LEAST_TENSOR_DEPTH", 33)
            monkeypatch.setattr(linear, "LEAST_TENSOR_WIDTH", 33)
        if path == SLICES:
            monkeypatch.setattr(train_shapes, "SPLIT_FEATURES", 0)
        machine.check, machine.schedule = True, schedule
        arguments = problem(path)
        try:
            found = run_on(A if path in (A, OWNERS) else B, arguments)
        except emulator.KernelError as error:
            return error.kind
        ratios = parity.ratios(found, *parity.truth_and_bounds("train", arguments))
        return WRONG if max(ratios) > 1 else None

    return find


FILES = (
    "train_forward.cu", "train_rows.cu", "train_update.cu", "train_steps.cu", "train_tensor.cu",
)  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault, finding, monkeypatch):
    path, old, new, kinds = FAULTS[fault]
    source = kernel.source
    # What is shared stands before each of the files.
    assert all(source(file).count(old) <= 1 for file in FILES)
    assert any(old in source(file) for file in FILES)
    monkeypatch.setattr(kernel, "source", lambda file: source(file).replace(old, new))
    assert {finding(path, schedule) for schedule in ("in_order", "random")} <= kinds


@pytest.mark.parametrize("schedule", emulator.SCHEDULES)
@pytest.mark.parametrize("path", [A, B, WIDE, SLICES, OWNERS, TENSOR])
def test_the_kernels_as_they_are_show_none(path, schedule, finding):
    assert finding(path, schedule) is None
