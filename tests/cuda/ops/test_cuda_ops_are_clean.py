"""The checker finds no fault in the CUDA ops: bounds, races, uninitialised memory, barriers."""

import numpy as np
import pytest

from softstep.kernels.verify import cases, parity
from softstep.kernels.verify.cases import Size

SIZES = {
    "rows": (Size(6, 1, 3), Size(3, 1, 45), Size(2, 1, 1030)),
    "layers": (Size(20, 260, 5), Size(33, 20, 20), Size(66, 36, 68)),
    "banks": (Size(260, 5, 3, 2),),
}
KINDS = {"linear_forward": "layers", "linear_backward": "layers", "predict": "banks"}
KINDS["evaluate"] = KINDS["gradient"] = "banks"
OPS = [op for op in cases.OPS if op != "train"]


@pytest.mark.parametrize("schedule", ["in_order", "random"])
@pytest.mark.parametrize("op", OPS)
def test_clean(op, schedule, machine):
    machine.check, machine.schedule = True, schedule
    for size in SIZES[KINDS.get(op, "rows")]:
        arguments = cases.OPS[op].arguments(size, np.float32, 1)
        found = parity.run(op, arguments, "cupy")
        assert all(np.isfinite(f).all() for f in found)


@pytest.mark.parametrize("op", ["linear_forward", "linear_backward"])
@pytest.mark.parametrize("dtype", ["float64", "float16", "uint8"])
def test_clean_for_every_kind_of_features(op, dtype, machine):
    machine.check = True
    for size in (Size(33, 20, 20), Size(33, 33, 3)):
        parity.run(op, cases.OPS[op].arguments(size, dtype, 1), "cupy")


@pytest.mark.parametrize("op", ["cross_entropy_forward", "cross_entropy_backward", "mse_forward"])
@pytest.mark.parametrize("c", [3, 1030])
def test_clean_with_soft_targets(op, c, machine):
    machine.check = True
    (first, _), options = cases.OPS[op].arguments(Size(2, 1, c), np.float32, 1)
    parity.run(op, ((first, cases.probabilities(2, c, np.float32, 2)), options), "cupy")
